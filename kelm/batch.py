"""What flows from the readers to the encoder: one text as `Encoded`, many as a `Batch`.

    Encoded, Encoded, ...  --pack-->  Batch(tokens, positions, segments, visibility, parts)

    row 0   [CLS] a b c [SEP] [CLS] d e [SEP]        several texts may share a row
    row 1   [CLS] f g h i j k [SEP] [PAD]            document code -1 is padding

Who sees whom is never a stored square but three small integers a token (`Visibility`). Everything that is not a
token (mentions, pairs, languages, targets) is a typed `Part` whose indices `pack` moves to their place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from kelm.errors import MissingPart, TextTooLong
from kelm.typing import Bool, Int, Tensor
from kelm.visibility import Visibility

__all__ = ["PARTS", "Batch", "Encoded", "Part", "Targets", "Texts", "Visibility", "pack", "place"]

P = TypeVar("P", bound="Part")
PARTS = "tokens/"  # units of this beginning are no loss's: tokens of a part of the data, for the log


class Part:
    """Base of typed additions to a text or a batch: a frozen dataclass of 1-D tensors of equal length.

    Attributes:
        indices: which fields are indices, and of what: a "row", a "token" of a row, or a "text" of the batch. Within
            one `Encoded` they count from 0; `pack` moves them to their place. -1 means none and stays.

    >>> @dataclass(frozen=True, slots=True)
    ... class Languages(Part):
    ...     indices: ClassVar = {"row": "row"}
    ...     row: Int[Tensor, "language"]
    ...     language: Int[Tensor, "language"]
    """

    __slots__ = ()
    indices: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def join(cls: type[P], parts: Sequence[tuple[P, int, int, int]]) -> P:
        """Returns one part from many, each given with the row, first token and number of its text."""
        columns: dict[str, Tensor] = {}
        for column in dataclasses.fields(cls):  # type: ignore[arg-type]  # subclasses are dataclasses
            counts = cls.indices.get(column.name)
            moved = []
            for part, row, first, text in parts:
                values: Tensor = getattr(part, column.name)
                if counts is not None:
                    values = torch.where(
                        values < 0, values, values + {"row": row, "token": first, "text": text}[counts]
                    )
                moved.append(values)
            columns[column.name] = torch.cat(moved)
        return cls(**columns)

    @property
    def units(self) -> Mapping[str, int]:
        """Over how many things a loss is a sum, by its name: of what extensions add because of this part; `PARTS`."""
        return {}

    def map(self: P, change: Any) -> P:
        """Returns the part with `change` applied to each of its tensors (to move it to a device, say)."""
        return type(self)(**{name: change(v) if isinstance(v, Tensor) else v for name, v in self._columns().items()})

    def placed(self: P, places: Int[Tensor, "token"]) -> P:
        """Returns the part of a text whose tokens lie elsewhere now: token i at `places[i]`."""
        values = self._columns()
        for name, counts in self.indices.items():
            if counts == "token" and len(values[name]):
                values[name] = torch.where(values[name] < 0, values[name], places[values[name].clamp(min=0)])
        return type(self)(**values)

    def cut(self: P, length: int) -> P:
        """Returns the part of a text of which the first `length` tokens are left.

        What points beyond them goes; of a part with one token a row, a list of words say, each stays and is nowhere.
        """
        values = self._columns()
        tokens = [name for name, counts in self.indices.items() if counts == "token"]
        if len(tokens) == 1:
            values[tokens[0]] = torch.where(values[tokens[0]] < length, values[tokens[0]], -1)
        elif tokens:
            inside = torch.stack([values[name] < length for name in tokens]).all(0)
            values = {name: value[inside] for name, value in values.items()}
        return type(self)(**values)

    def _columns(self) -> dict[str, Any]:
        return {column.name: getattr(self, column.name) for column in dataclasses.fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Texts(Part):
    """Where each text of the batch lies; made by `pack`. `first` holds its [CLS] or <s>."""

    indices: ClassVar = {"row": "row", "first": "token", "last": "token"}
    row: Int[Tensor, "text"]
    first: Int[Tensor, "text"]
    last: Int[Tensor, "text"]


@dataclass(frozen=True, slots=True)
class Targets(Part):
    """The positions at which a vocabulary head runs, and the token that it shall find there."""

    indices: ClassVar = {"row": "row", "token": "token"}
    row: Int[Tensor, "target"]
    token: Int[Tensor, "target"]
    label: Int[Tensor, "target"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenized text (or pair read together), as readers make it, enrichers change it and collates pack it.

    Attributes:
        tokens: vocabulary ids, special tokens included.
        spans: the characters [start, end) of `text` behind each token; -1, -1 where there are none.
        words: number of the word that a token belongs to; -1 marks special tokens.
        segments: 0 for the first text, 1 for the second (BERT's token types).
        positions: soft positions counted from 0, or None for 0, 1, 2, ...
        branch, anchor: visibility codes (see `Visibility`), or None for a plain text.
        parts: additions; their indices count within this text.
        number: ordinal in its corpus; randomness is drawn by it, so that it does not depend on batch or process.
        origin: "file:line", for messages.
    """

    text: str
    tokens: Int[np.ndarray, "token"]
    spans: Int[np.ndarray, "token 2"]
    words: Int[np.ndarray, "token"]
    segments: Int[np.ndarray, "token"]
    positions: Int[np.ndarray, "token"] | None = None
    branch: Int[np.ndarray, "token"] | None = None
    anchor: Int[np.ndarray, "token"] | None = None
    parts: Mapping[type[Part], Part] = field(default_factory=dict)
    number: int = 0
    origin: str = ""

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, part: type[P]) -> P:
        return _find(self.parts, part, f"the text at {self.origin or self.text[:40]!r}")

    @property
    def special(self) -> Bool[np.ndarray, "token"]:
        return self.words < 0

    def having(self, *parts: Part, **changes: Any) -> Encoded:
        """Returns the text with parts added (or replaced) and fields changed."""
        together = {**self.parts, **{type(part): part for part in parts}}
        return dataclasses.replace(self, parts=together, **changes)


