"""Entity tables: by name, on disk, and as controls."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kelm.errors import CheckpointError, InputError
from kg.embeddings import EntityTable


def some_table(entities: int = 50, width: int = 6) -> EntityTable:
    vectors = np.random.default_rng(0).standard_normal((entities, width)).astype(np.float32) * [1, 2, 3, 4, 5, 6] + 7
    return EntityTable.from_vectors(
        [f"Q{number}" for number in range(entities)],
        vectors,
        facts={"model": "transe", "graph": "abc"},
        relations=vectors[:3],
        relation_names=["P1", "P2", "P3"],
    )


def test_a_saved_table_opens_equal_and_memory_mapped(tmp_path: Path) -> None:
    table = some_table()
    table.save(tmp_path / "table")
    opened = EntityTable.open(tmp_path / "table")
    assert np.array_equal(opened.vectors, table.vectors)
    assert list(opened.names) == list(table.names)
    assert opened.facts == table.facts
    assert opened.relation_names is not None
    assert np.array_equal(opened.relations, table.relations)
    assert list(opened.relation_names) == ["P1", "P2", "P3"]
    assert isinstance(opened.vectors.base, np.memmap), "the vectors were read into memory"
    assert not opened.vectors.flags.writeable


def test_names_find_their_rows_and_unknown_names_none() -> None:
    table = some_table()
    ids = table.ids(["Q7", "", "Q49", "Q50", "q7"])
    assert ids.tolist() == [7, -1, 49, -1, -1]
    assert len(table) == 50
    assert table.width == 6


def test_a_table_without_relations_stays_without(tmp_path: Path) -> None:
    EntityTable.from_vectors(["ä", "北京"], np.eye(2)).save(tmp_path / "table")
    opened = EntityTable.open(tmp_path / "table")
    assert opened.relations is None
    assert opened.ids(["北京", "ä"]).tolist() == [1, 0]


def test_shuffling_moves_the_same_vectors_to_other_entities() -> None:
    table = some_table()
    shuffled = table.shuffled(3)
    assert sorted(map(tuple, shuffled.vectors)) == sorted(map(tuple, table.vectors))
    assert (shuffled.vectors == table.vectors).all(1).mean() < 0.2
    assert list(shuffled.names) == list(table.names)
    assert np.array_equal(shuffled.vectors, table.shuffled(3).vectors)
    assert not np.array_equal(shuffled.vectors, table.shuffled(4).vectors)
    assert shuffled.facts["control"] == "shuffled, seed 3"


def test_random_vectors_keep_the_mean_and_deviation_of_each_dimension() -> None:
    table = some_table(entities=20_000)
    noise = table.random(1)
    assert np.allclose(noise.vectors.mean(0), table.vectors.mean(0), atol=0.2)
    assert np.allclose(noise.vectors.std(0), table.vectors.std(0), rtol=0.03)
    assert np.array_equal(noise.vectors, table.random(1).vectors)
    assert not np.array_equal(noise.vectors, table.random(2).vectors)
    correlation = np.corrcoef(noise.vectors[:, 5], table.vectors[:, 5])[0, 1]
    assert abs(correlation) < 0.05


def test_nearest_orders_by_cosine_as_a_plain_loop_does() -> None:
    table = some_table()
    query = table.vectors[11]
    cosines = [float(row @ query / (np.linalg.norm(row) * np.linalg.norm(query))) for row in table.vectors]
    rows, found = table.nearest(query, 5)
    assert rows[0] == 11
    assert rows.tolist() == sorted(range(len(table)), key=lambda row: -cosines[row])[:5]
    assert found == pytest.approx([cosines[row] for row in rows], abs=1e-6)


@pytest.mark.parametrize(
    ("names", "vectors", "message"),
    [
        (["a", "b"], np.eye(3), "2 entities"),
        (["a", "a"], np.eye(2), '"a" comes twice'),
        (["a", "b"], [[0.0, 1.0], [np.nan, 0.0]], "row 1"),
        (["a", "b"], [1.0, 2.0], r"shape \(2,\)"),
    ],
)
def test_vectors_that_do_not_fit_their_names_are_refused(names: list[str], vectors: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EntityTable.from_vectors(names, vectors)


def test_a_mapped_matrix_is_looked_through_in_chunks_and_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kg.embeddings.table._CHUNK", 4)
    vectors = np.arange(22, dtype=np.float32).reshape(11, 2)
    np.save(tmp_path / "good.npy", vectors)
    vectors[9, 1] = np.inf
    np.save(tmp_path / "bad.npy", vectors)
    good, bad = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("good", "bad"))
    names = [f"Q{number}" for number in range(11)]
    assert np.shares_memory(EntityTable.from_vectors(names, good).vectors, good)
    with pytest.raises(InputError, match="row 9 has a number that is not finite"):
        EntityTable.from_vectors(names, bad)


def test_a_query_of_another_width_is_refused() -> None:
    with pytest.raises(InputError, match=r"width 6, found .* Pass a row"):
        some_table().nearest(np.zeros(5, np.float32))


@pytest.mark.parametrize("file", ["vectors.npy", "names.blob.npy", "manifest.json"])
def test_a_table_that_lacks_a_file_is_refused_by_name(tmp_path: Path, file: str) -> None:
    some_table().save(tmp_path / "table")
    (tmp_path / "table" / file).unlink()
    with pytest.raises(CheckpointError, match=file.replace(".", r"\.")):
        EntityTable.open(tmp_path / "table")


def test_a_table_that_was_cut_is_refused(tmp_path: Path) -> None:
    some_table().save(tmp_path / "table")
    path = tmp_path / "table" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="damaged"):
        EntityTable.open(tmp_path / "table", verify=False)


def test_a_changed_number_is_found_by_the_checksum(tmp_path: Path) -> None:
    some_table().save(tmp_path / "table")
    path = tmp_path / "table" / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        EntityTable.open(tmp_path / "table")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    some_table().save(tmp_path / "table")
    manifest = tmp_path / "table" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["facts"]["kind"] = "something else"
    manifest.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="another kind"):
        EntityTable.open(tmp_path / "table")


def test_saving_again_replaces_the_table_and_leaves_nothing_aside(tmp_path: Path) -> None:
    some_table().save(tmp_path / "table")
    some_table().shuffled(0).save(tmp_path / "table")
    assert EntityTable.open(tmp_path / "table").facts["control"] == "shuffled, seed 0"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_a_failed_save_keeps_the_table_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some_table().save(tmp_path / "table")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(CheckpointError, match="No space left"):
            some_table().shuffled(0).save(tmp_path / "table")
    assert "control" not in EntityTable.open(tmp_path / "table").facts
    assert [path.name for path in tmp_path.iterdir()] == ["table"]
