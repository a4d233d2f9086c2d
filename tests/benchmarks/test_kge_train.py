import pytest

from benchmarks import kge_train


def test_a_quick_run_trains_both_sides_and_ranks_what_they_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELM_DATA", raising=False)
    seconds, rate = kge_train.rows(quick=True)
    assert (seconds["unit"], rate["unit"]) == ("s", "triples × negatives/s")
    assert seconds["epochs"] == {"ours": 1, "peer": 1}
    assert all(0 < mrr < 0.1 for side in seconds["mrr"].values() for mrr in side)  # the graph is made up by chance
    assert "no MRR asked for" in seconds["setting"]


def test_ours_has_to_reach_the_figure_and_of_the_peer_it_is_told_whether_it_did() -> None:
    with pytest.raises(AssertionError, match=r"ours ended at a validation MRR of 0\.29"):
        kge_train._told({"ours": [0.31, 0.29], "peer": [0.32]})
    assert kge_train._told({"ours": [0.31], "peer": [0.30]}) == "until validation MRR 0.30"
    assert kge_train._told({"ours": [0.31], "peer": [0.4, 0.18]}).endswith("where the peer was not yet: 0.18")
