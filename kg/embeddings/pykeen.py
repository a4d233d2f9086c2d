"""The door to PyKEEN: any of its models trained by the same call and ranked by the same evaluator (Ali et al., 2021).

    train(graph, EmbeddingRecipe(engine="pykeen", model="RotatE", rate=0.01, negatives=16))  -> PykeenEmbedding
    PykeenEmbedding.of(model)                                                                a model trained elsewhere

Of a recipe, a model takes width, norm, loss, margin, sharpness, seed, and `options` as arguments of its own; the rest
is for the loop (`kg.embeddings.pykeen_training`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Float32, Int64

from kelm.errors import CheckpointError, InputError, RecipeError, closest
from kg.embeddings.answers import Side, as_triples
from kg.embeddings.embedding import FILE, check_same_graph, read_tensors, recipe_of, write_tensors
from kg.embeddings.interactions import TransE
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.screening import Scorer, ScreenedTransE
from kg.embeddings.table import EntityTable

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph

__all__ = ["PykeenEmbedding", "PykeenScorer", "factory_of", "untrained"]

_LOSSES: Mapping[str, tuple[str, tuple[str, ...]]] = {  # PyKEEN's loss and which of its arguments a recipe sets
    "margin": ("marginranking", ("margin",)),
    "self_adversarial": ("nssa", ("margin", "adversarial_temperature")),
    "softmax": ("infonce", ()),
    "softplus": ("softplus", ()),
}
_COMMON = frozenset({"loss", "random_seed"})  # arguments that every PyKEEN model hands to its base
_SLICE_NUMBERS = 1 << 25  # most numbers of a slice of candidates' vectors


class PykeenScorer:
    """Scores of a PyKEEN model, as its `predict_t` and `predict_h` give them."""

    exact = True
    block_size = 32

    def __init__(self, model: Any) -> None:
        self.model = model
        self.entity_count, self.relation_count = int(model.num_entities), int(model.num_real_relations)
        width = sum(math.prod(part.shape) for part in getattr(model, "entity_representations", ())) or 1
        slices = _SLICE_NUMBERS // (self.block_size * width)
        normed = any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in model.modules())
        self._slice = None if normed or slices >= self.entity_count else max(1, slices)  # PyKEEN slices no batch norm

    @torch.no_grad()
    def score_all(
        self,
        given: Int64[np.ndarray, "question"],
        relations: Int64[np.ndarray, "question"],
        side: Side,
        out: Float32[np.ndarray, "question entity"],
    ) -> None:
        """Writes the model's scores."""
        entities, links = torch.from_numpy(given), torch.from_numpy(relations)
        ask, pair = (
            (self.model.predict_t, (entities, links)) if side == "tail" else (self.model.predict_h, (links, entities))
        )
        scores = ask(torch.stack(pair, 1).to(self.model.device), slice_size=self._slice)
        out[:] = scores.cpu().numpy()

    def score(
        self,
        given: Int64[np.ndarray, "row"],
        relations: Int64[np.ndarray, "row"],
        side: Side,
        candidates: Int64[np.ndarray, "row"],
    ) -> Float32[np.ndarray, "row"]:
        """Is never needed: `score_all` is exact."""
        raise NotImplementedError("score_all is exact")

    def bounds(
        self,
        given: Int64[np.ndarray, "row"],
        relations: Int64[np.ndarray, "row"],
        side: Side,
        scores: Float32[np.ndarray, "row"],
        tolerance: float,
    ) -> tuple[Float32[np.ndarray, "row"], Float32[np.ndarray, "row"]]:
        """Returns the scores, widened by the tolerance."""
        return scores - np.float32(tolerance), scores + np.float32(tolerance)


