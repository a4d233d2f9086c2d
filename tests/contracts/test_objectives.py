"""What every objective and task keeps to, whoever wrote it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from kelm import plugins
from kelm.batch import Batch
from kelm.model import Encoder
from kelm.objectives.base import Objective
from kelm.training.learner import Learner
from tests.contracts.examples import OBJECTIVES, lacking, objective_texts

NAMES = sorted(OBJECTIVES)


def made(name: str) -> tuple[Encoder, Objective[Any]]:
    torch.manual_seed(0)
    encoder, objective = OBJECTIVES[name]()
    return encoder.eval(), objective.eval()


def batch_of(name: str, objective: Objective[Any], seed: int = 0) -> Batch:
    return objective.collate(objective_texts(name), seed)


def tensors(batch: Batch) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    batch.map(lambda tensor: found.append(tensor) or tensor)
    return found


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_every_objective_has_an_example() -> None:
    known = {**plugins.all("objectives"), **plugins.all("tasks")}
    assert not (told := lacking("OBJECTIVES", OBJECTIVES, known)), told


def test_the_architecture_page_names_every_objective() -> None:
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_same_texts_and_seed_give_the_same_batch(name: str) -> None:
    _, objective = made(name)
    assert equal(batch_of(name, objective, 3), batch_of(name, objective, 3))


@pytest.mark.parametrize("name", NAMES)
def test_its_collate_crosses_a_queue(name: str) -> None:
    _, objective = made(name)
    collate = pickle.loads(pickle.dumps(objective.collate))
    assert collate == objective.collate
    assert equal(collate(objective_texts(name), 1), batch_of(name, objective, 1))


@pytest.mark.parametrize("name", NAMES)
def test_batches_name_their_objective_and_count_what_each_loss_sums_over(name: str) -> None:
    encoder, objective = made(name)
    batch = batch_of(name, objective)
    assert batch.objective == objective.name
    losses = Learner(encoder, [objective])(batch)
    assert objective.name in losses
    assert all(bool(loss.isfinite()) and loss.ndim == 0 for loss in losses.values())
    assert all(batch.units[loss] > 0 for loss in losses if loss in batch.units)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_a_sum_so_that_it_does_not_depend_on_packing(name: str) -> None:
    encoder, objective = made(name)
    from kelm.data.bucketing import with_room

    loose = batch_of(name, objective)
    tight = with_room(objective.collate, 48)(objective_texts(name), 0)
    assert tight.tokens.shape[0] < loose.tokens.shape[0]
    learner = Learner(encoder, [objective])
    for loss, value in learner(loose).items():
        assert torch.allclose(learner(tight)[loss], value, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter_of_its_head(name: str) -> None:
    encoder, objective = made(name)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random) * 0.1)
    total = torch.stack(list(Learner(encoder, [objective])(batch_of(name, objective)).values())).sum()
    total.backward()
    trained = {key: parameter for key, parameter in objective.named_parameters() if parameter.requires_grad}
    without = [key for key, p in trained.items() if p.grad is None or not bool(p.grad.any())]
    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_a_tiny_corpus_by_heart(name: str) -> None:
    encoder, objective = made(name)
    learner = Learner(encoder, [objective])
    batch = batch_of(name, objective)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2, fused=True)
    first = last = float("nan")
    for step in range(80):
        loss = torch.stack([value / batch.units.get(key, 1) for key, value in learner(batch).items()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert last < 0.05 * first
