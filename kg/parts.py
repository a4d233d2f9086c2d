"""The parts of a graph, and the columns that they are kept in.

    Parts(heads, ..., entities, labels)  <-->  {"heads": ..., "entities.blob": ..., "labels.texts.offsets": ...}, facts

`kg.collector` makes parts of statements, `kg.graph` answers questions about them, `kg.storage` keeps the columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Int32

from kg.labels import Attributes, Labels, LabelTable, Types
from kg.report import Report
from kg.vocabulary import TextColumn, Vocabulary

__all__ = ["Parts"]

_KINDS = ("entities", "relations", "types")  # whose labels there are
_OF_LABELS = ("starts", "owner", "preferred", "text")
_OF_ATTRIBUTES = ("entity", "property", "value", "qualifier")


class Parts(NamedTuple):
    """What a graph consists of; see `kg.graph.KnowledgeGraph`."""

    heads: Int32[np.ndarray, "triple"]
    relations: Int32[np.ndarray, "triple"]
    tails: Int32[np.ndarray, "triple"]
    entities: Vocabulary
    relation_names: Vocabulary
    labels: Labels
    types: Types
    attributes: Attributes
    reports: tuple[Report, ...]

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Self:
        """Returns the parts that gave these `columns`, `orders` and `facts`.

        Raises:
            KeyError, TypeError, AttributeError, IndexError: one of them is missing or strange.
        """

        def vocabulary(name: str) -> Vocabulary:
            return Vocabulary(columns[f"{name}.blob"], columns[f"{name}.offsets"], columns[f"{name}.order"])

        def texts(name: str) -> TextColumn:
            return TextColumn(columns[f"{name}.blob"], columns[f"{name}.offsets"])

        shared = texts("labels.texts")

        def table(kind: str) -> LabelTable:
            parts = {part: columns[f"labels.{kind}.{part}"] for part in _OF_LABELS}
            return LabelTable(languages=tuple(facts["languages"][kind]), texts=shared, **parts)

        return cls(
            heads=columns["heads"],
            relations=columns["relations"],
            tails=columns["tails"],
            entities=vocabulary("entities"),
            relation_names=vocabulary("relation_names"),
            labels=Labels(*map(table, _KINDS)),
            types=Types(vocabulary("types"), columns["types.entity_offsets"], columns["types.values"]),
            attributes=Attributes(
                properties=vocabulary("attributes.properties"),
                values=texts("attributes.values"),
                qualifiers=vocabulary("attributes.qualifiers"),
                **{part: columns[f"attributes.{part}"] for part in _OF_ATTRIBUTES},
            ),
            reports=tuple(Report.of_json(report) for report in facts["reports"]),
        )

    def columns(self) -> dict[str, np.ndarray]:
        """Returns all columns by name, without those that follow from others."""
        texts = {"labels.texts": self.labels.entities.texts, "attributes.values": self.attributes.values}
        columns = {"heads": self.heads, "relations": self.relations, "tails": self.tails}
        for name, column in {**self._vocabularies(), **texts}.items():
            columns |= {f"{name}.blob": column.blob, f"{name}.offsets": column.offsets}
        for kind in _KINDS:
            columns |= {f"labels.{kind}.{part}": getattr(getattr(self.labels, kind), part) for part in _OF_LABELS}
        columns |= {"types.entity_offsets": self.types.offsets, "types.values": self.types.values}
        return columns | {f"attributes.{part}": getattr(self.attributes, part) for part in _OF_ATTRIBUTES}

    def orders(self) -> dict[str, np.ndarray]:
        """Returns the sorted order of each vocabulary, which follows from its names."""
        return {f"{name}.order": vocabulary.order for name, vocabulary in self._vocabularies().items()}

    def facts(self) -> dict[str, Any]:
        """Returns the counts and what no column holds, as a value that `json.dumps` takes."""
        return {
            "triples": len(self.heads),
            "entities": len(self.entities),
            "relations": len(self.relation_names),
            "languages": {kind: list(getattr(self.labels, kind).languages) for kind in _KINDS},
            "reports": [report.as_json() for report in self.reports],
        }

    def fingerprint(self) -> str:
        """Returns a SHA-256 over ids, order and strings. Cost: reads all columns."""
        digest = hashlib.sha256()
        for name, column in self.columns().items():
            digest.update(f"{name} {column.dtype.str} {column.shape}\n".encode())
            digest.update(np.ascontiguousarray(column).view(np.uint8).data)
        for kind in _KINDS:
            digest.update("\n".join(getattr(self.labels, kind).languages).encode() + b"\n\n")
        return digest.hexdigest()

    def _vocabularies(self) -> dict[str, Vocabulary]:
        return {
            "entities": self.entities,
            "relation_names": self.relation_names,
            "types": self.types.names,
            "attributes.properties": self.attributes.properties,
            "attributes.qualifiers": self.attributes.qualifiers,
        }
