"""Translation language modelling: both layouts, whose head it is, and that a translation is worth something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kelm.batch import Encoded, Targets
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.errors import InputError
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Checkpoints, Optimization, Training
from kelm.training.trainer import Trainer
from multilingual.languages import Languages, code_of, with_languages
from multilingual.objectives.translation_lm import TranslationLanguageModel, laid_out

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 48,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.1,
}
WORDS = vocabulary.train(["a cat sat", "eine katze sass"], 50, "wordpiece", lower=True)


def like_xlmr() -> Encoded:
    """<s> a b c </s> </s> d e </s>, the second side from its separator on in German."""
    words = np.array([-1, 0, 1, 2, -1, -1, 3, 4, -1])
    count = np.arange(9)
    tokens = np.array([0, 11, 12, 13, 2, 2, 14, 15, 2])
    text = Encoded("", tokens, np.stack([count, count + 1], 1), words, (count > 5).astype(np.int64))
    return with_languages(text, "en", "de")


def test_positions_restart_at_the_second_text_as_if_it_were_alone() -> None:
    assert laid_out(like_xlmr(), "restart").positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]  # type: ignore[union-attr]
    pair = WORDS.encode(["a cat sat"], ["eine katze"])[0]  # [CLS] ... [SEP] ... [SEP]: one separator closes the first
    alone = WORDS.encode(["eine katze"])[0]
    second = pair.segments == 1
    positions = laid_out(pair, "restart").positions
    assert positions is not None
    assert pair.tokens[second].tolist() == alone.tokens[1:].tolist()
    assert positions[second].tolist() == list(range(1, len(alone)))
    assert positions[~second].tolist() == list(range(int((~second).sum())))


def test_running_pairs_are_one_sequence_with_one_separator() -> None:
    text = laid_out(like_xlmr(), "running")
    assert text.tokens.tolist() == [0, 11, 12, 13, 2, 14, 15, 2] and text.positions is None
    assert text.words.tolist() == [-1, 0, 1, 2, -1, 3, 4, -1] and text.segments.tolist() == [0] * 5 + [1] * 3
    part = text[Languages]
    assert [code_of(one) for one in part.language.tolist()] == ["en", "de"]
    assert part.last.tolist()[1] == 7 and text.spans[5].tolist() == [6, 7]
    pair = WORDS.encode(["a cat"], ["eine katze"])[0]
    assert laid_out(pair, "running").tokens.tolist() == pair.tokens.tolist()


def test_a_text_without_a_translation_is_refused() -> None:
    with pytest.raises(InputError, match="has no translation"):
        laid_out(WORDS.encode(["a cat"])[0], "restart")


def test_both_sides_are_masked_at_the_rate_and_the_batch_keeps_the_positions() -> None:
    encoder = Encoder(EncoderConfig(vocab_size=WORDS.vocabulary_size, **SIZES))
    objective = TranslationLanguageModel(encoder.config, tokenizer=WORDS, rate=0.3)
    first, second = "a cat sat a cat sat", "eine katze sass eine katze"
    texts = [pair.having(number=number) for number, pair in enumerate(WORDS.encode([first] * 400, [second] * 400))]
    batch = objective.collate(texts, 0)
    targets = batch[Targets]
    side = batch.segments[targets.row, targets.token]
    real = [int(((batch.segments == one) & batch.real).sum()) for one in (0, 1)]
    for one, specials in ((0, 2 * 400), (1, 400)):
        assert int((side == one).sum()) / (real[one] - specials) == pytest.approx(0.3, abs=0.03)
    assert int(batch.positions.max()) == max(len(WORDS.encode([text])[0]) for text in (first, second)) - 1


def test_the_head_is_that_of_mlm_where_a_run_has_both() -> None:
    encoder = Encoder(EncoderConfig(vocab_size=WORDS.vocabulary_size, **SIZES))
    mlm = MaskedLanguageModel(encoder.config, tokenizer=WORDS)
    tlm = TranslationLanguageModel(encoder.config, tokenizer=WORDS)
    assert tlm.head is not mlm.head
    learner = Learner(encoder, [tlm, mlm])
    assert tlm.head is mlm.head
    names = [name for name, _ in learner.named_parameters() if "dense" in name and "objectives" in name]
    assert len(names) == len({name.partition("head")[2] for name in names})  # each parameter is trained once
    alone = TranslationLanguageModel(encoder.config, tokenizer=WORDS)
    Learner(encoder, [alone])
    assert alone.head is not mlm.head


def translated(words: Tokenizer, count: int, first: int) -> list[Encoded]:
    """Four words, drawn evenly, in two made-up languages: nothing but the translation tells a hidden one."""
    random = np.random.default_rng(first)
    sides = random.integers(0, 20, (count, 4))
    one = [" ".join(f"{'abcdefghijklmnopqrst'[word]}x" for word in row) for row in sides]
    other = [" ".join(f"{'abcdefghijklmnopqrst'[word]}y" for word in row) for row in sides]
    return [pair.having(number=first + number) for number, pair in enumerate(words.encode(one, other))]


def test_what_a_sentence_hides_is_found_in_its_translation() -> None:
    letters = "abcdefghijklmnopqrst"
    lines = [" ".join(f"{a}{end}" for a in letters) for end in "xy"]
    words = vocabulary.train(lines * 20, 80, "wordpiece", lower=True)
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(vocab_size=words.vocabulary_size, **SIZES))
    tlm = TranslationLanguageModel(encoder.config, tokenizer=words, rate=0.2, mask_share=1.0, random_share=0.0)
    texts, held_out = translated(words, 4000, 0), translated(words, 400, 5000)
    loss = HeldOut({"tlm": held_out})(Learner(encoder, [tlm]))["tlm/loss"]
    Trainer(
        learner := Learner(encoder, [tlm]),
        {"tlm": BatchStream(InMemory(texts), tlm.collate, tokens=1024, seed=1)},
        train=Training(steps=500, seed=1),
        optim=Optimization(rate=5e-3, warmup=0.1),
        checkpoints=Checkpoints(every=None),
    ).run()
    after = HeldOut({"tlm": held_out})(learner.eval())["tlm/loss"]
    assert after < 0.3 * np.log(20) < loss


def test_sentence_pieces_of_xlmr_open_the_second_text_themselves() -> None:
    letters = [f"{a}{b}" for a in "abcdefgh" for b in "stuvw"]
    words = vocabulary.train([" ".join(letters[n : n + 5]) for n in range(35)], 40, "unigram")
    pair, alone = words.encode(["as bt"], ["cu dv ew"])[0], words.encode(["cu dv ew"])[0]
    positions = laid_out(pair, "restart", len(words.template.before)).positions
    assert len(words.template.between) == 2 and positions is not None
    assert positions[-len(alone) :].tolist() == list(range(len(alone)))  # with the separator in the place of <s>
