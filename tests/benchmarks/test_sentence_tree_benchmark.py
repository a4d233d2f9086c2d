import pytest

from benchmarks import sentence_tree


def test_ours_and_both_peers_grow_the_same_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELM_DATA", raising=False)
    formula, rows, state = sentence_tree.rows(quick=True)
    assert [row["unit"] for row in (formula, rows, state)] == ["sentences/s", "sentences/s", "bytes/sentence"]
    assert all("; 0 compared" not in str(row["setting"]) for row in (formula, rows))
    assert float(str(state["ours"])) < 1024 < float(str(state["peer"]))


def test_a_difference_between_the_trees_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELM_DATA", raising=False)
    _, graph, texts = sentence_tree._input(8)
    ours, peer = sentence_tree._Ours(graph, 128), sentence_tree._Peer(graph, 128, sentence_tree._by_rows)
    trunks = [text[:60] for text in texts]
    assert sentence_tree._same(ours, peer, trunks) > 0
    peer.table = {name: said[::-1] for name, said in peer.table.items() if said}
    with pytest.raises(AssertionError, match="grow different trees"):
        sentence_tree._same(ours, peer, trunks)
