"""K-BERT's sentence tree: triples hang on the mentions of a sentence as branches, seen from there only.

    Tim Cook  is  visiting  Beijing  now                     hard order:  what the encoder's rows hold
       |                       |
    CEO: Apple            capital of: China

    tokens      [CLS] tim cook | ceo : apple | is visiting beijing | capital of : china | now [SEP]
    positions     0    1    2      3  4  5     3     4       5         6      7  8  9     6    7
    branch        0    0    0      1  1  1     0     0       0         2      2  2  2     0    0
    anchor       -1    0    0      0  0  0    -1    -1       1         1      1  1  1    -1   -1

Positions are soft: the trunk counts as if there were no branches, a branch goes on from the last token of its mention.
Who sees whom follows from branch and anchor (`kelm.batch.Visibility`): the trunk sees itself, a mention also its
branches, a branch itself and its mention. Two small integers a token say what the original's matrix says.

The trunk comes first; then whole branches as long as there is room, the best of each mention before any second one.
What hangs on a branch is no word of the text: it has no characters, is never masked and gets no label.

Source: Liu et al. (2020), sections 3.2 to 3.4. Their code cuts the grown text at its end (branches in the middle, the
end of the sentence, the last [SEP]); `cut="end"` does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from kelm.batch import Encoded, Part
from kelm.data.corpus import digest
from kelm.errors import InputError, KelmError
from kelm.typing import Tensor
from kg.enrich.branches import Branch, Branches
from kg.linking.base import Mention, Mentions, align

__all__ = ["Grown", "SentenceTree", "Twig", "graft"]

Cut = Literal["branches", "end"]
_COLUMNS = ("tokens", "spans", "words", "segments")


@dataclass(frozen=True, slots=True)
class Grown(Part):
    """What a tree did with each text.

    Attributes:
        mentions: that the graph knows; `branches`: that hang on them; `left_out`: for which there was no room.
    """

    indices: ClassVar = {"text": "text"}
    text: Int[Tensor, "text"]
    mentions: Int[Tensor, "text"]
    branches: Int[Tensor, "text"]
    left_out: Int[Tensor, "text"]


@dataclass(frozen=True, slots=True, eq=False)
class Twig:
    """A branch where it hangs.

    Attributes:
        mention: number of the mention, the anchor.
        last: the mention's last token.
        rank: 0 for the mention's best branch.
    """

    branch: Branch
    mention: int
    last: int
    rank: int


def graft(text: Encoded, spans: Sequence[tuple[int, int]], twigs: Sequence[Twig]) -> Encoded:
    """Returns the text with the branches in it and the codes of who sees whom; the indices of its parts move along.

    Args:
        spans: first and last token of each mention, side by side.
        twigs: in any order; those of a mention stand in the order of their ranks.

    Cost: a few passes over the tokens.
    """
    twigs = sorted(twigs, key=lambda twig: (twig.last, twig.rank))
    size, lengths = len(text), [len(twig.branch.tokens) for twig in twigs]
    owner = np.repeat(np.arange(len(twigs)), lengths)  # of each token on a branch
    last = np.array([twig.last for twig in twigs], dtype=np.int64)[owner]
    within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    order = np.argsort(np.concatenate((2 * np.arange(size), 2 * last + 1)), kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))

    trunk = np.arange(size) if text.positions is None else text.positions
    anchors = np.full(size, -1)
    for number, (first, end) in enumerate(spans):
        anchors[first : end + 1] = number
    tokens = np.concatenate([twig.branch.tokens for twig in twigs]) if twigs else np.zeros(0, np.int64)
    nothing = np.full(len(owner), -1)
    grown = {
        "tokens": (text.tokens, tokens),
        "spans": (text.spans, np.stack((nothing, nothing), axis=1)),
        "words": (text.words, nothing),
        "segments": (text.segments, text.segments[last]),
        "positions": (trunk, trunk[last] + 1 + within),
        "branch": (np.zeros(size, np.int64), owner + 1),
        "anchor": (anchors, anchors[last]),
    }
    small = {"positions", "branch", "anchor"}  # two bytes each: a text's codes take no kilobyte
    columns = {
        name: np.concatenate(both)[order].astype(np.int16 if name in small else both[0].dtype)
        for name, both in grown.items()
    }
    moved = torch.from_numpy(places[:size])
    return text.having(*(_moved(part, moved) for part in text.parts.values()), **columns)


def _moved(part: Part, places: Tensor) -> Part:
    """Returns a part whose tokens are where `places` says."""
    values = {column.name: getattr(part, column.name) for column in fields(part)}  # type: ignore[arg-type]
    for name, counts in part.indices.items():
        if counts == "token" and len(values[name]):
            values[name] = torch.where(values[name] < 0, values[name], places[values[name].clamp(min=0)])
    return type(part)(**values)


@dataclass(frozen=True, eq=False)
class SentenceTree:
    """Grows branches on the mentions of texts.

    Attributes:
        branches: of the graph's entities.
        length: tokens of a text with its branches.
        positions: how many the model has; a branch that would reach beyond is left out.
        most: branches of a mention.
        cut: what gives way if a text grows too long: whole branches, or, as in the original code, its end.
        relevance: vectors of the vocabulary's tokens: a mention's branches are then those that are most like the
            sentence, by the cosine of mean vectors.

    Raises:
        InputError: a length that leaves no room.
    """

    branches: Branches
    length: int
    positions: int
    most: int = 2
    cut: Cut = "branches"
    relevance: Float[np.ndarray, "token width"] | None = None

    def __post_init__(self) -> None:
        if self.length < 3:
            raise InputError(f"expected 3 or more, found {self.length}", field="length", remedy="Give more tokens.")

    def grow(self, text: Encoded, mentions: Sequence[Mention]) -> Encoded:
        """Returns a text with the branches of these mentions, whose entities are named as in the graph, and `Grown`.

        Raises:
            KelmError: the text has branches already.
        """
        if text.branch is not None:
            raise KelmError(f"{text.origin or text.text[:40]!r} has branches already. Grow a tree once.")
        spans, twigs = self.twigs(text, mentions)
        kept = twigs if self.cut == "end" else self.fitting(text, twigs)
        grown = graft(text, spans, kept)
        if self.cut == "end":
            grown = _ended(grown, self.length)
        counts = (0, len(spans), len(kept), len(twigs) - len(kept))
        return grown.having(Grown(*(torch.tensor([count]) for count in counts)))

    def twigs(self, text: Encoded, mentions: Sequence[Mention]) -> tuple[list[tuple[int, int]], list[Twig]]:
        """Returns the tokens of the mentions that the graph knows, and all their branches, best first."""
        placed = align(text, mentions, self.branches.graph.entities.find)[Mentions]
        spans: list[tuple[int, int]] = []
        twigs: list[Twig] = []
        for first, last, entity in zip(
            placed.first.tolist(), placed.last.tolist(), placed.entity.tolist(), strict=True
        ):
            if entity < 0 or (text.words[first : last + 1] < 0).any():  # no mention reaches from a text to its pair
                continue
            for rank, branch in enumerate(self._chosen(text, self.branches(entity))):
                twigs.append(Twig(branch, len(spans), last, rank))
            spans.append((first, last))
        twigs.sort(key=lambda twig: (twig.rank, twig.last))
        return spans, twigs

    def _chosen(self, text: Encoded, branches: Sequence[Branch]) -> Sequence[Branch]:
        if self.relevance is None or len(branches) <= 1:
            return branches[: self.most]
        sentence = _unit(self.relevance[text.tokens[text.words >= 0]].mean(0))
        fits = [float(_unit(self.relevance[branch.tokens].mean(0)) @ sentence) for branch in branches]
        order = sorted(range(len(branches)), key=lambda number: (-round(fits[number], 6), number))
        return [branches[number] for number in order[: self.most]]

    def fitting(self, text: Encoded, twigs: Sequence[Twig]) -> list[Twig]:
        """Returns the branches that there is room for, the best first."""
        room = self.length - len(text)
        trunk = np.arange(len(text)) if text.positions is None else text.positions
        kept = []
        for twig in twigs:
            size = len(twig.branch.tokens)
            if size <= room and int(trunk[twig.last]) + size < self.positions:
                kept.append(twig)
                room -= size
        return kept

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        relevance = None if self.relevance is None else digest(self.relevance.tobytes().hex())
        return digest("sentence tree 1", self.branches.fingerprint(), self.length, self.cut, self.most, relevance)


def _ended(text: Encoded, length: int) -> Encoded:
    """Returns the first tokens of a text, whatever is lost."""
    columns = {name: getattr(text, name)[:length] for name in (*_COLUMNS, "positions", "branch", "anchor")}
    return text.having(**columns)


def _unit(vector: Float[np.ndarray, "width"]) -> Float[np.ndarray, "width"]:
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector
