"""Negatives that fit a relation: ranges, draws and masks against sets and loops, and PyKEEN's ranges as a peer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from pykeen.sampling.pseudo_type import create_index
from scipy.stats import chisquare

from kelm.errors import RecipeError
from kg.embeddings import EmbeddingRecipe, metrics, ranks, train
from kg.embeddings.answers import SIDES, Side
from kg.embeddings.negatives import Negatives, Ranges

from .test_query_training import PLAIN, grid

ENTITIES, RELATIONS = 30, 6


def some_triples(seed: int, count: int = 80) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, count) for size in (ENTITIES, RELATIONS, ENTITIES)], axis=1)


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_range(triples: np.ndarray, relation: int, side: Side) -> set[int]:
    return {triple[2 if side == "tail" else 0] for triple in triples.tolist() if triple[1] == relation}


def those_of(triples: np.ndarray, **how: object) -> Negatives:
    recipe = EmbeddingRecipe(**{"negatives": 12, "typed_negatives": 0.5, **how})
    return Negatives([(side, triples) for side in SIDES], ENTITIES, RELATIONS, recipe)


@pytest.mark.parametrize("side", SIDES)
def test_ranges_are_those_of_pykeen(side: Side) -> None:
    triples = some_triples(0)
    data, offsets = create_index(torch.from_numpy(triples), RELATIONS)
    found = Ranges.of(triples, side, ENTITIES, RELATIONS)
    for relation in range(RELATIONS):
        number = 2 * relation + (side == "tail")
        theirs = data[offsets[number] : offsets[number + 1]].tolist()
        assert np.flatnonzero(found.have(np.array([relation]), np.arange(ENTITIES))[0]).tolist() == theirs


@given(some.integers(0, 2**32 - 1), some.sampled_from(SIDES), some.booleans(), some.sampled_from([0.0, 0.3, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_what_is_allowed_equals_the_definition(seed: int, side: Side, filtered: bool, share: float) -> None:
    triples = some_triples(seed)
    rows = triples[np.random.default_rng(seed).permutation(len(triples))[:9]]
    negatives = those_of(triples, filtered=filtered, typed_negatives=share)
    drawn = negatives.draw(rows, side, stream(seed))
    allowed = negatives.allowed(drawn, rows, side)
    uniform = torch.randint(ENTITIES, (12 - round(12 * share),), generator=stream(seed)).tolist()
    candidates = drawn.entities.tolist()
    assert candidates == sorted(set(candidates))
    assert set(uniform) <= set(candidates)
    known = {tuple(triple) for triple in triples.tolist()}
    for place, (head, relation, tail) in enumerate(rows.tolist()):
        for column, candidate in enumerate(candidates):
            corrupted = (head, relation, candidate) if side == "tail" else (candidate, relation, tail)
            is_false = corrupted not in known if filtered else candidate != (tail if side == "tail" else head)
            fits = candidate in uniform or candidate in slow_range(triples, relation, side)
            assert bool(allowed[place, column]) == (is_false and fits)


@pytest.mark.parametrize("side", SIDES)
def test_draws_come_evenly_from_the_ranges_of_evenly_drawn_questions(side: Side) -> None:
    triples = some_triples(1, 40)
    asked = np.array([0, 0, 0, 2])
    ranges = {relation: slow_range(triples, relation, side) for relation in (0, 2)}
    draws = 20_000
    expected: Counter[int] = Counter()
    for relation in asked.tolist():
        for entity in ranges[relation]:
            expected[entity] += draws / len(asked) / len(ranges[relation])  # type: ignore[assignment]
    found = Counter(Ranges.of(triples, side, ENTITIES, RELATIONS).draw(asked, draws, stream(0)).tolist())
    assert found.keys() == expected.keys()
    order = sorted(expected)
    assert chisquare([found[one] for one in order], [expected[one] for one in order]).pvalue > 0.001


def test_without_a_typed_share_the_draws_are_as_ever() -> None:
    drawn = those_of(some_triples(0), typed_negatives=0.0).draw(some_triples(0)[:4], "tail", stream(3))
    assert drawn.typed is None
    assert torch.equal(drawn.entities, torch.unique(torch.randint(ENTITIES, (12,), generator=stream(3))))
    every = those_of(some_triples(0), typed_negatives=0.0, negatives=ENTITIES)
    assert every.draw(some_triples(0)[:4], "head", stream(3)).entities.tolist() == list(range(ENTITIES))


@pytest.mark.parametrize(
    "recipe",
    [
        replace(PLAIN, training="sampled", loss="softmax"),
        replace(PLAIN, training="sampled", loss="self_adversarial", reciprocal=False),
        EmbeddingRecipe(width=24, epochs=150, batch_size=16, negatives=16, rate=0.05),
    ],
    ids=["complex, inverse relations", "complex, both sides", "transe, closed gradients"],
)
def test_both_loops_learn_with_typed_negatives(recipe: EmbeddingRecipe) -> None:
    typed = replace(recipe, typed_negatives=0.5)
    learned = train(grid(), typed, entity_count=24, relation_count=2)
    assert metrics(ranks(learned, grid(), filter=grid()))["mrr"] > 0.9
    again = train(grid(), typed, entity_count=24, relation_count=2)
    np.testing.assert_array_equal(again.entities, learned.entities)


def test_vectors_outside_all_ranges_stay_where_negatives_are_typed_only() -> None:
    apart = np.array([[0, 0, 4], [1, 0, 5], [2, 0, 5], [3, 0, 4]])
    recipe = EmbeddingRecipe(width=8, epochs=1, negatives=4, typed_negatives=1.0, normalize=False)
    before = train(apart, replace(recipe, rate=1e-30), entity_count=9, relation_count=1).entities
    after = train(apart, recipe, entity_count=9, relation_count=1).entities
    assert (before != after).any(1).tolist() == [True] * 6 + [False] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"typed_negatives": 1.5}, "typed_negatives: expected 0 to 1, found 1.5"),
        ({"typed_negatives": 0.5, "training": "1vsall", "loss": "bce"}, "typed_negatives: .* draws no negatives"),
        ({"typed_negatives": 0.5, "engine": "pykeen"}, "typed_negatives: PyKEEN's engine has no such option"),
    ],
)
def test_a_share_without_a_meaning_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        EmbeddingRecipe(**options)
