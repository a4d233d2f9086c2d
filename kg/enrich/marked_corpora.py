"""Corpora of marked texts, to fine-tune relation classification and entity typing with `kelm train`.

marked_pairs      {"text": ..., "head": [start, end, entity], "tail": [start, end, entity], "relation": "located on"}
marked_mentions   {"text": ..., "mention": [start, end, entity], "types": ["person", "artist"]}

A JSON object a line. Offsets count characters, the end not included; the entity may be null or left out, and is
looked up in the entity table where one is given. "mentions" may list further mentions, which ERNIE then reads as well.
A text that is too long is cut around what is marked, so that every line gives an example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np

from kelm.batch import Encoded
from kelm.data.corpus import Text, digest
from kelm.data.labels import Numbering, label_names
from kelm.data.reader import Attach, Reader
from kelm.data.records import Records
from kelm.errors import TextTooLong
from kelm.model.config import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from kg.enrich.marked import mark_mention, mark_pair
from kg.enrich.marked_record import MarkedRecord
from kg.enrich.markers import Markers, Span, tokens_of
from kg.enrich.table_rows import TableRows
from kg.linking.base import Mention, align

__all__ = ["MarkedMentions", "MarkedPairs", "Marking", "marked_mentions", "marked_pairs"]

Names = Sequence[str] | str
_UNCUT = 2**40  # tokens: the tokenizer shall not cut a text at its end, where a mention may be


@dataclass(frozen=True, kw_only=True)
class Marking:
    """How mentions are marked.

    Attributes:
        hidden: the token that replaces the words of what is marked; None leaves them.
        length: tokens of a text, special ones and markers included.
        rows: of the entity table; None: the texts get no entities.
    """

    markers: Markers
    hidden: int | None
    length: int
    rows: TableRows | None

    def place(
        self, encoded: Encoded, record: MarkedRecord, mentions: Mapping[str, Mention]
    ) -> tuple[Encoded, list[Span]]:
        """Returns the text, cut and aligned with the table, and the tokens of each field's mention.

        Raises:
            FormatError: the tokenizer gives a mention no token of its own.
            TextTooLong: the mentions lie farther apart than a text may be long.
        """
        spans = [_tokens(encoded, record, field, mention) for field, mention in mentions.items()]
        ordered = sorted(spans)
        if any(one[1] >= other[0] for one, other in pairwise(ordered)):
            problem = f"the tokenizer reads {' and '.join(mentions)} as one token"
            raise record.wrong(list(mentions)[-1], problem, "Mark mentions that are words of their own.")
        cut, gone = _around(encoded, ordered[0][0], ordered[-1][1], self.length - 2 * len(spans))
        if self.rows is not None:
            given = list(mentions.values())
            cut = align(cut, [*given, *record.others(given)], self.rows)
        return cut, [(first - gone, last - gone) for first, last in spans]

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        table = None if self.rows is None else self.rows.fingerprint()
        return digest(asdict(self.markers), self.hidden, self.length, table)


@dataclass(frozen=True)
class MarkedPairs:
    """Gives each text its `Pairs`; `relations` None leaves the answer unread."""

    marking: Marking
    relations: tuple[str, ...] | None

    def __call__(self, encoded: Encoded, text: Text) -> Encoded:
        record = MarkedRecord(text.fields, text.origin)
        head, tail = record.apart("head", "tail")
        placed, (first, second) = self.marking.place(encoded, record, {"head": head, "tail": tail})
        markers, hidden = self.marking.markers, self.marking.hidden
        if self.relations is None:
            return mark_pair(placed, first, second, markers, hidden=hidden)
        relation = record.number("relation", self.relations)
        marked = mark_pair(placed, first, second, markers, relation=relation, hidden=hidden)
        return marked.having(Numbering.of(self.relations))

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("pairs", self.marking.fingerprint(), self.relations)


@dataclass(frozen=True)
class MarkedMentions:
    """Gives each text its `TypedMentions`; `types` None leaves the answer unread."""

    marking: Marking
    types: tuple[str, ...] | None

    def __call__(self, encoded: Encoded, text: Text) -> Encoded:
        record = MarkedRecord(text.fields, text.origin)
        placed, (span,) = self.marking.place(encoded, record, {"mention": record.mention("mention")})
        markers, hidden = self.marking.markers, self.marking.hidden
        if self.types is None:
            return mark_mention(placed, span, markers, hidden=hidden)
        holding = record.numbers("types", self.types)
        types = [number in holding for number in range(len(self.types))]
        return mark_mention(placed, span, markers, types=types, hidden=hidden).having(Numbering.of(self.types))

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("mentions", self.marking.fingerprint(), self.types)


def marked_pairs(
    path: str,
    *,
    relations: Names | None,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    table: str | None = None,
    hidden: bool = False,
    length: int | None = None,
) -> Reader:
    """Returns a corpus of texts with a marked pair. Registered as ``marked_pairs`` in the group ``kelm.corpora``.

    Args:
        path: JSON lines, plain or compressed, or a pattern such as ``"part-*.jsonl"``.
        relations: their names, or a file that holds them (see `kelm.data.labels`); the same as the task's. None, to
            predict: the lines need no "relation".
        table: folder of the entity table that the encoder reads; None: the texts get no entities.
        hidden: the mask replaces the words of head and tail, so that only context and graph can tell.
        length: tokens of a text; longer ones are cut around head and tail. The model's if not given.

    Raises:
        FormatError: when read; names file, line, field and what to do.
    """
    marking = _marking(tokenizer, config, table, hidden, length)
    return _reader(path, tokenizer, MarkedPairs(marking, _names(relations, "relation")))


def marked_mentions(
    path: str,
    *,
    types: Names | None,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    table: str | None = None,
    hidden: bool = False,
    length: int | None = None,
) -> Reader:
    """Returns a corpus of texts with a marked mention. Registered as ``marked_mentions`` in ``kelm.corpora``.

    Args:
        types: their names, or a file that holds them (see `kelm.data.labels`); the same as the task's. None, to
            predict: the lines need no "types".
        path, table, hidden, length: as of `marked_pairs`.

    Raises:
        FormatError: when read; names file, line, field and what to do.
    """
    marking = _marking(tokenizer, config, table, hidden, length)
    return _reader(path, tokenizer, MarkedMentions(marking, _names(types, "types")))


def _marking(
    tokenizer: Tokenizer, config: EncoderConfig, table: str | None, hidden: bool, length: int | None
) -> Marking:
    return Marking(
        markers=Markers.of(tokenizer),
        hidden=tokenizer.mask if hidden else None,
        length=min(length or config.longest, config.longest),
        rows=None if table is None else TableRows(table),
    )


def _names(given: Names | None, field: str) -> tuple[str, ...] | None:
    return None if given is None else label_names(given, field)


def _reader(path: str, tokenizer: Tokenizer, attach: Attach) -> Reader:
    return Reader(Records(path), tokenizer, _UNCUT, attach=attach)


def _tokens(encoded: Encoded, record: MarkedRecord, field: str, mention: Mention) -> Span:
    span = tokens_of(encoded, mention.start, mention.end)
    if span is None:
        raise record.wrong(field, f'the tokenizer gives no token for "{mention.text}"', "Mark words that it can read.")
    return span


def _around(text: Encoded, first: int, last: int, length: int) -> tuple[Encoded, int]:
    """Returns at most `length` tokens with those from `first` to `last` in their middle, and how many are gone before.

    Special tokens at the text's beginning and end stay.
    """
    inside = np.flatnonzero(text.spans[:, 0] >= 0)
    begin, end = int(inside[0]), int(inside[-1]) + 1
    room = length - (len(text) - (end - begin))
    if end - begin <= room:
        return text, 0
    if last + 1 - first > room:
        raise TextTooLong(
            f"{text.origin}: what is marked takes {last + 1 - first} tokens, and there is room for {room}. "
            "Give a larger length, or mark mentions that lie closer together."
        )
    start = min(max(begin, (first + last + 1 - room) // 2), end - room)
    kept = np.r_[0:begin, start : start + room, end : len(text)]
    columns = {name: getattr(text, name)[kept] for name in ("tokens", "spans", "words", "segments")}
    return replace(text, **columns), start - begin
