"""Training by autograd: losses and penalties against plain ones, the loop's behavior, resuming, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from kelm.errors import CheckpointError, InputError, RecipeError
from kg.embeddings import (
    EmbeddingRecipe,
    KnowledgeGraphEmbedding,
    Progress,
    TrainingInterrupted,
    embed,
    evaluate,
    metrics,
    open_embedding,
    ranks,
    train,
)
from kg.embeddings.all_losses import binary_cross_entropy, cross_entropy
from kg.embeddings.models import MODELS
from kg.embeddings.query_training import QueryTraining
from kg.graph import KnowledgeGraph

PLAIN = EmbeddingRecipe(
    model="complex", width=24, epochs=60, batch_size=8, rate=0.3, optimizer="adagrad", training="1vsall",
    loss="cross_entropy", normalize=False, sharpness=1.0, margin=3.0, negatives=24, kernel=2, decay="constant",
    reciprocal=True,
)  # fmt: skip
SMALL = replace(PLAIN, width=8, epochs=6, entity_dropout=0.1, check_every=2)
DEEP = {"tucker": {"optimizer": "adam", "rate": 0.01}, "conve": {"optimizer": "adam", "rate": 0.01}}
WAYS = [
    ("1vsall", "cross_entropy"),
    ("1vsall", "bce"),
    ("kvsall", "cross_entropy"),
    ("kvsall", "bce"),
    ("sampled", "softmax"),
    ("sampled", "self_adversarial"),
    ("sampled", "margin"),
]


def grid() -> np.ndarray:
    """24 places in 4 rows of 6: relation 0 leads right, relation 1 down."""
    right = [(place, 0, place + 1) for place in range(24) if place % 6 < 5]
    return np.array([*right, *((place, 1, place + 6) for place in range(18))])


def learn(recipe: EmbeddingRecipe, **more: object) -> KnowledgeGraphEmbedding:
    return train(grid(), recipe, entity_count=24, relation_count=2, **more)


def small_graph() -> KnowledgeGraph:
    return KnowledgeGraph.from_triples([(f"Q{head}", f"P{link}", f"Q{tail}") for head, link, tail in grid().tolist()])


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_a_small_graph_by_heart(model: str) -> None:
    recipe = replace(PLAIN, model=model, **DEEP.get(model, {}))
    assert metrics(ranks(learn(recipe), grid(), filter=grid()))["mrr"] > 0.95


@pytest.mark.parametrize(("training", "loss"), WAYS)
def test_every_way_of_training_learns(training: str, loss: str) -> None:
    recipe = replace(PLAIN, training=training, loss=loss)
    assert metrics(ranks(learn(recipe), grid(), filter=grid()))["mrr"] > 0.95


@pytest.mark.parametrize("model", ["distmult", "complex", "rescal", "rotate", "tucker", "transe"])
def test_heads_are_asked_for_directly_without_inverse_relations(model: str) -> None:
    recipe = replace(PLAIN, model=model, reciprocal=False, batch_norm=False, **DEEP.get(model, {}))
    embedding = learn(recipe)
    assert len(embedding.relations) == 2
    assert metrics(ranks(embedding, grid(), filter=grid()))["mrr"] > (0.4 if model == "distmult" else 0.9)


@pytest.mark.parametrize(
    "change",
    [
        {"n3": 0.01},
        {"duality": 0.01},
        {"regularization": 0.01},
        {"label_smoothing": 0.1},
        {"entity_dropout": 0.2, "relation_dropout": 0.2, "query_dropout": 0.2},
        {"normalize": True, "training": "sampled", "loss": "softmax", "sharpness": 10.0},
        {"start": "normal", "start_scale": 0.01},
        {"start": "uniform", "start_scale": 0.3},
        {"decay": "linear"},
        {"together": 4},
        {"optimizer": "adam", "rate": 0.02},
        {"training": "sampled", "loss": "softplus", "filtered": False, "negatives": 12},
    ],
)
def test_every_option_learns(change: dict[str, object]) -> None:
    assert metrics(ranks(learn(replace(PLAIN, **change)), grid(), filter=grid()))["mrr"] > 0.8


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_over_all_entities_equal_torchs(smoothing: float) -> None:
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 7, generator=random, dtype=torch.float64)
    rows, answers = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([1, 3, 0, 2, 5, 6])
    true = torch.zeros(3, 7, dtype=torch.float64)
    true[rows, answers] = 1
    shares = true / true.sum(1, keepdim=True)
    expected = functional.cross_entropy(scores, (1 - smoothing) * shares + smoothing / 7, reduction="sum")
    torch.testing.assert_close(cross_entropy(scores, rows, answers, torch.ones(3).double(), smoothing), expected)
    twice = torch.cat((scores, scores[:1])), torch.tensor([*rows, 3, 3]), torch.tensor([*answers, 1, 3])
    counted = cross_entropy(scores, rows, answers, torch.tensor([2.0, 1, 1]).double(), smoothing)
    torch.testing.assert_close(counted, cross_entropy(*twice, torch.ones(4).double(), smoothing))
    expected = functional.binary_cross_entropy_with_logits(
        scores, (1 - smoothing) * true + smoothing / 7, reduction="none"
    )
    found = binary_cross_entropy(scores, rows, answers, torch.ones(3).double(), smoothing)
    torch.testing.assert_close(found, expected.mean(1).sum())


@pytest.mark.parametrize("loss", ["softmax", "margin"])
def test_a_sampled_step_follows_the_gradient_of_the_plain_loss(loss: str) -> None:
    """Adagrad's first step moves every number by the rate against the sign of its gradient."""
    recipe = replace(PLAIN, training="sampled", loss=loss, negatives=99, reciprocal=False, rate=0.01, margin=1.5)
    run = QueryTraining(grid(), 24, 2, recipe)
    before = {name: value.detach().clone().requires_grad_() for name, value in run.values.items()}
    true, total = {tuple(row) for row in grid().tolist()}, torch.zeros(())

    def score(head: int, link: int, tail: int) -> torch.Tensor:
        h, r, t = (torch.view_as_complex(before[kind][one].view(-1, 2)) for kind, one in
                   (("entities", head), ("relations", link), ("entities", tail)))  # fmt: skip
        return (h * r * t.conj()).sum().real

    for head, link, tail in grid()[:10].tolist():
        for side in ("tail", "head"):
            corrupted = [(head, link, one) if side == "tail" else (one, link, tail) for one in range(24)]
            wrong = torch.stack([score(*triple) for triple in corrupted if triple not in true])
            own = score(head, link, tail)
            if loss == "softmax":
                total = total - functional.log_softmax(torch.cat((own[None], wrong)), 0)[0]
            else:
                total = total + (1.5 - own + wrong).clamp(min=0).sum() / 24
    slopes = torch.autograd.grad(total, list(before.values()))
    found = run._step([("tail", grid()[:10]), ("head", grid()[:10])])
    assert found == pytest.approx(float(total.detach()), rel=1e-5)
    for (name, old), slope in zip(before.items(), slopes, strict=True):
        clear = slope.abs() > 1e-5
        moved = (run.values[name] - old).detach()
        torch.testing.assert_close(moved[clear], -0.01 * slope.sign()[clear], atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("normalize", [False, True])
def test_adagrad_over_samples_moves_the_rows_of_a_step_as_a_dense_step_would(*, normalize: bool) -> None:
    recipe = replace(PLAIN, training="sampled", loss="softmax", negatives=6, n3=0.1, duality=0.1, normalize=normalize)
    sparse, dense = (QueryTraining(grid(), 24, 2, recipe) for _ in range(2))
    assert sparse.sparse
    dense.sparse = False
    for run in (sparse, dense):
        run.optimizer.state[run.values["entities"]]["sum"] += (
            1.0  # else a first step has the size of the rate, whatever the slope
        )
    batches = list(sparse._batches())
    dense.random.set_state(sparse.random.get_state())
    before = sparse.values["entities"].detach().clone()
    for batch in batches[:2]:
        assert sparse._step(batch) == pytest.approx(dense._step(batch), rel=1e-5)
        assert sparse.values["entities"].grad.is_sparse
        assert not dense.values["entities"].grad.is_sparse
    for name, value in sparse.values.items():
        torch.testing.assert_close(value, dense.values[name], atol=1e-5, rtol=1e-4)
    assert not torch.equal(before, sparse.values["entities"])


def test_penalties_are_those_of_the_vectors_of_each_triple() -> None:
    run = QueryTraining(grid(), 24, 2, replace(PLAIN, n3=0.3, regularization=0.2))
    entities, relations, answers = torch.randn(5, 24), torch.randn(3, 24), torch.tensor([0, 3, 3, 8, 1])
    links = torch.tensor([2, 0, 2, 2, 0])
    moduli = [
        np.abs(part[:, 0::2].numpy() + 1j * part[:, 1::2].numpy())
        for part in (entities, relations[links], run.values["entities"].detach()[answers])
    ]
    expected = sum(0.3 * (part**3).sum() + 0.2 * (part**2).sum() for part in moduli)
    found = run._penalty(entities, relations, links, answers, torch.ones(5))
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("model", ["complex", "rescal"])
def test_duality_is_that_of_both_ends_of_each_triple(model: str) -> None:
    """Zhang et al. (2020), equation 8, for one triple: |h R|² + |t|² + |t R⁻¹|² + |h|²."""
    plain = replace(PLAIN, model=model, width=4)
    triple = np.array([[3, 1, 8]])
    gained = []
    for weight in (0.0, 0.25):
        run = QueryTraining(triple, 24, 2, replace(plain, duality=weight))
        before = {name: value.detach().clone().double().requires_grad_() for name, value in run.values.items()}
        run._step(next(iter(run._batches())))
        gained.append({name: value.grad.double() for name, value in run.values.items()})
    h, t = before["entities"][3], before["entities"][8]
    moved = []
    for given, link in ((h, 1), (t, 3)):
        relation = before["relations"][link]
        if model == "complex":
            product = torch.view_as_complex(given.view(-1, 2)) * torch.view_as_complex(relation.view(-1, 2))
            moved.append(product.abs().square().sum())
        else:
            moved.append((given @ relation.view(4, 4)).square().sum())
    penalty = moved[0] + t.square().sum() + moved[1] + h.square().sum()
    slopes = torch.autograd.grad(0.25 * penalty / 2, list(before.values()))  # a step is averaged over its two questions
    for name, slope in zip(before, slopes, strict=True):
        torch.testing.assert_close(gained[1][name] - gained[0][name], slope, atol=1e-6, rtol=1e-4)


def test_a_question_of_all_true_answers_comes_once_an_epoch() -> None:
    run = QueryTraining(grid(), 24, 2, replace(PLAIN, training="kvsall"))
    asked = np.concatenate([rows[:, :2] for batch in run._batches() for _, rows in batch])
    wanted = np.concatenate((grid()[:, :2], grid()[:, [2, 1]] + [0, 2]))
    assert sorted(map(tuple, asked.tolist())) == sorted({tuple(row) for row in wanted.tolist()})


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others() -> None:
    first, again, other = (learn(replace(SMALL, seed=seed)) for seed in (0, 0, 1))
    assert np.array_equal(first.entities, again.entities)
    assert np.array_equal(first.relations, again.relations)
    assert not np.array_equal(first.entities, other.entities)


CLOSED = EmbeddingRecipe(width=8, epochs=6, check_every=2, negatives=8, batch_size=8)


@pytest.mark.parametrize(
    "recipe",
    [
        SMALL,
        replace(SMALL, model="conve", **DEEP["conve"]),
        replace(SMALL, decay="plateau", decay_patience=1),
        CLOSED,
        replace(CLOSED, optimizer="adagrad", sampler="bernoulli"),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(recipe: EmbeddingRecipe, tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    whole = learn(recipe, validation=grid()[:9])

    def kill(done: Progress) -> None:
        if done.epoch == 5:  # the checkpoint is of epoch 4
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        learn(recipe, validation=grid()[:9], checkpoint=state, progress=kill)
    seen: list[Progress] = []
    resumed = learn(recipe, validation=grid()[:9], checkpoint=state, resume=True, progress=seen.append)
    assert [one.epoch for one in seen] == [5, 6]
    assert [entry["epoch"] for entry in resumed.history] == [1, 2, 3, 4, 5, 6]
    assert np.array_equal(resumed.entities, whole.entities)
    assert np.array_equal(resumed.relations, whole.relations)
    for name, part in whole.shared.items():
        assert np.array_equal(resumed.shared[name], part)


def test_a_run_is_not_resumed_with_what_it_did_not_have(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    with pytest.raises(CheckpointError, match="no run to resume"):
        learn(SMALL, checkpoint=state, resume=True)
    learn(SMALL, checkpoint=state)
    with pytest.raises(CheckpointError, match=r"rate = 0\.3, not 0\.1"):
        learn(replace(SMALL, rate=0.1), checkpoint=state, resume=True)
    with pytest.raises(CheckpointError, match="other triples"):
        train(grid()[1:], SMALL, entity_count=24, relation_count=2, checkpoint=state, resume=True)
    learn(SMALL).save(tmp_path)
    with pytest.raises(CheckpointError, match="no state of a training run"):
        learn(SMALL, checkpoint=tmp_path / "embedding.safetensors", resume=True)
    with pytest.raises(CheckpointError, match="other validation triples"):
        learn(SMALL, validation=grid()[:9], checkpoint=state, resume=True)
    with pytest.raises(InputError, match="nothing to resume from"):
        learn(SMALL, resume=True)
    with pytest.raises(InputError, match="keeps no checkpoints"):
        learn(EmbeddingRecipe(engine="pykeen", model="TransE"), checkpoint=state, resume=True)


def test_training_stops_early_and_returns_the_best_vectors() -> None:
    recipe = replace(PLAIN, epochs=400, check_every=5, patience=2)
    seen: list[Progress] = []
    embedding = learn(recipe, validation=grid(), progress=seen.append)
    assert len(seen) < 400
    best = max(one.mrr for one in seen if one.mrr is not None)
    assert metrics(ranks(embedding, grid(), filter=grid()))["mrr"] == pytest.approx(best)


def test_the_rate_falls_on_a_plateau_and_linearly() -> None:
    run = QueryTraining(grid(), 24, 2, replace(PLAIN, decay="plateau", decay_factor=0.5, decay_patience=1))
    rates = []
    for mrr in (0.3, 0.2, 0.2, 0.2, 0.2, 0.4):
        run._judge(mrr)
        run._set_rate(0.0)
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.3, 0.3, 0.15, 0.15, 0.075, 0.075])
    run = QueryTraining(grid(), 24, 2, replace(PLAIN, decay="linear"))
    run._set_rate(0.25)
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.225)


def test_an_interrupt_hands_over_what_was_learned() -> None:
    def interrupt(done: Progress) -> None:
        if done.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted) as caught:
        learn(SMALL, progress=interrupt)
    assert len(caught.value.embedding.history) == 2


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_embedded_saved_opened_and_evaluated(model: str, tmp_path: Path) -> None:
    graph = small_graph()
    embedding = embed(graph, tmp_path, replace(SMALL, model=model, width=12, epochs=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embedding.safetensors", "table"]
    opened = open_embedding(tmp_path)
    assert opened.recipe == embedding.recipe
    assert opened.interaction == embedding.interaction
    first, second = (ranks(one, grid(), filter=grid()) for one in (embedding, opened))
    assert first["head"].tolist() == second["head"].tolist()
    table = opened.table(graph)
    assert (len(table), len(table.relations)) == (24, 2)
    assert evaluate(opened, graph, graph)["triples"] == len(grid())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "complx"}, 'Did you mean "complex"'),
        ({"training": "1vsal"}, 'Did you mean "1vsall"'),
        ({"training": "sampled"}, 'training = "sampled" has no loss "cross_entropy"'),
        ({"loss": "margin"}, "cross_entropy, bce"),
        ({"engine": "pykeen"}, "no loss"),
        ({"engine": "pykeen", "loss": "softmax", "decay": "linear"}, "field training: PyKEEN's engine"),
        ({"model": "conve", "reciprocal": False}, "inverse relations only"),
        ({"width": 7}, "even width"),
        ({"entity_dropout": 1.0}, "less than 1"),
        ({"sampler": "uniform"}, "sampler"),
        ({"model": "transe", "training": "sampled", "loss": "softmax", "reciprocal": False, "n3": 0.1}, "n3"),
    ],
)
def test_an_impossible_recipe_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(PLAIN, **change)
