"""RDF in and out: the fast N-Triples reader against pyoxigraph and the W3C's tests, Turtle, rdflib."""

from __future__ import annotations

import re
from pathlib import Path

import pyoxigraph
import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as some

from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import ntriples, oxigraph, rdf, terms
from kg.io.journal import Journal
from kg.io.rdflib import from_rdflib, to_rdflib
from tests.kg.facts import facts

LABEL = "<http://www.w3.org/2000/01/rdf-schema#label>"
ALIAS = "<http://www.w3.org/2004/02/skos/core#altLabel>"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TYPE = f"<{RDF}type>"


def by_pyoxigraph(content: bytes) -> KnowledgeGraph:
    """The slow way to the same graph: every statement through pyoxigraph."""
    builder, journal = GraphBuilder(), Journal("oracle", "oracle")
    for quad in pyoxigraph.parse(content, format=pyoxigraph.RdfFormat.N_TRIPLES):
        statement = oxigraph._statement(quad)
        assert statement is not None
        terms.add(builder, journal, terms.named(statement))
    return builder.build()


def read(content: bytes, folder: Path, **options: object) -> KnowledgeGraph:
    path = folder / "graph.nt"
    path.write_bytes(content)
    return rdf.read(path, **options)  # type: ignore[arg-type]


SMALL = f"""\
# a comment
<http://e/Berlin> <http://e/country> <http://e/Germany> .
<http://e/Berlin> {LABEL} "Berlin"@de .
<http://e/Berlin> {ALIAS} "Spree-Athen"@DE .
<http://e/Berlin> {LABEL} "ber\\u006Cin \\"quoted\\""@en .
<http://e/country> {LABEL} "country"@en .

<http://e/Berlin> {TYPE} <http://e/City> .
<http://e/City> {LABEL} "city"@en .
<http://e/Berlin> <http://e/founded> "1237"^^<http://www.w3.org/2001/XMLSchema#gYear> .
<http://e/Berlin> <http://e/motto> "be Berlin" .
_:someone <http://e/lives> <http://e/Berlin> .
<http://e/Berlin>\t<http://e/near><http://e/Potsdam>.
""".encode()


def test_each_kind_of_statement_finds_its_place(tmp_path: Path) -> None:
    graph = read(SMALL, tmp_path)
    berlin = graph.entities.id("http://e/Berlin")
    assert set(graph.names()) == {
        ("http://e/Berlin", "http://e/country", "http://e/Germany"),
        ("_:someone", "http://e/lives", "http://e/Berlin"),
        ("http://e/Berlin", "http://e/near", "http://e/Potsdam"),
    }
    assert graph.aliases(berlin, "de") == ["Berlin", "Spree-Athen"]
    assert graph.label(berlin, "en") == 'berlin "quoted"'
    assert graph.relation_label(graph.relation_names.id("http://e/country")) == "country"
    assert graph.type_label(int(graph.types.of(berlin)[0])) == "city"
    assert [(a.property, a.text) for a in graph.attributes.of(berlin)] == [
        ("http://e/founded", "1237"),
        ("http://e/motto", "be Berlin"),
    ]
    report = graph.reports[0]
    assert (report.lines, report.triples, report.labels, report.types, report.attributes) == (13, 3, 5, 1, 2)


def test_triples_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    content = "".join(
        f"{head} <http://e/p> <http://e/b> .\n" for head in ("<http://e/a>", "_:x", "<http://e/c>")
    ).encode()
    assert [head for head, _, _ in read(content, tmp_path).names()] == ["http://e/a", "_:x", "http://e/c"]


IRIS = some.sampled_from(
    ["http://e/a", "http://e/b", "urn:kelm:entity:New%20York", "http://e/ü", "http://e/%20", "mailto:x"]
)
TEXTS = some.text(some.sampled_from('ab "\\\n\r\t<>^@.é北\u2028\x7f_{}|`#'), max_size=8)


