"""What is measured: a task is an objective that can also predict and score.

Batch --encoder--> Stream --predict--> predictions --score(gold, predictions)--> Scores
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from kelm.batch import Batch
from kelm.model.extension import Stream
from kelm.objectives.base import Objective, X

__all__ = ["Scores", "Task"]

Y = TypeVar("Y")
Scores = Mapping[str, float]


class Task(Objective[X], Generic[X, Y]):
    """An objective with an answer. Registered by entry point in the group ``kelm.tasks``.

    Attributes:
        main_score: the entry of `score` by which models are chosen; higher is better.
    """

    main_score: str

    @abstractmethod
    def predict(self, batch: Batch, stream: Stream) -> list[Y]:
        """Returns one prediction a text, in the order of the batch's texts."""

    @abstractmethod
    def gold(self, texts: Sequence[X]) -> list[Y]:
        """Returns the right answers of the texts."""

    @abstractmethod
    def score(self, gold: Sequence[Y], predicted: Sequence[Y]) -> Scores:
        """Returns named scores; a pure function."""
