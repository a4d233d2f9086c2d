"""Folding: what two spellings of a name have in common, and where each folded character came from.

    "La  CAFÉ™…"  --fold-->  "la café tm..."        origin: folded character -> characters [start, end) of the text
                              ^  ^    ^             and between which folded characters a name may start or end

A folded character is the compatibility composition of the case-folded text (NFKC and full case folding, Unicode
Standard, sections 3.11 and 3.13), taken cluster by cluster: a base character and the marks that may compose with it.
Beyond that, runs of white space and control characters are one space, invisible characters (soft hyphen, joiners,
direction marks, variation selectors) vanish, and typographic quotes and dashes become ASCII ones. The dotted and the
dotless i of Turkic alphabets are one letter, whose capitals case folding does not tell apart: "İZMİR" is "İzmir", and
"DIYARBAKIR" and "DİYARBAKIR" are "Diyarbakır". A lone surrogate becomes U+FFFD.

Words: letters, digits and marks of a script that writes spaces stick together; a name starts or ends only where two
neighbors do not stick. Han, kana, Thai, Lao, Khmer, Myanmar and their like write no spaces, so there a name may start
or end before any character that is not a mark. Hangul sticks to what stands before it but a name may end within a
word, because particles are written onto the noun.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Bool, Int, UInt8, UInt32

__all__ = ["BARRIER", "Folded", "fold", "is_dense"]

BARRIER = "\0"  # stands between two texts that are folded together; nothing matches across it

# Flags of a code point.
_JOINS, _MARK, _SPACE, _GONE, _EXTENDS, _GROWS, _HANGUL, _WALL = 1, 2, 4, 8, 16, 32, 64, 128

# Scripts written without spaces between words (Unicode Standard Annex 14, classes ID and SA).
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x19E0, 0x19FF),  # Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),  # Han iteration mark, closing mark, zero
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3031, 0x303F),  # kana repeat marks
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3100, 0x312F),  # Bopomofo
    (0x31A0, 0x31FF),  # Bopomofo and Katakana extensions
    (0x3400, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA9E0, 0xA9FF),  # Myanmar extended
    (0xAA60, 0xAADF),  # Myanmar extended, Tai Viet
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x1AFF0, 0x1B16F),  # kana extensions
    (0x20000, 0x3FFFD),  # Han extensions
)
_LONE = re.compile("[\ud800-\udfff]")  # surrogates, which cannot be written as UTF-8
_HANGUL_RANGES = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xFFA0, 0xFFDC))
_PUNCTUATION = str.maketrans(dict.fromkeys("‘’‚‛ʼ′", "'") | dict.fromkeys("“”„‟″", '"') | dict.fromkeys("‐‑‒–—―−", "-"))


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text.

    Attributes:
        codes: the code points of the folded text.
        start, end: the characters [start, end) of the text that a folded character came from. Characters that were
            folded as one cluster share them.
        starts, ends: whether a name may start (end) before folded character i; one entry more than `codes`.
    """

    codes: UInt32[np.ndarray, "character"]
    start: Int[np.ndarray, "character"]
    end: Int[np.ndarray, "character"]
    starts: Bool[np.ndarray, "boundary"]
    ends: Bool[np.ndarray, "boundary"]

    def __str__(self) -> str:
        return _text(self.codes)


def fold(text: str, *, marks: str = "keep") -> Folded:
    """Folds a text; several texts may be folded at once with `BARRIER` between them.

    Args:
        marks: "drop" also removes accents, Arabic vowel signs and Hebrew points, so that "cafe" finds "café".

    >>> str(fold("Straße  “İzmir”"))
    'strasse "izmir"'

    Cost: linear; about 20 ns a character, and about a microsecond a cluster where marks combine.
    """
    table, flags = _tables(marks)
    read = _codes(text)
    flag, codes = flags[read], table[read]
    if (flag & (_GONE | _EXTENDS | _GROWS)).any() or ((flag[1:] & flag[:-1]) & _SPACE).any():
        codes, start, end = _rewrite(text, codes, flag, marks)
        return Folded(codes, start, end, *_boundaries(flags[codes], flag[start], flag[end - 1]))
    place = np.arange(len(read) + 1)
    return Folded(codes, place[:-1], place[1:], *_boundaries(flags[codes], flag, flag))


def is_dense(text: str) -> bool:
    """Whether a text has characters of a script without spaces, or Hangul: such names are shorter.

    >>> is_dense("北京"), is_dense("Paris")
    (True, False)
    """
    _, flags = _tables("keep")
    flag = flags[_codes(text)]
    letters = np.array([character.isalpha() for character in text], dtype=bool)
    return bool((letters & ((flag & _JOINS == 0) | (flag & _HANGUL > 0))).any())


def _rewrite(
    text: str, codes: UInt32[np.ndarray, "character"], flag: UInt8[np.ndarray, "character"], marks: str
) -> tuple[UInt32[np.ndarray, "character"], Int[np.ndarray, "character"], Int[np.ndarray, "character"]]:
    """Returns folded codes and their origins where folding changes the number of characters."""
    space = (flag & _SPACE) > 0
    gone = (flag & _GONE) > 0
    if gone.any():  # a space after an invisible character after a space is the same run
        kept = np.flatnonzero(~gone)
        again = np.zeros(len(space), dtype=bool)
        again[kept[1:]] = space[kept[1:]] & space[kept[:-1]]
    else:
        again = space & np.concatenate(([False], space[:-1]))
    lengths = np.where(gone | again, 0, 1)
    clusters = [(first, last, _folded(text[first:last], marks)) for first, last in _clusters(flag)]
    for first, last, written in clusters:
        lengths[first:last] = 0
        lengths[first] = len(written)

    origin = np.repeat(np.arange(len(codes)), lengths)
    place = np.cumsum(lengths) - lengths
    out, end = codes[origin], origin + 1
    for first, last, written in clusters:
        here = slice(place[first], place[first] + len(written))
        out[here], end[here] = _codes(written), last
    return out, origin, end


