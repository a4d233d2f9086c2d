"""Pictures of a trained embedding, as SVG files with a title and a description for those who cannot see them.

    training.svg     loss and validation MRR, by epochs and by seconds
    entities.svg     a map of the best connected entities, colored by type       (`kg.embeddings.entity_map`)
    relations.svg    which relation fits held-out triples best, by the true one  (`kg.embeddings.confusion`)

The numbers come from functions of their own. Equal numbers give equal bytes with the same version of matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from kelm.evaluation.drawing import COLORS, figure
from kg.embeddings.confusion import Confusion, relation_confusion
from kg.embeddings.entity_map import EntityMap, Projection, entity_map

if TYPE_CHECKING:
    from kg.embeddings.embedding import KnowledgeGraphEmbedding
    from kg.embeddings.pykeen import PykeenEmbedding
    from kg.graph import KnowledgeGraph

__all__ = ["Curve", "curve", "draw", "draw_confusion", "draw_curve", "draw_map"]

_OTHER = "#cfcfcf"
_LONGEST = 28  # characters of a name on an axis


class Curve(NamedTuple):
    """A quantity after some of the epochs."""

    epochs: Float64[np.ndarray, "point"]
    seconds: Float64[np.ndarray, "point"]
    values: Float64[np.ndarray, "point"]


def curve(history: Sequence[Mapping[str, float]], name: str) -> Curve:
    """Returns how a figure of an embedding's history went, from the epochs after which it was measured.

    >>> curve([{"epoch": 1, "seconds": 2.0, "loss": 3.0}, {"epoch": 2, "seconds": 4.5, "mrr": 0.5}], "mrr").seconds
    array([4.5])
    """
    rows = [(entry["epoch"], entry["seconds"], entry[name]) for entry in history if name in entry]
    return Curve(*np.array(rows, np.float64).reshape(-1, 3).T)


def draw(
    embedding: KnowledgeGraphEmbedding | PykeenEmbedding,
    graph: KnowledgeGraph,
    folder: str | Path,
    *,
    held_out: Any = None,
    projection: Projection = "pca",
    language: str = "en",
) -> list[Path]:
    """Draws all pictures that the embedding has numbers for.

    Args:
        graph: what was embedded.
        folder: where the pictures are written.
        held_out: a `KnowledgeGraph` of the same ids or an array `triple 3`; without it, or where it is empty,
            relations are not judged.
        projection, language: see `entity_map`.

    Raises:
        InputError: vectors and graph do not belong together, or the graph is too small for a map.
        MissingDependency: UMAP is asked for and not installed.
        CheckpointError: the folder cannot be written.
    """
    folder, paths = Path(folder), []
    if embedding.history:
        paths.append(draw_curve(embedding.history, folder / "training.svg"))
    found = entity_map(embedding.entities, graph, projection=projection, language=language)
    paths.append(draw_map(found, folder / "entities.svg"))
    if held_out is not None and len(held_out):
        judged = relation_confusion(embedding, held_out, known=graph)
        names = [graph.relation_label(one, language) or graph.relation_names[one] for one in judged.relations.tolist()]
        paths.append(draw_confusion(judged, names, folder / "relations.svg"))
    return paths


def draw_curve(history: Sequence[Mapping[str, float]], path: Path) -> Path:
    """Draws loss, and MRR where it was measured, by epochs and by seconds."""
    parts = [("loss", "loss of a question", COLORS[1]), ("mrr", "validation MRR", COLORS[0])]
    lines = [(curve(history, name), label, color) for name, label, color in parts]
    lines = [line for line in lines if len(line[0].values)]
    told = "; ".join(
        f"{label} from {line.values[0]:.3g} to {line.values[-1]:.3g} in {line.epochs[-1]:.0f} epochs"
        for line, label, _ in lines
    )
    with figure(path, "Training", told, (7.5, 2.3 * len(lines) + 0.4)) as drawn:
        axes = drawn.subplots(len(lines), 2, squeeze=False, sharey="row", sharex="col")
        for row, (line, label, color) in zip(axes, lines, strict=True):
            row[0].plot(line.epochs, line.values, color=color, marker=".")
            row[1].plot(line.seconds, line.values, color=color, marker=".")
            row[0].set_ylabel(label)
            for one in row:
                one.grid(alpha=0.3)
        axes[-1, 0].set_xlabel("epochs")
        axes[-1, 1].set_xlabel("seconds")
    return path


def draw_map(found: EntityMap, path: Path) -> Path:
    """Draws the map; a point whose type has no color of its own is gray."""
    legend = ", ".join(f"{name} ({count:,})" for name, count in found.legend) or "no types"
    told = f"{len(found.entities):,} entities by type: {legend}. Labeled: {', '.join(found.labels)}"
    with figure(path, "Map of entities", told, (7.5, 6.5)) as drawn:
        axes = drawn.subplots()
        for kind in range(-1, len(found.legend)):
            points = found.points[found.kinds == kind]
            color = _OTHER if kind < 0 else COLORS[kind % len(COLORS)]
            name, count = ("other", len(points)) if kind < 0 else found.legend[kind]
            if len(points):  # as an image: thousands of marks would be a large file
                how = {"s": 9, "color": color, "linewidths": 0, "alpha": 0.75, "rasterized": True}
                axes.scatter(*points.T, label=f"{_short(name)} ({count:,})", **how)
        for place, label in zip(found.labeled.tolist(), found.labels, strict=True):
            axes.annotate(_short(label), found.points[place], (2, 2), textcoords="offset points", fontsize=7)
        if found.explained is not None:
            for axis, share in zip((axes.set_xlabel, axes.set_ylabel), found.explained, strict=True):
                axis(f"{share:.0%} of the variance")
        axes.set_xticks([])
        axes.set_yticks([])
        if found.legend:
            axes.legend(fontsize=7, markerscale=2, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return path


def draw_confusion(found: Confusion, names: Sequence[str], path: Path) -> Path:
    """Draws the shares as a heat map; `names` are those of `found.relations`."""
    shares, size = found.shares, len(names)
    own = [f"{name} {shares[row, row]:.0%}" for row, name in enumerate(names)]
    told = f"Share of the triples whose own relation fits best: {', '.join(own)}"
    title, area = "Which relation fits held-out triples best?", (3.2 + 0.36 * size, 2.4 + 0.3 * size)
    with figure(path, title, told, area) as drawn:
        axes = drawn.subplots()
        image = axes.imshow(shares, cmap="Greens", vmin=0, vmax=1, aspect="auto")
        rows = [f"{_short(name)} ({count:,.0f})" for name, count in zip(names, found.counts.sum(1), strict=True)]
        axes.set_xticks(range(size + 1), [*map(_short, names), "any other"], rotation=90, fontsize=7)
        axes.set_yticks(range(size), rows, fontsize=7)
        axes.set_xlabel("best relation")
        axes.set_ylabel("true relation (triples)")
        for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
            share = float(shares[row, column])
            color = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=color)
        drawn.colorbar(image, label="share of the row's triples")
    return path


def _short(name: str) -> str:
    """Returns the name, cut where it is long; matplotlib shall take it for no formula and for no hidden label."""
    name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return name.replace("$", r"\$").replace("_", "\N{NO-BREAK SPACE}_", name.startswith("_"))
