"""The graph: triples, names, neighbors, parts of it, and its folder."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import kg.storage
from kelm.errors import CheckpointError, FormatError, InputError, UnknownName
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.keys import first_rows, row_keys
from kg.vocabulary import TextColumn, Vocabulary
from tests.kg.facts import facts

WORDS = some.text(some.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=3)
NAMES = some.lists(WORDS, min_size=1, max_size=2).map(" ".join)
TRIPLES = some.lists(
    some.tuples(some.sampled_from("abcdefgh"), some.sampled_from("pqr"), some.sampled_from("abcdefgh"))
)


def berlin() -> KnowledgeGraph:
    builder = GraphBuilder()
    for triple in (
        ("Q64", "P17", "Q183"),
        ("Q64", "P1376", "Q183"),
        ("Q1055", "P17", "Q183"),
        ("Q64", "P17", "Q183"),
    ):
        builder.triple(*triple)
    builder.label("Q64", "en", "Berlin, Germany", preferred=False)
    builder.label("Q64", "en", "Berlin")
    builder.label("Q64", "ko", "베를린")
    builder.label("Q183", "en", "Germany")
    builder.relation_label("P17", "en", "country")
    builder.relation_label("P17", "en", "sovereign state", preferred=False)
    builder.type("Q64", "city")
    builder.type("Q64", "capital")
    builder.type_label("city", "de", "Stadt")
    builder.attribute("Q64", "population", "3677472", datatype="integer")
    builder.attribute("Q64", "description", "capital of Germany", language="en")
    return builder.build()


def test_triples_are_distinct_and_stand_in_the_order_they_were_first_seen() -> None:
    graph = berlin()
    assert list(graph.names()) == [("Q64", "P17", "Q183"), ("Q64", "P1376", "Q183"), ("Q1055", "P17", "Q183")]
    assert list(graph.entities) == ["Q64", "Q183", "Q1055"]
    assert (len(graph), graph.entity_count, graph.relation_count) == (3, 3, 2)
    assert graph.triples().tolist() == [[0, 0, 1], [0, 1, 1], [2, 0, 1]]
    assert graph.heads.dtype == np.int32


def test_the_preferred_label_comes_before_aliases() -> None:
    graph = berlin()
    assert graph.label(0) == "Berlin"
    assert graph.aliases(0, "en") == ["Berlin", "Berlin, Germany"]
    assert graph.label(0, "ko") == "베를린"
    assert graph.relation_label(0) == "country"
    assert graph.relation_aliases(0) == ["country", "sovereign state"]
    assert graph.type_label(graph.types.names.id("city"), "de") == "Stadt"


def test_what_has_no_label_has_none() -> None:
    graph = berlin()
    assert graph.label(2) is None
    assert graph.aliases(2) == []
    assert graph.label(0, "xx") is None


def test_aliases_alone_make_no_label() -> None:
    graph = KnowledgeGraph.from_triples([("a", "p", "b")])
    builder = GraphBuilder().graph(graph)
    builder.label("a", "ja", "地球", preferred=False)
    assert builder.build().label(0, "ja") is None
    assert builder.build().aliases(0, "ja") == ["地球"]


def test_of_two_preferred_labels_the_second_becomes_an_alias() -> None:
    builder = GraphBuilder()
    for text in ("first", "second", "first"):
        builder.label("a", "en", text)
    graph = builder.build()
    assert graph.aliases(0) == ["first", "second"]
    assert [label.preferred for label in graph.labels.entities] == [True, False]


def test_language_tags_differ_neither_by_case_nor_by_hyphen() -> None:
    builder = GraphBuilder(languages=["zh_Hans"])
    builder.label("a", "zh-Hans", "北京")
    builder.label("a", "en", "Peking")
    graph = builder.build()
    assert graph.label(0, "ZH_hans") == "北京"
    assert graph.labels.languages == ("zh-hans",)


def test_types_and_literals_of_an_entity_stay_in_order() -> None:
    graph = berlin()
    assert [graph.types.names[kind] for kind in graph.types.of(0)] == ["city", "capital"]
    assert len(graph.types.of(1)) == 0
    assert graph.attributes.of(0) == [
        ("population", "3677472", "", "integer"),
        ("description", "capital of Germany", "en", ""),
    ]
    assert list(graph.attributes.texts("description", "en")) == [(0, "capital of Germany")]


def test_a_blank_label_is_refused() -> None:
    with pytest.raises(FormatError, match="field label"):
        GraphBuilder().label("a", "en", " ")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(FormatError, match="field relation"):
        GraphBuilder().triple("a", "", "b")


def test_labels_by_name_go_to_every_role_of_the_name() -> None:
    graph = KnowledgeGraph.from_triples(
        [("cat", "is", "animal"), ("is", "is", "verb")],
        labels={"en": {"is": "to be", "noun": ["noun", "substantive"], "loose": "loose"}},
        types={"cat": ["noun"]},
    )
    assert graph.relation_label(graph.relation_names.id("is")) == "to be"
    assert graph.label(graph.entities.id("is")) == "to be"
    assert graph.type_label(graph.types.names.id("noun")) == "noun"
    assert graph.label(graph.entities.id("loose")) == "loose"
    assert "noun" not in graph.entities


@settings(deadline=None, max_examples=40)
@given(TRIPLES)
def test_neighbors_equal_a_scan_of_all_triples(triples: list[tuple[str, str, str]]) -> None:
    graph = KnowledgeGraph.from_triples(triples)
    distinct = list(dict.fromkeys(triples))
    assert list(graph.names()) == distinct
    for entity, name in enumerate(graph.entities):
        relations, tails = graph.neighbors(entity)
        found = [(graph.relation_names[r], graph.entities[t]) for r, t in zip(relations, tails, strict=True)]
        assert found == [(r, t) for h, r, t in distinct if h == name]
        relations, heads = graph.incoming(entity)
        found = [(graph.relation_names[r], graph.entities[h]) for r, h in zip(relations, heads, strict=True)]
        assert found == [(r, h) for h, r, t in distinct if t == name]


def test_neighbors_of_an_unknown_entity_are_an_error() -> None:
    for entity in (-1, 3):
        with pytest.raises(IndexError, match="no entity has id"):
            berlin().neighbors(entity)


@settings(deadline=None, max_examples=40)
@given(TRIPLES, TRIPLES)
def test_without_removes_exactly_the_named_triples(
    left: list[tuple[str, str, str]], right: list[tuple[str, str, str]]
) -> None:
    graph = KnowledgeGraph.from_triples([*left, *right])
    removed = KnowledgeGraph.from_triples(right)
    ids = np.stack(
        [
            graph.entities.ids([h for h, _, _ in removed.names()]),
            graph.relation_names.ids([r for _, r, _ in removed.names()]),
            graph.entities.ids([t for _, _, t in removed.names()]),
        ],
        axis=1,
    )
    rest = graph.without(ids)
    assert set(rest.names()) == set(left) - set(right)
    assert rest.entities is graph.entities
    assert graph.contains(ids).all()
    assert not rest.contains(ids).any()


def test_triples_that_the_graph_lacks_are_not_removed_and_unknown_ids_do_no_harm() -> None:
    graph = berlin()
    assert len(graph.without(np.array([[2, 1, 1], [-1, 0, 1]]))) == 3
    assert graph.contains(np.array([[0, 0, 1], [-1, 0, 1], [0, 0, 2]])).tolist() == [True, False, False]


def test_where_keeps_names_and_labels() -> None:
    graph = berlin().where(np.array([False, False, True]))
    assert list(graph.names()) == [("Q1055", "P17", "Q183")]
    assert graph.label(0) == "Berlin"
    with pytest.raises(ValueError, match="mask of 1"):
        graph.where(np.array([True, False]))


def test_union_keeps_ids_of_the_first_and_its_preferred_labels() -> None:
    other = KnowledgeGraph.from_triples(
        [("Q90", "P17", "Q142"), ("Q64", "P17", "Q183")], labels={"en": {"Q64": "Berlin (city)", "Q90": "Paris"}}
    )
    graph = berlin().union(other)
    assert graph.triples()[:3].tolist() == berlin().triples().tolist()
    assert len(graph) == 4
    assert graph.aliases(0, "en") == ["Berlin", "Berlin, Germany", "Berlin (city)"]
    assert graph.label(graph.entities.id("Q90")) == "Paris"
    assert graph.attributes.of(0) == berlin().attributes.of(0)


@settings(deadline=None, max_examples=40)
@given(TRIPLES)
def test_union_with_itself_changes_nothing(triples: list[tuple[str, str, str]]) -> None:
    graph = KnowledgeGraph.from_triples(triples)
    assert graph.union(graph) == graph
    assert graph.where(np.zeros(len(graph), bool)).union(graph) == graph


def test_entity_and_relation_of_one_name_keep_their_ids_in_a_union() -> None:
    graph = KnowledgeGraph.from_triples([("x", "y", "y"), ("x", "x", "y")])
    assert list(graph.relation_names) == ["x", "y"]
    swapped = GraphBuilder()
    for relation in ("y", "x"):
        swapped.relation(relation)
    swapped.graph(graph)
    assert list(swapped.build().relation_names) == ["y", "x"]
    assert set(swapped.build().names()) == set(graph.names())


def test_a_saved_graph_opens_equal_and_memory_mapped(tmp_path: Path) -> None:
    graph = berlin()
    graph.save(tmp_path / "graph")
    opened = KnowledgeGraph.open(tmp_path / "graph")
    assert opened == graph
    assert facts(opened) == facts(graph)
    assert isinstance(opened.heads.base, np.memmap)
    assert opened.neighbors(0)[1].tolist() == graph.neighbors(0)[1].tolist()
    assert KnowledgeGraph.open(tmp_path / "graph", verify=False).entities.id("Q1055") == 2
    with pytest.raises(ValueError, match="read-only"):
        opened.heads[0] = 5


def test_an_empty_graph_can_be_saved(tmp_path: Path) -> None:
    graph = GraphBuilder().build()
    graph.save(tmp_path / "graph")
    assert KnowledgeGraph.open(tmp_path / "graph") == graph
    assert len(graph.union(graph)) == 0


def test_reports_are_saved_with_the_graph(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tp\tb\n")
    import kg.io

    graph = kg.io.read(tmp_path / "a.tsv")
    graph.save(tmp_path / "graph")
    assert KnowledgeGraph.open(tmp_path / "graph").reports == graph.reports
    assert graph.reports[0].triples == 1


def test_saving_replaces_a_graph_and_nothing_else(tmp_path: Path) -> None:
    berlin().save(tmp_path / "graph")
    berlin().where(np.array([True, False, False])).save(tmp_path / "graph")
    assert len(KnowledgeGraph.open(tmp_path / "graph")) == 1
    assert names(tmp_path) == ["graph"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(CheckpointError, match="not a saved graph"):
        berlin().save(tmp_path / "mine")
    assert names(tmp_path / "mine") == ["thesis.txt"]


def test_a_full_disk_leaves_the_old_graph_and_no_half_of_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    berlin().save(tmp_path / "graph")
    written: list[str] = []

    def full(file: object, column: np.ndarray, **options: object) -> None:
        written.append("column")
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kg.storage.np, "save", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        berlin().where(np.array([True, False, False])).save(tmp_path / "graph")
    assert len(written) > 3
    monkeypatch.undo()
    assert names(tmp_path) == ["graph"]
    assert KnowledgeGraph.open(tmp_path / "graph") == berlin()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (cut, "heads.npy", "heads.npy: the file is damaged: expected"),
        (flip, "tails.npy", "tails.npy: the file is damaged: its checksum"),
        (Path.unlink, "entities.blob.npy", "entities.blob.npy: the file is missing"),
        (cut, "manifest.json", "manifest.json: cannot be read"),
        (Path.unlink, "manifest.json", "nothing that kelm saved is here"),
    ],
)
def test_damage_is_named_with_the_file_and_a_remedy(tmp_path: Path, damage: object, file: str, message: str) -> None:
    berlin().save(tmp_path / "graph")
    damage(tmp_path / "graph" / file)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=message) as caught:
        KnowledgeGraph.open(tmp_path / "graph")
    assert "again" in str(caught.value) or "Check the path" in str(caught.value)


def test_a_pickle_in_place_of_a_column_is_refused(tmp_path: Path) -> None:
    berlin().save(tmp_path / "graph")
    path = tmp_path / "graph" / "heads.npy"
    content = pickle.dumps(np.zeros(3))
    path.write_bytes(content)
    manifest = tmp_path / "graph" / "manifest.json"
    import hashlib
    import json

    value = json.loads(manifest.read_text())
    value["files"]["heads.npy"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest.write_text(json.dumps(value))
    with pytest.raises(CheckpointError, match="cannot be opened as a column"):
        KnowledgeGraph.open(tmp_path / "graph")


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    berlin().save(tmp_path / "graph")
    manifest = tmp_path / "graph" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"heads.npy"', '"../heads.npy"'))
    with pytest.raises(CheckpointError, match="not the name of a column"):
        KnowledgeGraph.open(tmp_path / "graph")


def test_a_graph_survives_pickling() -> None:
    graph = berlin()
    assert graph.entities.id("Q64") == 0  # its index exists by now
    assert pickle.loads(pickle.dumps(graph)) == graph


def test_equal_graphs_have_equal_fingerprints_and_others_not() -> None:
    assert berlin().fingerprint() == berlin().fingerprint()
    assert len({berlin(), berlin()}) == 1
    assert berlin().where(np.array([True, True, False])) != berlin()
    assert berlin().with_triples(berlin().triples()[::-1]) != berlin()  # the order of triples is part of it


@settings(deadline=None, max_examples=40)
@given(some.lists(NAMES, unique=True), NAMES)
def test_a_vocabulary_finds_what_a_dictionary_finds(names: list[str], other: str) -> None:
    vocabulary = Vocabulary.of(names)
    known = {name: row for row, name in enumerate(names)}
    assert list(vocabulary) == names
    assert [vocabulary.find(name) for name in names] == list(range(len(names)))
    assert vocabulary.find(other) == known.get(other, -1)
    asked = [other, *names]
    expected = [known.get(name, -1) for name in asked]
    assert vocabulary.ids(asked).tolist() == expected
    assert [int(vocabulary.ids([name])[0]) for name in asked] == expected
    assert (other in vocabulary) == (other in known)


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    vocabulary = Vocabulary.of(["Berlin", "Bremen", "Paris"])
    with pytest.raises(UnknownName, match=r'no name is "Berln".*Did you mean "Berlin"'):
        vocabulary.id("Berln")
    large = Vocabulary.of(f"name {number}" for number in range(20_000))
    with pytest.raises(UnknownName, match='"name 12345"'):
        large.id("name 12345x")
    with pytest.raises(UnknownName, match="None is known"):
        Vocabulary.of([]).id("x")


def test_a_column_of_texts_has_no_negative_rows() -> None:
    column = TextColumn.of(["a", "é", ""])
    assert [column[0], column[1], column[2]] == ["a", "é", ""]
    for row in (-1, 3):
        with pytest.raises(IndexError):
            column[row]


@settings(deadline=None, max_examples=40)
@given(some.lists(some.tuples(some.integers(0, 5), some.integers(0, 2**31 - 1), some.integers(0, 2**31 - 1))))
def test_row_keys_are_equal_for_equal_rows_only(rows: list[tuple[int, int, int]]) -> None:
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    keys = row_keys(*columns)
    assert len(set(keys.tolist())) == len(set(rows))
    assert [rows[row] for row in first_rows(keys)] == list(dict.fromkeys(rows))


def test_a_text_in_place_of_a_list_of_languages_is_refused() -> None:
    with pytest.raises(InputError, match=r'expected a list of languages, found "en". Write \["en"\]'):
        GraphBuilder(languages="en")


def test_labels_of_a_graph_in_unwanted_languages_are_left_out_and_counted() -> None:
    graph = berlin()
    kept = GraphBuilder(languages=["ko"]).graph(graph).build()
    assert kept.labels.languages == ("ko",)
    assert kept.reports[-1].labels == len(kept.labels)
    assert kept.reports[-1].dropped == {"label in an unwanted language": len(graph.labels) - len(kept.labels)}
    assert not GraphBuilder().graph(graph).build().reports
