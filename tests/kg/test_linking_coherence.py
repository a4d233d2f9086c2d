"""Coherence: the formula against a slow oracle of sets, and what it chooses in examples."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.errors import InputError
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import NIL, Candidate, Disambiguator, Mention
from kg.linking.coherence import Coherent


class Told:
    """A linker that finds the mentions it was told of, whatever the text."""

    def __init__(self, mentions: list[Mention]) -> None:
        self.mentions = mentions

    def link(self, text: str, language: str | None = None) -> list[Mention]:
        return self.mentions

    def link_all(self, texts: Sequence[str], language: str | None = None) -> list[list[Mention]]:
        return [self.mentions for _ in texts]

    def disambiguate(
        self, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]], language: str | None = None
    ) -> list[list[Mention]]:
        return [self.mentions for _ in texts]


def slowly(mentions: list[Mention], triples: list[tuple[str, str, str]], weight: float) -> list[dict[str, float]]:
    """The scores by the formula's letter, over sets."""
    known = {end for head, _, tail in triples for end in (head, tail)}
    around = {
        one: {one} | {t for h, _, t in triples if h == one} | {h for h, _, t in triples if t == one} for one in known
    }

    def related(one: str, other: str) -> float:
        a, b = around[one], around[other]
        if not a & b:
            return 0.0
        distance = log(max(len(a), len(b))) - log(len(a & b))
        span = log(max(2, len(known))) - log(min(len(a), len(b)))
        return max(0.0, 1 - distance / span) if span > 0 else float(distance == 0)

    voters = [mention for mention in mentions if any(one.entity in known for one in mention.candidates)]
    result = []
    for mention in mentions:
        others = [other for other in voters if other is not mention]
        raised = {}
        for one in mention.candidates:
            votes = [
                sum(f.probability * related(one.entity, f.entity) for f in other.candidates if f.entity in known)
                for other in others
                if one.entity in known
            ]
            raised[one.entity] = one.probability * exp(weight * (sum(votes) / len(votes) if votes else 0.0))
        mass = sum(one.probability for one in mention.candidates)
        result.append({entity: mass * value / sum(raised.values()) for entity, value in raised.items()})
    return result


ENTITIES = st.sampled_from("abcdef")
CANDIDATES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e", "f", "unknown", NIL]), st.floats(0.01, 1.0), max_size=4
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(ENTITIES, st.just("r"), ENTITIES), min_size=1, max_size=12, unique=True),
    st.lists(CANDIDATES, max_size=5),
    st.sampled_from([0.0, 1.0, 5.0]),
)
def test_scores_are_those_of_a_slow_count_of_neighbors(triples, documents, weight) -> None:
    mentions = [
        Mention(place, place + 1, "x", tuple(Candidate(entity, prior) for entity, prior in some.items()))
        for place, some in enumerate(documents)
    ]
    linker = Coherent(Told(mentions), KnowledgeGraph.from_triples(triples), weight)
    found = linker.link("x" * len(mentions))
    for mention, expected in zip(found, slowly(mentions, triples, weight), strict=True):
        assert {one.entity: one.score for one in mention.candidates} == pytest.approx(expected)
        scores = [one.probability for one in mention.candidates]
        assert scores == sorted(scores, reverse=True)


FACTS = [("Paris", "France"), ("Seine", "France"), ("Paris, Texas", "Texas"), ("Austin", "Texas"), ("Tokyo", "Japan")]
GRAPH = KnowledgeGraph.from_triples([(place, "in", land) for place, land in FACTS])
NAMES = [("Paris", "Paris", 3.0), ("Paris", "Paris, Texas", 1.0), ("Austin", "Austin"), ("Seine", "Seine")]


def test_other_mentions_of_a_document_decide_and_those_of_another_do_not() -> None:
    linker = Coherent(AliasLinker(NAMES), GRAPH, weight=6.0)
    first, second = linker.link_all(["Paris lies near Austin.", "Paris on the Seine"])
    assert [mention.entity for mention in first] == ["Paris, Texas", "Austin"]
    assert [mention.entity for mention in second] == ["Paris", "Seine"]
    assert first[0].candidates[0].prior == 0.25
    assert linker.link("Paris")[0].entity == "Paris"
    assert {second[1].candidates[0].probability, first[1].candidates[0].probability} == {
        1.0
    }  # not nearly 1: equals tie


def test_given_places_alone_vote() -> None:
    linker = Coherent(AliasLinker(NAMES), GRAPH, weight=6.0)
    [[alone]] = linker.disambiguate(["Paris lies near Austin."], [[(0, 5)]])
    [[paris, _]] = linker.disambiguate(["Paris lies near Austin."], [[(0, 5), (16, 22)]])
    assert (alone.entity, paris.entity) == ("Paris", "Paris, Texas")
    assert isinstance(linker, Disambiguator)


def test_without_weight_nothing_changes_and_a_negative_one_is_refused() -> None:
    linker = AliasLinker(NAMES)
    [paris, _] = Coherent(linker, GRAPH, 0.0).link("Paris, Austin")
    assert [(one.entity, one.score) for one in paris.candidates] == [("Paris", 0.75), ("Paris, Texas", 0.25)]
    with pytest.raises(InputError, match="field weight: expected 0 or more"):
        Coherent(linker, GRAPH, -1.0)
