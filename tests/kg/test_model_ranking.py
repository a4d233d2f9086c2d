"""Ranking of kelm's models beside TransE: against PyKEEN with many ties, and against slow scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from kg.embeddings import EmbeddingRecipe, KnowledgeGraphEmbedding, ranks
from kg.embeddings.models import MODELS
from kg.embeddings.parameters import BIASES, first_values

from .test_ranking import pykeen_ranks

ENTITIES, RELATIONS, WIDTH = 30, 3, 4


def some_triples(random: np.random.Generator) -> np.ndarray:
    return np.unique(
        np.stack([random.integers(0, count, 60) for count in (ENTITIES, RELATIONS, ENTITIES)], axis=1), axis=0
    )


def tiny_embedding(name: str, random: np.random.Generator) -> KnowledgeGraphEmbedding:
    """Vectors of whole numbers from -1 to 1, a third of the entities with the vector of another; half turns."""
    entities = random.integers(-1, 2, (ENTITIES, WIDTH)).astype(np.float32)
    entities[random.choice(ENTITIES, ENTITIES // 3, replace=False)] = entities[0]
    if name == "rotate":
        relations = np.float32(np.pi / 2) * random.integers(-1, 3, (RELATIONS, WIDTH // 2)).astype(np.float32)
    else:
        relations = random.integers(-1, 2, (RELATIONS, WIDTH)).astype(np.float32)
    recipe = EmbeddingRecipe(model=name, width=WIDTH)
    return KnowledgeGraphEmbedding(recipe.interaction(), entities, relations, recipe)


def pykeen_model(embedding: KnowledgeGraphEmbedding, triples: np.ndarray) -> object:
    from pykeen.models import model_resolver
    from pykeen.triples import CoreTriplesFactory

    factory = CoreTriplesFactory(torch.from_numpy(triples), num_entities=ENTITIES, num_relations=RELATIONS)
    name = embedding.recipe.model
    model = model_resolver.make(name, triples_factory=factory, embedding_dim=WIDTH // 2, random_seed=0)
    links = torch.from_numpy(embedding.relations)
    if name == "rotate":
        links = torch.view_as_real(torch.complex(links.cos(), links.sin())).flatten(1)
    with torch.no_grad():
        for kind, vectors in (("entity", torch.from_numpy(embedding.entities)), ("relation", links)):
            getattr(model, f"{kind}_representations")[0]._embeddings.weight.copy_(vectors)
    return model.eval()


@pytest.mark.parametrize("name", ["complex", "rotate"])
@settings(max_examples=15, deadline=None)
@given(seed=some.integers(0, 10_000), ties=some.sampled_from(["realistic", "optimistic", "pessimistic"]))
def test_ranks_equal_pykeens_with_many_ties(name: str, seed: int, ties: str) -> None:
    random = np.random.default_rng(seed)
    triples = some_triples(random)
    embedding = tiny_embedding(name, random)
    judged, known = triples[:25], triples[25:]
    found = ranks(embedding, judged, filter=known, ties=ties)
    theirs = pykeen_ranks(pykeen_model(embedding, triples), judged, known, ties)
    assert found["head"].tolist() == theirs["head"]
    assert found["tail"].tolist() == theirs["tail"]
    assert sum(one.tied.sum() for one in found.sides.values()) > 0


@pytest.mark.parametrize("reciprocal", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_ranks_equal_those_of_slow_scores(name: str, reciprocal: bool) -> None:
    """In float64, one question after the other; entities with equal vectors tie."""
    random = np.random.default_rng(5)
    recipe = EmbeddingRecipe(
        model=name, width=12, kernel=2, batch_norm=name == "conve", reciprocal=reciprocal or name == "conve",
        start="normal",
    ) if name != "transe" or reciprocal else EmbeddingRecipe(width=12)  # fmt: skip
    values = first_values(recipe, ENTITIES, RELATIONS, torch.Generator().manual_seed(1))
    if BIASES in values:
        values[BIASES].copy_(torch.from_numpy(random.standard_normal(ENTITIES)))
        values[BIASES][[4, 9]] = values[BIASES][2].clone()
    values["entities"][[4, 9]] = values["entities"][2].clone()
    arrays = {key: value.numpy() for key, value in values.items()}
    embedding = KnowledgeGraphEmbedding(
        recipe.interaction(), arrays.pop("entities"), arrays.pop("relations"), recipe, shared=arrays
    )
    triples = np.concatenate((some_triples(random), [[1, 0, 2], [2, 1, 3], [7, 2, 9]]))
    found = ranks(embedding, triples)
    double = {key: value.double() for key, value in values.items()}
    for row, (head, link, tail) in enumerate(triples.tolist()):
        for side, known, answer in (("tail", head, tail), ("head", tail, head)):
            inverse = recipe.reciprocal and side == "head"
            query = embedding.interaction.queries(
                double["entities"][[known]],
                double["relations"],
                torch.tensor([link + RELATIONS * inverse]),
                "tail" if inverse else side,
                double,
            )
            scores = embedding.interaction.all_scores(query, double["entities"])[0] + double.get(BIASES, 0.0)
            near = (scores - scores[answer]).abs() < 1e-9
            assert found.sides[side].better[row] == int(((scores > scores[answer]) & ~near).sum())
            assert found.sides[side].tied[row] == int(near.sum()) - 1
