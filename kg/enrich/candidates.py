"""Candidate spans for any corpus: what a recipe names `candidate_spans`, and KnowBert reads.

[objectives.corpus.enrich.candidate_spans.bases.graph]
graph = "graph"
table = "vectors/table"

Bases are called as in the options of the extension `knowledge_attention`; there may be several. Every name of the
graph is a span, also within and across others. Texts that come with `Mentions` teach the linker.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_args

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.errors import InputError, closest
from kg.enrich.table_rows import TableRows
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import Mentions
from kg.linking.candidate_spans import KnowledgeSpans, Known, spans_of, with_gold
from kg.linking.names import AliasOptions

__all__ = ["CandidateFinder", "CandidateFinders", "candidate_finder", "candidate_spans"]


@dataclass(frozen=True)
class CandidateFinder:
    """Finds the spans of one knowledge base; crosses a queue as paths, which are opened where they are used.

    Attributes:
        base: under which name they go in `KnowledgeSpans`, as in the options of the extension `knowledge_attention`.
        rows: of the base's entity table.
        graph: folder of the graph whose names are looked for; None: `names` says them.
        names: a saved linker, which keeps its own options.
        languages: of the graph's names; empty: all.
        most, longest: candidates of a span, and its tokens.
        known: what texts that come with mentions tell; see `with_gold`.
    """

    base: str
    rows: TableRows
    graph: str | None
    names: str | None
    languages: tuple[str, ...]
    most: int
    longest: int
    known: Known

    def __call__(self, texts: Sequence[Encoded]) -> list[Encoded]:
        found = self.linker.link_all([text.text for text in texts])
        made = []
        for text, mentions in zip(texts, found, strict=True):
            spans = spans_of(text, mentions, self.rows, most=self.most, longest=self.longest)
            if Mentions in text.parts:
                spans = with_gold(spans, text[Mentions], known=self.known)
            others = text[KnowledgeSpans].of if KnowledgeSpans in text.parts else {}
            made.append(text.having(KnowledgeSpans({**others, self.base: spans})))
        return made

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        graph = None if self.graph is None else KnowledgeGraph.open(self.graph).fingerprint()
        names = None if self.names is None else blake2b(Path(self.names).read_bytes()).hexdigest()
        options = [self.base, list(self.languages), self.most, self.longest, self.known]
        return digest("candidate_spans", graph, names, self.rows.fingerprint(), options)

    @cached_property
    def linker(self) -> AliasLinker:
        """What finds names."""
        if self.names is not None:
            return AliasLinker.load(self.names)
        assert self.graph is not None
        options = AliasOptions(matches="all", max_candidates=self.most)
        return AliasLinker.from_graph(KnowledgeGraph.open(self.graph), self.languages or None, options=options)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "linker"}


@dataclass(frozen=True)
class CandidateFinders:
    """Finds the spans of several knowledge bases, one after the other."""

    finders: Sequence[CandidateFinder]

    def __call__(self, texts: Sequence[Encoded]) -> list[Encoded]:
        for find in self.finders:
            texts = find(texts)
        return list(texts)

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("candidate_spans", *(find.fingerprint() for find in self.finders))


def candidate_spans(*, bases: Mapping[str, Mapping[str, Any]]) -> CandidateFinders:
    """Returns the enricher that is registered as ``candidate_spans`` in the group ``kelm.enrichers``.

    Args:
        bases: options of each knowledge base by its name, see `candidate_finder`.

    Raises:
        InputError: an option is unknown, or as `candidate_finder`.
        CheckpointError: no graph or table is there.
    """
    known = list(inspect.signature(candidate_finder).parameters)[1:]
    for base, options in bases.items():
        for option in options:
            if option not in known:
                raise InputError("unknown option", field=f"bases.{base}.{option}", remedy=closest(option, known))
        if "table" not in options:
            raise InputError("is missing", field=f"bases.{base}.table", remedy="Give the folder of an entity table.")
    return CandidateFinders(tuple(candidate_finder(base, **options) for base, options in bases.items()))


def candidate_finder(
    base: str,
    *,
    table: str,
    graph: str | None = None,
    names: str | None = None,
    languages: Sequence[str] = (),
    most: int = 30,
    longest: int = 16,
    known: Known = "linked",
) -> CandidateFinder:
    """Returns what finds the candidates of one knowledge base.

    Args:
        table: folder of the entity table; names whose entities are not in it are no candidates.
        graph, names: give one: the folder of a graph, or a linker that ``kelm graph link --save`` wrote.
        base, languages, longest, known: see `CandidateFinder`.
        most: candidates of a span (paper: 30).

    Raises:
        InputError: the graph has no names in these languages, or neither graph nor names are given.
        CheckpointError: no graph or table is there.
    """
    if known not in get_args(Known):
        raise InputError(f"found {known!r}", field=f"bases.{base}.known", remedy=closest(str(known), get_args(Known)))
    if (graph is None) == (names is None):
        raise InputError(
            "one of graph and names is needed", field=f"bases.{base}.graph", remedy="Give the folder of a graph."
        )
    finder = CandidateFinder(base, TableRows(table), graph, names, tuple(languages), most, longest, known)
    finder.fingerprint()  # what does not fit is told now
    _ = finder.linker
    return finder
