"""The floor of link prediction: the answers that a relation has most often, whoever is asked about."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

from kg.embeddings.answers import Side
from kg.graph import KnowledgeGraph

__all__ = ["Frequency"]


class Frequency:
    """Scores an answer by how many triples of the relation have it there; see `kg.embeddings.screening.Scorer`."""

    def __init__(self, graph: KnowledgeGraph) -> None:
        self.graph, self.exact, self.block_size = graph, True, 64
        self.entity_count, self.relation_count = graph.entity_count, graph.relation_count

    def scorer(self) -> Frequency:
        return self

    def score_all(
        self,
        given: Int64[np.ndarray, "question"],
        relations: Int64[np.ndarray, "question"],
        side: Side,
        out: Float32[np.ndarray, "question entity"],
    ) -> None:
        answers = self.graph.tails if side == "tail" else self.graph.heads
        for relation in np.unique(relations).tolist():
            counts = np.bincount(answers[self.graph.relations == relation], minlength=self.entity_count)
            out[relations == relation] = counts

    def score(
        self,
        given: Int64[np.ndarray, "row"],
        relations: Int64[np.ndarray, "row"],
        side: Side,
        candidates: Int64[np.ndarray, "row"],
    ) -> Float32[np.ndarray, "row"]:
        raise NotImplementedError("scores are exact, so nobody asks for them again")

    def bounds(
        self,
        given: Int64[np.ndarray, "row"],
        relations: Int64[np.ndarray, "row"],
        side: Side,
        scores: Float32[np.ndarray, "row"],
        tolerance: float,
    ) -> tuple[Float32[np.ndarray, "row"], Float32[np.ndarray, "row"]]:
        return scores - tolerance, scores + tolerance
