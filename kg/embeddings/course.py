"""The course of a training run, whichever loop trains: epochs, checks on validation triples, checkpoints, the end.

    epoch -- every check_every-th --> filtered MRR -> the best values, misses, the rate on a plateau -> checkpoint

A checkpoint after each check holds values, moments and the random stream: a killed run that goes on from it ends with
the same bits.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from kelm.errors import InputError
from kg.embeddings.embedding import KnowledgeGraphEmbedding
from kg.embeddings.interactions import Interaction
from kg.embeddings.processes import ALONE, Processes
from kg.embeddings.progress import Progress, TrainingInterrupted
from kg.embeddings.ranking import filtered_mrr
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.training_state import Course, Moments, Source, TrainingState, load_state, save_state

__all__ = ["TrainingRun"]


class TrainingRun(ABC):
    """One training run; how an epoch moves the values is its subclass's part.

    Attributes:
        values: the model's numbers by name, "entities" and "relations" among them; changed in place.
        random: the stream that everything is drawn from.
        interaction: what scores the vectors.
        course, best: where it stands, and the values of its best check.
    """

    values: dict[str, Tensor]
    interaction: Interaction

    def __init__(
        self,
        triples: Int64[np.ndarray, "triple 3"],
        recipe: EmbeddingRecipe,
        fingerprint: str = "",
        processes: Processes = ALONE,
    ) -> None:
        self.triples, self.recipe, self.fingerprint, self.processes = triples, recipe, fingerprint, processes
        self.random = torch.Generator().manual_seed(recipe.seed)
        self.course = Course()
        self.best: dict[str, Tensor] = {}

    @abstractmethod
    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """Trains pass number `epoch`, from 1; returns the mean loss of a question and the triples a second."""

    @abstractmethod
    def moments(self) -> Moments:
        """Returns what the optimizer remembers."""

    @abstractmethod
    def restore_moments(self, moments: Moments) -> None:
        """Takes what `moments` returned."""

    def run(
        self,
        validation: Int64[np.ndarray, "triple 3"] | None = None,
        progress: Callable[[Progress], None] | None = None,
        *,
        checkpoint: Path | None = None,
        resume: bool = False,
    ) -> KnowledgeGraphEmbedding:
        """Trains all epochs, or until validation no longer gains.

        Args:
            checkpoint: a file to write after each check.
            resume: go on from that file.

        Raises:
            as `kg.embeddings.train.train`, and CheckpointError when the file is missing, damaged or of another run.
        """
        source = Source.of(self.recipe, self.triples, validation)
        if resume:
            self._restore(checkpoint, source)
        seconds, began = self.course.seconds, time.perf_counter()
        try:
            while self.course.epoch < self.recipe.epochs and not self._is_enough():
                epoch = self.course.epoch + 1
                loss, speed = self.train_epoch(epoch)
                checked = epoch % self.recipe.check_every == 0 or epoch == self.recipe.epochs
                mrr = None
                if checked and validation is not None:
                    judged = partial(filtered_mrr, self._embedding(self.values), validation, self.triples)
                    mrr = self.processes.first(judged)
                    self._judge(mrr)
                done = Progress(epoch, self.recipe.epochs, loss, speed, seconds + time.perf_counter() - began, mrr)
                self.course = replace(self.course, epoch=epoch, history=(*self.course.history, done.facts()))
                if checked and checkpoint is not None:  # none goes on before it is written
                    self.processes.first(partial(save_state, checkpoint, self._state(), source))
                if progress is not None:
                    progress(done)
        except KeyboardInterrupt as interrupt:
            raise TrainingInterrupted(self._embedding(self.best or self.values)) from interrupt
        return self._embedding(self.best or self.values)

    def _is_enough(self) -> bool:
        return bool(self.recipe.patience) and self.course.misses >= self.recipe.patience

    def _judge(self, mrr: float) -> None:
        """Keeps the best values, counts misses and lowers the rate on a plateau."""
        course = self.course
        if mrr > course.best_mrr:
            self.best = {name: value.detach().clone() for name, value in self.values.items()}
            self.course = replace(course, best_mrr=mrr, misses=0, stalls=0)
            return
        self.course = replace(course, misses=course.misses + 1, stalls=course.stalls + 1)
        if self.recipe.decay == "plateau" and self.course.stalls > self.recipe.decay_patience:
            self.course = replace(self.course, stalls=0, share=course.share * self.recipe.decay_factor)

    def _embedding(self, values: Mapping[str, Tensor]) -> KnowledgeGraphEmbedding:
        arrays = {name: value.detach().numpy().copy() for name, value in values.items()}
        return KnowledgeGraphEmbedding(
            self.interaction,
            arrays.pop("entities"),
            arrays.pop("relations"),
            self.recipe,
            self.fingerprint,
            tuple(self.course.history),
            arrays,
        )

    def _state(self) -> TrainingState:
        return TrainingState(self.course, self.values, self.best, self.moments(), self.random.get_state())

    def _restore(self, checkpoint: Path | None, source: Source) -> None:
        if checkpoint is None:
            raise InputError("there is nothing to resume from", field="checkpoint", remedy="Name the run's checkpoint.")
        state = load_state(checkpoint, source)
        with torch.no_grad():
            for name, value in state.values.items():
                self.values[name].copy_(value)
        self.restore_moments(state.moments)
        self.random.set_state(state.random)
        self.course, self.best = state.course, dict(state.best)
