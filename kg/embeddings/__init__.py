"""Vectors of a graph's entities and relations: training, tables by name, ranking.

train(graph, EmbeddingRecipe(...)) -> KnowledgeGraphEmbedding -> .table(graph) -> EntityTable
                                      ranks(embedding, test, filter=known) -> metrics(...)
"""

from kg.embeddings.command import embed, evaluate, open_embedding
from kg.embeddings.embedding import KnowledgeGraphEmbedding
from kg.embeddings.interactions import TransE
from kg.embeddings.progress import Progress, TrainingInterrupted
from kg.embeddings.pykeen import PykeenEmbedding
from kg.embeddings.ranking import Ranks, metrics, ranks
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.table import EntityTable
from kg.embeddings.train import train

__all__ = [
    "EmbeddingRecipe",
    "EntityTable",
    "KnowledgeGraphEmbedding",
    "Progress",
    "PykeenEmbedding",
    "Ranks",
    "TrainingInterrupted",
    "TransE",
    "embed",
    "evaluate",
    "metrics",
    "open_embedding",
    "ranks",
    "train",
]
