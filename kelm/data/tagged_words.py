"""Sentences with a tag a word: a corpus to fine-tune tagging (entities, parts of speech) with `kelm train`.

    words    Bonn      lies  on  the  Rhine                         as the file has them
    tokens   [CLS] bon ##n lies on the rhi ##ne [SEP]
    words    -1     0    0  1   2   3   4    4  -1                  Encoded.words: whose sub-token each is
    Words    token 1, 3, 4, 5, 6                                    the first sub-token of each word

Words are always tokenized apart, whatever the text itself looks like, so that no token belongs to two of them. Where a
word lies is told by the part `Words` alone: its tokens move when something is put into the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from kelm.batch import Encoded, Part
from kelm.data.corpus import Text, digest
from kelm.data.labeled_text import Limits
from kelm.data.labels import Numbering, label_names
from kelm.data.reader import Reader
from kelm.data.word_columns import WordColumns
from kelm.errors import FormatError, closest
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Int, Tensor

__all__ = ["Tagged", "WordTags", "Words", "tagged_words"]


@dataclass(frozen=True, slots=True)
class Words(Part):
    """All words of each text, in their order.

    Attributes:
        token: the first sub-token of the word; -1 where it has none, as it was cut off or is nothing to the tokenizer.
    """

    indices: ClassVar = {"row": "row", "text": "text", "token": "token"}
    row: Int[Tensor, "word"]
    text: Int[Tensor, "word"]
    token: Int[Tensor, "word"]


@dataclass(frozen=True, slots=True)
class WordTags(Part):
    """The right tag of each of `Words`, as its number in the task's list of tags."""

    tag: Int[Tensor, "word"]


@dataclass(frozen=True)
class Tagged:
    """Gives each sentence its `Words` and `WordTags`; `tags` None leaves the answers unread.

    Attributes:
        blanks: the text has blanks between its words.
    """

    tags: tuple[str, ...] | None
    blanks: bool

    def __call__(self, encoded: Encoded, text: Text) -> Encoded:
        placed, token = _placed(encoded, text.fields["words"], blanks=self.blanks)
        zeros = torch.zeros(len(token), dtype=torch.long)
        placed = placed.having(Words(zeros, zeros, torch.from_numpy(token)))
        if self.tags is None:
            return placed
        return placed.having(WordTags(torch.tensor(self._numbers(text, self.tags))), Numbering.of(self.tags))

    def _numbers(self, text: Text, tags: tuple[str, ...]) -> list[int]:
        known = {tag: number for number, tag in enumerate(tags)}
        for tag, line in zip(text.fields["tags"], text.fields["lines"], strict=True):
            if tag not in known:
                path = text.origin.rpartition(":")[0]
                problem = f'"{tag}" is none of the {len(tags)} tags'
                raise FormatError(problem, path=path, line=line, field="tag", remedy=closest(tag, known))
        return [known[tag] for tag in text.fields["tags"]]

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("tagged", self.tags, self.blanks)


def _placed(encoded: Encoded, words: Sequence[str], *, blanks: bool) -> tuple[Encoded, Int[np.ndarray, "word"]]:
    """Returns the sentence with the words that are given, and the first sub-token of each, -1 where there is none.

    Args:
        encoded: the words with single blanks between them, perhaps cut.
        blanks: False takes them out of the text, and out of the spans of its tokens.
    """
    ends = np.array([len(word) + 1 for word in words]).cumsum()
    here = np.flatnonzero(encoded.spans[:, 1] > encoded.spans[:, 0])  # tokens of characters
    spans = encoded.spans.copy()
    begins, stops = spans[here, 0], spans[here, 1]
    word = np.searchsorted(ends, begins, side="right")

    token = np.full(len(words), -1, dtype=np.int64)
    found, first = np.unique(word, return_index=True)
    token[found] = here[first]

    # A token without characters, as "▁" alone, belongs to the word of the next one that has some.
    after = np.minimum(np.searchsorted(here, np.arange(len(encoded))), len(here) - 1)
    numbers = np.where(encoded.special, -1, word[after]) if len(here) else encoded.words
    if not blanks:
        spans[here, 0], spans[here, 1] = begins - word, stops - np.searchsorted(ends, stops - 1, side="right")
    return encoded.having(text=(" " if blanks else "").join(words), spans=spans, words=numbers), token


def tagged_words(
    path: str,
    *,
    tags: Sequence[str] | str | None,
    tokenizer: Tokenizer,
    config: Limits,
    word: int = 0,
    tag: int = -1,
    blanks: bool = True,
    length: int | None = None,
) -> Reader:
    """Returns a corpus of tagged sentences. Registered as ``tagged_words`` in the group ``kelm.corpora``.

    A sentence without a single token gives nothing.

    Args:
        path: a word a line (see `kelm.data.word_columns`), plain or compressed, or a pattern such as ``"*.conll"``.
        tags: their names, or a file with a name a line; the same as the task's. None, to predict: the column of tags
            is left unread, and may be missing.
        word, tag: their columns, from 0, or from -1 backwards.
        blanks: blanks stand between the words of the text; False for Chinese or Japanese, so that whoever looks for
            names in the text finds them. Tokens do not depend on it.
        length: tokens of a sentence; the words beyond are cut off (their tags are not). The model's if not given.

    Raises:
        FormatError: when read; names file, line, field and what to do.
    """
    names = None if tags is None else label_names(tags, "tag")
    lines = WordColumns(path, word=word, tag=None if tags is None else tag)
    return Reader(lines, tokenizer, min(length or config.longest, config.longest), attach=Tagged(names, blanks))
