"""A graph as `knowledge_embedding` learned to read it: vectors of all its texts, ranked as any other model's.

    ranks(described_embedding(objective, encoder, texts), test, filter=known)

Every entity is encoded once. The graph need not be the one of training: where entities were never seen, their texts
speak for them (the inductive setting). Both losses rank as TransE does. For cosines this is so because vectors have
length 1: ‖q - c‖² = ‖q‖² + 1 - 2 q·c falls as q·c grows, which for one question grows as the cosine does.

Source: Wang et al., 2021 (KEPLER), section 5.2, where tails only are ranked; Wang et al., 2022 (SimKGC), section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int64

from kelm.errors import InputError
from kelm.model import Encoder
from kg.embeddings.answers import Side
from kg.embeddings.embedding import KnowledgeGraphEmbedding
from kg.embeddings.interactions import TransE
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.screening import ScreenedQueries
from kg.linking.entity_vectors import entity_vectors, read_texts
from kg.linking.triple_text import TripleText
from kg.objectives.knowledge_embedding import KnowledgeEmbedding

__all__ = ["QuestionEmbedding", "described_embedding"]

Reader = Callable[[Side, Sequence[tuple[int, int]]], Float32[np.ndarray, "question width"]]


@dataclass(frozen=True, slots=True, eq=False)
class QuestionEmbedding:
    """An embedding whose questions are texts of their own (relation = "condition"), encoded when they are asked.

    Attributes:
        embedding: vectors of entities, and what a relation adds to a question's.
        read: gives the vectors of questions after a side, each the known entity and the relation (ids).
    """

    embedding: KnowledgeGraphEmbedding
    read: Reader

    def scorer(self) -> ScreenedQueries:
        """Returns what `kg.embeddings.ranking.ranks` asks. Cost: a pass of the encoder for each distinct question."""
        return _Questions(self.embedding, self.read)


class _Questions(ScreenedQueries):
    def __init__(self, embedding: KnowledgeGraphEmbedding, read: Reader) -> None:
        super().__init__(embedding.interaction, embedding.entities, embedding.relations)
        self._read = read

    def given(
        self, entities: Int64[np.ndarray, "row"], relations: Int64[np.ndarray, "row"], side: Side
    ) -> Float32[torch.Tensor, "row width"]:
        return torch.from_numpy(self._read(side, list(zip(entities.tolist(), relations.tolist(), strict=True))))


def described_embedding(
    objective: KnowledgeEmbedding,
    encoder: Encoder,
    texts: TripleText,
    *,
    relations: Sequence[str] | None = None,
    cache: str | Path | None = None,
) -> KnowledgeGraphEmbedding | QuestionEmbedding:
    """Returns the graph of `texts` as the trained encoder and objective embed it.

    Args:
        texts: what is read of the graph; words and length should be those of training.
        relations: names of the relations whose vectors the objective has, such as `relation_names` of the graph of
            training. None: the graph is that one.
        cache: folder of entity vectors; see `kg.linking.entity_vectors`.

    Raises:
        InputError: the objective has no vector for a relation of the graph.

    Cost: a pass of the encoder over the texts of all entities.
    """
    graph, width = texts.says.graph, encoder.config.hidden_size
    length, reading = texts.length, objective.reading
    table = entity_vectors(texts.says, encoder, texts.tokenizer, length=length, cache=cache, reading=reading)
    moves = np.zeros((graph.relation_count, width), np.float32)
    if objective.has_table:
        moves = objective.relation_vectors.weight.detach().float().cpu().numpy()
        moves = moves[_rows(texts, relations, len(moves))]
    elif objective.relation == "text":
        moves = read_texts(encoder, texts.relations(range(graph.relation_count)), reading)
    norm: Literal[1, 2] = 1 if objective.kind == "kepler" and objective.norm == 1 else 2
    recipe = EmbeddingRecipe(model="transe", norm=norm, width=width)
    vectors = np.array(table.vectors)  # a memory map that cannot be written to is no tensor
    embedding = KnowledgeGraphEmbedding(TransE(norm), vectors, moves, recipe, graph.fingerprint())
    if objective.relation != "condition":
        return embedding

    def read(side: Side, asked: Sequence[tuple[int, int]]) -> Float32[np.ndarray, "question width"]:
        return read_texts(encoder, texts.questions(side, asked), reading)

    return QuestionEmbedding(embedding, read)


def _rows(texts: TripleText, relations: Sequence[str] | None, count: int) -> Int64[np.ndarray, "relation"]:
    """Returns the row of the objective's table for each relation of the graph."""
    names = list(texts.says.graph.relation_names)
    known = names if relations is None else list(relations)
    places = {name: row for row, name in enumerate(known)}
    missing = [name for name in names if name not in places]
    if len(known) != count or missing:
        raise InputError(
            f"the objective has vectors of {count} relations, {len(known)} are named, {len(missing)} of the graph's "
            f"are not among them{''.join(f', such as {name}' for name in missing[:1])}",
            field="relations",
            remedy="Give the relation names of the graph that the objective was trained on.",
        )
    return np.array([places[name] for name in names], np.int64)
