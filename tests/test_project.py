"""The project as a whole: versions, dependencies, public names, what an import costs."""

import ast
import builtins
import dis
import importlib
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kelm
from kelm.batch import Visibility

ROOT = Path(__file__).parents[1]
PACKAGES = ("kelm", "kg", "multilingual")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = ("pykeen", "rdflib", "networkx", "datasets", "matplotlib", "sklearn", "scipy", "accelerate", "spacy", "babel")

DOORS = {  # by which modules a heavy library enters; whatever else needs it asks them
    "accelerate": ("kelm/training/device.py",),
    "fasttext": ("multilingual/identify.py",),
    "matplotlib": ("kelm/evaluation/drawing.py", "kelm/evaluation/page.py", "kg/study/report.py"),
    "networkx": ("kg/io/networkx.py",),
    "pykeen": ("kg/embeddings/pykeen.py", "kg/embeddings/pykeen_training.py", "kg/io/pykeen.py"),
    "pyoxigraph": ("kg/io/oxigraph.py", "kg/io/terms.py"),
    "rdflib": ("kg/io/rdflib.py",),
    "spacy": ("kg/linking/spacy.py",),
    "sentencepiece": ("kelm/text/sentence_piece.py", "kelm/text/vocabulary.py"),
    "umap": ("kg/embeddings/entity_map.py",),
}


def name_of(path):
    return str(path.relative_to(ROOT))


def public(path):
    """The literal `__all__` of a module, or None."""
    for node in ast.parse(path.read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            return ast.literal_eval(node.value)
    return None


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__main__.py"], ids=name_of)
def test_public_names_are_listed_and_there(path):  # and sorted: ruff's RUF022
    names = public(path)
    tree = ast.parse(path.read_text())
    if names is None:
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert not defined, f"{name_of(path)} defines {defined} without __all__"
        return
    assert len(names) == len(set(names))
    bound = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    lazy = "__getattr__" in bound
    assert lazy or set(names) <= bound, f"{name_of(path)} promises {sorted(set(names) - bound)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is(path):
    text = path.read_text()
    assert not text or ast.get_docstring(ast.parse(text)), f"{name_of(path)} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_no_side_library(package):
    code = f"import sys, {package}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_heavy_library_enters_through_its_door(path):
    for node in ast.walk(ast.parse(path.read_text())):
        named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            named = [node.module]
        for library in {name.split(".")[0] for name in named} & set(DOORS):
            assert name_of(path) in DOORS[library], f"line {node.lineno}: {library} enters by {DOORS[library]} only"


def test_versions_agree():
    change = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert {PROJECT["version"], kelm.__version__, change[1], citation[1], metadata.version("kelm")} == {"0.1.0"}


def pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def asked():
    extras = PROJECT["optional-dependencies"].values()
    found = [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]
    return [requirement for requirement in found if requirement.name != "kelm"]


@pytest.mark.parametrize("requirement", asked(), ids=str)
def test_every_dependency_is_pinned_to_a_tested_version_that_fits(requirement):
    versions = {canonicalize_name(name): version for name, version in pinned().items()}
    version = versions.get(canonicalize_name(requirement.name))
    assert version is not None, "renew constraints.txt: make constraints"
    assert version in requirement.specifier


@pytest.mark.parametrize("requirement", [one for one in asked() if one.name in str(PROJECT["dependencies"])], ids=str)
def test_the_tests_run_with_the_pinned_versions(requirement):
    versions = {canonicalize_name(name): version for name, version in pinned().items()}
    installed = metadata.version(requirement.name).split("+")[0]
    assert installed == versions[canonicalize_name(requirement.name)]


@pytest.mark.parametrize("point", sorted(f"{g} {p}" for g, ps in PROJECT["entry-points"].items() for p in ps.items()))
def test_every_entry_point_is_installed(point):
    group = point.split(" ")[0]
    installed = {str((one.name, one.value)) for one in metadata.entry_points(group=group)}
    assert point.removeprefix(f"{group} ") in installed, 'install again: pip install -e ".[dev]"'


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "benchmarks").glob("*.py"))], ids=name_of)
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 380, "split it: a file is one idea"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())
            assert length <= 55, f"{node.name} has {length} lines"


def code_in(code):
    """Yields a code object and all that lie in it: functions, methods, comprehensions."""
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from code_in(constant)


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__main__.py"], ids=name_of)
def test_code_names_nothing_that_is_not_there(path):  # ruff cannot: to it, the axes of jaxtyping's shapes are names
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    known = {*vars(module), *vars(builtins)}
    for code in code_in(compile(path.read_text(encoding="utf-8"), path, "exec")):
        used = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
        assert used <= known, f"{path.name}, line {code.co_firstlineno}: {sorted(used - known)}"


def test_a_wrong_shape_is_caught_while_the_tests_run():
    from kelm.model.layers import attention

    one, two = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 5, 4)
    with pytest.raises(TypeCheckError, match="values"):
        attention(one, one, two, None)
    with pytest.raises(TypeCheckError, match="document"):
        Visibility(torch.zeros(2, 3))  # not integers
