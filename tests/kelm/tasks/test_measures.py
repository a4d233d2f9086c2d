"""Scores of answers, against scikit-learn's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from kelm.tasks.measures import classification_scores

ANSWERS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=40)


@settings(deadline=None)
@given(ANSWERS)
def test_scores_equal_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    gold, said = [right for right, _ in pairs], [guess for _, guess in pairs]
    scores = classification_scores(gold, said)
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, said))
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, said, average="macro", zero_division=0.0))
    assert scores["micro_f1"] == pytest.approx(f1_score(gold, said, average="micro"))
    if len({*gold, *said}) > 1:  # of a single label scikit-learn's correlation warns
        assert scores["matthews"] == pytest.approx(matthews_corrcoef(gold, said), abs=1e-12)


def test_one_label_alone_is_right_but_correlates_with_nothing() -> None:
    scores = classification_scores(["a", "a"], ["a", "a"])
    assert (scores["accuracy"], scores["macro_f1"], scores["matthews"]) == (1, 1, 0)


def test_no_answers_score_nothing() -> None:
    assert set(classification_scores([], []).values()) == {0}


def test_every_gold_answer_needs_a_predicted_one() -> None:
    with pytest.raises(ValueError, match="zip"):
        classification_scores(["a"], [])
