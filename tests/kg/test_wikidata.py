"""Wikidata's JSON dump: what becomes of an entity, what is counted, and what a broken line says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import kg.io
from kelm.errors import FormatError
from kg.graph import KnowledgeGraph
from kg.io import wikidata
from kg.labels import Attribute

XSD = "http://www.w3.org/2001/XMLSchema#"


def claim(kind: str, value: Any, *, rank: str = "normal", **more: Any) -> dict[str, Any]:
    return {"mainsnak": {"snaktype": "value", "datavalue": {"type": kind, "value": value}}, "rank": rank, **more}


def item(name: str, **more: Any) -> dict[str, Any]:
    return claim("wikibase-entityid", {"entity-type": "item", "id": name}, **more)


def texts(**by_language: str) -> dict[str, Any]:
    return {language: {"language": language, "value": text} for language, text in by_language.items()}


BERLIN: dict[str, Any] = {
    "type": "item",
    "id": "Q64",
    "labels": texts(en="Berlin", ko="베를린"),
    "aliases": {"en": [{"language": "en", "value": "Berlin, Germany"}]},
    "descriptions": texts(en="capital of Germany", fr="capitale de l’Allemagne"),
    "claims": {
        "P31": [item("Q515", qualifiers={"P580": [{}, {}]}, references=[{}])],
        "P17": [item("Q183", rank="preferred"), item("Q43287"), item("Q16957", rank="deprecated")],
    },
    "sitelinks": {"enwiki": {"title": "Berlin"}},
}


def dump(path: Path, *records: Any) -> Path:
    lines = ["[", *(f"{json.dumps(record, ensure_ascii=False)}," for record in records[:-1])]
    path.write_text("\n".join([*lines, json.dumps(records[-1], ensure_ascii=False), "]", ""]), encoding="utf-8")
    return path


def literals(tmp_path: Path, *claims: dict[str, Any]) -> list[Attribute]:
    path = dump(tmp_path / "one.json", {"id": "Q1", "claims": {"P1": list(claims)}})
    return wikidata.read(path).attributes.of(0)


def test_an_item_becomes_triples_types_names_and_descriptions(tmp_path: Path) -> None:
    graph = kg.io.read(dump(tmp_path / "dump.json", BERLIN), languages=["en", "ko"])
    assert list(graph.names()) == [("Q64", "P31", "Q515"), ("Q64", "P17", "Q183")]
    berlin = graph.entities.id("Q64")
    assert graph.aliases(berlin) == ["Berlin", "Berlin, Germany"]
    assert graph.label(berlin, "ko") == "베를린"
    assert [graph.types.names[kind] for kind in graph.types.of(berlin)] == ["Q515"]
    assert graph.attributes.of(berlin) == [Attribute("description", "capital of Germany", "en", "")]
    (report,) = graph.reports
    assert (report.lines, report.triples, report.labels, report.types, report.attributes) == (3, 2, 3, 1, 1)
    assert report.dropped == {
        "line without an entity": 2,
        "description in an unwanted language": 1,
        "qualifier": 2,
        "reference": 1,
        "normal claim beside a preferred one": 1,
        "deprecated claim": 1,
        "sitelink": 1,
    }


def test_a_property_is_a_relation_with_a_name(tmp_path: Path) -> None:
    record = {"type": "property", "id": "P17", "labels": texts(en="country"), "claims": {"P1629": [item("Q6256")]}}
    graph = wikidata.read(dump(tmp_path / "dump.json", BERLIN, record))
    assert graph.relation_label(graph.relation_names.id("P17")) == "country"
    assert ("P17", "P1629", "Q6256") in set(graph.names())


def test_bare_lines_an_array_on_the_same_lines_and_a_compressed_dump_give_the_same_graph(tmp_path: Path) -> None:
    expected = wikidata.read(dump(tmp_path / "array.json", BERLIN, {"id": "Q1"}))
    one, two = json.dumps(BERLIN), json.dumps({"id": "Q1"})
    (tmp_path / "lines.json").write_text(f"{one}\n{two}\n")
    (tmp_path / "tight.json").write_text(f"[{one},\r\n{two}]")
    (tmp_path / "small.json.gz").write_bytes(gzip.compress((tmp_path / "array.json").read_bytes()))
    for name in ("lines.json", "tight.json", "small.json.gz"):
        assert kg.io.read(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", "DE-BE", ("DE-BE", "", "")),
        ("monolingualtext", {"text": "Berlin", "language": "de"}, ("Berlin", "de", "")),
        ("quantity", {"amount": "+3755251", "unit": "1"}, ("+3755251", "", f"{XSD}decimal")),
        (
            "quantity",
            {"amount": "+891.8", "unit": "http://www.wikidata.org/entity/Q712226"},
            ("+891.8", "", "http://www.wikidata.org/entity/Q712226"),
        ),
        ("time", {"time": "+1237-10-28T00:00:00Z", "precision": 11}, ("1237-10-28", "", f"{XSD}date")),
        ("time", {"time": "+1237-00-00T00:00:00Z", "precision": 9}, ("1237", "", f"{XSD}gYear")),
        ("time", {"time": "-0044-03-00T00:00:00Z", "precision": 10}, ("-0044-03", "", f"{XSD}gYearMonth")),
        ("time", {"time": "+1300-00-00T00:00:00Z", "precision": 7}, ("+1300-00-00T00:00:00Z", "", "")),
        ("time", {"time": "+1300-00-00T00:00:00Z", "precision": 11}, ("+1300-00-00T00:00:00Z", "", "")),
        (
            "globecoordinate",
            {"latitude": 52.5, "longitude": 13, "globe": "http://www.wikidata.org/entity/Q2"},
            ("Point(13.0 52.5)", "", "http://www.opengis.net/ont/geosparql#wktLiteral"),
        ),
        (
            "globecoordinate",
            {"latitude": 1, "longitude": 2, "globe": "http://www.wikidata.org/entity/Q405"},
            (
                "<http://www.wikidata.org/entity/Q405> Point(2.0 1.0)",
                "",
                "http://www.opengis.net/ont/geosparql#wktLiteral",
            ),
        ),
        ("new kind", {"b": 1, "a": "x"}, ('{"a": "x", "b": 1}', "", f"{XSD}anyType")),
    ],
)
def test_a_value_that_is_no_entity_is_kept_as_a_literal(
    tmp_path: Path, kind: str, value: Any, expected: tuple[str, str, str]
) -> None:
    assert literals(tmp_path, claim(kind, value)) == [Attribute("P1", *expected)]


def test_unknown_and_missing_values_bounds_and_calendars_are_counted(tmp_path: Path) -> None:
    claims = [
        {"mainsnak": {"snaktype": "somevalue"}},
        {"mainsnak": {"snaktype": "novalue"}},
        claim("quantity", {"amount": "+1", "unit": "1", "upperBound": "+2", "lowerBound": "0"}),
        claim("time", {"time": "+1500-01-01T00:00:00Z", "precision": 11, "calendarmodel": "Julian"}),
    ]
    graph = wikidata.read(dump(tmp_path / "one.json", {"id": "Q1", "claims": {"P1": claims}}))
    assert len(graph.attributes) == 2
    assert graph.reports[0].dropped == {
        "line without an entity": 2,
        "unknown value": 1,
        "claim that there is no value": 1,
        "bounds of a quantity": 1,
        "other calendar than the Gregorian": 1,
    }


def test_an_entity_by_number_an_empty_list_for_an_object_and_other_kinds_are_read(tmp_path: Path) -> None:
    old = claim("wikibase-entityid", {"entity-type": "item", "numeric-id": 42})
    records = [{"id": "Q1", "labels": [], "claims": {"P1": [old]}}, {"id": "L1", "type": "lexeme"}, {"id": "Q2"}]
    graph = wikidata.read(dump(tmp_path / "one.json", *records))
    assert list(graph.names()) == [("Q1", "P1", "Q42")]
    assert set(graph.entities) == {"Q1", "Q2", "Q42"}
    assert graph.reports[0].dropped["entity of another kind (lexeme)"] == 1


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]x",
        '"Q1"',
        "{}",
        '{"id": 1}',
        '{"id": " "}',
        '{"id": "Q1", "labels": {"en": "x"}}',
        '{"id": "Q1", "labels": {"en": {"value": "\\ud800"}}}',
        '{"id": "Q1", "claims": {"P1": {}}}',
        '{"id": "Q1", "claims": {"P1": [{"rank": "best"}]}}',
        '{"id": "Q1", "claims": {"P1": [{"mainsnak": {"snaktype": "value"}}]}}',
        '{"id": "Q1", "claims": {" ": [{"mainsnak": {"snaktype": "value"}}]}}',
        json.dumps({"id": "Q1", "claims": {"P1": [claim("time", {"time": 1, "precision": []})]}}),
        json.dumps({"id": "Q1", "claims": {"P1": [claim("globecoordinate", {"latitude": 10**400, "longitude": 1})]}}),
        '{"id": ' + "[" * 100_000,
    ],
)
def test_a_broken_line_is_refused_by_file_and_line_or_skipped_whole(tmp_path: Path, line: str) -> None:
    path = tmp_path / "dump.json"
    path.write_text(f'{{"id": "Q7"}}\n{line}\n')
    with pytest.raises(FormatError, match=r"dump\.json, line 2: ") as caught:
        wikidata.read(path)
    assert caught.value.remedy
    graph = wikidata.read(path, skip_bad=1)
    assert list(graph.entities) == ["Q7"]
    assert graph.reports[0].dropped == {"no entity of Wikidata": 1}


def test_the_dump_has_no_writer(tmp_path: Path) -> None:
    graph = KnowledgeGraph.from_triples([("a", "p", "b")])
    with pytest.raises(FormatError, match="no file can be written as"):
        kg.io.write(graph, tmp_path / "graph.json")
