"""Triples with their texts: what is said, what is corrupted, what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.errors import FormatError, InputError
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.answers import SIDES
from kg.enrich.described_triples import DescribedTriples, described_triples
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.linking.entity_text import EntityTextOptions
from kg.linking.triple_text import DescribedTriple

WORDS = ["bonn is a city on the rhine", "germany is a state", "the country of a city", "berlin", "texas"]
TRIPLES = [("Q1", "P17", "Q3"), ("Q2", "P17", "Q3"), ("Q4", "P17", "Q3"), ("Q1", "P17", "Q5"), ("Q1", "P36", "Q2")]
NAMES = {"Q1": "bonn", "Q2": "berlin", "Q3": "germany", "Q5": "texas", "P17": "country", "P36": "capital"}


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return vocabulary.train(WORDS, 100, "wordpiece", lower=True)


def graph() -> KnowledgeGraph:
    builder = GraphBuilder()
    for triple in TRIPLES:
        builder.triple(*triple)
    for name, label in NAMES.items():
        builder.label_any(name, "en", label, preferred=True)
    builder.attribute("Q1", "description", "city on the rhine", language="en")
    builder.type("Q1", "Q515")
    return builder.build()


def items(words: Tokenizer, known: Any = (), **options: Any) -> list[DescribedTriple]:
    corpus = DescribedTriples(graph(), words, texts=EntityTextOptions(neighbors=0, types=0), known=known, **options)
    return [item for item, _ in corpus.stream()]


def named(item: DescribedTriple) -> tuple[str, str, str]:
    ids = graph()
    return ids.entities[item.head], ids.relation_names[item.relation], ids.entities[item.tail]


def test_a_triple_without_words_for_an_entity_is_left_out(words: Tokenizer) -> None:
    assert [named(item) for item in items(words)] == [triple for triple in TRIPLES if "Q4" not in triple]
    assert [item.number for item in items(words)] == [0, 1, 3, 4]


def test_the_texts_are_names_and_descriptions_without_neighbors(words: Tokenizer) -> None:
    first = items(words, negatives=0)[0]
    assert [first.texts[one].text for one in (first.head, first.tail)] == ["bonn: city on the rhine", "germany"]
    assert first.relation_text is None and not first.questions and len(first) == sum(map(len, first.texts.values()))


def test_relations_and_questions_are_read_where_they_are_asked_for(words: Tokenizer) -> None:
    told = items(words, relation="text", negatives=0)[0]
    assert told.relation_text is not None and told.relation_text.text == "country"
    asked = items(words, relation="condition", negatives=0)[0]
    assert asked.questions["tail"].text == "bonn: city on the rhine\ncountry"
    assert asked.questions["head"].text == "country\ngermany"
    assert set(asked.questions["tail"].segments.tolist()) == {0, 1}
    short = items(words, relation="condition", negatives=0, length=7)[0]
    assert len(short.questions["tail"]) == 7
    assert words.find("country") in short.questions["tail"].tokens  # the longer text is cut


def test_corrupted_entities_have_words_and_are_no_known_answers(words: Tokenizer) -> None:
    ids = graph().entities
    for item in items(words, negatives=9):
        head, relation, tail = named(item)
        told = {"Q1", "Q2", "Q3", "Q5"}
        expected = {
            "head": {one for one in told if (one, relation, tail) not in TRIPLES},
            "tail": {one for one in told if (head, relation, one) not in TRIPLES},
        }
        for side in SIDES:
            assert {ids[one] for one in item.corrupted[side]} == expected[side]  # all, as nine are more
            assert len(item.corrupted[side]) == len(expected[side])
            assert set(item.corrupted[side]) <= set(item.texts)


def test_triples_of_other_graphs_are_known_where_they_are_named_and_only_there(words: Tokenizer) -> None:
    other = KnowledgeGraph.from_triples([("Q2", "P17", "Q5"), ("Q2", "P17", "Q99"), ("Q2", "P99", "Q1")])
    ids = graph().entities
    for known, expected in ((), {"Q1", "Q2", "Q5"}), ([other], {"Q1", "Q2"}):
        second = items(words, known, negatives=9)[1]
        assert named(second) == ("Q2", "P17", "Q3")
        assert {ids[one] for one in second.corrupted["tail"]} == expected
        assert len(second.known["tail"]) == (2 if known else 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(0, 12), st.integers(0, 5), st.data())
def test_any_number_of_corrupted_entities_is_drawn_from_all_that_may_be(
    words: Tokenizer, entities: int, negatives: int, seed: int, data: st.DataObject
) -> None:
    pairs = data.draw(st.sets(st.tuples(*[st.integers(0, entities - 1)] * 2), min_size=1, max_size=20))
    silent = data.draw(st.sets(st.integers(0, entities - 1), max_size=3))
    labels = {f"Q{one}": f"name {one}" for one in range(entities) if one not in silent}
    built = KnowledgeGraph.from_triples([(f"Q{a}", "P", f"Q{b}") for a, b in sorted(pairs)], labels={"en": labels})
    if all({a, b} & silent for a, b in pairs):
        return
    corpus = DescribedTriples(built, words, texts=EntityTextOptions(neighbors=0), negatives=negatives, seed=seed)
    told = {built.entities.id(name) for name in labels}
    true = set(zip(built.heads.tolist(), built.tails.tolist(), strict=True))
    for item, _ in corpus.stream():
        free = {one for one in told if (one, item.tail) not in true}
        assert set(item.corrupted["head"]) <= free
        assert len(set(item.corrupted["head"])) == len(item.corrupted["head"]) == min(negatives, len(free))


def test_each_entity_that_may_be_is_drawn_as_often(words: Tokenizer) -> None:
    labels = {f"Q{one}": f"name {one}" for one in range(8)}
    built = KnowledgeGraph.from_triples([("Q2", "P", "Q1"), ("Q5", "P", "Q1")], labels={"en": labels})
    counts = np.zeros(8, int)
    for seed in range(600):
        corpus = DescribedTriples(built, words, texts=EntityTextOptions(neighbors=0), negatives=1, seed=seed)
        counts[next(corpus.stream())[0].corrupted["head"][0]] += 1
    true = {built.entities.id("Q2"), built.entities.id("Q5")}
    assert all((count == 0) if one in true else (70 < count < 135) for one, count in enumerate(counts))


def test_the_share_of_triples_that_bring_an_entity_is_told(words: Tokenizer) -> None:
    labels = {f"Q{one}": f"name {one}" for one in range(9)}
    pairs = [("Q2", "Q1"), ("Q5", "Q1"), ("Q5", "Q5"), ("Q7", "Q1"), ("Q8", "Qsilent")]
    built = KnowledgeGraph.from_triples([(a, "P", b) for a, b in pairs], labels={"en": labels})
    for negatives in (0, 1):
        counts, told, triples = np.zeros(built.entity_count), np.zeros(built.entity_count), 0
        for seed in range(300):
            texts = EntityTextOptions(neighbors=0)
            for item, _ in DescribedTriples(built, words, texts=texts, negatives=negatives, seed=seed).stream():
                triples += 1
                for entity, share in item.shares.items():
                    counts[entity] += 1
                    told[entity] = share
                assert item.shares.keys() == item.texts.keys()
        brought = counts > 0
        assert told[brought] == pytest.approx(counts[brought] / triples, abs=0.0 if not negatives else 0.15)


def test_a_graph_without_words_is_refused_with_the_numbers(words: Tokenizer) -> None:
    silent = KnowledgeGraph.from_triples([("Q1", "P", "Q2"), ("Q2", "P", "Q3")], labels={"en": {"Q1": "bonn"}})
    corpus = DescribedTriples(silent, words, texts=EntityTextOptions(neighbors=0))
    with pytest.raises(FormatError, match=r"none of 2 triples has words .* 2 of 3 entities have neither"):
        next(corpus.stream())


def test_the_fingerprint_changes_with_what_changes_the_triples(tmp_path: Path, words: Tokenizer) -> None:
    graph().save(tmp_path / "graph")
    KnowledgeGraph.from_triples([("Q2", "P17", "Q5")]).save(tmp_path / "other")
    config = EncoderConfig(vocab_size=words.vocabulary_size)
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"negatives": 2},
        {"types": 1},
        {"entity_length": 9},
        {"relation": "text"},
        {"relation": "condition"},
        {"seed": 1},
        {"language": "de"},
        {"known": [str(tmp_path / "other")]},
    )
    made = [described_triples(str(tmp_path / "graph"), tokenizer=words, config=config, **each) for each in changes]
    assert len({corpus.fingerprint() for corpus in made}) == len(changes)


@pytest.mark.parametrize("options", [{"negatives": -1}, {"entity_length": 4}, {"types": -1}])
def test_numbers_that_make_no_sense_are_refused(options: dict[str, int], words: Tokenizer) -> None:
    config = EncoderConfig(vocab_size=words.vocabulary_size)
    with pytest.raises(InputError, match=next(iter(options))):
        described_triples("graph", tokenizer=words, config=config, **options)
