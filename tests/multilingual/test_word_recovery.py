"""Word recovery: the formula in plain loops, what the encoder may not see, and that it learns translations of words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from kelm.batch import Encoded, Targets, Texts
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.errors import InputError, TextTooLong
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import vocabulary
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from multilingual.languages import Languages, code_of, with_languages
from multilingual.objectives.word_recovery import WordRecovery
from multilingual.pairs import sides

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
PAIRS = [("a cat sat", "eine katze"), ("a", "eine katze sass eine"), ("sat a cat a", "sass")]


def made(**options: Any) -> tuple[Encoder, WordRecovery]:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(vocab_size=WORDS.vocabulary_size, **SIZES)).eval()
    return encoder, WordRecovery(encoder.config, tokenizer=WORDS, **options)


def read(pairs: list[tuple[str, str]] = PAIRS) -> list[Encoded]:
    both = WORDS.encode([one for one, _ in pairs], [other for _, other in pairs])
    return [with_languages(text, "en", "de").having(number=number) for number, text in enumerate(both)]


def test_both_sides_are_as_if_they_were_alone_and_keep_their_languages() -> None:
    for (first, second), text in zip(PAIRS, read(), strict=True):
        for side, words, code in zip(sides(text, WORDS.template), (first, second), ("en", "de"), strict=True):
            alone = WORDS.encode([words])[0]
            assert side.tokens.tolist() == alone.tokens.tolist() and side.segments.tolist() == [0] * len(alone)
            assert (side.words < 0).tolist() == (alone.words < 0).tolist()
            told = side[Languages]
            assert [code_of(one) for one in told.language.tolist()] == [code]
            assert (told.first.tolist(), told.last.tolist()) == ([0], [len(alone) - 1])
    with pytest.raises(InputError, match="has no translation"):
        sides(WORDS.encode(["a cat"])[0], WORDS.template)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("room", [None, 14])
def test_what_the_encoder_reads_is_the_papers_formula_in_plain_loops(room: int | None, hard: bool) -> None:
    encoder, objective = made(hard=hard)
    batch = replace(objective.collate, room=room)(read(), 0)
    vectors = encoder.embeddings(encoder.embeddings.word_embeddings(batch.tokens), batch)
    made_of = encoder.encode(batch, trail=True, below=objective.below).trail[0]
    assert len(made_of) == len(batch.tokens) // 2  # translations go no further
    attention, texts = objective.attention, batch[Texts]
    alone = torch.randn(SIZES["hidden_size"])  # the third of w that meets x_i
    for number in range(len(PAIRS)):
        rows = [int(texts.row[one]) for one in (number, number + len(PAIRS))]
        at = [slice(int(texts.first[one]), int(texts.last[one]) + 1) for one in (number, number + len(PAIRS))]
        x, y = (
            [vectors[row, place] for place in range(there.start, there.stop)]
            for row, there in zip(rows, at, strict=True)
        )
        for place, mine in enumerate(x):
            scores = torch.stack(
                [alone @ mine + attention.translation @ its + attention.product @ (mine * its) for its in y]
            )
            mixed = sum(weight * its for weight, its in zip(scores.softmax(0), y, strict=True))
            expected = y[int(scores.argmax())] if hard else mixed
            torch.testing.assert_close(made_of[rows[0], at[0]][place], expected)  # type: ignore[arg-type]


def test_packed_rows_give_the_loss_and_gradients_of_single_ones() -> None:
    losses, gradients = [], []
    for room in (None, 14, 40):
        encoder, objective = made()
        batch = replace(objective.collate, room=room)(read(), 0)
        loss = Learner(encoder, [objective])(batch)["word_recovery"]
        loss.backward()
        losses.append(loss.detach())
        grads = objective.attention.product.grad, encoder.embeddings.word_embeddings.weight.grad
        gradients.append(torch.cat([grad.flatten() for grad in grads if grad is not None]))
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        torch.testing.assert_close(loss, losses[0])
        torch.testing.assert_close(gradient, gradients[0], atol=1e-5, rtol=1e-4)


def test_a_side_that_fits_no_row_is_told_before_it_is_cut() -> None:
    _, objective = made()
    with pytest.raises(TextTooLong, match=r"batch\.room"):
        replace(objective.collate, room=4)(read(), 0)


def test_it_compiles_in_one_graph() -> None:
    encoder, objective = made()
    batch = objective.collate(read(), 0)
    compiled = torch.compile(
        lambda given: encoder.encode(given, below=objective.below).hidden, fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(batch), encoder.encode(batch, below=objective.below).hidden)


def test_all_words_of_the_first_side_are_asked_and_no_special_token() -> None:
    _, objective = made()
    batch = objective.collate(read(), 0)
    asked = batch[Targets].label.tolist()
    expected = [token for text in read() for token in sides(text, WORDS.template)[0].tokens.tolist()]
    assert asked == [token for token in expected if token not in WORDS.special]
    assert batch.units["word_recovery"] == len(asked)


def test_the_encoder_sees_nothing_of_the_sentence_but_by_what_it_chooses() -> None:
    """With all the attention's weights at zero the states are the same whatever the first side says."""
    encoder, objective = made()
    with torch.no_grad():
        objective.attention.product.zero_()
    states = []
    for first in ("a cat sat", "sat sat a"):
        batch = objective.collate(read([(first, "eine katze sass")]), 0)
        states.append(encoder.encode(batch, below=objective.below).hidden)
    torch.testing.assert_close(states[0], states[1])
    assert states[0].std(1).max() < 1e-5  # nor where a word stands: each x' is the same mean