@dataclass(frozen=True, slots=True)
class Batch:
    """What the encoder reads.

    Attributes:
        tokens, positions, segments: positions count from 0; the model adds RoBERTa's offset.
        objective: whose batch this is.
        parts: typed additions, `batch[Mentions]`; a missing one raises `MissingPart`.
        units: how many things each loss is a sum over ("mlm": number of targets); the trainer divides by it.
        origins: where the texts came from, for messages.
        cursor: where the stream that made it stands after it; the trainer stores it for an exact resume.
    """

    tokens: Int[Tensor, "row token"]
    positions: Int[Tensor, "row token"]
    segments: Int[Tensor, "row token"]
    visibility: Visibility
    objective: str = ""
    parts: Mapping[type[Part], Part] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    cursor: Any = None

    def __getitem__(self, part: type[P]) -> P:
        return _find(self.parts, part, f'the batch of "{self.objective}"')

    def __contains__(self, part: type[Part]) -> bool:
        return part in self.parts

    @property
    def real(self) -> Bool[Tensor, "row token"]:
        """True at tokens, False at padding."""
        return self.visibility.document >= 0

    def having(self, *parts: Part, **changes: Any) -> Batch:
        """Returns the batch with parts added (or replaced) and fields changed."""
        together = {**self.parts, **{type(part): part for part in parts}}
        return dataclasses.replace(self, parts=together, **changes)

    def map(self, change: Any) -> Batch:
        """Returns the batch with `change` applied to each tensor in it."""
        return dataclasses.replace(
            self,
            tokens=change(self.tokens),
            positions=change(self.positions),
            segments=change(self.segments),
            visibility=self.visibility.map(change),
            parts={kind: part.map(change) for kind, part in self.parts.items()},
        )

    def to(self, device: torch.device | str) -> Batch:
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:  # called by torch's DataLoader
        return self.map(lambda tensor: tensor.pin_memory())


def _find(parts: Mapping[type[Part], Part], kind: type[P], owner: str) -> P:
    part = parts.get(kind)
    if part is None:
        have = ", ".join(sorted(known.__name__ for known in parts)) or "none"
        raise MissingPart(
            f"{owner} has no {kind.__name__} (it has: {have}). Use a reader or collate that adds {kind.__name__}."
        )
    return part  # type: ignore[return-value]  # keyed by its own type


