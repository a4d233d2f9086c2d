"""Texts that came before: equal ones by a 64-bit hash, nearly equal ones by MinHash and bands.

    similarity(A, B) = |A and B| / |A or B|      of the character 5-grams, or stretches of words, of two texts
    P(min h(A) = min h(B)) = similarity          for a random h; so the share of equal minima estimates it
    P(two texts meet)  = 1 - (1 - similarity ** rows) ** bands      bands of `rows` minima; only those that meet compare

Both keep in memory what they saw: 8 bytes a text, or 8 a band and 1 a minimum (`_Seen`). What each text is compared by
(`Duplicates.key`, `NearDuplicates.minima`) is a pure function, for map tasks; only the look-up needs one process.
Source: Broder, 1997, On the resemblance and containment of documents; bands: Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, section 3.4; one byte a minimum: Li and König, 2010, b-bit minwise hashing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Bool, UInt8, UInt32, UInt64

from kelm.data.corpus import Text
from kelm.data.hashing import mixed
from kelm.errors import InputError
from kelm.training.bounds import COUNT, FACTOR, SEED
from multilingual.corpora.rules import Judge, Step

__all__ = ["Duplicates", "NearDuplicates", "Shingle", "Side", "estimated"]

Side = Literal["both", "first", "second"]
Shingle = Literal["characters", "words"]
_SURE = 0.99  # how likely texts at the threshold meet
_MOST = 1024  # texts of one run that share a band and are compared: enough, unless thousands are alike in part only
_BLOCK = 2**9  # shingles whose hashes are held at once: they fit a processor's cache
_PAGE = 2**12  # signatures in one array
_BYTE = 1 / 256  # how likely two bytes are equal by chance


def _chosen(text: Text, side: Side) -> str:
    if side == "first" or (side == "both" and text.pair is None):
        return text.text
    if text.pair is None:
        problem = f"{text.origin or text.text[:40]!r} has no second side"
        raise InputError(problem, field="side", remedy='Give "both", which takes single texts too.')
    return text.pair if side == "second" else f"{text.text}\0{text.pair}"


def _check(value: str, kind: object, name: str) -> None:
    if value not in get_args(kind):
        raise InputError(f"{name} is {value}", field=name, remedy=f"Give one of {', '.join(get_args(kind))}.")


class _Seen:
    """A growing set of 64-bit numbers: sorted runs, each more than twice as long as the next; 8 bytes a number.

    Cost: a number is merged log2(n / batch) times, and looked for in as many runs; 16 bytes a number while all merge.
    """

    def __init__(self) -> None:
        self.runs: list[UInt64[np.ndarray, "..."]] = []

    def add(self, numbers: UInt64[np.ndarray, "number"]) -> None:
        if not len(numbers):
            return
        self.runs.append(np.sort(numbers))
        while len(self.runs) > 1 and len(self.runs[-2]) <= 2 * len(self.runs[-1]):
            merged = np.concatenate([self.runs.pop(), self.runs.pop()])
            merged.sort(kind="stable")  # finds that it is two sorted runs
            self.runs.append(merged)

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def holds(self, numbers: UInt64[np.ndarray, "number"]) -> Bool[np.ndarray, "number"]:
        found = np.zeros(len(numbers), bool)
        for run in self.runs:
            found |= run[np.minimum(run.searchsorted(numbers), len(run) - 1)] == numbers
        return found

    def beginning(self, halves: UInt64[np.ndarray, "number"]) -> dict[int, set[int]]:
        """Returns, by the place of each upper half that was seen, the lower halves that came with it."""
        found: dict[int, set[int]] = {}
        order = np.argsort(halves)  # near searches read near memory
        low = halves[order] << np.uint64(32)
        for run in self.runs:
            first, end = run.searchsorted(low), run.searchsorted(low | np.uint64(2**32 - 1), "right")
            for place in np.flatnonzero(end > first).tolist():
                some = run[first[place] : min(end[place], first[place] + _MOST)]
                found.setdefault(int(order[place]), set()).update((some & np.uint64(2**32 - 1)).tolist())
        return found


@dataclass(frozen=True)
class Duplicates(Step):
    """Drops what is equal to a text before it, to the character: clean texts first.

    Two different texts are taken as equal with a probability of n ** 2 / 2 ** 65 for n texts: 3 % for a billion.

    Args:
        side: of pairs, what is compared; "first" and "second" keep one translation of each sentence.

    Raises:
        InputError: an unknown side; when judging, a single text where "second" is asked for.

    Cost: 8 bytes a kept text, 16 while its runs are merged (`_Seen`).
    """

    side: Side = "both"
    name: ClassVar[str] = "duplicates"

    def __post_init__(self) -> None:
        _check(self.side, Side, "side")

    def key(self, text: Text) -> int:
        """Returns a text's 64-bit number, the same in every process: a column to group by, where texts are many."""
        text_bytes = _chosen(text, self.side).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(text_bytes, digest_size=8).digest(), "little")

    def begin(self) -> Judge:
        seen = _Seen()

        def judge(texts: Sequence[Text]) -> list[str]:
            keys, first, where = np.unique(
                np.array([self.key(text) for text in texts], np.uint64), return_index=True, return_inverse=True
            )
            old = seen.holds(keys)
            seen.add(keys[~old])
            again = old[where] | (first[where] != np.arange(len(texts)))
            return ["duplicate" if one else "" for one in again.tolist()]

        return judge


