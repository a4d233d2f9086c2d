from pathlib import Path

from benchmarks import graph_store


def test_the_table_has_as_many_distinct_triples_as_it_says(tmp_path: Path) -> None:
    graph_store.write(tmp_path / "table.tsv", 30_000)
    lines = (tmp_path / "table.tsv").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 30_000


def test_a_small_graph_reaches_the_aims() -> None:
    rows = graph_store.rows(quick=True)
    assert [row["unit"] for row in rows] == ["GB", "s", "s", "bytes/triple"]
    assert all(row["ratio"] > 1 for row in rows)
