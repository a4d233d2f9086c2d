"""Collects statements in any order, and sorts out at the end who is an entity, a relation or a type.

    triple(h, r, t)  label(e, "en", "Berlin")  type(e, "city")      one pool of names, rows of small integers
                              |
                           parts()                                   distinct triples, columns by role

A name is an entity if it is head or tail of a triple, has a type or a literal, or was said to be one. Ids follow the
order in which names were first seen, after those that were said to be entities (relations) without a statement.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from itertools import count

import numpy as np
from jaxtyping import Bool, Int, Int32

from kelm.errors import FormatError, InputError
from kg.keys import first_rows, row_keys
from kg.labels import Attributes, Labels, LabelTable, Types, language_code
from kg.parts import Parts
from kg.report import Report
from kg.vocabulary import TextColumn, Vocabulary

__all__ = ["ENTITY", "RELATION", "TYPE", "WHATEVER", "Collector", "Pool", "Rows"]

ENTITY, RELATION, TYPE, WHATEVER = range(4)  # whose label a row is; WHATEVER: every role that the name has


class Pool(dict[str, int]):
    """Distinct strings by the number under which they were first seen: ``pool[name]`` numbers a new one."""

    def __missing__(self, name: str) -> int:
        """Numbers a new string.

        Raises:
            FormatError: half of a surrogate pair, which JSON can smuggle in and no file of ours could hold.
        """
        try:
            name.encode()
        except UnicodeEncodeError as error:
            problem = f"expected text, found the lone surrogate {name[error.start]!a} in {name!a}"
            raise FormatError(problem, remedy="Correct the escape sequence, or remove the line.") from None
        number = self[name] = len(self)
        return number

    def numbers(self, names: Sequence[str]) -> list[int]:
        """Returns the numbers of distinct strings, new ones in their order; faster than one by one."""
        found = list(map(self.get, names))
        self.update(zip([name for name, number in zip(names, found, strict=True) if number is None], count(len(self))))
        return list(map(self.__getitem__, names))


class Rows:
    """A growing table of `width` small integers: single rows, and whole blocks."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._blocks: list[np.ndarray] = []
        self._single = array("i")
        self.append = self._single.extend

    def __len__(self) -> int:
        return len(self._single) // self.width + sum(map(len, self._blocks))

    def extend(self, block: Int[np.ndarray, "row width"]) -> None:
        self._flush()
        self._blocks.append(block.astype(np.int32))

    def columns(self) -> Iterator[Int32[np.ndarray, "row"]]:
        self._flush()
        self._blocks = [np.concatenate((np.zeros((0, self.width), np.int32), *self._blocks))]
        return iter(np.ascontiguousarray(self._blocks[0].T))

    def _flush(self) -> None:
        if self._single:
            self._blocks.append(np.array(self._single, np.int32).reshape(-1, self.width))
            del self._single[:]


