"""Every source by one `read`: compression, folders, conversions, and what bad files say."""

from __future__ import annotations

import bz2
import gzip
import json
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
from kg.graph import KnowledgeGraph
from kg.io import codex, splits, spo, xfactr
from kg.io.networkx import from_networkx, to_networkx
from kg.io.pykeen import from_pykeen, to_pykeen
from kg.io.rdflib import to_rdflib
from tests.kg.facts import facts
from tests.kg.test_graph import NAMES, berlin

TRIPLES = some.lists(some.tuples(NAMES, NAMES, NAMES), min_size=1)


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


def test_a_missing_file_and_a_strange_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"gone\.tsv: cannot be opened: No such file"):
        kg.io.read(tmp_path / "gone.tsv")
    with pytest.raises(FormatError, match="no saved graph, no X-FACTR, no CoDEx, no WordNet and no FB15k-237"):
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


WORDNET = (
    '<LexicalResource><Lexicon language="en"><Synset id="a"><SynsetRelation relType="p" target="b"/></Synset>'
    '<Synset id="b"/></Lexicon></LexicalResource>'
)
CLAIM = {"snaktype": "value", "datavalue": {"type": "wikibase-entityid", "value": {"id": "b"}}}
NAMED = {
    "tsv": "a\tp\tb\n",
    ".txt": "a\tp\tb\n",
    "csv": "a,p,b\n",
    "spo": "a\tp\tb\n",
    "NT": "<urn:kelm:entity:a> <urn:kelm:relation:p> <urn:kelm:entity:b> .\n",
    "ttl": "<urn:kelm:entity:a> <urn:kelm:relation:p> <urn:kelm:entity:b> .\n",
    "wikidata": json.dumps({"id": "a", "claims": {"p": [{"mainsnak": CLAIM}]}}),
    ".json": json.dumps({"id": "a", "claims": {"p": [{"mainsnak": CLAIM}]}}),
    "lmf": WORDNET,
    ".xml": WORDNET,
    "conceptnet": "/a/[]\t/r/p\ta\tb\t{}\n",
}


@pytest.mark.parametrize("format", NAMED)
def test_a_format_goes_by_its_name_or_the_ending_of_its_files(tmp_path: Path, format: str) -> None:
    path = tmp_path / "facts.csv"  # what is said goes before what the name tells
    path.write_text(NAMED[format])
    expected = ("a", "/r/p" if format == "conceptnet" else "p", "b")
    assert list(kg.io.read(path, format=format).names()) == [expected]


@pytest.mark.parametrize("format", ["tsv", "csv", "spo", "nt", "ttl", "nq", "trig", "rdf", "jsonld"])
def test_a_graph_is_written_in_the_format_that_is_named(tmp_path: Path, format: str) -> None:
    kg.io.write(berlin(), tmp_path / "facts.csv", format=format)
    kg.io.write(berlin(), tmp_path / f"facts.{format}")
    assert (tmp_path / "facts.csv").read_bytes() == (tmp_path / f"facts.{format}").read_bytes() or format == "csv"
    assert set(kg.io.read(tmp_path / "facts.csv", format=format).names()) == set(berlin().names())
