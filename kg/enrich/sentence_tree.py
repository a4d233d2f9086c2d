"""K-BERT's sentence tree: triples hang on the mentions of a sentence as branches, seen from there only.

    Tim Cook  is  visiting  Beijing  now                     hard order:  what the encoder's rows hold
       |                       |
    CEO: Apple            capital of: China

    tokens      [CLS] tim cook | ceo : apple | is visiting beijing | capital of : china | now [SEP]
    positions     0    1    2      3  4  5     3     4       5         6      7  8  9     6    7
    branch        0    0    0      1  1  1     0     0       0         2      2  2  2     0    0
    anchor       -1    0    0      0  0  0    -1    -1       1         1      1  1  1    -1   -1

Positions are soft: the trunk counts as if there were no branches, a branch goes on from the last token of its mention.
Who sees whom follows from branch and anchor (`kelm.visibility`): the trunk sees itself, a mention also its
branches, a branch itself and its mention. Two small integers a token say what the original's matrix says.

The trunk comes first; then whole branches as long as there is room, the best of each mention before any second one.
What hangs on a branch is no word of the text: it has no characters, is never masked and gets no label.

Source: Liu et al. (2020), sections 3.2 to 3.4. Their code cuts the grown text at its end (branches in the middle, the
end of the sentence, the last [SEP]); `cut="end"` does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from math import inf
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

__all__ = ["Grown", "SentenceTree", "Twig", "graft_all"]

Cut = Literal["branches", "end"]
_COLUMNS = ("tokens", "spans", "words", "segments")
_CODES = ("positions", "branch", "anchor")


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
        mention: number of the mention in its text, the anchor.
        last: the mention's last token.
        rank: 0 for the mention's best branch.
    """

    branch: Branch
    mention: int
    last: int
    rank: int


Span = tuple[int, int]  # first and last token, both included


def graft_all(
    texts: Sequence[Encoded], spans: Sequence[Sequence[Span]], twigs: Sequence[Sequence[Twig]]
) -> list[Encoded]:
    """Returns the texts with their branches and the codes of who sees whom; the indices of their parts move along.

    Args:
        spans: first and last token of each text's mentions, side by side.
        twigs: of each text, in any order; those of a mention stand in the order of their ranks.

    Cost: a few passes over all tokens together, and some 20 microseconds a text.
    """
    sizes = np.array([len(text) for text in texts])
    begins = np.cumsum(sizes) - sizes
    hanging = [sorted(some, key=lambda twig: (twig.last, twig.rank)) for some in twigs]
    every = [twig for some in hanging for twig in some]
    home = np.repeat(np.arange(len(texts)), [len(some) for some in hanging])  # the text of each twig
    lengths = np.array([len(twig.branch.tokens) for twig in every], dtype=np.int64)
    owner = np.repeat(np.arange(len(every)), lengths)  # of each token on a branch
    last = (np.array([twig.last for twig in every], dtype=np.int64) + begins[home])[owner]
    within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    order = np.argsort(np.concatenate((2 * np.arange(sizes.sum()), 2 * last + 1)), kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))

    trunk = np.concatenate([_positions(text) for text in texts]).astype(np.int64)
    anchors = np.full(sizes.sum(), -1)
    for begin, some in zip(begins.tolist(), spans, strict=True):
        for number, (first, end) in enumerate(some):
            anchors[begin + first : begin + end + 1] = number
    counts = np.bincount(home, minlength=len(texts))
    numbers = np.arange(len(every)) - (np.cumsum(counts) - counts)[home] + 1  # of each twig in its text
    segments = np.concatenate([text.segments for text in texts])
    nothing = np.full(len(owner), -1)
    grown = {
        "tokens": (np.concatenate([text.tokens for text in texts]), _tokens(every)),
        "spans": (np.concatenate([text.spans for text in texts]), np.stack((nothing, nothing), axis=1)),
        "words": (np.concatenate([text.words for text in texts]), nothing),
        "segments": (segments, segments[last]),
        "positions": (trunk, trunk[last] + 1 + within),
        "branch": (np.zeros_like(trunk), numbers[owner]),
        "anchor": (anchors, anchors[last]),
    }
    columns = {name: np.concatenate(both)[order] for name, both in grown.items()}
    columns |= {name: columns[name].astype(_smallest(columns[name])) for name in _CODES}
    ends = np.cumsum(sizes + np.bincount(home, lengths, minlength=len(texts)).astype(np.int64))
    made = []
    for text, begin, size, (first, end) in zip(
        texts, begins.tolist(), sizes.tolist(), pairwise([0, *ends.tolist()]), strict=True
    ):
        parts = {}
        if text.parts:
            moved = torch.from_numpy(places[begin : begin + size] - first)
            parts = {kind: part.placed(moved) for kind, part in text.parts.items()}
        own = {name: column[first:end] for name, column in columns.items()}
        made.append(Encoded(text.text, **own, parts=parts, number=text.number, origin=text.origin))
    return made


