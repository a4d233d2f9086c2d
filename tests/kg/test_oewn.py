"""Open English WordNet's tables become the graph that its published file becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kelm.errors import FormatError
from kg.study import oewn

SYNSETS = "1-n\tnoun.animal\ti9\tdog|domestic dog\ta pet\n2-n\tnoun.animal\t\tcanine\ta beast\n"


def _folder(path: Path, synsets: str = SYNSETS) -> Path:
    (path / "synsets.tsv").write_text(synsets, encoding="utf-8")
    (path / "relations.tsv").write_text("1-n\thypernym\t2-n\n", encoding="utf-8")
    return path


def test_synsets_have_their_words_supersense_and_relations(tmp_path: Path) -> None:
    graph = oewn.read(_folder(tmp_path))
    dog = graph.entities.find("1-n")
    assert graph.aliases(dog) == ["dog", "domestic dog"]
    assert [graph.types.names[int(kind)] for kind in graph.types.of(dog)] == ["noun.animal"]
    assert list(graph.names()) == [("1-n", "hypernym", "2-n")]
    assert {one.property: one.text for one in graph.attributes.of(dog)} == {"description": "a pet", "ili": "i9"}


def test_a_line_with_too_few_fields_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"synsets.tsv, line 1: expected 5 fields between tabs, found 2"):
        oewn.read(_folder(tmp_path, "1-n\tnoun.animal\n"))
