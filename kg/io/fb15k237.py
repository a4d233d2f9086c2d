"""FB15k-237 with what Wikidata says of its entities.

    {train,valid,test}.txt    head, relation, tail: Freebase's ids
    entities.jsonl            {"mid": "/m/0100mt", "wikidata_id": "Q16562", "label": "El Paso", ...}
    relation2text.txt         relation, its words between tabs                                            optional

Entities with a Wikidata id go by it, the others keep Freebase's (and all of them where the parts serve as a benchmark,
`kg.io.splits`, whose figures must stay comparable). Names and descriptions are English; a link to Wikipedia is an
attribute. Sources: Toutanova and Chen, 2015; https://github.com/villmow/datasets_knowledge_embedding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from kelm.data.files import beside, required
from kelm.data.json_text import json_object
from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import tsv
from kg.io.journal import Journal, Progress
from kg.io.source import lines
from kg.labels import DESCRIPTION

__all__ = ["DESCRIPTION", "WIKIPEDIA", "feed", "holds", "read"]

WIKIPEDIA = "wikipedia"  # the property of a link to an article

_RECORDS, _PARTS = "entities.jsonl", ("train", "valid", "test")
_KEYS = {"mid", "wikidata_id", "label", "alternatives", "description", "wikipedia"}
_REMEDY = "Copy the file again, or allow bad lines to be skipped (skip_bad, --skip-bad)."


def holds(folder: str | Path) -> bool:
    """Whether a folder looks like FB15k-237 with its entities."""
    return bool(beside(folder, _RECORDS) and beside(folder, "train.txt"))


def read(folder: str | Path, *, languages: Collection[str] | None = None, skip_bad: int = 0) -> KnowledgeGraph:
    """Returns the graph of all three parts; see `feed`."""
    builder = GraphBuilder(languages=languages)
    feed(builder, folder, skip_bad=skip_bad)
    return builder.build()


def feed(builder: GraphBuilder, folder: str | Path, *, skip_bad: int = 0, progress: Progress | None = None) -> None:
    """Adds a folder's entities with labels, aliases and descriptions, the words of its relations, and all three parts.

    Raises:
        FormatError: a file is missing, or a line of it is broken (unless `skip_bad` allows it); names file and line.
    """
    names = _feed_entities(builder, required(folder, _RECORDS), skip_bad)
    for part in _PARTS:
        path = required(folder, f"{part}.txt")
        journal = Journal(path, "fb15k237", skip_bad=skip_bad, progress=progress)
        for number, (head, relation, tail) in tsv.triples(path, journal):
            tsv.add(builder, journal, number, (names.get(head, head), relation, names.get(tail, tail)))
        builder.reports.append(journal.report())
    if words := beside(folder, "relation2text.txt"):
        _feed_relations(builder, words, skip_bad)


def _feed_entities(builder: GraphBuilder, path: Path, skip_bad: int) -> dict[str, str]:
    """Returns the graph's names of the entities by Freebase's ids."""
    journal = Journal(path, "fb15k237-entities", skip_bad=skip_bad)
    names: dict[str, str] = {}
    for number, line in lines(path, journal):
        if not line.strip():
            journal.drop("blank line")
            continue
        try:
            record = _record(line, path, number)
        except FormatError as error:
            journal.bad(error, line=number, reason="no entity")
            continue
        name = record["wikidata_id"] or record["mid"]
        journal.drop("entity that shares its Wikidata id with another", builder.has(name))
        names[record["mid"]] = name
        _add(builder, name, record, journal)
    builder.reports.append(journal.report())
    return names


def _record(line: str, path: Path, number: int) -> dict[str, Any]:
    """Returns what a line says, with "" for texts that it lacks."""
    record = json_object(line, path, number)
    found: dict[str, Any] = {
        key: _text(record, key) for key in ("mid", "wikidata_id", "label", "description", "wikipedia")
    }
    if not found["mid"]:
        raise FormatError("expected a JSON object with mid", field="mid", remedy=_REMEDY)
    aliases = record.get("alternatives") or []
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise FormatError(f"expected a list of texts, found {aliases!r}", field="alternatives", remedy=_REMEDY)
    return {**found, "alternatives": aliases, "others": [key for key in record if key not in _KEYS]}


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str | None):
        raise FormatError(f"expected text, found {value!r}", field=key, remedy=_REMEDY)
    return (value or "").strip()


def _add(builder: GraphBuilder, name: str, record: Mapping[str, Any], journal: Journal) -> None:
    builder.entity(name)
    for text, preferred in _names(record):
        if text.strip():
            journal.label(builder.label(name, "en", text, preferred=preferred))
        else:
            journal.drop("blank label")
    for property, key, language in ((DESCRIPTION, "description", "en"), (WIKIPEDIA, "wikipedia", "")):
        if text := record[key]:
            builder.attribute(name, property, text, language=language)
            journal.counts["attributes"] += 1
    for key in record["others"]:
        journal.drop(f'field "{key}"')


def _names(record: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    if record["label"]:
        yield record["label"], True
    for alias in record["alternatives"]:
        yield alias, False


def _feed_relations(builder: GraphBuilder, path: Path, skip_bad: int) -> None:
    journal = Journal(path, "fb15k237-relations", skip_bad=skip_bad)
    for number, line in lines(path, journal):
        relation, tab, text = line.partition("\t")
        if not tab or not text.strip():
            error = FormatError(f'expected a relation and its words, found "{line}"', remedy=_REMEDY)
            journal.bad(error, line=number, reason="no words")
        elif builder.has(relation):
            journal.label(builder.relation_label(relation, "en", text.strip()))
        else:
            journal.drop("words of a relation in no triple")
    builder.reports.append(journal.report())
