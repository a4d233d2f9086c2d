"""A graph's entities as points of a plane: the best connected ones, by type, where their vectors lie.

    X (entity × width), centered  =  U S Vᵀ        principal components (Pearson, 1901):  points = X V[:, :2]

UMAP (McInnes et al., 2018) keeps neighborhoods instead of distances; it needs the package `umap-learn`. Vectors of
complex numbers are taken as they are stored, as twice as many real ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
from jaxtyping import Float, Float64, Int64

from kelm.errors import InputError, MissingDependency, closest

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph

__all__ = [
    "EntityMap",
    "Projection",
    "check_projection",
    "entity_map",
    "kinds_of",
    "principal_components",
    "spread_out",
]

Projection = Literal["pca", "umap"]
OTHER = -1
_APART = (0.14, 0.03)  # of the map's width and height: what a label takes


@dataclass(frozen=True, slots=True, eq=False)
class EntityMap:
    """Points with colors and labels.

    Attributes:
        entities: ids, the best connected first.
        points: where they lie.
        kinds: each point's place in `legend`, or -1.
        legend: names of the most frequent types and the number of entities on the map that count as each.
        labeled: which points to label, as places in `entities`.
        labels: what to write there.
        explained: share of the variance that each axis keeps; None for UMAP, whose axes mean nothing.
    """

    entities: Int64[np.ndarray, "point"]
    points: Float64[np.ndarray, "point 2"]
    kinds: Int64[np.ndarray, "point"]
    legend: tuple[tuple[str, int], ...]
    labeled: Int64[np.ndarray, "label"]
    labels: tuple[str, ...]
    explained: tuple[float, float] | None


def entity_map(
    vectors: Float[np.ndarray, "entity width"],
    graph: KnowledgeGraph,
    *,
    projection: Projection = "pca",
    most: int = 2000,
    types: int = 9,
    labels: int = 25,
    language: str = "en",
    seed: int = 0,
) -> EntityMap:
    """Returns the map of the entities that are in most triples.

    Args:
        vectors: one an entity of `graph`, two numbers or more.
        projection: principal components, or UMAP if `umap-learn` is installed.
        most: points at most.
        types: types with a color of their own at most.
        labels: labels at most; one that would lie on another is left out.
        language: of the labels of entities and types; names where there is none.
        seed: of UMAP.

    Raises:
        InputError: vectors and graph differ in number, width 1, or fewer than 3 entities in triples.
        MissingDependency: UMAP is not installed.

    Cost: points × width² for principal components.
    """
    check_projection(projection)
    degrees = np.diff(graph.leaving.offsets) + np.diff(graph.reaching.offsets)
    if len(vectors) != len(degrees) or vectors.shape[1] < 2 or np.count_nonzero(degrees) < 3:
        raise InputError(
            f"expected a vector of width 2 or more for each of {len(degrees)} entities, 3 of them in triples, found "
            f"shape {vectors.shape} and {np.count_nonzero(degrees)} entities in triples",
            field="vectors",
            remedy="Pass the vectors of this graph.",
        )
    chosen = np.argsort(-degrees, kind="stable")[: min(most, np.count_nonzero(degrees))].astype(np.int64)
    points, explained = _plane(vectors[chosen].astype(np.float64), projection, seed)
    shown, kinds = kinds_of(graph, chosen, types)
    names = (graph.type_label(kind, language) or graph.types.names[kind] for kind in shown.tolist())
    labeled = spread_out(points, labels)
    return EntityMap(
        chosen,
        points,
        kinds,
        tuple(zip(names, np.bincount(kinds[kinds >= 0], minlength=len(shown)).tolist(), strict=True)),
        labeled,
        tuple(graph.label(entity, language) or graph.entities[entity] for entity in chosen[labeled].tolist()),
        explained,
    )


def check_projection(projection: str) -> Projection:
    """Returns a projection that can be had here: it is asked before a long training, not after it.

    Raises:
        InputError: no projection has this name.
        MissingDependency: UMAP is not installed.
    """
    if projection not in get_args(Projection):
        known = get_args(Projection)
        raise InputError(f'no projection is "{projection}"', field="projection", remedy=closest(projection, known))
    if projection == "umap" and find_spec("umap") is None:
        raise MissingDependency("UMAP needs a package. Run: pip install umap-learn")
    return cast(Projection, projection)


def _plane(
    vectors: Float64[np.ndarray, "point width"], projection: Projection, seed: int
) -> tuple[Float64[np.ndarray, "point 2"], tuple[float, float] | None]:
    if projection == "pca":
        return principal_components(vectors)
    import umap

    reducer: Any = umap.UMAP(n_neighbors=min(15, len(vectors) - 1), random_state=seed, n_jobs=1)
    return reducer.fit_transform(vectors).astype(np.float64), None


def principal_components(
    vectors: Float64[np.ndarray, "point width"],
) -> tuple[Float64[np.ndarray, "point 2"], tuple[float, float]]:
    """Returns the points along the two directions of most variance, and the shares of the variance they keep.

    A direction's sign is free: its largest number is made positive.

    >>> points, explained = principal_components(np.array([[0.0, 0.0], [3.0, 3.0], [6.0, 6.0]]))
    >>> points[:, 0].round(3).tolist(), round(explained[0], 3)
    ([-4.243, 0.0, 4.243], 1.0)
    """
    centered = vectors - vectors.mean(0)
    variances, directions = np.linalg.eigh(centered.T @ centered)  # ascending
    first = directions[:, [-1, -2]]
    first = first * np.where(first[np.abs(first).argmax(0), [0, 1]] < 0, -1.0, 1.0)
    total = float(variances.sum()) or 1.0
    return centered @ first, (float(variances[-1]) / total, float(variances[-2]) / total)


def kinds_of(
    graph: KnowledgeGraph, entities: Int64[np.ndarray, "point"], most: int
) -> tuple[Int64[np.ndarray, "kind"], Int64[np.ndarray, "point"]]:
    """Returns the most frequent types of these entities, and which of them, or -1, each entity counts as.

    Of several it is the rarest: where all entities are things, a city counts as a city.
    """
    owned = [graph.types.of(entity) for entity in entities.tolist()]
    counts = np.bincount(np.concatenate(owned).astype(np.int64), minlength=len(graph.types.names))
    shown = np.argsort(-counts, kind="stable")[: min(most, np.count_nonzero(counts))]
    places = np.full(len(counts) + 1, OTHER)
    places[shown] = np.arange(len(shown))  # descending frequency: of several the last place is the rarest
    kinds = [int(places[own].max(initial=OTHER)) for own in owned]
    return shown, np.array(kinds, np.int64)


def spread_out(points: Float64[np.ndarray, "point 2"], most: int) -> Int64[np.ndarray, "label"]:
    """Returns which points to label: in order, leaving out any that lies too close to one before."""
    extent = points.max(0) - points.min(0)
    scaled = points / (np.where(extent > 0, extent, 1) * _APART)
    chosen: list[int] = []
    for number, point in enumerate(scaled):
        if len(chosen) == most:
            break
        if not chosen or np.abs(scaled[chosen] - point).max(1).min() >= 1:
            chosen.append(number)
    return np.array(chosen, np.int64)
