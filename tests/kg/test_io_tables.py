"""Tables of triples and of names: any order of columns, what is written is read again, what bad lines say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import kg.io
import kg.io.columns
from kelm.errors import FormatError, UnknownName
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import names, source, tsv
from kg.io.journal import Journal
from tests.kg.facts import facts
from tests.kg.test_graph import NAMES, berlin

PIECES = some.sampled_from(
    [b"a", b"b", b" ", b"\t", b"\t", b"\t", b"\n", b"\n", b"\r", b"#", "é".encode(), "\u2003".encode(), b"\xff", b'"']
)
TRIPLES = some.lists(some.tuples(NAMES, NAMES, NAMES), min_size=1)


def test_tab_separated_triples_are_read(tmp_path: Path) -> None:
    path = tmp_path / "triples.tsv"
    path.write_text("Q64\tP17\tQ183\n\n# a comment\nQ64\tP17\tQ183\n#tag\tis\ta hashtag\n")
    graph = tsv.read(path)
    assert list(graph.names()) == [("Q64", "P17", "Q183"), ("#tag", "is", "a hashtag")]
    assert graph.reports[0].triples == 3
    assert graph.reports[0].dropped == {"comment": 1}


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (("tail", "head", "relation"), "Q183\tQ64\tP17"),
        (("head", "relation", "tail", "-"), "Q64\tP17\tQ183\t0.9"),
        (("-", "relation", "head", "tail"), "7\tP17\tQ64\tQ183"),
    ],
)
def test_columns_may_stand_in_any_order(tmp_path: Path, columns: tuple[str, ...], line: str) -> None:
    path = tmp_path / "triples.tsv"
    path.write_text(line + "\n")
    assert list(tsv.read(path, columns=columns).names()) == [("Q64", "P17", "Q183")]


@pytest.mark.parametrize("header", ["subject,predicate,object", "Tail,Head,note,Relation"])
def test_a_header_names_the_columns(tmp_path: Path, header: str) -> None:
    path = tmp_path / "triples.csv"
    row = {"subject,predicate,object": '"New York, NY",in,USA', "Tail,Head,note,Relation": 'USA,"New York, NY",x,in'}[
        header
    ]
    path.write_text(f"{header}\n{row}\n")
    assert list(tsv.read(path, header=True).names()) == [("New York, NY", "in", "USA")]


def test_columns_may_go_by_their_names_in_the_header(tmp_path: Path) -> None:
    path = tmp_path / "triples.tsv"
    path.write_text("id\tsubject\tobject\tverb\n7\tQ64\tQ183\tP17\n")
    columns = ("head=subject", "relation=verb", "tail=object")
    assert list(tsv.read(path, columns=columns).names()) == [("Q64", "P17", "Q183")]
    with pytest.raises(FormatError, match=r'triples\.tsv, line 1, field relation: .*"vreb".*Did you mean "verb"'):
        tsv.read(path, columns=("head=subject", "relation=vreb", "tail=object"))
    with pytest.raises(FormatError, match="a column each for head, relation and tail"):
        tsv.read(path, columns=("head=subject", "relation", "tail=object"))
    with pytest.raises(FormatError, match="a column each for head, relation and tail"):
        tsv.read(path, columns=("head=subject", "relation=subject", "tail=object"))


@pytest.mark.parametrize("name", ["triples.tsv", "triples.csv"])
def test_columns_of_a_header_that_nobody_asked_for_are_counted(tmp_path: Path, name: str) -> None:
    path, between = tmp_path / name, "\t" if name.endswith(".tsv") else ","
    lines = ("head tail weight relation", "Q64 Q183 0.5 P17", "Q1055 Q183 0.7 P17")
    path.write_text("".join(line.replace(" ", between) + "\n" for line in lines))
    graph = tsv.read(path, header=True)
    assert (len(graph), graph.reports[0].dropped) == (2, {'column "weight"': 2})
    assert tsv.read(path, columns=("head=head", "relation=relation", "tail=tail")).reports == graph.reports


@settings(deadline=None, max_examples=300)
@given(
    some.lists(PIECES, min_size=1, max_size=40).map(b"".join),
    some.sampled_from([("head", "relation", "tail"), ("tail", "-", "head", "relation"), ("relation", "tail", "head")]),
    some.sampled_from([1, 3, 1 << 24]),
)
def test_whole_chunks_are_read_as_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, columns: tuple[str, ...], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "chunks.tsv"
    path.write_bytes(content)
    slow = GraphBuilder()
    journal = Journal(path, "tsv", skip_bad=100)
    for number, triple in tsv.triples(path, journal, columns=columns):
        tsv.add(slow, journal, number, triple)
    fast = GraphBuilder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kg.io.columns, "chunks", lambda path, journal: source.chunks(path, journal, size=size))
        report = tsv.feed(fast, path, columns=columns, skip_bad=100)
    assert report.as_json() | {"bad": set(report.bad)} == journal.report().as_json() | {
        "bad": set(journal.report().bad)
    }
    assert list(fast.build().names()) == list(slow.build().names())


def test_the_first_bad_line_is_the_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "triples.tsv"
    path.write_text("a\tp\tb\n\n \tp\tb\na\tb\n")
    with pytest.raises(FormatError, match=r"triples\.tsv, line 3, field head: expected a name"):
        tsv.read(path)


@pytest.mark.parametrize("columns", [("head", "tail"), ("head", "head", "tail"), ("head", "relation", "object")])
def test_columns_that_make_no_triple_are_refused(tmp_path: Path, columns: tuple[str, ...]) -> None:
    with pytest.raises(FormatError):
        tsv.read(tmp_path / "any.tsv", columns=columns)


@settings(deadline=None, max_examples=25)
@given(TRIPLES)
@pytest.mark.parametrize("name", ["written.tsv", "written.csv", "written.csv.gz", "written.spo"])
def test_written_triples_are_read_again(
    tmp_path_factory: pytest.TempPathFactory, name: str, triples: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    graph = KnowledgeGraph.from_triples(triples)
    kg.io.write(graph, path)
    again = kg.io.read(path)
    assert list(again.names()) == list(graph.names())


def test_a_name_that_a_table_cannot_hold_is_refused(tmp_path: Path) -> None:
    graph = KnowledgeGraph.from_triples([("a\tb", "p", "line\rend")])
    with pytest.raises(FormatError, match="holds a tab"):
        tsv.write(graph, tmp_path / "graph.tsv")
    assert list(tmp_path.iterdir()) == []
    tsv.write(graph, tmp_path / "graph.csv")
    assert tsv.read(tmp_path / "graph.csv") == graph


def test_labels_are_written_and_read_again(tmp_path: Path) -> None:
    graph = berlin()
    names.write(graph, tmp_path / "labels.tsv")
    builder = GraphBuilder().graph(graph.with_triples(graph.triples()))
    bare = GraphBuilder()
    for triple in graph.names():
        bare.triple(*triple)
    for name, kind in facts(graph)["types"]:
        bare.type(name, kind)
    report = names.feed(bare, tmp_path / "labels.tsv")
    assert report.labels == len(graph.labels)
    assert facts(bare.build())["labels"] == facts(builder.build())["labels"]


@settings(deadline=None, max_examples=25)
@given(
    TRIPLES,
    some.lists(
        some.tuples(some.integers(0), some.sampled_from(["", "en", "zh-hans"]), NAMES, some.booleans()), min_size=1
    ),
)
def test_triples_and_names_of_any_graph_are_written_and_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    triples: list[tuple[str, str, str]],
    labels: list[tuple[int, str, str, bool]],
) -> None:
    builder = GraphBuilder()
    for triple in triples:
        builder.triple(*triple)
    for number, language, text, preferred in labels:
        builder.label_any(triples[number % len(triples)][number % 3], language, text, preferred=preferred)
    graph = builder.build()
    folder = tmp_path_factory.mktemp("tables")
    tsv.write(graph, folder / "facts.tsv")
    names.write(graph, folder / "names.tsv")
    again = GraphBuilder()
    tsv.feed(again, folder / "facts.tsv")
    names.feed(again, folder / "names.tsv")
    assert facts(again.build()) == facts(graph)


def test_the_first_label_of_three_columns_is_preferred(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("a\ten\tname\na\ten\tother\nunknown\ten\tx\n")
    builder = GraphBuilder()
    builder.triple("a", "p", "b")
    report = names.feed(builder, path)
    assert builder.build().aliases(0) == ["name", "other"]
    assert builder.build().label(0) == "name"
    assert report.dropped == {"label of an unknown name": 1}
    names.feed(builder, path, only_known=False)
    assert builder.build().label(builder.build().entities.id("unknown")) == "x"


def test_held_out_triples_come_as_ids_of_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("Q1055\tP17\tQ183\nQ183\tP1376\tQ64\n")
    assert tsv.ids(path, berlin()).tolist() == [[2, 0, 1], [1, 1, 0]]


LABEL = b"a\ten\tname\n"
BAD_LABELS: dict[str, tuple[bytes, str]] = {
    "a duplicate label": (
        LABEL * 2,
        r'labels\.tsv, line 2, field text: the label "name" of "a" in "en" was given before',
    ),
    "an alias of one space": (
        LABEL + b"a\ten\t \talias\n",
        r'labels\.tsv, line 2, field label: expected a label of "a", found " "',
    ),
    "two columns": (LABEL + b"a\tname\n", r"labels\.tsv, line 2: expected 3 columns"),
    "a strange kind": (LABEL + b"a\ten\tother\tsynonym\n", r"labels\.tsv, line 2: expected 3 columns"),
    "broken UTF-8": (LABEL + b"a\tde\t\xff\n", r"labels\.tsv, line 2: expected UTF-8"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels_are_named_with_line_and_remedy_or_skipped(tmp_path: Path, case: str) -> None:
    content, message = BAD_LABELS[case]
    path = tmp_path / "labels.tsv"
    path.write_bytes(content)
    builder = GraphBuilder()
    builder.triple("a", "p", "b")
    with pytest.raises(FormatError, match=message) as caught:
        names.feed(builder, path)
    assert caught.value.remedy
    report = names.feed(builder, path, skip_bad=1)
    assert sum(report.dropped.values()) == 1
    assert len(report.bad) == 1
    assert builder.build().aliases(0) == ["name"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Q64\tP17\tQ1056", r'test\.tsv, line 2, field tail: no entity of the graph is called "Q1056".*Did you mean'),
        ("Q64\tP18\tQ183", r'test\.tsv, line 2, field relation: no relation of the graph is called "P18".*"P17"'),
    ],
)
def test_an_unknown_name_in_a_held_out_triple_is_named_with_the_closest(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(f"Q64\tP17\tQ183\n{line}\n")
    with pytest.raises(UnknownName, match=message):
        tsv.ids(path, berlin())
    assert len(tsv.ids(path, berlin(), skip_bad=1)) == 1
