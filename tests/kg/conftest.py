"""A small graph as files and as a folder, for what is tested from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kelm.cli import run

TRIPLES = [(f"city{number}", "in", f"land{number % 5}") for number in range(30)]
TRIPLES += [(f"land{number}", "borders", f"land{(number + 1) % 5}") for number in range(5)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "triples.tsv"
    path.write_text("".join("\t".join(triple) + "\n" for triple in TRIPLES))
    return path


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.tsv"
    path.write_text("city1\ten\tOxford\ncity1\tde\tOxenfurt\ncity1\ten\tCity of Oxford\nin\ten\tlies in\n")
    return path


@pytest.fixture
def folder(table: Path, names: Path, tmp_path: Path) -> Path:
    assert run(["graph", "build", str(table), "--labels", str(names), "--out", str(tmp_path / "graph"), "--quiet"]) == 0
    return tmp_path / "graph"
