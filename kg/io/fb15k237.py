"""FB15k-237 with what Wikidata says of its entities.

    {train,valid,test}.txt    head, relation, tail: Freebase's ids
    entities.jsonl            {"mid": "/m/0100mt", "wikidata_id": "Q16562", "label": "El Paso", ...}

Entities with a Wikidata id go by it, the others keep Freebase's. Names and descriptions are English. Sources: Toutanova
and Chen, 2015; https://github.com/villmow/datasets_knowledge_embedding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io.journal import Journal
from kg.io.source import lines, required
from kg.labels import DESCRIPTION

__all__ = ["DESCRIPTION", "read"]

_REMEDY = "Copy the file again."


def read(folder: str | Path) -> KnowledgeGraph:
    """Returns the graph of all three parts, with labels, aliases and descriptions.

    Raises:
        FormatError: a file is missing or broken; names file and line.
    """
    builder = GraphBuilder()
    journal = Journal(folder, "fb15k237")
    names: dict[str, str] = {}
    records = required(folder, "entities.jsonl")
    for number, line in lines(records, journal):
        _add(builder, names, _record(line, records, number))
    for part in ("train", "valid", "test"):
        path = required(folder, f"{part}.txt")
        for number, line in lines(path, journal):
            columns = line.split("\t")
            if len(columns) != 3:
                problem = f"expected head, relation and tail, found {len(columns)} columns"
                raise FormatError(problem, path=path, line=number, remedy=_REMEDY)
            head, relation, tail = columns
            builder.triple(names.get(head, head), relation, names.get(tail, tail))
            journal.counts["triples"] += 1
    builder.reports.append(journal.report())
    return builder.build()


def _record(line: str, path: Path, number: int) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
        mid = record["mid"]
    except (ValueError, KeyError, TypeError) as error:
        problem = f"expected a JSON object with mid ({error})"
        raise FormatError(problem, path=path, line=number, field="mid", remedy=_REMEDY) from error
    return {**record, "mid": str(mid)}


def _add(builder: GraphBuilder, names: dict[str, str], record: Mapping[str, Any]) -> None:
    entity = names[record["mid"]] = str(record.get("wikidata_id") or record["mid"])
    label, description = (str(record.get(key) or "").strip() for key in ("label", "description"))
    if label:
        builder.label(entity, "en", label)
    for alias in record.get("alternatives") or ():
        if str(alias).strip():
            builder.label(entity, "en", str(alias), preferred=False)
    if description:
        builder.attribute(entity, DESCRIPTION, description, language="en")
