"""Two words that are read together, and what a lexicon says of them.

    car, automobile, "synonym"    ->    [CLS] car [SEP] automobile [SEP]        <s> car </s> </s> automobile </s>

Words keep their pieces, so that the words of several pairs can be put together anew.

Source: Lauscher et al., 2020 (LIBERT), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from kelm.batch import Encoded
from kelm.text.assembly import Template

__all__ = ["Word", "WordPair", "read_together", "without_specials"]


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a lexicon, perhaps of several parts.

    Attributes:
        pieces: its text and tokens, without special ones.
        key: its number in the lexicon; spellings that differ in case only share one.
        partners: keys of all words that the lexicon relates to it, in any way and direction; ascending.
    """

    pieces: Encoded
    key: int
    partners: Int32[np.ndarray, "partner"]

    @property
    def text(self) -> str:
        return self.pieces.text


@dataclass(frozen=True, slots=True)
class WordPair:
    """Two words with their relation.

    Attributes:
        relation: its name, as the objective knows it.
        template: the special tokens around the words.
        number, origin: see `kelm.batch.Encoded`.
    """

    first: Word
    second: Word
    relation: str
    template: Template
    number: int = 0
    origin: str = ""

    def __len__(self) -> int:
        """Tokens of the pair and, about, of the two negatives that are made of it."""
        return 3 * (self.template.specials(pair=True) + len(self.first.pieces) + len(self.second.pieces))


def without_specials(encoded: Encoded, template: Template, most: int) -> Encoded:
    """Returns the first `most` tokens of a text between those around it; none if there is no real one."""
    kept = np.arange(len(template.before), len(encoded) - len(template.after))[:most]
    kept = kept if (encoded.words[kept] >= 0).any() else kept[:0]
    columns = (getattr(encoded, name)[kept] for name in ("tokens", "spans", "words", "segments"))
    return Encoded(encoded.text, *columns)


def read_together(first: Encoded, second: Encoded, template: Template) -> Encoded:
    """Returns two texts without special tokens as one: what a tokenizer makes of the pair."""
    before, between, after = (np.array(some, np.int64) for some in (template.before, template.between, template.after))
    spaces = [np.full(len(some), -1) for some in (before, between, after)]
    words = np.where(second.words < 0, -1, second.words + (int(first.words.max(initial=-1)) + 1))
    spans = np.where(second.spans < 0, -1, second.spans + (len(first.text) + 1))
    gaps = [np.full((len(some), 2), -1) for some in (before, between, after)]
    length = len(before) + len(first) + len(between)
    return Encoded(
        f"{first.text}\n{second.text}",
        np.concatenate((before, first.tokens, between, second.tokens, after)),
        np.concatenate((gaps[0], first.spans, gaps[1], spans, gaps[2])),
        np.concatenate((spaces[0], first.words, spaces[1], words, spaces[2])),
        np.repeat(np.array([0, 1]), (length, len(second) + len(after))),
    )
