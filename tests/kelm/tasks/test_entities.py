"""Entities and their scores, against seqeval, a slow count after conlleval's rules, and hand-worked cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.tasks.entities import entities, entity_scores

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG", "E-PER", "S-LOC"]
SENTENCES = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8), min_size=1, max_size=6
)
Sentences = list[list[tuple[str, str]]]


def ends(before: str, tag: str) -> bool:
    """Conlleval's `endOfChunk`, rule by rule."""
    (was, old), (now, new) = before.split("-"), tag.split("-")
    rules = [("B", "B"), ("B", "O"), ("B", "S"), ("I", "B"), ("I", "O"), ("I", "S")]
    return (was, now) in rules or was in "ES" or (was != "O" and old != new)


def begins(before: str, tag: str) -> bool:
    """Conlleval's `startOfChunk`, rule by rule."""
    (was, old), (now, new) = before.split("-"), tag.split("-")
    rules = [("O", "I"), ("O", "E"), ("E", "I"), ("E", "E"), ("S", "I"), ("S", "E")]
    return now in "BS" or (was, now) in rules or (now != "O" and old != new)


def chunks(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The entities of a sentence, found by walking over it with "O" before and after."""
    found, first, before = set(), 0, "O-"
    for place, tag in enumerate([*(tag if "-" in tag else f"{tag}-" for tag in tags), "O-"]):
        if before != "O-" and ends(before, tag):
            found.add((before.split("-")[1], first, place - 1))
        if begins(before, tag):
            first = place
        before = tag
    return found


@settings(deadline=None)
@given(SENTENCES)
def test_scores_are_what_conllevals_rules_give(sentences: Sentences) -> None:
    gold = [[right for right, _ in words] for words in sentences]
    said = [[guess for _, guess in words] for words in sentences]
    asked, given, hits = Counter[str](), Counter[str](), Counter[str]()
    for answer, guess in zip(gold, said, strict=True):
        assert set(entities(answer)) == chunks(answer)
        asked.update(kind for kind, _, _ in chunks(answer))
        given.update(kind for kind, _, _ in chunks(guess))
        hits.update(kind for kind, _, _ in chunks(answer) & chunks(guess))
    scores = entity_scores(gold, said)
    for kind, ending in ((None, ""), *((kind, f"_{kind}") for kind in {*asked, *given})):
        right, all_said, all_asked = (sum(n for k, n in c.items() if kind in (None, k)) for c in (hits, given, asked))
        precision, recall = right / (all_said or 1), right / (all_asked or 1)
        assert scores[f"precision{ending}"] == pytest.approx(precision)
        assert scores[f"recall{ending}"] == pytest.approx(recall)
        assert scores[f"f1{ending}"] == pytest.approx(2 * precision * recall / (precision + recall or 1))
    words = [pair for sentence in sentences for pair in sentence]
    assert scores["accuracy"] == pytest.approx(sum(one == other for one, other in words) / len(words))


@settings(deadline=None)
@given(SENTENCES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_scores_equal_seqevals(sentences: Sentences) -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    gold = [[right for right, _ in words] for words in sentences]
    said = [[guess for _, guess in words] for words in sentences]
    scores = entity_scores(gold, said)
    assert scores["precision"] == pytest.approx(seqeval.precision_score(gold, said))
    assert scores["recall"] == pytest.approx(seqeval.recall_score(gold, said))
    assert scores["f1"] == pytest.approx(seqeval.f1_score(gold, said))
    assert scores["accuracy"] == pytest.approx(seqeval.accuracy_score(gold, said))
    if "f1_PER" in scores:
        report = seqeval.classification_report(gold, said, output_dict=True)
        assert scores["f1_PER"] == pytest.approx(report["PER"]["f1-score"])


ENTITIES: dict[str, tuple[str, list[tuple[str, int, int]]]] = {
    "IOB2": ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
    "IOB1": ("I-PER I-PER O I-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
    "IOBES": ("B-PER I-PER E-PER S-LOC O", [("PER", 0, 2), ("LOC", 3, 3)]),
    "BILOU": ("B-PER I-PER L-PER U-LOC O", [("PER", 0, 2), ("LOC", 3, 3)]),
    "BMES": ("B-PER M-PER E-PER S-LOC O", [("PER", 0, 2), ("LOC", 3, 3)]),
    "two that touch": ("B-PER B-PER I-PER", [("PER", 0, 0), ("PER", 1, 2)]),
    "a type that changes": ("B-PER I-LOC I-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),
    "an end alone": ("O E-PER E-PER", [("PER", 1, 1), ("PER", 2, 2)]),
    "a type with a dash": ("B-geo-loc I-geo-loc", [("geo-loc", 0, 1)]),
    "parts of speech": ("NOUN NOUN VERB", [("NOUN", 0, 0), ("NOUN", 1, 1), ("VERB", 2, 2)]),
    "nothing": ("O O", []),
}


@pytest.mark.parametrize(("tags", "expected"), ENTITIES.values(), ids=ENTITIES)
def test_entities_are_read_in_every_scheme(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == expected


def test_an_entity_of_another_type_is_wrong() -> None:
    """The original K-BERT compared only where entities lie, and would find all of these."""
    scores = entity_scores([["B-PER", "I-PER", "O", "B-LOC"]], [["B-LOC", "I-LOC", "O", "B-LOC"]])
    assert (scores["precision"], scores["recall"]) == (0.5, 0.5)
    assert (scores["f1_PER"], scores["precision_LOC"], scores["recall_LOC"]) == (0, 0.5, 1)


def test_an_entity_ends_with_its_sentence() -> None:
    """The original K-BERT scored all words of a batch in one line, so that entities went on in the next sentence."""
    gold = [["O", "B-PER"], ["I-PER", "O"]]
    assert entity_scores(gold, gold)["recall"] == 1
    assert [entities(tags) for tags in gold] == [[("PER", 1, 1)], [("PER", 0, 0)]]
    apart = entity_scores(gold, [["O", "B-PER"], ["O", "O"]])
    assert (apart["precision"], apart["recall"]) == (1, 0.5)


def test_a_boundary_that_is_partly_right_counts_as_wrong_both_ways() -> None:
    gold = ["B-NP", "I-NP", "O", "B-VP", "B-NP", "I-NP", "I-NP", "O"]
    said = ["B-NP", "I-NP", "O", "B-VP", "B-NP", "I-NP", "B-NP", "O"]
    scores = entity_scores([gold], [said])
    assert (scores["precision"], scores["recall"]) == (2 / 4, 2 / 3)
    assert scores["accuracy"] == 7 / 8


def test_types_that_never_occur_are_told_if_asked_for() -> None:
    assert entity_scores([["O"]], [["O"]], ["PER"])["f1_PER"] == 0


def test_a_word_more_or_less_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        entity_scores([["O", "O"]], [["O"]])


def test_chunks_without_a_type_are_read_by_their_letters() -> None:
    assert entities(["B", "I", "I", "O", "B"]) == [("", 0, 2), ("", 4, 4)]
    assert entities(["B", "M", "E", "S"]) == [("", 0, 2), ("", 3, 3)]
    assert entities(["NOUN", "NOUN"]) == [("NOUN", 0, 0), ("NOUN", 1, 1)]
