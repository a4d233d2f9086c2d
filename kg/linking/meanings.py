"""What folded names may mean: candidates with priors, by language and by how the name is written.

    Name("US", Q30, 9.0), Name("us", Q42, 1.0)  --fold-->  "us": written "US" -> Q30 .9, Q42 .1; else -> Q42 1.0
    Name("He", Q560), Name("he", Q9288)         --fold-->  "he": written "He" -> both; "he" -> Q9288

Names become weights and counts of the entities that the same folded name may mean, and these become priors, as
`kg.linking.priors` says. Of several weights of an entity the largest counts, as a label is no likelier for an alias
beside it; counts add up. A name in capitals has the counts of what is written so, and the weights of other names too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from kelm.errors import FormatError, InputError, UnknownName, closest
from kg.labels import language_code
from kg.linking.base import Candidate
from kg.linking.folding import BARRIER, END, START, fold, is_dense
from kg.linking.names import AliasOptions, Name, written
from kg.linking.priors import smoothed
from kg.linking.row_file import RowFile

__all__ = ["Meanings", "NameTable"]

_TOGETHER = 10_000  # names folded at once
_PLAIN, _SMALL = " plain", " small"  # ways to write a name; others are the surfaces of names in capitals
_FILE = RowFile(
    "kelm-names",
    2,
    f"the names of an alias linker and its options {', '.join(column.name for column in fields(AliasOptions))}",
    "Build the linker again from its graph and save it.",
)
_Key = tuple[str, str, str, str]  # folded name, way to write it, entity, language


class Meanings(NamedTuple):
    """What the folded names may mean in one language (or in all).

    Attributes:
        plain: candidates of each name, best first; empty if only capitals name something.
        small: candidates where all letters are small though the text has capitals.
        exact: for names that also occur in capitals: candidates by surface, the plain ones included.
        has_plain, has_small, has_exact: whether there are any.
    """

    plain: list[tuple[Candidate, ...]]
    small: list[tuple[Candidate, ...]]
    exact: dict[int, dict[str, tuple[Candidate, ...]]]
    has_plain: Bool[np.ndarray, "name"]
    has_small: Bool[np.ndarray, "name"]
    has_exact: Bool[np.ndarray, "name"]

    def of(self, name: int, surface: str, *, small: bool) -> tuple[Candidate, ...]:
        """Returns the candidates of name number `name`, written as `surface`; `small` as in `Meanings.small`."""
        if small:
            return self.small[name]
        return self.exact[name].get(written(surface), self.plain[name]) if name in self.exact else self.plain[name]


@dataclass(frozen=True, eq=False)
class NameTable:
    """A dictionary of names, folded.

    Attributes:
        rows: the names that are matched, as given.
        number: of each row, the number of its folded name.
        folded: the distinct folded names with their boundary marks, as `marked` makes them.
        dropped: how many names were left out, by reason.
    """

    options: AliasOptions
    rows: list[Name]
    number: list[int]
    folded: list[str]
    dropped: Mapping[str, int]
    _meanings: dict[str | None, Meanings] = field(default_factory=dict)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The languages that names are of, sorted, without ""."""
        return tuple(sorted({row.language for row in self.rows} - {""}))

    @classmethod
    def of(cls, names: Iterable[tuple[str, str] | tuple[str, str, float] | Name], options: AliasOptions) -> NameTable:
        """Folds the names and leaves out what cannot or shall not be matched.

        Raises:
            FormatError: a weight is not a positive number, or an entity's name is empty.
        """
        given = [Name(*name) for name in names]
        for name in given:
            _check(name)
        aliases = [" ".join(name.alias.split()) for name in given]
        stop = set(_shapes([" ".join(name.split()) for name in options.stop], options))
        dropped: Counter[str] = Counter()
        merged: dict[_Key, Name] = {}
        for name, alias, shape in zip(given, aliases, _shapes(aliases, options), strict=True):
            writing = _writing(alias, options)
            if reason := _objection(shape, options, stop, writing not in (_PLAIN, _SMALL)):
                dropped[reason] += 1
                continue
            name = name._replace(alias=alias, language=language_code(name.language))
            key = (shape, writing, name.entity, name.language)
            known = merged.get(key)
            dropped["repeated"] += known is not None and not name.seen
            merged[key] = name if known is None else _both(known, name)
        return cls._numbered(merged, options, dropped)

    @classmethod
    def _numbered(cls, names: Mapping[_Key, Name], options: AliasOptions, dropped: Counter[str]) -> NameTable:
        """Numbers the folded names, leaving out those of no entity or of too many."""
        entities: defaultdict[str, set[str]] = defaultdict(set)
        for (shape, *_), name in names.items():
            if name.weight:
                entities[shape].add(name.entity)
        most = options.max_entities
        numbers: dict[str, int] = {}
        rows, number = [], []
        for (shape, *_), name in names.items():
            if shape not in entities:
                dropped["no entity"] += 1
            elif most is not None and len(entities[shape]) > most:
                dropped["too many entities"] += 1
            else:
                rows.append(name)
                number.append(numbers.setdefault(shape, len(numbers)))
        return cls(options, rows, number, list(numbers), {reason: count for reason, count in dropped.items() if count})

    def meanings(self, language: str | None) -> Meanings:
        """Returns the candidates in one language, or in all for None; kept for the next call.

        Raises:
            UnknownName: names have languages, and none has this one.
        """
        if language is not None:
            language = language_code(language)
            if not self.languages:
                language = None
            elif language not in self.languages:
                raise UnknownName(f'no name is in the language "{language}"', remedy=closest(language, self.languages))
        if language not in self._meanings:
            self._meanings[language] = self._weighed(language)
        return self._meanings[language]

    def _weighed(self, language: str | None) -> Meanings:
        plain: list[dict[str, float]] = [{} for _ in self.folded]
        small: list[dict[str, float]] = [{} for _ in self.folded]
        capitals: defaultdict[int, defaultdict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        seen: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        for name, number in zip(self.rows, self.number, strict=True):
            if language is not None and name.language not in (language, ""):
                continue
            writing = _writing(name.alias, self.options)
            weights = {_PLAIN: plain[number]}
            if writing == _SMALL:
                weights[_SMALL] = small[number]
            elif writing != _PLAIN:
                weights = {writing: capitals[number][writing]}
            for way, raised in weights.items():
                if name.weight:
                    raised[name.entity] = max(raised.get(name.entity, 0.0), name.weight)
                if name.seen:
                    seen[number, way][name.entity] += name.seen
        exact = {
            number: {
                surface: self._candidates(_heavier(plain[number], more), seen.get((number, surface)))
                for surface, more in surfaces.items()
            }
            for number, surfaces in capitals.items()
        }
        has_exact = np.zeros(len(plain), dtype=bool)
        has_exact[list(exact)] = True
        has_plain, has_small = (np.array([bool(weights) for weights in each], dtype=bool) for each in (plain, small))
        of_plain, of_small = (
            [self._candidates(weights, seen.get((number, way))) for number, weights in enumerate(each)]
            for each, way in ((plain, _PLAIN), (small, _SMALL))
        )
        return Meanings(of_plain, of_small, exact, has_plain, has_small, has_exact)

    def _candidates(self, weights: Mapping[str, float], seen: Mapping[str, int] | None) -> tuple[Candidate, ...]:
        if not weights:
            return ()
        priors = smoothed(weights, seen or {}, mu=self.options.mu, nil=self.options.nil)
        candidates = [Candidate(entity, prior) for entity, prior in priors.items()]
        candidates.sort(key=lambda candidate: (-candidate.prior, candidate.entity))
        return tuple(candidates[: self.options.max_candidates])

    def save(self, path: str | Path) -> None:
        """Writes the names as JSON lines: options first, then a name a line; aside first, then renamed.

        Raises:
            CheckpointError: it cannot be written; what was there before is untouched.
        """
        _FILE.write(path, self.rows, options=asdict(self.options))

    @classmethod
    def load(cls, path: str | Path) -> NameTable:
        """Reads what `save` wrote.

        Raises:
            FormatError: the file is none of ours or is damaged; names the line.
        """
        rows = _FILE.read(path)
        first, header = next(rows)
        try:
            options = AliasOptions(**{**header["options"], "stop": tuple(header["options"]["stop"])})
        except (InputError, KeyError, TypeError) as error:
            raise _FILE.damaged(path, first, str(error)) from error
        return cls.of((_row(path, number, row) for number, row in rows), options)


def _check(name: Name) -> None:
    if not name.entity and not (name.seen and not name.weight):
        raise FormatError(
            f'the name "{name.alias}" belongs to an entity without a name',
            field="entity",
            remedy="Give the entity's identifier with each name.",
        )
    if name.seen < 0:
        raise FormatError(
            f'the name "{name.alias}" of {name.entity} was seen {name.seen} times',
            field="seen",
            remedy="Counts are whole numbers from 0.",
        )
    if not 0 < name.weight < float("inf") and not (name.seen and name.weight == 0):
        raise FormatError(
            f'the name "{name.alias}" of {name.entity} has the weight {name.weight}',
            field="weight",
            remedy="Weights are positive numbers: probabilities, degrees.",
        )


def _both(one: Name, other: Name) -> Name:
    heavier = other if one.weight < other.weight else one
    return heavier._replace(seen=one.seen + other.seen)


def _shapes(aliases: Sequence[str], options: AliasOptions) -> Iterator[str]:
    """Yields each alias folded and marked; many are folded at once."""
    for first in range(0, len(aliases), _TOGETHER):
        some = BARRIER.join(alias.replace(BARRIER, " ") for alias in aliases[first : first + _TOGETHER])
        yield from fold(some, marks=options.marks).marked()[0].split(BARRIER)


def _objection(shape: str, options: AliasOptions, stop: Collection[str], capitals: bool) -> str:
    """Returns why a folded, marked name is left out; "" if it is not."""
    plain = shape.replace(START, "").replace(END, "")
    if not any(character.isalnum() for character in plain):
        return "no letter or digit"
    if len(plain) < options.min_length - 1 or (
        len(plain) < options.min_length and not capitals and not is_dense(plain)
    ):
        return "too short"
    if shape in stop:
        return "stopped"
    if not (shape.startswith(START) and shape.endswith(END)):
        return "starts or ends with a space"  # "´" is a space and an accent
    return ""


def _writing(alias: str, options: AliasOptions) -> str:
    """Returns the surface that a name in capitals must have; of all others whether they are found in small letters."""
    if len(alias) <= options.cased_length and alias.isupper():
        return written(alias)
    return _SMALL if options.case == "fold" or not any(map(str.isupper, alias)) else _PLAIN


def _heavier(weights: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    return {entity: max(weights.get(entity, 0.0), others.get(entity, 0.0)) for entity in {**weights, **others}}


def _row(path: str | Path, number: int, row: Any) -> Name:
    try:
        alias, entity, weight, language, seen = row
        name = Name(str(alias), str(entity), float(weight), str(language), int(seen))
    except (ValueError, TypeError) as error:
        raise _FILE.damaged(path, number, str(error)) from error
    try:
        _check(name)
    except FormatError as error:
        raise FormatError(error.problem, path=path, line=number, field=error.field, remedy=error.remedy) from None
    return name
