"""The names of a linker in columns: which of the given ones count, folded, numbered, without repetitions.

    Name("US", Q30, 9.0), Name("us", Q42, 1.0)     -->     lexicon   0 "us"
                                                           starts    0       2
                                                           rows      US Q30 9.0 cased    us Q42 1.0

A million names take about 200 bytes each here and open from a file in a fifth of a second of a core; as Python objects
they would take five times as much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int16, Int32, Int64

from kelm.errors import FormatError
from kg.labels import language_code
from kg.linking.folding import BARRIER, fold, is_dense
from kg.linking.lexicon import Lexicon, coded
from kg.linking.names import MOST_SEEN, AliasOptions, Name, cased
from kg.vocabulary import TextColumn

__all__ = ["NO_ENTITY", "NameTable", "check"]

_TOGETHER, _CHARACTERS = 10_000, 1 << 18  # names folded at once, and about how many characters they may have
_ROW = np.dtype(
    [("number", "i4"), ("surface", "i4"), ("entity", "i4"), ("language", "i2"), ("capital", "?"), ("weight", "f8"),
     ("seen", "i8")]
)  # fmt: skip
NO_ENTITY = "no entity"  # why a name is left out that linked text has for entities of no graph, or seldom

Key = TypeVar("Key")


class _Numbers(dict[Key, int]):
    """Numbers things in the order in which they are first asked for."""

    def __missing__(self, key: Key) -> int:
        self[key] = number = len(self)
        return number


@dataclass(frozen=True, eq=False)
class NameTable:
    """A dictionary of names, by the number of the folded name.

    Attributes:
        lexicon: the distinct folded names, by number.
        starts: the first row of each number, and how many rows there are.
        aliases: of each row the name as given, white space as single spaces.
        entity: of each row the entity, a row of `entities`.
        weight: how surely it means it; 0: it was only seen to mean it.
        seen: how often it was seen to mean it in linked text.
        language: an entry of `codes`.
        cased: whether it is in capitals and matches only as written.
        capital: whether it has a capital and so is not found in small letters.
        dropped: how many names were left out, by reason.
    """

    options: AliasOptions
    lexicon: Lexicon
    starts: Int64[np.ndarray, "start"]
    aliases: TextColumn
    entity: Int32[np.ndarray, "row"]
    entities: TextColumn
    weight: Float64[np.ndarray, "row"]
    seen: Int64[np.ndarray, "row"]
    language: Int16[np.ndarray, "row"]
    codes: tuple[str, ...]
    cased: Bool[np.ndarray, "row"]
    capital: Bool[np.ndarray, "row"]
    dropped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.entity)

    def __iter__(self) -> Iterator[Name]:
        """Yields the names that are matched; of equal ones the heaviest with the counts of all."""
        entities = list(self.entities)
        columns = (self.entity.tolist(), self.weight.tolist(), self.language.tolist(), self.seen.tolist())
        for alias, entity, weight, language, seen in zip(self.aliases, *columns, strict=True):
            yield Name(alias, entities[entity], weight, self.codes[language], seen)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that names are of, sorted, without ""."""
        return tuple(sorted(set(self.codes) - {""}))

    @classmethod
    def of(cls, names: Iterable[tuple[str, str] | tuple[str, str, float] | Name], options: AliasOptions) -> NameTable:
        """Folds the names and leaves out what cannot or shall not be matched.

        Raises:
            FormatError: a weight is not a positive number, or an entity's name is empty or cannot be written.

        Cost: some ten microseconds a name, and at the highest about half a kilobyte.
        """
        numbers, entities, codes = _Numbers[bytes](), _Numbers[str](), _Numbers[str]()
        surfaces = _Numbers[str]({"": 0})
        dropped: Counter[str] = Counter()
        rows = [np.empty(0, _ROW)]
        aliases: list[str] = []
        for name, shape in _shaped(names, options, dropped):
            surface = cased(name.alias, options)
            capital = options.case == "names" and any(map(str.isupper, name.alias))
            numbered = numbers[shape], surfaces[surface], entities[name.entity], codes[language_code(name.language)]
            if len(aliases) % _TOGETHER == 0:
                rows.append(np.empty(_TOGETHER, _ROW))
            rows[-1][len(aliases) % _TOGETHER] = (*numbered, capital, name.weight, name.seen)
            aliases.append(name.alias)
        table = np.concatenate(rows)[: len(aliases)]
        order, seen = _kept(table, options.max_entities, dropped)
        table = table[order]
        used, number = np.unique(table["number"], return_inverse=True)
        shapes = list(numbers)
        return cls(
            options,
            Lexicon.of([shapes[one] for one in used.tolist()]),
            np.searchsorted(number, np.arange(len(used) + 1)),
            TextColumn.of(aliases[row] for row in order.tolist()),
            table["entity"].copy(),
            TextColumn.of(entities),
            table["weight"].copy(),
            seen,
            table["language"].copy(),
            tuple(codes),
            table["surface"] > 0,
            table["capital"].copy(),
            {reason: count for reason, count in dropped.items() if count},
        )


