"""What every task keeps to, whoever wrote it, beside what every objective does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kelm import plugins
from kelm.data.bucketing import with_room
from kelm.model import Encoder
from kelm.tasks.base import Task
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from tests.contracts.examples import OBJECTIVES, objective_texts

NAMES = sorted(set(plugins.all("tasks")) & set(OBJECTIVES))  # `test_objectives` misses those without an example


def made(name: str) -> tuple[Encoder, Task[Any, Any]]:
    torch.manual_seed(0)
    encoder, task = OBJECTIVES[name]()
    assert isinstance(task, Task)
    return encoder.eval(), task.eval()


def predicted(encoder: Encoder, task: Task[Any, Any], room: int | None = None) -> list[Any]:
    batch = with_room(task.collate, room)(objective_texts(task.name), 0)
    with torch.no_grad():
        return task.predict(batch, encoder.encode(batch))


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_every_text(name: str) -> None:
    encoder, task = made(name)
    gold = task.gold(objective_texts(name))
    assert len(predicted(encoder, task)) == len(gold) == len(objective_texts(name))


@pytest.mark.parametrize("name", NAMES)
def test_its_answers_do_not_depend_on_packing(name: str) -> None:
    encoder, task = made(name)
    assert predicted(encoder, task, room=48) == predicted(encoder, task)


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_score_one_and_wrong_ones_less(name: str) -> None:
    _, task = made(name)
    gold = task.gold(objective_texts(name))
    assert task.score(gold, gold)[task.main_score] == 1
    turned = [*gold[1:], gold[0]]
    assert turned != gold
    scores = task.score(gold, turned)
    assert 0 <= scores[task.main_score] < 1
    assert all(isinstance(value, float) for value in scores.values())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_score_is_no_error(name: str) -> None:
    _, task = made(name)
    assert task.main_score in task.score([], [])


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_to_answer_a_tiny_corpus(name: str) -> None:
    encoder, task = made(name)
    learner, texts = Learner(encoder, [task]), objective_texts(name)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2, fused=True)
    batch = task.collate(texts, 0)
    for _ in range(60):
        loss = torch.stack(list(learner(batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert task.score(task.gold(texts), predicted(encoder, task))[task.main_score] == pytest.approx(1.0)
    scores = HeldOut({name: texts})(learner)
    assert scores[f"{name}/{task.main_score}"] == 1
    assert scores[f"{name}/loss"] < 0.1
