"""How often is a word linked to its translation, where a dictionary knows it? For lack of links drawn by hand.

    A man sleeps .       man  Mann           known   1-1      each is the other's only translation in the sentence
    Ein Mann schläft     dog  Hund           judged  links of words 1 and 1; those of others are not

The error is Och and Ney's (2003) with the known links as sure ones. It is lower than with links drawn by hand: a
dictionary knows frequent words of the same kind, and few that are divided or joined.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

from kelm.batch import Encoded
from kelm.model import Encoder
from multilingual.corpora.code_switched import Dictionary
from multilingual.word_alignment import Links, Method, alignment_scores, word_links

__all__ = ["known_link_error", "known_links"]


def known_links(first: str, second: str, dictionary: Dictionary) -> Links:
    """Returns the words, parted by blanks, of which each is the only translation of the other in these sentences.

    >>> sorted(known_links("A man, a dog .", "Ein Hund, ein Mann .", {"man": ("Mann",), "a": ("ein",)}))
    [(1, 3)]
    """
    ours, theirs = (_bare(side) for side in (first, second))
    places: dict[str, list[int]] = {}
    for place, word in enumerate(theirs):
        places.setdefault(word, []).append(place)
    found = [
        (place, there)
        for place, word in enumerate(ours)
        for other in {translation.casefold() for translation in dictionary.get(word, ())}
        for there in places.get(other, ())
    ]
    return frozenset(link for link in found if _alone(link, found))


def _bare(text: str) -> list[str]:
    return [word.strip(string.punctuation).casefold() for word in text.split()]


def _alone(link: tuple[int, int], found: Sequence[tuple[int, int]]) -> bool:
    return sum(link[0] == other[0] or link[1] == other[1] for other in found) == 1


def known_link_error(
    encoder: Encoder,
    first: Sequence[Encoded],
    second: Sequence[Encoded],
    dictionary: Dictionary,
    *,
    pad: int,
    layer: int,
    method: Method = "itermax",
) -> float:
    """Returns the alignment error rate over the words of which the link is known, after a layer; 1: all are wrong.

    Raises:
        InputError: no link is known, or none of their words is linked.
    """
    known = [known_links(one.text, other.text, dictionary) for one, other in zip(first, second, strict=True)]
    judged = [
        frozenset(link for link in told if any(link[side] in {one[side] for one in sure} for side in (0, 1)))
        for told, sure in zip(
            word_links(encoder, first, second, pad=pad, layer=layer, method=method), known, strict=True
        )
    ]
    return alignment_scores(judged, known).error
