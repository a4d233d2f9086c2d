"""Graphs of other libraries: what they hold beside triples is kept or counted, and what has no form is refused."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import networkx
import numpy as np
import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as some

import kg.io
from kelm.errors import FormatError, KelmError
from kg.io.networkx import from_networkx, to_networkx
from kg.io.rdflib import from_rdflib
from kg.labels import Attribute
from tests.kg.facts import facts
from tests.kg.test_graph import berlin

XSD = "http://www.w3.org/2001/XMLSchema#"
A, P, B = (rdflib.URIRef(f"http://e/{name}") for name in "apb")


def test_all_graphs_of_a_dataset_of_rdflib_are_read() -> None:
    dataset = rdflib.Dataset()
    dataset.default_graph.add((A, P, B))
    dataset.graph(rdflib.URIRef("http://e/g")).add((B, P, A))
    graph = kg.io.read(dataset)
    assert set(graph.names()) == {(str(A), str(P), str(B)), (str(B), str(P), str(A))}
    assert graph.reports[0].dropped == {"name of the graph that a statement is in": 1}


@pytest.mark.parametrize(
    "statement", [(rdflib.Literal("x"), P, B), (A, rdflib.BNode(), B), (A, P, rdflib.Variable("x"))]
)
def test_what_rdf_does_not_allow_is_refused(statement: Any) -> None:
    theirs = rdflib.Graph()
    theirs.add(statement)
    with pytest.raises(FormatError, match=r"rdflib\.Graph: expected a statement of RDF"):
        from_rdflib(theirs)


def test_texts_and_numbers_of_networkx_nodes_become_literals_and_the_rest_is_counted() -> None:
    theirs = networkx.MultiDiGraph(name="cities")
    theirs.add_node("Berlin", size=np.int64(3), share=np.float32(0.5), capital=True, mayor="K", shape=[1, 2])
    theirs.add_edge("Berlin", "Germany", "in", weight=0.5, relation="lies in")
    graph = from_networkx(theirs)
    assert graph.attributes.of(graph.entities.id("Berlin")) == [
        Attribute("size", "3", "", f"{XSD}integer"),
        Attribute("share", "0.5", "", f"{XSD}double"),
        Attribute("capital", "true", "", f"{XSD}boolean"),
        Attribute("mayor", "K", "", ""),
    ]
    assert list(graph.names()) == [("Berlin", "lies in", "Germany")]
    assert graph.reports[0].dropped == {
        'attribute "name" of the graph': 1,
        'attribute "shape" of a node that is no literal': 1,
        'attribute "weight" of an edge': 1,
    }


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(FormatError, match='two nodes are called "1"'):
        from_networkx(networkx.MultiDiGraph([(1, "1", "same")]))


STRANGE = [
    None,
    7,
    "text",
    [],
    {},
    [7],
    ["a", None],
    {"en": 7},
    {"en": ["x", 7]},
    {7: "x"},
    [("a",)],
    [("a", 1, "", "")],
]


@given(some.integers(0, 2**62))
@settings(deadline=None, max_examples=100)
def test_networkx_graphs_of_any_form_are_read_or_refused(seed: int) -> None:
    theirs, chance = to_networkx(berlin()), random.Random(seed)
    places: list[Any] = [*(data for _, data in theirs.nodes(data=True)), theirs.graph, theirs.graph["relations"]["P17"]]
    for place in chance.sample(places, chance.randint(1, len(places))):
        place[chance.choice(["labels", "aliases", "types", "attributes", "relations", "P17"])] = chance.choice(STRANGE)
    with suppress(KelmError):
        assert set(from_networkx(theirs).names()) == set(berlin().names())


def test_a_data_set_of_pykeens_is_read_as_an_object() -> None:
    from pykeen.datasets import Nations

    graph = kg.io.read(Nations())
    assert facts(graph) == facts(kg.io.read("pykeen:nations"))
    assert graph.reports[0].triples == 1_992


def test_a_factory_without_names_goes_by_numbers_and_numeric_literals_become_attributes() -> None:
    import torch
    from pykeen.triples import CoreTriplesFactory, TriplesNumericLiteralsFactory

    triples = torch.tensor([[0, 0, 1], [1, 0, 0]])
    bare = kg.io.read(CoreTriplesFactory(triples, num_entities=3, num_relations=1))
    assert list(bare.names()) == [("0", "0", "1"), ("1", "0", "0")]
    assert bare.entity_count == 3
    names = {"entity_to_id": {"a": 0, "b": 1}, "relation_to_id": {"p": 0}}
    numbers = {"numeric_literals": np.array([[0.5], [0.0]], np.float32), "literals_to_id": {"height": 0}}
    graph = kg.io.read(TriplesNumericLiteralsFactory(mapped_triples=triples, **names, **numbers))
    assert graph.attributes.of(0) == [Attribute("height", "0.5", "", f"{XSD}double")]
    assert graph.attributes.of(1) == []


def test_what_holds_no_triples_is_refused() -> None:
    from pykeen.losses import MSELoss

    with pytest.raises(FormatError, match="MSELoss holds no triples"):
        kg.io.read(MSELoss())
