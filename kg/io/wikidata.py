"""Wikidata's JSON dump: an entity a line, as an array (`latest-all.json.bz2`) or as bare lines.

    [
    {"id": "Q64", "labels": {"en": {"value": "Berlin"}}, "claims": {"P17": [{"mainsnak": ..., "rank": "normal"}]}},
    ]

| in the dump                              | in the graph                                                       |
|------------------------------------------|--------------------------------------------------------------------|
| a claim whose value is an entity         | a triple; of P31 (instance of) a type as well                      |
| label, alias                             | the same, of an item or of a property                              |
| description                              | the attribute "description" with its language                      |
| any other value                          | an attribute, with the datatype of Wikidata's RDF where it has one |

Of the claims of a property the preferred ones count if there are any, else the normal ones. Qualifiers, references,
sitelinks, claims of other ranks, unknown values and missing values are counted in the report.
Source: https://doc.wikimedia.org/Wikibase/master/php/docs_topics_json.html
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kelm.data.json_text import json_object
from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io.journal import Journal, Progress
from kg.io.source import lines
from kg.labels import DESCRIPTION, Attribute, language_code
from kg.report import UNWANTED

__all__ = ["INSTANCE_OF", "feed", "read"]

INSTANCE_OF = "P31"

_REMEDY = "Copy the dump again, or allow bad lines to be skipped (skip_bad, --skip-bad)."
_XSD, _ENTITY = "http://www.w3.org/2001/XMLSchema#", "http://www.wikidata.org/entity/"
_POINT = "http://www.opengis.net/ont/geosparql#wktLiteral"
_EARTH, _GREGORIAN = f"{_ENTITY}Q2", f"{_ENTITY}Q1985727"
_TIME = re.compile(r"([+-])(\d{4,})-(\d\d)-(\d\d)T00:00:00Z")
_PRECISION = {9: ("gYear", 1), 10: ("gYearMonth", 2), 11: ("date", 3)}  # name of the datatype, parts of the date


def read(path: str | Path, *, languages: Collection[str] | None = None, skip_bad: int = 0) -> KnowledgeGraph:
    """Returns the graph of a dump, with names and descriptions in `languages` (all there are if None)."""
    builder = GraphBuilder(languages=languages)
    feed(builder, path, skip_bad=skip_bad)
    return builder.build()


def feed(builder: GraphBuilder, path: str | Path, *, skip_bad: int = 0, progress: Progress | None = None) -> Report:
    """Adds the items and properties of a dump to `builder`, line by line.

    Raises:
        FormatError: a line is no entity of Wikidata, unless `skip_bad` allows it; names file and line.
    """
    journal = Journal(path, "wikidata", skip_bad=skip_bad, progress=progress)
    for number, line in lines(path, journal):
        text = line.strip().removeprefix("[").removesuffix("]").rstrip(", \t")
        if not text:
            journal.drop("line without an entity")
            continue
        try:
            said = _said(text, path, number, builder)
        except FormatError as error:
            journal.bad(error, line=number, reason="no entity of Wikidata")
        else:
            _add(builder, said, journal)
    report = journal.report()
    builder.reports.append(report)
    return report


@dataclass(slots=True)
class _Said:
    """What one line says, checked as a whole before any of it is added."""

    name: str
    kind: str
    labels: list[tuple[str, str, bool]] = field(default_factory=list)  # language, text, preferred
    triples: list[tuple[str, str]] = field(default_factory=list)  # relation, tail
    attributes: list[Attribute] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def _said(text: str, path: str | Path, number: int, builder: GraphBuilder) -> _Said:
    record = json_object(text, path, number)
    try:
        said = _Said(_name(record["id"]), str(record.get("type", "item")))
        if said.kind not in ("item", "property"):
            said.dropped[f"entity of another kind ({said.kind})"] += 1
            return said
        _names(said, record, builder)
        for relation, claims in _mapping(record.get("claims")).items():
            for snak in _best(claims, said.dropped):
                _value(said, _name(relation), snak)
        said.dropped["sitelink"] += len(_mapping(record.get("sitelinks")))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        remedy = f"{_REMEDY} Name the format if this is another one, such as jsonld."
        raise FormatError(f"expected an entity of Wikidata ({what})", remedy=remedy) from error
    return said


def _add(builder: GraphBuilder, said: _Said, journal: Journal) -> None:
    for reason, count in said.dropped.items():
        journal.drop(reason, count)
    if said.kind not in ("item", "property"):
        return
    (builder.entity if said.kind == "item" else builder.relation)(said.name)
    for language, text, preferred in said.labels:
        builder.label_any(said.name, language, text, preferred=preferred)
    for relation, tail in said.triples:
        builder.triple(said.name, relation, tail)
        if relation == INSTANCE_OF:
            builder.type(said.name, tail)
            journal.counts["types"] += 1
    for property, text, language, datatype in said.attributes:
        builder.attribute(said.name, property, text, language=language, datatype=datatype)
    journal.counts["labels"] += len(said.labels)
    journal.counts["triples"] += len(said.triples)
    journal.counts["attributes"] += len(said.attributes)


def _names(said: _Said, record: Mapping[str, Any], builder: GraphBuilder) -> None:
    for preferred, kind in ((True, "labels"), (False, "aliases")):
        for language, found in _mapping(record.get(kind)).items():
            if builder.language(language) < 0:
                said.dropped[UNWANTED] += 1 if preferred else len(found)
                continue
            texts = [_text(one["value"]) for one in ([found] if preferred else found)]
            visible = [text for text in texts if text.strip()]
            said.dropped["blank label"] += len(texts) - len(visible)
            said.labels += [(language, text, preferred) for text in visible]
    for language, found in _mapping(record.get("descriptions")).items():
        if builder.language(language) < 0:
            said.dropped["description in an unwanted language"] += 1
        else:
            said.attributes.append(Attribute(DESCRIPTION, _text(found["value"]), language, ""))


def _best(claims: Any, dropped: Counter[str]) -> Iterator[Mapping[str, Any]]:
    """Yields the main values of the claims that count, and counts what is left of the others."""
    if not isinstance(claims, list):
        raise TypeError(f"expected a list of claims, found {type(claims).__name__}")
    ranks = [claim.get("rank", "normal") for claim in claims]
    best = "preferred" if "preferred" in ranks else "normal"
    for claim, rank in zip(claims, ranks, strict=True):
        if rank not in ("preferred", "normal", "deprecated"):
            raise ValueError(f'no rank is called "{rank}"')
        if rank != best:
            dropped["deprecated claim" if rank == "deprecated" else "normal claim beside a preferred one"] += 1
            continue
        dropped["qualifier"] += sum(map(len, _mapping(claim.get("qualifiers")).values()))
        dropped["reference"] += len(claim.get("references", ()))
        snak = claim["mainsnak"]
        if snak["snaktype"] in ("somevalue", "novalue"):
            dropped["unknown value" if snak["snaktype"] == "somevalue" else "claim that there is no value"] += 1
            continue
        yield snak


def _value(said: _Said, relation: str, snak: Mapping[str, Any]) -> None:
    kind, value = snak["datavalue"]["type"], snak["datavalue"]["value"]
    if kind == "wikibase-entityid":
        said.triples.append((relation, _entity(value)))
        return
    text, language, datatype = _literal(kind, value, said.dropped)
    said.attributes.append(Attribute(relation, text, language, datatype))


def _literal(kind: str, value: Any, dropped: Counter[str]) -> tuple[str, str, str]:
    """Returns text, language and datatype of a value; what they cannot hold is counted."""
    if kind == "string":
        return _text(value), "", ""
    if kind == "monolingualtext":
        return _text(value["text"]), language_code(_text(value["language"])), ""
    if kind == "quantity":
        dropped["bounds of a quantity"] += "upperBound" in value or "lowerBound" in value
        unit = _text(value["unit"])
        return _text(value["amount"]), "", f"{_XSD}decimal" if unit == "1" else unit
    if kind == "time":
        dropped["other calendar than the Gregorian"] += value.get("calendarmodel", _GREGORIAN) != _GREGORIAN
        return _date(_text(value["time"]), value["precision"])
    if kind == "globecoordinate":
        globe = value.get("globe") or _EARTH
        place = f"Point({float(value['longitude'])} {float(value['latitude'])})"
        return place if globe == _EARTH else f"<{globe}> {place}", "", _POINT
    return json.dumps(value, ensure_ascii=False, sort_keys=True), "", f"{_XSD}anyType"


def _date(time: str, precision: int) -> tuple[str, str, str]:
    """Returns a date as exact as it is known; one that XML Schema cannot write stays as it stands, a century say."""
    found = _TIME.fullmatch(time)
    if found is None or precision not in _PRECISION:
        return time, "", ""
    sign, *parts = found.groups()
    name, count = _PRECISION[precision]
    if "00" in parts[1:count]:
        return time, "", ""
    return "-".join(parts[:count]) if sign == "+" else "-" + "-".join(parts[:count]), "", f"{_XSD}{name}"


def _entity(value: Mapping[str, Any]) -> str:
    if "id" in value:
        return _name(value["id"])
    letter = {"item": "Q", "property": "P"}[value["entity-type"]]  # dumps before 2017 have the number only
    return f"{letter}{int(value['numeric-id'])}"


def _mapping(value: Any) -> Mapping[str, Any]:
    """Returns an object of the dump; an empty one may also be written as an empty list."""
    if value is None or value == []:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {type(value).__name__}")
    return value


def _name(value: Any) -> str:
    if not _text(value).strip():
        raise ValueError("a blank id")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value