def _smallest(codes: Int[np.ndarray, "token"]) -> type[np.signedinteger]:
    """Returns a type that holds them: the codes of a text of 256 tokens take no more than a kilobyte."""
    most = int(codes.max(initial=0))
    return np.int8 if most < 1 << 7 else np.int16 if most < 1 << 15 else np.int64


def _positions(text: Encoded) -> Int[np.ndarray, "token"]:
    return np.arange(len(text)) if text.positions is None else text.positions


def _tokens(twigs: Sequence[Twig]) -> Int[np.ndarray, "token"]:
    return np.concatenate([twig.branch.tokens for twig in twigs]) if twigs else np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class SentenceTree:
    """Grows branches on the mentions of texts.

    Attributes:
        branches: of the graph's entities.
        length: tokens of a text with its branches; a trunk that is longer stays as it is, and gets none.
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
        """Returns a text with its branches; see `grow_all`."""
        return self.grow_all([text], [mentions])[0]

    def grow_all(self, texts: Sequence[Encoded], mentions: Sequence[Sequence[Mention]]) -> list[Encoded]:
        """Returns texts with the branches of their mentions, whose entities are named as in the graph, and `Grown`.

        Raises:
            KelmError: a text has branches already.
        """
        for text in texts:
            if text.branch is not None:
                raise KelmError(f"{text.origin or text.text[:40]!r} has branches already. Grow a tree once.")
        found = self.twigs_all(texts, mentions)
        kept = [self.fitting(text, twigs) for text, (_, twigs) in zip(texts, found, strict=True)]
        grown = graft_all(texts, [spans for spans, _ in found], kept) if texts else []
        counts = [
            [0, len(spans), len(some), len(twigs) - len(some)] for (spans, twigs), some in zip(found, kept, strict=True)
        ]
        if self.cut == "end":
            for count, text in zip(counts, grown, strict=True):
                assert text.branch is not None
                whole = len(set(text.branch[: self.length].tolist()) - set(text.branch[self.length :].tolist()) - {0})
                count[2:] = [whole, sum(count[2:]) - whole]
            grown = [_ended(text, self.length) for text in grown]
        rows = np.array(counts, dtype=np.int64).reshape(-1, 4, 1)
        return [text.having(Grown(*map(torch.from_numpy, row))) for text, row in zip(grown, rows, strict=True)]

    def twigs_all(
        self, texts: Sequence[Encoded], mentions: Sequence[Sequence[Mention]]
    ) -> list[tuple[list[Span], list[Twig]]]:
        """Returns the tokens of each text's mentions that the graph knows, and all their branches, best first."""
        known = [
            [(mention, entity) for mention in some if (entity := self.branches.id(mention.entity or "")) >= 0]
            for some in mentions
        ]
        found = []
        for text, placed in zip(texts, _placed(texts, known), strict=True):
            twigs = [
                Twig(branch, number, last, rank)
                for number, (_, last, entity) in enumerate(placed)
                for rank, branch in enumerate(self._chosen(text, self.branches(entity)))
            ]
            twigs.sort(key=lambda twig: (twig.rank, twig.last))
            found.append(([(first, last) for first, last, _ in placed], twigs))
        return found

    def _chosen(self, text: Encoded, branches: Sequence[Branch]) -> Sequence[Branch]:
        if self.relevance is None or len(branches) <= 1:
            return branches[: self.most]
        sentence = _unit(self.relevance[text.tokens[text.words >= 0]].mean(0))
        fits = [float(_unit(self.relevance[branch.tokens].mean(0)) @ sentence) for branch in branches]
        order = sorted(range(len(branches)), key=lambda number: (-round(fits[number], 6), number))
        return [branches[number] for number in order[: self.most]]

    def fitting(self, text: Encoded, twigs: Sequence[Twig]) -> list[Twig]:
        """Returns the branches that there is room for, the best first; with `cut` "end" positions alone limit."""
        room = self.length - len(text) if self.cut == "branches" else inf
        trunk = _positions(text)
        kept = []
        for twig in twigs:
            size = len(twig.branch.tokens)
            if size <= room and int(trunk[twig.last]) + size < self.positions:
                kept.append(twig)
                room -= size
        return kept

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        relevance = None if self.relevance is None else blake2b(self.relevance.tobytes()).hexdigest()
        sizes = [self.length, self.positions, self.most]
        return digest("sentence tree 1", self.branches.fingerprint(), sizes, self.cut, relevance)


