"""PyKEEN's triples factories, both ways, and its data sets by name.

    read(factory)      read("pykeen:nations")      kelm graph embed pykeen:nations --out vectors

Ids stay the same; PyKEEN has no place for labels and types. Nations, UMLS and Kinships come with PyKEEN; the others it
fetches from the network when first asked, into a folder of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kelm.errors import FormatError, UnknownName, closest
from kg.graph import GraphBuilder, KnowledgeGraph, Report

if TYPE_CHECKING:
    from pykeen.triples import TriplesFactory

__all__ = ["PREFIX", "feed_dataset", "from_pykeen", "parts", "to_pykeen"]

PREFIX = "pykeen:"
_PARTS = {"train": "training", "valid": "validation", "test": "testing"}


def to_pykeen(graph: KnowledgeGraph) -> TriplesFactory:
    """Returns the triples as a `TriplesFactory` with the graph's ids. Labels, types and attributes stay behind."""
    from pykeen.triples import TriplesFactory

    return TriplesFactory(
        mapped_triples=graph.triples().astype(np.int64),
        entity_to_id={name: number for number, name in enumerate(graph.entities)},
        relation_to_id={name: number for number, name in enumerate(graph.relation_names)},
    )


def from_pykeen(factory: TriplesFactory) -> KnowledgeGraph:
    """Returns the graph of a `TriplesFactory`, with its ids. Inverse triples that it would create are left out."""
    builder = GraphBuilder()
    for name, _ in sorted(factory.entity_to_id.items(), key=lambda item: item[1]):
        builder.entity(name)
    for name, _ in sorted(factory.relation_to_id.items(), key=lambda item: item[1]):
        builder.relation(name)
    return builder.build().with_triples(factory.mapped_triples.numpy())


def parts(source: str) -> dict[str, KnowledgeGraph]:
    """Returns "train", "valid" and "test" of the data set "pykeen:NAME"; without "valid" if it has none. Ids agree.

    Raises:
        UnknownName: PyKEEN has no such data set.
        FormatError: it cannot be loaded, for want of the network for instance.
    """
    from pykeen.datasets import dataset_resolver

    name = source.removeprefix(PREFIX)
    known = dataset_resolver.lookup_dict
    if dataset_resolver.normalize(name) not in known:
        raise UnknownName(f'PyKEEN has no data set called "{name}"', remedy=closest(name, sorted(known)))
    try:
        dataset = dataset_resolver.make(name)
        factories = {part: getattr(dataset, of_theirs) for part, of_theirs in _PARTS.items()}
    except Exception as error:  # whatever a download or the libraries that it needs may raise
        remedy = "It is fetched when first used: check the network, or the package that it asks for."
        raise FormatError(
            f"PyKEEN cannot load it ({type(error).__name__}: {error})", path=source, remedy=remedy
        ) from error
    return {part: from_pykeen(factory) for part, factory in factories.items() if factory is not None}


def feed_dataset(builder: GraphBuilder, source: str) -> list[Report]:
    """Adds all parts of a data set to `builder`; errors as `parts`. Returns a report a part."""
    reports = []
    for part, graph in parts(source).items():
        builder.graph(graph)
        reports.append(Report(f"{source} ({part})", "pykeen", lines=len(graph), triples=len(graph)))
    builder.reports.extend(reports)
    return reports
