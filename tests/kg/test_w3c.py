"""The W3C's RDF 1.1 test suites through our readers: every test of every suite, or its reason here."""

from __future__ import annotations

import tarfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import canonicalize

import pyoxigraph
import pytest

from kelm.errors import FormatError
from kg.graph import KnowledgeGraph
from kg.io import oxigraph, rdf, terms

MANIFEST = "http://www.w3.org/2001/sw/DataAccess/tests/test-manifest#"
SUITES = {  # how many tests of each kind a manifest lists
    "rdf-n-triples": {"NTriplesPositiveSyntax": 41, "NTriplesNegativeSyntax": 29},
    "rdf-n-quads": {"NQuadsPositiveSyntax": 53, "NQuadsNegativeSyntax": 34},
    "rdf-turtle": {"TurtlePositiveSyntax": 74, "TurtleNegativeSyntax": 94, "TurtleEval": 145},
    "rdf-trig": {"TrigPositiveSyntax": 98, "TrigNegativeSyntax": 115, "TrigEval": 143},
    "rdf-xml": {"XMLEval": 126, "XMLNegativeSyntax": 40},
}
EMPTY = "legal RDF, and here an error: a file with nothing in it is never what was meant"
NAMESPACES = "pyoxigraph writes into an XML literal all namespaces in scope; RDF 1.1 does not ask for a canonical form"
EXCEPTIONS = {
    "rdf-n-triples/nt-syntax-file-01.nt": EMPTY,
    "rdf-n-quads/nt-syntax-file-01.nq": EMPTY,
    "rdf-turtle/turtle-syntax-file-01.ttl": EMPTY,
    "rdf-trig/trig-syntax-file-01.trig": EMPTY,
    "rdf-xml/xml-canon/test001.rdf": NAMESPACES,
    "rdf-xml/xml-canon/test002.rdf": NAMESPACES,
}


class Case(NamedTuple):
    """One test: the file to read and, for an evaluation, the file that says what it says."""

    kind: str
    action: str
    result: str


@cache
def archive(path: Path) -> dict[str, bytes]:
    """Returns the files of a tar archive."""
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def cases(manifest: Path, base: str) -> list[Case]:
    """Returns the tests of a manifest, which is read as any other graph."""
    graph = rdf.read(manifest, base=base)
    listed = {tail for _, relation, tail in graph.names() if relation.endswith("#first")}
    places = {
        (head, relation.removeprefix(MANIFEST)): tail.removeprefix(base) for head, relation, tail in graph.names()
    }
    found = []
    for name in graph.entities:
        if name in listed and (name, "action") in places:
            kind = graph.types.names[int(graph.types.of(graph.entities.id(name))[0])].rpartition("#Test")[2]
            found.append(Case(kind, places[name, "action"], places.get((name, "result"), "")))
    return found


def canonical(triples: list[pyoxigraph.Triple]) -> set[str]:
    """Returns statements with blank nodes named by their place in the graph, so that equal sets are equal graphs."""
    dataset = pyoxigraph.Dataset(pyoxigraph.Quad(*triple) for triple in triples)
    dataset.canonicalize(pyoxigraph.CanonicalizationAlgorithm.UNSTABLE)
    return set(map(str, dataset))


def said(graph: KnowledgeGraph) -> set[str]:
    """Returns what a graph says as the writers of RDF say it."""
    return canonical([oxigraph._triple(statement) for statement in terms.statements(graph)])


def expected(content: bytes, name: str) -> set[str]:
    syntax = pyoxigraph.RdfFormat.from_extension(name.rpartition(".")[2])
    return canonical([quad.triple for quad in pyoxigraph.parse(content, format=syntax)])


def passes(case: Case, folder: str, files: dict[str, bytes], base: str, place: Path) -> bool:
    """Runs one test: a bad file is refused with line and remedy, a good one gives the graph that it should."""
    path = place / f"{Path(case.action).name}"
    path.write_bytes(files[f"{folder}/{case.action}"])
    if "Negative" in case.kind:
        with pytest.raises(FormatError) as caught:
            print(case, rdf.read(path, base=base + case.action))
        return caught.value.line is not None and bool(caught.value.remedy)
    try:
        graph = rdf.read(path, base=base + case.action)
    except FormatError:
        return False
    if not case.result:
        return True
    return said(graph) == expected(files[f"{folder}/{case.result}"], case.result)


@pytest.mark.parametrize("folder", SUITES)
def test_the_w3c_tests_pass(folder: str, data: Path, tmp_path: Path) -> None:
    files = archive(data / "kg" / "rdf" / "w3c_rdf11_tests.tar.gz")
    base = f"https://w3c.github.io/rdf-tests/rdf/rdf11/{folder}/"
    (tmp_path / "manifest.ttl").write_bytes(files[f"{folder}/manifest.ttl"])
    found = cases(tmp_path / "manifest.ttl", base)
    assert Counter(case.kind for case in found) == SUITES[folder]
    failed = [
        case
        for case in found
        if f"{folder}/{case.action}" not in EXCEPTIONS and not passes(case, folder, files, base, tmp_path)
    ]
    assert not failed


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_is_what_its_reason_says(name: str, data: Path, tmp_path: Path) -> None:
    content = archive(data / "kg" / "rdf" / "w3c_rdf11_tests.tar.gz")[name]
    path = tmp_path / Path(name).name
    path.write_bytes(content)
    if EXCEPTIONS[name] == EMPTY:
        assert content == b""
        with pytest.raises(FormatError, match="the file is empty"):
            rdf.read(path)
        return
    graph = rdf.read(path, base="http://e/")
    literals = {attribute.text for entity in range(graph.entity_count) for attribute in graph.attributes.of(entity)}
    assert {canonicalize(text) for text in literals} == {"<br></br>"}
