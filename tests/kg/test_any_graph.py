"""Any graph in, any graph out: odd graphs go through every format in any order and stay what they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import kg.io
from kelm.cli import run
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import names, tsv
from kg.io.networkx import to_networkx
from kg.io.pykeen import to_pykeen
from kg.io.rdflib import to_rdflib
from tests.kg.facts import facts
from tests.kg.test_graph import NAMES
from tests.kg.test_io_rdf import graphs

SUBCLASS = "http://www.w3.org/2000/01/rdf-schema#subClassOf"
LONG = "long " * 20_000  # 100 kB
HEBREW, COMBINED, FAMILY = "\u202bברלין\u202c", "Bu\u0308cher Z\u0361a", "👩‍👩‍👧"


def hostile() -> KnowledgeGraph:
    """Everything that readers and writers may stumble over, in one graph."""
    builder = GraphBuilder()
    for triple in (
        ("http://e/a.b.c.", "http://e/in", "http://e/Zürich/北京"),
        ("http://e/a.b.c.", "http://e/in", "http://e/Zürich/北京"),
        ("New York, NY", 'lies "in" <the>', "U.S.A."),
        ("http://e/loop", "http://e/in", "http://e/loop"),
        ("http://e/in", "http://e/inverse", "http://e/contains"),  # relations as entities
        ("http://e/in", "http://e/in", "http://e/in"),
        ("A", SUBCLASS, "B"),
        ("B", SUBCLASS, "A"),
        ("C", SUBCLASS, "C"),
        ("urn:kelm:entity:%41", "urn:kelm:relation:x", "%41"),
        ("\\", "'", "#"),
    ):
        builder.triple(*triple)
    for entity, kind in (("A", "B"), ("B", "A"), ("C", "C"), ("http://e/in", "http://e/in")):
        builder.type(entity, kind)
    for language, text in (("he", HEBREW), ("de", COMBINED), ("", FAMILY), ("en", LONG), ("en", "short")):
        builder.label("New York, NY", language, text, preferred=text != "short")
    builder.relation_label("http://e/in", "en", "in")
    builder.type_label("A", "ko", "가")
    builder.attribute("C", "note", LONG, language="en")
    builder.attribute("C", "note", " \n\t\"'\\ ", datatype="my unit")
    return builder.build()


def through_file(name: str) -> Callable[[KnowledgeGraph, Path], KnowledgeGraph]:
    def there_and_back(graph: KnowledgeGraph, folder: Path) -> KnowledgeGraph:
        kg.io.write(graph, folder / name)
        return kg.io.read(folder / name)

    return there_and_back


def through_folder(graph: KnowledgeGraph, folder: Path) -> KnowledgeGraph:
    graph.save(folder / "saved")
    return kg.io.read(folder / "saved")


def through_tables(name: str) -> Callable[[KnowledgeGraph, Path], KnowledgeGraph]:
    def there_and_back(graph: KnowledgeGraph, folder: Path) -> KnowledgeGraph:
        tsv.write(graph, folder / name)
        names.write(graph, folder / f"names-{name}")
        builder = GraphBuilder()
        tsv.feed(builder, folder / name)
        names.feed(builder, folder / f"names-{name}")
        return builder.build()

    return there_and_back


WHOLE: dict[str, Callable[[KnowledgeGraph, Path], KnowledgeGraph]] = {
    **{name: through_file(name) for name in ("g.nt", "g.ttl", "g.nq", "g.trig.gz", "g.rdf", "g.jsonld", "g.owl.bz2")},
    "rdflib": lambda graph, folder: kg.io.read(to_rdflib(graph)),
    "networkx": lambda graph, folder: kg.io.read(to_networkx(graph)),
    "saved": through_folder,
}
"""Formats that hold all of a graph."""

TRIPLES: dict[str, Callable[[KnowledgeGraph, Path], KnowledgeGraph]] = {
    **{
        name: through_file(name)
        for name in ("g.tsv", "g.csv", "g.txt.gz", "g.nt", "g.ttl", "g.trig", "g.jsonld", "g.spo")
    },
    "pykeen": lambda graph, folder: kg.io.read(to_pykeen(graph)),
    "saved": through_folder,
}


@given(graphs(), some.permutations(sorted(WHOLE)))
@settings(deadline=None, max_examples=20)
def test_a_graph_goes_through_all_formats_in_any_order_and_stays_what_it_is(
    tmp_path_factory: pytest.TempPathFactory, graph: KnowledgeGraph, order: list[str]
) -> None:
    expected, current = facts(graph), graph
    for name in order:
        current = WHOLE[name](current, tmp_path_factory.getbasetemp())
        assert facts(current) == expected, name


@given(some.lists(some.tuples(NAMES, NAMES, NAMES), min_size=1), some.permutations(sorted(TRIPLES)))
@settings(deadline=None, max_examples=20)
def test_triples_go_through_all_formats_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, triples: list[tuple[str, str, str]], order: list[str]
) -> None:
    current = KnowledgeGraph.from_triples(triples)
    for name in order:
        current = TRIPLES[name](current, tmp_path_factory.getbasetemp())
        assert set(current.names()) == set(triples), name


@pytest.mark.parametrize("name", WHOLE)
def test_a_hostile_graph_stays_whole(name: str, tmp_path: Path) -> None:
    graph = hostile()
    if name in ("g.rdf", "g.owl.bz2"):  # RDF/XML wants relations that end in a name
        graph = graph.where(np.array([not relation.endswith((">", "'")) for _, relation, _ in graph.names()]))
    assert facts(WHOLE[name](graph, tmp_path))["triples"] == facts(graph)["triples"]
    assert facts(WHOLE[name](graph, tmp_path))["labels"] >= facts(graph)["labels"]


@pytest.mark.parametrize("name", ["g.tsv", "g.csv"])
def test_triples_and_names_of_a_hostile_graph_stay_in_tables(name: str, tmp_path: Path) -> None:
    again = through_tables(name)(hostile(), tmp_path)
    assert list(again.names()) == list(hostile().names())
    kept = {label for label in facts(hostile())["labels"] if label[0] not in ("A",)}
    assert kept <= facts(again)["labels"]


def test_a_hostile_graph_is_built_shown_counted_and_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    kg.io.write(hostile(), "hostile.ttl")
    assert run(["graph", "build", "hostile.ttl", "--out", "graph", "--quiet"]) == 0
    capsys.readouterr()
    assert run(["graph", "info", "graph", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["triples"], found["loops"]) == (10, 3)
    for entity in hostile().entities:
        assert run(["graph", "show", "graph", entity]) == 0
    capsys.readouterr()
    text = f"אל {HEBREW} — {COMBINED}! {FAMILY}{FAMILY}"
    Path("text.txt").write_text(text + "\n", encoding="utf-8")
    assert run(["graph", "link", "graph", "text.txt"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    spans = [text[start:stop] for start, stop, entity in json.loads(line)["mentions"] if entity == "New York, NY"]
    assert HEBREW.strip("\u202b\u202c") in {span.strip("\u202b\u202c") for span in spans}
    assert COMBINED in spans


def test_a_graph_without_triples_is_built_saved_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.nt").write_text("# nothing yet\n")
    assert run(["graph", "build", "empty.nt", "--out", "graph", "--quiet"]) == 0
    assert capsys.readouterr().out == "graph: 0 triples, 0 entities, 0 relations\n"
    assert run(["graph", "info", "graph"]) == 0
    assert run(["graph", "export", "graph", "--to", "again.ttl"]) == 0
    assert run(["graph", "show", "graph", "x"]) == 2
    assert "no entity has the name" in capsys.readouterr().err
