"""Names: what an alias linker looks for, where they come from, and which of them count.

KnowledgeGraph  --graph_names-->  Name("Paris", "Q90", 120.0, "en"), Name("City of Light", "Q90", 60.0, "en"), ...
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from kelm.errors import InputError, closest

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph

__all__ = ["AliasOptions", "Name", "graph_names", "written"]


class Name(NamedTuple):
    """A name of an entity: how often or how surely it means it (`weight`), and its language ("": any)."""

    alias: str
    entity: str
    weight: float = 1.0
    language: str = ""


@dataclass(frozen=True, slots=True)
class AliasOptions:
    """Which names are matched, and how.

    Attributes:
        min_length: names of fewer characters are left out, for "in" and "is" are names too; one fewer will do for names
            in capitals ("EU") and for scripts that say more in a character ("北京", "서울").
        case: "names" does not find a name that has a capital where all letters are small, so that "he" is not helium
            ("He"); a text that is all in small letters is exempt. "fold" ignores case.
        cased_length: names of capitals only and at most this long ("US", "WHO") match only as they are written; 0 for
            none.
        marks: "drop" compares without accents, Arabic vowel signs and Hebrew points.
        max_entities: a name of more entities than this says nothing and is left out; None for no bound.
        max_candidates: how many candidates a mention keeps.
        nil: prior of "no entity", taken evenly from every name's entities: a mention whose best entity has no more than
            this links to nothing. 0 turns it off.
        stop: names that are never matched.
        matches: "longest" takes the leftmost longest name, so that mentions do not overlap; "all" takes every name that
            counts, also within and across others: "New York" and "York University" in "New York University".
    """

    min_length: int = 3
    case: Literal["names", "fold"] = "names"
    cased_length: int = 5
    marks: Literal["keep", "drop"] = "keep"
    max_entities: int | None = None
    max_candidates: int = 16
    nil: float = 0.0
    stop: tuple[str, ...] = ()
    matches: Literal["longest", "all"] = "longest"

    def __post_init__(self) -> None:
        bounds = (("min_length", 1), ("cased_length", 0), ("max_candidates", 1), ("max_entities", 1))
        for name, least in bounds:
            value = getattr(self, name)
            if not (type(value) is int and value >= least) and not (name == "max_entities" and value is None):
                raise InputError(
                    f"expected a whole number from {least}, found {value!r}", field=name, remedy="Give one."
                )
        if not 0 <= self.nil < 1:
            raise InputError(
                f"expected 0 or more and less than 1, found {self.nil!r}", field="nil", remedy="Give 0 to turn it off."
            )
        for name, known in (
            ("marks", ("keep", "drop")),
            ("case", ("names", "fold")),
            ("matches", ("longest", "all")),
        ):
            if getattr(self, name) not in known:
                raise InputError(
                    f'"{getattr(self, name)}" is not a choice',
                    field=name,
                    remedy=closest(str(getattr(self, name)), known),
                )


def graph_names(
    graph: KnowledgeGraph,
    languages: Collection[str] | None = None,
    *,
    alias_weight: float = 0.5,
    popularity: bool = True,
) -> Iterator[Name]:
    """Yields the labels and aliases of a graph's entities.

    Args:
        languages: None for all.
        alias_weight: weight of an alias; a preferred label weighs 1.
        popularity: multiply by one more than the number of triples the entity stands in.
    """
    degree = np.ones(len(graph.entities), dtype=np.int64)
    if popularity:
        for column in (graph.heads, graph.tails):
            degree += np.bincount(column, minlength=len(degree))
    entities = list(graph.entities)
    for label in graph.labels.entities.each(languages):
        weight = float(degree[label.owner]) * (1.0 if label.preferred else alias_weight)
        yield Name(label.text, entities[label.owner], weight, label.language)


def written(surface: str) -> str:
    """Returns a surface as names in capitals are compared: composed, case kept, white space as single spaces."""
    return " ".join(unicodedata.normalize("NFKC", surface).split())
