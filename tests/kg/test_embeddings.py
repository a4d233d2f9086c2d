"""Training of embeddings: gradients against autograd, behavior of the loop, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from kelm.errors import CheckpointError, InputError, RecipeError, TrainingDiverged
from kg.embeddings import (
    EmbeddingRecipe,
    EntityTable,
    KnowledgeGraphEmbedding,
    Progress,
    PykeenEmbedding,
    TrainingInterrupted,
    embed,
    evaluate,
    metrics,
    open_embedding,
    ranks,
    train,
)
from kg.embeddings.answers import Answers, Questions, question_keys
from kg.embeddings.interactions import TransE
from kg.embeddings.losses import LOSSES
from kg.embeddings.train import ClosedTraining, _head_shares
from kg.graph import KnowledgeGraph

PLAIN = EmbeddingRecipe(width=24, epochs=60, batch_size=64, negatives=24, rate=0.1, normalize=False, sharpness=1.0)
SMALL = replace(PLAIN, width=16, epochs=4, negatives=16, rate=0.03)


def grid() -> np.ndarray:
    """24 places in 4 rows of 6: relation 0 leads right, relation 1 down; TransE can draw it exactly."""
    right = [(place, 0, place + 1) for place in range(24) if place % 6 < 5]
    return np.array([*right, *((place, 1, place + 6) for place in range(18))])


def learn(recipe: EmbeddingRecipe, triples: np.ndarray | None = None, **more: object) -> KnowledgeGraphEmbedding:
    triples = grid() if triples is None else triples
    return train(triples, recipe, entity_count=int(triples[:, [0, 2]].max()) + 1, relation_count=2, **more)


def small_graph() -> KnowledgeGraph:
    return KnowledgeGraph.from_triples([(f"Q{head}", f"P{link}", f"Q{tail}") for head, link, tail in grid().tolist()])


@pytest.mark.parametrize("norm", [1, 2])
def test_distances_equal_the_norm_of_the_difference(norm: int) -> None:
    queries, candidates = torch.randn(5, 7, dtype=torch.float64), torch.randn(4, 7, dtype=torch.float64)
    slow = torch.stack([torch.stack([(one - other).norm(p=norm) for other in candidates]) for one in queries])
    torch.testing.assert_close(TransE(norm).distances(queries, candidates), slow)


@pytest.mark.parametrize("norm", [1, 2])
def test_gradients_of_distances_equal_autograds(norm: int) -> None:
    queries = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    candidates = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    slopes = torch.randn(5, 4, dtype=torch.float64)
    distances = torch.stack([(query - candidates).norm(p=norm, dim=1) for query in queries])
    expected = torch.autograd.grad((distances * slopes).sum(), (queries, candidates))
    with torch.no_grad():
        found = TransE(norm).pull(slopes, distances, queries, candidates)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("norm", [1, 2])
def test_gradients_of_pairs_equal_autograds(norm: int) -> None:
    queries = torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    answers = torch.randn(6, 7, dtype=torch.float64)
    expected = (queries - answers).norm(p=norm, dim=1)
    lengths, direction = TransE(norm).pair_distances(queries.detach(), answers)
    torch.testing.assert_close(lengths, expected.detach())
    torch.testing.assert_close(direction, torch.autograd.grad(expected.sum(), queries)[0])


def plain_loss(name: str, positive: torch.Tensor, negative: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """The formulas of the papers, one row after the other, with margin 1.5 and sharpness 0.7."""
    total = positive.new_zeros(())
    for one, others, kept in zip(positive, negative, allowed, strict=True):
        left = others[kept]
        if name == "softmax":
            total = total - functional.log_softmax(-0.7 * torch.cat((one[None], left)), 0)[0]
        elif name == "margin":
            total = total + (1.5 + one - left).clamp(min=0).sum() / len(others)
        else:
            weights = torch.softmax(-0.7 * left, 0).detach() if name == "self_adversarial" else 1 / len(others)
            total = total - functional.logsigmoid(1.5 - one) - (weights * functional.logsigmoid(left - 1.5)).sum()
    return total


@pytest.mark.parametrize("name", list(LOSSES))
def test_slopes_of_losses_equal_autograds_of_the_papers_formulas(name: str) -> None:
    torch.manual_seed(0)
    positive = (torch.rand(6, dtype=torch.float64) * 3).requires_grad_()
    negative = (torch.rand(6, 5, dtype=torch.float64) * 3).requires_grad_()
    allowed = torch.rand(6, 5) > 0.3
    expected = plain_loss(name, positive, negative, allowed)
    slopes = torch.autograd.grad(expected, (positive, negative))
    with torch.no_grad():
        loss, up, down = LOSSES[name](positive.detach(), negative.detach(), allowed, 1.5, 0.7)
    assert loss == pytest.approx(float(expected.detach()))
    torch.testing.assert_close(up, slopes[0])
    torch.testing.assert_close(down, slopes[1])


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_question_whose_negatives_are_all_known_answers_makes_no_nan(name: str) -> None:
    loss, up, down = LOSSES[name](torch.ones(2), torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool), 1.0, 1.0)
    assert np.isfinite(loss)
    assert torch.isfinite(up).all()
    assert torch.equal(down, torch.zeros(2, 3))


@pytest.mark.parametrize("side", ["head", "tail"])
@pytest.mark.parametrize("norm", [1, 2])
def test_a_step_of_the_loop_follows_the_gradient_of_the_plain_loss(side: str, norm: int) -> None:
    """Adagrad's first step moves every coordinate by the rate against the sign of its gradient."""
    recipe = replace(SMALL, norm=norm, optimizer="adagrad", negatives=99)
    loop = ClosedTraining(grid(), 24, 2, recipe, "")
    entities = loop.entities.vectors.clone().double().requires_grad_()
    relations = loop.relations.vectors.clone().double().requires_grad_()
    chunk = grid()[:10]
    total = torch.zeros((), dtype=torch.float64)
    true = {tuple(row) for row in grid().tolist()}
    for head, link, tail in chunk.tolist():
        wrong = [(head, link, one) if side == "tail" else (one, link, tail) for one in range(24)]
        asked = [(head, link, tail), *(triple for triple in wrong if triple not in true)]
        ids = torch.tensor(asked)
        distances = (entities[ids[:, 0]] + relations[ids[:, 1]] - entities[ids[:, 2]]).norm(p=norm, dim=1)
        total = total - functional.log_softmax(-distances, 0)[0]
    slopes = torch.autograd.grad(total, (entities, relations))
    loss = loop._step(chunk, side, 0.01)
    assert loss == pytest.approx(float(total.detach()), rel=1e-5)
    for rows, before, slope in zip((loop.entities, loop.relations), (entities, relations), slopes, strict=True):
        moved = rows.vectors.double() - before.detach()
        clear = slope.abs() > 1e-5
        torch.testing.assert_close(moved[clear], -0.01 * slope.sign()[clear], atol=1e-6, rtol=1e-3)


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others() -> None:
    first, again, other = (learn(replace(SMALL, seed=seed)) for seed in (0, 0, 1))
    assert np.array_equal(first.entities, again.entities)
    assert np.array_equal(first.relations, again.relations)
    assert not np.array_equal(first.entities, other.entities)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("loss", list(LOSSES))
