"""What a training run of embeddings tells while it runs, and what it leaves when it is interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Progress", "TrainingInterrupted"]


@dataclass(frozen=True, slots=True)
class Progress:
    """What an epoch brought.

    Attributes:
        epoch: epochs done.
        epochs: epochs asked for.
        loss: mean loss of a question.
        triples_per_second: of this epoch's training.
        seconds: since training began.
        mrr: filtered mean reciprocal rank on the validation triples, where it was measured after this epoch.
    """

    epoch: int
    epochs: int
    loss: float
    triples_per_second: float
    seconds: float
    mrr: float | None = None

    def facts(self) -> dict[str, float]:
        """Returns the figures as JSON."""
        facts = {
            "epoch": self.epoch,
            "loss": self.loss,
            "triples_per_second": self.triples_per_second,
            "seconds": self.seconds,
        }
        return facts if self.mrr is None else {**facts, "mrr": self.mrr}


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training. `embedding` is what had been learned: save it, or let the interrupt pass.

    It is a `KeyboardInterrupt`, so a program that does not care ends as it would have.
    """

    def __init__(self, embedding: Any) -> None:
        super().__init__("embedding was interrupted")
        self.embedding = embedding
