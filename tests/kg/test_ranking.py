"""Ranking against a slow loop, against PyKEEN, and on hand-worked graphs."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from kelm.errors import InputError
from kg.embeddings import KnowledgeGraphEmbedding, PykeenEmbedding, metrics, ranks
from kg.embeddings.interactions import TransE
from kg.embeddings.pykeen import PykeenScorer
from kg.embeddings.recipe import EmbeddingRecipe


def embedding_of(entities: object, relations: object, norm: int) -> KnowledgeGraphEmbedding:
    vectors = (np.asarray(part, np.float32) for part in (entities, relations))
    return KnowledgeGraphEmbedding(TransE(norm), *vectors, EmbeddingRecipe(norm=norm))


def exact_scores(norm: int, query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    candidates = torch.from_numpy(vectors)
    return TransE(norm).scores(torch.from_numpy(query).expand_as(candidates), candidates).numpy()


def some_graph(
    seed: int, *, entities: int = 40, relations: int = 3, width: int = 6, triples: int = 60
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors on a coarse grid, a third of the entities with the vector of another: ties everywhere."""
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, (entities, width)).astype(np.float32) / 4
    vectors[random.choice(entities, entities // 3, replace=False)] = vectors[0]
    links = random.integers(-1, 2, (relations, width)).astype(np.float32) / 4
    rows = np.stack([random.integers(0, count, triples) for count in (entities, relations, entities)], axis=1)
    return vectors, links, np.unique(rows, axis=0)


def slow_ranks(
    vectors: np.ndarray, links: np.ndarray, judged: np.ndarray, known: np.ndarray | None, norm: int, side: str
) -> tuple[list[int], list[int], list[int]]:
    """Better, tied and all candidates of every triple, by the definition, in float64 (exact on the grid)."""
    true = set() if known is None else {tuple(row) for row in (*known.tolist(), *judged.tolist())}

    def score(triple: Iterable[int]) -> float:
        head, relation, tail = triple
        difference = np.abs(vectors[head].astype(float) + links[relation].astype(float) - vectors[tail].astype(float))
        return -float(difference.sum() if norm == 1 else np.sqrt((difference**2).sum()))

    counts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for head, relation, tail in judged.tolist():
        others = [
            triple
            for entity in range(len(vectors))
            for triple in [(head, relation, entity) if side == "tail" else (entity, relation, tail)]
            if triple != (head, relation, tail) and triple not in true
        ]
        scores, own = [score(triple) for triple in others], score((head, relation, tail))
        counts[0].append(sum(one > own for one in scores))
        counts[1].append(sum(one == own for one in scores))
        counts[2].append(len(others) + 1)
    return counts


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("side", ["head", "tail"])
@pytest.mark.parametrize("seed", range(4))
def test_ranks_equal_those_of_a_plain_loop(norm: int, filtered: bool, side: str, seed: int) -> None:
    vectors, links, triples = some_graph(seed)
    judged, known = triples[:25], triples[25:] if filtered else None
    found = ranks(embedding_of(vectors, links, norm), judged, filter=known, sides=(side,)).sides[side]
    better, tied, candidates = slow_ranks(vectors, links, judged, known, norm, side)
    assert found.better.tolist() == better
    assert found.tied.tolist() == tied
    assert found.candidates.tolist() == candidates
    assert sum(tied) > 0, "the example has no ties and proves nothing about them"


def pykeen_model(vectors: np.ndarray, links: np.ndarray, triples: np.ndarray, norm: int) -> object:
    from pykeen.models import TransE as PeerTransE
    from pykeen.triples import CoreTriplesFactory

    factory = CoreTriplesFactory(
        torch.from_numpy(triples.astype(np.int64)), num_entities=len(vectors), num_relations=len(links)
    )
    model = PeerTransE(triples_factory=factory, embedding_dim=vectors.shape[1], scoring_fct_norm=norm, random_seed=0)
    with torch.no_grad():
        model.entity_representations[0]._embeddings.weight.copy_(torch.from_numpy(vectors))
        model.relation_representations[0]._embeddings.weight.copy_(torch.from_numpy(links))
    return model.eval()


def pykeen_ranks(model: object, judged: np.ndarray, known: np.ndarray, ties: str, batch: int = 16) -> dict[str, list]:
    from pykeen.evaluation import RankBasedEvaluator

    evaluator = RankBasedEvaluator(filtered=True)
    kept: dict[str, list] = {}
    evaluator.finalize = lambda: kept.update(  # it clears the ranks afterwards
        {side: np.concatenate(found).tolist() for (side, rule), found in evaluator.ranks.items() if rule == ties}
    )
    evaluator.evaluate(
        model=model,
        mapped_triples=torch.from_numpy(judged.astype(np.int64)),
        additional_filter_triples=[torch.from_numpy(known.astype(np.int64))],
        batch_size=batch,
        use_tqdm=False,
    )
    return kept


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("ties", ["realistic", "optimistic", "pessimistic"])
@pytest.mark.parametrize("grid", [True, False])
def test_ranks_equal_pykeens(norm: int, ties: str, grid: bool) -> None:
    vectors, links, triples = some_graph(7, entities=300, relations=5, width=33, triples=900)
    if not grid:  # numbers that round, and entities with equal vectors among them
        noise = np.random.default_rng(1).standard_normal(vectors.shape).astype(np.float32)
        vectors = noise[np.unique(vectors, axis=0, return_inverse=True)[1]]
    judged, known = triples[:200], triples[200:]
    ours = ranks(embedding_of(vectors, links, norm), judged, filter=known, ties=ties)
    theirs = pykeen_ranks(pykeen_model(vectors, links, triples, norm), judged, known, ties)
    assert ours["head"].tolist() == theirs["head"]
    assert ours["tail"].tolist() == theirs["tail"]


def test_entities_with_equal_vectors_tie_whatever_the_order_of_summation() -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2_500, 100), np.float32) * 30
    vectors[1_000:1_050] = vectors[7]
    links = random.standard_normal((2, 100), np.float32)
    for norm in (1, 2):
        found = ranks(embedding_of(vectors, links, norm), np.array([[3, 0, 7], [7, 1, 4]]), sides=("head", "tail"))
        assert found.sides["tail"].tied[0] == 50
        assert found.sides["head"].tied[1] == 50


