"""Open English WordNet as three tables between tabs, as the studies' folder of data has it.

    synsets      00001740-n  noun.Tops  i35545  entity|...  that which is ...     synset, file, ILI, words, definition
    relations    00002098-a  domain_topic  06047178-n

The graph is what `kg.io.lmf` and `kg.io.wordnet` make of the published files: a synset is an entity, its words are
English labels, the first preferred, its lexicographer file (the supersense) is a type.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kelm.data.files import lines, required
from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io.lmf import ILI
from kg.labels import DESCRIPTION

__all__ = ["read"]


def read(folder: str | Path) -> KnowledgeGraph:
    """Returns the graph of the folder.

    Raises:
        FormatError: a table is missing, or a line has another number of fields.
    """
    builder = GraphBuilder()
    relations: dict[str, None] = {}
    for synset, supersense, ili, words, definition in _rows(required(folder, "synsets.tsv"), 5):
        builder.entity(synset)
        builder.type(synset, supersense)
        for place, word in enumerate(words.split("|")):
            builder.label(synset, "en", word, preferred=place == 0)
        builder.attribute(synset, DESCRIPTION, definition, language="en")
        if ili:
            builder.attribute(synset, ILI, ili)
    for head, relation, tail in _rows(required(folder, "relations.tsv"), 3):
        relations[relation] = None
        builder.triple(head, relation, tail)
    for relation in relations:
        builder.relation_label(relation, "en", relation.replace("_", " "))
    return builder.build()


def _rows(path: Path, count: int) -> Iterator[list[str]]:
    for number, line in lines(path):
        row = line.split("\t")
        if len(row) != count:
            raise FormatError(
                f"expected {count} fields between tabs, found {len(row)}",
                path=str(path),
                line=number,
                remedy="Copy the table again.",
            )
        yield row