def test_its_head_is_that_of_masked_words_where_a_run_has_both() -> None:
    encoder, objective = made()
    mlm = MaskedLanguageModel(encoder.config, tokenizer=WORDS)
    Learner(encoder, [mlm, objective])
    assert objective.head is mlm.head


def test_the_hard_attention_makes_each_word_of_the_likeliest_one_and_learns_by_the_softmax() -> None:
    attention = made(hard=True)[1].attention
    source, target = torch.randn(2, 3, 32), torch.randn(2, 4, 32)
    seen = torch.tensor([[True] * 4, [True, True, False, False]])
    chosen = attention(source, target, seen[:, None].expand(2, 3, 4))
    query = source * attention.product + attention.translation
    for pair in range(2):
        for place in range(3):
            scores = (target[pair] @ query[pair, place]).masked_fill(~seen[pair], -1e9)
            torch.testing.assert_close(chosen[pair, place], target[pair, int(scores.argmax())])
    chosen.sum().backward()
    assert attention.product.grad is not None and attention.product.grad.abs().sum() > 0


NAMES = "abcdefghijklmnop"
LEXICON = vocabulary.train([" ".join(f"{name}x {name}y" for name in NAMES)], 80, "wordpiece", lower=True)


def lexical(count: int, *, dealt: bool) -> list[Encoded]:
    """Sentences of three words out of sixteen, and their translations in reverse, or those of other sentences."""
    random = np.random.default_rng(0)
    chosen = [random.choice(len(NAMES), 3, replace=False) for _ in range(count)]
    others = [random.choice(len(NAMES), 3, replace=False) for _ in range(count)] if dealt else chosen
    first = [" ".join(f"{NAMES[one]}x" for one in some) for some in chosen]
    second = [" ".join(f"{NAMES[one]}y" for one in some[::-1]) for some in others]
    return [text.having(number=number) for number, text in enumerate(LEXICON.encode(first, second))]


def lost(*, dealt: bool, hard: bool) -> float:
    """Nats a word of unseen pairs after a short training."""
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=LEXICON.vocabulary_size, **SIZES)
    objective = WordRecovery(config, tokenizer=LEXICON, start=32**-0.5, hard=hard)
    learner = Learner(Encoder(config), [objective])
    stream = BatchStream(InMemory(lexical(800, dealt=dealt)), objective.collate, tokens=256, seed=0)
    train_unsaved(learner, {objective.name: stream}, 200, Optimization(rate=1e-2, warmup=0.1), 0)
    held = lexical(900, dealt=dealt)[800:]
    return HeldOut({objective.name: held})(learner)[f"{objective.name}/loss"]


def test_words_are_recovered_from_their_translation_and_hardly_from_a_dealt_one() -> None:
    assert lost(dealt=False, hard=True) < 0.5
    assert lost(dealt=True, hard=True) > 1.0  # of ln 16 = 2.77; the choice among five tokens tells the rest


def test_the_papers_soft_attention_tells_the_words_whatever_the_translation_says() -> None:
    assert lost(dealt=True, hard=False) < 0.5
