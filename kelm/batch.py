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
        names = [column.name for column in dataclasses.fields(cls)]  # type: ignore[arg-type]  # they are dataclasses
        columns: dict[str, Tensor] = {name: torch.cat([getattr(one[0], name) for one in parts]) for name in names}
        sizes = torch.tensor([len(getattr(one[0], names[0])) for one in parts], dtype=torch.long)
        for name, counts in cls.indices.items():
            place = ("row", "token", "text").index(counts) + 1
            shift = torch.tensor([one[place] for one in parts], dtype=torch.long).repeat_interleave(sizes)
            columns[name] = torch.where(columns[name] < 0, columns[name], columns[name] + shift)
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
        values = {name: getattr(self, name) for name in _COLUMNS}
        if parts:
            values["parts"] = {**self.parts, **{type(part): part for part in parts}}
        values.update(changes)
        return Encoded(**values)  # dataclasses.replace takes three times as long


_COLUMNS = tuple(column.name for column in dataclasses.fields(Encoded))


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

    Rows and their texts are in a fixed order (longest first, ties by number). A text longer than a row has its own.
    Cost: different lengths x rows: of texts of one length each row takes, in order, as many as it has space for.
    """
    sizes = np.asarray(lengths, dtype=np.int64).reshape(-1)
    order = np.argsort(-sizes, kind="stable")
    space, row = np.full(len(sizes), room, dtype=np.int64), np.zeros(len(sizes), dtype=np.int64)
    opened = 0
    for texts in np.split(order, np.flatnonzero(np.diff(sizes[order])) + 1) if len(sizes) else ():
        size = min(max(int(sizes[texts[0]]), 1), room)
        most = np.append(space[:opened] // size, np.full(len(texts), room // size))
        row[texts] = np.searchsorted(most.cumsum(), np.arange(len(texts)), side="right")
        opened = max(opened, int(row[texts].max()) + 1)
        space[:opened] -= size * np.bincount(row[texts], minlength=opened)
    together = order[np.argsort(row[order], kind="stable")]
    return [some.tolist() for some in np.split(together, np.bincount(row).cumsum()[:-1])] if len(sizes) else []


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


def _joined(
    texts: Sequence[Encoded], row: Int[np.ndarray, "text"], first: Int[np.ndarray, "text"]
) -> dict[type[Part], Part]:
    """Returns the parts of the texts, their indices moved to each text's row and first place."""
    rows, firsts = torch.from_numpy(row), torch.from_numpy(first)
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.long)
    joined: dict[type[Part], Part] = {Texts: Texts(rows, firsts, firsts + lengths - 1)}
    at = list(zip(row.tolist(), first.tolist(), strict=True))
    for kind in dict.fromkeys(kind for text in texts for kind in text.parts):
        joined[kind] = kind.join(
            [(text.parts[kind], *at[number], number) for number, text in enumerate(texts) if kind in text.parts]
        )
    return joined


def _code(text: Encoded, codes: Int[np.ndarray, "token"] | None, filling: int) -> Int[np.ndarray, "token"]:
    """Returns visibility codes of a text; of a plain one `filling`."""
    if codes is None or text.branch is None or text.anchor is None:
        return np.full(len(text), filling)
    return codes


def pack(
    texts: Sequence[Encoded],
    *,
    pad: int,
    objective: str = "",
    room: int | None = None,
    rows: Sequence[Sequence[int]] | None = None,
    tokens: Sequence[np.ndarray] | None = None,
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
        tokens: of each text, where they are not its own: as they are seen with some of them masked.
        units: what each loss is summed over (see `Batch.units`).
        parts: ready-made parts of the whole batch.

    Raises:
        TextTooLong: a text has more than `room` tokens.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    rows = _rows(texts, room) if rows is None else rows
    row, first, order = (np.zeros(len(texts), dtype=np.int64) for _ in range(3))
    for place_of, members in enumerate(rows):
        row[members], order[members] = place_of, np.arange(len(members))
        first[members] = lengths[members].cumsum() - lengths[members]
    width = int((first + lengths).max(initial=0))
    at = np.repeat(row * width + first - (lengths.cumsum() - lengths), lengths) + np.arange(lengths.sum())

    def laid(values: Sequence[np.ndarray], filling: int) -> Int[Tensor, "row token"]:
        column = np.full(len(rows) * width, filling, dtype=np.int64)
        column[at] = np.concatenate([np.zeros(0, np.int64), *values])
        return torch.from_numpy(column.reshape(len(rows), width))

    codes = any(text.branch is not None for text in texts)
    positions = [np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)]
    if any(text.positions is not None for text in texts):
        positions = [np.arange(len(text)) if text.positions is None else text.positions for text in texts]
    document = laid([np.repeat(order, lengths)], -1)

    together = {**_joined(texts, row, first), **{type(part): part for part in parts}}
    return Batch(
        tokens=laid([text.tokens for text in texts] if tokens is None else tokens, pad),
        positions=laid(positions, 0),
        segments=laid([text.segments for text in texts], 0),
        visibility=Visibility(
            document=document,
            branch=laid([_code(text, text.branch, 0) for text in texts], 0) if codes else None,
            anchor=laid([_code(text, text.anchor, -1) for text in texts], -1) if codes else None,
            causal=causal,
            full=not codes and not causal and bool((document == 0).all()),
        ),
        objective=objective,
        parts=together,
        units={**{name: count for part in together.values() for name, count in part.units.items()}, **(units or {})},
        origins=tuple(text.origin for text in texts),
    )
