"""Retrieval of translations against plain loops, and vectors of sentences against states read one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kelm.errors import InputError
from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from multilingual.evaluation import retrieval as module
from multilingual.evaluation.retrieval import Retrieval, retrieval, sentence_vectors


def slow(first: np.ndarray, second: np.ndarray, margin: int | None) -> tuple[float, float]:
    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other) / float(np.sqrt(one @ one) * np.sqrt(other @ other))

    found = []
    for asked, others in ((first, second), (second, first)):
        right = 0
        for number, one in enumerate(asked):
            scores = []
            for other in others:
                score = cosine(one, other)
                if margin is not None:  # Artetxe and Schwenk, equation 2
                    mine = sorted((cosine(one, each) for each in others), reverse=True)[:margin]
                    its = sorted((cosine(other, each) for each in asked), reverse=True)[:margin]
                    score /= sum(mine) / (2 * margin) + sum(its) / (2 * margin)
                scores.append(score)
            right += int(max(range(len(scores)), key=scores.__getitem__) == number)
        found.append(right / len(asked))
    return found[0], found[1]


@pytest.mark.parametrize("margin", [None, 1, 4])
def test_the_shares_are_those_of_plain_loops(margin: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=(30, 6)) + 1.5  # a common direction makes hubs, and all cosines positive
    second = first + random.normal(size=(30, 6)) * 0.8
    expected = slow(first, second, margin)
    assert retrieval(first, second, margin=margin) == pytest.approx(expected)
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert retrieval(first, second, margin=margin) == pytest.approx(expected)
    assert expected[0] != expected[1] and 0.1 < min(expected) < max(expected) < 1


def test_the_margin_helps_against_hubs() -> None:
    random = np.random.default_rng(1)
    first = random.normal(size=(200, 16))
    second = first + random.normal(size=(200, 16))
    second[:5] = second.mean(0) + first.mean(0) + 0.1 * second[:5] + 3  # near to many
    first += 1
    assert retrieval(first, second, margin=4).mean > retrieval(first, second).mean


def test_each_side_finds_itself_and_the_mean_is_of_both_directions() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 8))
    assert retrieval(vectors, vectors) == Retrieval(1.0, 1.0)
    assert Retrieval(0.5, 1.0).mean == 0.75


@pytest.mark.parametrize(
    ("first", "second", "margin", "field"),
    [((3, 2), (4, 2), None, "vectors"), ((0, 2), (0, 2), None, "vectors"), ((3, 2), (3, 2), 4, "margin")],
)
def test_sides_that_do_not_fit_are_refused(first: Any, second: Any, margin: int | None, field: str) -> None:
    with pytest.raises(InputError) as told:
        retrieval(np.ones(first), np.ones(second), margin=margin)
    assert told.value.field == field


def test_a_vector_is_the_mean_state_of_the_words_whatever_is_read_with_it() -> None:
    words = vocabulary.train(["a cat sat", "eine katze sass"], 50, "wordpiece", lower=True)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    encoder = Encoder(EncoderConfig(vocab_size=words.vocabulary_size, initializer_range=0.2, **sizes)).eval()
    texts = words.encode(["a cat", "eine katze sass", "a", "a cat sat a cat sat"])
    found = sentence_vectors(encoder, texts, pad=words.pad, layers=(0, 2, 3), tokens=12)
    for number, text in enumerate(texts):
        states = encoder(torch.from_numpy(text.tokens)[None], output_hidden_states=True).hidden_states
        for layer in (0, 2, 3):
            inner = states[layer][0, 1:-1].mean(0).detach().numpy()
            assert found[layer][number] == pytest.approx(inner, abs=1e-5)
    with pytest.raises(InputError, match="there is no layer 4"):
        sentence_vectors(encoder, texts, pad=words.pad, layers=(4,))
