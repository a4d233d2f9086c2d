"""One `read` for every source: a file by its name, a folder by what is in it, an object by its library.

.tsv .txt .csv   .spo   .nt .ttl .nq .trig .rdf .owl .jsonld   .json .xml   each also .gz .bz2 .xz .zst
folders: a saved graph, X-FACTR, CoDEx, WordNet, FB15k-237, train.txt with valid.txt and test.txt
objects: rdflib, networkx, PyKEEN, an open KnowledgeGraph       "pykeen:nations": a data set of PyKEEN's
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kelm.errors import FormatError, closest
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import (
    codex,
    conceptnet,
    fb15k237,
    lmf,
    networkx,
    pykeen,
    rdf,
    rdflib,
    splits,
    spo,
    tsv,
    wikidata,
    wordnet,
    xfactr,
)
from kg.io.journal import Progress
from kg.io.source import suffix
from kg.storage import MANIFEST

__all__ = ["FORMATS", "feed", "is_table", "read", "write"]

FORMATS: Mapping[str, str] = {
    "tsv": "triples between tabs",
    "csv": "triples between commas",
    "spo": "K-BERT's triples of words",
    "nt": "RDF, N-Triples",
    "ttl": "RDF, Turtle",
    "nq": "RDF, N-Quads",
    "trig": "RDF, TriG",
    "rdf": "RDF/XML",
    "jsonld": "RDF, JSON-LD",
    "wikidata": "Wikidata's dump, an entity a line",
    "lmf": "a wordnet in XML, such as Open English WordNet",
    "conceptnet": "ConceptNet's assertions, a .csv that begins with /a/[",
}
"""The formats of files by name. Most are the file's ending too, with a dot or without."""

_TABLES = ("tsv", "csv")
_ENDINGS = {"txt": "tsv", "owl": "rdf", "json": "wikidata", "xml": "lmf"}  # that are no name of a format
_RDF = ("nt", "ttl", "nq", "trig", "rdf", "jsonld")
_READ_ONLY = ("wikidata", "lmf", "conceptnet")


def read(
    *sources: object, format: str | None = None, languages: Collection[str] | None = None, skip_bad: int = 0
) -> KnowledgeGraph:
    """Returns the graph of one or several sources; `graph.reports` says what was read and dropped.

    Args:
        sources: files, folders, "pykeen:NAME", or graphs of rdflib, networkx, PyKEEN or kelm.
        format: one of `FORMATS`, or the ending of such a file, for files whose names do not tell.
        languages: keep labels in these languages only; all if None.
        skip_bad: bad lines of a file to leave out before one raises.

    Raises:
        FormatError: a source cannot be read; names file, line and remedy.
        CheckpointError: the folder of a saved graph is damaged.

    Example:
        ``graph = kg.io.read("facts.nt.gz", "labels.ttl", languages=["en", "de"])``
    """
    builder = GraphBuilder(languages=languages)
    for source in sources:
        feed(builder, source, format=format, skip_bad=skip_bad)
    return builder.build()


def feed(
    builder: GraphBuilder,
    source: object,
    *,
    format: str | None = None,
    columns: Sequence[str] = tsv.COLUMNS,
    header: bool = False,
    skip_bad: int = 0,
    progress: Progress | None = None,
) -> None:
    """Adds one source to `builder`; arguments and errors as `read`, `columns` and `header` of tables as `tsv.feed`."""
    if not isinstance(source, str | Path):
        _feed_object(builder, source)
        return
    if str(source).startswith(pykeen.PREFIX):
        pykeen.feed_dataset(builder, str(source))
        return
    if Path(source).is_dir():
        _feed_folder(builder, Path(source), skip_bad, progress)
        return
    found = _found(source, format)
    if found in _TABLES:
        how = {"columns": columns, "header": header, "commas": found == "csv"}
        tsv.feed(builder, source, **how, skip_bad=skip_bad, progress=progress)  # type: ignore[arg-type]
    else:
        _feed_file(builder, source, found, skip_bad, progress)


def is_table(source: str | Path, format: str | None = None) -> bool:
    """Whether `feed` reads a source as a table, so that `columns` and `header` mean something."""
    named = str(source).startswith(pykeen.PREFIX)
    return not named and not Path(source).is_dir() and _found(source, format) in _TABLES


def _found(source: str | Path, format: str | None) -> str:
    found = _named(format or suffix(source))
    return "conceptnet" if found == "csv" and format is None and conceptnet.holds(source) else found


