"""What the commands share: a graph from whatever a user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelm.errors import InputError, closest

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph

__all__ = ["AsJson", "chosen", "opened_graph"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def opened_graph(source: str) -> KnowledgeGraph:
    """Returns a graph from any source; a saved one is memory-mapped."""
    from kg import io
    from kg.graph import GraphBuilder, KnowledgeGraph
    from kg.storage import MANIFEST
    from kg.terminal import reading

    if (Path(source) / MANIFEST).is_file():
        return KnowledgeGraph.open(source)
    builder = GraphBuilder()
    with reading(shown=True) as bar:
        io.feed(builder, source, progress=bar(source))
    return builder.build()


def chosen(word: str, known: Sequence[str], option: str) -> Any:
    """Returns a word that has to be one of some."""
    if word not in known:
        raise InputError(f'"{word}" is not a choice', field=option, remedy=closest(word, known))
    return word
