"""What is trained: an objective owns its head and its collate, never the encoder.

    Encoded, Encoded, ... --collate--> Batch --encoder--> Stream --loss--> Losses

A loss is a sum; `batch.units` says over how many things. The trainer divides by the units of the whole step, all
processes and accumulated batches together, so that the result does not depend on how a step is divided.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from torch import nn

from kelm.batch import Batch, Encoded
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.typing import Float, Tensor

__all__ = ["Collate", "Losses", "Objective", "random_of"]

X = TypeVar("X", contravariant=True)
Losses = Mapping[str, Float[Tensor, ""]]  # sums by name; a name without units counts per text


class Collate(Protocol[X]):
    """Makes a batch from texts: corrupts and packs, in a data worker.

    A frozen dataclass of plain values: picklable, without parameters. The same texts and seed give the same batch;
    randomness is drawn for each text by its number (`random_of`), so it does not depend on the batch's composition.
    """

    def __call__(self, texts: Sequence[X], seed: int) -> Batch: ...


class Objective(nn.Module, ABC, Generic[X]):
    """A training objective. Registered by entry point in the group ``kelm.objectives``.

    Attributes:
        name: under which its batches and losses go.
        collate: makes its batches.
    """

    name: str
    collate: Collate[X]

    def join(self, others: Mapping[str, Objective[Any]]) -> None:
        """Takes modules of the other objectives of a run as its own, if it shares some; by default none."""

    def read(self, encoder: Encoder, batch: Batch) -> Stream:
        """Returns what the encoder makes of one of its batches; by default by the plain `Encoder.encode`.

        Override it to change what the first layer reads, or to keep the states of all layers.
        """
        return encoder.encode(batch)

    def updated(self, encoder: Encoder) -> None:
        """Follows an update of the weights, in every process at the same time; by default with nothing."""

    @abstractmethod
    def loss(self, batch: Batch, stream: Stream) -> Losses:
        """Returns its losses as sums over `batch.units`, extensions' losses not included."""


def random_of(text: Encoded, seed: int) -> np.random.Generator:
    """Returns the random generator of one text in one pass: a function of `seed` and the text's number only."""
    return np.random.default_rng((seed, text.number))
