"""Shipped recipes of embeddings by name, and sources that come in train, valid and test parts."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kelm.cli import run
from kelm.errors import InputError, RecipeError, UnknownName
from kg.embeddings import EmbeddingRecipe, open_embedding
from kg.embeddings.query_training import QueryTraining
from kg.embeddings.recipe_files import read_recipe, shipped
from kg.io import splits

from .test_query_training import grid


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A graph in three parts, valid compressed; one test triple has a name that train lacks."""
    folder = tmp_path / "parts"
    folder.mkdir()
    rows = [f"Q{head}\tP{link}\tQ{tail}\n" for head, link, tail in grid().tolist()]
    (folder / "train.txt").write_text("".join(rows[4:]))
    with gzip.open(folder / "valid.txt.gz", "wt") as file:
        file.write("".join(rows[:2]))
    (folder / "test.txt").write_text("".join(rows[2:4]) + "Q1\tP0\tQ99\n")
    return folder


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_is_whole_and_takes_a_step(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.model == name.partition("-")[0]
    small = replace(recipe, width=32, batch_size=16, negatives=8)
    run = QueryTraining(grid(), 24, 2, small)
    assert run._step(next(run._batches())) > 0


def test_an_unknown_recipe_names_the_closest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match='Did you mean "complex-codex-s"'):
        read_recipe("complex-codexs")
    with pytest.raises(InputError, match="no such recipe file"):
        read_recipe(tmp_path / "gone.toml")
    (tmp_path / "own.toml").write_text("width = 12\n")
    assert read_recipe(tmp_path / "own.toml") == EmbeddingRecipe(width=12)


@pytest.mark.parametrize(
    ("line", "field", "told"),
    [
        ("widht = 3", "widht", 'unknown key. Did you mean "width"?'),
        ('width = "wide"', "width", "expected a whole number, found a string 'wide'. Write it as in width = 3."),
        ("width = 0", "width", "expected at least 1, found 0. Give a whole number from 1"),
        ("rate = inf", "rate", "expected more than 0, found inf. Give a positive, finite number."),
        ("decay_factor = 1.5", "decay_factor", "expected more than 0 and at most 1, found 1.5."),
        ("seed = -1", "seed", "expected 0 to 2 ** 63 - 1, found -1."),
        (
            "query_dropout = 1.0",
            "query_dropout",
            "expected 0 or more and less than 1, found 1.0. Give 0 to turn it off",
        ),
        ("norm = true", "norm", "True is not allowed. Known: 1, 2."),
        ('loss = "softmx"', "loss", 'Did you mean "softmax"?'),
        ('sampler = "uniform"', "sampler", 'Set sampler = "both"'),
        ("[rate]\nfirst = 1", "rate", "expected a number, found a table"),
        ("[widths]\nfirst = 1", "widths", 'unknown key. Did you mean "width"?'),
    ],
)
def test_a_mistake_in_a_recipe_is_named_with_file_line_field_and_remedy(
    tmp_path: Path, line: str, field: str, told: str
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'model = "complex"\nepochs = 2\n{line}\n')
    with pytest.raises(RecipeError) as raised:
        read_recipe(path)
    assert (raised.value.path, raised.value.line, raised.value.field) == (path, 3, field)
    assert told in str(raised.value)
    assert raised.value.remedy


def test_what_is_no_toml_or_no_change_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("epochs = 2\nwidth 3\n")
    with pytest.raises(RecipeError, match=r"own\.toml, line 2: no valid TOML"):
        read_recipe(path)
    with pytest.raises(RecipeError, match=r"--set width: expected KEY=VALUE, found \"width\"\. Write width=VALUE"):
        read_recipe("complex-codex-s", ["width"])
    with pytest.raises(RecipeError, match=r"--set width=3, field width: complex vectors have an even width"):
        read_recipe("complex-codex-s", ["width=3"])


def test_a_source_in_parts_is_learned_stopped_by_and_judged_by_its_own(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "vectors")
    changes = ["--set", "width=16", "--set", "epochs=4", "--set", "check_every=2"]
    assert run(["graph", "embed", str(parts), "--recipe", "complex-codex-s", *changes, "--out", out, "--quiet"]) == 0
    embedding = open_embedding(out)
    assert embedding.recipe.model == "complex"
    assert ["mrr" in entry for entry in embedding.history] == [False, True, False, True]
    capsys.readouterr()
    assert run(["graph", "evaluate", out, str(parts), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["triples"], found["left_out"]) == (2, 1)
    assert run(["graph", "embed", str(parts), "--recipe", "complx", "--out", out, "--quiet"]) == 2
    assert "complex-" in capsys.readouterr().err


def test_ranking_needs_triples(tmp_path: Path, parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "vectors")
    train = str(parts / "train.txt")
    assert run(["graph", "embed", train, "--out", out, "--set", "epochs=1", "--set", "width=8", "--quiet"]) == 0
    assert run(["graph", "evaluate", out, train]) == 2
    assert "no triples to rank" in capsys.readouterr().err


def test_parts_are_found_in_a_folder_of_one_codex_and_not_elsewhere(tmp_path: Path, parts: Path) -> None:
    assert splits.read(parts / "train.txt") is None
    assert splits.read(tmp_path) is None
    for size in ("s", "m"):
        inner = tmp_path / "codex" / f"codex-{size}"
        inner.mkdir(parents=True)
        for path in parts.iterdir():
            (inner / path.name).write_bytes(path.read_bytes())
        if size == "s":
            found = splits.read(tmp_path / "codex")
            assert found is not None
            assert [len(part) for part in (found.train, found.valid, found.test)] == [len(grid()) - 4, 2, 3]
    with pytest.raises(InputError, match="codex-s, codex-m"):
        splits.read(tmp_path / "codex")
