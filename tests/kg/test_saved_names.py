"""Saved linkers: the same when opened, and whatever is cut or changed in the file is refused before a text is read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from kelm.errors import CheckpointError, FormatError
from kg.linking.alias import AliasLinker
from kg.linking.base import EntityLinker
from kg.linking.names import AliasOptions, Name


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


def test_a_saved_linker_is_the_same(tmp_path: Path) -> None:
    names = [Name("Paris", "Q90", 3.0, "fr"), Name("PARIS", "Q2", 1.0), Name("a\u2028b", "Q3", 0.1)]
    linker = AliasLinker(names, AliasOptions(nil=0.1, stop=("of",), min_length=1))
    linker.save(tmp_path / "names.jsonl")
    again = AliasLinker.load(tmp_path / "names.jsonl")
    assert again.names.options == linker.names.options
    assert list(again.names) == list(linker.names)
    assert sorted(again.names) == sorted(name._replace(alias=" ".join(name.alias.split())) for name in names)
    assert again.link("PARIS Paris a\u2028b") == linker.link("PARIS Paris a\u2028b")
    assert [path.name for path in tmp_path.iterdir()] == ["names.jsonl"]


def test_a_linker_travels_to_a_data_worker() -> None:
    linker = AliasLinker([("Paris", "Q90")])
    assert pickle.loads(pickle.dumps(linker)).link("Paris") == linker.link("Paris") != []
    assert isinstance(linker, EntityLinker)


@pytest.mark.parametrize(
    ("content", "line"),
    [("{}\n", 1), ("not json\n", 1), ('{"format": "kelm-names", "version": 9, "options": {"stop": []}}\n', 1)],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str, line: int) -> None:
    path = tmp_path / "names.jsonl"
    path.write_text(content)
    with pytest.raises(FormatError, match=f"names.jsonl, line {line}: expected the names of an alias linker"):
        AliasLinker.load(path)


HEADER = '{"format": "kelm-names", "version": 1, "options": {"min_length": 2, "stop": []}}\n'


LINES = HEADER + '["Paris", "Q90", 3.0, "fr"]\n["London", "Q84", 1.0, "", 7]\n'


def test_names_are_read_from_lines_of_json(tmp_path: Path) -> None:
    (tmp_path / "names.jsonl").write_text(LINES)
    linker = AliasLinker.load(tmp_path / "names.jsonl")
    assert linker.names.options == AliasOptions(min_length=2)
    assert list(linker.names) == [Name("Paris", "Q90", 3.0, "fr"), Name("London", "Q84", 1.0, "", 7)]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "names.jsonl"
    path.write_text(LINES[:-12])
    with pytest.raises(FormatError, match="line 3"):
        AliasLinker.load(path)


def test_a_line_with_an_impossible_weight_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "names.jsonl"
    path.write_text(LINES.replace('"Q84", 1.0', '"Q84", -1.0'))
    with pytest.raises(FormatError, match=r"names\.jsonl, line 3, field weight: .* Weights are positive numbers"):
        AliasLinker.load(path)
    path.write_text(LINES.replace('"Q84"', '""'))
    with pytest.raises(FormatError, match=r"names\.jsonl, line 3, field entity: .* Give the entity's identifier"):
        AliasLinker.load(path)
    path.write_text("")
    with pytest.raises(FormatError, match=r"names\.jsonl"):
        AliasLinker.load(path)


def test_a_linker_that_cannot_be_saved_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "names.jsonl"
    AliasLinker([("Paris", "Q90")]).save(path)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        AliasLinker([("London", "Q84")]).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["names.jsonl"]
