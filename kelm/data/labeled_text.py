"""Texts, or pairs of texts, with a label: a corpus to fine-tune text classification with `kelm train`.

    {"text": "a fine film", "label": "positive"}            JSON lines
    premise<TAB>hypothesis<TAB>entailment                   a table: text = 0, pair = 1, label = 2

What makes the answer is a part, `Label`; it says nothing of tokens, so whatever is put into a text leaves it true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch

from kelm.batch import Encoded, Part
from kelm.data.columns import Column, columns
from kelm.data.corpus import Text, digest
from kelm.data.labels import Numbering, label_names
from kelm.data.reader import Reader
from kelm.data.records import Record
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Int, Tensor

__all__ = ["Label", "Labeled", "Limits", "labeled_text"]


class Limits(Protocol):
    """What a corpus asks of a model's configuration: how many tokens a text may have."""

    @property
    def longest(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Label(Part):
    """The right answer to each text, as its number in the task's list of labels."""

    indices: ClassVar = {"text": "text"}
    text: Int[Tensor, "text"]
    label: Int[Tensor, "text"]


@dataclass(frozen=True)
class Labeled:
    """Gives each text its `Label`, from a column that holds its name."""

    column: str
    labels: tuple[str, ...]

    def __call__(self, encoded: Encoded, text: Text) -> Encoded:
        number = Record(text.fields, text.origin).number(self.column, self.labels)
        return encoded.having(Label(torch.tensor([0]), torch.tensor([number])), Numbering.of(self.labels))

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("labeled", self.column, self.labels)


def labeled_text(
    path: str,
    *,
    labels: Sequence[str] | str | None,
    tokenizer: Tokenizer,
    config: Limits,
    text: Column = "text",
    pair: Column | None = None,
    label: Column = "label",
    header: bool | None = None,
    only: Mapping[str, Any] | None = None,
    length: int | None = None,
) -> Reader:
    """Returns a corpus of labeled texts. Registered as ``labeled_text`` in the group ``kelm.corpora``.

    A text without a single token (a blank one) gives nothing.

    Args:
        path: JSON lines if ".jsonl" is in its name, else a table of tab-separated columns without quoting; plain or
            compressed, or a pattern such as ``"part-*.tsv"``.
        labels: their names, or a file that holds them (see `kelm.data.labels`); the same as the task's. None, to
            predict: the label is left unread.
        text, pair, label: columns of the text, of the second text if there is one, and of the label's name: keys, names
            of a header, or numbers from 0.
        header: of tables: the first line names the columns; by default so if a column is given by name.
        only: what columns have to hold, such as ``{"split": "train"}``; other lines are left out.
        length: tokens of a text; longer ones are cut, of a pair the longer text first. The model's if not given.

    Raises:
        FormatError: when read; names file, line, field and what to do.
    """
    keep = [] if labels is None else [label]
    lines = columns(path, text=text, pair=pair, keep=keep, header=header, only=only)
    names = None if labels is None else label_names(labels, str(label))
    attach = None if names is None else Labeled(str(label), names)
    return Reader(lines, tokenizer, min(length or config.longest, config.longest), attach=attach)
