import json
import subprocess
import sys

import pytest

from kelm.cli.bench import folder, names, run
from kelm.errors import InputError, KelmError, UnknownName

GOOD = """
import os
NAME = "good"
def rows(*, quick=False):
    print("chatter")
    os.write(1, b"chatter below python\\n")
    common = {"benchmark": NAME, "ours": 2.0, "peer": 1.0, "peer_name": "p", "unit": "x/s", "ratio": 2.0}
    return [{**common, "quick": quick}]
"""
MANY = """
NAMES: tuple[str, ...] = ("first", "second")
def rows(name=None, *, quick=False):
    return [{"benchmark": name, "ours": 2.0, "peer": 1.0, "peer_name": "p", "unit": "x/s", "ratio": 2.0}]
"""
BAD = 'NAME = "bad"\ndef rows(*, quick=False):\n    return [{"benchmark": NAME, "ours": 2.0}]\n'


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A clone with three benchmarks, entered; this test's modules do not stay imported."""
    place = tmp_path / "benchmarks"
    place.mkdir()
    for name, source in {"measure": "", "good": GOOD, "many": MANY, "bad": BAD, "__init__": ""}.items():
        (place / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "benchmarks"}
    yield tmp_path
    for name in list(sys.modules):
        if name.split(".")[0] == "benchmarks":
            del sys.modules[name]
    sys.modules.update(kept)


def kelm_bench(*arguments, cwd):
    command = [sys.executable, "-m", "kelm", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_names_come_from_the_source_without_running_it(tree):
    (tree / "benchmarks" / "explosive.py").write_text('NAME = "explosive"\nraise SystemExit(3)\n')
    assert names(tree / "benchmarks") == {
        "bad": "bad",
        "explosive": "explosive",
        "first": "many",
        "good": "good",
        "second": "many",
    }


def test_the_folder_is_found_from_below_and_from_the_source_tree(tree, tmp_path_factory):
    below = tree / "a" / "b"
    below.mkdir(parents=True)
    assert folder(below) == tree / "benchmarks"
    elsewhere = folder(tmp_path_factory.mktemp("elsewhere"))
    assert (elsewhere.parent / "pyproject.toml").is_file()


def test_without_source_tree_the_error_says_to_clone(tmp_path, monkeypatch):
    monkeypatch.setattr("kelm.cli.bench.__file__", str(tmp_path / "lib" / "kelm" / "cli" / "bench.py"))
    with pytest.raises(InputError, match="clone"):
        folder(tmp_path)


def test_a_benchmark_with_names_gets_the_one_asked_for(tree):
    assert [row["benchmark"] for row in run("second")] == ["second"]


def test_quick_reaches_the_benchmark(tree):
    assert [run("good", quick=quick)[0]["quick"] for quick in (True, False)] == [True, False]


def test_an_unknown_name_gets_the_closest_one(tree):
    with pytest.raises(UnknownName, match='Did you mean "good"'):
        run("god")


def test_a_row_without_the_common_columns_is_refused(tree):
    with pytest.raises(KelmError, match="lacks peer, peer_name, unit, ratio"):
        run("bad")


def test_json_is_alone_on_standard_output(tree):
    done = kelm_bench("good", "--json", cwd=tree)
    assert done.returncode == 0, done.stderr
    assert [row["benchmark"] for row in json.loads(done.stdout)] == ["good"]
    assert "chatter\n" in done.stderr
    assert "chatter below python" in done.stderr


def test_several_run_apart_and_come_as_one_list(tree):
    done = kelm_bench("good", "first", "--json", cwd=tree)
    assert [row["benchmark"] for row in json.loads(done.stdout)] == ["good", "first"]


def test_one_failing_benchmark_fails_the_command(tree):
    done = kelm_bench("good", "bad", "--json", cwd=tree)
    assert done.returncode == 1
    assert done.stdout == ""
    assert 'benchmark "bad" failed' in done.stderr


def test_a_killed_benchmark_is_told_from_a_failing_one(tree):
    source = 'import os, signal\nNAME = "fatal"\ndef rows(*, quick=False):\n    os.kill(os.getpid(), signal.SIGKILL)\n'
    (tree / "benchmarks" / "fatal.py").write_text(source)
    done = kelm_bench("good", "fatal", cwd=tree)
    assert done.returncode == 1
    assert 'benchmark "fatal" was ended by SIGKILL' in done.stderr


def test_the_table_shows_every_row(tree):
    shown = kelm_bench("good", "second", cwd=tree).stdout
    assert "good" in shown
    assert "second" in shown


def test_without_a_name_the_names_are_listed(tree):
    assert kelm_bench(cwd=tree).stdout.split() == ["bad", "first", "good", "second"]
