"""Benchmark graphs that come in parts: train to learn from, valid to stop by, test to be judged by.

FOLDER/{train,valid,test}.txt     head, relation, tail between tabs; may be compressed, or .tsv
FOLDER/{valid,test}_negatives.txt false triples to classify, where there are any
FOLDER/codex-{s,m,l}/...          CoDEx, where only one size is there
pykeen:NAME                       a data set of PyKEEN's
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kelm.data.files import beside
from kelm.errors import InputError
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import codex, pykeen, tsv

__all__ = ["Splits", "files", "holds", "read"]

_PARTS, _NEGATIVES, _ENDINGS = ("train", "valid", "test"), ("valid_negatives", "test_negatives"), ("txt", "tsv")


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The parts of a benchmark. Each has names of its own: match triples by name.

    Attributes:
        train: what to learn from.
        valid, test: None where there is no such file.
        valid_negatives, test_negatives: false triples; None where there is no such file.
    """

    train: KnowledgeGraph
    valid: KnowledgeGraph | None = None
    test: KnowledgeGraph | None = None
    valid_negatives: KnowledgeGraph | None = None
    test_negatives: KnowledgeGraph | None = None


def holds(source: str | Path) -> bool:
    """Whether `read` finds parts in `source`: a folder of one benchmark, or a data set of PyKEEN's."""
    if str(source).startswith(pykeen.PREFIX):
        return True
    there = files(source)
    return len(codex.sizes(source)) == 1 or ("train" in there and len(there) > 1)


def read(source: str | Path) -> Splits | None:
    """Returns the parts that a folder (or a data set of PyKEEN's) holds; None if it is no such folder.

    Raises:
        InputError: it holds CoDEx in several sizes.
        FormatError: a file is broken.
        UnknownName: PyKEEN has no such data set.
    """
    if str(source).startswith(pykeen.PREFIX):
        theirs = pykeen.parts(str(source))
        return Splits(theirs["train"], theirs.get("valid"), theirs.get("test"))
    folder = Path(source)
    sizes = codex.sizes(folder) if folder.is_dir() else ()
    if len(sizes) > 1:
        names = [f"codex-{size}" for size in sizes]
        raise InputError(
            f"holds CoDEx in {len(sizes)} sizes", path=folder, remedy=f"Name one: {', '.join(names)} in this folder."
        )
    if sizes:
        inner = folder / f"codex-{sizes[0]}"
        folder = inner if inner.is_dir() else folder / "triples" / inner.name
    there = files(folder)
    if "train" not in there or len(there) == 1:
        return None
    return Splits(**_graphs(there | _named(folder, _NEGATIVES)))


def files(folder: str | Path) -> dict[str, Path]:
    """Returns those of the files train, valid and test that a folder has, compressed or not, by their names."""
    return _named(folder, _PARTS)


def _named(folder: str | Path, names: Sequence[str]) -> dict[str, Path]:
    found = ((name, beside(folder, f"{name}.{ending}")) for name in names for ending in reversed(_ENDINGS))
    return {name: path for name, path in found if path is not None}


def _graphs(paths: Mapping[str, Path]) -> dict[str, KnowledgeGraph]:
    graphs = {}
    for name, path in paths.items():
        builder = GraphBuilder()
        tsv.feed(builder, path)
        graphs[name] = builder.build()
    return graphs