Known = Sequence[tuple[Mention, int]]  # mentions with their entities' ids
Placed = Sequence[tuple[int, int, int]]  # first token, last token, entity


def _placed(texts: Sequence[Encoded], known: Sequence[Known]) -> list[Placed]:
    """Returns where `align` places mentions, of all texts at once; texts where mentions overlap or do not begin and end
    with tokens are aligned one by one."""
    sizes, counts = np.array([len(text) for text in texts]), [len(some) for some in known]
    if not sum(counts):
        return [[] for _ in texts]
    shift = np.cumsum([0, *(len(text.text) + 1 for text in texts[:-1])])  # of each text's characters among all
    begins = np.cumsum(sizes) - sizes
    spans = np.concatenate([text.spans for text in texts]) + np.repeat(shift, sizes)[:, None]
    words = np.concatenate([text.words for text in texts])
    here = np.flatnonzero((words >= 0) & (spans[:, 1] > spans[:, 0]))
    home = np.repeat(np.arange(len(texts)), counts)
    start, end = (
        np.array([getattr(mention, edge) for some in known for mention, _ in some]) + shift[home]
        for edge in ("start", "end")
    )
    first = np.minimum(np.searchsorted(spans[here, 1], start, side="right"), len(here) - 1)
    last = np.maximum(np.searchsorted(spans[here, 0], end, side="left") - 1, 0)
    first, last = here[first], here[last]
    whole = (spans[first, 0] == start) & (spans[last, 1] == end)
    special = np.concatenate(([0], np.cumsum(words < 0)))
    whole &= (first <= last) & (special[last] == special[first])  # none reaches from a text to its pair
    whole[1:] &= (first[1:] > last[:-1]) | (home[1:] != home[:-1])
    plain = np.ones(len(texts), bool)
    plain[home[~whole]] = False
    first, last = first - begins[home], last - begins[home]
    edges = np.concatenate(([0], np.cumsum(counts)))
    placed: list[Placed] = []
    for number, (text, some) in enumerate(zip(texts, known, strict=True)):
        if plain[number]:
            part = slice(edges[number], edges[number + 1])
            placed.append(
                list(zip(first[part].tolist(), last[part].tolist(), (entity for _, entity in some), strict=True))
            )
        else:
            placed.append(_aligned(text, some))
    return placed


def _aligned(text: Encoded, known: Known) -> Placed:
    ids = {mention.entity or "": entity for mention, entity in known}
    part = align(text, [mention for mention, _ in known], ids)[Mentions]
    rows = zip(part.first.tolist(), part.last.tolist(), part.entity.tolist(), strict=True)
    return [row for row in rows if not (text.words[row[0] : row[1] + 1] < 0).any()]


def _ended(text: Encoded, length: int) -> Encoded:
    """Returns the first tokens of a text, whatever is lost."""
    columns = {name: getattr(text, name)[:length] for name in (*_COLUMNS, *_CODES)}
    return text.having(*(part.cut(length) for part in text.parts.values()), **columns)


def _unit(vector: Float[np.ndarray, "width"]) -> Float[np.ndarray, "width"]:
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector
