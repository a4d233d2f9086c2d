"""`graph-load`: an N-Triples file to a graph that can be asked for neighbors and names, against rdflib.

    ours    kg.io.rdf.read: distinct triples, vocabularies, labels by language, types, literals, neighbors both ways
    peer    rdflib.Graph().parse: its in-memory store with three indexes

The file looks like a Wikidata dump: subjects in order, labels in four languages, types, dates, a few escapes and
blank nodes, popular objects (Zipf). After the runs both must hold the same number of statements.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import rdflib

from benchmarks.measure import Row, compare
from kg.graph import KnowledgeGraph
from kg.io import rdf

__all__ = ["NAME", "rows", "statements"]

NAME = "graph-load"

_ENTITY, _PROPERTY = "http://www.wikidata.org/entity/Q", "http://www.wikidata.org/prop/direct/P"
_CLASS = f"{_ENTITY}9000000"  # classes apart from the subjects, so that each label belongs to one thing
_LABEL = "<http://www.w3.org/2000/01/rdf-schema#label>"
_ALIAS = "<http://www.w3.org/2004/02/skos/core#altLabel>"
_TYPE = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"
_DATE = "<http://www.w3.org/2001/XMLSchema#date>"
_WORDS = {
    "en": ["north", "station", "river", "university", "album", "church", "village", "district", "railway", "museum"],
    "de": [
        "Bahnhof",
        "Universität",
        "Fluss",
        "Kirche",
        "Gemeinde",
        "Landkreis",
        "Straße",
        "Schloss",
        "Brücke",
        "Verein",
    ],
    "ru": ["река", "город", "станция", "музей", "район", "улица", "церковь", "альбом", "фильм", "завод"],
    "zh": ["北京", "大学", "车站", "河", "博物馆", "山", "县", "专辑", "电影", "铁路"],
}


def statements(*, seed: int = 0) -> Iterator[str]:
    """Yields lines of N-Triples, subject by subject, without end and without a repetition."""
    chance, number = random.Random(seed), 0
    while True:
        number += 1
        subject = f"<{_ENTITY}{number}>"
        for language, words in _WORDS.items():
            if language == "en" or chance.random() < 0.3:
                text = " ".join(chance.choices(words, k=chance.randint(1, 4)))
                escape = '\\"' if chance.random() < 0.02 else ""
                yield f'{subject} {_LABEL} "{text} {escape}{number}{escape}"@{language} .\n'
                if chance.random() < 0.2:
                    yield f'{subject} {_ALIAS} "{text}, {number}"@{language} .\n'
        yield f"{subject} {_TYPE} <{_CLASS}{popular(chance, 1_000)}> .\n"
        if chance.random() < 0.4:
            yield f'{subject} <{_PROPERTY}569> "19{number % 90 + 10}-01-{number % 28 + 1:02}"^^{_DATE} .\n'
        said = {(popular(chance, 700), popular(chance, 200_000)) for _ in range(chance.randint(2, 10))}
        for relation, object in sorted(said):
            yield f"{subject} <{_PROPERTY}{relation}> <{_ENTITY}{object}> .\n"
        if chance.random() < 0.05:
            yield f"{subject} <{_PROPERTY}1552> _:b{number} .\n"


def popular(chance: random.Random, count: int) -> int:
    """Returns a number from 1 to `count`, small ones far more often (density falls as 1 / number)."""
    return int(count ** chance.random())


def rows(name: str | None = None, *, quick: bool = False, triples: int | None = None, repeats: int = 5) -> list[Row]:
    """Returns one row: seconds from file to graph.

    Args:
        triples: lines of the file; a million, or 20,000 if `quick`.
        repeats: rounds that count.
    """
    size = triples or (20_000 if quick else 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "graph.nt", Path(folder) / "small.nt"
        for target, count in ((path, size), (small, 2_000)):
            with target.open("w", encoding="utf-8") as file:
                file.writelines(islice(statements(), count))
        ours(small), peer(small)  # warms both; a whole round of the peer's would take half a minute
        found: dict[str, int] = {}

        def run_ours() -> None:
            found["ours"] = said(ours(path))
            print(".", end="", file=sys.stderr, flush=True)

        def run_peer() -> None:
            found["peer"] = len(peer(path))
            print("*", end="", file=sys.stderr, flush=True)

        print(f"{NAME}: {size:,} triples, ours . and rdflib * : ", end="", file=sys.stderr, flush=True)
        comparison = compare(run_ours, run_peer, repeats=repeats, warmup=0)
        print(file=sys.stderr)
    if not found["ours"] == found["peer"] == size:
        raise RuntimeError(f"expected {size} statements on both sides, found {found}.")
    return [comparison.row(NAME, f"rdflib {rdflib.__version__}", setting=f"{size:,} triples of N-Triples")]


def ours(path: Path) -> KnowledgeGraph:
    """Returns our graph, with neighbors in both directions indexed as rdflib's are."""
    graph = rdf.read(path)
    graph.neighbors(0), graph.incoming(0)
    return graph


def peer(path: Path) -> rdflib.Graph:
    """Returns rdflib's graph."""
    return rdflib.Graph().parse(path, format="nt")


def said(graph: KnowledgeGraph) -> int:
    """Returns the number of distinct statements that a graph holds."""
    return len(graph) + len(graph.labels) + len(graph.types) + len(graph.attributes)
