"""Benchmark graphs that come in parts: train to learn from, valid to stop by, test to be judged by.

FOLDER/{train,valid,test}.txt     head, relation, tail between tabs; may be compressed, or .tsv
FOLDER/codex-{s,m,l}/...          CoDEx, where only one size is there
pykeen:NAME                       a data set of PyKEEN's
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kelm.errors import InputError
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import codex, pykeen, tsv
from kg.io.source import beside

__all__ = ["Splits", "read"]

_ENDINGS = ("txt", "tsv")


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The parts of a benchmark. Each has names of its own: match triples by name.

    Attributes:
        train: what to learn from.
        valid, test: None where there is no such file.
    """

    train: KnowledgeGraph
    valid: KnowledgeGraph | None
    test: KnowledgeGraph | None


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
    parts = {name: _part(folder, name) for name in ("train", "valid", "test")}
    train = parts["train"]
    if train is None or parts["valid"] is parts["test"] is None:
        return None
    return Splits(train, parts["valid"], parts["test"])


def _part(folder: Path, name: str) -> KnowledgeGraph | None:
    paths = [path for ending in _ENDINGS if (path := beside(folder, f"{name}.{ending}"))]
    if not paths:
        return None
    builder = GraphBuilder()
    tsv.feed(builder, paths[0])
    return builder.build()
