"""Candidate spans: every stretch of a text that may name an entity of a knowledge base, with what it may name.

    [CLS] the bank of england is old [SEP]       text, by tokens
           span 2 2   bank              Q22687 .7   Q468756 .3
           span 2 4   bank of england   Q183231 1.
           span 4 4   england           Q21 1.

Unlike `Mentions` they may overlap, and nobody has chosen yet: a model does, in context (KnowBert; Peters et al., 2019,
section 3.2). Candidates are rows of the knowledge base's entity table; a batch may bring spans of several bases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch

from kelm.batch import Encoded, Part
from kelm.errors import MissingPart
from kelm.text.spans import locate
from kelm.typing import Bool, Float, Int, Tensor
from kg.linking.base import NIL, Mention, Mentions

__all__ = [
    "HIDDEN",
    "LINKING",
    "NONE",
    "NOTHING",
    "KnowledgeSpans",
    "Known",
    "Spans",
    "loss_name",
    "spans_of",
    "with_gold",
]

NONE, NOTHING, HIDDEN = -1, -2, -3
"""What may stand for an entity's row: no candidate, "no entity", and one that is masked."""
LINKING = "linking"
Known = Literal["none", "linked", "mentions", "all"]


def loss_name(base: str) -> str:
    """Returns the name of the linking loss of a knowledge base."""
    return f"{base}_{LINKING}"


@dataclass(frozen=True, slots=True)
class Spans(Part):
    """The spans of one knowledge base, in the order of the texts.

    Attributes:
        row, first, last, text: as in `Mentions`.
        slot: ordinal of the span in its row: 0, 1, ...
        entity: rows of the entity table, the most probable first; `NONE` fills up, `HIDDEN` is masked.
        prior: their probabilities, unread.
        gold: the right row; `NOTHING` if it is none of the base; `NONE` if nobody knows.
        width: as long as the row with the most spans has spans; only its length counts.
    """

    indices: ClassVar[Mapping[str, str]] = {"row": "row", "first": "token", "last": "token", "text": "text"}
    row: Int[Tensor, "span"]
    first: Int[Tensor, "span"]
    last: Int[Tensor, "span"]
    text: Int[Tensor, "span"]
    slot: Int[Tensor, "span"]
    entity: Int[Tensor, "span candidate"]
    prior: Float[Tensor, "span candidate"]
    gold: Int[Tensor, "span"]
    width: Int[Tensor, "most"]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def right(self) -> Bool[Tensor, "span answer"]:
        """Which answer is right, "no entity" being the last: none where nobody knows, or where it is no candidate."""
        nothing = (self.gold == NOTHING).unsqueeze(1)
        return torch.cat([(self.entity == self.gold.unsqueeze(1)) & (self.entity >= 0), nothing], dim=1)

    @classmethod
    def join(cls, parts: Sequence[tuple[Self, int, int, int]]) -> Self:
        joined: Self = Part.join.__func__(cls, parts)  # type: ignore[attr-defined]  # slots: there is no super() here
        row = joined.row.numpy()
        order = np.argsort(row, kind="stable")
        _, begins, counts = np.unique(row[order], return_index=True, return_counts=True)
        slot = np.empty(len(row), np.int64)
        slot[order] = np.arange(len(row)) - np.repeat(begins, counts)
        return replace(joined, slot=torch.from_numpy(slot), width=torch.arange(int(counts.max(initial=0))))

    def cut(self, length: int) -> Self:
        inside = self.last < length
        kept = {name: value[inside] for name, value in self._columns().items() if name != "width"}
        return replace(self, **kept, width=torch.arange(int(inside.sum())))


