"""Vectors of a graph's entities and relations: training, tables by name, ranking.

train(graph, EmbeddingRecipe(...)) -> KnowledgeGraphEmbedding -> .table(graph) -> EntityTable
                                      ranks(embedding, test, filter=known) -> metrics(...)
"""

from kg.embeddings.bilinear import RESCAL, ComplEx, DistMult, TuckER
from kg.embeddings.command import embed, evaluate, open_embedding
from kg.embeddings.conve import ConvE
from kg.embeddings.embedding import KnowledgeGraphEmbedding
from kg.embeddings.interactions import TransE
from kg.embeddings.pictures import draw
from kg.embeddings.progress import Progress, TrainingInterrupted
from kg.embeddings.pykeen import PykeenEmbedding
from kg.embeddings.ranking import Ranks, metrics, ranks
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.recipe_files import read_recipe
from kg.embeddings.rotate import RotatE
from kg.embeddings.table import EntityTable
from kg.embeddings.train import train

__all__ = [
    "RESCAL",
    "ComplEx",
    "ConvE",
    "DistMult",
    "EmbeddingRecipe",
    "EntityTable",
    "KnowledgeGraphEmbedding",
    "Progress",
    "PykeenEmbedding",
    "Ranks",
    "RotatE",
    "TrainingInterrupted",
    "TransE",
    "TuckER",
    "draw",
    "embed",
    "evaluate",
    "metrics",
    "open_embedding",
    "ranks",
    "read_recipe",
    "train",
]