def test_a_small_graph_is_learned_by_heart(norm: int, loss: str) -> None:
    recipe = replace(PLAIN, norm=norm, loss=loss, margin=4.0)
    assert metrics(ranks(learn(recipe), grid(), filter=grid()))["mrr"] > 0.9


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": "bernoulli"},
        {"sampler": "uniform"},
        {"optimizer": "adagrad", "rate": 0.3},
        {"normalize": True, "sharpness": 8.0},
        {"filtered": False},
        {"regularization": 1e-4},
    ],
)
def test_every_choice_learns(change: dict[str, object]) -> None:
    assert metrics(ranks(learn(replace(PLAIN, **change)), grid(), filter=grid()))["mrr"] > 0.7


def test_the_defaults_learn_a_small_graph() -> None:
    assert metrics(ranks(learn(EmbeddingRecipe(epochs=120)), grid(), filter=grid()))["mrr"] > 0.9


def test_a_small_graph_is_still_cut_into_batches() -> None:
    triples = np.stack([np.arange(640) % 24, np.zeros(640, np.int64), np.arange(640) % 23], axis=1)
    sizes = [ClosedTraining(triples[:count], 24, 2, EmbeddingRecipe(), "").batch_size for count in (5, 640)]
    assert sizes == [16, 16]
    assert ClosedTraining(np.tile(triples, (10, 1)), 24, 2, EmbeddingRecipe(), "").batch_size == 100
    assert ClosedTraining(triples, 24, 2, EmbeddingRecipe(batch_size=4), "").batch_size == 4


