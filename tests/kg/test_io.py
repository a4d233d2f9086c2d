"""The readers of tables and folders, the conversions, and what bad input says."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import kg.io
import kg.io.columns
from kelm.errors import CheckpointError, FormatError, InputError, KelmError, UnknownName
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import codex, source, splits, spo, tsv, xfactr
from kg.io.journal import Journal
from kg.io.networkx import from_networkx, to_networkx
from kg.io.pykeen import from_pykeen, to_pykeen
from kg.io.rdflib import to_rdflib
from tests.kg.facts import facts
from tests.kg.test_graph import NAMES, berlin

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


PIECES = some.sampled_from(
    [b"a", b"b", b" ", b"\t", b"\t", b"\t", b"\n", b"\n", b"\r", b"#", "é".encode(), "\u2003".encode(), b"\xff", b'"']
)


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
    tsv.write_labels(graph, tmp_path / "labels.tsv")
    builder = GraphBuilder().graph(graph.with_triples(graph.triples()))
    bare = GraphBuilder()
    for triple in graph.names():
        bare.triple(*triple)
    for name, kind in facts(graph)["types"]:
        bare.type(name, kind)
    report = tsv.feed_labels(bare, tmp_path / "labels.tsv")
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
    names: list[tuple[int, str, str, bool]],
) -> None:
    builder = GraphBuilder()
    for triple in triples:
        builder.triple(*triple)
    for number, language, text, preferred in names:
        builder.label_any(triples[number % len(triples)][number % 3], language, text, preferred=preferred)
    graph = builder.build()
    folder = tmp_path_factory.mktemp("tables")
    tsv.write(graph, folder / "facts.tsv")
    tsv.write_labels(graph, folder / "names.tsv")
    again = GraphBuilder()
    tsv.feed(again, folder / "facts.tsv")
    tsv.feed_labels(again, folder / "names.tsv")
    assert facts(again.build()) == facts(graph)


def test_the_first_label_of_three_columns_is_preferred(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("a\ten\tname\na\ten\tother\nunknown\ten\tx\n")
    builder = GraphBuilder()
    builder.triple("a", "p", "b")
    report = tsv.feed_labels(builder, path)
    assert builder.build().aliases(0) == ["name", "other"]
    assert builder.build().label(0) == "name"
    assert report.dropped == {"label of an unknown name": 1}
    tsv.feed_labels(builder, path, only_known=False)
    assert builder.build().label(builder.build().entities.id("unknown")) == "x"


def test_held_out_triples_come_as_ids_of_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("Q1055\tP17\tQ183\nQ183\tP1376\tQ64\n")
    assert tsv.ids(path, berlin()).tolist() == [[2, 0, 1], [1, 1, 0]]


def test_words_of_kbert_are_names_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "medical.spo"
    path.write_text("眼睛发红\t类别\t症状\n小儿狂犬病\t类别\t疾病\n")
    graph = spo.read(path)
    assert len(graph) == 2
    assert graph.label(0, "zh") == "眼睛发红"
    assert graph.relation_label(0, "zh") == "类别"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_compression_is_seen_by_content_not_by_name(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "triples.tsv"
    path.write_bytes(compress(b"\xef\xbb\xbfa\tp\tb\r\n"))
    assert list(kg.io.read(path).names()) == [("a", "p", "b")]


def test_zstandard_is_read_where_installed(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("backports.zstd")
    path = tmp_path / "triples.tsv.zst"
    path.write_bytes(zstandard.compress(b"a\tp\tb\n" * 1000))
    assert kg.io.read(path).reports[0].lines == 1000
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FormatError, match=r"triples\.tsv\.zst"):
        kg.io.read(path)


def test_a_plain_file_named_as_a_compressed_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "triples.tsv.gz"
    path.write_bytes(b"a\tp\tb\n")
    assert list(kg.io.read(path).names()) == [("a", "p", "b")]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_graphs_are_written_compressed_as_the_name_says(tmp_path: Path, ending: str) -> None:
    if ending == ".zst":
        pytest.importorskip("backports.zstd")
    kg.io.write(berlin(), tmp_path / "plain.tsv")
    kg.io.write(berlin(), tmp_path / f"graph.tsv{ending}")
    assert (tmp_path / f"graph.tsv{ending}").read_bytes() != (tmp_path / "plain.tsv").read_bytes()
    assert list(kg.io.read(tmp_path / f"graph.tsv{ending}").names()) == list(berlin().names())


TRIPLE = b"a\tp\tb\n"
BAD: dict[str, tuple[str, bytes, str]] = {
    "broken UTF-8": (
        "a.tsv",
        TRIPLE + b"caf\xe9\tp\tb\n",
        r"a\.tsv, line 2: expected UTF-8, found byte 0xe9 at position 4",
    ),
    "broken UTF-8 in RDF": ("a.nt", b"<e:a> <e:p> <e:b> .\n<e:\xff> <e:p> <e:b> .\n", r"a\.nt, line 2: expected UTF-8"),
    "truncated gzip": ("a.tsv.gz", gzip.compress(TRIPLE * 9)[:-9], r"a\.tsv\.gz, line \d+: the compressed file is cut"),
    "truncated gzip of RDF": (
        "a.nt.gz",
        gzip.compress(b"<e:a> <e:p> <e:b> .\n" * 9)[:-9],
        r"a\.nt\.gz, line \d+: the compr",
    ),
    "truncated gzip of Turtle": (
        "a.ttl.gz",
        gzip.compress(b"<e:a> <e:p> <e:b> .\n" * 9)[:-9],
        r"a\.ttl\.gz, line \d+: the compr",
    ),
    "damaged gzip": (
        "a.tsv.gz",
        gzip.compress(TRIPLE)[:10] + b"\0nonsense",
        r"a\.tsv\.gz, line 1: the compressed file is",
    ),
    "too few columns": ("a.tsv", TRIPLE * 2 + b"a\tp\n", r"a\.tsv, line 3: expected 3 columns .*found 2"),
    "too many columns": ("a.spo", TRIPLE + b"a\tp\tb\tc\n", r"a\.spo, line 2: expected 3 columns .*found 4"),
    "wrong columns in CSV": ("a.csv", b"a,p,b\na;p;b\n", r"a\.csv, line 2: expected 3 columns .*found 1"),
    "an open quote in CSV": ("a.csv", b'a,p,b\n"a,p,b\n', r"a\.csv, line 2: this is not CSV"),
    "an empty name": ("a.tsv", TRIPLE + b"a\t\tb\n", r"a\.tsv, line 2, field relation: expected a name"),
    "an empty file": ("a.tsv", b"", r"a\.tsv: the file is empty"),
    "an empty RDF file": ("a.nt", b"", r"a\.nt: the file is empty"),
    "an empty Turtle file": ("a.ttl", b"", r"a\.ttl: the file is empty"),
    "an empty file in gzip": ("a.tsv.gz", gzip.compress(b""), r"a\.tsv\.gz: the file is empty"),
    "a relative IRI": ("a.nt", b"<e:a> <e:p> <e:b> .\n<a> <e:p> <e:b> .\n", r"a\.nt, line 2: No scheme"),
    "a cut line of RDF": ("a.nt", b"<e:a> <e:p> <e:b> .\n<e:a> <e:p> <e:", r"a\.nt, line 2: "),
    "an unknown format": ("a.xlsx", TRIPLE, r'a\.xlsx: cannot tell the format of a file that ends in "\.xlsx"'),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named_with_line_and_remedy(tmp_path: Path, case: str) -> None:
    name, content, message = BAD[case]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        kg.io.read(path)
    assert caught.value.remedy
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


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
        tsv.feed_labels(builder, path)
    assert caught.value.remedy
    report = tsv.feed_labels(builder, path, skip_bad=1)
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


def test_a_missing_file_and_a_strange_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"gone\.tsv: cannot be opened: No such file"):
        kg.io.read(tmp_path / "gone.tsv")
    with pytest.raises(FormatError, match="no saved graph, no X-FACTR, no CoDEx and no WordNet"):
        kg.io.read(tmp_path)
    with pytest.raises(FormatError, match="cannot read a graph from dict"):
        kg.io.read({})
    with pytest.raises(FormatError, match=r"facts\.tsv"):
        xfactr.read(tmp_path)
    with pytest.raises(FormatError, match=r"train\.txt"):
        codex.read(tmp_path)


def test_skipped_lines_are_counted_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(TRIPLE + b"\xff\tp\tb\na\tb\n\tp\tb\n")
    report = kg.io.read(path, skip_bad=3).reports[0]
    assert report.dropped == {"not UTF-8": 1, "wrong column count": 1, "empty name": 1}
    assert all(message.startswith(f"{path}, line {line}") for line, message in enumerate(report.bad, 2))
    with pytest.raises(InputError, match="bad line number 3; skip_bad=2"):
        kg.io.read(path, skip_bad=2)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken.nt").mkdir()
    with pytest.raises(FormatError, match="cannot be written"):
        kg.io.write(berlin(), tmp_path / "taken.nt")
    with pytest.raises(FormatError, match="cannot be written"):
        kg.io.write(berlin(), tmp_path / "nowhere" / "graph.nt")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.nt"]


def test_a_full_disk_leaves_the_exported_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.nt.gz"
    kg.io.write(berlin(), path)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(FormatError, match=r"graph\.nt\.gz: cannot be written: No space left on device"):
            kg.io.write(berlin().where(np.array([True, False, False])), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_all_errors_of_input_are_kelm_errors() -> None:
    assert issubclass(FormatError, KelmError)
    assert issubclass(UnknownName, KelmError)
    assert issubclass(CheckpointError, KelmError)


@settings(deadline=None, max_examples=25)
@given(TRIPLES)
def test_networkx_and_back_is_the_same_graph(triples: list[tuple[str, str, str]]) -> None:
    graph = KnowledgeGraph.from_triples(triples).union(berlin())
    again = from_networkx(to_networkx(graph))
    assert facts(again) == facts(graph)
    assert list(again.entities) == list(graph.entities)


def test_networkx_degrees_are_those_of_the_graph() -> None:
    graph = berlin()
    theirs = to_networkx(graph)
    assert theirs.number_of_edges() == len(graph)
    for entity, name in enumerate(graph.entities):
        assert theirs.out_degree(name) == len(graph.neighbors(entity)[0])
        assert theirs.in_degree(name) == len(graph.incoming(entity)[0])


def test_a_plain_networkx_graph_needs_a_relation() -> None:
    graph = networkx.DiGraph()
    graph.add_edge(1, 2, kind="knows")
    assert list(from_networkx(graph, relation="kind").names()) == [("1", "knows", "2")]
    with pytest.raises(FormatError, match="names no relation"):
        from_networkx(graph)
    with pytest.raises(FormatError, match="directed"):
        from_networkx(networkx.Graph([(1, 2)]))  # type: ignore[arg-type]  # what a user may do


@settings(deadline=None, max_examples=25)
@given(TRIPLES)
def test_pykeen_and_back_keeps_ids(triples: list[tuple[str, str, str]]) -> None:
    graph = KnowledgeGraph.from_triples(triples)
    again = from_pykeen(to_pykeen(graph))
    assert set(map(tuple, again.triples().tolist())) == set(map(tuple, graph.triples().tolist()))
    assert list(again.entities) == list(graph.entities)
    assert list(again.relation_names) == list(graph.relation_names)


def test_pykeens_own_data_arrives_whole() -> None:
    from pykeen.datasets import Nations

    factory = Nations().training
    graph = from_pykeen(factory)
    assert (len(graph), graph.entity_count, graph.relation_count) == (1592, 14, 55)
    theirs = {tuple(row) for row in factory.triples.tolist()}
    assert set(graph.names()) == theirs


def test_every_kind_of_source_is_read_by_one_function(tmp_path: Path) -> None:
    graph = berlin()
    graph.save(tmp_path / "saved")
    assert kg.io.read(tmp_path / "saved", graph) == graph
    for other in (to_networkx(graph), to_pykeen(graph), graph):
        assert set(kg.io.read(other).names()) == set(graph.names())
    assert len(kg.io.read(to_rdflib(graph))) == len(graph)


HEAVY = ("torch", "pykeen", "rdflib", "networkx", "pyoxigraph", "pyarrow")


def test_importing_the_readers_imports_no_heavy_library() -> None:
    code = f"import kg.io, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_codex_has_its_splits_types_and_labels(data: Path) -> None:
    medium = codex.read(data / "kg" / "codex", "m")
    assert (len(medium.train), len(medium.valid), len(medium.test)) == (185_584, 10_310, 10_311)
    assert (len(medium.graph), medium.graph.entity_count) == (206_205, 17_050)
    assert (len(medium.valid_negatives), len(medium.test_negatives)) == (10_310, 10_311)
    graph = medium.graph
    assert sum(report.triples for report in graph.reports) == 206_205
    assert not graph.contains(medium.test_negatives).any()
    assert graph.contains(medium.test.triples()).all()
    assert not medium.train.contains(medium.test.triples()).any()
    actor = graph.entities.id("Q33999")
    assert [graph.types.names[kind] for kind in graph.types.of(actor)] == ["Q28640", "Q483501"]
    assert graph.type_label(graph.types.names.id("Q28640")) == "profession"
    occupation = graph.relation_names.id("P106")
    assert [graph.relation_label(occupation, language) for language in ("en", "de", "ru")] == [
        "occupation",
        "Tätigkeit",
        "род занятий",
    ]
    assert graph.label(graph.entities.id("Q15"), "ko") == "아프리카"
    named = {label.owner for label in graph.labels.entities.each(["en"])}
    assert len(named) == 6_967
    assert all(len(graph.types.of(entity)) for entity in range(graph.entity_count))


def test_the_union_of_xfactr_and_codex_has_the_counted_size(data: Path) -> None:
    facts_graph = xfactr.read(data / "kg" / "xfactr", languages=["en", "ja"])
    assert (len(facts_graph), facts_graph.entity_count, facts_graph.relation_count) == (116_046, 105_668, 46)
    graph = facts_graph
    for size in ("m", "s"):
        graph = graph.union(codex.read(data / "kg" / "codex", size).graph)
    assert (len(graph), graph.entity_count) == (312_613, 118_497)
    earth = facts_graph.entities.id("Q2")
    assert facts_graph.label(earth) == "Earth"
    assert facts_graph.aliases(earth, "ja")[0] == "地球"
    assert facts_graph.label(earth, "ja") is None
    assert facts_graph.relation_label(facts_graph.relation_names.id("P19")) == "place of birth"
    assert np.array_equal(graph.triples()[: len(facts_graph)], facts_graph.triples())


def test_the_readers_of_kbert_files_count_what_is_there(data: Path) -> None:
    graph = spo.read(data / "kg" / "spo_zh" / "Medical.spo.gz")
    assert len(set(graph.heads.tolist())) == 13_553
    assert graph.reports[0].triples == 13_864


def test_a_data_set_of_pykeens_is_read_by_its_name_and_its_parts_are_known() -> None:
    graph = kg.io.read("pykeen:nations")
    assert (len(graph), graph.entity_count, graph.relation_count) == (1_992, 14, 55)
    assert [report.triples for report in graph.reports] == [1_592, 199, 201]
    parts = splits.read("pykeen:nations")
    assert parts is not None and parts.valid is not None and parts.test is not None
    assert [len(parts.train), len(parts.valid), len(parts.test)] == [1_592, 199, 201]
    assert list(parts.test.entities) == list(parts.train.entities)


def test_a_data_set_that_pykeen_does_not_have_or_cannot_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match=r'"natoins".*Did you mean "nations"'):
        kg.io.read("pykeen:natoins")
    from pykeen.datasets import dataset_resolver

    def unreachable(name: str) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(dataset_resolver, "make", unreachable)
    with pytest.raises(FormatError, match=r"pykeen:umls: PyKEEN cannot load it .*no route to host.*check the network"):
        kg.io.read("pykeen:umls")
