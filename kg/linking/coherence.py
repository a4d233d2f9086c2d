"""Coherence: of what a mention may mean, what is related to the other mentions of its document is more probable.

    rel(a, b) = 1 - (log max(|A|, |B|) - log |A and B|) / (log |W| - log min(|A|, |B|)),  at least 0
    vote(e)   = mean over the document's other mentions n of  sum over n's candidates f:  p(f | n) rel(e, f)
    score(e)  = p(e | m) exp(weight vote(e)) / Z               Z: the sum of a mention's probabilities stays

A is the neighborhood of a: itself and the entities that a triple joins it to, either way; W are all entities of the
graph. The relatedness is Milne & Witten's (2008), there of links between articles, and the vote TAGME's (Ferragina &
Scaiella, 2010, section 3), with two differences: candidates vote by the mean over mentions, so that a long document
does not shout, and votes multiply the prior instead of choosing among the near best. "No entity" neither votes nor is
voted for; other candidates of the same mention do not vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_array

from kelm.errors import InputError
from kg.graph import KnowledgeGraph
from kg.linking.base import NIL, Candidate, Disambiguator, Mention

__all__ = ["Coherent"]


@dataclass(frozen=True, eq=False)
class Coherent:
    """A linker whose candidates are scored by how well a document's mentions agree.

    Attributes:
        linker: finds the mentions and their candidates.
        graph: whose triples relate entities.
        weight: 0 leaves the probabilities as they are; at w, a candidate that is wholly related to all other mentions
            gains exp(w) over one that is not at all. 4 was the best of 2, 4, 8 and 16, by very little, on FewRel's and
            OKE 2016's development texts.

    Raises:
        InputError: the weight is negative or no number.

    >>> from kg.linking.alias import AliasLinker
    >>> graph = KnowledgeGraph.from_triples([("Q90", "P17", "Q142"), ("Q830149", "P131", "Q1439"), ("Q1", "P1", "Q2")])
    >>> names = [("Paris", "Q90", 2.0), ("Paris", "Q830149", 1.0), ("Texas", "Q1439")]
    >>> linker = Coherent(AliasLinker(names), graph, weight=4.0)
    >>> [mention.entity for mention in linker.link("Paris in Texas")], linker.link("Paris")[0].entity
    (['Q830149', 'Q1439'], 'Q90')

    Cost: a document's distinct candidates squared, and their triples.
    """

    linker: Disambiguator
    graph: KnowledgeGraph
    weight: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise InputError(f"expected 0 or more, found {self.weight!r}", field="weight", remedy="4 is the default.")

    def link(self, text: str, language: str | None = None) -> list[Mention]:
        """Returns the mentions of one text, a document of its own."""
        return self.link_all([text], language)[0]

    def link_all(self, texts: Sequence[str], language: str | None = None) -> list[list[Mention]]:
        """Returns the mentions of each text."""
        return [self._scored(mentions) for mentions in self.linker.link_all(texts, language)]

    def disambiguate(
        self, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]], language: str | None = None
    ) -> list[list[Mention]]:
        """Returns a mention for each place of each text; only they vote."""
        return [self._scored(mentions) for mentions in self.linker.disambiguate(texts, places, language)]

    def _scored(self, mentions: Sequence[Mention]) -> list[Mention]:
        """Returns a document's mentions with scored candidates, best first."""
        entities = sorted({candidate.entity for mention in mentions for candidate in mention.candidates} - {NIL})
        known = {entity: id for entity in entities if (id := self.graph.entities.find(entity)) >= 0}
        place = {entity: number for number, entity in enumerate(known)}
        votes = np.zeros((len(mentions), len(place)))
        for row, mention in enumerate(mentions):
            for candidate in mention.candidates:
                if candidate.entity in place:
                    votes[row, place[candidate.entity]] = candidate.probability
        total, voters = votes.sum(0), int(votes.any(1).sum())
        related = self._related(list(known.values())) if voters > 1 else None
        scored = []
        for row, mention in enumerate(mentions):
            named = [candidate.entity for candidate in mention.candidates if candidate.entity in place]
            gained: dict[str, float] = {}
            if related is not None and named:
                mean = related[[place[entity] for entity in named]] @ (total - votes[row]) / (voters - 1)
                gained = dict(zip(named, mean.tolist(), strict=True))
            scored.append(replace(mention, candidates=self._weighed(mention.candidates, gained)))
        return scored

    def _weighed(self, candidates: Sequence[Candidate], votes: Mapping[str, float]) -> tuple[Candidate, ...]:
        """Returns the candidates with scores, whose sum is that of their probabilities."""
        most = max((votes.get(one.entity, 0.0) for one in candidates), default=0.0)  # so that no power overflows
        raised = [one.probability * exp(self.weight * (votes.get(one.entity, 0.0) - most)) for one in candidates]
        mass, whole = sum(one.probability for one in candidates), sum(raised)
        scored = [  # divided first, so that a mention's only candidate keeps its probability to the last bit
            replace(one, score=mass * (score / whole)) for one, score in zip(candidates, raised, strict=True)
        ]
        return tuple(sorted(scored, key=lambda one: -one.probability))

    def _related(self, ids: Sequence[int]) -> csr_array:
        """Returns how related each two of these entities are; what is not stored is 0."""
        around = [self._neighborhood(id) for id in ids]
        sizes = np.array([len(one) for one in around])
        columns, numbers = np.unique(np.concatenate(around), return_inverse=True)
        starts = np.concatenate(([0], np.cumsum(sizes)))
        within = csr_array((np.ones(len(numbers)), numbers, starts), shape=(len(ids), len(columns)))
        shared = (within @ within.T).tocoo()
        larger = np.maximum(sizes[shared.row], sizes[shared.col])
        smaller = np.minimum(sizes[shared.row], sizes[shared.col])
        span = np.log(max(2, self.graph.entity_count)) - np.log(smaller)
        distance = np.log(larger) - np.log(shared.data)
        close = 1 - np.divide(distance, span, out=(distance > 0).astype(np.float64), where=span > 0)
        return csr_array((np.maximum(close, 0.0), (shared.row, shared.col)), shape=shared.shape)

    def _neighborhood(self, entity: int) -> Int[np.ndarray, "entity"]:
        """Returns the entity and those that a triple joins it to, each once."""
        return np.unique(np.concatenate(([entity], self.graph.neighbors(entity)[1], self.graph.incoming(entity)[1])))
