"""`graph-tsv`: a table of triples to a graph that can be asked for neighbors, against PyKEEN.

    ours    kg.io.tsv.read: distinct triples, vocabularies, neighbors both ways
    peer    TriplesFactory.from_path: distinct triples, vocabularies

The triples are those of `graph-load`'s file, by short names. Afterwards both must hold the same names and triples.
"""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.graph_load import popular
from benchmarks.measure import Row, compare
from kg.graph import KnowledgeGraph
from kg.io import tsv

__all__ = ["NAME", "rows", "triples"]

NAME = "graph-tsv"


def triples(*, seed: int = 0) -> Iterator[str]:
    """Yields lines of a table, head by head, without end and without a repetition."""
    chance, number = random.Random(seed), 0
    while True:
        number += 1
        said = {(popular(chance, 700), popular(chance, 200_000)) for _ in range(chance.randint(2, 10))}
        for relation, tail in sorted(said):
            yield f"Q{number}\tP{relation}\tQ{tail}\n"


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns one row: seconds from file to graph.

    Args:
        name: as every benchmark takes it; there is one name.
        quick: 20,000 triples instead of a million.
    """
    logging.getLogger("pykeen").setLevel(logging.ERROR)
    size = 20_000 if quick else 1_000_000
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.tsv"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(islice(triples(), size))

        def run_ours() -> None:
            found["ours"] = ours(path)

        def run_peer() -> None:
            found["peer"] = peer(path)

        comparison = compare(run_ours, run_peer, repeats=1 if quick else 5)
    graph, factory = found["ours"], found["peer"]
    if set(graph.names()) != set(map(tuple, factory.label_triples(factory.mapped_triples).tolist())):
        raise RuntimeError("the two graphs differ.")
    setting = f"{size:,} triples, {graph.entity_count:,} entities"
    return [comparison.row(NAME, f"PyKEEN {version('pykeen')} TriplesFactory", setting=setting)]


def ours(path: Path) -> KnowledgeGraph:
    """Returns our graph, with neighbors in both directions indexed."""
    graph = tsv.read(path)
    graph.neighbors(0), graph.incoming(0)
    return graph


def peer(path: Path) -> Any:
    """Returns PyKEEN's factory."""
    from pykeen.triples import TriplesFactory

    return TriplesFactory.from_path(path)
