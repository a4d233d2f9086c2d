"""SPARQL: a query chooses what of RDF files becomes the graph."""

from __future__ import annotations

from pathlib import Path

import pytest

import kg.io
from kelm.cli import run
from kelm.errors import FormatError
from kg.graph import KnowledgeGraph
from kg.io import sparql
from tests.kg.facts import facts

TURTLE = """@prefix : <http://e/> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
:berlin a :City ; rdfs:label "Berlin"@en, "베를린"@ko ; :in :germany ; :founded 1237 .
:spree a :River ; :in :germany ; rdfs:label "Spree"@en .
[] :near :berlin .
"""
MORE = "<http://e/berlin> <http://e/near> _:b . _:b <http://e/in> <http://e/germany> .\n"
CITIES = "SELECT ?s ?p ?o WHERE { ?s a <http://e/City> . ?s ?p ?o }"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    (tmp_path / "cities.ttl").write_text(TURTLE)
    (tmp_path / "more.ttl").write_text(MORE)
    return [tmp_path / "cities.ttl", tmp_path / "more.ttl"]


def test_a_select_chooses_statements_of_several_files(paths: list[Path]) -> None:
    graph = sparql.read(*paths, query=CITIES, languages=["en"])
    assert {relation for _, relation, _ in graph.names()} == {"http://e/in", "http://e/near"}
    assert facts(graph)["types"] == {("http://e/berlin", "http://e/City")}
    berlin = graph.entities.id("http://e/berlin")
    assert graph.label(berlin) == "Berlin"
    assert [literal.text for literal in graph.attributes.of(berlin)] == ["1237"]
    *loaded, answered = graph.reports
    assert [report.dropped for report in loaded] == [
        {"statement that only the query sees": 9},
        {"statement that only the query sees": 2},
    ]
    assert (answered.lines, answered.triples, answered.labels) == (6, 2, 1)
    assert answered.dropped == {"label in an unwanted language": 1}


def test_a_construct_makes_statements_anew(paths: list[Path]) -> None:
    query = "CONSTRUCT { ?o <http://e/holds> ?s } WHERE { ?s <http://e/in> ?o . FILTER isIRI(?s) }"
    assert set(sparql.read(*paths, query=query).names()) == {
        ("http://e/germany", "http://e/holds", "http://e/berlin"),
        ("http://e/germany", "http://e/holds", "http://e/spree"),
    }


def test_all_there_is_gives_the_graph_of_the_file(paths: list[Path]) -> None:
    whole = sparql.read(paths[0], query="CONSTRUCT WHERE { ?s ?p ?o }")
    assert facts(whole) == facts(kg.io.read(paths[0]))


def test_blank_nodes_of_two_files_are_different_ones(paths: list[Path]) -> None:
    graph = sparql.read(*paths, query="SELECT ?s ?p ?o WHERE { ?s ?p ?o FILTER(isBlank(?s) || isBlank(?o)) }")
    assert set(graph.names()) == {
        ("_:b0", "http://e/near", "http://e/berlin"),
        ("http://e/berlin", "http://e/near", "_:b1"),
        ("_:b1", "http://e/in", "http://e/germany"),
    }


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELEC ?s", "this is not SPARQL"),
        ("ASK { ?s ?p ?o }", "expected SELECT or CONSTRUCT, found ASK"),
        ("SELECT ?s WHERE { ?s ?p ?o }", r"expected three variables, found \?s"),
        ("SELECT ?o ?p ?s WHERE { ?s ?p ?o }", r"query, line \d: .* is no statement"),
        ("SELECT ?s ?p ?o WHERE { SERVICE <http://localhost:1/> { ?s ?p ?o } }", "the query failed"),
    ],
)
def test_a_broken_query_is_refused(paths: list[Path], query: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        sparql.read(*paths, query=query)
    assert caught.value.remedy


def test_answers_that_are_no_statement_may_be_skipped_and_unbound_ones_are_counted(paths: list[Path]) -> None:
    graph = sparql.read(paths[0], query="SELECT ?o ?p ?s WHERE { ?s ?p ?o }", skip_bad=9)
    assert graph.reports[-1].dropped == {"answer that is no statement": 4}
    graph = sparql.read(paths[0], query="SELECT ?s ?p ?x WHERE { ?s ?p ?o }")
    assert graph.reports[-1].dropped == {"answer with an unbound variable": 9}


def test_build_takes_a_query_or_a_file_of_one(
    paths: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cities.rq").write_text(CITIES)
    sources = list(map(str, paths))
    for number, given in enumerate((CITIES, str(tmp_path / "cities.rq"))):
        out = tmp_path / f"graph{number}"
        assert run(["graph", "build", *sources, "--sparql", given, "--out", str(out), "--quiet"]) == 0
        assert len(KnowledgeGraph.open(out)) == 2
    capsys.readouterr()
    assert run(["graph", "build", *sources, "--sparql", "gone.rq", "--out", str(tmp_path / "g")]) == 2
    assert "gone.rq: the query cannot be read" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "table.tsv").write_text("a\tp\tb\n")
    assert run(["graph", "build", str(tmp_path / "table.tsv"), "--sparql", CITIES, "--out", str(tmp_path / "g")]) == 2
    assert "is no RDF syntax" in " ".join(capsys.readouterr().err.split())
