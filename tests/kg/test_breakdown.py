"""Figures by relation and cardinality, bootstrap intervals and triple classification, against slow versions."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from kelm.errors import InputError
from kg.embeddings import EmbeddingRecipe, KnowledgeGraphEmbedding, PykeenEmbedding, Ranks, metrics, train
from kg.embeddings.bilinear import ComplEx
from kg.embeddings.breakdown import (
    cardinalities,
    intervals,
    metrics_by_cardinality,
    metrics_by_relation,
    subset,
)
from kg.embeddings.classification import Thresholds, accuracy_and_f1, best_threshold, classify, triple_scores
from kg.embeddings.ranking import SideRanks


def some_triples(seed: int, count: int = 60) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, count) for size in (15, 6, 25)], axis=1)


def some_ranks(seed: int, count: int) -> Ranks:
    random = np.random.default_rng(seed)
    sides = ("head", "tail")
    return Ranks(
        {side: SideRanks(*random.integers(0, 9, (2, count)), np.full(count, 30)) for side in sides}, "realistic"
    )


@pytest.mark.parametrize("seed", range(5))
def test_cardinalities_equal_the_means_of_the_definition(seed: int) -> None:
    triples = some_triples(seed, 30)
    for relation, kind in enumerate(cardinalities(triples, 7)):
        tails, heads = defaultdict(set), defaultdict(set)
        for head, link, tail in triples.tolist():
            if link == relation:
                tails[head].add(tail)
                heads[tail].add(head)
        if not tails:
            assert kind is None
            continue
        many = [np.mean([len(one) for one in group.values()]) >= 1.5 for group in (heads, tails)]
        assert kind == f"{'N' if many[0] else '1'}-{'N' if many[1] else '1'}"


def test_cardinalities_of_the_four_kinds() -> None:
    one, many = [(0, 0, 1), (2, 0, 3)], [(0, 1, tail) for tail in range(5)]
    triples = [*one, *many, *((tail, 2, head) for head, _, tail in many)]
    triples += [(head, 3, tail) for head in range(3) for tail in range(3)]
    assert cardinalities(np.array(triples), 5) == ("1-1", "1-N", "N-1", "N-N", None)


def test_figures_by_relation_are_those_of_its_triples_alone() -> None:
    triples, found = some_triples(1), some_ranks(1, 60)
    by_relation = metrics_by_relation(found, triples, at=(1, 5))
    for relation, figures in by_relation.items():
        places = [
            (found["head"][row], found["tail"][row]) for row, link in enumerate(triples[:, 1]) if link == relation
        ]
        assert figures["triples"] == len(places)
        assert figures["mrr"] == pytest.approx(np.mean([1 / rank for pair in places for rank in pair]))
        assert figures["hits@5"] == pytest.approx(np.mean([rank <= 5 for pair in places for rank in pair]))
    total = sum(one["mrr"] * one["triples"] for one in by_relation.values()) / 60
    assert total == pytest.approx(metrics(found)["mrr"])


def test_figures_by_cardinality_are_those_of_its_relations() -> None:
    triples, found = some_triples(2), some_ranks(2, 60)
    classes = ("1-1", "N-N", None, "1-N", "N-N", "1-1")
    by_class = metrics_by_cardinality(found, triples, classes)
    assert list(by_class) == ["1-1", "1-N", "N-N"]
    rows = np.isin(triples[:, 1], [1, 4])
    assert by_class["N-N"]["all"] == {"triples": rows.sum(), **metrics(subset(found, rows))}
    assert by_class["N-N"]["head"]["mrr"] == pytest.approx((1 / found["head"][rows]).mean())


def test_intervals_equal_those_of_a_plain_bootstrap() -> None:
    found, draws = some_ranks(3, 80), 4000
    fast = intervals(found, np.random.default_rng(0), at=(3,), draws=draws)
    random, slow = np.random.default_rng(1), []
    for _ in range(draws):
        rows = random.integers(0, 80, 80)
        slow.append(np.mean([(1 / found[side][rows]).mean() for side in ("head", "tail")]))
    assert fast["mrr"] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.006)
    assert fast["mrr"][0] < metrics(found)["mrr"] < fast["mrr"][1]
    assert fast["hits@3"][0] < metrics(found)["hits@3"] < fast["hits@3"][1]
    assert intervals(found, np.random.default_rng(0), at=(3,), draws=draws) == fast
    with pytest.raises(InputError, match="no ranks"):
        intervals(subset(found, np.zeros(80, np.bool_)), np.random.default_rng(0))


@settings(max_examples=60, deadline=None)
@given(
    pairs=some.lists(some.tuples(some.integers(-3, 3), some.booleans()), min_size=1, max_size=12),
)
def test_no_threshold_is_better_than_the_best(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in pairs], np.float32)
    labels = np.array([label for _, label in pairs])
    found = ((scores >= best_threshold(scores, labels)) == labels).sum()
    assert found == max(((scores >= cut) == labels).sum() for cut in np.arange(-4, 5) + 0.5)


def test_each_relation_has_its_threshold_and_an_unseen_one_that_of_all() -> None:
    scores = np.array([1, 2, 11, 12], np.float32)
    labels, relations = np.array([False, True, False, True]), np.array([0, 0, 1, 1])
    thresholds = Thresholds.tuned(scores, labels, relations, 3)
    assert thresholds.values.tolist() == [1.5, 11.5, best_threshold(scores, labels)]
    assert thresholds.judge(np.array([1.5, 11.4], np.float32), np.array([0, 1])).tolist() == [True, False]


def test_accuracy_and_f1_equal_scikit_learns() -> None:
    random = np.random.default_rng(0)
    predicted, labels = random.random((2, 50)) > 0.4
    found = accuracy_and_f1(predicted, labels)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, average="binary")
    assert list(found.values()) == pytest.approx([accuracy_score(labels, predicted), precision, recall, f1])


def test_scores_of_triples_are_the_models() -> None:
    random = np.random.default_rng(0)
    entities, relations = (random.standard_normal((size, 6)).astype(np.float32) for size in (25, 6))
    embedding = KnowledgeGraphEmbedding(ComplEx(), entities, relations, EmbeddingRecipe(model="complex", width=6))
    triples = some_triples(0)
    heads, links, tails = (
        part[ids, 0::2] + 1j * part[ids, 1::2]
        for part, ids in zip((entities, relations, entities), triples.T, strict=True)
    )
    expected = (heads * links * tails.conj()).sum(1).real
    assert triple_scores(embedding, triples) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("engine", ["kelm", "pykeen"])
def test_triples_learned_by_heart_are_told_from_false_ones(engine: str) -> None:
    triples = np.array([(place, 0, (place + 1) % 12) for place in range(12)])
    wrong = triples.copy()
    wrong[:, 2] = (wrong[:, 2] + 3) % 12
    recipe = EmbeddingRecipe(engine=engine, model="complex", width=16, epochs=80, batch_size=4, negatives=6, rate=0.05)
    embedding = train(triples, recipe, entity_count=12, relation_count=1)
    assert isinstance(embedding, PykeenEmbedding) == (engine == "pykeen")
    assert classify(embedding, triples, wrong, triples, wrong)["accuracy"] > 0.9
