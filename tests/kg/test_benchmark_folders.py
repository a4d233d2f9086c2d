"""Folders of benchmark graphs: CoDEx and FB15k-237 with what they say of entities, and what broken ones say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import kg.io
from kelm.errors import FormatError
from kg.graph import KnowledgeGraph
from kg.io import splits
from kg.labels import Attribute

RECORDS = [
    {
        "mid": "/m/1",
        "wikidata_id": "Q1",
        "label": "El Paso",
        "alternatives": ["Paso", " "],
        "description": "a city",
        "wikipedia": "https://en.wikipedia.org/wiki/El_Paso",
        "score": "7",
    },
    {"mid": "/m/2", "wikidata_id": None, "label": "Texas"},
    {"mid": "/m/4", "wikidata_id": "Q1", "label": "Paso del Norte"},
]


@pytest.fixture
def freebase(tmp_path: Path) -> Path:
    """A small FB15k-237."""
    (tmp_path / "entities.jsonl").write_text("".join(json.dumps(one) + "\n" for one in RECORDS), encoding="utf-8")
    for part, line in (("train", "/m/1\t/in\t/m/2"), ("valid", "/m/2\t/has\t/m/4"), ("test", "/m/3\t/in\t/m/2")):
        (tmp_path / f"{part}.txt").write_text(f"{line}\n", encoding="utf-8")
    (tmp_path / "relation2text.txt").write_text("/in\tlies in\n/of\tis of\n", encoding="utf-8")
    return tmp_path


def test_fb15k237_is_read_with_names_descriptions_and_the_words_of_its_relations(freebase: Path) -> None:
    graph = kg.io.read(freebase)
    assert set(graph.names()) == {("Q1", "/in", "/m/2"), ("/m/2", "/has", "Q1"), ("/m/3", "/in", "/m/2")}
    assert graph.aliases(graph.entities.id("Q1")) == ["El Paso", "Paso", "Paso del Norte"]
    assert graph.attributes.of(graph.entities.id("Q1")) == [
        Attribute("description", "a city", "en", ""),
        Attribute("wikipedia", "https://en.wikipedia.org/wiki/El_Paso", "", ""),
    ]
    assert graph.relation_label(graph.relation_names.id("/in")) == "lies in"
    dropped = {reason: count for report in graph.reports for reason, count in report.dropped.items()}
    assert dropped == {
        "blank label": 1,
        'field "score"': 1,
        "entity that shares its Wikidata id with another": 1,
        "words of a relation in no triple": 1,
    }


def test_the_parts_of_fb15k237_keep_freebases_ids_as_its_published_figures_do(freebase: Path) -> None:
    parts = splits.read(freebase)
    assert parts is not None and parts.valid is not None
    assert list(parts.valid.names()) == [("/m/2", "/has", "/m/4")]


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("entities.jsonl", '{"mid": ""}', "line 1, field mid: expected a JSON object with mid"),
        ("entities.jsonl", '{"mid": 7}', "line 1, field mid: expected text, found 7"),
        ("entities.jsonl", '{"mid": "/m/1", "alternatives": "a"}', "line 1, field alternatives: expected a list"),
        ("entities.jsonl", '{"mid": "/m/1", "label": "\\ud800"}', "line 1: this is no JSON"),
        ("entities.jsonl", "[" * 100_000, "line 1: this is no JSON"),
        ("relation2text.txt", "/in", "line 1: expected a relation and its words"),
        ("valid.txt", "/m/1\t/in", "line 1: expected 3 columns"),
    ],
)
def test_a_broken_line_of_fb15k237_is_refused_by_file_and_line_or_skipped(
    freebase: Path, file: str, line: str, problem: str
) -> None:
    (freebase / file).write_text(f"{line}\n" + (freebase / file).read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(FormatError, match=f"{file}, {problem}") as caught:
        kg.io.read(freebase)
    assert caught.value.remedy
    graph = kg.io.read(freebase, skip_bad=1)
    assert len(graph) == 3
    assert sum(len(report.bad) for report in graph.reports) == 1


def test_fb15k237_arrives_whole(data: Path) -> None:
    graph = kg.io.read(data / "kg" / "fb15k237")
    assert [report.triples for report in graph.reports[1:4]] == [272_115, 17_535, 20_466]
    assert (len(graph), graph.relation_count) == (310_113, 237)  # two of its entities are one in Wikidata
    assert all(graph.relation_label(relation) for relation in range(237))


@pytest.fixture
def codex(tmp_path: Path) -> Path:
    """A small CoDEx."""
    (tmp_path / "codex-s").mkdir()
    for part in ("train", "valid", "test"):
        (tmp_path / "codex-s" / f"{part}.txt").write_text("Q64\tP17\tQ183\n", encoding="utf-8")
    (tmp_path / "entity2types.json").write_text('{"Q64": ["Q515"], "Q9": ["Q5"]}', encoding="utf-8")
    named = {"label": "Berlin", "description": "a city", "wiki": "https://en.wikipedia.org/wiki/Berlin"}
    (tmp_path / "entities.en.json").write_text(json.dumps({"Q64": named, "Q9": named}), encoding="utf-8")
    (tmp_path / "entities.de.json").write_text(json.dumps({"Q64": named}), encoding="utf-8")
    (tmp_path / "relations.en.json").write_text('{"P17": {"label": "", "description": "of a land"}}', encoding="utf-8")
    return tmp_path


def read_english(folder: Path) -> KnowledgeGraph:
    return kg.io.codex.read(folder, "s", languages=["en"]).graph


def test_codex_keeps_descriptions_of_entities_and_counts_what_it_leaves_out(codex: Path) -> None:
    graph = read_english(codex)
    berlin = graph.entities.id("Q64")
    assert graph.label(berlin) == "Berlin"
    assert graph.attributes.of(berlin) == [Attribute("description", "a city", "en", "")]
    (report,) = [report for report in graph.reports if report.format == "codex"]
    assert (report.labels, report.types, report.attributes) == (1, 1, 1)
    assert report.dropped == {
        "relations: no label": 1,
        "relations: description": 1,
        "entities: wiki": 2,
        "entities: not in the graph": 1,
        "label in an unwanted language": 1,
        "description in an unwanted language": 1,
    }


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("entity2types.json", '{"Q64": "Q515"}', "field Q64: expected a list of types, found 'Q515'"),
        ("entity2types.json", '{"Q64": null}', "field Q64: expected a list of types"),
        ("entity2types.json", '{"Q64": [1]}', "field Q64: expected a list of types"),
        ("entity2types.json", '{"Q64": ["\\ud800"]}', "this is not JSON"),
        ("entities.en.json", '{"Q64": "Berlin"}', "field Q64: expected an object of texts"),
        ("entities.en.json", '{"Q64": {"label": ["Berlin"]}}', "field Q64: expected an object of texts"),
        ("entities.en.json", "[" * 100_000, "this is not JSON"),
        ("entities.en.json", "[]", "expected a JSON object"),
    ],
)
def test_a_file_of_codex_in_another_form_is_refused_by_its_name(
    codex: Path, file: str, content: str, problem: str
) -> None:
    (codex / file).write_text(content, encoding="utf-8")
    with pytest.raises(FormatError, match=rf"{file}.*{problem}"):
        read_english(codex)
