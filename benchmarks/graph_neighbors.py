"""`graph-neighbors`: relations and neighbors of entities in both directions, and memory, against networkx.

    ours    KnowledgeGraph.neighbors and incoming: ids in compressed sparse rows
    peer    networkx.MultiDiGraph: out_edges and in_edges with keys; the relation is the key

The triples are those of `graph-tsv`. Entities are asked at random, and as the ends of random triples (hubs as often as
they occur); a unit is a triple seen. Ours gives arrays of ids, the peer lists of names. Memory counts what holds the
triples, without the names: our columns and both indexes by their sizes, networkx by what Python allocates for it while
the names are there already.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from importlib.metadata import version
from itertools import islice

import networkx

from benchmarks.graph_tsv import triples
from benchmarks.measure import Comparison, Row, compare
from kg.graph import KnowledgeGraph

__all__ = ["NAME", "rows"]

NAME = "graph-neighbors"


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns two rows: triples seen a second, and bytes a triple.

    Args:
        name: as every benchmark takes it; there is one name.
        quick: 20,000 triples instead of half a million.
    """
    size = 20_000 if quick else 500_000
    graph = KnowledgeGraph.from_triples(
        (head, relation, tail) for head, relation, tail in (line.split() for line in islice(triples(), size))
    )
    held = _held(graph)
    names, relations = list(graph.entities), list(graph.relation_names)
    ends = graph.heads.tolist(), graph.relations.tolist(), graph.tails.tolist()
    gc.collect()
    tracemalloc.start()
    theirs: networkx.MultiDiGraph[str] = networkx.MultiDiGraph()
    theirs.add_edges_from(
        (names[head], names[tail], relations[relation]) for head, relation, tail in zip(*ends, strict=True)
    )
    gc.collect()
    their_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    setting, peer = f"{size:,} triples, {graph.entity_count:,} entities", f"networkx {version('networkx')}"
    chance = random.Random(0)
    asked = {
        "entities at random": chance.choices(range(graph.entity_count), k=size // 10),
        "ends of random triples": [chance.choice(ends[chance.choice((0, 2))]) for _ in range(size // 50)],
    }
    found = [
        _times(graph, theirs, entities).row(NAME, peer, unit="triples/s", setting=f"{setting}, {which}")
        for which, entities in asked.items()
    ]
    ratio = their_bytes / held
    memory: Row = {
        "benchmark": NAME,
        "ours": round(held / size, 2),
        "peer": round(their_bytes / size, 2),
        "peer_name": peer,
        "unit": "bytes/triple",
        "ratio": round(ratio, 2),
        "ratio_interval": [round(ratio, 2)] * 2,  # counted, not timed
        "setting": f"{setting}, memory beside the names",
    }
    return [*found, memory]


def _times(graph: KnowledgeGraph, theirs: networkx.MultiDiGraph[str], entities: list[int]) -> Comparison:
    names = [graph.entities[entity] for entity in entities]

    def run_ours() -> float:
        return sum(len(graph.neighbors(entity)[1]) + len(graph.incoming(entity)[1]) for entity in entities)

    def run_peer() -> float:
        return sum(
            len([(relation, tail) for _, tail, relation in theirs.out_edges(name, keys=True)])
            + len([(relation, head) for head, _, relation in theirs.in_edges(name, keys=True)])
            for name in names
        )

    if run_ours() != run_peer():
        raise RuntimeError("the two graphs differ in their neighbors.")
    return compare(run_ours, run_peer, memory=False)


def _held(graph: KnowledgeGraph) -> int:
    """Returns the bytes of the triples and of both indexes."""
    indexes = (column for side in (graph.leaving, graph.reaching) for column in (side.offsets, side.order))
    return sum(column.nbytes for column in (graph.heads, graph.relations, graph.tails, *indexes))
