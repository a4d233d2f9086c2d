"""The one call that trains graph embeddings, and its loop for TransE with sampled negatives.

    chunk of triples -> queries (h + r, t - r) -> distances to the true answers and to negatives shared by the chunk
                     -> slopes of the loss -> gradients in closed form -> rows of the chunk move

Other models of kelm are trained by `kg.embeddings.query_training`, PyKEEN's by `kg.embeddings.pykeen_training`. Here,
shared negatives make the distances of a chunk one matrix product; closed-form gradients make the way back two. No
autograd graph is kept, and only the rows of a chunk are touched: an epoch costs the triples, not the entities.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from kelm.errors import InputError, TrainingDiverged
from kg.embeddings.answers import SIDES, Side, as_triples
from kg.embeddings.course import TrainingRun
from kg.embeddings.interactions import TransE
from kg.embeddings.losses import LOSSES
from kg.embeddings.negatives import Negatives
from kg.embeddings.processes import ALONE, Processes
from kg.embeddings.progress import Progress
from kg.embeddings.query_training import QueryTraining
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.rows import Rows
from kg.embeddings.training_state import Moments

__all__ = ["train"]

_BATCHES, _TRIPLES = 64, 16  # batches that even a small graph gives, as long as each has this many triples


def train(
    source: Any,
    recipe: EmbeddingRecipe | None = None,
    *,
    entity_count: int | None = None,
    relation_count: int | None = None,
    validation: Any = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> Any:
    """Learns vectors of a graph's entities and relations; started by torchrun or `accelerate launch` in all processes.

    Args:
        source: a `KnowledgeGraph`, or an integer array `triple 3` with both counts.
        recipe: how; the default is kelm's TransE.
        entity_count, relation_count: for an array; the graph's own counts otherwise.
        validation: triples of the same forms. Every `check_every` epochs their filtered MRR is measured, the best
            vectors are kept, and with `patience` training stops early.
        progress: called after each epoch.
        checkpoint: a file in which a run keeps where it stands, every `check_every` epochs; PyKEEN's do not.
        resume: go on from that file; the vectors are those of a run that never stopped, bit by bit.

    Returns:
        A `KnowledgeGraphEmbedding`, or a `PykeenEmbedding` of the same methods for the engine "pykeen".

    Raises:
        InputError: no triples, ids that do not fit the counts, `resume` without a checkpoint, or several processes
            for a model that is not trained by autograd.
        RecipeError: PyKEEN has no such model.
        CheckpointError: there is nothing to resume, or it is of another run.
        TrainingDiverged: the loss is not a number.
        TrainingInterrupted: Ctrl-C; holds what was learned.

    >>> import numpy as np
    >>> ring = np.array([[i, 0, (i + 1) % 5] for i in range(5)])
    >>> embedding = train(ring, EmbeddingRecipe(width=8, epochs=2), entity_count=5, relation_count=1)
    >>> embedding.entities.shape
    (5, 8)
    """
    recipe = recipe or EmbeddingRecipe()
    counts = _counts(source, entity_count, relation_count)
    triples = as_triples(source, *counts)
    if not len(triples):
        raise InputError("there are no triples to learn from", remedy="Check the graph's source.")
    fingerprint = str(source.fingerprint()) if hasattr(source, "fingerprint") else ""
    checked = None if validation is None else as_triples(validation, *counts)
    processes = Processes.started()
    if processes.count > 1 and not recipe.by_autograd:
        raise InputError(
            f"a model that is not trained by autograd trains in one process, not {processes.count}",
            field="model",
            remedy="Start it without accelerate or torchrun, or set reciprocal = true.",
        )
    if recipe.engine == "pykeen":
        if resume:
            raise InputError("PyKEEN's loop keeps no checkpoints", field="resume", remedy="Train anew.")
        from kg.embeddings.pykeen_training import train_pykeen

        return train_pykeen(triples, *counts, recipe, fingerprint=fingerprint, validation=checked, progress=progress)
    kind: type[QueryTraining | ClosedTraining] = QueryTraining if recipe.by_autograd else ClosedTraining
    run = kind(triples, *counts, recipe, fingerprint, processes)
    return run.run(checked, progress, checkpoint=None if checkpoint is None else Path(checkpoint), resume=resume)


def _counts(source: Any, entity_count: int | None, relation_count: int | None) -> tuple[int, int]:
    entities = getattr(source, "entity_count", entity_count)
    relations = getattr(source, "relation_count", relation_count)
    if entities is None or relations is None:
        raise InputError(
            "an array of triples does not say how many entities and relations there are",
            remedy="Pass entity_count and relation_count, or a KnowledgeGraph.",
        )
    return entities, relations


class ClosedTraining(TrainingRun):
    """TransE with sampled negatives: vectors and moments by row, gradients in closed form."""

    interaction: TransE

    def __init__(
        self,
        triples: Int64[np.ndarray, "triple 3"],
        entity_count: int,
        relation_count: int,
        recipe: EmbeddingRecipe,
        fingerprint: str = "",
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(triples, recipe, fingerprint, processes)
        self.interaction, self.loss = TransE(recipe.norm), LOSSES[recipe.loss]
        self.entities = Rows(
            self._first_vectors(entity_count, unit=recipe.normalize),
            recipe.optimizer,
            normalize=recipe.normalize,
            regularization=recipe.regularization,
        )
        self.relations = Rows(self._first_vectors(relation_count, unit=recipe.normalize), recipe.optimizer)
        self.negatives = Negatives([(side, triples) for side in SIDES], entity_count, relation_count, recipe)
        self.head_shares = _head_shares(triples, relation_count, recipe.sampler)
        self.batch_size = max(min(recipe.batch_size, len(triples) // _BATCHES), min(recipe.batch_size, _TRIPLES))
        self.values = {"entities": self.entities.vectors, "relations": self.relations.vectors}

    def _first_vectors(self, count: int, *, unit: bool) -> Float[Tensor, "row width"]:
        """Returns uniform vectors as in Bordes et al. (2013), algorithm 1, lines 1 to 3."""
        edge = 6 / math.sqrt(self.recipe.width)
        vectors = torch.empty(count, self.recipe.width).uniform_(-edge, edge, generator=self.random)
        return vectors / vectors.norm(dim=1, keepdim=True) if unit else vectors

    def moments(self) -> Moments:
        """Returns the moments of both tables."""
        return {"entities": self.entities.moments(), "relations": self.relations.moments()}

    def restore_moments(self, moments: Moments) -> None:
        """Takes what `moments` returned."""
        self.entities.restore(moments["entities"])
        self.relations.restore(moments["relations"])

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """Trains one pass; returns the mean loss of a question and the triples a second."""
        began, total, questions = time.perf_counter(), 0.0, 0
        chunks = torch.randperm(len(self.triples), generator=self.random).split(self.batch_size)
        steps = self.recipe.epochs * len(chunks)
        for number, chunk in enumerate(chunks):
            rate = self.recipe.rate * (1 - ((epoch - 1) * len(chunks) + number) / steps)
            for side, rows in self._sides(self.triples[chunk.numpy()]):
                loss = self._step(rows, side, rate)
                if not math.isfinite(loss):
                    raise TrainingDiverged(
                        f"the loss is {loss} in epoch {epoch}, batch {number + 1} of {len(chunks)}. "
                        f"Lower the rate (now {self.recipe.rate}), or normalize the vectors."
                    )
                total, questions = total + loss, questions + len(rows)
        return total / questions, len(self.triples) / (time.perf_counter() - began)

    def _sides(self, chunk: Int64[np.ndarray, "triple 3"]) -> Iterator[tuple[Side, Int64[np.ndarray, "triple 3"]]]:
        """Yields which triples are corrupted at which side."""
        if self.head_shares is None:
            yield from ((side, chunk) for side in reversed(SIDES))
            return
        heads = torch.rand(len(chunk), generator=self.random).numpy() < self.head_shares[chunk[:, 1]]
        if not heads.all():
            yield "tail", chunk[~heads]
        if heads.any():
            yield "head", chunk[heads]

    def _step(self, triples: Int64[np.ndarray, "row 3"], side: Side, rate: float) -> float:
        """Moves the vectors of these questions, answers and negatives; returns the summed loss."""
        tail, relation, head = triples[:, 2], triples[:, 1], triples[:, 0]
        given, answers = (torch.from_numpy(ids) for ids in ((head, tail) if side == "tail" else (tail, head)))
        links = torch.from_numpy(relation)
        drawn = self.negatives.draw(triples, side, self.random)
        wrong = self.entities.vectors[drawn.entities]
        queries = self.interaction.queries(self.entities.vectors[given], self.relations.vectors, links, side)
        positive, direction = self.interaction.pair_distances(queries, self.entities.vectors[answers])
        negative = self.interaction.distances(queries, wrong)
        allowed = self.negatives.allowed(drawn, triples, side)
        loss, up, down = self.loss(positive, negative, allowed, self.recipe.margin, self.recipe.sharpness)
        query_gradient, wrong_gradient = self.interaction.pull(down, negative, queries, wrong)
        pulled = direction * up[:, None]
        given_gradient, relation_gradient = self.interaction.spread(query_gradient + pulled, side)
        self.entities.step(
            torch.cat((given, answers, drawn.entities)), torch.cat((given_gradient, -pulled, wrong_gradient)), rate
        )
        self.relations.step(links, relation_gradient, rate)
        return loss


def _head_shares(
    triples: Int64[np.ndarray, "triple 3"], relation_count: int, sampler: str
) -> Float32[np.ndarray, "relation"] | None:
    """Returns each relation's chance that its head is corrupted; None where both ends always are."""
    if sampler == "both":
        return None
    if sampler == "uniform":
        return np.full(relation_count, 0.5, np.float32)
    counts = np.bincount(triples[:, 1], minlength=relation_count)
    heads, tails = (
        np.bincount(np.unique(triples[:, [column, 1]], axis=0)[:, 1], minlength=relation_count) for column in (0, 2)
    )
    tails_per_head, heads_per_tail = counts / np.maximum(heads, 1), counts / np.maximum(tails, 1)
    total = tails_per_head + heads_per_tail
    return np.where(total > 0, tails_per_head / np.where(total > 0, total, 1), 0.5).astype(np.float32)