def _shaped(
    names: Iterable[tuple[str, str] | tuple[str, str, float] | Name], options: AliasOptions, dropped: Counter[str]
) -> Iterator[tuple[Name, bytes]]:
    """Yields the names that can be matched, white space as single spaces, each with its folded codes."""
    stop = {shape for shape, _, _ in _folded([" ".join(name.split()) for name in options.stop], options)}
    for some in _portions(names):
        for name, (shape, text, bounded) in zip(some, _folded([name.alias for name in some], options), strict=True):
            check(name)
            if reason := _objection(name, text, options, bounded=bounded, stopped=shape in stop):
                dropped[reason] += 1
            else:
                yield name, shape


def _portions(names: Iterable[tuple[str, str] | tuple[str, str, float] | Name]) -> Iterator[list[Name]]:
    """Yields the names in order, white space as single spaces, as many as are folded at once."""
    some: list[Name] = []
    characters = 0
    for given in names:
        name = Name(*given)
        some.append(name._replace(alias=" ".join(name.alias.split())))
        characters += len(name.alias)
        if len(some) == _TOGETHER or characters >= _CHARACTERS:
            yield some
            some, characters = [], 0
    if some:
        yield some


def _folded(aliases: Sequence[str], options: AliasOptions) -> Iterator[tuple[bytes, str, bool]]:
    """Yields of each alias the codes of `Lexicon`, the folded text, and whether a name may be where it is alone."""
    if not aliases:
        return
    folded = fold(BARRIER.join(alias.replace(BARRIER, " ") for alias in aliases), marks=options.marks)
    codes = coded(folded)
    walls = np.flatnonzero(folded.codes == ord(BARRIER))
    first, last = np.concatenate(([0], walls + 1)), np.concatenate((walls, [len(codes)]))
    there = first[first < last]
    codes[there] = folded.codes[there]  # what stands before a name is no part of it
    bounded = (first < last) & folded.starts[first] & folded.ends[last]
    shapes, texts = codes.tobytes(), str(folded).split(BARRIER)
    for start, end, text, sound in zip(first.tolist(), last.tolist(), texts, bounded.tolist(), strict=True):
        yield shapes[4 * start : 4 * end], text, sound


def _objection(name: Name, text: str, options: AliasOptions, *, bounded: bool, stopped: bool) -> str:
    """Returns why a name, folded to `text`, is left out; "" if it is not."""
    if not any(map(str.isalnum, text)):
        return "no letter or digit"
    if len(text) < options.min_length - 1 or (
        len(text) < options.min_length and not cased(name.alias, options) and not is_dense(text)
    ):
        return "too short"
    if stopped:
        return "stopped"
    if not bounded:
        return "starts or ends with a space"  # "´" is a space and an accent
    if "\ufffd" in text and not _is_written(name.alias):
        return "half a character"
    return ""


def _is_written(text: str) -> bool:
    """Whether it can be written as UTF-8, which lone surrogates cannot."""
    return text.isascii() or text.encode(errors="replace").decode() == text


def _kept(
    table: np.ndarray, most: int | None, dropped: Counter[str]
) -> tuple[Int64[np.ndarray, "row"], Int64[np.ndarray, "row"]]:
    """Returns the rows to keep, by number, and how often they were seen.

    Of equal ones the heaviest is kept; none of names that have no entity, or more than `most`.
    """
    fields = [name for name in _ROW.names or () if name not in ("weight", "seen")]
    order: np.ndarray = np.lexsort((-table["weight"], *(table[field] for field in reversed(fields))))
    fresh = np.ones(len(order), dtype=bool)
    for field in fields:
        fresh[1:] &= table[field][order[1:]] == table[field][order[:-1]]
    fresh[1:] = ~fresh[1:]
    dropped["repeated"] += int((~fresh & (table["seen"][order] == 0)).sum())
    seen = np.add.reduceat(table["seen"][order], np.flatnonzero(fresh)) if len(order) else table["seen"]
    order = order[fresh]
    number, entity = table["number"][order].astype(np.int64), table["entity"][order]
    pairs = np.unique(((number << 32) | entity)[table["weight"][order] > 0]) >> 32
    entities = np.bincount(pairs, minlength=int(number.max(initial=0)) + 1)[number]
    for reason, out in ((NO_ENTITY, entities == 0), ("too many entities", entities > (most or len(table)))):
        dropped[reason] += int(out.sum())
    kept = (entities > 0) & (entities <= (most or len(table)))
    return order[kept], seen[kept]


def check(name: Name) -> None:
    """Refuses a name that means nothing.

    Raises:
        FormatError: its weight is not a positive number and it was not seen either, or its entity has no name or one
            that cannot be written.
    """
    if not name.entity and not (name.seen and not name.weight):
        raise FormatError(
            f'the name "{name.alias}" belongs to an entity without a name',
            field="entity",
            remedy="Give the entity's identifier with each name.",
        )
    if not _is_written(name.entity):
        raise FormatError(
            f"the entity {name.entity!a} has half a character in its name, which cannot be written as UTF-8",
            field="entity",
            remedy='Remove the lone surrogates (\\ud800 to \\udfff), or read the names with errors="replace".',
        )
    if not 0 <= name.seen <= MOST_SEEN:
        raise FormatError(
            f'the name "{name.alias}" of {name.entity} was seen {name.seen} times',
            field="seen",
            remedy=f"Counts are whole numbers from 0 to {MOST_SEEN}.",
        )
    if not 0 < name.weight < float("inf") and not (name.seen and name.weight == 0):
        raise FormatError(
            f'the name "{name.alias}" of {name.entity} has the weight {name.weight}',
            field="weight",
            remedy="Weights are positive numbers: probabilities, degrees.",
        )
