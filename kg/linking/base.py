"""Mentions: the stretches of a text that name entities, as a linker finds them and as the encoder reads them.

    "Paris lies on the Seine."                 --link-->  Mention(0, 5, "Paris", (Q90 .8, Q167646 .2)), Mention(18, ...)
    [CLS] par ##is lies on the seine . [SEP]   --align-->  first 1 6, last 2 6, slot 0 1, entity (the table's rows)

A mention keeps all its candidates, best first, so that a model can choose again; "no entity" is an explicit answer.
Alignment is by characters, never by a tokenizer's words: one id a mention, on its first sub-token (ERNIE; Zhang et al.,
2019, section 3.3). The original lost mentions that did not start at a white-space token, such as "(Portville)".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch

from kelm.batch import Encoded, Part
from kelm.typing import Int, Tensor

__all__ = ["NIL", "Candidate", "Disambiguator", "EntityLinker", "Mention", "Mentions", "align"]

NIL = ""  # the entity of a candidate that means "no entity of the graph"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entity that a mention may mean: its name in the graph, or `NIL`.

    Attributes:
        prior: how probable it is unread.
        score: how probable it is in its context; None where nobody read it.
    """

    entity: str
    prior: float
    score: float | None = None

    @property
    def probability(self) -> float:
        """The score, or the prior where there is none."""
        return self.prior if self.score is None else self.score


@dataclass(frozen=True, slots=True)
class Mention:
    """The characters [start, end) of a text, which read `text`, and what they may mean, best first.

    >>> Mention(0, 5, "Paris", (Candidate("Q90", 0.8), Candidate("Q167646", 0.2))).entity
    'Q90'
    """

    start: int
    end: int
    text: str
    candidates: tuple[Candidate, ...] = ()

    @property
    def entity(self) -> str | None:
        """The best candidate's entity; None where that is `NIL` or there is no candidate."""
        return self.candidates[0].entity or None if self.candidates else None


@runtime_checkable
class EntityLinker(Protocol):
    """Finds mentions in the order of the text; `text[m.start:m.end] == m.text`.

    They do not overlap unless the linker was asked for all names (`AliasOptions.matches`); what needs mentions side by
    side, such as `align`, keeps the longest.
    """

    def link(self, text: str, language: str | None = None) -> list[Mention]:
        """Returns the mentions of one text; `language` restricts the names, None means all of them."""
        ...

    def link_all(self, texts: Sequence[str], language: str | None = None) -> list[list[Mention]]:
        """Returns the mentions of each text."""
        ...


@runtime_checkable
class Disambiguator(EntityLinker, Protocol):
    """A linker that also says what given stretches of a text mean, whoever found them."""

    def disambiguate(
        self, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]], language: str | None = None
    ) -> list[list[Mention]]:
        """Returns a mention for each place, characters [start, end), of each text; perhaps without candidates."""
        ...


@dataclass(frozen=True, slots=True)
class Mentions(Part):
    """The mentions of a batch, in the order of its texts and, within a text, of their characters.

    Attributes:
        row: the row of the batch.
        first, last: the mention's first and last sub-token in that row, both included.
        text: the number of the text in the batch.
        slot: ordinal of the mention within its text: 0, 1, ...
        entity: row of the entity table; -1 where the mention is linked to nothing ("no entity").
    """

    indices: ClassVar[Mapping[str, str]] = {"row": "row", "first": "token", "last": "token", "text": "text"}
    row: Int[Tensor, "mention"]
    first: Int[Tensor, "mention"]
    last: Int[Tensor, "mention"]
    text: Int[Tensor, "mention"]
    slot: Int[Tensor, "mention"]
    entity: Int[Tensor, "mention"]

    def __len__(self) -> int:
        return len(self.row)


def align(encoded: Encoded, mentions: Sequence[Mention], ids: Callable[[str], int] | Mapping[str, int]) -> Encoded:
    """Returns the text with `Mentions`: character spans become sub-tokens, entities become rows of a table.

    Of overlapping mentions, and of mentions that begin in the same sub-token, the longest is kept, the first of equally
    long ones. A mention is dropped when truncation cut off its beginning or its end.

    Args:
        mentions: found by a linker or given as gold, in any order; offsets count in `encoded.text`.
        ids: the entity table's rows by name; a name it does not know (missing, or below 0) becomes -1.
    """
    row_of = (lambda name: ids.get(name, -1)) if isinstance(ids, Mapping) else ids
    tokens = np.flatnonzero(encoded.spans[:, 0] >= 0)
    starts, ends = encoded.spans[tokens, 0], encoded.spans[tokens, 1]
    found: list[tuple[int, int, Mention]] = []
    taken: list[Mention] = []
    firsts: set[int] = set()
    for mention in sorted(mentions, key=lambda mention: (mention.start - mention.end, mention.start)):
        inside = np.flatnonzero((ends > mention.start) & (starts < mention.end))
        if not len(inside) or any(mention.start < other.end and other.start < mention.end for other in taken):
            continue
        before = encoded.text[mention.start : int(starts[inside].min())]
        after = encoded.text[int(ends[inside].max()) : mention.end]
        first, last = int(tokens[inside[0]]), int(tokens[inside[-1]])
        if before.strip() or after.strip() or first in firsts:
            continue
        taken.append(mention)
        firsts.add(first)
        found.append((first, last, mention))

    found.sort(key=lambda place: place[:2])
    entities = [max(-1, row_of(mention.entity)) if mention.entity is not None else -1 for _, _, mention in found]
    zeros = torch.zeros(len(found), dtype=torch.long)
    return encoded.having(
        Mentions(
            row=zeros,
            first=torch.tensor([first for first, _, _ in found], dtype=torch.long),
            last=torch.tensor([last for _, last, _ in found], dtype=torch.long),
            text=zeros,
            slot=torch.arange(len(found)),
            entity=torch.tensor(entities, dtype=torch.long),
        )
    )
