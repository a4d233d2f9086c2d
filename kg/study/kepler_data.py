"""KEPLER's study: a benchmark's graph with what is said of its entities, and triples whose entities are new.

train.txt ... + entities + relations   -->  graph      some entities held out  -->  triples to learn from, and to ask
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from jaxtyping import Int64

from kelm.data.files import lines, required
from kelm.errors import InputError
from kg.embeddings.command import named_triples
from kg.graph import GraphBuilder, KnowledgeGraph

__all__ = ["SETTINGS", "Parted", "described_graph", "parted"]

SETTINGS = ("transductive", "inductive")


@dataclass(frozen=True, slots=True)
class Parted:
    """Triples by use (ids of the whole graph): to learn from, and to be asked, by setting."""

    learned: Int64[np.ndarray, "triple 3"]
    asked: Mapping[str, Int64[np.ndarray, "triple 3"]]


def parted(
    graph: KnowledgeGraph,
    train: Int64[np.ndarray, "triple 3"],
    test: Int64[np.ndarray, "triple 3"],
    share: float,
    judged: int,
) -> Parted:
    """Returns the triples without held-out entities to learn from; of all others those that are asked.

    Entities are held out by a hash of their names. An inductive triple has one, and may come from the training triples,
    as nothing is learned from it; a transductive one is a test triple between entities that are seen.
    """
    unseen = np.array([crc32(str(name).encode()) % 1000 < share * 1000 for name in graph.entities], bool)
    new, old = (unseen[some[:, 0]] | unseen[some[:, 2]] for some in (train, test))
    learned = train[~new]
    seen = np.zeros(graph.entity_count, bool)
    seen[learned[:, [0, 2]]] = True
    apart = np.concatenate((test[old], train[new]))
    between = test[seen[test[:, 0]] & seen[test[:, 2]]]
    random = np.random.default_rng(0)
    asked = {
        setting: some[np.sort(random.permutation(len(some))[:judged])]
        for setting, some in zip(SETTINGS, (between, apart), strict=True)
    }
    return Parted(learned, asked)


def described_graph(
    folder: Path, entities: str, relations: str, *, frequent: int | None = None
) -> tuple[KnowledgeGraph, Mapping[str, Int64[np.ndarray, "triple 3"]]]:
    """Returns the graph of a folder with its texts, and the triples (ids) of each part.

    Args:
        entities: JSON lines with "mid", "label" and "description" (FB15k-237's), or "id, text" between tabs, of which
            what stands before the first comma is the name (KG-BERT's).
        relations: "id, text" between tabs.
        frequent: keep so many entities, those with most training triples, and what is said between them.
    """
    from kg.io import splits

    parts = splits.read(folder)
    if parts is None or parts.valid is None or parts.test is None:
        raise InputError("the folder has no train, valid and test", path=folder, remedy="Name one that has all three.")
    read = {"train": parts.train, "valid": parts.valid, "test": parts.test}
    if frequent is not None:
        read = _between_frequent(read, frequent)
    builder = GraphBuilder()
    for part in read.values():
        builder.graph(part)
    known = {str(name) for part in read.values() for head, _, tail in part.names() for name in (head, tail)}
    relations_known = {str(name) for part in read.values() for name in part.relation_names}
    for name, label, description in _described(required(folder, entities)):
        if name not in known:
            continue
        builder.label_any(name, "en", label, preferred=True)
        if description:
            builder.attribute(name, "description", description, language="en")
    for _, line in lines(required(folder, relations)):
        name, _, text = line.partition("\t")
        if name in relations_known:
            builder.label_any(name, "en", text.strip(), preferred=True)
    graph = builder.build()
    return graph, {name: named_triples(part, graph, strict=True) for name, part in read.items()}


def _described(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yields each entity's id, name and description; see `described_graph`."""
    for _, line in lines(path):
        if ".jsonl" in path.suffixes:
            record = json.loads(line)
            yield record["mid"], record["label"] or record["mid"], record["description"] or ""
        else:
            name, _, text = line.partition("\t")
            label, _, description = text.partition(",")
            yield name, label.strip(), description.strip()


def _between_frequent(parts: Mapping[str, KnowledgeGraph], count: int) -> dict[str, KnowledgeGraph]:
    degrees = Counter(str(name) for head, _, tail in parts["train"].names() for name in (head, tail))
    kept = {name for name, _ in degrees.most_common(count)}
    return {
        name: KnowledgeGraph.from_triples(one for one in part.names() if one[0] in kept and one[2] in kept)
        for name, part in parts.items()
    }