def test_normalized_entities_have_length_one() -> None:
    embedding = learn(replace(SMALL, normalize=True))
    assert np.linalg.norm(embedding.entities, axis=1) == pytest.approx(np.ones(24), abs=1e-5)


def test_bernoulli_corrupts_the_end_that_has_fewer_answers() -> None:
    triples = np.array([[0, 0, tail] for tail in range(1, 4)] + [[4, 1, 5]])  # relation 0: three tails a head
    assert _head_shares(triples, 2, "bernoulli").tolist() == pytest.approx([0.75, 0.5])
    assert _head_shares(triples, 2, "uniform").tolist() == [0.5, 0.5]
    assert _head_shares(triples, 2, "both") is None


@pytest.mark.parametrize("side", ["head", "tail"])
def test_known_answers_are_found_from_either_end(side: str) -> None:
    random = np.random.default_rng(0)
    triples = np.stack([random.integers(0, count, 80) for count in (12, 3, 12)], axis=1)
    counts = {"entity_count": 12, "relation_count": 3}
    true = {tuple(row) for row in triples.tolist()}
    asked, candidates = np.concatenate((triples[:9], triples[:2])), np.array([0, 3, 4, 11])
    keys = question_keys(asked, side, 3)
    expected = [
        [((h, r, one) if side == "tail" else (one, r, t)) in true for one in candidates] for h, r, t in asked.tolist()
    ]
    assert Questions.of(triples, side, **counts).answered(keys, candidates).tolist() == expected
    rows, entities = Answers.of(triples, side, **counts).pairs(keys)
    found = {*zip(rows.tolist(), entities.tolist(), strict=True)}
    for row in range(len(asked)):
        for column, one in enumerate(candidates.tolist()):
            assert ((row, one) in found) == expected[row][column]


def test_a_question_nobody_asked_has_no_answers() -> None:
    answers = Answers.of(grid(), "tail", entity_count=24, relation_count=2)
    assert answers.counts(np.array([0, 10_000])).tolist() == [1, 0]
    empty = Answers.of(np.empty((0, 3), np.int64), "tail", entity_count=24, relation_count=2)
    assert empty.counts(np.array([0])).tolist() == [0]


def test_progress_reports_every_epoch_and_validation_where_it_was_measured() -> None:
    seen: list[Progress] = []
    embedding = learn(replace(SMALL, check_every=2), validation=grid()[:6], progress=seen.append)
    assert [one.epoch for one in seen] == [1, 2, 3, 4]
    assert [one.mrr is not None for one in seen] == [False, True, False, True]
    assert all(one.triples_per_second > 0 for one in seen)
    assert embedding.history[-1]["mrr"] == seen[-1].mrr


