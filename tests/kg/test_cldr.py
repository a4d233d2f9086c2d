"""The CLDR's graph, and the sentences about it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kelm.errors import InputError, UnknownName
from kg.cldr_text import LANGUAGES, RELATIONS, UNRELATED, paragraphs, partition, sentences
from kg.graph import KnowledgeGraph
from kg.io import cldr
from kg.io.cldr_regions import MEMBERS, REGIONS
from kg.linking.alias import AliasLinker
from kg.linking.linked_text import joining


@pytest.fixture(scope="module")
def graph() -> KnowledgeGraph:
    return cldr.read(languages=LANGUAGES)


def test_the_graph_holds_what_everyone_knows(graph: KnowledgeGraph) -> None:
    facts = set(graph.names())
    assert {
        ("territory/FR", "contained_in", "territory/155"),
        ("territory/155", "contained_in", "territory/150"),
        ("territory/FR", "member_of", "territory/EU"),
        ("territory/FR", "uses_currency", "currency/EUR"),
        ("territory/FR", "used_currency", "currency/FRF"),
        ("territory/FR", "official_language", "language/fr"),
        ("territory/ES", "regional_language", "language/ca"),
        ("language/ja", "written_in", "script/Jpan"),
        ("language/ja", "mainly_spoken_in", "territory/JP"),
        ("city/Asia/Kolkata", "located_in", "territory/IN"),
        ("territory/DE", "uses_time", "time/Europe_Central"),
    } <= facts
    assert ("territory/FR", "uses_currency", "currency/FRF") not in facts
    assert ("territory/CH", "member_of", "territory/EU") not in facts
    assert {relation for _, relation, _ in facts} == set(cldr.RELATIONS)


def test_every_entity_has_an_english_name_and_one_type(graph: KnowledgeGraph) -> None:
    assert all(graph.label(entity) for entity in range(graph.entity_count))
    assert all(len(graph.types.of(entity)) == 1 for entity in range(graph.entity_count))
    types = Counter(graph.types.names[int(kind)] for kind in graph.types.values)
    assert types["union"] == len(MEMBERS)
    assert types["region"] == len(REGIONS)
    assert types["territory"] > 240
    assert types["language"] > 600
    assert len(graph) > 4000


@pytest.mark.parametrize(
    ("entity", "language", "name"),
    [
        ("territory/DE", "fr", "Allemagne"),
        ("city/Europe/Vienna", "de", "Wien"),
        ("city/Asia/Kolkata", "en", "Kolkata"),
        ("city/America/New_York", "en", "New York"),
        ("script/Cyrl", "es", "cirílico"),
        ("time/Europe_Central", "en", "Central European Time"),
        ("currency/RUR", "en", "Russian Ruble (1991–1998)"),
    ],
)
def test_names_are_those_of_the_language(graph: KnowledgeGraph, entity: str, language: str, name: str) -> None:
    assert graph.label(graph.entities.id(entity), language) == name


def test_a_currency_is_also_known_without_years_and_in_the_plural(graph: KnowledgeGraph) -> None:
    names = [label.text for label in graph.labels.entities.each(["en"])]
    assert "Russian Ruble" in names
    assert "US dollars" in names


def test_the_names_come_in_more_than_a_hundred_languages() -> None:
    found = cldr.languages()
    assert len(found) > 200
    assert {"en", "zh", "zh_Hant", "sw", "hy"} <= set(found)
    assert cldr.read(languages=["zh-Hant"]).labels.entities.languages == ("zh-hant",)


def test_containment_is_a_tree_without_a_loop() -> None:
    parent = {member: region for region, members in REGIONS.items() for member in members}
    assert sum(map(len, REGIONS.values())) == len(parent)
    for member in parent:
        path = [member]
        while path[-1] in parent:
            path.append(parent[path[-1]])
            assert len(path) < 7
        assert path[-1] == "001"
    assert all(member in parent for members in MEMBERS.values() for member in members)


def test_sentences_say_what_the_graph_says(graph: KnowledgeGraph) -> None:
    facts = set(graph.names())
    texts = sentences(graph, 0, 300, languages=LANGUAGES, clear=0.5)
    assert len({text.text for text in texts}) == 300
    for text in texts:
        head, tail = text.entities
        assert (head, text.relation, tail) in facts
        for mention in text.mentions:
            assert text.text[mention.start : mention.end] == mention.text
    assert {text.relation for text in texts} == set(RELATIONS)
    assert texts == sentences(graph, 0, 300, languages=LANGUAGES, clear=0.5)
    assert texts != sentences(graph, 1, 300, languages=LANGUAGES, clear=0.5)


def test_the_words_of_a_veiled_sentence_do_not_tell_the_relation(graph: KnowledgeGraph) -> None:
    shapes: dict[str, set[str]] = {}
    for text in sentences(graph, 0, 2000):
        first, second = text.mentions
        shape = text.text[: first.start] + "@" + text.text[first.end : second.start] + "@" + text.text[second.end :]
        shapes.setdefault(shape, set()).add(text.relation)
    assert all(relations == set(RELATIONS) for relations in shapes.values())


def test_unrelated_pairs_are_joined_by_nothing(graph: KnowledgeGraph) -> None:
    texts = sentences(graph, 0, 400, unrelated=0.5)
    joined = {frozenset((head, tail)) for head, _, tail in graph.names()}
    none = [text for text in texts if text.relation == UNRELATED]
    assert 100 < len(none) < 300
    assert not any(frozenset(text.entities) in joined for text in none)


def test_a_partition_shares_no_entity(graph: KnowledgeGraph) -> None:
    parts = partition(graph.entities, seed=3)
    assert sum(map(len, parts)) == graph.entity_count == len(frozenset().union(*parts))
    train, test = (
        {entity for text in sentences(graph, 0, 150, entities=part) for entity in text.entities}
        for part in (parts[0], parts[2])
    )
    assert not train & test
    assert parts == partition(graph.entities, seed=3) != partition(graph.entities, seed=4)


def test_without_the_joining_triples_the_graph_does_not_hold_the_answers(graph: KnowledgeGraph) -> None:
    texts = sentences(graph, 5, 200)
    joins = joining(graph, texts)
    pairs = {frozenset(text.entities) for text in texts}
    expected = [triple for triple in graph.names() if frozenset((triple[0], triple[2])) in pairs]
    assert len(joins) == len(expected)
    rest = graph.without(joins)
    assert len(rest) == len(graph) - len(expected)
    assert not any(frozenset((head, tail)) in pairs for head, _, tail in rest.names())
    assert joining(graph, []).shape == (0, 3)


def test_paragraphs_have_their_mentions_and_leave_out_pairs(graph: KnowledgeGraph) -> None:
    test = sentences(graph, 5, 500)
    texts = paragraphs(graph, 0, 200, languages=LANGUAGES, without=test)
    assert texts == paragraphs(graph, 0, 200, languages=LANGUAGES, without=test)
    pairs = {frozenset(text.entities) for text in test}
    for text in texts:
        ends = [mention.end for mention in text.mentions]
        assert ends == sorted(ends)
        assert all(text.text[mention.start : mention.end] == mention.text for mention in text.mentions)
        entities = [mention.entity for mention in text.mentions]
        couples = zip(entities[::2], entities[1::2], strict=True)
        assert not any(frozenset(couple) in pairs for couple in couples)


def test_a_linker_of_the_graph_finds_the_mentions_of_its_sentences(graph: KnowledgeGraph) -> None:
    texts = sentences(graph, 0, 300, languages=["de"])
    linker = AliasLinker.from_graph(graph, ["de"])
    found = linker.link_all([text.text for text in texts])
    spans = [{(m.start, m.end) for m in mentions} for mentions in found]
    hits = np.mean([(m.start, m.end) in span for text, span in zip(texts, spans, strict=True) for m in text.mentions])
    assert hits > 0.97


def test_unknown_languages_and_relations_are_named(graph: KnowledgeGraph) -> None:
    with pytest.raises(UnknownName, match="Known: de, en, es, fr"):
        sentences(graph, 0, 1, languages=["xx"])
    with pytest.raises(UnknownName, match='Did you mean "written_in"'):
        sentences(graph, 0, 1, relations=["writen_in"])
    with pytest.raises(InputError, match="Ask for fewer"):
        sentences(graph, 0, 500, relations=["member_of"], entities=["territory/EU", "territory/FR"])
    with pytest.raises(InputError, match="joins no two"):
        sentences(graph, 0, 1, entities=[])
