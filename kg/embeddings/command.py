"""What `kelm graph embed` and `kelm graph evaluate` do, without the terminal.

FOLDER/embedding.safetensors    the model: trains no further, ranks
FOLDER/table/                   the vectors by name: what text models read
FOLDER/pictures/                training, entities, relations: see `kg.embeddings.pictures`
FOLDER/training.safetensors     where a run stands that is trained by autograd, until it is done
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Int64

from kelm.errors import InputError, UnknownName
from kg.embeddings.answers import SIDES, Side
from kg.embeddings.breakdown import cardinalities, intervals, metrics_by_cardinality, metrics_by_relation
from kg.embeddings.classification import classify
from kg.embeddings.embedding import FILE, KnowledgeGraphEmbedding, check_same_graph, read_tensors, recipe_of
from kg.embeddings.entity_map import Projection, check_projection
from kg.embeddings.pictures import draw
from kg.embeddings.processes import Processes
from kg.embeddings.progress import Progress, TrainingInterrupted
from kg.embeddings.pykeen import PykeenEmbedding
from kg.embeddings.ranking import Ties, metrics, ranks
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.train import train

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph

__all__ = [
    "PICTURES",
    "STATE",
    "TABLE",
    "By",
    "classified",
    "embed",
    "evaluate",
    "named_triples",
    "open_embedding",
    "save",
]

By = Literal["relation", "cardinality"]

TABLE = "table"
STATE = "training.safetensors"
PICTURES = "pictures"


def embed(
    graph: KnowledgeGraph,
    folder: str | Path,
    recipe: EmbeddingRecipe | None = None,
    *,
    validation: KnowledgeGraph | None = None,
    progress: Callable[[Progress], None] | None = None,
    resume: bool = False,
    pictures: Projection | None = None,
) -> KnowledgeGraphEmbedding | PykeenEmbedding:
    """Trains vectors of `graph` and writes model and table to `folder`; on Ctrl-C what was learned is written too.

    Of several processes that train together (`kg.embeddings.processes`) the first one writes.

    Args:
        validation: a graph of held-out triples over the same names; those with a name that `graph` lacks are left out.
        resume: go on with a run that was killed, from the state it left in `folder`.
        pictures: draw pictures too, with a map of the entities by this projection.

    Raises:
        as `kg.embeddings.train.train`, and CheckpointError when the folder cannot be written; for pictures as
        `kg.embeddings.pictures.draw`.
    """
    if pictures is not None:
        check_projection(pictures)
    checked = None if validation is None else named_triples(validation, graph)
    state = Path(folder) / STATE
    try:
        embedding: KnowledgeGraphEmbedding | PykeenEmbedding = train(
            graph, recipe, validation=checked, progress=progress, checkpoint=state, resume=resume
        )
    except TrainingInterrupted as interrupt:
        if Processes.started().is_first:
            save(interrupt.embedding, graph, folder)
        raise
    if not Processes.started().is_first:
        return embedding
    save(embedding, graph, folder)
    state.unlink(missing_ok=True)
    if pictures is not None:
        draw(embedding, graph, Path(folder) / PICTURES, held_out=checked, projection=pictures)
    return embedding


def save(embedding: KnowledgeGraphEmbedding | PykeenEmbedding, graph: KnowledgeGraph, folder: str | Path) -> None:
    """Writes model and table to `folder`."""
    embedding.save(folder)
    embedding.table(graph).save(Path(folder) / TABLE)


def open_embedding(folder: str | Path) -> KnowledgeGraphEmbedding | PykeenEmbedding:
    """Returns the embedding that either engine wrote to `folder`.

    Raises:
        CheckpointError: none is there, or it is damaged.
    """
    _, facts = read_tensors(Path(folder) / FILE)
    kind = PykeenEmbedding if recipe_of(facts, Path(folder) / FILE).engine == "pykeen" else KnowledgeGraphEmbedding
    return kind.open(folder)


def evaluate(
    embedding: KnowledgeGraphEmbedding | PykeenEmbedding,
    graph: KnowledgeGraph,
    test: KnowledgeGraph,
    *,
    known: Sequence[KnowledgeGraph] = (),
    filtered: bool = True,
    ties: Ties = "realistic",
    at: Sequence[int] = (1, 3, 10),
    by: Sequence[By] = (),
) -> dict[str, Any]:
    """Ranks the triples of `test` and returns the figures of both sides and of each.

    Args:
        graph: what was embedded; its triples are part of the filter.
        test: held-out triples, matched by name; those with a name that `graph` lacks are left out and counted.
        known: further graphs of known triples for the filter, such as the validation split.
        by: tell the figures by relation ("relation"), by its cardinality in `graph` ("cardinality"), or by both.

    Returns:
        `{"both": {...}, "head": {...}, "tail": {...}, "triples": n, "left_out": n, "intervals": {...}}`, see `metrics`
        and `kg.embeddings.breakdown.intervals` (of both sides, 1,000 draws, seed 0); with `by` also
        `"relation": {name: {...}}` and `"cardinality": {"1-N": {"all": {...}, "head": {...}, "tail": {...}}, ...}`.

    Raises:
        InputError: the embedding was trained on another graph, or no test triple has known names.
    """
    check_same_graph(graph, len(embedding.entities), graph.relation_count, embedding.graph)
    judged = named_triples(test, graph)
    if not len(judged):
        raise InputError(
            f"none of the {len(test)} test triples has names of the embedded graph",
            remedy="Check that both were read with the same identifiers.",
        )
    learned = graph.triples().astype(np.int64)
    more = [learned, *(named_triples(other, graph) for other in known)]
    found = ranks(embedding, judged, filter=np.concatenate(more) if filtered else None, ties=ties)
    sides: list[Side | None] = [None, *SIDES]
    figures: dict[str, Any] = {
        **{side or "both": metrics(found, side=side, at=at) for side in sides},
        "triples": len(judged),
        "left_out": len(test) - len(judged),
        "intervals": intervals(found, np.random.default_rng(0), at=at),
    }
    if "relation" in by:
        names = list(graph.relation_names)
        figures["relation"] = {names[id]: one for id, one in metrics_by_relation(found, judged, at=at).items()}
    if "cardinality" in by:
        classes = cardinalities(learned, graph.relation_count)
        figures["cardinality"] = metrics_by_cardinality(found, judged, classes, at=at)
    return figures


def classified(
    embedding: KnowledgeGraphEmbedding | PykeenEmbedding,
    graph: KnowledgeGraph,
    valid: tuple[KnowledgeGraph, KnowledgeGraph],
    test: tuple[KnowledgeGraph, KnowledgeGraph],
) -> dict[str, float]:
    """Tells true triples from false ones; returns the figures of `kg.embeddings.classification.classify`, and how many
    triples had a name that the graph lacks.

    Args:
        valid: true and false triples that tune the thresholds, matched by name.
        test: those that are judged.

    Raises:
        InputError: the embedding was trained on another graph, or one of the parts has no triple with known names.
    """
    check_same_graph(graph, len(embedding.entities), graph.relation_count, embedding.graph)
    parts = {
        name: (part, named_triples(part, graph))
        for name, part in zip(("valid", "valid negatives", "test", "test negatives"), (*valid, *test), strict=True)
    }
    for name, (part, known) in parts.items():
        if not len(known):
            raise InputError(
                f"none of the {len(part)} triples of {name} has names of the embedded graph",
                remedy="Check that all were read with the same identifiers.",
            )
    left_out = sum(len(part) - len(known) for part, known in parts.values())
    return {**classify(embedding, *(known for _, known in parts.values())), "left_out": left_out}


def named_triples(
    source: KnowledgeGraph, graph: KnowledgeGraph, *, strict: bool = False
) -> Int64[np.ndarray, "triple 3"]:
    """Returns the triples of `source` with the ids that `graph` gives to their names.

    Args:
        strict: raise for a name that `graph` lacks, instead of leaving its triples out.

    Raises:
        UnknownName: with `strict`.
    """
    entities = graph.entities.ids(list(source.entities))
    relations = graph.relation_names.ids(list(source.relation_names))
    columns = (entities[source.heads], relations[source.relations], entities[source.tails])
    triples = np.stack(columns, axis=1).astype(np.int64)
    fits = (triples >= 0).all(1)
    if strict and not fits.all():
        row = int(np.argmin(fits))
        names = next(name for number, name in enumerate(source.names()) if number == row)
        raise UnknownName(
            f"triple {row} ({' '.join(names)}) has a name that the embedded graph lacks",
            remedy="Leave it out, or embed a graph that has it.",
        )
    return triples[fits]