def test_training_stops_early_and_returns_the_best_vectors() -> None:
    recipe = replace(SMALL, epochs=400, rate=0.05, check_every=5, patience=2)
    seen: list[Progress] = []
    embedding = learn(recipe, validation=grid(), progress=seen.append)
    best = max(one.mrr for one in seen if one.mrr is not None)
    assert len(seen) < 400
    assert metrics(ranks(embedding, grid(), filter=grid()))["mrr"] == pytest.approx(best)


@pytest.mark.parametrize("recipe", [SMALL, replace(SMALL, engine="pykeen", model="DistMult", negatives=2)])
def test_an_interrupt_hands_over_what_was_learned(recipe: EmbeddingRecipe) -> None:
    def interrupt(done: Progress) -> None:
        if done.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted) as caught:
        learn(recipe, progress=interrupt)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert len(caught.value.embedding.history) == 2
    assert np.isfinite(caught.value.embedding.entities).all()


def test_an_interrupted_command_writes_what_was_learned(tmp_path: Path) -> None:
    def interrupt(done: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted):
        embed(small_graph(), tmp_path, SMALL, progress=interrupt)
    assert len(open_embedding(tmp_path).history) == 1
    assert len(EntityTable.open(tmp_path / "table")) == 24


def test_a_loss_that_is_not_a_number_stops_training_and_names_the_batch() -> None:
    with pytest.raises(TrainingDiverged, match=r"epoch 1, batch \d+ of 3"):
        learn(replace(SMALL, rate=1e30))


def test_a_graph_without_triples_cannot_be_learned() -> None:
    with pytest.raises(InputError, match="no triples"):
        train(np.empty((0, 3), np.int64), SMALL, entity_count=3, relation_count=1)


def test_an_array_needs_its_counts() -> None:
    with pytest.raises(InputError, match="entity_count"):
        train(grid(), SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": 3}, "norm"),
        ({"loss": "softmx"}, 'Did you mean "softmax"'),
        ({"model": "TransD"}, 'engine = "pykeen"'),
        ({"epochs": 0}, "at least 1"),
        ({"rate": 0.0}, "more than 0"),
        ({"rate": float("nan")}, "more than 0"),
        ({"patience": -1}, "0 or more"),
    ],
)
def test_an_impossible_recipe_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(SMALL, **change)


def test_a_recipe_survives_json_and_refuses_unknown_keys() -> None:
    assert EmbeddingRecipe.of(SMALL.facts()) == SMALL
    with pytest.raises(RecipeError, match='Did you mean "epochs"'):
        EmbeddingRecipe.of({"epoch": 3})


def test_a_graph_is_embedded_saved_opened_and_evaluated(tmp_path: Path) -> None:
    graph = small_graph()
    embedding = embed(graph, tmp_path, replace(SMALL, epochs=30, rate=0.05))
    opened = open_embedding(tmp_path)
    assert np.array_equal(opened.entities, embedding.entities)
    assert opened.recipe == embedding.recipe
    assert opened.history == embedding.history
    table = EntityTable.open(tmp_path / "table")
    assert np.array_equal(table.vectors[table.ids(["Q5"])[0]], embedding.entities[graph.entities.id("Q5")])
    assert table.facts["graph"] == graph.fingerprint()
    test = KnowledgeGraph.from_triples([("Q1", "P0", "Q2"), ("Q1", "P0", "Q999")])
    figures = evaluate(opened, graph, test)
    assert (figures["triples"], figures["left_out"]) == (1, 1)
    expected = ranks(embedding, np.array([[1, 0, 2]]), filter=graph)
    assert figures["tail"]["mean_rank"] == expected["tail"].mean()
    assert figures["both"]["mrr"] == metrics(expected)["mrr"]