@pytest.mark.parametrize("norm", [1, 2])
def test_candidates_that_differ_in_the_last_bit_are_ordered_exactly(norm: int) -> None:
    """Near ties are decided by the exact scores, not by the noise of the fast ones."""
    base = np.random.default_rng(3).standard_normal(64).astype(np.float32)
    steps = np.arange(-8, 9)
    vectors = np.stack([base, *(base * np.float32(2) + np.spacing(base) * np.float32(step) for step in steps)])
    embedding = embedding_of(vectors, np.zeros((1, 64)), norm)
    triples = np.array([[0, 0, tail] for tail in range(1, len(vectors))])
    scores = exact_scores(norm, vectors[0], vectors)
    found = ranks(embedding, triples, sides=("tail",)).sides["tail"]
    assert found.better.tolist() == [(scores > scores[tail]).sum() for tail in triples[:, 2]]
    assert found.tied.tolist() == [(scores == scores[tail]).sum() - 1 for tail in triples[:, 2]]


@settings(max_examples=30, deadline=None)
@given(seed=some.integers(0, 10_000), norm=some.sampled_from([1, 2]), scale=some.sampled_from([1e-3, 1.0, 1e3]))
def test_ranks_equal_those_of_the_exact_scores_for_any_vectors(seed: int, norm: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    vectors = (random.standard_normal((60, 17)) * scale + random.standard_normal(17) * 10 * scale).astype(np.float32)
    vectors[random.integers(60, size=10)] = vectors[3]
    links = (random.standard_normal((2, 17)) * scale).astype(np.float32)
    triples = np.stack([random.integers(0, count, 20) for count in (60, 2, 60)], axis=1)
    found = ranks(embedding_of(vectors, links, norm), triples, sides=("tail",)).sides["tail"]
    for row, (head, relation, tail) in enumerate(triples.tolist()):
        query = vectors[head] + links[relation]
        scores = exact_scores(norm, query, vectors)
        assert found.better[row] == (scores > scores[tail]).sum()
        assert found.tied[row] == (scores == scores[tail]).sum() - 1


def test_scores_within_the_tolerance_tie() -> None:
    embedding = embedding_of([[0.0], [1.0], [1.01], [1.5], [0.99]], [[0.0]], 1)
    strict = ranks(embedding, np.array([[0, 0, 1]]), sides=("tail",)).sides["tail"]
    loose = ranks(embedding, np.array([[0, 0, 1]]), sides=("tail",), tolerance=0.02).sides["tail"]
    assert (strict.better[0], strict.tied[0]) == (2, 0)  # entity 0 itself, and entity 4
    assert (loose.better[0], loose.tied[0]) == (1, 2)


def test_the_filter_leaves_out_other_known_answers_but_never_the_true_one() -> None:
    embedding = embedding_of([[0.0], [1.0], [2.0], [3.0]], [[0.0]], 1)
    judged = np.array([[0, 0, 3]])
    raw = ranks(embedding, judged, sides=("tail",))
    filtered = ranks(embedding, judged, filter=np.array([[0, 0, 1], [0, 0, 2], [0, 0, 3]]), sides=("tail",))
    assert raw["tail"].tolist() == [4.0]
    assert filtered["tail"].tolist() == [2.0]
    assert filtered.sides["tail"].candidates.tolist() == [2]


def test_an_empty_filter_still_leaves_out_the_judged_triples_themselves() -> None:
    embedding = embedding_of([[0.0], [1.0], [2.0]], [[0.0]], 1)
    found = ranks(embedding, np.array([[0, 0, 1], [0, 0, 2]]), filter=np.empty((0, 3), np.int64), sides=("tail",))
    assert found["tail"].tolist() == [2.0, 2.0]


def test_a_repeated_triple_counts_each_time() -> None:
    vectors, links, triples = some_graph(5)
    embedding = embedding_of(vectors, links, 2)
    once, twice = (ranks(embedding, rows, filter=triples) for rows in (triples[:4], np.repeat(triples[:4], 2, axis=0)))
    assert np.repeat(once["head"], 2).tolist() == twice["head"].tolist()


def test_metrics_equal_pykeens() -> None:
    from pykeen.evaluation import RankBasedEvaluator

    vectors, links, triples = some_graph(9, entities=200, relations=4, width=12, triples=500)
    judged, known = triples[:150], triples[150:]
    theirs = RankBasedEvaluator(filtered=True).evaluate(
        model=pykeen_model(vectors, links, triples, 2),
        mapped_triples=torch.from_numpy(judged),
        additional_filter_triples=[torch.from_numpy(known)],
        batch_size=50,
        use_tqdm=False,
    )
    found = ranks(embedding_of(vectors, links, 2), judged, filter=known)
    names = {
        "mrr": "inverse_harmonic_mean_rank",
        "hits@1": "hits_at_1",
        "hits@3": "hits_at_3",
        "hits@10": "hits_at_10",
        "mean_rank": "arithmetic_mean_rank",
        "amri": "adjusted_arithmetic_mean_rank_index",
    }
    for side, peer in ((None, "both"), ("head", "head"), ("tail", "tail")):
        for name, figure in metrics(found, side=side).items():
            assert figure == pytest.approx(theirs.get_metric(f"{peer}.realistic.{names[name]}"), rel=1e-6, abs=1e-6)


def test_ties_can_be_counted_anew_without_ranking_again() -> None:
    vectors, links, triples = some_graph(2)
    found = ranks(embedding_of(vectors, links, 1), triples)
    realistic = (found.having("optimistic")["head"] + found.having("pessimistic")["head"]) / 2
    assert found["head"].tolist() == realistic.tolist()


@pytest.mark.parametrize("name", ["DistMult", "RotatE", "TransH"])
def test_any_pykeen_model_is_ranked_as_pykeen_ranks_it(name: str) -> None:
    from pykeen.models import model_resolver
    from pykeen.triples import CoreTriplesFactory

    _, _, triples = some_graph(4, entities=80, relations=4, triples=200)
    factory = CoreTriplesFactory(torch.from_numpy(triples), num_entities=80, num_relations=4)
    model = model_resolver.make(name, triples_factory=factory, embedding_dim=8, random_seed=1).eval()
    judged, known = triples[:40], triples[40:]
    ours = ranks(PykeenEmbedding.of(model), judged, filter=known)
    theirs = pykeen_ranks(model, judged, known, "realistic")
    assert ours["head"].tolist() == theirs["head"]
    assert ours["tail"].tolist() == theirs["tail"]


@pytest.mark.parametrize("norm", [1, 2])
def test_pykeens_transe_is_ranked_the_same_by_the_fast_way_and_by_its_own_scores(norm: int) -> None:
    vectors, links, triples = some_graph(11, entities=150, width=20, triples=300)
    model = pykeen_model(vectors, links, triples, norm)

    class Slow:
        def scorer(self) -> PykeenScorer:
            return PykeenScorer(model)

    fast, slow = (ranks(one, triples[:60], filter=triples) for one in (PykeenEmbedding.of(model), Slow()))
    assert type(PykeenEmbedding.of(model).scorer()).__name__ == "ScreenedTransE"
    assert fast["head"].tolist() == slow["head"].tolist()
    assert fast["tail"].tolist() == slow["tail"].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"triples": np.array([[0, 0, 9]])}, "tail 9 of triple 0"),
        ({"triples": np.array([[0, 5, 1]])}, "relation 5 of triple 0"),
        ({"triples": np.array([[-1, 0, 1]])}, "head -1 of triple 0"),
        ({"triples": np.array([0, 0, 1])}, "3 columns"),
        ({"triples": np.array([[0.0, 0.0, 1.0]])}, "float64"),
        ({"triples": np.array([[0, 0, 1]]), "sides": ("middle",)}, "middle"),
        ({"triples": np.array([[0, 0, 1]]), "ties": "random"}, "random"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments: dict[str, object], message: str) -> None:
    embedding = embedding_of([[0.0], [1.0]], [[0.0]], 1)
    with pytest.raises(InputError, match=message):
        ranks(embedding, **arguments)  # type: ignore[arg-type]


