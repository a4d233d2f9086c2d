"""The main experiment's material: FewRel's sentences, ERNIE's articles, the graph of X-FACTR and CoDEx.

    X-FACTR + CoDEx -> drop triples that join the two entities of a sentence -> TransE -> table
    articles (gold links) + other English text (links by name)               -> alignment
    FewRel, 16 relations, gold links and links by name                       -> examples

The folder is the one that `kelm data` documents: kg/xfactr, kg/codex, linked_text/..., vocab/...
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kelm.data.files import lines
from kelm.errors import InputError
from kg.graph import KnowledgeGraph
from kg.linking.linked_text import RelationText, joining

__all__ = ["english_texts", "joined_graph", "without_answers"]


def joined_graph(data: Path) -> KnowledgeGraph:
    """Returns the union of X-FACTR and CoDEx (all splits of both sizes), with English names."""
    from kg.io import codex, xfactr

    graph = xfactr.read(data / "kg" / "xfactr", languages=["en"])
    for size in ("m", "s"):
        graph = graph.union(codex.read(data / "kg" / "codex", size, languages=["en"]).graph)
    return graph


def without_answers(graph: KnowledgeGraph, examples: Sequence[RelationText]) -> tuple[KnowledgeGraph, int]:
    """Returns the graph without the triples that join the two entities of an example, and how many those were.

    Entities that have no triple left are gone too: nothing is known of them.
    """
    answers = joining(graph, examples)
    return KnowledgeGraph.from_triples(graph.without(answers).names()), len(answers)


def english_texts(data: Path) -> Iterator[str]:
    """Yields English sentences of the folder that are neither in FewRel nor in ERNIE's articles."""
    for line in _lines(data, "kg/codex/type_extracts.en.jsonl"):
        yield from (part for part in re.split(r"(?<=[.!?])\s+", json.loads(line)["text"]) if len(part) > 20)
    for split in ("train", "dev"):
        for line in _lines(data, f"linked_text/webnlg/en.{split}.jsonl"):
            yield from (said["text"] for said in json.loads(line)["lex"])
    for line in _lines(data, "linked_text/simplequestions_wikidata/train.tsv"):
        yield line.split("\t")[-1]
    yield from _words(data, "ner/wikineural/en.val.conllu")
    yield from _words(data, "ner/wikineural/en.test.conllu")
    yield from _words(data, "ud/en_ewt-train.conllu")
    yield from _lines(data, "parallel/ntrex/newstest2019-src.eng.txt")


def found(data: Path, name: str) -> Path:
    """Returns a file of the folder, compressed or not.

    Raises:
        InputError: it is not there.
    """
    for path in (data / name, data / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError("this file is missing", path=data / name, remedy="Give the folder that holds it with --data.")


def _lines(data: Path, name: str) -> Iterator[str]:
    return (line for _, line in lines(found(data, name)) if line.strip())


def _words(data: Path, name: str) -> Iterator[str]:
    """Yields the sentences of a column file (index, word, ...), words joined by spaces."""
    words: list[str] = []
    for _, line in lines(found(data, name)):
        columns = line.split("\t")
        if line.startswith("#") or (len(columns) > 1 and not columns[0].isdigit()):
            continue
        if len(columns) > 1:
            words.append(columns[1])
        elif words:
            yield " ".join(words)
            words = []
    if words:
        yield " ".join(words)