def test_an_embedding_of_another_graph_gives_no_table() -> None:
    embedding = train(small_graph(), SMALL)
    other = KnowledgeGraph.from_triples([("Q1", "P0", "Q2")])
    with pytest.raises(InputError, match="another graph"):
        embedding.table(other)
    renamed = KnowledgeGraph.from_triples([(f"E{h}", f"P{r}", f"E{t}") for h, r, t in grid().tolist()])
    with pytest.raises(InputError, match="another graph"):
        embedding.table(renamed)


def test_a_damaged_embedding_is_refused(tmp_path: Path) -> None:
    learn(SMALL).save(tmp_path)
    path = tmp_path / "embedding.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"embedding\.safetensors"):
        open_embedding(tmp_path)
    with pytest.raises(CheckpointError, match="no embedding is here"):
        open_embedding(tmp_path / "elsewhere")


def test_an_embedding_with_a_damaged_recipe_is_refused(tmp_path: Path) -> None:
    learn(SMALL).save(tmp_path)
    path = tmp_path / "embedding.safetensors"
    whole = path.read_bytes()
    for good, bad in ((b"epochs", b"epoch3"), (b"transe", b"transf")):
        assert good in whole
        path.write_bytes(whole.replace(good, bad))
        with pytest.raises(CheckpointError, match=r"embedding\.safetensors: its recipe is damaged .* Embed the graph"):
            open_embedding(tmp_path)


def test_a_full_disk_leaves_the_old_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(SMALL).save(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("kg.embeddings.embedding.save_file", full)
        with pytest.raises(CheckpointError, match="No space left"):
            learn(replace(SMALL, seed=1)).save(tmp_path)
    assert open_embedding(tmp_path).recipe.seed == 0
    assert [path.name for path in tmp_path.iterdir()] == ["embedding.safetensors"]


@pytest.mark.parametrize("model", ["RotatE", "TransE", "DistMult", "ComplEx", "TransD"])
def test_any_pykeen_model_trains_saves_and_ranks_by_the_same_calls(model: str, tmp_path: Path) -> None:
    graph = small_graph()
    recipe = EmbeddingRecipe(
        engine="pykeen", model=model, width=8, epochs=3, batch_size=16, negatives=4, rate=0.05, check_every=3
    )
    seen: list[Progress] = []
    embedding = train(graph, recipe, validation=grid()[:5], progress=seen.append)
    assert [one.epoch for one in seen] == [1, 2, 3]
    assert seen[-1].mrr is not None
    embedding.save(tmp_path)
    opened = open_embedding(tmp_path)
    assert isinstance(opened, PykeenEmbedding)
    first, second = (ranks(one, grid(), filter=graph) for one in (embedding, opened))
    assert first["head"].tolist() == second["head"].tolist()
    table = opened.table(graph)
    assert len(table) == 24
    assert table.facts["recipe"]["model"] == model


def test_a_pykeen_model_learns_a_small_graph() -> None:
    recipe = EmbeddingRecipe(
        engine="pykeen", model="RotatE", width=24, epochs=30, batch_size=38, negatives=8, rate=0.1, margin=4.0,
        loss="self_adversarial",
    )  # fmt: skip
    assert metrics(ranks(learn(recipe), grid(), filter=grid()))["mrr"] > 0.7


def test_an_unknown_pykeen_model_names_the_closest() -> None:
    with pytest.raises(RecipeError, match="rotate"):
        learn(replace(SMALL, engine="pykeen", model="RotatEE"))


def test_an_option_that_the_pykeen_model_lacks_is_refused() -> None:
    with pytest.raises(RecipeError, match="cannot be built"):
        learn(replace(SMALL, engine="pykeen", model="DistMult", options={"colour": 3}))


def test_a_pykeen_model_trained_elsewhere_is_not_saved_as_ours(tmp_path: Path) -> None:
    embedding = train(small_graph(), replace(SMALL, engine="pykeen", model="DistMult", negatives=2, epochs=1))
    with pytest.raises(CheckpointError, match="outside kelm"):
        PykeenEmbedding.of(embedding.model).save(tmp_path)
