"""Vectors of words in context against states read one by one, and what the report says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kelm.batch import pack
from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from kelm.text.spans import locate
from multilingual.alignment.layers import WORDS as LAYER_WORDS
from multilingual.alignment.layers import draw, layer_scores, table, words_found
from multilingual.alignment.word_vectors import Place, places, vectors_in_context

TEXTS = ["The cat's Cat sat.", "no word here", "a cat, concatenated", "sat"]
WORDS = vocabulary.train(TEXTS * 20, 60, "wordpiece", lower=True)
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(EncoderConfig(vocab_size=WORDS.vocabulary_size, initializer_range=0.3, **SIZES)).eval()


def test_words_are_found_whole_whatever_their_case_and_anywhere_without_spaces() -> None:
    found = places(TEXTS, {"cat", "sat", "dog"})
    assert [TEXTS[one.text][one.start : one.end] for one in found] == ["cat", "Cat", "sat", "cat", "sat"]
    assert [one.word for one in found] == ["cat", "cat", "sat", "cat", "sat"]
    assert places(["我喜欢猫和猫"], {"猫", "喜欢"}) and len(places(["我喜欢猫和猫"], {"猫"})) == 2
    assert places(["straße"], {"strasse"}) == [Place(0, "strasse", 0, 6)]


def test_a_words_vector_is_the_mean_over_its_places_of_the_mean_of_its_pieces() -> None:
    model, read, found = encoder(), WORDS.encode(TEXTS, length=12), places(TEXTS, {"cat", "sat", "concatenated"})
    words, vectors = vectors_in_context(model, read, found, pad=WORDS.pad, layers=[0, 2], tokens=12)
    assert sorted(words) == ["cat", "concatenated", "sat"]
    for layer in (0, 2):
        states = [model.encode(pack([text], pad=WORDS.pad), trail=True).trail[layer][0].detach() for text in read]
        for word, vector in zip(words, vectors[layer], strict=True):
            means = []
            for place in found:
                first, end = locate(read[place.text], [place.start], [place.end])[0]
                if place.word == word and first >= 0:
                    means.append(states[place.text][first:end].mean(0).numpy())
            np.testing.assert_allclose(vector, np.mean(means, axis=0), atol=1e-5)


def test_a_word_that_was_cut_off_everywhere_has_no_vector() -> None:
    read = WORDS.encode(TEXTS, length=4)
    words, vectors = vectors_in_context(
        encoder(), read, places(TEXTS, {"cat", "concatenated"}), pad=WORDS.pad, layers=[1]
    )
    assert words == ["cat"] and vectors[1].shape == (1, 16)
    assert vectors_in_context(encoder(), read, [], pad=WORDS.pad, layers=[1])[0] == []


def test_csls_finds_words_that_a_hub_hides() -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=(60, 8))
    second = first + 0.9 * random.normal(size=(60, 8))
    second[7] = 40 * first.mean(0)  # near to many
    known = [[f"{letter}{number}" for number in range(60)] for letter in "ab"]
    gold = [*zip(*known, strict=True)]
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first + 0.5, second + 0.5)]
    cosines = unit[0] @ unit[1].T
    rows, columns = ([np.mean(sorted(line)[-5:]) for line in table] for table in (cosines, cosines.T))
    right = 0
    for one in range(60):
        right += max(range(60), key=lambda j, i=one: 2 * cosines[i, j] - rows[i] - columns[j]) == one
        right += max(range(60), key=lambda i, j=one: 2 * cosines[i, j] - rows[i] - columns[j]) == one
    found = words_found(first + 0.5, second + 0.5, known, gold, csls=5)
    assert found == pytest.approx(right / 120)
    assert found > words_found(first + 0.5, second + 0.5, known, gold)


def test_the_report_asks_the_same_words_alone_and_in_context_and_half_the_pairs_alone(tmp_path: Path) -> None:
    texts = ["the cat sat", "a dog ran", "the sun sat", "a cat ran", "no cat", "the dog"]
    dictionary = [("cat", "cat"), ("sat", "sat"), ("missing", "missing"), ("Dog", "dog")]
    scores = layer_scores(encoder(), WORDS, [(text, text) for text in texts], dictionary=dictionary)
    assert {one.asked for one in scores} == {6}  # "missing" is in no sentence
    assert all(one.in_context == one.in_text == 1 for one in scores)  # both sides are alike
    assert all(one.half == 1 for one in scores)
    assert table(scores, LAYER_WORDS)[0] == ["layer", "words", "by CSLS", "in text", "in context"]
    draw(scores, tmp_path / "layers.svg", "en-de")
    picture = (tmp_path / "layers.svg").read_text()
    assert "in context: 1.00, 1.00, 1.00" in picture and "half: 1.00" in picture
    absent = layer_scores(encoder(), WORDS, [(text, text) for text in texts], dictionary=[("missing", "missing")])
    assert absent[0].in_text is None and table(absent, LAYER_WORDS)[0][-1] == "by CSLS"
