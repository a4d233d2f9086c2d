"""Names as hashes: every name that starts anywhere in a text is found, a word at a time, in whole arrays.

    names     "new york", "new york mets"     -->   prefixes   new ○   new york ●   new york mets ●     ● is a name
    text      in new york city                starts with      in ✗    new ○   york ✗   city ✗
                                              go on with               new york ●    ->  new york city ✗

A prefix ends where a name may end (see `kg.linking.folding`), so a text is tried once for each of its words, not for
each character, and a second time only where the first word begins a name; numbers of words that no name has are
skipped. All tries of one round are a few operations on arrays: the hash of characters [first, last) is a difference of
two running sums,

    hash(first, last) = sum of code[i] * b^(i - first + 1) over first <= i < last      mod 2^64

(Karp & Rabin, 1987; b is odd, so that b^-first undoes the shift), and its highest bits name a bucket of a sorted list.
What is found is compared with its name, so a text never finds what only has the same hash. Boundaries within a name are
part of its codes: "a b" as two words is another name than as one.

An automaton (Aho & Corasick, 1975) finds the same in one pass, but has to be built anew each time, takes memory by the
character and cannot see what else decides whether a name counts where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt32, UInt64

from kelm.errors import InputError
from kg.linking.folding import Folded
from kg.linking.stretches import equal

__all__ = ["Hits", "Lexicon", "coded"]

Hits = tuple[Int[np.ndarray, "hit"], Int[np.ndarray, "hit"], Int[np.ndarray, "hit"]]  # names, first and last characters

_STARTS, _ENDS = np.uint32(1 << 30), np.uint32(1 << 31)  # a name may start (end) before this character
_BASES = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93)  # odd; the next where two names are as one
_TOGETHER, _CHARACTERS = 1 << 12, 1 << 16  # names hashed at once, and about how many characters they may have
_KEPT = 1 << 18  # powers that are kept for the next text; a longer one makes its own
_PREFIX, _UNKNOWN = -1, -2


def coded(folded: Folded) -> UInt32[np.ndarray, "character"]:
    """Returns the folded characters with the boundaries before them; the first of a name is written without."""
    return folded.codes | (folded.starts[:-1] * _STARTS) | (folded.ends[:-1] * _ENDS)


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Names by number, and their prefixes by hash.

    Attributes:
        codes: the characters of all names, one name after the other, as `coded` makes them.
        offsets: where each name starts in `codes`, and their number.
        keys: the hashes of prefixes and names, sorted.
        owner: for each key the number of the name that it is, `_PREFIX` if it is none.
        buckets: for each value of the highest bits, the first key that has it; one entry more than values.
        base: the number b of the hash.

    Cost: about 4 bytes a character and 50 a name; a microsecond a name to build.
    """

    codes: UInt32[np.ndarray, "character"]
    offsets: Int64[np.ndarray, "start"]
    keys: UInt64[np.ndarray, "key"]
    owner: Int32[np.ndarray, "key"]
    buckets: Int32[np.ndarray, "bucket"]
    base: int

    @classmethod
    def of(cls, names: Sequence[bytes]) -> Lexicon:
        """Returns the lexicon of distinct names, each the bytes of its codes.

        Raises:
            InputError: two names have the same hash with every base, which no two real names have.
        """
        lengths = np.fromiter(map(len, names), np.int64, len(names)) // 4
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        codes = np.frombuffer(b"".join(names), np.uint32)
        for base in _BASES:
            parts = list(_prefixes(codes, offsets, base))
            whole = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.uint64)
            if len(np.unique(whole)) == len(whole):
                break
        else:
            raise InputError("two names cannot be told apart", field="names", remedy="Leave out the longest.")
        keys, owner = _keyed(whole, np.unique(np.concatenate([whole[:0], *(part[1] for part in parts)])))
        return cls(codes, offsets, keys, owner, _buckets(keys), base)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def _depths(self) -> Int64[np.ndarray, "depth"]:
        """At how many ends of words names end, each number once: 1 for a single word."""
        if not len(self):
            return np.empty(0, np.int64)
        return np.unique(np.add.reduceat(self.codes >= _ENDS, self.offsets[:-1], dtype=np.int64)) + 1

    def find(self, folded: Folded, whole: Bool[np.ndarray, "boundary"]) -> Hits:
        """Returns every name in a text, by first and then by last character.

        Args:
            whole: only names that start and end before such characters are returned.

        Cost: linear in ordinary text. At the worst, each place where a name may start is tried once for each number of
            words that some name has: in a text of one word again and again, with names of one word to k words, n k
            tries, which are also what is found. k is below the square root of twice the characters of all names, so
            the length of a name does not matter. What is found takes 24 bytes each; comparing it: `stretches.equal`.
        """
        codes = coded(folded)
        power, inverse = _powers(self.base, len(codes) + 1)
        sums = np.zeros(len(codes) + 1, dtype=np.uint64)
        np.cumsum(codes * power[1 : len(codes) + 1], out=sums[1:])
        ends = np.flatnonzero(folded.ends)
        first = np.flatnonzero(folded.starts & whole)
        turn = np.cumsum(folded.ends)[first]
        opening = folded.codes[first] * power[first + 1] - sums[first + 1]  # the first character without boundaries
        found: list[Hits] = []
        for depth in self._depths.tolist():
            there = turn + depth <= len(ends)
            first, turn, opening = first[there], turn[there], opening[there]
            if not len(first):
                break
            last = ends[turn + depth - 1]
            owner = self._owners((sums[last] + opening) * inverse[first])
            hit = np.flatnonzero((owner >= 0) & whole[last])
            found.append((owner[hit], first[hit], last[hit]))
            going = np.flatnonzero(owner != _UNKNOWN)
            first, turn, opening = first[going], turn[going], opening[going]
        return self._sorted(codes, found)

    def _owners(self, hashes: UInt64[np.ndarray, "place"]) -> Int32[np.ndarray, "place"]:
        """Returns the owner of each hash, `_UNKNOWN` if it is no key."""
        owner = np.full(len(hashes), _UNKNOWN, dtype=np.int32)
        bucket = (hashes >> _shift(len(self.buckets) - 1)).astype(np.int64)
        key, end = self.buckets[bucket], self.buckets[bucket + 1]
        asking = np.flatnonzero(key < end)
        key, end, hashes = key[asking], end[asking], hashes[asking]
        while len(asking):
            same = self.keys[key] == hashes
            owner[asking[same]] = self.owner[key[same]]
            key = key + 1
            more = np.flatnonzero(~same & (key < end))
            asking, key, end, hashes = asking[more], key[more], end[more], hashes[more]
        return owner

    def _sorted(self, codes: UInt32[np.ndarray, "character"], found: Sequence[Hits]) -> Hits:
        """Returns the hits that are their names to the letter, in order."""
        if not found:
            nothing = np.empty(0, dtype=np.int64)
            return nothing, nothing, nothing
        name, first, last = (np.concatenate(column) for column in zip(*found, strict=True))
        begins = self.offsets[name]
        right = self.offsets[name + 1] - begins == last - first
        right &= (codes[first] ^ self.codes[begins]) & ~(_STARTS | _ENDS) == 0
        name, first, last, begins = name[right], first[right], last[right], begins[right]
        right = equal(codes, first + 1, self.codes, begins + 1, last - first - 1)  # a name's first has no boundaries
        name, first, last = name[right], first[right], last[right]
        order = np.lexsort((last, first))
        return name[order].astype(np.int64), first[order], last[order]


