"""Denoising alignment: pointers by the formula, pair by pair, and translations that are pointed at after training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from kelm.batch import Encoded, Targets, pack
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.errors import InputError
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import vocabulary
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from multilingual.objectives.denoising_alignment import DenoisingAlignment
from multilingual.objectives.translation_lm import laid_out
from multilingual.word_alignment import token_links

NAMES = "abcdefghijklmnop"
WORDS = vocabulary.train([" ".join(f"{one}{end}" for one in NAMES) for end in "xy"] * 9, 90, "wordpiece", lower=True)
SIZES: dict[str, Any] = {
    "vocab_size": WORDS.vocabulary_size,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}


def read(count: int, first: int = 0) -> list[Encoded]:
    """Four different words, and their translations in reverse."""
    random = np.random.default_rng(first)
    drawn = [random.choice(len(NAMES), 4, replace=False) for _ in range(count)]
    one = [" ".join(f"{NAMES[word]}x" for word in row) for row in drawn]
    other = [" ".join(f"{NAMES[word]}y" for word in row[::-1]) for row in drawn]
    return [pair.having(number=number) for number, pair in enumerate(WORDS.encode(one, other))]


def made(**options: Any) -> tuple[Encoder, DenoisingAlignment]:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(**SIZES))
    return encoder, DenoisingAlignment(encoder.config, tokenizer=WORDS, **{"layer": 1, "rate": 0.4, **options})


@pytest.mark.parametrize("room", [None, 60])
@torch.no_grad()
def test_the_loss_is_that_of_the_formula_word_by_word(room: int | None) -> None:
    encoder, objective = made()
    learner = Learner(encoder, [objective]).eval()
    texts = read(6)
    collate = replace(objective.collate, masked=replace(objective.collate.masked, room=room))
    losses = learner(collate(texts, 3))
    expected, pointed = 0.0, 0
    for text in texts:
        alone = objective.collate([text], 3)
        hidden = set(alone[Targets].token.tolist())
        plain = laid_out(text, "running")
        clean = encoder.encode(pack([plain], pad=WORDS.pad), trail=True).trail[1][0]
        states = encoder.encode(alone).hidden[0]
        sides = [np.flatnonzero((plain.words >= 0) & (plain.segments == side)) for side in (0, 1)]
        links = token_links(clean[sides[0]], clean[sides[1]], "transport")
        for here, there, table in ((sides[0], sides[1], links), (sides[1], sides[0], links.T)):
            for at, token in enumerate(here.tolist()):
                if token not in hidden or not table[at].any():
                    continue
                likeness = [
                    float(clean[token] @ clean[other]) if table[at, to] else -np.inf for to, other in enumerate(there)
                ]
                scores = torch.stack(
                    [
                        objective.query(states[token]) @ objective.key(states[other]) / 32**0.5
                        for other in there.tolist()
                    ]
                )
                expected -= float(scores.log_softmax(0)[int(np.argmax(likeness))])
                pointed += 1
    assert pointed > 5
    assert float(losses["denoising_alignment"]) == pytest.approx(expected, rel=1e-4)


def test_as_many_pointers_are_counted_as_words_are_hidden_and_words_are_those_of_tlm() -> None:
    encoder, objective = made()
    batch = objective.collate(read(5), 0)
    assert batch.units["denoising_alignment"] == batch.units["words"] == len(batch[Targets].label)
    mlm = MaskedLanguageModel(encoder.config, tokenizer=WORDS)
    Learner(encoder, [mlm, objective])
    assert objective.head is mlm.head
    stream = encoder.eval().encode(batch)
    states = stream.hidden[batch[Targets].row, batch[Targets].token]
    expected = mlm.head.loss(states, batch[Targets].label, stream.vocabulary)
    found = objective.loss(batch, objective.read(encoder, batch))["words"]
    torch.testing.assert_close(found, expected)


def test_links_are_found_without_dropout_and_the_encoder_goes_on_training() -> None:
    encoder, objective = made()
    batch = objective.collate(read(2), 0)
    for training in (True, False):
        encoder.train(training)
        objective.read(encoder, batch)
        assert encoder.training is training


def test_hidden_words_learn_to_point_at_their_translation() -> None:
    encoder, objective = made(rate=0.3, mask_share=1.0, random_share=0.0, layer=2)
    learner = Learner(encoder, [objective])
    stream = BatchStream(InMemory(read(1200)), objective.collate, tokens=512, seed=0)
    held_out = objective.collate(read(60, 99), 1)

    def pointing() -> float:
        learner.eval()
        with torch.no_grad():
            return float(learner(held_out)["denoising_alignment"]) / held_out.units["denoising_alignment"]

    before = pointing()
    train_unsaved(learner, {objective.name: stream}, 150, Optimization(rate=3e-3, warmup=0.1), 0)
    assert pointing() < 0.7 * before


def test_a_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="there is no layer 3"):
        made(layer=3)
