"""Contextual linking: probabilities against a slow oracle, windows of long texts, vectors that are kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kelm.errors import InputError
from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import NIL, Disambiguator
from kg.linking.contextual import ContextualLinker, ContextWeights
from kg.linking.entity_text import EntityText, EntityTextOptions
from kg.linking.entity_vectors import encoder_digest, entity_vectors
from kg.linking.names import AliasOptions

NAMES = [("Paris", "Q90", 8.0), ("Paris", "Q830149", 2.0), ("Texas", "Q1439", 1.0), ("Seine", "Q1471", 3.0)]
NAMES += [("Seine", "Q7", 1.0), ("sea", "Q165", 1.0)]
TEXTS = ["Paris lies in Texas", "nothing is named here", "The Seine flows through Paris to the sea"]
GRAPH = KnowledgeGraph.from_triples(
    [("Q90", "P206", "Q1471"), ("Q830149", "P131", "Q1439"), ("Q1471", "P403", "Q165")],
    labels={"en": {entity: name for name, entity, _ in NAMES} | {"P131": "located in", "P206": "next to"}},
)


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return vocabulary.train([text.lower() for text in TEXTS], 90, "wordpiece", lower=True)


@pytest.fixture(scope="module")
def encoder(words: Tokenizer) -> Encoder:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = EncoderConfig(
        vocab_size=words.vocabulary_size, pad_token_id=words.pad, max_position_embeddings=64, initializer_range=0.3,
        **sizes,
    )  # fmt: skip
    return Encoder(config).eval()


def linker(encoder: Encoder, words: Tokenizer, names: AliasLinker | None = None, **weights) -> ContextualLinker:
    vectors = entity_vectors(EntityText(GRAPH), encoder, words)
    return ContextualLinker(names or AliasLinker(NAMES), encoder, words, vectors, ContextWeights(**weights))


def unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm()


def slow_probabilities(
    encoder: Encoder, words: Tokenizer, text: str, name: str, priors: dict[str, float], weights: ContextWeights
) -> dict[str, float]:
    """One forward pass for every text, and the formula as it is written."""

    def read(text: str) -> tuple[np.ndarray, torch.Tensor]:
        encoded = words.encode([text])[0]
        return encoded.spans, encoder(torch.from_numpy(encoded.tokens)[None]).last_hidden_state[0].detach()

    spans, states = read(text)
    start = text.index(name)
    inside = [start <= first and last <= start + len(name) for first, last in spans.tolist()]
    mention = unit((1 - weights.around) * states[inside].mean(0) + weights.around * states.mean(0))
    powers = {}
    for entity, prior in priors.items():
        described = EntityText(GRAPH)(GRAPH.entities.id(entity)) if entity in GRAPH.entities else None
        cosine = 0.0 if described is None else float(mention @ unit(read(described)[1].mean(0)))
        powers[entity] = math.exp(weights.context * cosine) * prior**weights.prior
    rest = 0.0 if weights.nothing is None else math.exp(weights.context * weights.nothing)
    return {entity: power / (rest + sum(powers.values())) for entity, power in powers.items()}


@pytest.mark.parametrize(
    "weights",
    [{}, {"context": 3.0, "prior": 0.0}, {"context": 5.0, "nothing": 0.4, "around": 0.0}, {"context": 0.0}],
    ids=str,
)
def test_probabilities_are_those_of_a_slow_oracle(encoder: Encoder, words: Tokenizer, weights: dict) -> None:
    made = linker(encoder, words, **weights)
    found = made.link(TEXTS[0])
    assert [one.text for one in found] == ["Paris", "Texas"]
    expected = slow_probabilities(encoder, words, TEXTS[0], "Paris", {"Q90": 0.8, "Q830149": 0.2}, made.weights)
    assert {one.entity: one.score for one in found[0].candidates} == pytest.approx(expected, rel=1e-3)
    scores = [one.probability for one in found[0].candidates]
    assert scores == sorted(scores, reverse=True)
    if made.weights.nothing is not None:  # without it a lone candidate is certain
        lone = slow_probabilities(encoder, words, TEXTS[0], "Texas", {"Q1439": 1.0}, made.weights)
        assert found[1].candidates[0].score == pytest.approx(lone["Q1439"], rel=1e-3)
    else:
        assert found[1].candidates[0].probability == 1


def test_without_context_it_says_what_the_names_say(encoder: Encoder, words: Tokenizer) -> None:
    names = AliasLinker(NAMES)
    plain = linker(encoder, words, names, context=0.0)
    for ours, theirs in zip(plain.link_all(TEXTS), names.link_all(TEXTS), strict=True):
        assert [(m.start, m.end, m.entity) for m in ours] == [(m.start, m.end, m.entity) for m in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert [c.probability for c in one.candidates] == pytest.approx([c.prior for c in other.candidates])


def test_it_is_a_disambiguator_and_many_texts_give_what_one_gives(encoder: Encoder, words: Tokenizer) -> None:
    made = linker(encoder, words, nothing=0.2)
    assert isinstance(made, Disambiguator)
    together = made.link_all(TEXTS)
    assert [len(mentions) for mentions in together] == [2, 0, 3]
    for text, mentions in zip(TEXTS, together, strict=True):
        for one, other in zip(made.link(text), mentions, strict=True):
            assert [c.entity for c in one.candidates] == [c.entity for c in other.candidates]
            assert [c.score for c in one.candidates] == pytest.approx([c.score for c in other.candidates], rel=1e-4)
    places = [[(mention.start, mention.end) for mention in mentions] for mentions in together]
    given = made.disambiguate(TEXTS, places)
    assert [[m.entity for m in mentions] for mentions in given] == [[m.entity for m in ms] for ms in together]
    assert made.disambiguate(["an unknown word"], [[(3, 10)]])[0][0].candidates == ()


def test_the_text_decides_between_entities_of_one_name(encoder: Encoder, words: Tokenizer) -> None:
    """An entity whose vector is the mention's own wins against any prior, in this text only."""
    names = AliasLinker(NAMES)
    plain = linker(encoder, words)
    vectors = plain.mention_vectors(TEXTS, names.link_all(TEXTS))
    table = EntityTable.from_vectors(["Q90", "Q830149"], np.stack([vectors[2, 1], vectors[0, 0]]))
    made = ContextualLinker(names, encoder, words, table, ContextWeights(context=200.0))
    first, _, last = made.link_all(TEXTS)
    assert (first[0].entity, last[1].text, last[1].entity) == ("Q830149", "Paris", "Q90")


