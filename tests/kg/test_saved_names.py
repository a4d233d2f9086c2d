"""Saved linkers: whatever is cut or changed in the file is refused before a text is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from kelm.errors import FormatError
from kg.linking.alias import AliasLinker
from kg.linking.names import Name


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    names = [Name("New York", "Q60", 2.0, "en"), Name("北京", "Q956", 1.0, "zh"), Name("US", "Q30"), Name("us", "Q1")]
    AliasLinker(names).save(tmp_path / "names")
    return tmp_path / "names"


@pytest.mark.parametrize("kept", [9, 100, -1])
def test_a_file_that_is_cut_is_refused(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(FormatError, match=r"names: expected the names of an alias linker.*Build the linker again"):
        AliasLinker.load(saved)


CHANGES = {
    "codes": lambda column: column[:-1],
    "offsets": lambda column: column[::-1],
    "keys": lambda column: column[::-1],
    "owner": lambda column: column + 2,
    "buckets": lambda column: column[:-1],
    "starts": lambda column: column[:-1],
    "entity": lambda column: column + 9,
    "weight": lambda column: -column,
    "seen": lambda column: column - 1,
    "language": lambda column: column - 1,
    "cased": lambda column: column[:-1],
    "capital": lambda column: column[:-1],
    "aliases": lambda column: column | 0xF8,
    "alias_offsets": lambda column: np.concatenate((column[:-2], column[-2:] - 1)),
    "entities": lambda column: column[:-1],
    "entity_offsets": lambda column: column.astype(np.int32),
}


def changed(path: Path, column: str | None = None, **more: str) -> None:
    """Writes the file again with one column, or facts of the header, changed."""
    with safe_open(path, framework="numpy") as file:
        header, columns = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if column is not None:
        columns[column] = np.ascontiguousarray(CHANGES[column](columns[column]))
    save_file(columns, path, {**header, **more})


def test_every_column_that_does_not_fit_is_refused(saved: Path) -> None:
    with safe_open(saved, framework="numpy") as file:
        assert set(file.keys()) == set(CHANGES)


@pytest.mark.parametrize("column", CHANGES)
def test_a_column_that_does_not_fit_the_others_is_refused(saved: Path, column: str) -> None:
    changed(saved, column)
    with pytest.raises(FormatError, match="expected the names of an alias linker"):
        AliasLinker.load(saved)


@pytest.mark.parametrize(
    ("field", "value"), [("format", "x"), ("version", "3"), ("options", "[]"), ("base", "2"), ("languages", "null")]
)
def test_a_header_of_another_kind_is_refused(saved: Path, field: str, value: str) -> None:
    changed(saved, **{field: value})
    with pytest.raises(FormatError, match="expected the names of an alias linker"):
        AliasLinker.load(saved)


@pytest.mark.parametrize(
    ("weight", "seen", "field"),
    [
        ("1", "1e400", "seen"),
        ("1", "1" + "0" * 23, "seen"),
        ("1", "1.9", "seen"),
        ("1", "true", "seen"),
        ("1", '"2"', "seen"),
        ("1", "-1", "seen"),
        ("1e400", "1", "weight"),
        ("1" + "0" * 400, "1", "weight"),
    ],
)
def test_a_number_that_cannot_be_is_named_with_its_line(tmp_path: Path, weight: str, seen: str, field: str) -> None:
    header = '{"format": "kelm-names", "version": 1, "options": {"stop": []}}'
    path = tmp_path / "names.jsonl"
    path.write_text(f'{header}\n["Rome", "Q220", 1, "en", 2]\n["Paris", "Q90", {weight}, "en", {seen}]\n')
    with pytest.raises(FormatError) as raised:
        AliasLinker.load(path)
    assert (raised.value.path, raised.value.line, raised.value.field) == (path, 3, field)
    assert raised.value.remedy