@dataclass(frozen=True, slots=True)
class KnowledgeSpans(Part):
    """The spans of each knowledge base by its name."""

    of: Mapping[str, Spans]

    def __getitem__(self, base: str) -> Spans:
        if base not in self.of:
            have = ", ".join(sorted(self.of)) or "none"
            raise MissingPart(
                f'the batch has no spans of the knowledge base "{base}" (it has those of: {have}). '
                f'Add them: an enricher candidate_spans with base = "{base}".'
            )
        return self.of[base]

    @property
    def units(self) -> Mapping[str, int]:
        return {loss_name(base): int(spans.right.any(1).sum()) for base, spans in self.of.items()}

    @classmethod
    def join(cls, parts: Sequence[tuple[Self, int, int, int]]) -> Self:
        names = dict.fromkeys(name for part, *_ in parts for name in part.of)
        return cls(
            {name: Spans.join([(part.of[name], *at) for part, *at in parts if name in part.of]) for name in names}  # type: ignore[misc]
        )

    def map(self, change: Any) -> Self:
        return type(self)({name: spans.map(change) for name, spans in self.of.items()})

    def placed(self, places: Int[Tensor, "token"]) -> Self:
        return type(self)({name: spans.placed(places) for name, spans in self.of.items()})

    def cut(self, length: int) -> Self:
        return type(self)({name: spans.cut(length) for name, spans in self.of.items()})


def spans_of(
    encoded: Encoded, mentions: Sequence[Mention], ids: Callable[[str], int], *, most: int, longest: int
) -> Spans:
    """Returns the spans of one text: of each mention the candidates that have a row, their priors made to sum to 1.

    Left out are mentions without such a candidate, those of more than `longest` tokens, and those that are cut off or
    touch the same tokens as one before.

    Args:
        mentions: as a linker finds them, overlapping or not; "no entity" is no candidate here.
        ids: the entity table's rows by name; below 0 for one that has none.
        most: candidates of a span.
    """
    places = locate(encoded, [one.start for one in mentions], [one.end for one in mentions])
    kept: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for (first, end), mention in zip(places.tolist(), mentions, strict=True):
        if first < 0 or end - first > longest or (first, end - 1) in kept:
            continue
        if encoded.spans[first, 0] > mention.start or encoded.spans[end - 1, 1] < mention.end:
            continue
        if (encoded.words[first:end] < 0).any():
            continue
        known = [(ids(one.entity), one.prior) for one in mention.candidates if one.entity != NIL]
        if known := [(row, prior) for row, prior in known if row >= 0][:most]:
            kept[first, end - 1] = known
    entity = np.full((len(kept), most), NONE, np.int64)
    prior = np.zeros((len(kept), most), np.float32)
    for number, known in enumerate(kept.values()):
        entity[number, : len(known)] = [row for row, _ in known]
        shares = np.array([share for _, share in known])
        prior[number, : len(known)] = shares / shares.sum()
    order = sorted(range(len(kept)), key=list(kept).__getitem__)
    edges = torch.tensor(list(kept), dtype=torch.long).reshape(-1, 2)[order]
    zeros = torch.zeros(len(kept), dtype=torch.long)
    return Spans(
        row=zeros,
        first=edges[:, 0],
        last=edges[:, 1],
        text=zeros,
        slot=torch.arange(len(kept)),
        entity=torch.from_numpy(entity)[order],
        prior=torch.from_numpy(prior)[order],
        gold=torch.full_like(zeros, NONE),
        width=torch.arange(len(kept)),
    )


def with_gold(spans: Spans, mentions: Mentions, *, known: Known) -> Spans:
    """Returns the spans with what known mentions of the same tokens say.

    Args:
        known: what somebody knows about: "linked" mentions, those with an entity of the base; all "mentions", others
            naming nothing of it; "all" spans, those that are no mention naming nothing either. "none": about nothing,
            such as mentions that were themselves found by names.
    """
    places = zip(mentions.first.tolist(), mentions.last.tolist(), strict=True)
    said = dict(zip(places, mentions.entity.tolist(), strict=True))
    if known == "none":
        return spans
    unlinked, unsaid = (NOTHING if known in kinds else NONE for kinds in (("mentions", "all"), ("all",)))
    asked = zip(spans.first.tolist(), spans.last.tolist(), strict=True)
    rows = [said.get(place) for place in asked]
    gold = [unsaid if row is None else row if row >= 0 else unlinked for row in rows]
    return replace(spans, gold=torch.tensor(gold, dtype=torch.long))