def test_no_entity_competes_with_its_prior_and_a_candidate_without_a_vector_with_cosine_zero(
    encoder: Encoder, words: Tokenizer
) -> None:
    names = AliasLinker([*NAMES, ("Paris", "Q0", 10.0)], AliasOptions(nil=0.2))
    made = linker(encoder, words, names, context=2.0, nothing=0.3)
    candidates = {one.entity: one for one in made.link(TEXTS[0])[0].candidates}
    assert set(candidates) == {"Q90", "Q830149", "Q0", NIL}
    odds = candidates[NIL].probability / candidates["Q0"].probability
    assert odds == pytest.approx(math.exp(2.0 * 0.3) * candidates[NIL].prior / candidates["Q0"].prior, rel=1e-4)


def test_the_nearest_entities_become_candidates_whatever_they_are_called(encoder: Encoder, words: Tokenizer) -> None:
    made = linker(encoder, words, nearest=2)
    vector = made.mention_vectors(["a word"], made.names.disambiguate(["a word"], [[(2, 6)]]))[0, 0]
    rows, _ = made.vectors.nearest(vector, 2)
    found = made.disambiguate(["a word"], [[(2, 6)]])[0][0]
    assert {one.entity for one in found.candidates} == {made.vectors.names[int(row)] for row in rows}
    assert all(one.prior == made.weights.floor for one in found.candidates)


