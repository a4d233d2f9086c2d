"""Triples in words, to hang on the mention of their entity: which ones, in which order, as which tokens.

    Berlin -- capital of -> Germany       "capital of: Germany"       ranked, the first few of each entity
           -- located in -> Europe        "located in: Europe"

Ranked by the relation's place in a list of priorities, then by how many triples the other entity stands in, then as
they stand in the graph, so that a graph gives the same branches in every process. What has no label in the language is
left out.
Source: Liu et al. (2020), section 3.2 (K-BERT's knowledge query), whose code takes triples in the order of a hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal

import numpy as np
from jaxtyping import Int

from kelm.data.corpus import digest
from kelm.errors import InputError, UnknownName, closest
from kelm.text.tokenizer import Tokenizer
from kg.graph import KnowledgeGraph
from kg.labels import language_code

__all__ = ["Branch", "BranchOptions", "Branches"]

_KEPT = 1 << 17  # entities whose branches are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchOptions:
    """Which triples become branches, and how they read.

    Attributes:
        language: of the labels; those without a language ("") count as well.
        most: branches of an entity.
        priority: names of relations that come first, in this order.
        leave_out: names of relations that are never told.
        incoming: tell the triples that reach the entity, too.
        hops: 2 goes on with the first that the graph says of the other entity: "capital of: Germany, currency: euro".
        relation: tell the relation; without it the object alone, as K-BERT's code does for tagging.
        separator: between relation and object.
        longest: tokens of a branch; longer ones are left out.
    """

    language: str = "en"
    most: int = 2
    priority: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    incoming: bool = False
    hops: Literal[1, 2] = 1
    relation: bool = True
    separator: str = ": "
    longest: int = 16

    def __post_init__(self) -> None:
        for name in ("most", "longest"):
            value: object = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise InputError(f"expected a whole number from 1, found {value!r}", field=name, remedy="Give one.")
        if self.hops not in (1, 2):
            raise InputError(f"expected 1 or 2, found {self.hops}", field="hops", remedy="Give 1 for no second hop.")


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """What hangs on a mention.

    Attributes:
        text: in words.
        tokens: without special ones.
    """

    text: str
    tokens: Int[np.ndarray, "token"]


@dataclass(frozen=True, eq=False)
class Branches:
    """The branches of entities, best first.

    >>> graph = KnowledgeGraph.from_triples(
    ...     [("Q64", "P1376", "Q183"), ("Q64", "P30", "Q46"), ("Q5", "P27", "Q183")],
    ...     labels={"en": {"Q183": "Germany", "Q46": "Europe", "P1376": "capital of", "P30": "lies in"}},
    ... )
    >>> from kelm.text import vocabulary
    >>> words = vocabulary.train(["capital of: germany lies in: europe"], 60, "wordpiece", lower=True)
    >>> [branch.text for branch in Branches(graph, words)(graph.entities.id("Q64"))]
    ['capital of: Germany', 'lies in: Europe']

    Raises:
        InputError: no relation or no entity has a label in the language.
        UnknownName: a relation of `priority` or `leave_out` is not in the graph.

    Cost: for an entity, when first asked for, a sort of its triples.
    """

    graph: KnowledgeGraph
    tokenizer: Tokenizer
    options: BranchOptions = field(default_factory=BranchOptions)

    def __post_init__(self) -> None:
        options, graph = self.options, self.graph
        named = (("entities", graph.labels.entities), *((("relations", graph.labels.relations),) * options.relation))
        for what, table in named:
            if not any(len(range(*table.rows(code).indices(len(table)))) for code in (options.language, "")):
                raise InputError(
                    f"the graph's {what} have no labels in {options.language}",
                    field="language",
                    remedy=f"Labels it has: {', '.join(filter(None, table.languages)) or 'none'}.",
                )
        for list_ in ("priority", "leave_out"):
            for name in getattr(options, list_):
                if graph.relation_names.find(name) < 0:
                    remedy = closest(name, graph.relation_names)
                    raise UnknownName(f'no relation of the graph is called "{name}"', field=list_, remedy=remedy)

    def __call__(self, entity: int) -> tuple[Branch, ...]:
        """Returns the branches of an entity (its id)."""
        if entity not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[entity] = tuple(islice(self._made(entity), self.options.most))
        return self._known[entity]

    def id(self, entity: str) -> int:
        """Returns the id of the entity of this name, -1 if the graph has none; remembered."""
        if entity not in self._ids:
            if len(self._ids) >= _KEPT:
                self._ids.clear()
            self._ids[entity] = self.graph.entities.find(entity)
        return self._ids[entity]

    def fingerprint(self) -> str:
        """Returns a digest: equal digests, equal branches."""
        options = self.options
        said = [options.most, options.incoming, options.hops, options.relation, options.separator, options.longest]
        lists = [list(options.priority), list(options.leave_out)]
        graph, words = self.graph.fingerprint(), self.tokenizer.fingerprint()
        return digest("branches 1", graph, words, language_code(options.language), said, lists)

    def _made(self, entity: int) -> Iterator[Branch]:
        told: set[str] = set()
        for triple, said in self._said(entity):
            branch = self._branch(entity, triple, said)
            if branch is not None and branch.text not in told:
                told.add(branch.text)
                yield branch

    def _branch(self, entity: int, triple: int, said: str) -> Branch | None:
        """Returns the branch of a triple, with a second hop where there is one and room for it; None if too long."""
        if self.options.hops == 2:
            other = self._other(triple, entity)
            for further, more in self._said(other):
                text = f"{said}, {more}"
                back = further == triple or self._other(further, other) == entity
                if not back and len(tokens := self._tokens(text)) <= self.options.longest:
                    return Branch(text, tokens)
        tokens = self._tokens(said)
        return Branch(said, tokens) if 0 < len(tokens) <= self.options.longest else None

    def _said(self, entity: int) -> Iterator[tuple[int, str]]:
        """Yields the entity's triples in words, best first."""
        for triple in self._ranked(entity):
            other = self._label("entities", self._other(triple, entity))
            relation = self._label("relations", int(self.graph.relations[triple])) if self.options.relation else ""
            if not other or (self.options.relation and not relation):
                continue
            leaves = int(self.graph.heads[triple]) == entity
            parts = (relation, other) if leaves else (other, relation)
            yield triple, self.options.separator.join(filter(None, parts))

    def _ranked(self, entity: int) -> list[int]:
        graph = self.graph
        triples = graph.leaving.triples(entity)
        if self.options.incoming:
            reaching = graph.reaching.triples(entity)
            triples = np.concatenate((triples, reaching[graph.heads[reaching] != entity]))
        other = np.where(graph.heads[triples] == entity, graph.tails[triples], graph.heads[triples])
        rank = self._ranks[graph.relations[triples]]
        keep = (rank >= 0) & (other != entity)
        triples, other, rank = triples[keep], other[keep], rank[keep]
        arrives = graph.heads[triples] != entity
        order = np.lexsort((other, graph.relations[triples], arrives, -self._degree[other], rank))
        found: list[int] = triples[order].tolist()
        return found

    def _other(self, triple: int, entity: int) -> int:
        head = int(self.graph.heads[triple])
        return int(self.graph.tails[triple]) if head == entity else head

    def _label(self, kind: str, owner: int) -> str:
        table = getattr(self.graph.labels, kind)
        for code in (self.options.language, ""):
            if names := table.names(owner, code):
                return str(names[0])
        return ""

    def _tokens(self, text: str) -> Int[np.ndarray, "token"]:
        [encoded] = self.tokenizer.encode([f" {text}"])
        tokens: Int[np.ndarray, "token"] = encoded.tokens[encoded.words >= 0]
        return tokens

    @cached_property
    def _ranks(self) -> Int[np.ndarray, "relation"]:
        """The place of each relation; -1 for those that are never told."""
        ranks = np.full(self.graph.relation_count, len(self.options.priority), np.int64)
        for place, name in reversed(list(enumerate(self.options.priority))):
            ranks[self.graph.relation_names.id(name)] = place
        for name in self.options.leave_out:
            ranks[self.graph.relation_names.id(name)] = -1
        return ranks

    @cached_property
    def _degree(self) -> Int[np.ndarray, "entity"]:
        ends = np.concatenate((self.graph.heads, self.graph.tails))
        return np.bincount(ends, minlength=self.graph.entity_count)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {}

    @cached_property
    def _known(self) -> dict[int, tuple[Branch, ...]]:
        return {}