def _prefixes(
    codes: UInt32[np.ndarray, "character"], offsets: Int64[np.ndarray, "start"], base: int
) -> Iterator[tuple[UInt64[np.ndarray, "name"], UInt64[np.ndarray, "prefix"]]]:
    """Yields the hashes of some names, and those of their prefixes, until all are through."""
    low = 0
    while low < len(offsets) - 1:
        fitting = int(np.searchsorted(offsets, offsets[low] + _CHARACTERS, side="right")) - 1
        high = max(low + 1, min(low + _TOGETHER, fitting))
        part, low = offsets[low : high + 1], high
        some, bounds = codes[part[0] : part[-1]], part - part[0]
        power, inverse = _powers(base, len(some) + 1)
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(some * power[1 : len(some) + 1], dtype=np.uint64)))
        ends = np.flatnonzero(some & _ENDS)
        begins = bounds[np.searchsorted(bounds, ends, side="right") - 1]
        yield (
            (sums[bounds[1:]] - sums[bounds[:-1]]) * inverse[bounds[:-1]],
            (sums[ends] - sums[begins]) * inverse[begins],
        )


def _keyed(
    whole: UInt64[np.ndarray, "name"], prefixes: UInt64[np.ndarray, "prefix"]
) -> tuple[UInt64[np.ndarray, "key"], Int32[np.ndarray, "key"]]:
    """Returns the keys, sorted, and whose they are; what is a name and a prefix is the name."""
    prefixes = np.setdiff1d(prefixes, whole, assume_unique=True)
    keys = np.concatenate((whole, prefixes))
    order = np.argsort(keys)
    owner = np.full(len(keys), _PREFIX, dtype=np.int32)
    owner[: len(whole)] = np.arange(len(whole))
    return keys[order], owner[order]


def _buckets(keys: UInt64[np.ndarray, "key"]) -> Int32[np.ndarray, "bucket"]:
    """Returns the first key of each bucket; there are two to four buckets for a key."""
    count = 1 << (2 * len(keys)).bit_length()
    sizes = np.bincount((keys >> _shift(count)).astype(np.int64), minlength=count)
    return np.concatenate((np.zeros(1, np.int32), np.cumsum(sizes, dtype=np.int32)))


def _shift(buckets: int) -> np.uint64:
    return np.uint64(65 - buckets.bit_length())


def _powers(base: int, count: int) -> tuple[UInt64[np.ndarray, "power"], UInt64[np.ndarray, "power"]]:
    """Returns b^0, b^1 ... and b^0, b^-1 ... modulo 2^64, `count` or more of them."""
    return _kept_powers(base) if count <= _KEPT else _made_powers(base, count)


@lru_cache(maxsize=len(_BASES))
def _kept_powers(base: int) -> tuple[UInt64[np.ndarray, "power"], UInt64[np.ndarray, "power"]]:
    return _made_powers(base, _KEPT)


def _made_powers(base: int, count: int) -> tuple[UInt64[np.ndarray, "power"], UInt64[np.ndarray, "power"]]:
    factors = np.ones((2, count), dtype=np.uint64)
    factors[:, 1:] = np.array([[base], [pow(base, -1, 1 << 64)]], dtype=np.uint64)
    powers = np.cumprod(factors, axis=1, dtype=np.uint64)
    return powers[0], powers[1]