@cache
def _functions(count: int, seed: int) -> tuple[UInt32[np.ndarray, "hash"], UInt32[np.ndarray, "hash"]]:
    """Returns factors and shifts: h(x) = factor * x + shift; an odd factor makes it one to one."""
    factors, shifts = np.random.default_rng(seed).integers(0, 2**32, (2, count), np.uint32)
    return factors | np.uint32(1), shifts


@dataclass(frozen=True)
class NearDuplicates(Step):
    """Drops what is nearly a text that was kept before it: whose estimated similarity is the threshold or more.

    Case and blanks do not count. The estimate's standard error is sqrt(s (1 - s) / hashes): 0.04 at the threshold.

    Args:
        threshold: over 0, up to 1, of the Jaccard similarity.
        shingle: what a text is a set of: stretches of `width` characters, which do for all languages, or of words
            between blanks.
        hashes: minima of each text; the bands are chosen so that texts at the threshold meet with 99 %.
        side: of pairs, what is compared.

    Raises:
        InputError: an option is out of its range; when judging, a single text where "second" is asked for.

    Cost: `size` bytes a kept text: 280 by default; `hashes` multiplications a character or word.
    """

    threshold: float = 0.8
    shingle: Shingle = "characters"
    width: int = 5
    hashes: int = 120
    side: Side = "both"
    seed: int = 0
    name: ClassVar[str] = "near duplicates"

    def __post_init__(self) -> None:
        FACTOR.check(self.threshold, "threshold")
        COUNT.check(self.width, "width")
        COUNT.check(self.hashes, "hashes")
        SEED.check(self.seed, "seed")
        _check(self.side, Side, "side")
        _check(self.shingle, Shingle, "shingle")

    @property
    def rows(self) -> int:
        """Minima of a band: as many as let texts at the threshold meet."""
        fitting = (rows for rows in range(self.hashes, 1, -1) if self.hashes % rows == 0)
        return next((rows for rows in fitting if self._meet(self.threshold, rows) >= _SURE), 1)

    @property
    def bands(self) -> int:
        return self.hashes // self.rows

    @property
    def size(self) -> int:
        """Bytes of a text."""
        return 8 * self.bands + self.hashes

    def meet(self, similarity: float) -> float:
        """Returns how likely two texts meet in a band, and so are compared.

        >>> [round(NearDuplicates().meet(similarity), 3) for similarity in (0.2, 0.5, 0.8)]
        [0.001, 0.27, 0.998]
        """
        return self._meet(similarity, self.rows)

    def _meet(self, similarity: float, rows: int) -> float:
        return float(1 - (1 - similarity**rows) ** (self.hashes // rows))

    def shingles(self, text: Text) -> UInt32[np.ndarray, "shingle"]:
        """Returns the 32-bit hash of each stretch of a text, one of all if it is shorter than a stretch."""
        plain = " ".join(_chosen(text, self.side).casefold().split())
        if self.shingle == "characters":
            units = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        else:
            words = [word.encode("utf-8", "surrogatepass") for word in plain.split()]
            hashed = b"".join(blake2b(word, digest_size=8).digest() for word in words)
            units = np.frombuffer(hashed, np.uint64)
        units = np.pad(units, (0, max(0, self.width - len(units))))
        count = len(units) - self.width + 1
        stretches = np.zeros(count, np.uint64)
        for place in range(self.width):
            stretches = mixed(stretches ^ units[place : place + count])
        return (stretches >> np.uint64(32)).astype(np.uint32)

    def minima(self, text: Text) -> UInt32[np.ndarray, "hash"]:
        """Returns the smallest hash of a text's shingles by each hash function: a pure function, for map tasks."""
        factors, shifts = _functions(self.hashes, self.seed)
        found = np.full(self.hashes, 2**32 - 1, np.uint32)
        shingles = self.shingles(text)
        for at in range(0, len(shingles), _BLOCK):
            found = np.minimum(found, (shingles[at : at + _BLOCK, None] * factors + shifts).min(0))
        return found

    def keys(self, minima: UInt32[np.ndarray, "text hash"]) -> UInt64[np.ndarray, "text band"]:
        """Returns a 32-bit number for each band: equal ones meet."""
        banded = minima.reshape(len(minima), self.bands, self.rows).astype(np.uint64)
        keys = np.broadcast_to(np.arange(self.bands, dtype=np.uint64), banded.shape[:2])
        for row in range(self.rows):
            keys = mixed(keys ^ banded[:, :, row] << np.uint64(8))  # 8: beside the number of the band
        return keys >> np.uint64(32)

    def begin(self) -> Judge:
        return _Near(self)


def estimated(one: UInt8[np.ndarray, "hash"], others: UInt8[np.ndarray, "text hash"]) -> np.ndarray:
    """Returns the estimated similarities of a text to others, by the lowest byte of each minimum."""
    similarities: np.ndarray = ((one == others).mean(1) - _BYTE) / (1 - _BYTE)
    return similarities


@dataclass
class _Near:
    """The texts that were kept: their bands, each with the text's number, and a byte of each minimum."""

    options: NearDuplicates
    met: _Seen = field(default_factory=_Seen)
    bytes: list[UInt8[np.ndarray, "text hash"]] = field(default_factory=list)
    count: int = 0

    def __call__(self, texts: Sequence[Text]) -> list[str]:
        if not texts:
            return []
        minima = np.stack([self.options.minima(text) for text in texts])
        keys, signatures = self.options.keys(minima), minima.astype(np.uint8)
        before = self.met.beginning(keys.reshape(-1))
        now: dict[int, list[int]] = {}  # what of this batch has a key
        reasons, kept = [], []
        for place, own in enumerate(keys.tolist()):
            near = {one for key in own for one in now.get(key, ())}
            for at in range(place * len(own), (place + 1) * len(own)):
                near |= before.get(at, set())
            if near and estimated(signatures[place], self._signatures(near)).max() >= self.options.threshold:
                reasons.append("near duplicate")
                continue
            for key in own:
                now.setdefault(key, []).append(self.count)
            kept.append(keys[place] << np.uint64(32) | np.uint64(self.count))
            self._keep(signatures[place])
            reasons.append("")
        self.met.add(np.concatenate([*kept, np.zeros(0, np.uint64)]))
        return reasons

    def _keep(self, signature: UInt8[np.ndarray, "hash"]) -> None:
        if self.count % _PAGE == 0:
            self.bytes.append(np.empty((_PAGE, self.options.hashes), np.uint8))
        self.bytes[-1][self.count % _PAGE] = signature
        self.count += 1

    def _signatures(self, numbers: set[int]) -> UInt8[np.ndarray, "text hash"]:
        return np.stack([self.bytes[number // _PAGE][number % _PAGE] for number in numbers])
