"""Marking mentions, classifying relations and typing entities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor

from kelm.batch import Encoded, pack
from kelm.errors import UnknownName, VocabularyMismatch
from kelm.model import Encoder, EncoderConfig
from kg.enrich.markers import Markers, mark, tokens_of
from kg.linking.base import Mentions
from kg.tasks.entity_typing import EntityTyping
from kg.tasks.relations import Pairs, RelationClassification, mark_pair

HEAD, TAIL, ENTITY, MASK = 91, 92, 93, 4


def sentence() -> Encoded:
    """[CLS] the bridge over the river rhine . [SEP], with mentions "the bridge" and "rhine"."""
    words = ["the", "bridge", "over", "the", "river", "rhine", "."]
    text = " ".join(words)
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    inner = [(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
    spans = np.array([(-1, -1), *inner, (-1, -1)])
    count = len(spans)
    tokens = np.array([2, *range(10, 10 + len(words)), 3])
    plain = Encoded(text, tokens, spans, np.array([-1, *range(7), -1]), np.zeros(count, dtype=np.int64))
    zeros = torch.zeros(2, dtype=torch.long)
    return plain.having(
        Mentions(zeros, torch.tensor([1, 6]), torch.tensor([2, 6]), zeros, torch.arange(2), torch.tensor([5, 8]))
    )


def test_markers_stand_around_the_mentions_and_everything_else_keeps_its_order() -> None:
    marked, (head, tail) = mark(sentence(), [(1, 2), (6, 6)], [HEAD, TAIL])
    assert marked.tokens.tolist() == [2, HEAD, 10, 11, HEAD, 12, 13, 14, TAIL, 15, TAIL, 16, 3]
    assert (head, tail) == ((2, 3), (9, 9))
    assert marked.words.tolist() == [-1, -1, 0, 1, -1, 2, 3, 4, -1, 5, -1, 6, -1]
    assert marked.spans[9].tolist() == [26, 31]
    assert marked.spans[8].tolist() == [-1, -1]


def test_the_order_of_the_spans_does_not_matter() -> None:
    one, (head, tail) = mark(sentence(), [(1, 2), (6, 6)], [HEAD, TAIL])
    other, (second, first) = mark(sentence(), [(6, 6), (1, 2)], [TAIL, HEAD])
    assert one.tokens.tolist() == other.tokens.tolist()
    assert (head, tail) == (first, second)


def test_hidden_mentions_become_one_mask_each() -> None:
    marked, spans = mark(sentence(), [(1, 2), (6, 6)], [HEAD, TAIL], hidden=MASK)
    assert marked.tokens.tolist() == [2, HEAD, MASK, HEAD, 12, 13, 14, TAIL, MASK, TAIL, 16, 3]
    assert spans == [(2, 2), (8, 8)]
    first, last = sentence().spans[1], sentence().spans[2]
    assert marked.spans[2].tolist() == [first[0], last[1]]  # all that it hides


@pytest.mark.parametrize(("hidden", "first", "last"), [(None, [2, 9], [3, 9]), (MASK, [2, 8], [2, 8])])
def test_parts_move_with_their_tokens(hidden: int | None, first: list[int], last: list[int]) -> None:
    marked, _ = mark(sentence(), [(1, 2), (6, 6)], [HEAD, TAIL], hidden=hidden)
    assert marked[Mentions].first.tolist() == first
    assert marked[Mentions].last.tolist() == last
    assert marked[Mentions].entity.tolist() == [5, 8]


def test_overlapping_spans_are_refused() -> None:
    with pytest.raises(ValueError, match="overlaps another"):
        mark(sentence(), [(1, 3), (2, 4)], [HEAD, TAIL])


def test_characters_find_their_tokens() -> None:
    assert tokens_of(sentence(), 0, 10) == (1, 2)
    assert tokens_of(sentence(), 27, 29) == (6, 6)
    assert tokens_of(sentence(), 90, 95) is None


class Pieces:
    def __init__(self, *pieces: str) -> None:
        self.pieces = list(pieces)

    def find(self, piece: str) -> int | None:
        return self.pieces.index(piece) if piece in self.pieces else None


def test_markers_are_the_vocabularys_own_or_what_stands_in() -> None:
    assert Markers.of(Pieces("[HD]", "[TL]", "[ENT]", "[unused1]", "#")) == Markers(0, 1, 2)  # type: ignore[arg-type]
    assert Markers.of(Pieces("a", "#", "$", "。")) == Markers(1, 2, 3)  # type: ignore[arg-type]
    with pytest.raises(VocabularyMismatch, match=r"no marker for tail; add one of \[TL\], \[unused2\], \$"):
        Markers.of(Pieces("#"))  # type: ignore[arg-type]


def test_the_pair_points_at_mentions_and_markers_wherever_the_text_lies() -> None:
    text = mark_pair(sentence(), (1, 2), (6, 6), Markers(HEAD, TAIL, ENTITY), relation=2)
    batch = pack([text, text], pad=0, room=30)
    pairs = batch[Pairs]
    assert batch.tokens[pairs.row, pairs.head].tolist() == [10, 10]
    assert batch.tokens[pairs.row, pairs.tail].tolist() == [15, 15]
    assert batch.tokens[pairs.row, pairs.head_marker].tolist() == [HEAD, HEAD]
    assert batch.tokens[pairs.row, pairs.tail_marker].tolist() == [TAIL, TAIL]
    assert pairs.relation.tolist() == [2, 2]


def classification(**options: object) -> RelationClassification:
    config = EncoderConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
    return RelationClassification(config, relations=["a", "b", "c", "none"], **options)  # type: ignore[arg-type]


def test_scores_equal_scikit_learns() -> None:
    task = classification(negative="none")
    random = np.random.default_rng(0)
    gold, said = (random.choice(["a", "b", "c", "none"], 200).tolist() for _ in range(2))
    scores = task.score(gold, said)
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, said))
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, said, average="macro"))
    expected = f1_score(gold, said, average="micro", labels=["a", "b", "c"])
    assert scores["micro_f1"] == pytest.approx(expected)


def test_an_unknown_state_is_named() -> None:
    with pytest.raises(UnknownName, match=r'field states: no state is called "marker". Did you mean "markers"'):
        classification(states=["marker"])


STATES: dict[str, Callable[[RelationClassification, Tensor], list[Tensor]]] = {
    "pooled": lambda task, states: [torch.tanh(task.states.pooler.dense(states[0]))],  # type: ignore[union-attr]
    "first": lambda task, states: [states[0]],
    "markers": lambda task, states: [states[1], states[8]],
    "mentions": lambda task, states: [states[2], states[9]],
    "mean": lambda task, states: [states.mean(0)],
}


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_read_where_it_should_be_wherever_the_text_lies(state: str) -> None:
    config = EncoderConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=100)
    text = mark_pair(sentence(), (1, 2), (6, 6), Markers(HEAD, TAIL, ENTITY), relation=0)
    encoder, task = Encoder(config).eval(), classification(states=[state])
    alone = encoder.encode(pack([text], pad=0)).hidden[0]
    batch = pack([text, text], pad=0, room=30)
    features = task.features(batch, encoder.encode(batch))
    expected = torch.cat(STATES[state](task, alone))
    assert torch.allclose(features, expected.expand_as(features), atol=1e-5)


def test_the_pooler_starts_as_the_encoders_and_goes_its_own_way() -> None:
    config = EncoderConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=100)
    encoder = Encoder(config)
    assert encoder.pooler is not None
    for task in (classification(encoder=encoder), EntityTyping(config, types=["person"], encoder=encoder)):
        assert task.states.pooler is not None
        assert torch.equal(task.states.pooler.dense.weight, encoder.pooler.dense.weight)
        assert task.states.pooler.dense.weight is not encoder.pooler.dense.weight
    encoder.pooler = None
    fresh = classification(encoder=encoder).states.pooler
    assert fresh is not None
    assert 0 < float(fresh.dense.weight.detach().abs().max()) < 6 * config.initializer_range


def test_an_unknown_negative_relation_is_named() -> None:
    with pytest.raises(UnknownName, match=r'"nine" is none of them. Did you mean "none"'):
        classification(negative="nine")


def test_typing_scores_equal_hand_counted_ones() -> None:
    config = EncoderConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
    task = EntityTyping(config, types=["person", "place", "thing"])
    gold = [frozenset({"person"}), frozenset({"place", "thing"}), frozenset({"thing"})]
    said = [frozenset({"person"}), frozenset({"place"}), frozenset[str]()]
    scores = task.score(gold, said)
    assert scores["accuracy"] == pytest.approx(1 / 3)
    assert scores["micro_precision"] == 1.0
    assert scores["micro_recall"] == pytest.approx(2 / 4)
    assert scores["macro_precision"] == 1.0
    assert scores["macro_recall"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert scores["micro_f1"] == pytest.approx(2 / 3)
