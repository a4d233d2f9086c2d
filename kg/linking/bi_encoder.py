"""Mentions and entities as vectors of one encoder, so that their dot product says how well they fit.

    m = unit((1 - w) mean(states of the mention's tokens) + w mean(states of its text))         w = `context`
    e = unit(mean(states of the entity's text))                                        s(m, e) = m · e, a cosine

A text is encoded once for all its mentions, and nothing is added to the encoder: any checkpoint is a bi-encoder, and
one of sentence vectors (mean of all tokens) is a fair one before any training.

Differs from the papers: one encoder for both sides, as in later work on BLINK; the mention is read from its own tokens,
not from [CLS] between markers, which would take one pass a mention.
Source: Gillick et al., 2019, section 3.1 (cosine); Wu et al., 2020, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch.nn.functional import normalize

from kelm.batch import Batch, Encoded, Part, Texts
from kelm.model.extension import Stream
from kelm.model.pooling import span_means
from kelm.typing import Float, Int, Tensor

__all__ = ["MEAN", "Choice", "Described", "Places", "Reading", "mention_vectors", "text_vectors"]


@dataclass(frozen=True, slots=True)
class Places(Part):
    """Where mentions are.

    Attributes:
        text: number of the mention's text in the batch.
        first, last: its first and last token in the row, both included.
    """

    indices: ClassVar = {"text": "text", "first": "token", "last": "token"}
    text: Int[Tensor, "mention"]
    first: Int[Tensor, "mention"]
    last: Int[Tensor, "mention"]

    @classmethod
    def of(cls, spans: list[tuple[int, int]]) -> Places:
        """Returns the places of one text's mentions, given their first and last tokens."""
        first, last = torch.tensor(spans, dtype=torch.long).reshape(-1, 2).unbind(1)
        return cls(torch.zeros_like(first), first, last)


@dataclass(frozen=True, slots=True)
class Choice:
    """A mention to learn from: its tokens, first and last included, the right entity and others it may mean."""

    first: int
    last: int
    entity: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A text with mentions, and the texts of all entities that they may mean, by id.

    Attributes:
        number, origin: those of the text; see `kelm.batch.Encoded`.
    """

    text: Encoded
    mentions: tuple[Choice, ...]
    entities: Mapping[int, Encoded] = field(default_factory=dict)
    number: int = 0
    origin: str = ""

    def __len__(self) -> int:
        """All tokens; a batch has fewer, as entities that several texts name are read once."""
        return len(self.text) + sum(map(len, self.entities.values()))


@dataclass(frozen=True, slots=True)
class Reading:
    """How the vector of a text is read from its tokens' states.

    Attributes:
        state: the mean of all tokens, or the "first" one: [CLS] or <s>.
        unit: scaled to length 1.
    """

    state: Literal["mean", "first"] = "mean"
    unit: bool = True


MEAN = Reading()


def mention_vectors(batch: Batch, stream: Stream, context: float) -> Float[Tensor, "mention width"]:
    """Returns a vector of length 1 for each of the batch's `Places`.

    Args:
        context: weight of the whole text, 0 to 1; the rest is the mention's own.
    """
    texts, places = batch[Texts], batch[Places]
    row = texts.row[places.text]
    own = span_means(stream.hidden, row, places.first, places.last)
    around = span_means(stream.hidden, row, texts.first[places.text], texts.last[places.text])
    return normalize((1 - context) * own + context * around, dim=-1)


def text_vectors(
    batch: Batch,
    stream: Stream,
    text: Int[Tensor, "entity"],
    reading: Reading = MEAN,
) -> Float[Tensor, "entity width"]:
    """Returns a vector for each of these texts of the batch (their numbers)."""
    texts = batch[Texts]
    row, first, last = texts.row[text], texts.first[text], texts.last[text]
    read = stream.hidden[row, first] if reading.state == "first" else span_means(stream.hidden, row, first, last)
    return normalize(read, dim=-1) if reading.unit else read
