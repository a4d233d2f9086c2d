"""A trained model of a graph: vectors of entities and relations, and what scores them.

    embedding.safetensors     tensors "entities" and "relations", and "shared.*" of models that have more;
                              recipe, graph fingerprint and history in the header

Written aside and renamed; read without a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kelm.data.folders import file_aside
from kelm.errors import CheckpointError, InputError
from kg.embeddings.interactions import Interaction, TransE
from kg.embeddings.parameters import BIASES
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.screening import ScreenedQueries, ScreenedTransE
from kg.embeddings.table import EntityTable

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph

__all__ = ["FILE", "KnowledgeGraphEmbedding", "check_same_graph", "read_tensors", "write_tensors"]

FILE = "embedding.safetensors"
_SHARED = "shared."


@dataclass(frozen=True, slots=True, eq=False)
class KnowledgeGraphEmbedding:
    """Vectors of a graph by one of kelm's own models.

    Attributes:
        interaction: what scores them.
        entities, relations: the vectors, by the graph's ids. With inverse relations, those follow the others.
        recipe: how they were trained.
        graph: fingerprint of the graph they were trained on; empty if it was given as plain triples.
        history: one entry an epoch: loss, seconds, triples a second, and MRR where it was measured.
        shared: what the model's interaction shares, and the candidates' biases; see `kg.embeddings.parameters`.
    """

    interaction: Interaction
    entities: Float32[np.ndarray, "entity width"]
    relations: Float32[np.ndarray, "relation number"]
    recipe: EmbeddingRecipe
    graph: str = ""
    history: tuple[Mapping[str, float], ...] = field(default=())
    shared: Mapping[str, Float32[np.ndarray, "*shape"]] = field(default_factory=dict)

    @property
    def relation_count(self) -> int:
        """Number of the graph's relations."""
        return len(self.relations) // 2 if self.recipe.reciprocal else len(self.relations)

    def scorer(self) -> ScreenedQueries:
        """Returns what `kg.embeddings.ranking.ranks` asks.

        Raises:
            InputError: a vector is not finite.
        """
        if not all(np.isfinite(part).all() for part in (self.entities, self.relations, *self.shared.values())):
            raise InputError("the embedding has numbers that are not finite", remedy="Train again with a lower rate.")
        if isinstance(self.interaction, TransE) and not self.recipe.reciprocal:
            return ScreenedTransE(self.interaction, self.entities, self.relations)
        return ScreenedQueries(
            self.interaction,
            self.entities,
            self.relations,
            shared={name: torch.from_numpy(part) for name, part in self.shared.items()},
            biases=self.shared.get(BIASES),
            reciprocal=self.recipe.reciprocal,
        )

    def table(self, graph: KnowledgeGraph) -> EntityTable:
        """Returns the vectors by name; of relations those of the graph, without their inverse ones.

        Raises:
            InputError: the embedding was trained on another graph.
        """
        check_same_graph(graph, len(self.entities), self.relation_count, self.graph)
        return EntityTable.from_vectors(
            graph.entities,
            self.entities,
            facts={"model": self.recipe.model, "recipe": self.recipe.facts(), "graph": self.graph},
            relations=self.relations[: self.relation_count],
            relation_names=graph.relation_names,
        )

    def save(self, folder: str | Path) -> None:
        """Writes `embedding.safetensors` into `folder`.

        Raises:
            CheckpointError: it cannot be written; nothing half-written remains.
        """
        facts = {
            "format": "kelm-embedding",
            "recipe": self.recipe.facts(),
            "graph": self.graph,
            "history": [dict(entry) for entry in self.history],
        }
        arrays = {"entities": self.entities, "relations": self.relations}
        arrays |= {f"{_SHARED}{name}": part for name, part in self.shared.items()}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        write_tensors(Path(folder) / FILE, tensors, facts)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Returns the embedding in `folder`.

        Raises:
            CheckpointError: none is there, or it is damaged or of another kind.
        """
        path = Path(folder) / FILE
        tensors, facts = read_tensors(path)
        recipe = recipe_of(facts, path)
        if recipe.engine != "kelm" or not {"entities", "relations"} <= set(tensors):
            raise CheckpointError(
                f"{path}: expected a model of kelm's own engine, found {recipe.engine}'s {recipe.model}. "
                "Open it with `kg.embeddings.open_embedding`."
            )
        shared = {name.removeprefix(_SHARED): tensors[name].numpy() for name in tensors if name.startswith(_SHARED)}
        return cls(
            recipe.interaction(),
            tensors["entities"].numpy(),
            tensors["relations"].numpy(),
            recipe,
            str(facts["graph"]),
            tuple(facts["history"]),
            shared,
        )


def recipe_of(facts: Mapping[str, Any], path: Path) -> EmbeddingRecipe:
    """Returns the recipe that `read_tensors` found in `path`.

    Raises:
        CheckpointError: it is none.
    """
    try:
        return EmbeddingRecipe.of(facts["recipe"])
    except (InputError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its recipe is damaged ({error}). Embed the graph again.") from error


def check_same_graph(graph: Any, entity_count: int, relation_count: int, fingerprint: str) -> None:
    """Raises an `InputError` when vectors do not belong to `graph`."""
    counts = len(graph.entities), len(graph.relation_names)
    if counts != (entity_count, relation_count) or (fingerprint and fingerprint != graph.fingerprint()):
        raise InputError(
            f"the embedding of {entity_count} entities and {relation_count} relations was trained on another graph "
            f"than this one of {counts[0]} and {counts[1]}",
            remedy="Pass the graph that was embedded, or embed this one.",
        )


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Writes a safetensors file with `facts` as JSON in its header, aside and then renamed.

    Raises:
        CheckpointError: it cannot be written; nothing half-written remains.
    """
    with file_aside(path) as new:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, new, {"facts": json.dumps(facts)})


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns what `write_tensors` wrote.

    Raises:
        CheckpointError: no such file is there, it is cut, or another program wrote it.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no embedding is here. Check the path, or embed the graph first.")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        sound = facts["format"] == "kelm-embedding" and {"recipe", "graph", "history"} <= set(facts)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as an embedding ({error}). Embed the graph again.") from error
    if not sound:
        raise CheckpointError(f"{path}: another program wrote this file. Embed the graph again.")
    return tensors, facts
