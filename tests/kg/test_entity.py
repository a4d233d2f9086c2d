"""Which entity a name or a label means, and what a graph says of it."""

from __future__ import annotations

import pytest

from kelm.errors import InputError, UnknownName
from kg.entity import Named, Neighbors, describe, found, label_of
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.labels import Attribute
from tests.kg.test_graph import berlin


@pytest.fixture
def graph() -> KnowledgeGraph:
    builder = GraphBuilder()
    for number in range(4):
        builder.triple(f"Q{number}", "in", "Q9")
    builder.triple("Q9", "has", "Q0")
    builder.triple("Q1", "near", "Q0")
    builder.label("Q0", "en", "Springfield")
    builder.label("Q1", "de", "Springfield")
    builder.label("Q1", "en", "Field", preferred=False)
    builder.label("Q9", "ko", "나라")
    builder.relation_label("in", "en", "lies in")
    builder.type("Q9", "country")
    builder.type_label("country", "en", "country on Earth")
    builder.attribute("Q9", "description", "a country", language="en")
    return builder.build()


@pytest.mark.parametrize(
    ("wanted", "name"), [("Q1", "Q1"), ("나라", "Q9"), ("Field", "Q1"), ("FIELD", "Q1"), ("q9", None), ("spring", None)]
)
def test_an_entity_is_found_by_its_name_a_label_or_an_alias(
    graph: KnowledgeGraph, wanted: str, name: str | None
) -> None:
    if name is None:
        with pytest.raises(UnknownName, match=f'the name or the label "{wanted}"'):
            found(graph, wanted)
    else:
        assert graph.entities[found(graph, wanted)] == name


def test_a_label_of_several_entities_is_refused_with_the_best_connected_first(graph: KnowledgeGraph) -> None:
    with pytest.raises(InputError, match=r'"Springfield" is a label of 2 entities\. Name one: Q0, Q1\.'):
        found(graph, "Springfield")


def test_a_part_of_a_label_or_two_of_them_side_by_side_are_not_found() -> None:
    graph = KnowledgeGraph.from_triples([("a", "p", "b")], labels={"en": {"a": "xy", "b": "z"}})
    for wanted in ("x", "y", "yz", "xyz", ""):
        with pytest.raises(UnknownName):
            found(graph, wanted)
    assert found(graph, "z") == 1


def test_a_description_counts_all_neighbors_and_shows_some(graph: KnowledgeGraph) -> None:
    description = describe(graph, graph.entities.id("Q9"), neighbors=2)
    assert description.entity == Named("Q9", "나라")
    assert description.names == {"ko": ["나라"]}
    assert description.types == (Named("country", "country on Earth"),)
    assert description.attributes == (Attribute("description", "a country", "en", ""),)
    assert description.leaving == (Neighbors(Named("has", ""), 1, (Named("Q0", "Springfield"),)),)
    shown = (Named("Q0", "Springfield"), Named("Q1", "Springfield"))
    assert description.reaching == (Neighbors(Named("in", "lies in"), 4, shown),)


def test_relations_come_by_frequency_and_every_neighbor_is_there() -> None:
    graph = berlin()
    for entity in range(graph.entity_count):
        description = describe(graph, entity, neighbors=100)
        assert sum(one.count for one in description.leaving) == len(graph.neighbors(entity)[0])
        for one in (*description.leaving, *description.reaching):
            assert len(one.shown) == one.count
        counts = [one.count for one in description.reaching]
        assert counts == sorted(counts, reverse=True)


def test_a_label_is_of_the_language_asked_for_or_else_of_another(graph: KnowledgeGraph) -> None:
    assert label_of([graph], "Q0", language="en") == "Springfield"
    assert label_of([graph], "Q9", language="en") == "나라"
    assert label_of([graph], "Q2", language="en") == label_of([graph], "unknown", language="en") == ""
    more = KnowledgeGraph.from_triples([("Q2", "P", "Q0")], labels={"en": {"Q2": "Two", "Q0": "Zero"}})
    assert label_of([graph, more], "Q2", language="en") == "Two"
    assert label_of([graph, more], "Q0", language="en") == "Springfield"