def test_vectors_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        ranks(embedding_of([[0.0], [np.nan]], [[0.0]], 1), np.array([[0, 0, 1]]))


def test_no_ranks_have_no_mean() -> None:
    found = ranks(embedding_of([[0.0], [1.0]], [[0.0]], 1), np.empty((0, 3), np.int64))
    with pytest.raises(InputError, match="no ranks"):
        metrics(found)


def read_codex(size: str) -> list[np.ndarray]:
    """The splits of CoDEx as ids; skips where the data is not there."""
    root = os.environ.get("KELM_DATA")
    if not root:
        pytest.skip("KELM_DATA is not set: CoDEx is not here")
    names: tuple[dict[str, int], dict[str, int]] = ({}, {})
    splits = []
    for split in ("train", "valid", "test"):
        path = Path(root) / "kg" / "codex" / f"codex-{size}" / f"{split}.txt.gz"
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [line.rstrip("\n").split("\t") for line in lines]
        ids = [
            [kind.setdefault(name, len(kind)) for kind, name in zip((names[0], names[1], names[0]), row, strict=True)]
            for row in rows
        ]
        splits.append(np.array(ids, np.int64))
    return splits


@pytest.mark.parametrize("norm", [1, 2])
def test_ranks_on_codex_equal_pykeens(norm: int) -> None:
    from kg.embeddings import train

    training, valid, test = read_codex("s")
    everything = np.concatenate((training, valid, test))
    entities, relations = int(everything[:, [0, 2]].max()) + 1, int(everything[:, 1].max()) + 1
    recipe = EmbeddingRecipe(norm=norm, width=32, epochs=1)
    embedding = train(training, recipe, entity_count=entities, relation_count=relations)
    judged, known = test[:250], everything
    ours = ranks(embedding, judged, filter=known)
    model = pykeen_model(embedding.entities, embedding.relations, training, norm)
    theirs = pykeen_ranks(model, judged, known, "realistic", batch=64)
    assert ours["head"].tolist() == theirs["head"]
    assert ours["tail"].tolist() == theirs["tail"]
