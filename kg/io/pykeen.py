"""PyKEEN's triples factories, both ways, and its data sets by name.

    read(factory)      read(Nations())     read("pykeen:nations")      kelm graph embed pykeen:nations --out vectors

Ids stay the same; PyKEEN has no place for labels and types. Its numeric literals become attributes, save zeros: PyKEEN
writes one wherever there is no number. Nations, UMLS and Kinships come with PyKEEN; the others it
fetches from the network when first asked, into a folder of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kelm.errors import FormatError, UnknownName, closest
from kg.graph import GraphBuilder, KnowledgeGraph, Report

if TYPE_CHECKING:
    from pykeen.datasets import Dataset
    from pykeen.triples import CoreTriplesFactory, TriplesFactory

__all__ = ["PREFIX", "feed", "feed_dataset", "from_pykeen", "parts", "to_pykeen"]

PREFIX = "pykeen:"
_DOUBLE = "http://www.w3.org/2001/XMLSchema#double"
_PARTS = {"train": "training", "valid": "validation", "test": "testing"}


def to_pykeen(graph: KnowledgeGraph) -> TriplesFactory:
    """Returns the triples as a `TriplesFactory` with the graph's ids. Labels, types and attributes stay behind."""
    from pykeen.triples import TriplesFactory

    return TriplesFactory(
        mapped_triples=graph.triples().astype(np.int64),
        entity_to_id={name: number for number, name in enumerate(graph.entities)},
        relation_to_id={name: number for number, name in enumerate(graph.relation_names)},
    )


def from_pykeen(factory: CoreTriplesFactory) -> KnowledgeGraph:
    """Returns the graph of a `TriplesFactory`, with its ids. Inverse triples that it would create are left out.

    A `CoreTriplesFactory` has no names: its entities and relations are called by their numbers, "0", "1" ...
    """
    builder = GraphBuilder()
    entities = _names(factory, "entity_to_id", factory.num_entities)
    for name in entities:
        builder.entity(name)
    for name in _names(factory, "relation_to_id", factory.real_num_relations):
        builder.relation(name)
    for property, column in getattr(factory, "literals_to_id", {}).items():
        for entity, value in enumerate(factory.numeric_literals[:, column].tolist()):  # type: ignore[attr-defined]
            if value:
                builder.attribute(entities[entity], property, repr(value), datatype=_DOUBLE)
    return builder.build().with_triples(factory.mapped_triples.numpy())


def _names(factory: CoreTriplesFactory, mapping: str, count: int) -> list[str]:
    numbers: dict[str, int] = getattr(factory, mapping, None) or {str(number): number for number in range(count)}
    return sorted(numbers, key=numbers.__getitem__)


def feed(builder: GraphBuilder, source: Any) -> Report:
    """Adds a factory, or all parts of a data set, to `builder`.

    Raises:
        FormatError: it is something else of PyKEEN's.
    """
    from pykeen.datasets import Dataset
    from pykeen.triples import CoreTriplesFactory

    name = type(source).__name__
    if isinstance(source, CoreTriplesFactory):
        graphs = [from_pykeen(source)]
    elif isinstance(source, Dataset):
        graphs = list(_parts_of(source).values())
    else:
        raise FormatError(f"{name} holds no triples", path="PyKEEN", remedy="Give a data set or a triples factory.")
    for graph in graphs:
        builder.graph(graph)
    triples, attributes = sum(map(len, graphs)), sum(len(graph.attributes) for graph in graphs)
    report = Report(f"PyKEEN's {name}", "pykeen", lines=triples, triples=triples, attributes=attributes)
    builder.reports.append(report)
    return report


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
        return _parts_of(dataset_resolver.make(name))
    except Exception as error:  # whatever a download or the libraries that it needs may raise
        remedy = "It is fetched when first used: check the network, or the package that it asks for."
        raise FormatError(
            f"PyKEEN cannot load it ({type(error).__name__}: {error})", path=source, remedy=remedy
        ) from error


def _parts_of(dataset: Dataset) -> dict[str, KnowledgeGraph]:
    factories = {part: getattr(dataset, of_theirs) for part, of_theirs in _PARTS.items()}
    return {part: from_pykeen(factory) for part, factory in factories.items() if factory is not None}


def feed_dataset(builder: GraphBuilder, source: str) -> list[Report]:
    """Adds all parts of a data set to `builder`; errors as `parts`. Returns a report a part."""
    reports = []
    for part, graph in parts(source).items():
        builder.graph(graph)
        reports.append(Report(f"{source} ({part})", "pykeen", lines=len(graph), triples=len(graph)))
    builder.reports.extend(reports)
    return reports