def _named(format: str) -> str:
    """Returns the name in `FORMATS` that a name or an ending means, or what was given."""
    plain = format.lower().removeprefix(".")
    found = _ENDINGS.get(plain, plain)
    return found if found in FORMATS else format


def _feed_file(builder: GraphBuilder, path: str | Path, format: str, skip_bad: int, progress: Progress | None) -> None:
    if not Path(path).exists():
        raise FormatError("cannot be opened: no such file or folder", path=path, remedy="Check the path.")
    if format not in FORMATS:
        raise FormatError(
            f'cannot tell the format of a file that ends in "{format}"',
            path=path,
            remedy=f"{closest(format.removeprefix('.'), FORMATS)} Rename it, or name its format.",
        )
    feeders = {"spo": spo.feed, "wikidata": wikidata.feed, "lmf": lmf.feed, "conceptnet": conceptnet.feed}
    if format in feeders:
        feeders[format](builder, path, skip_bad=skip_bad, progress=progress)
    else:
        rdf.feed(builder, path, syntax=f".{format}", skip_bad=skip_bad, progress=progress)


def _feed_folder(builder: GraphBuilder, folder: Path, skip_bad: int, progress: Progress | None) -> None:
    if (folder / MANIFEST).is_file():
        builder.graph(KnowledgeGraph.open(folder))
    elif xfactr.holds(folder):
        xfactr.feed(builder, folder, skip_bad=skip_bad, progress=progress)
    elif codex.holds(folder):
        for size in codex.sizes(folder):
            builder.graph(codex.read(folder, size).graph)
    elif wordnet.holds(folder):
        wordnet.feed(builder, folder, skip_bad=skip_bad, progress=progress)
    elif fb15k237.holds(folder):
        fb15k237.feed(builder, folder, skip_bad=skip_bad, progress=progress)
    elif parts := splits.files(folder):
        for path in parts.values():
            tsv.feed(builder, path, skip_bad=skip_bad, progress=progress)
    else:
        raise FormatError(
            "this folder is no saved graph, no X-FACTR, no CoDEx, no WordNet and no FB15k-237, and has no train.txt",
            path=folder,
            remedy=f"Name a file in it ({', '.join(FORMATS)}), or another folder.",
        )


def _feed_object(builder: GraphBuilder, source: object) -> None:
    library = type(source).__module__.partition(".")[0]
    feeders: dict[str, Callable[[Any], object]] = {
        "rdflib": lambda graph: rdflib.feed(builder, graph),
        "networkx": lambda graph: networkx.feed(builder, graph),
        "pykeen": lambda source: pykeen.feed(builder, source),
        "kg": builder.graph,
    }
    if library not in feeders:
        raise FormatError(
            f"cannot read a graph from {type(source).__name__}", remedy=f"Known libraries: {', '.join(feeders)}."
        )
    feeders[library](source)


def write(
    graph: KnowledgeGraph, path: str | Path, *, format: str | None = None, language: str | None = None
) -> dict[str, int]:
    """Writes the graph to a file, in the format that its name tells, and returns how much of what it cannot hold.

    TSV, CSV and .spo hold the triples only, RDF all but entities of which nothing is said.

    Args:
        format: one of `FORMATS`, or its ending, for a file whose name does not tell.
        language: of the words in .spo, where K-BERT expects words; names stay names if None.

    Raises:
        FormatError: no format has that name, or the file cannot be written.
    """
    found = _named(format or suffix(path))
    written = [format for format in FORMATS if format not in _READ_ONLY]
    if found not in written:
        problem = f'no file can be written as "{found}"' if found in FORMATS else f'no format is called "{found}"'
        raise FormatError(problem, path=path, remedy=closest(found.removeprefix("."), written))
    if found == "spo":
        spo.write(graph, path, language=language)
    elif found in _RDF:
        rdf.write(graph, path, syntax=f".{found}")
    else:
        tsv.write(graph, path, commas=found == "csv")
    return _left_behind(graph, whole=found in _RDF)


def _left_behind(graph: KnowledgeGraph, *, whole: bool) -> dict[str, int]:
    """Returns how many things of each kind a file does not hold: one of triples only, or one that is `whole`."""
    said = np.zeros(graph.entity_count, bool)
    said[graph.heads] = said[graph.tails] = True
    if whole:
        said[graph.attributes.entity] = said[graph.labels.entities.owner] = True
        said[np.diff(graph.types.offsets) > 0] = True
    silent = {"entities of which it says nothing": int((~said).sum())}
    others = {"labels": len(graph.labels), "types": len(graph.types), "attributes": len(graph.attributes)}
    return {kind: count for kind, count in {**silent, **({} if whole else others)}.items() if count}
