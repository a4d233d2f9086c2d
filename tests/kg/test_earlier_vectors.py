"""The queue of earlier batches' entity vectors: who is a negative, and what is kept and restored."""

from __future__ import annotations

import copy
import math
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from kelm.batch import Batch
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.model import Encoder, EncoderConfig
from kelm.training.learner import Learner
from kelm.training.recipe import Checkpoints, Training
from kelm.training.trainer import Trainer
from kg.objectives.earlier_vectors import EarlierVectors
from kg.objectives.knowledge_embedding import KnowledgeEmbedding
from tests.kg.test_knowledge_embedding import NAME, SHARES, SIZES, TRIPLES, loss_of, made


def earlier_batch(objective: KnowledgeEmbedding, model: Encoder) -> tuple[Batch, Tensor]:
    batch = objective.collate(TRIPLES[3:], 0)  # entities 1, 2, 3, 4, 6
    return batch, objective.loss(batch, model.encode(batch))[NAME]


def test_vectors_of_earlier_batches_are_negatives_in_training_unless_they_are_known() -> None:
    model, objective = made(earlier=8)
    _, plain = made()
    objective.train()
    alone = loss_of(model, plain, TRIPLES[3:])
    assert earlier_batch(objective, model)[1].item() == pytest.approx(alone.item())  # nothing is there yet
    queue = objective.earlier
    assert queue is not None and queue.entities.tolist() == [-1, -1, -1, 1, 2, 3, 4, 6]

    first = TRIPLES[:1]  # (1, 0, 2) among 1, 2, 3, 4, 5; (1, 0, 6) is known
    sharp = math.exp(-objective.log_temperature.item())
    batch = objective.collate(first, 0)
    stream = model.encode(batch)
    ids, rows = queue.entities.clone(), queue.vectors.clone()
    entities = {
        entity: state / state.norm()
        for entity, one in first[0].texts.items()
        for state in [model(torch.from_numpy(one.tokens)[None]).last_hidden_state[0].mean(0).detach()]
    }
    move, expected = objective.relation_vectors.weight[0].detach(), 0.0
    for given, sign, right, known in ((1, 1, 2, {2, 6}), (2, -1, 1, {1})):
        asked = entities[given] + sign * move
        asked = asked / asked.norm()
        wrong = [float(asked @ entities[one]) for one in entities if one not in known]
        wrong += [float(asked @ row) for one, row in zip(ids.tolist(), rows, strict=True) if one not in {*known, -1}]
        best = sharp * (float(asked @ entities[right]) - objective.margin)
        expected += (math.log(math.exp(best) + sum(math.exp(sharp * one) for one in wrong)) - best) / 2
    loss = objective.loss(batch, stream)[NAME]
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    loss.backward()  # though the queue has moved on
    assert queue.entities.tolist() == [3, 4, 6, 1, 2, 3, 4, 5]

    objective.eval()
    before = queue.vectors.clone()
    assert loss_of(model, objective, first).item() == pytest.approx(loss_of(model, plain, first).item())
    assert torch.equal(queue.vectors, before)


def test_the_popularity_of_earlier_vectors_is_that_of_their_batch() -> None:
    model, objective = made(earlier=8, popularity=True)
    objective.train()
    loss_of(model, objective, TRIPLES)  # four triples: entities 1 to 6
    queue = objective.earlier
    assert queue is not None
    expected = [0.0, 0.0, *(-math.log(1 - (1 - SHARES[one]) ** 4) for one in range(1, 7))]
    assert queue.offsets.tolist() == pytest.approx(expected, abs=1e-5)
    without = copy.deepcopy(objective)
    assert without.earlier is not None
    without.earlier.offsets.zero_()
    assert abs(loss_of(model, objective, TRIPLES[:1]) - loss_of(model, without, TRIPLES[:1])) > 0.01


def test_a_queue_keeps_the_last_and_nothing_that_is_not_finite() -> None:
    queue = EarlierVectors(3, 2)
    queue.push(torch.arange(10.0).view(5, 2), torch.arange(5))
    assert queue.entities.tolist() == [2, 3, 4]
    assert queue.vectors.tolist() == [[4, 5], [6, 7], [8, 9]]
    queue.push(torch.tensor([[math.nan, 1.0]]), torch.tensor([7]))
    assert queue.entities.tolist() == [3, 4, -1] and bool(queue.vectors.isfinite().all())
    allowed = queue.allowed(2, torch.tensor([0, 1]), torch.tensor([4, 9]))
    assert allowed.tolist() == [[True, False, False], [True, True, False]]


def test_a_run_that_was_interrupted_goes_on_with_the_very_queue(tmp_path: Any) -> None:
    def trained(folder: str, resume: bool = False) -> Learner:
        torch.manual_seed(0)
        model = Encoder(EncoderConfig(vocab_size=60, **SIZES))
        objective = KnowledgeEmbedding(model.config, relations=2, earlier=7)
        learner = Learner(model, [objective])
        stream = BatchStream(InMemory(TRIPLES), objective.collate, tokens=30, pool=4, seed=3)
        Trainer(
            learner,
            {NAME: stream},
            train=Training(steps=6, seed=1),
            checkpoints=Checkpoints(every=3),
            folder=tmp_path / folder,
            resume=resume,
        ).run()
        return learner

    whole = trained("whole")
    queue = whole.state_dict()[f"objectives.{NAME}.earlier.entities"]
    assert bool((queue >= 0).any())
    step = tmp_path / "whole" / "checkpoints" / "step-00000003"
    assert step.is_dir()
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "step-00000006", ignore_errors=True)
    again = trained("again", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
