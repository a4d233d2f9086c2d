import tracemalloc

import pytest

from benchmarks import link
from kg.linking.alias import AliasLinker


def test_both_sides_find_the_same_names_and_ours_keeps_them_in_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELM_DATA", raising=False)
    rows = link.rows(quick=True)
    assert [row["unit"] for row in rows] == ["characters/s", "mentions/s", "MiB of names"] * 4
    assert {row["setting"].split(" names")[0] for row in rows} == {"2,500", "10,000"}
    for row in rows:
        assert row["mentions"]["ours"] == pytest.approx(row["mentions"]["peer"], rel=0.02)
        assert row["built"]["ours"].keys() == {"s", "peak_mb", "kept_mb"}


def test_a_name_takes_little_memory() -> None:
    names, _ = link._made_up(40_000, 0)
    AliasLinker(names[:10]).link("Paris")  # folding's tables are there
    tracemalloc.start()
    try:
        linker = AliasLinker(iter(names))
        linker.link("Paris")
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(linker) > 39_000
    assert kept / len(names) < 220  # bytes; a million names take 0.2 GB
    assert peak / len(names) < 700
