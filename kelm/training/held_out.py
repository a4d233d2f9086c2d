"""Scores on held-out texts: the losses of objectives, and what tasks say about their predictions.

    {"mlm/loss": 4.2, "relations/loss": 0.4, "relations/f1": 0.8}

Corruption is drawn with the same seed every time, so that scores of one run can be compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kelm.batch import Batch, Texts
from kelm.data.bucketing import bucketed
from kelm.errors import RecipeError, closest
from kelm.objectives.base import Objective
from kelm.tasks.base import Scores, Task
from kelm.training.learner import Learner

__all__ = ["HeldOut", "Judged", "Measured", "check_metric"]

SEED = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A task's answers to its held-out texts, beside the right ones, in the order of the texts."""

    gold: Sequence[Any]
    answers: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """What held-out texts say: scores as "objective/score", and the answers of each task by its name."""

    scores: Scores
    judged: Mapping[str, Judged]


class HeldOut:
    """Evaluates a learner; give it to `Trainer` as `evaluate`.

    Args:
        texts: by objective; kept in memory.
        tokens: of a batch.
    """

    def __init__(self, texts: Mapping[str, Sequence[Any]], *, tokens: int = 8192) -> None:
        self.texts = {name: list(items) for name, items in texts.items() if items}
        self.tokens = tokens

    def __call__(self, learner: Learner) -> Scores:
        """Returns every score as "objective/score"; the learner should be in evaluation mode."""
        return self.measure(learner).scores

    def measure(self, learner: Learner) -> Measured:
        """Returns scores and answers; the learner should be in evaluation mode."""
        scores: dict[str, float] = {}
        judged: dict[str, Judged] = {}
        with torch.no_grad():
            for name, texts in self.texts.items():
                objective = learner.objectives[name]
                assert isinstance(objective, Objective)
                losses, predicted = self._run(learner, objective, texts)
                if isinstance(objective, Task):
                    judged[name] = Judged(objective.gold(texts), predicted)
                    losses |= objective.score(judged[name].gold, predicted)
                scores |= {f"{name}/{score}": value for score, value in losses.items()}
        return Measured(scores, judged)

    def names(self, learner: Learner) -> list[str]:
        """Returns what the scores are called. Cost: one text of each objective."""
        few = HeldOut({name: texts[:1] for name, texts in self.texts.items()}, tokens=self.tokens)
        training = learner.training
        try:
            return list(few(learner.eval()))
        finally:
            learner.train(training)

    def _run(
        self, learner: Learner, objective: Objective[Any], texts: Sequence[Any]
    ) -> tuple[dict[str, float], list[Any]]:
        """Returns the mean losses, and what is predicted of each text, None unless the objective is a task."""
        device = next(learner.parameters()).device
        sums: dict[str, float] = {}
        units: dict[str, int] = {}
        predicted: list[Any] = [None] * len(texts)
        for numbers in bucketed([len(text) for text in texts], self.tokens, None):
            batch = objective.collate([texts[number] for number in numbers], SEED)
            on_device = batch.to(device)
            stream = learner.read(on_device)
            for loss, value in {**objective.loss(on_device, stream), **stream.losses}.items():
                sums[loss] = sums.get(loss, 0.0) + float(value)
                units[loss] = units.get(loss, 0) + _units(batch, loss)
            if isinstance(objective, Task):
                for number, answer in zip(numbers, objective.predict(on_device, stream), strict=True):
                    predicted[number] = answer
        return {_name(objective.name, loss): sums[loss] / max(units[loss], 1) for loss in sums}, predicted


def check_metric(metric: str, scores: Collection[str]) -> None:
    """Raises a `RecipeError` for a metric that is none of the scores."""
    if metric not in scores:
        raise RecipeError(f'no score is called "{metric}"', field="evaluation.metric", remedy=closest(metric, scores))


def _units(batch: Batch, loss: str) -> int:
    return batch.units.get(loss, len(batch[Texts].row) if Texts in batch else len(batch.tokens))


def _name(objective: str, loss: str) -> str:
    return "loss" if loss == objective else f"{loss}_loss"