@some.composite
def lines(draw: some.DrawFn) -> str:
    subject = draw(some.one_of(IRIS.map("<{}>".format), some.just("_:b")))
    predicate = draw(some.sampled_from([LABEL, ALIAS, TYPE, "<http://e/p>", "<http://e/q>"]))
    text = draw(TEXTS)
    if draw(some.booleans()):
        text = re.sub(r'[\\"\n\r]', lambda found: {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}[found[0]], text)
    else:
        text = re.sub(r'[\\"\n\r]', "", text)
    literal = f'"{text}"' + draw(
        some.sampled_from(["", "@en", "@zh-Hans", "^^<http://e/type>", "^^<http://www.w3.org/2001/XMLSchema#string>"])
    )
    object = draw(some.one_of(IRIS.map("<{}>".format), some.just("_:c"), some.just(literal)))
    gap, end = (
        draw(some.sampled_from([" ", " ", "\t", "  "])),
        draw(some.sampled_from([" .", ".", " . ", " . # <http://e/x>"])),
    )
    return draw(some.sampled_from([f"{subject}{gap}{predicate}{gap}{object}{end}"] * 5 + ["", "# <a> <b> <c> ."]))


@given(some.lists(lines(), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_the_fast_reader_reads_what_pyoxigraph_reads(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    content = "\n".join(lines).encode() + b"\n"
    assert facts(read(content, tmp_path_factory.getbasetemp())) == facts(by_pyoxigraph(content))


CHARACTERS = some.sampled_from(
    [
        *'<>" .\\^@ae:_#\n\t',
        "<http://e/a>",
        " <http://e/p> ",
        '"x"',
        "@en",
        " .\n",
        "^^<http://e/t>",
        "\\u00e9",
        "\\u12",
    ]
)


@given(some.lists(CHARACTERS, min_size=1, max_size=14).map("".join))
@settings(deadline=None, max_examples=150)
def test_the_fast_reader_refuses_what_pyoxigraph_refuses(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    content = (text + "\n").encode()
    try:
        expected = facts(by_pyoxigraph(content))
    except SyntaxError:
        with pytest.raises(FormatError):
            read(content, tmp_path_factory.getbasetemp())
    else:
        assert facts(read(content, tmp_path_factory.getbasetemp())) == expected


def test_chunks_of_any_size_give_the_same_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(SMALL, tmp_path)
    for size in (1, 7, 100):
        monkeypatch.setattr(ntriples, "chunks", lambda path, journal, size=size: _chunks(path, journal, size=size))
        assert facts(read(SMALL, tmp_path)) == facts(whole)
        assert read(SMALL, tmp_path).reports == whole.reports


_chunks = ntriples.chunks


@pytest.mark.parametrize("ends", [b"\r\n", b"\r", b"\n"])
def test_line_ends_of_every_system_are_read(tmp_path: Path, ends: bytes) -> None:
    graph = read(SMALL.replace(b"\n", ends), tmp_path)
    assert facts(graph) == facts(read(SMALL, tmp_path))
    assert graph.reports[0].lines == 13


def test_labels_in_other_languages_are_dropped_and_counted(tmp_path: Path) -> None:
    graph = read(SMALL, tmp_path, languages=["en"])
    assert graph.labels.languages == ("en",)
    assert graph.reports[0].dropped == {"label in an unwanted language": 2}


def test_a_blank_literal_is_no_label(tmp_path: Path) -> None:
    graph = read(f'<http://e/a> {LABEL} " "@en .\n<http://e/a> {ALIAS} "\\u0020" .\n'.encode(), tmp_path)
    assert len(graph.labels) == 0
    assert graph.reports[0].dropped == {"blank label": 2}


def test_bad_lines_are_skipped_as_far_as_allowed(tmp_path: Path) -> None:
    content = SMALL + b"<http://e/a> <b> <http://e/c> .\nnonsense\n<http://e/a> <http://e/p> <http://e/has space> .\n"
    graph = read(content, tmp_path, skip_bad=3)
    assert facts(graph) == facts(read(SMALL, tmp_path))
    assert graph.reports[0].dropped == {"not N-Triples": 3}
    assert "graph.nt, line 14: No scheme found" in graph.reports[0].bad[0]
    with pytest.raises(FormatError, match=r"line 16: .*bad line number 3; skip_bad=2"):
        read(content, tmp_path, skip_bad=2)


def test_what_stands_beside_a_line_of_no_utf8_is_counted_once(tmp_path: Path) -> None:
    graph = read(b'<e:a> <e:p> <e:b> .\n<e:a> <e:p> "x\xff .\n_:b <e:p> "\\t" .\n', tmp_path, skip_bad=1)
    report = graph.reports[0]
    assert (report.triples, report.attributes, report.dropped) == (1, 1, {"not UTF-8": 1})


def test_blank_nodes_of_two_files_are_different_nodes(tmp_path: Path) -> None:
    builder = GraphBuilder()
    for name, content in (("a.nt", b"_:x <http://e/p> <http://e/o> .\n"), ("b.ttl", b"_:x <http://e/p> [] .\n")):
        (tmp_path / name).write_bytes(content)
        rdf.feed(builder, tmp_path / name)
    assert builder.build().entity_count == 4


def test_turtle_is_read_with_prefixes_lists_and_unnamed_nodes(tmp_path: Path) -> None:
    path = tmp_path / "graph.ttl"
    path.write_text(
        "@prefix e: <http://e/> .\n@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
        'e:Berlin a e:City ; rdfs:label "Berlin"@de, "Берлин"@ru ; e:in e:Germany ; '
        "e:mayor [ e:party e:CDU ] ; e:area 891 .\n"
    )
    graph = rdf.read(path)
    assert ("_:b0", "http://e/party", "http://e/CDU") in set(graph.names())
    assert graph.label(graph.entities.id("http://e/Berlin"), "ru") == "Берлин"
    assert graph.attributes.of(graph.entities.id("http://e/Berlin"))[0].text == "891"
    assert rdf.read(path) == graph  # unnamed nodes get the same names in each reading


@pytest.mark.parametrize(
    "name", ["graph.nt", "graph.ttl", "graph.nq", "graph.trig", "graph.rdf", "graph.nt.gz", "graph.ttl.bz2"]
)
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    graph = read(SMALL.replace(b"_:someone", b"_:b0"), tmp_path)  # the name that other syntaxes' readers give
    rdf.write(graph, tmp_path / name)
    assert facts(rdf.read(tmp_path / name)) == facts(graph)


WORDS = some.text(some.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5).filter(str.strip)


QUALIFIERS = [("", ""), ("en", ""), ("zh-hans", ""), ("", "http://www.w3.org/2001/XMLSchema#gYear"), ("", "my unit")]


@some.composite
def graphs(draw: some.DrawFn) -> KnowledgeGraph:
    """Graphs of odd names: no IRIs, other scripts, names that look like our own IRIs."""
    names = draw(
        some.lists(
            some.one_of(WORDS, IRIS, some.just("urn:kelm:relation:x"), some.just("_:b0")),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    relations = [f"{name} relation" for name in names]  # RDF/XML wants IRIs that end in a name
    builder = GraphBuilder()
    for head, relation, tail in draw(
        some.lists(some.tuples(*map(some.sampled_from, (names, relations, names))), min_size=1)
    ):
        builder.triple(head, relation, tail)
    for name, language, text, preferred in draw(
        some.lists(
            some.tuples(some.sampled_from(names), some.sampled_from(["", "en", "zh-hans"]), WORDS, some.booleans())
        )
    ):
        builder.label(name, language, text, preferred=preferred)
    for name, text, (language, datatype) in draw(
        some.lists(some.tuples(some.sampled_from(names), TEXTS, some.sampled_from(QUALIFIERS)))
    ):
        builder.attribute(name, "note", text, language=language, datatype=datatype)
    builder.relation_label(relations[0], "en", "relation")
    builder.triple(names[0], relations[0], names[-1])
    builder.type(names[0], "kind of thing")
    return builder.build()


@pytest.mark.parametrize("ending", ["nt", "ttl", "nq", "trig", "rdf", "jsonld"])
@given(graph=graphs())
@settings(deadline=None, max_examples=60)
def test_odd_names_labels_and_literals_survive_every_syntax(
    tmp_path_factory: pytest.TempPathFactory, ending: str, graph: KnowledgeGraph
) -> None:
    path = tmp_path_factory.getbasetemp() / f"odd.{ending}"
    rdf.write(graph, path)
    assert facts(rdf.read(path)) == facts(graph)


def holding(relation: str = "in", text: str = "city", language: str = "en") -> KnowledgeGraph:
    builder = GraphBuilder()
    builder.triple("Berlin", relation, "Germany")
    builder.attribute("Berlin", "note", text, language=language)
    return builder.build()


@pytest.mark.parametrize(
    "graph",
    [holding(text="a\x01b"), holding(text="\ufffe"), holding("http://e/"), holding("in 2020"), holding(f"{RDF}li")],
)
def test_what_xml_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path, graph: KnowledgeGraph) -> None:
    with pytest.raises(FormatError, match=r"graph\.rdf: RDF/XML cannot hold this graph.*Write \.ttl"):
        rdf.write(graph, tmp_path / "graph.rdf")
    assert list(tmp_path.iterdir()) == []
    rdf.write(graph, tmp_path / "graph.ttl")
    assert facts(rdf.read(tmp_path / "graph.ttl")) == facts(graph)


def test_other_readers_of_xml_find_carriage_returns_too(tmp_path: Path) -> None:
    rdf.write(holding(text="a\r\nb\rc"), tmp_path / "graph.rdf")
    theirs = rdflib.Graph().parse(tmp_path / "graph.rdf", format="xml")
    assert [str(value) for value in theirs.objects() if isinstance(value, rdflib.Literal)] == ["a\r\nb\rc"]


@pytest.mark.parametrize("ending", ["nt", "rdf", "jsonld"])
@pytest.mark.parametrize("language", ["New York", "zh-classical", "en--us"])
def test_a_language_that_is_no_tag_is_refused_by_its_name(tmp_path: Path, language: str, ending: str) -> None:
    with pytest.raises(FormatError, match=rf'graph\.{ending}: RDF takes no language called "{language.lower()}"'):
        rdf.write(holding(language=language), tmp_path / f"graph.{ending}")
    assert list(tmp_path.iterdir()) == []


@given(graphs())
@settings(deadline=None, max_examples=60)
def test_rdflib_and_back_is_the_same_graph(graph: KnowledgeGraph) -> None:
    assert facts(from_rdflib(to_rdflib(graph))) == facts(graph)


def test_rdflib_reads_what_we_write_and_we_read_what_rdflib_writes(tmp_path: Path) -> None:
    graph = read(SMALL, tmp_path)
    rdf.write(graph, tmp_path / "ours.nt")
    theirs = rdflib.Graph().parse(tmp_path / "ours.nt", format="nt")
    assert len(theirs) == len(to_rdflib(graph))
    theirs.serialize(tmp_path / "theirs.nt", format="nt", encoding="utf-8")
    counts = facts(rdf.read(tmp_path / "theirs.nt"))
    assert {kind: len(rows) for kind, rows in counts.items()} == {
        kind: len(rows) for kind, rows in facts(graph).items()
    }


def test_an_rdf_file_with_another_ending_is_named_with_those_known(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r'no RDF syntax is called "\.json"'):
        rdf.read(tmp_path / "graph.json")


def test_a_turtle_error_names_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "graph.ttl").write_text("@prefix e: <http://e/> .\ne:a e:b e:c .\ne:a x:b e:c .\n")
    with pytest.raises(FormatError, match=r"graph.ttl, line 3: .*column"):
        rdf.read(tmp_path / "graph.ttl")


@pytest.mark.parametrize(("name", "statements"), [("News-100", 12_289), ("RSS-500", 10_038)])
def test_turtle_and_ntriples_of_a_real_file_are_the_same_graph(data: Path, name: str, statements: int) -> None:
    fast = rdf.read(data / "kg" / "rdf" / "n3" / f"{name}.nt.gz")
    slow = rdf.read(data / "kg" / "rdf" / "n3" / f"{name}.ttl.gz")
    report = fast.reports[0]
    assert report.triples + report.types + report.labels + report.attributes == statements
    assert facts(fast) == facts(slow)