def place(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Returns which texts share which row: first-fit decreasing, rows of at most `room` tokens.

    Rows and their texts are in a fixed order (longest first, ties by number).
    Cost: texts x rows in the worst case; meant for one batch or one pool of texts, not for a corpus.
    """
    rows: list[list[int]] = []
    space: list[int] = []
    for text in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        row = next((row for row, left in enumerate(space) if lengths[text] <= left), len(rows))
        if row == len(rows):
            rows.append([])
            space.append(room)
        rows[row].append(text)
        space[row] -= lengths[text]
    return rows


def _rows(texts: Sequence[Encoded], room: int | None) -> Sequence[Sequence[int]]:
    """Returns the numbers of the texts in each row."""
    if room is None:
        return [[number] for number in range(len(texts))]
    for text in texts:
        if len(text) > room:
            raise TextTooLong(
                f"{text.origin or text.text[:40]!r}: {len(text)} tokens do not fit a row of {room}. "
                "Cut texts when reading (reader: length), or give rows more room."
            )
    return place([len(text) for text in texts], room)


def _joined(texts: Sequence[Encoded], at: Sequence[tuple[int, int]]) -> dict[type[Part], Part]:
    """Returns the parts of the texts, their indices moved to each text's row and first place."""
    rows, firsts = (torch.tensor([corner[side] for corner in at]) for side in (0, 1))
    lengths = torch.tensor([len(text) for text in texts])
    joined: dict[type[Part], Part] = {Texts: Texts(rows, firsts, firsts + lengths - 1)}
    for kind in dict.fromkeys(kind for text in texts for kind in text.parts):
        joined[kind] = kind.join(
            [(text.parts[kind], *at[number], number) for number, text in enumerate(texts) if kind in text.parts]
        )
    return joined


def pack(
    texts: Sequence[Encoded],
    *,
    pad: int,
    objective: str = "",
    room: int | None = None,
    rows: Sequence[Sequence[int]] | None = None,
    units: Mapping[str, int] | None = None,
    parts: Iterable[Part] = (),
    causal: bool = False,
) -> Batch:
    """Lays texts into rows and moves the indices of their parts to their new place.

    Texts keep their order: text i of the batch (in `Texts` and in every part) is `texts[i]`, whatever row it is in.

    Args:
        pad: the vocabulary's padding id.
        room: tokens a row may hold; several short texts then share a row. None: one text a row.
        rows: the numbers of the texts in each row, where something else than `room` decides.
        units: what each loss is summed over (see `Batch.units`).
        parts: ready-made parts of the whole batch.

    Raises:
        TextTooLong: a text has more than `room` tokens.
    """
    lengths = [len(text) for text in texts]
    rows = _rows(texts, room) if rows is None else rows
    width = max((sum(lengths[number] for number in row) for row in rows), default=0)
    codes = any(text.branch is not None for text in texts)

    shape = (len(rows), width)
    tokens = np.full(shape, pad, dtype=np.int64)
    positions, segments = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    document = np.full(shape, -1, dtype=np.int64)
    branch = np.zeros(shape, dtype=np.int64) if codes else None
    anchor = np.full(shape, -1, dtype=np.int64) if codes else None
    at: list[tuple[int, int]] = [(0, 0)] * len(texts)
    for row, members in enumerate(rows):
        first = 0
        for order, number in enumerate(members):
            text = texts[number]
            here = (row, slice(first, first + len(text)))
            tokens[here], segments[here], document[here] = text.tokens, text.segments, order
            positions[here] = np.arange(len(text)) if text.positions is None else text.positions
            if branch is not None and anchor is not None and text.branch is not None and text.anchor is not None:
                branch[here], anchor[here] = text.branch, text.anchor
            at[number] = (row, first)
            first += len(text)

    together = {**_joined(texts, at), **{type(part): part for part in parts}}
    return Batch(
        tokens=torch.from_numpy(tokens),
        positions=torch.from_numpy(positions),
        segments=torch.from_numpy(segments),
        visibility=Visibility(
            document=torch.from_numpy(document),
            branch=None if branch is None else torch.from_numpy(branch),
            anchor=None if anchor is None else torch.from_numpy(anchor),
            causal=causal,
            full=not codes and not causal and bool((document == 0).all()),
        ),
        objective=objective,
        parts=together,
        units={**{name: count for part in together.values() for name, count in part.units.items()}, **(units or {})},
        origins=tuple(text.origin for text in texts),
    )
