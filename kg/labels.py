"""Names by language, types and other literals of a graph, in columns.

starts  [0, 3, 5]          language 0 ("de") owns rows 0 to 2, language 1 ("en") rows 3 and 4
owner   [7, 7, 9 | 7, 9]   sorted within a language; the preferred label comes first, then aliases as read
text    [0, 1, 2 | 0, 3]   rows of `texts`: a name that is the same in fifty languages is stored once
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64

from kg.vocabulary import TextColumn, Vocabulary

__all__ = ["DESCRIPTION", "Attribute", "Attributes", "Label", "LabelTable", "Labels", "Types", "language_code"]

DESCRIPTION = "description"  # the property under which readers keep what a sentence says of an entity


def language_code(tag: str) -> str:
    """Returns a language tag as the graph stores it: lower case, with hyphens; "" is "no language".

    >>> language_code("zh_Hans")
    'zh-hans'
    """
    return tag.lower().replace("_", "-")


class Label(NamedTuple):
    """One row of a `LabelTable`: `text` names `owner` in `language`; `preferred` is False for an alias."""

    owner: int
    language: str
    text: str
    preferred: bool


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """Labels and aliases of entities (or of relations, or of types) by language.

    Attributes:
        languages: codes as `language_code` gives them, "" for labels without a language; sorted.
        starts: the first row of each language, and the number of rows.
        owner: whose label it is, ascending within a language.
        preferred: True for the label, at most one for each owner and language; False for its aliases.
        text: rows of `texts`.
        texts: the distinct strings, shared by the tables of a graph.
    """

    languages: tuple[str, ...]
    starts: Int64[np.ndarray, "language"]
    owner: Int32[np.ndarray, "row"]
    preferred: Bool[np.ndarray, "row"]
    text: Int32[np.ndarray, "row"]
    texts: TextColumn

    def __len__(self) -> int:
        return len(self.owner)

    def __iter__(self) -> Iterator[Label]:
        return self.each()

    def rows(self, language: str) -> slice:
        """Returns the rows of `language`; an empty slice if the table has none."""
        try:
            index = self.languages.index(language_code(language))
        except ValueError:
            return slice(0, 0)
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def label(self, owner: int, language: str) -> str | None:
        """Returns the preferred label, or None; aliases alone do not make one."""
        rows = self._rows_of(owner, language)
        if rows.start < rows.stop and self.preferred[rows.start]:
            return self.texts[int(self.text[rows.start])]
        return None

    def names(self, owner: int, language: str) -> list[str]:
        """Returns the preferred label, if there is one, and then the aliases in the order they were read."""
        return [self.texts[int(text)] for text in self.text[self._rows_of(owner, language)]]

    def each(self, languages: Collection[str] | None = None) -> Iterator[Label]:
        """Yields the labels of `languages` (all of them if None), by language and owner, preferred first.

        Cost: decodes the whole column of texts once.
        """
        texts = list(self.texts)
        wanted = None if languages is None else {language_code(language) for language in languages}
        for language in self.languages:
            if wanted is None or language in wanted:
                rows = self.rows(language)
                columns = (self.owner[rows].tolist(), self.text[rows].tolist(), self.preferred[rows].tolist())
                for owner, text, preferred in zip(*columns, strict=True):
                    yield Label(owner, language, texts[text], preferred)

    def _rows_of(self, owner: int, language: str) -> slice:
        rows = self.rows(language)
        owners = self.owner[rows]
        key = np.int32(owner)  # a Python int would make searchsorted copy the column to int64
        first, last = (int(np.searchsorted(owners, key, side=side)) for side in ("left", "right"))
        return slice(rows.start + first, rows.start + last)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The label tables of a graph. Owners count as `graph.entities`, `graph.relation_names`, `graph.types.names`."""

    entities: LabelTable
    relations: LabelTable
    types: LabelTable

    def __len__(self) -> int:
        return len(self.entities) + len(self.relations) + len(self.types)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in which anything has a label, sorted."""
        return tuple(sorted({*self.entities.languages, *self.relations.languages, *self.types.languages}))


@dataclass(frozen=True, slots=True, eq=False)
class Types:
    """The types of each entity, as compressed sparse rows.

    Attributes:
        names: the types' own vocabulary. A type may also be an entity of the graph; the ids differ, the names agree.
        offsets: where each entity's types start in `values`, and the number of values.
        values: ids in `names`.
    """

    names: Vocabulary
    offsets: Int64[np.ndarray, "start"]
    values: Int32[np.ndarray, "value"]

    def __len__(self) -> int:
        return len(self.values)

    def of(self, entity: int) -> Int32[np.ndarray, "value"]:
        """Returns the ids of the entity's types, in the order they were read."""
        return self.values[self.offsets[entity] : self.offsets[entity + 1]]


class Attribute(NamedTuple):
    """One literal of an entity. `language` is "" unless the literal has one; `datatype` likewise (an IRI)."""

    property: str
    text: str
    language: str
    datatype: str


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
    """Literals of entities that are no labels: descriptions, dates, numbers.

    Attributes:
        entity: whose literal it is, ascending.
        property: ids in `properties`.
        value: rows of `values`.
        qualifier: ids in `qualifiers`.
        properties: the properties' names; they are no relations of the graph.
        values: the distinct literals, as written.
        qualifiers: "" (plain), "@" and a language, or "^^" and a datatype.
    """

    entity: Int32[np.ndarray, "attribute"]
    property: Int32[np.ndarray, "attribute"]
    value: Int32[np.ndarray, "attribute"]
    qualifier: Int32[np.ndarray, "attribute"]
    properties: Vocabulary
    values: TextColumn
    qualifiers: Vocabulary

    def __len__(self) -> int:
        return len(self.entity)

    def of(self, entity: int) -> list[Attribute]:
        """Returns the entity's literals, in the order they were read."""
        first, last = (int(np.searchsorted(self.entity, np.int32(entity), side=side)) for side in ("left", "right"))
        return [self._row(row) for row in range(first, last)]

    def texts(self, property: str, language: str = "") -> Iterator[tuple[int, str]]:
        """Yields entity and text of the literals of `property` in `language`: descriptions for KEPLER, say."""
        wanted = self.properties.find(property)
        qualifier = self.qualifiers.find(f"@{language_code(language)}" if language else "")
        for row in np.flatnonzero((self.property == wanted) & (self.qualifier == qualifier)):
            yield int(self.entity[row]), self.values[int(self.value[row])]

    def _row(self, row: int) -> Attribute:
        qualifier = self.qualifiers[int(self.qualifier[row])]
        return Attribute(
            property=self.properties[int(self.property[row])],
            text=self.values[int(self.value[row])],
            language=qualifier[1:] if qualifier.startswith("@") else "",
            datatype=qualifier[2:] if qualifier.startswith("^^") else "",
        )
