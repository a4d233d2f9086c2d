"""Names: what an alias linker looks for, where they come from, and which of them count.

KnowledgeGraph  --graph_names-->  Name("Paris", "Q90", 120.0, "en"), Name("City of Light", "Q90", 60.0, "en"), ...
MentionCounts   --graph_names-->  Name("La Ville Lumière", "Q90", 60.0, "en", 7), Name("Paris", NIL, 0.0, "en", 2), ...
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from kelm.errors import InputError, closest
from kg.labels import language_code
from kg.linking.base import NIL

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph
    from kg.linking.counts import MentionCounts

__all__ = ["MOST_SEEN", "AliasOptions", "Name", "cased", "graph_names", "written"]

MOST_SEEN = 2**53  # counts that add up without loss, in 64 bits and as floats


class Name(NamedTuple):
    """A name of an entity.

    Attributes:
        weight: how surely it means it; 0: it was seen to mean it (`seen`), but is no name to look for.
        language: "" for any.
        seen: how often linked text means it by this; see `kg.linking.priors`. `NIL` is only seen, it has no weight.
    """

    alias: str
    entity: str
    weight: float = 1.0
    language: str = ""
    seen: int = 0


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
        mu: how many mentions of linked text weigh as much as the names' own weights; see `kg.linking.priors`. Of 1, 3,
            10 and 30, 1 is best for texts like the linked ones (FewRel), 3 to 10 for others (OKE 2016, HIPE-2022): 3
            loses little on either.
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
    mu: float = 3.0
    stop: tuple[str, ...] = ()
    matches: Literal["longest", "all"] = "longest"

    def __post_init__(self) -> None:
        stop: object = self.stop
        if isinstance(stop, str):
            raise InputError(
                f'expected several names, found the text "{stop}"',
                field="stop",
                remedy=f'Write ("{stop}",) for this one name.',
            )
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
        if not 0 < self.mu < float("inf"):
            raise InputError(f"expected more than 0, found {self.mu!r}", field="mu", remedy="3 is the default.")
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
    graphs: Sequence[KnowledgeGraph],
    languages: Collection[str] | None = None,
    *,
    alias_weight: float = 0.5,
    popularity: bool = True,
    counts: MentionCounts | None = None,
    least_count: int = 1,
    options: AliasOptions | None = None,
) -> Iterator[Name]:
    """Yields the labels and aliases of the entities of graphs, and what linked text calls them.

    Entities of the same identifier are one: it has the names of all graphs, and its triples add up. Nothing else makes
    graphs comparable, so that an entity of a graph with many triples outweighs its namesake in one with few.

    What was seen in texts without capitals counts for names that begin with them ("paris" for "Paris"), since names
    mostly do, and a name that was seen in such texts alone is not found in small letters later. A short surface may as
    well be a name in capitals ("us"): it counts for that, too, if the graph has it, and becomes no alias.

    Args:
        languages: None for all. Counts whose language is not known always count.
        alias_weight: weight of an alias; a preferred label weighs 1.
        popularity: multiply by one more than the number of triples the entity stands in.
        counts: what linked text calls the entities becomes an alias, too; entities of no graph count as `NIL`.
        least_count: what was seen less often does not become one.
        options: say which names are in capitals, and how short.
    """
    options = options or AliasOptions()
    weights = _popularities(graphs) if popularity else {entity: 1.0 for graph in graphs for entity in graph.entities}
    capitals: set[str] = set()
    for graph in graphs:
        entities = list(graph.entities)
        for label in graph.labels.entities.each(languages):
            entity = entities[label.owner]
            capitals.add(cased(label.text, options))
            yield Name(label.text, entity, weights[entity] * (1.0 if label.preferred else alias_weight), label.language)
    wanted = None if languages is None else {"", *map(language_code, languages)}
    for (surface, entity, language, lowered), count in counts.seen.items() if counts else ():
        if wanted is None or language in wanted:
            named = count >= least_count and not (lowered and len(surface) <= options.cased_length)
            weight = alias_weight * weights.get(entity, 0.0) if named else 0.0
            for alias in _spellings(surface, capitals) if lowered else [surface]:
                yield Name(alias, entity if entity in weights else NIL, weight, language, count)


def _spellings(surface: str, capitals: Collection[str]) -> list[str]:
    """Returns how a surface may be written where there are capitals."""
    upper = written(surface.upper())
    return [surface.title(), upper] if upper in capitals else [surface.title()]


def _popularities(graphs: Sequence[KnowledgeGraph]) -> Mapping[str, float]:
    """Returns one more than the number of triples that each entity stands in; of a loop it stands in one."""
    triples: Counter[str] = Counter()
    for graph in graphs:
        ends = np.concatenate((graph.heads, graph.tails[graph.tails != graph.heads]))
        triples.update(
            dict(zip(graph.entities, np.bincount(ends, minlength=len(graph.entities)).tolist(), strict=True))
        )
    return {entity: count + 1.0 for entity, count in triples.items()}


def cased(alias: str, options: AliasOptions) -> str:
    """Returns the surface that a name in capitals must have; "" for all others."""
    return written(alias) if len(alias) <= options.cased_length and alias.isupper() else ""


def written(surface: str) -> str:
    """Returns a surface as names in capitals are compared: composed, case kept, white space as single spaces."""
    return " ".join(unicodedata.normalize("NFKC", surface).split())
