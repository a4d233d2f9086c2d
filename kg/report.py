"""What a reader made of a source: lines, triples, labels, and what it dropped and why.

A graph keeps the reports of all it was read from (`graph.reports`), also when saved, so that a count that
surprises can be traced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

__all__ = ["UNWANTED", "Report"]

UNWANTED = "label in an unwanted language"  # why labels are dropped where languages were chosen


@dataclass(frozen=True, slots=True)
class Report:
    """One source, read.

    Attributes:
        source: the file or folder, or the kind of object.
        format: the reader's name, for example "ntriples".
        lines: lines read (statements, for a source without lines).
        triples: triples read, repetitions included.
        labels: labels and aliases read, repetitions included.
        types: pairs of entity and type read, repetitions included.
        attributes: literals kept that are no label, repetitions included.
        dropped: how often each reason made the reader leave something out.
        bad: the first messages of the bad lines among them.
    """

    source: str
    format: str
    lines: int = 0
    triples: int = 0
    labels: int = 0
    types: int = 0
    attributes: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    bad: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Returns the report as a value that `json.dumps` takes."""
        return {**asdict(self), "dropped": dict(self.dropped), "bad": list(self.bad)}

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Self:
        """Returns the report that `as_json` wrote."""
        return cls(**{**value, "bad": tuple(value["bad"])})