@dataclass(frozen=True, slots=True, eq=False)
class PykeenEmbedding:
    """A PyKEEN model of a graph, with the methods of `KnowledgeGraphEmbedding`.

    Attributes:
        model: PyKEEN's.
        recipe: how it was trained.
        triples: what it was trained on; some models cannot be built without.
        graph: fingerprint of the graph, if there was one.
        history: one entry an epoch.
    """

    model: Any
    recipe: EmbeddingRecipe
    triples: Int64[np.ndarray, "triple 3"]
    graph: str = ""
    history: tuple[Mapping[str, float], ...] = field(default=())

    @classmethod
    def of(cls, model: Any) -> Self:
        """Returns a model trained elsewhere, to be ranked or made a table. It cannot be saved here."""
        return cls(model, EmbeddingRecipe(engine="pykeen", model=type(model).__name__), np.empty((0, 3), np.int64))

    @property
    def entities(self) -> Float32[np.ndarray, "entity width"]:
        """The model's first representation of entities, flattened; complex numbers as pairs."""
        return _vectors(self.model, "entity_representations")

    @property
    def relations(self) -> Float32[np.ndarray, "relation width"]:
        """The model's first representation of relations, likewise."""
        return _vectors(self.model, "relation_representations")

    def scorer(self) -> Scorer:
        """Returns PyKEEN's own scores; for its TransE the equal but faster `ScreenedTransE`."""
        interaction: Any = getattr(self.model, "interaction", None)
        if type(interaction).__name__ == "TransEInteraction" and interaction.p in (1, 2) and not interaction.power_norm:
            return ScreenedTransE(TransE(interaction.p), self.entities, self.relations)
        return PykeenScorer(self.model)

    def table(self, graph: KnowledgeGraph) -> EntityTable:
        """Returns the vectors by name.

        Raises:
            InputError: the model was trained on another graph, or has no vectors.
        """
        entities, relations = self.entities, self.relations
        check_same_graph(graph, len(entities), int(self.model.num_real_relations), self.graph)
        return EntityTable.from_vectors(
            graph.entities,
            entities,
            facts={"model": self.recipe.model, "recipe": self.recipe.facts(), "graph": self.graph},
            relations=relations[: graph.relation_count],
            relation_names=graph.relation_names,
        )

    def save(self, folder: str | Path) -> None:
        """Writes weights, recipe and triples into `folder`, as `embedding.safetensors`.

        Raises:
            CheckpointError: it cannot be written, or the model was trained elsewhere.
        """
        if not len(self.triples):
            raise CheckpointError("A model made outside kelm cannot be saved here. Save it with PyKEEN, or its table.")
        facts = {
            "format": "kelm-embedding",
            "recipe": self.recipe.facts(),
            "graph": self.graph,
            "history": [dict(entry) for entry in self.history],
            "entity_count": int(self.model.num_entities),
            "relation_count": int(self.model.num_real_relations),
        }
        weights = {f"model.{name}": value.cpu() for name, value in self.model.state_dict().items()}
        triples = torch.from_numpy(self.triples.astype(np.int32))
        write_tensors(Path(folder) / FILE, {"triples": triples, **weights}, facts)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Returns the model in `folder`.

        Raises:
            CheckpointError: none is there, or its weights do not fit the model its recipe names.
        """
        path = Path(folder) / FILE
        tensors, facts = read_tensors(path)
        recipe = recipe_of(facts, path)
        if (
            recipe.engine != "pykeen"
            or not {"entity_count", "relation_count"} <= set(facts)
            or "triples" not in tensors
        ):
            raise CheckpointError(
                f"{path}: expected a PyKEEN model, found {recipe.engine}'s {recipe.model}. Embed again."
            )
        triples = as_triples(tensors["triples"].numpy(), facts["entity_count"], facts["relation_count"])
        model = untrained(recipe, factory_of(triples, facts["entity_count"], facts["relation_count"]))
        weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"{path}: the weights do not fit {recipe.model}: {error}. Embed again.") from error
        return cls(model.eval(), recipe, triples, str(facts["graph"]), tuple(facts["history"]))


def _vectors(model: Any, kind: str) -> Float32[np.ndarray, "row width"]:
    representations: Any = getattr(model, kind, ())
    if not len(representations):
        raise InputError(
            f"{type(model).__name__} has no {kind.replace('_', ' ')}", remedy="Choose a model that learns vectors."
        )
    with torch.no_grad():
        values: torch.Tensor = representations[0](None)
        values = torch.view_as_real(values) if values.is_complex() else values
    flat = values.detach().flatten(1).float().cpu()
    return np.ascontiguousarray(flat.numpy())


def factory_of(triples: Int64[np.ndarray, "triple 3"], entity_count: int, relation_count: int) -> Any:
    """Returns PyKEEN's form of triples."""
    from pykeen.triples import CoreTriplesFactory

    return CoreTriplesFactory(torch.from_numpy(triples), num_entities=entity_count, num_relations=relation_count)


def untrained(recipe: EmbeddingRecipe, factory: Any) -> Any:
    """Returns the model that a recipe names, before any training.

    Raises:
        RecipeError: PyKEEN has no such model, or it does not take these options.
    """
    from pykeen.losses import loss_resolver
    from pykeen.models import model_resolver

    name = model_resolver.normalize(recipe.model)
    if name not in model_resolver.lookup_dict:
        raise RecipeError(
            f'PyKEEN has no model "{recipe.model}"', field="model", remedy=closest(name, model_resolver.lookup_dict)
        )
    kind = model_resolver.lookup(recipe.model)
    loss, wanted = _LOSSES[recipe.loss]
    values = {"margin": recipe.margin, "adversarial_temperature": recipe.sharpness}
    arguments: dict[str, Any] = {
        "embedding_dim": recipe.width,
        "scoring_fct_norm": recipe.norm,
        "random_seed": recipe.seed,
        "loss": loss_resolver.make(loss, {key: values[key] for key in wanted}),
    }
    taken = inspect.signature(kind).parameters
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    passed = {key: value for key, value in arguments.items() if key in taken or (open_ended and key in _COMMON)}
    try:
        return model_resolver.make(kind, {**passed, **recipe.options}, triples_factory=factory)
    except (TypeError, ValueError, AttributeError) as error:
        raise RecipeError(
            f"{recipe.model} cannot be built: {error}",
            field="options",
            remedy="See the model's page in PyKEEN's manual.",
        ) from error
