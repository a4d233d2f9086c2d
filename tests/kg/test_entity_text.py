"""What is said of an entity: its description, or its most telling neighbors."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.errors import InputError
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.linking.entity_text import EntityText, EntityTextOptions


def text_of(graph: KnowledgeGraph, entity: str, **options) -> str:
    return EntityText(graph, EntityTextOptions(**options))(graph.entities.id(entity))


def cities() -> GraphBuilder:
    builder = GraphBuilder()
    for head, relation, tail in [
        ("Q64", "P17", "Q183"),
        ("Q586", "P17", "Q183"),
        ("Q586", "P1376", "Q183"),
        ("Q183", "P47", "Q142"),
    ]:
        builder.triple(head, relation, tail)
    for entity, label in [("Q64", "Berlin"), ("Q586", "Bonn"), ("Q183", "Germany")]:
        builder.label(entity, "en", label)
    builder.label("Q142", "fr", "France")
    builder.label("Q183", "de", "Deutschland")
    for relation, label in [("P17", "country"), ("P1376", "capital of"), ("P47", "borders")]:
        builder.relation_label(relation, "en", label)
    for entity in ("Q64", "Q586"):
        builder.type(entity, "Q515")
    builder.type("Q64", "Q5119")
    builder.type_label("Q515", "en", "city")
    builder.type_label("Q5119", "en", "capital")
    return builder


def test_a_description_is_said_and_neighbors_only_where_there_is_none() -> None:
    builder = cities()
    assert text_of(builder.build(), "Q64") == "Berlin (capital, city): country: Germany"
    builder.attribute("Q64", "description", "capital\nof  Germany", language="en")
    builder.attribute("Q64", "description", "Hauptstadt", language="de")
    assert text_of(builder.build(), "Q64") == "Berlin (capital, city): capital of Germany"
    assert text_of(builder.build(), "Q64", types=1, language="de") == "Berlin (capital): Hauptstadt"


def test_rare_relations_come_first_and_of_each_relation_and_direction_the_best_connected_neighbor() -> None:
    graph = cities().build()
    assert text_of(graph, "Q586") == "Bonn (city): capital of: Germany; country: Germany"
    assert text_of(graph, "Q183") == "Germany: Bonn (capital of); borders: France; Bonn (country)"
    assert text_of(graph, "Q183", neighbors=1) == "Germany: Bonn (capital of)"
    assert text_of(graph, "Q183", neighbors=0) == "Germany"


def test_a_name_comes_from_another_language_or_from_the_identifier_where_there_is_none() -> None:
    graph = KnowledgeGraph.from_triples(
        [("http://a.org/Old_Town#Hall", "http://a.org/stands_in", "/m/x")], labels={"fr": {"/m/x": "Lyon"}}
    )
    assert text_of(graph, "http://a.org/Old_Town#Hall") == "Hall: stands in: Lyon"
    assert text_of(graph, "/m/x") == "Lyon: Hall (stands in)"


def test_numbers_below_zero_are_refused() -> None:
    with pytest.raises(InputError, match="neighbors"):
        EntityTextOptions(neighbors=-1)


TRIPLES = st.lists(
    st.tuples(st.sampled_from("ABCDE"), st.sampled_from("rst"), st.sampled_from("ABCDE")), min_size=1, max_size=14
)


def slow(triples: set[tuple[str, str, str]], entity: str, most: int) -> str:
    """Every triple of the entity as a sortable tuple; the first of each relation and direction."""
    degree, count = Counter(), Counter(relation for _, relation, _ in triples)
    for head, _, tail in triples:
        degree[head] += 1
        degree[tail] += 1
    facts = [(count[r], r, False, -degree[t], t, f"{r}: {t}") for h, r, t in triples if h == entity]
    facts += [(count[r], r, True, -degree[h], h, f"{h} ({r})") for h, r, t in triples if t == entity]
    best: dict[tuple[str, bool], str] = {}
    for _, relation, arrives, _, _, said in sorted(facts):
        best.setdefault((relation, arrives), said)
    return f"{entity}: " + "; ".join(list(best.values())[:most])


@given(TRIPLES, st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_neighbors_are_those_of_a_slow_oracle_whatever_the_order_of_the_triples(
    triples: list[tuple[str, str, str]], most: int, chance: random.Random
) -> None:
    entity = triples[0][0]
    chance.shuffle(triples)
    assert text_of(KnowledgeGraph.from_triples(triples), entity, neighbors=most) == slow(set(triples), entity, most)


def test_the_fingerprint_tells_graphs_and_options_apart() -> None:
    graph, other = cities().build(), KnowledgeGraph.from_triples([("a", "b", "c")])
    prints = {
        EntityText(one, options).fingerprint()
        for one in (graph, other)
        for options in (EntityTextOptions(), EntityTextOptions(types=0), EntityTextOptions(language="de"))
    }
    assert len(prints) == 6
    assert EntityText(cities().build()).fingerprint() in prints
