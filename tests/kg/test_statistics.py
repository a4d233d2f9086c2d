"""The counts of a graph against slow counting and networkx."""

from __future__ import annotations

from collections import Counter

import networkx
from hypothesis import given, settings
from hypothesis import strategies as some

from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io.networkx import to_networkx
from kg.statistics import statistics
from tests.kg.test_graph import berlin

TRIPLES = some.lists(some.tuples(some.sampled_from("abcde"), some.sampled_from("pqr"), some.sampled_from("abcde")))


@settings(deadline=None, max_examples=40)
@given(TRIPLES)
def test_counts_equal_slow_counting(triples: list[tuple[str, str, str]]) -> None:
    found = statistics(KnowledgeGraph.from_triples(triples))
    known = set(triples)
    pairs = Counter((head, tail) for head, _, tail in known)
    assert found.triples == len(known)
    assert found.loops == sum(head == tail for head, _, tail in known)
    assert found.mirrored == sum((tail, relation, head) in known and head != tail for head, relation, tail in known)
    assert found.parallel == sum(pairs[head, tail] > 1 for head, _, tail in known)
    relations = Counter(relation for _, relation, _ in known)
    assert {one.name: one.triples for one in found.relation_counts} == relations
    for one in found.relation_counts:
        assert one.heads == len({head for head, relation, _ in known if relation == one.name})
        assert one.tails == len({tail for _, relation, tail in known if relation == one.name})


@settings(deadline=None, max_examples=40)
@given(TRIPLES.filter(len))
def test_degrees_equal_those_of_networkx(triples: list[tuple[str, str, str]]) -> None:
    graph = KnowledgeGraph.from_triples(triples)
    found, theirs = statistics(graph), to_networkx(graph)
    for ours, degrees in (
        (found.leaving, theirs.out_degree()),
        (found.reaching, theirs.in_degree()),
        (found.degree, theirs.degree()),
    ):
        by_name = dict(degrees)
        assert ours.most == max(by_name.values()) == by_name[ours.most_entity]
        assert ours.mean == sum(by_name.values()) / len(by_name)


def test_names_are_counted_by_language() -> None:
    builder = GraphBuilder().graph(berlin())
    builder.label("Q183", "en", "Berlin", preferred=False)
    builder.label("Q1055", "ja", "ハンブルク", preferred=False)
    found = statistics(builder.build())
    coverage = {one.language: (one.labeled, one.named, one.names, one.relations) for one in found.coverage}
    assert coverage == {"en": (2, 2, 4, 1), "ko": (1, 1, 1, 0), "ja": (0, 1, 1, 0), "de": (0, 0, 0, 0)}
    assert found.ambiguous == 1
    assert (found.typed, found.types, found.attributes) == (1, 2, 2)


def test_an_empty_graph_has_statistics() -> None:
    found = statistics(GraphBuilder().build())
    assert (found.triples, found.entities, found.degree.mean, found.coverage) == (0, 0, 0.0, ())


@given(some.lists(some.tuples(*map(some.sampled_from, ("abcdefghi", "pq", "abcdefghi")))))
@settings(deadline=None, max_examples=50)
def test_components_are_those_of_networkx(triples: list[tuple[str, str, str]]) -> None:
    builder = GraphBuilder()
    builder.entity("lonely")
    for triple in triples:
        builder.triple(*triple)
    graph = builder.build()
    expected = [len(component) for component in networkx.weakly_connected_components(to_networkx(graph))]
    found = statistics(graph)
    assert (found.components, found.largest) == (len(expected), max(expected))
