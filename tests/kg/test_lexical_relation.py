"""Lexical relation classification: negatives and loss against slow oracles, two classes and several, training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kelm.batch import Encoded
from kelm.data.stream import BatchStream
from kelm.errors import CheckpointError, InputError, UnknownName
from kelm.model import Encoder, EncoderConfig
from kelm.text.assembly import Template
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kg.embeddings.table import EntityTable
from kg.embeddings.word_vectors import piece_vectors
from kg.enrich.lexical_pairs import LexicalPairs
from kg.enrich.related_words import LexicalSources
from kg.linking.word_pairs import Word, WordPair
from kg.objectives.lexical_relation import NONE, RELATED, LexicalCollate, LexicalRelation, LexicalRows
from tests.kg.lexicon_files import GRAPH, SIZES, encoder_of, tokenizer_of

TEMPLATE = Template((2,), (3,), (3,))
NAME = "lexical_relation"


def word(key: int, partners: Sequence[int] = ()) -> Word:
    """Its text is its key; the tokens tell it, too."""
    count = 1 + key % 2
    numbers = np.arange(count)
    pieces = Encoded(
        str(key), np.array([10 + key, 50 + key % 7][:count]), np.stack([numbers] * 2, 1), numbers, 0 * numbers
    )
    return Word(pieces, key, np.array(sorted(partners), np.int32))


def lexicon(pairs: Sequence[tuple[int, int]], also: Sequence[tuple[int, int]] = ()) -> list[WordPair]:
    """The pairs as records, `also` being related too without being there."""
    known: dict[int, set[int]] = {}
    for one, other in [*pairs, *also]:
        known.setdefault(one, set()).add(other)
        known.setdefault(other, set()).add(one)
    return [
        WordPair(
            word(one, sorted(known[one])),
            word(other, sorted(known[other])),
            "hypernym" if number % 3 else "synonym",
            TEMPLATE,
            number=number,
            origin=f"line {number}",
        )
        for number, (one, other) in enumerate(pairs)
    ]


PAIRS = [(0, 1), (2, 3), (4, 5), (6, 7), (0, 8), (9, 2), (10, 11), (12, 13), (5, 14)]
ALSO = [(1, 3), (0, 14), (8, 11), (6, 11), (2, 7)]  # some are nearest, and related without being in the batch
VECTORS = np.random.default_rng(3).normal(size=(15, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    EntityTable.from_vectors([str(key) for key in range(15)], VECTORS).save(tmp_path / "vectors")
    return str(tmp_path / "vectors")


def model() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(vocab_size=70, **SIZES)).eval()


def made(encoder: Encoder, **options: Any) -> LexicalRelation:
    torch.manual_seed(1)
    return LexicalRelation(encoder.config, **options).eval()


def rows_of(task: LexicalRelation, pairs: Sequence[WordPair], seed: int = 0) -> list[tuple[int, int, list[int], int]]:
    """Pair, place, tokens and class of each row of the batch."""
    batch = task.collate(pairs, seed)
    part = batch[LexicalRows]
    assert part.text.tolist() == list(range(len(batch.tokens)))
    tokens = [row[real].tolist() for row, real in zip(batch.tokens, batch.real, strict=True)]
    return [
        (pair, place, tokens[text], label)
        for text, pair, place, label in zip(
            *(getattr(part, c).tolist() for c in ("text", "pair", "place", "label")), strict=True
        )
    ]


def read(first: int, second: int) -> list[int]:
    return [2, *word(first).pieces.tokens.tolist(), 3, *word(second).pieces.tokens.tolist(), 3]


def slow_nearest(given: int, replaced: int, known: set[tuple[int, int]]) -> int | None:
    """Every word of the batch, one cosine at a time."""
    best, found = -math.inf, None
    for other in sorted({key for pair in PAIRS for key in pair}):
        if other in (given, replaced) or (given, other) in known or (other, given) in known:
            continue
        one, two = VECTORS[given].astype(float), VECTORS[other].astype(float)
        cosine = float(one @ two) / math.sqrt(float(one @ one)) / math.sqrt(float(two @ two))
        if cosine > best:
            best, found = cosine, other
    return found


@pytest.mark.parametrize("filtered", [True, False])
def test_negatives_are_the_nearest_words_of_a_slow_search(filtered: bool, folder: str) -> None:
    task = made(model(), vectors=folder, filtered=filtered)
    known = {*PAIRS, *ALSO} if filtered else set()
    expected = []
    for number, (one, other) in enumerate(PAIRS):
        expected.append((number, 0, read(one, other), 1))
        expected.append((number, 1, read(slow_nearest(other, one, known), other), 0))  # type: ignore[arg-type]
        expected.append((number, 2, read(one, slow_nearest(one, other, known)), 0))  # type: ignore[arg-type]
    assert rows_of(task, lexicon(PAIRS, ALSO)) == expected


def test_the_filter_changes_something_here(folder: str) -> None:
    known = {*PAIRS, *ALSO}
    pairs = [(one, other) for pair in PAIRS for one, other in (pair, pair[::-1])]
    assert any(slow_nearest(*pair, set()) != slow_nearest(*pair, known) for pair in pairs)


@pytest.mark.parametrize("vectors", [True, False])
def test_no_negative_is_a_pair_of_the_lexicon_and_none_holds_a_word_twice(vectors: bool, folder: str) -> None:
    task = made(model(), vectors=folder if vectors else None)
    true = [read(*pair) for known in (*PAIRS, *ALSO) for pair in (known, known[::-1])]
    negatives = [tokens for _, place, tokens, _ in rows_of(task, lexicon(PAIRS, ALSO)) if place]
    assert len(negatives) == 2 * len(PAIRS)
    assert not any(tokens in true for tokens in negatives)
    assert not any(tokens == read(key, key) for tokens in negatives for key in range(15))


def test_random_negatives_depend_on_seed_and_number_not_on_the_order_of_the_batch() -> None:
    task, pairs = made(model()), lexicon(PAIRS, ALSO)
    sorted_rows = [sorted(tokens for _, _, tokens, _ in rows_of(task, some, 5)) for some in (pairs, pairs[::-1])]
    assert sorted_rows[0] == sorted_rows[1]
    assert rows_of(task, pairs, 5) != rows_of(task, pairs, 6)


def test_words_without_a_vector_get_drawn_negatives(tmp_path: Path) -> None:
    EntityTable.from_vectors(["0", "5"], VECTORS[:2]).save(tmp_path / "few")
    task = made(model(), vectors=str(tmp_path / "few"))
    rows = rows_of(task, lexicon(PAIRS, ALSO))
    [near] = [tokens for pair, place, tokens, _ in rows if (pair, place) == (0, 2)]
    assert near == read(0, 5)  # the only other word with a vector
    assert len(rows) == 3 * len(PAIRS)
    others = made(model(), vectors=str(tmp_path / "few"))
    assert rows_of(others, lexicon(PAIRS, ALSO), 0) == rows
    assert rows_of(others, lexicon(PAIRS, ALSO), 1) != rows


def test_a_pair_alone_has_no_negatives_and_is_judged_without() -> None:
    encoder = model()
    task = made(encoder)
    [alone] = lexicon([(0, 1)])
    batch = task.collate([alone], 0)
    assert batch.units == {NAME: 1}
    [answers] = task.predict(batch, encoder.encode(batch))
    assert answers[1:] == (None, None)
    assert task.score([(RELATED, NONE, NONE)], [(RELATED, None, None)])["accuracy"] == 1
    assert task.score([(RELATED, NONE, NONE)], [(RELATED, RELATED, None)])["accuracy"] == 0.5


@pytest.mark.parametrize("relations", [None, ["synonym", "hypernym"]])
def test_the_loss_is_minus_the_log_of_the_softmax_by_hand(relations: list[str] | None, folder: str) -> None:
    encoder = model()
    task, pairs = made(encoder, vectors=folder, relations=relations), lexicon(PAIRS, ALSO)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(2))
    weights, bias = (p.detach().double().numpy() for p in (task.classifier.scores.weight, task.classifier.scores.bias))
    total, classes = 0.0, []
    for pair, place, tokens, _ in rows_of(task, pairs):
        segments = [0 if number <= tokens.index(3) else 1 for number in range(len(tokens))]
        state = encoder(torch.tensor([tokens]), token_type_ids=torch.tensor([segments])).last_hidden_state[0, 0]
        scores = [float(row @ state.detach().double().numpy()) + b for row, b in zip(weights, bias, strict=True)]
        right = 0 if place else 1 if relations is None else 1 + relations.index(pairs[pair].relation)
        classes.append(right)
        total -= scores[right] - math.log(sum(map(math.exp, scores)))
    batch = task.collate(pairs, 0)
    assert batch[LexicalRows].label.tolist() == classes
    assert task.loss(batch, encoder.encode(batch))[NAME].item() == pytest.approx(total, rel=1e-5)
    assert batch.units == {NAME: 3 * len(PAIRS)}


def test_a_relation_that_the_task_does_not_have_is_told_with_the_closest() -> None:
    task = made(model(), relations=["synonyms", "hypernym"])
    with pytest.raises(UnknownName, match=r'line 0: no relation of the task is called "synonym". Did you mean "synony'):
        task.collate(lexicon(PAIRS), 0)


@pytest.mark.parametrize("relations", [[], ["a", "a"], ["none", "a"], "synonym"])
def test_names_that_are_none_are_refused(relations: Any) -> None:
    with pytest.raises(InputError, match="relations is"):
        made(model(), relations=relations)


def test_vectors_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        made(model(), vectors=str(tmp_path / "nothing")).collate(lexicon(PAIRS), 0)


def test_a_collate_is_the_same_as_another_of_the_same_options(folder: str) -> None:
    one, other = (made(model(), vectors=folder).collate for _ in range(2))
    assert isinstance(one, LexicalCollate) and one == other != made(model()).collate


def test_saying_yes_to_everything_scores_low() -> None:
    task = made(model())
    gold = task.gold(lexicon(PAIRS))
    scores = task.score(gold, [(RELATED,) * 3 for _ in gold])
    assert scores["macro_f1"] == pytest.approx(0.25)
    assert scores["accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
@pytest.mark.parametrize("directed", [False, True])
def test_it_learns_a_small_lexicon_by_heart_and_the_direction_with_it(
    kind: str, directed: bool, tmp_path: Path
) -> None:
    words = tokenizer_of(kind)
    encoder = encoder_of(words)
    relations = ["synonym", "hypernym", "inverse hypernym"] if directed else ["synonym", "hypernym"]
    corpus = LexicalPairs(LexicalSources(graph=GRAPH), words, directed=("hypernym",) if directed else ())
    piece_vectors(corpus.related.spellings, words, encoder).save(tmp_path / "pieces")
    task = made(encoder, relations=relations, vectors=str(tmp_path / "pieces"))
    learner = Learner(encoder, [task]).train()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=2e-3, fused=True)
    stream = BatchStream(corpus, task.collate, tokens=10_000, seed=0)
    for _, batch in zip(range(120), stream, strict=False):
        loss = learner(batch)[NAME] / batch.units[NAME]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pairs = [pair for pair, _ in corpus.stream()]
    scores = HeldOut({NAME: pairs})(learner.eval())
    assert scores[f"{NAME}/macro_f1"] == 1
    batch = task.collate(pairs, 0)
    answers = task.predict(batch, encoder.encode(batch))
    assert [said[0] for said in answers] == [pair.relation for pair in pairs]