class Collector:
    """Collects a graph's statements; `kg.graph.GraphBuilder` makes the graph of them.

    Args:
        languages: keep labels of these languages only, and those without a language; all if None.

    Raises:
        InputError: `languages` is one text.
    """

    def __init__(self, *, languages: Collection[str] | None = None) -> None:
        if isinstance(languages, str):  # its letters would be languages
            raise InputError(f'expected a list of languages, found "{languages}"', remedy=f'Write ["{languages}"].')
        self._wanted = None if languages is None else {"", *map(language_code, languages)}
        self.names, self.texts, self.languages = Pool(), Pool(), Pool()
        self._languages: dict[str, int] = {}  # by the tag as given
        self.values, self.qualifiers = Pool(), Pool()
        self.triple_rows, self.type_rows = Rows(3), Rows(2)  # head, relation, tail; entity, type
        self.label_rows = Rows(5)  # owner, role, language, preferred, text
        self.attribute_rows = Rows(4)  # entity, property, value, qualifier
        self.kept_rows = Rows(2)  # name, role
        self.reports: list[Report] = []

    def triple(self, head: str, relation: str, tail: str) -> None:
        """Adds a triple.

        Raises:
            FormatError: one of the names is empty, or blank.
        """
        if not (head.strip() and relation.strip() and tail.strip()):
            _check_names(head=head, relation=relation, tail=tail)
        names = self.names
        self.triple_rows.append((names[head], names[relation], names[tail]))

    def entity(self, name: str) -> None:
        """Makes `name` an entity, in a triple or not; such entities have the first ids, in this order."""
        self.kept_rows.append((self.names[name], ENTITY))

    def relation(self, name: str) -> None:
        """Makes `name` a relation, in a triple or not; such relations have the first ids, in this order."""
        self.kept_rows.append((self.names[name], RELATION))

    def type(self, entity: str, kind: str) -> None:
        """Adds a type to an entity.

        Raises:
            FormatError: one of the names is empty, or blank.
        """
        if not (entity.strip() and kind.strip()):
            _check_names(entity=entity, type=kind)
        self.type_rows.append((self.names[entity], self.names[kind]))

    def label(self, entity: str, language: str, text: str, *, preferred: bool = True) -> bool:
        """Adds a label (or an alias) to an entity; `language` may be "". The first preferred label stays preferred.

        Returns whether it was kept: False if its language is not wanted.

        Raises:
            FormatError: the text has no visible character.
        """
        return self._label(entity, ENTITY, language, text, preferred)

    def relation_label(self, relation: str, language: str, text: str, *, preferred: bool = True) -> bool:
        """Adds a label to a relation, as `label` does to an entity."""
        return self._label(relation, RELATION, language, text, preferred)

    def type_label(self, kind: str, language: str, text: str, *, preferred: bool = True) -> bool:
        """Adds a label to a type, as `label` does to an entity."""
        return self._label(kind, TYPE, language, text, preferred)

    def label_any(self, name: str, language: str, text: str, *, preferred: bool = True) -> bool:
        """Adds a label to whatever `name` turns out to be (several roles perhaps); to an entity if nothing else."""
        return self._label(name, WHATEVER, language, text, preferred)

    def _label(self, name: str, role: int, language: str, text: str, preferred: bool) -> bool:
        if not text.strip():
            raise FormatError(
                f'expected a label of "{name}", found "{text}"',
                field="label",
                remedy="Write a name or remove the line.",
            )
        number = self.language(language)
        if number >= 0:
            self.label_rows.append((self.names[name], role, number, preferred, self.texts[text]))
        return number >= 0

    def language(self, language: str) -> int:
        """Returns the number of a language, -1 if its labels are not wanted."""
        number = self._languages.get(language)
        if number is None:
            code = language_code(language)
            number = self.languages[code] if self._wanted is None or code in self._wanted else -1
            self._languages[language] = number
        return number

    def attribute(self, entity: str, property: str, text: str, *, language: str = "", datatype: str = "") -> None:
        """Adds a literal that is no label: a description, a date, a number.

        Raises:
            FormatError: the name of the entity or of the property is empty, or blank.
        """
        if not (entity.strip() and property.strip()):
            _check_names(entity=entity, property=property)
        qualifier = f"@{language_code(language)}" if language else f"^^{datatype}" if datatype else ""
        self.attribute_rows.append(
            (self.names[entity], self.names[property], self.values[text], self.qualifiers[qualifier])
        )

    def has(self, name: str) -> bool:
        """Whether any statement so far named `name`."""
        return name in self.names

    def entities(self) -> set[str]:
        """Returns the names that are an entity so far: in a triple, with a type or a literal, or said to be one.

        Cost: one pass over all rows.
        """
        names = list(self.names)
        order, _, _ = self._orders(*self.triple_rows.columns())
        return {names[row] for row in order.tolist()}

    def scratch(self) -> Collector:
        """Returns an empty collector that shares the pools: its rows fit into those of this one."""
        other = Collector()
        other._wanted, other.names, other.texts = self._wanted, self.names, self.texts
        other.languages, other.values, other.qualifiers = self.languages, self.values, self.qualifiers
        return other

    def parts(self) -> Parts:
        """Returns the graph's columns; the collector can go on afterwards."""
        heads, relations, tails = self.triple_rows.columns()
        if len(heads):
            first = first_rows(row_keys(heads, relations, tails))
            heads, relations, tails = heads[first], relations[first], tails[first]
        names = list(self.names)
        numbers, vocabularies = [], []
        for order in self._orders(heads, relations, tails):
            number = np.full(len(names), -1, np.int32)
            number[order] = np.arange(len(order))
            numbers.append(number)
            vocabularies.append(Vocabulary.of(names[row] for row in order.tolist()))
        return Parts(
            heads=_frozen(numbers[ENTITY][heads]),
            relations=_frozen(numbers[RELATION][relations]),
            tails=_frozen(numbers[ENTITY][tails]),
            entities=vocabularies[ENTITY],
            relation_names=vocabularies[RELATION],
            labels=self._labels(numbers),
            types=self._types(numbers, vocabularies[TYPE], len(vocabularies[ENTITY])),
            attributes=self._attributes(numbers[ENTITY], names),
            reports=tuple(self.reports),
        )

    def _orders(
        self,
        heads: Int32[np.ndarray, "triple"],
        relations: Int32[np.ndarray, "triple"],
        tails: Int32[np.ndarray, "triple"],
    ) -> list[Int32[np.ndarray, "name"]]:
        """Returns for entities, relations and types which names they are, in the order of their ids."""
        entity, relation, kind = (np.zeros(len(self.names), bool) for _ in range(3))
        entity[heads] = entity[tails] = relation[relations] = True
        typed, kinds = self.type_rows.columns()
        entity[typed] = kind[kinds] = True
        described, *_ = self.attribute_rows.columns()
        entity[described] = True
        owner, role, *_ = self.label_rows.columns()
        for number, member in enumerate((entity, relation, kind)):
            member[owner[role == number]] = True
        loose = owner[role == WHATEVER]
        said, said_role = self.kept_rows.columns()
        orders = []
        for number, member in ((RELATION, relation), (TYPE, kind), (ENTITY, entity)):
            first = said[said_role == number]
            member[first] = True
            if number == ENTITY:
                entity[loose[~(relation[loose] | kind[loose])]] = True
            first = first[first_rows(first)]
            member[first] = False
            orders.append(np.concatenate((first, np.flatnonzero(member))).astype(np.int32))
            member[first] = True
        return [orders[2], orders[0], orders[1]]

    def _labels(self, numbers: list[Int32[np.ndarray, "name"]]) -> Labels:
        owner, role, language, preferred, text = self.label_rows.columns()
        codes = list(self.languages)
        texts = TextColumn.of(self.texts)
        tables = []
        for kind, number in enumerate(numbers):
            rows = np.flatnonzero(((role == kind) | (role == WHATEVER)) & (number[owner] >= 0))
            columns = (number[owner[rows]], language[rows], preferred[rows].astype(bool), text[rows])
            tables.append(_label_table(*columns, codes=codes, texts=texts))
        return Labels(*tables)

    def _types(self, numbers: list[Int32[np.ndarray, "name"]], names: Vocabulary, entity_count: int) -> Types:
        entity, kind = self.type_rows.columns()
        entity, kind = numbers[ENTITY][entity], numbers[TYPE][kind]
        first = first_rows(row_keys(entity, kind))
        order = first[np.argsort(entity[first], kind="stable")]
        offsets = np.zeros(entity_count + 1, np.int64)
        np.cumsum(np.bincount(entity[order], minlength=entity_count), out=offsets[1:])
        return Types(names, _frozen(offsets), _frozen(kind[order]))

    def _attributes(self, number: Int32[np.ndarray, "name"], names: list[str]) -> Attributes:
        entity, property, value, qualifier = self.attribute_rows.columns()
        first = first_rows(row_keys(entity, property, value, qualifier))
        order = first[np.argsort(number[entity[first]], kind="stable")]
        used, property = np.unique(property[order], return_inverse=True)
        kinds, qualifier = np.unique(qualifier[order], return_inverse=True)
        qualifiers = list(self.qualifiers)
        return Attributes(
            _frozen(number[entity[order]]),
            _frozen(property.astype(np.int32)),
            _frozen(value[order]),
            _frozen(qualifier.astype(np.int32)),
            properties=Vocabulary.of(names[row] for row in used),
            values=TextColumn.of(self.values),
            qualifiers=Vocabulary.of(qualifiers[row] for row in kinds),
        )


