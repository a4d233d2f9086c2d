"""X-FACTR: facts of Wikidata with names in many languages.

    facts.tsv            head, relation, tail, flags
    labels.{lang}.tsv    entity, preferred label (may be empty), alias, alias ...
    relations.jsonl      {"relation": "P19", "label": "place of birth", ...}         optional
    instance_of.txt      entity, then "type,label of the type" in each column        optional

Names of entities in no fact are left out. Source: Jiang et al., 2020, https://github.com/jzbjyb/X-FACTR.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from kelm.data.files import beside, required
from kelm.data.json_text import json_object
from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io import tsv
from kg.io.journal import Journal, Progress
from kg.io.source import lines, suffix

__all__ = ["feed", "holds", "read"]

_REMEDY = "Correct the line, or copy the file again."


def holds(folder: str | Path) -> bool:
    """Whether a folder looks like X-FACTR."""
    return beside(folder, "facts.tsv") is not None


def read(folder: str | Path, *, languages: Collection[str] | None = None, skip_bad: int = 0) -> KnowledgeGraph:
    """Returns the graph of an X-FACTR folder, with labels in `languages` (all there are if None)."""
    builder = GraphBuilder(languages=languages)
    feed(builder, folder, skip_bad=skip_bad)
    return builder.build()


def feed(builder: GraphBuilder, folder: str | Path, *, skip_bad: int = 0, progress: Progress | None = None) -> Report:
    """Adds an X-FACTR folder to `builder`.

    Raises:
        FormatError: names file, line and remedy.
    """
    facts = required(folder, "facts.tsv")
    report = tsv.feed(builder, facts, columns=("head", "relation", "tail", "-"), skip_bad=skip_bad, progress=progress)
    entities = builder.entities()
    for path in sorted(Path(folder).glob("labels.*.tsv*")):
        language = path.name.split(".")[1]
        if suffix(path) == ".tsv":
            _feed_labels(builder, path, language, entities, skip_bad)
    if relations := beside(folder, "relations.jsonl"):
        _feed_relations(builder, relations, skip_bad)
    if types := beside(folder, "instance_of.txt"):
        _feed_types(builder, types, entities, skip_bad)
    return report


def _feed_labels(builder: GraphBuilder, path: Path, language: str, entities: Collection[str], skip_bad: int) -> None:
    journal = Journal(path, "xfactr-labels", skip_bad=skip_bad)
    for number, text in lines(path, journal):
        entity, *names = text.split("\t")
        if not names:
            journal.bad(FormatError("expected an entity and its names", remedy=_REMEDY), line=number)
        elif entity not in entities:
            journal.drop("names of an entity in no fact")
        else:
            for rank, name in enumerate(names):
                if name.strip():
                    journal.label(builder.label(entity, language, name, preferred=rank == 0))
                elif rank:  # only the preferred label may be missing
                    error = FormatError(f'expected an alias of {entity}, found "{name}"', field="alias", remedy=_REMEDY)
                    journal.bad(error, line=number, reason="blank label")
    builder.reports.append(journal.report())


def _feed_relations(builder: GraphBuilder, path: Path, skip_bad: int) -> None:
    journal = Journal(path, "xfactr-relations", skip_bad=skip_bad)
    for number, text in lines(path, journal):
        try:
            record = json_object(text, path, number)
            relation, label = str(record["relation"]), str(record["label"])
        except (FormatError, KeyError) as error:
            problem = f"expected a JSON object with relation and label ({error})"
            journal.bad(FormatError(problem, remedy=_REMEDY), line=number)
            continue
        if not builder.has(relation):
            journal.drop("name of a relation in no fact")
            continue
        try:
            journal.label(builder.relation_label(relation, "en", label))
        except FormatError as error:
            journal.bad(error, line=number, reason="blank label")
    builder.reports.append(journal.report())


def _feed_types(builder: GraphBuilder, path: Path, entities: Collection[str], skip_bad: int) -> None:
    journal = Journal(path, "xfactr-types", skip_bad=skip_bad)
    for number, text in lines(path, journal):
        entity, *kinds = text.split("\t")
        if entity not in entities:
            journal.drop("types of an entity in no fact")
            continue
        for kind in filter(None, kinds):
            name, comma, label = kind.partition(",")
            if not (name and comma):
                error = FormatError(f'expected "type,label", found "{kind}"', remedy=_REMEDY)
                journal.bad(error, line=number)
                continue
            builder.type(entity, name)
            journal.counts["types"] += 1
            if label.strip():
                journal.label(builder.type_label(name, "en", label))
    builder.reports.append(journal.report())
