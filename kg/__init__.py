"""Knowledge graphs for kelm: load, embed, link, fuse.

What is used most can be had from here; a module is loaded when something of it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kg.embeddings import EmbeddingRecipe, EntityTable, embed
    from kg.graph import KnowledgeGraph
    from kg.io import read
    from kg.linking.alias import AliasLinker
    from kg.linking.base import Mention, Mentions
    from kg.linking.linked_text import LinkedText, encode, linked

__all__ = [
    "AliasLinker",
    "EmbeddingRecipe",
    "EntityTable",
    "KnowledgeGraph",
    "LinkedText",
    "Mention",
    "Mentions",
    "embed",
    "encode",
    "linked",
    "read",
]

_PLACES = {
    **dict.fromkeys(("EmbeddingRecipe", "EntityTable", "embed"), "kg.embeddings"),
    **dict.fromkeys(("LinkedText", "encode", "linked"), "kg.linking.linked_text"),
    **dict.fromkeys(("Mention", "Mentions"), "kg.linking.base"),
    "AliasLinker": "kg.linking.alias",
    "KnowledgeGraph": "kg.graph",
    "read": "kg.io",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