def _check_names(**names: str) -> None:
    for field, name in names.items():
        if not name.strip():
            raise FormatError("expected a name, found nothing", field=field, remedy="Fill it in or remove the line.")


def _label_table(
    owner: Int32[np.ndarray, "row"],
    language: Int32[np.ndarray, "row"],
    preferred: Bool[np.ndarray, "row"],
    text: Int32[np.ndarray, "row"],
    *,
    codes: list[str],
    texts: TextColumn,
) -> LabelTable:
    """Returns the rows sorted and distinct, with one preferred label an owner and language: the first."""
    used = sorted({codes[number] for number in np.unique(language)})
    rank = np.array([used.index(code) if code in used else -1 for code in codes], np.int32)
    language = rank[language]
    said = np.flatnonzero(preferred)
    preferred = np.zeros(len(owner), bool)
    preferred[said[first_rows(row_keys(language[said], owner[said]))]] = True
    order = np.lexsort((~preferred, owner, language))  # stable: aliases stay in the order they were read
    order = order[first_rows(row_keys(language[order], owner[order], text[order]))]
    owner, language, preferred, text = owner[order], language[order], preferred[order], text[order]
    starts = np.searchsorted(language, np.arange(len(used) + 1, dtype=np.int32))
    return LabelTable(
        tuple(used), _frozen(starts.astype(np.int64)), _frozen(owner), _frozen(preferred), _frozen(text), texts
    )


def _frozen(column: np.ndarray) -> np.ndarray:
    column.flags.writeable = False
    return column
