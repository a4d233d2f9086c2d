"""CoDEx: three benchmark graphs of Wikidata with checked negatives, types and names.

    codex-m/{train,valid,test}.txt, {valid,test}_negatives.txt       head, relation, tail
    entity2types.json    types.{lang}.json    relations.{lang}.json    entity_labels.partial.tsv

A description of an entity is its attribute in the file's language; one of a relation or a type, and a link, are counted
in the report. Files may be compressed. The layout of the original repository (`triples/`, `types/`, `relations/`,
`entities/`) is read as well. Source: Safavi and Koutra, 2020, https://github.com/tsafavi/codex.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from kelm.data.files import beside, required
from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io import tsv
from kg.io.journal import Journal
from kg.io.source import json_value, lines
from kg.labels import DESCRIPTION

__all__ = ["Codex", "holds", "read", "sizes"]

_SPLITS = ("train", "valid", "test")
_REMEDY = "Copy the file again."


@dataclass(frozen=True, slots=True, eq=False)
class Codex:
    """One size of CoDEx. All graphs share vocabularies, labels and types, so ids agree.

    Attributes:
        graph: the triples of all splits.
        train, valid, test: those of one split.
        valid_negatives, test_negatives: ids of triples that were checked to be false; empty where there are none.
    """

    graph: KnowledgeGraph
    train: KnowledgeGraph
    valid: KnowledgeGraph
    test: KnowledgeGraph
    valid_negatives: Int32[np.ndarray, "triple 3"]
    test_negatives: Int32[np.ndarray, "triple 3"]


def holds(folder: str | Path) -> bool:
    """Whether a folder looks like CoDEx."""
    return bool(sizes(folder))


def sizes(folder: str | Path) -> tuple[str, ...]:
    """Returns which of the sizes s, m and l a folder has."""
    return tuple(size for size in "sml" if beside(_triples(folder, size), "train.txt"))


def _triples(folder: str | Path, size: str) -> Path:
    inner = Path(folder) / f"codex-{size}"
    return inner if inner.is_dir() else Path(folder) / "triples" / f"codex-{size}"


def read(folder: str | Path, size: str = "m", *, languages: Collection[str] | None = None) -> Codex:
    """Returns one size of CoDEx with its splits, types and names.

    Args:
        size: "s", "m" or "l".
        languages: keep names in these only; all if None.

    Raises:
        FormatError: a file is missing or broken.
        UnknownName: a triple of valid or test has an entity or relation that train does not have.
    """
    inner = _triples(folder, size)
    builder = GraphBuilder(languages=languages)
    tsv.feed(builder, required(inner, "train.txt"))
    journal = Journal(folder, "codex")
    entities = builder.entities()
    for entity, kinds in _types(folder):
        if entity in entities:
            for kind in kinds:
                builder.type(entity, kind)
                journal.counts["types"] += 1
    _label(builder, folder, entities, journal)
    builder.reports.append(journal.report())
    train = builder.build()
    parts = {name: tsv.ids(required(inner, f"{name}.txt"), train) for name in _SPLITS[1:]}
    negatives = {
        name: tsv.ids(path, train) if (path := beside(inner, f"{name}_negatives.txt")) else np.zeros((0, 3), np.int32)
        for name in _SPLITS[1:]
    }
    more = [Report(str(inner / f"{name}.txt"), "tsv", lines=len(ids), triples=len(ids)) for name, ids in parts.items()]
    whole = train.with_triples(np.concatenate((train.triples(), *parts.values())))
    return Codex(
        graph=replace(whole, reports=(*train.reports, *more)),
        train=train,
        valid=train.with_triples(parts["valid"]),
        test=train.with_triples(parts["test"]),
        valid_negatives=negatives["valid"],
        test_negatives=negatives["test"],
    )


def _types(folder: str | Path) -> Iterator[tuple[str, list[str]]]:
    path = beside(folder, "entity2types.json") or beside(Path(folder) / "types", "entity2types.json")
    for entity, kinds in _mapping(path).items() if path is not None else ():
        if not isinstance(kinds, list) or not all(isinstance(kind, str) and kind.strip() for kind in kinds):
            problem = f"expected a list of types, found {kinds!r}"
            raise FormatError(problem, path=path, field=entity, remedy=_REMEDY)
        yield entity, kinds


def _label(builder: GraphBuilder, folder: str | Path, entities: Collection[str], journal: Journal) -> None:
    """Adds names of relations, types and entities, where the graph has them."""
    kinds = {kind for entity, kinds in _types(folder) if entity in entities for kind in kinds}
    known: dict[str, tuple[Container[str], Callable[[str, str, str], bool]]] = {
        "relations": (builder.names, builder.relation_label),
        "types": (kinds, builder.type_label),
        "entities": (entities, builder.label),
    }
    for kind, (names, add) in known.items():
        for language, path in _files(folder, kind):
            for name, record in _mapping(path).items():
                if name not in names:
                    journal.drop(f"{kind}: not in the graph")
                    continue
                texts = _texts(record, path, name)
                if label := texts.pop("label", ""):
                    journal.label(add(name, language, label))
                else:
                    journal.drop(f"{kind}: no label")
                if kind == "entities" and (text := texts.pop("description", "")):
                    _describe(builder, name, text, language, journal)
                for key in texts:
                    journal.drop(f"{kind}: {key}")
    if partial := beside(folder, "entity_labels.partial.tsv"):
        _label_partially(builder, partial, entities, journal)


def _texts(record: Any, path: Path, name: str) -> dict[str, str]:
    """Returns those of a record's texts that are not blank."""
    if not isinstance(record, dict) or not all(isinstance(text, str | None) for text in record.values()):
        problem = f"expected an object of texts, found {record!r}"
        raise FormatError(problem, path=path, field=name, remedy=_REMEDY)
    return {key: text for key, text in record.items() if text and text.strip()}


def _describe(builder: GraphBuilder, name: str, text: str, language: str, journal: Journal) -> None:
    if builder.language(language) < 0:
        journal.drop("description in an unwanted language")
        return
    builder.attribute(name, DESCRIPTION, text, language=language)
    journal.counts["attributes"] += 1


def _label_partially(builder: GraphBuilder, path: Path, entities: Collection[str], journal: Journal) -> None:
    for number, text in lines(path, journal):
        fields = text.split("\t")
        if len(fields) != 4 or not fields[2].strip():
            problem = f"expected entity, language, label and source, found {fields}"
            journal.bad(FormatError(problem, path=path, remedy=_REMEDY), line=number)
        elif fields[0] in entities:
            journal.label(builder.label(*fields[:3], preferred=not fields[3].endswith("alias")))
        else:
            journal.drop("entities: not in the graph")


def _files(folder: str | Path, kind: str) -> Iterator[tuple[str, Path]]:
    """Yields language and path of the files of names, `types.en.json.gz` or `types/en/types.json`."""
    for path in sorted(Path(folder).glob(f"{kind}.*.json*")):
        yield path.name.split(".")[1], path
    for path in sorted((Path(folder) / kind).glob(f"*/{kind}.json*")):
        yield path.parent.name, path


def _mapping(path: Path) -> Mapping[str, Any]:
    value = json_value(path)
    if not isinstance(value, dict):
        raise FormatError("expected a JSON object", path=path, line=1, remedy=_REMEDY)
    return value