def test_a_mention_in_a_long_text_is_read_in_the_window_around_it(encoder: Encoder, words: Tokenizer) -> None:
    filler = "nothing is named here through the sea to the "
    long = filler * 4 + "Paris lies in Texas " + filler * 4 + "Paris"
    made = linker(encoder, words, length=16)
    found = made.names.link_all([long])
    vectors = made.mention_vectors([long], found)
    asked = [number for number, mention in enumerate(found[0]) if mention.text == "Paris"]
    assert set(vectors) == {(0, number) for number in asked}
    encoded = words.encode([long])[0]
    whole = np.flatnonzero(encoded.words >= 0)
    for number in asked:
        first = next(t for t in whole if encoded.spans[t, 0] == found[0][number].start)
        last = next(t for t in whole if encoded.spans[t, 1] == found[0][number].end)
        near = []
        for begin in range(1, len(encoded) - 1 - 7 + 1, 7):  # every window of 14 tokens that starts each 7
            begin = min(begin, len(encoded) - 1 - 14)
            if begin <= first and last < begin + 14:
                ids = np.r_[encoded.tokens[0], encoded.tokens[begin : begin + 14], encoded.tokens[-1]]
                states = encoder(torch.from_numpy(ids)[None]).last_hidden_state[0].detach()
                own = states[first - begin + 1 : last - begin + 2].mean(0)
                near.append((abs(begin + 7 - (first + last + 1) / 2), unit(own / 2 + states.mean(0) / 2).numpy()))
        assert vectors[0, number] == pytest.approx(min(near, key=lambda one: one[0])[1], abs=1e-4)


def test_vectors_are_computed_once_for_each_encoder_graph_and_option(
    encoder: Encoder, words: Tokenizer, tmp_path: Path
) -> None:
    texts = EntityText(GRAPH)
    made = entity_vectors(texts, encoder, words, cache=tmp_path)
    assert isinstance(made.vectors.base, np.memmap)
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-5)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    again = entity_vectors(texts, encoder, words, cache=tmp_path)
    assert np.array_equal(again.vectors, made.vectors)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == times
    assert np.allclose(entity_vectors(texts, encoder, words).vectors, made.vectors)
    few = entity_vectors(texts, encoder, words, only=["Q90", "Q1471", "no such"], cache=tmp_path)
    assert list(few.names) == ["Q1471", "Q90"]
    assert np.allclose(few.vectors, made.vectors[made.ids(["Q1471", "Q90"])], atol=1e-5)
    entity_vectors(EntityText(GRAPH, EntityTextOptions(neighbors=1)), encoder, words, cache=tmp_path)
    entity_vectors(texts, encoder, words, length=4, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_an_encoder_fresh_from_training_gives_vectors_without_dropout(encoder: Encoder, words: Tokenizer) -> None:
    assert encoder.config.hidden_dropout_prob > 0
    expected = entity_vectors(EntityText(GRAPH), encoder, words).vectors
    assert np.array_equal(entity_vectors(EntityText(GRAPH), encoder.train(), words).vectors, expected)


def test_a_changed_weight_changes_the_encoders_digest(encoder: Encoder) -> None:
    before = encoder_digest(encoder)
    assert encoder_digest(encoder) == before
    weight = encoder.encoder.layer[0].attention.output.dense.weight
    with torch.no_grad():
        weight[0, 0] += 1
    assert encoder_digest(encoder) != before
    with torch.no_grad():
        weight[0, 0] -= 1


def test_vectors_of_another_width_and_impossible_weights_are_refused(encoder: Encoder, words: Tokenizer) -> None:
    table = EntityTable.from_vectors(["Q90"], np.ones((1, 3)))
    with pytest.raises(InputError, match="16 numbers, the vectors 3"):
        ContextualLinker(AliasLinker(NAMES), encoder, words, table)
    for options in ({"context": -1.0}, {"around": 1.5}, {"floor": 0.0}, {"length": 7}, {"nearest": -1}):
        with pytest.raises(InputError, match=next(iter(options))):
            ContextWeights(**options)
