"""Questions with candidate answers, right or wrong: a corpus to fine-tune answer ranking with `kelm train`.

    question<TAB>answer<TAB>1          a table: question = 0, answer = 1, relevance = 2
    question<TAB>other answer<TAB>0    the same question: the same group

The lines of a group may stand anywhere; answers are compared only when they are scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from kelm.batch import Encoded, Part
from kelm.data.columns import Column, columns
from kelm.data.corpus import Text, digest
from kelm.data.labeled_text import Limits
from kelm.data.reader import Reader
from kelm.data.records import Record
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Bool, Int, Tensor

__all__ = ["Groups", "Ranked", "Relevance", "ranked_pairs"]

_RELEVANT: Mapping[Any, bool] = {"0": False, "1": True, 0: False, 1: True}  # JSON's false and true are 0 and 1, too


@dataclass(frozen=True, slots=True)
class Groups(Part):
    """Which question each pair belongs to: a number drawn from the question, equal for equal ones."""

    indices: ClassVar = {"text": "text"}
    text: Int[Tensor, "text"]
    group: Int[Tensor, "text"]


@dataclass(frozen=True, slots=True)
class Relevance(Part):
    """Whether each pair's answer is right."""

    indices: ClassVar = {"text": "text"}
    text: Int[Tensor, "text"]
    relevant: Bool[Tensor, "text"]


@dataclass(frozen=True)
class Ranked:
    """Gives each pair its `Groups` and its `Relevance`.

    Attributes:
        group: the column that tells questions apart; None: their text does.
        relevance: the column that says 0 or 1; None leaves it unread.
    """

    group: str | None
    relevance: str | None

    def __call__(self, encoded: Encoded, text: Text) -> Encoded:
        record, zero = Record(text.fields, text.origin), torch.tensor([0])
        name = text.text if self.group is None else str(record.value(self.group))
        grouped = encoded.having(Groups(zero, torch.tensor([int(digest(name)[:15], 16)])))
        if self.relevance is None:
            return grouped
        said = record.value(self.relevance)
        if not isinstance(said, str | int) or said not in _RELEVANT:
            raise record.wrong(
                self.relevance, f"expected 0 or 1, found {said!r}", "Give 1 to right answers, 0 to others."
            )
        return grouped.having(Relevance(zero, torch.tensor([_RELEVANT[said]])))

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("ranked", self.group, self.relevance)


def ranked_pairs(
    path: str,
    *,
    tokenizer: Tokenizer,
    config: Limits,
    question: Column = "question",
    answer: Column = "answer",
    relevance: Column | None = "label",
    group: Column | None = None,
    header: bool | None = None,
    only: Mapping[str, Any] | None = None,
    length: int | None = None,
) -> Reader:
    """Returns a corpus of questions with an answer each. Registered as ``ranked_pairs`` in the group ``kelm.corpora``.

    Args:
        path: JSON lines if ".jsonl" is in its name, else a table of tab-separated columns without quoting; plain or
            compressed, or a pattern such as ``"part-*.tsv"``.
        question, answer: their columns: keys, names of a header, or numbers from 0.
        relevance: the column that says 1 of a right answer and 0 of another. None, to predict: it is left unread.
        group: the column that tells questions apart; None: their text does.
        header: of tables: the first line names the columns; by default so if a column is given by name.
        only: what columns have to hold, such as ``{"split": "train"}``; other lines are left out.
        length: tokens of a pair; of longer ones the longer text is cut first. The model's if not given.

    Raises:
        FormatError: when read; names file, line, field and what to do.
    """
    keep = [column for column in (group, relevance) if column is not None]
    lines = columns(path, text=question, pair=answer, keep=keep, header=header, only=only)
    attach = Ranked(None if group is None else str(group), None if relevance is None else str(relevance))
    return Reader(lines, tokenizer, min(length or config.longest, config.longest), attach=attach)