def _clusters(flag: UInt8[np.ndarray, "character"]) -> Iterator[tuple[int, int]]:
    """Yields [first, last) of each character that grows and of each run of marks with the base before it."""
    extends = (flag & _EXTENDS) > 0
    odd = np.flatnonzero(extends | ((flag & _GROWS) > 0))
    no_base = (flag & (_SPACE | _GONE | _WALL)) > 0
    last = 0
    for at in odd.tolist():
        if at < last:
            continue
        first = at - 1 if extends[at] and at > last and not no_base[at - 1] else at
        last = at + 1
        while last < len(flag) and extends[last]:
            last += 1
        yield first, last


@lru_cache(maxsize=1 << 16)
def _folded(characters: str, marks: str) -> str:
    """Returns the folded form of a base character with its marks."""
    characters = _LONE.sub("\ufffd", characters)
    if marks == "drop":
        apart = unicodedata.normalize("NFKD", characters)
        characters = "".join(character for character in apart if not _droppable(character))
    once = unicodedata.normalize("NFKC", characters).translate(_PUNCTUATION).casefold()
    once = once.replace("ı", "i").replace("i\u0307", "i")
    return unicodedata.normalize("NFKC", once).casefold()


def _droppable(mark: str) -> bool:
    """Accents, Arabic and Hebrew vowel signs; not the viramas, nuktas, voicing and tone marks that others need."""
    order = unicodedata.combining(mark)
    return 10 <= order <= 36 or order >= 200


def _boundaries(
    kind: UInt8[np.ndarray, "character"],
    first: UInt8[np.ndarray, "character"],
    last: UInt8[np.ndarray, "character"],
) -> tuple[Bool[np.ndarray, "boundary"], Bool[np.ndarray, "boundary"]]:
    """Returns where names may start and where they may end.

    Stickiness is asked of the folded characters (`kind`) and of the first and last character that each came from: "™"
    folds to letters but does not stick to the word before it. Nothing starts before or ends after a space.
    """
    starts, ends = np.ones(len(kind) + 1, dtype=bool), np.ones(len(kind) + 1, dtype=bool)
    starts[-1] = ends[0] = False
    if not len(kind):
        return starts, ends
    sticks = (kind[:-1] & last[:-1] & kind[1:] & first[1:] & _JOINS) > 0
    mark = ((kind[1:] & _MARK) > 0) & ((kind[:-1] & _WALL) == 0)
    starts[1:-1] = ~(sticks | mark)
    particle = (kind[:-1] & kind[1:] & _HANGUL) > 0
    ends[1:-1] = ~((sticks & ~particle) | mark)
    space = (kind & (_SPACE | _WALL)) > 0
    starts[:-1] &= ~space
    ends[1:] &= ~space
    return starts, ends


@cache
def _tables(marks: str) -> tuple[UInt32[np.ndarray, "code"], UInt8[np.ndarray, "code"]]:
    """Returns the folded code point and the flags of every code point; takes a third of a second, once."""
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    flags = np.zeros(sys.maxunicode + 1, dtype=np.uint8)
    composing, digits = _second_of_compositions(), []
    for code in _assigned():
        character = chr(code)
        kind = unicodedata.category(character)
        if kind in ("Zs", "Zl", "Zp", "Cc"):
            table[code], flags[code] = 0x20, _SPACE
        elif kind == "Cf" or _is_selector(code):
            flags[code] = _GONE
        elif kind not in ("Cn", "Cs", "Co"):
            table[code], flags[code] = _describe(character, kind, composing, marks)
            if kind == "Nd":
                digits.append(code)
    for first, last in _UNSPACED:
        flags[first : last + 1] &= 0xFF ^ _JOINS
    for first, last in _HANGUL_RANGES:
        flags[first : last + 1] |= _HANGUL
    flags[digits] |= _JOINS
    table[0xD800:0xE000] = 0xFFFD  # as in `_LONE`
    table[ord(BARRIER)], flags[ord(BARRIER)] = ord(BARRIER), _WALL
    return table, flags


def _describe(character: str, kind: str, composing: frozenset[str], marks: str) -> tuple[int, int]:
    """Returns the folded code point (or its own where folding it alone is not one character) and the flags."""
    flag = 0
    if kind[0] in "LM" or kind in ("Nd", "Nl"):
        flag |= _JOINS
    if kind[0] == "M":
        flag |= _MARK
    opening = unicodedata.normalize("NFKD", character)[0]
    if unicodedata.combining(opening) or opening in composing:
        flag |= _EXTENDS
    folded = character.lower() if character.isascii() else _folded.__wrapped__(character, marks)
    if len(folded) != 1:
        return ord(character), flag | _GROWS
    return ord(folded), flag


def _assigned() -> Iterator[int]:
    """Yields the code points that may be assigned: the first four planes and the tags of plane 14."""
    yield from range(0x33480)
    yield from range(0xE0000, 0xE01F0)


def _second_of_compositions() -> frozenset[str]:
    """Returns the characters that may compose with one before them."""
    seconds = {chr(code) for code in range(0x1161, 0x1176)} | {chr(code) for code in range(0x11A8, 0x11C3)}
    for code in range(0x20000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    return frozenset(seconds)


def _is_selector(code: int) -> bool:
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or code == 0x034F


def _codes(text: str) -> UInt32[np.ndarray, "character"]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _text(codes: UInt32[np.ndarray, "character"]) -> str:
    return codes.astype("<u4", copy=False).tobytes().decode("utf-32-le")
