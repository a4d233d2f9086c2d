"""Which tokens a masked language model has to guess, and what it sees in their place.

    tokens   the   un ##aff ##able   man   ran          15 % are targets; of these
    word     the  [MASK][MASK][MASK] man   ran          80 % are seen as [MASK], 10 % as another token, 10 % as they are

Kinds: single tokens (Devlin et al., 2019, section 3.1), whole words (the same authors' later code), spans of whole
words, whose length is geometric (Joshi et al., 2020, SpanBERT, section 3.1; there a span shares one fate).
Masking is dynamic: every pass draws anew (Liu et al., 2019).
Differs from the papers: the number of targets is rate x tokens, rounded at random so that the mean is exact, and at
least one; special tokens are neither targets nor replacements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt64

from kelm.batch import Encoded
from kelm.data.hashing import GOLDEN, mixed
from kelm.errors import InputError, KelmError
from kelm.objectives.base import random_of
from kelm.typing import Bool, Float, Int

__all__ = ["Kind", "Masking", "rarity", "whole_words"]

Kind = Literal["token", "word", "span"]
Masked = tuple[Int[np.ndarray, "token"], Int[np.ndarray, "target"]]


@dataclass(frozen=True, slots=True)
class Masking:
    """How texts are masked.

    Attributes:
        mask: id of the mask token.
        vocabulary: number of tokens, from which replacements are drawn.
        special: ids that are neither targets nor replacements, ascending.
        rate: share of the maskable tokens that become targets.
        kind: what is chosen: single tokens, whole words or spans of whole words.
        mask_share, random_share: of the targets, seen as the mask and as a random token; the rest as they are.
        stop: probability that a span ends after a word (the geometric distribution's p); SpanBERT's .2.
        longest: words of a span at most; SpanBERT's 10.
        blocks: of equal size, into which the tokens fall behind the special ones, which come first then; a replacement
            is of its token's block. For a vocabulary that is repeated for each language.
        weights: of each token of the vocabulary, how likely it is chosen beside others (of kind "token"); see `rarity`.
    """

    mask: int
    vocabulary: int
    special: tuple[int, ...]
    rate: float = 0.15
    kind: Kind = "token"
    mask_share: float = 0.8
    random_share: float = 0.1
    stop: float = 0.2
    longest: int = 10
    weights: Float[np.ndarray, "vocabulary"] | None = None
    blocks: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise KelmError(f'Masking: kind "{self.kind}" is not one of {", ".join(get_args(Kind))}.')
        if not 0 < self.rate <= 1:
            raise KelmError(f"Masking: rate is {self.rate}; it must be above 0 and at most 1. 0.15 is usual.")
        if min(self.mask_share, self.random_share) < 0 or self.mask_share + self.random_share > 1:
            raise KelmError(
                f"Masking: mask_share {self.mask_share} and random_share {self.random_share} must be shares of a whole."
            )
        if not 0 < self.stop <= 1 or self.longest < 1:
            raise KelmError(
                f"Masking: stop {self.stop} must be above 0 and at most 1, longest {self.longest} positive."
            )
        if self.weights is not None and (self.kind != "token" or len(self.weights) != self.vocabulary):
            raise KelmError(f"Masking: weights go with kind token, one for each of the {self.vocabulary} tokens.")
        if list(self.special) != sorted(set(self.special)) or len(self.special) >= self.vocabulary:
            raise KelmError("Masking: special ids must ascend, and leave other tokens.")
        ordinary = self.vocabulary - len(self.special)
        first = self.special == tuple(range(len(self.special)))
        if self.blocks < 1 or (self.blocks > 1 and (ordinary % self.blocks or not first)):
            raise KelmError(
                f"Masking: {ordinary} tokens that are not special do not make {self.blocks} blocks of equal size "
                "behind the special ones. Make such a vocabulary: kelm vocab apart."
            )

    def __call__(self, texts: Sequence[Encoded], seed: int) -> list[Masked]:
        """Returns of each text the tokens as the model sees them, and the places of the targets, ascending.

        Randomness is of the seed and the text's number: a text is masked alike in any batch.
        """
        if self.kind == "token":
            return self._tokens(texts, seed)
        return [self._text(text, random_of(text, seed)) for text in texts]

    def _tokens(self, texts: Sequence[Encoded], seed: int) -> list[Masked]:
        """Masks single tokens of all texts at once: those with the smallest of random keys, so many of each text."""
        counts = np.array([len(text) for text in texts], dtype=np.int64)
        first = counts.cumsum() - counts
        tokens, words = (np.concatenate([np.zeros(0, np.int64), *column]) for column in _columns(texts))
        numbers = np.array([text.number for text in texts], dtype=np.uint64)
        place = np.arange(len(tokens)) - np.repeat(first, counts)
        drawn = _uniform(np.uint64(seed), np.repeat(numbers, counts), place.astype(np.uint64))
        maskable = (words >= 0) & _ordinary(self.special, self.vocabulary)[tokens]
        many = np.add.reduceat(np.append(maskable, 0), first) * (counts > 0) if len(texts) else counts
        rounding = _uniform(np.uint64(seed), numbers, np.full(len(texts), 2**63, np.uint64))[0]
        budget = np.minimum(many, np.maximum((many * self.rate + rounding).astype(np.int64), 1))
        keys = drawn[0] if self.weights is None else -np.log1p(-drawn[0]) / self.weights[tokens]
        owner = np.repeat(np.arange(len(texts)), counts)
        order = np.lexsort((np.where(maskable, keys, np.inf), owner))
        targets = np.sort(order[place < budget[owner]])  # a place is the rank of what is there in order
        seen, fates = tokens.copy(), drawn[1][targets]
        seen[targets[fates < self.mask_share]] = self.mask
        replaced = targets[(fates >= self.mask_share) & (fates < self.mask_share + self.random_share)]
        chosen = (drawn[2][replaced] * self.block).astype(np.int64)
        seen[replaced] = self._others(chosen, tokens[replaced])
        bounds, ends = np.append(first, len(seen)).tolist(), np.append(0, budget.cumsum()).tolist()
        inside = place[targets]
        return [(seen[a:b], inside[c:d]) for (a, b), (c, d) in zip(pairwise(bounds), pairwise(ends), strict=True)]

    def _text(self, text: Encoded, random: np.random.Generator) -> Masked:
        """Masks words or spans of a text."""
        maskable = ((text.words >= 0) & _ordinary(self.special, self.vocabulary)[text.tokens]).nonzero()[0]
        if not len(maskable):
            return text.tokens, maskable
        budget = max(1, int(len(maskable) * self.rate + random.random()))
        units = self._units(text, maskable, budget, random)
        together = np.concatenate(units) if len(units) > 1 else units[0]
        targets = np.sort(together)
        if self.shares_fate:
            fates = np.repeat(random.random(len(units)), [len(unit) for unit in units])
            fates = fates[np.argsort(together)]
        else:
            fates = random.random(len(targets))
        seen = text.tokens.copy()
        seen[targets[fates < self.mask_share]] = self.mask
        replaced = targets[(fates >= self.mask_share) & (fates < self.mask_share + self.random_share)]
        seen[replaced] = self._others(random.integers(0, self.block, len(replaced)), text.tokens[replaced])
        return seen, targets

    @property
    def shares_fate(self) -> bool:
        """Whether what is masked together is also seen alike: spans are, the tokens of a word are not."""
        return self.kind == "span"

    def _units(
        self, text: Encoded, maskable: Int[np.ndarray, "maskable"], budget: int, random: np.random.Generator
    ) -> list[Int[np.ndarray, "unit"]]:
        """Returns the places to be masked together, at most `budget` in all (but at least one unit)."""
        words = whole_words(text, maskable)
        if self.kind == "word":
            return self._words(words, budget, random)
        return self._spans(words, budget, random)

    def _words(
        self, words: list[Int[np.ndarray, "..."]], budget: int, random: np.random.Generator
    ) -> list[Int[np.ndarray, "..."]]:
        """Returns random words that fit the budget; one that does not is passed over, as in the original code."""
        order = random.permutation(len(words))
        chosen: list[Int[np.ndarray, "..."]] = []
        for word in order:
            if len(words[word]) <= budget:
                chosen.append(words[word])
                budget -= len(words[word])
            if not budget:
                break
        return chosen or [words[order[0]]]

    def _spans(
        self, words: list[Int[np.ndarray, "..."]], budget: int, random: np.random.Generator
    ) -> list[Int[np.ndarray, "..."]]:
        """Returns spans of neighboring words, none overlapping, until nothing fits the budget."""
        free: Bool[np.ndarray, "word"] = np.ones(len(words), dtype=bool)
        sizes = np.array([len(word) for word in words])
        chosen: list[Int[np.ndarray, "..."]] = []
        while (starts := np.flatnonzero(free & (sizes <= budget))).size:
            first = int(random.choice(starts))
            end, left = first, self._length(random)
            while left and end < len(words) and free[end] and sizes[end] <= budget and _touch(words, first, end):
                free[end] = False
                budget -= int(sizes[end])
                end, left = end + 1, left - 1
            chosen.append(np.concatenate(words[first:end]))
        return chosen or [words[int(random.integers(len(words)))]]

    def _length(self, random: np.random.Generator) -> int:
        """Returns the words of a span: geometric, given that it is at most `longest` (mean 3.8 by default)."""
        shares = self.stop * (1 - self.stop) ** np.arange(self.longest)
        return int(np.searchsorted(shares.cumsum() / shares.sum(), random.random(), side="right")) + 1

    @property
    def block(self) -> int:
        """How many tokens may stand in the place of one."""
        return (self.vocabulary - len(self.special)) // self.blocks

    def _others(self, drawn: Int[np.ndarray, "count"], tokens: Int[np.ndarray, "count"]) -> Int[np.ndarray, "count"]:
        """Returns tokens that are not special, by their number among those that may stand in each one's place."""
        special = np.array(self.special, dtype=np.int64)
        if self.blocks > 1:
            drawn = drawn + (tokens - len(special)) // self.block * self.block
        return drawn + np.searchsorted(special - np.arange(len(special)), drawn, side="right")


def _columns(texts: Sequence[Encoded]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [text.tokens for text in texts], [text.words for text in texts]


def _uniform(
    seed: np.uint64, number: UInt64[np.ndarray, "draw"], place: UInt64[np.ndarray, "draw"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns three random numbers in [0, 1) for each place of each text, by hashing (splitmix64's finalizer)."""
    state = mixed(mixed(mixed(np.full_like(number, seed)) + number) + place)
    found = []
    for _ in range(3):
        state = mixed(state + GOLDEN)
        found.append((state >> np.uint64(11)) * 2.0**-53)
    return found[0], found[1], found[2]


def rarity(counts: str | Path, exponent: float, vocabulary: int) -> Float[np.ndarray, "vocabulary"]:
    """Returns count ** -exponent of each token, so that rare ones are chosen more often than they come.

    Source: Conneau and Lample, 2019, section 3.3 (there .5: "the square root of their invert frequencies").

    Args:
        counts: a file of NumPy's with how often each token comes, as `kelm vocab count` writes it.

    Raises:
        InputError: it is no such file, or of another vocabulary.
    """
    try:
        found = np.load(counts, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        remedy = "Write it: kelm vocab count words --text en=en.txt --out counts.npy"
        raise InputError(f"{counts} cannot be read ({error})", field="counts", remedy=remedy) from error
    if found.shape != (vocabulary,):
        problem = f"{counts} has {found.shape} counts, the vocabulary {vocabulary} tokens"
        raise InputError(problem, field="counts", remedy="Count with the vocabulary of this run.")
    powers: Float[np.ndarray, "vocabulary"] = np.maximum(found, 1).astype(np.float64) ** -exponent
    return powers


@lru_cache(maxsize=16)
def _ordinary(special: tuple[int, ...], vocabulary: int) -> Bool[np.ndarray, "vocabulary"]:
    """Returns for each token whether it is not special."""
    ordinary = np.ones(vocabulary, dtype=bool)
    ordinary[list(special)] = False
    return ordinary


def whole_words(text: Encoded, places: Int[np.ndarray, "token"]) -> list[Int[np.ndarray, "..."]]:
    """Returns ascending places of a text by word: those of one word that are neighbors together."""
    breaks = (np.diff(text.words[places]) != 0) | (np.diff(places) != 1)
    return np.split(places, breaks.nonzero()[0] + 1)


def _touch(words: list[Int[np.ndarray, "..."]], first: int, end: int) -> bool:
    """Whether word `end` follows the word before it without a special token between, or is itself the first."""
    return end == first or bool(words[end][0] == words[end - 1][-1] + 1)
