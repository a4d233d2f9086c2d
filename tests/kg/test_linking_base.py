"""Mentions and their alignment with sub-tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kelm.batch import Encoded, pack
from kg.linking.base import NIL, Candidate, Mention, Mentions, align


def encoded(text: str, tokens: Sequence[str], *, specials: bool = True, number: int = 0) -> Encoded:
    """A text cut into `tokens`, which stand in it in this order; [CLS] and [SEP] around them."""
    spans, words, at = [], [], 0
    for word, token in enumerate(tokens):
        at = text.index(token, at)
        spans.append((at, at + len(token)))
        words.append(word)
        at += len(token)
    if specials:
        spans, words = [(-1, -1), *spans, (-1, -1)], [-1, *words, -1]
    count = len(spans)
    return Encoded(
        text=text,
        tokens=np.arange(count),
        spans=np.array(spans, dtype=np.int64).reshape(-1, 2),
        words=np.array(words, dtype=np.int64),
        segments=np.zeros(count, dtype=np.int64),
        number=number,
    )


def mention(text: str, name: str, entity: str | None = "Q1", at: int = 0) -> Mention:
    start = text.index(name, at)
    return Mention(start, start + len(name), name, () if entity is None else (Candidate(entity, 1.0),))


def places(aligned: Encoded) -> list[tuple[int, int, int, int]]:
    part = aligned[Mentions]
    columns = (part.first, part.last, part.slot, part.entity)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_mention_is_its_first_to_its_last_sub_token() -> None:
    text = "Paris lies on the Seine."
    aligned = align(
        encoded(text, ["Par", "is", "lies", "on", "the", "Seine", "."]),
        [mention(text, "Seine", "Q1471"), mention(text, "Paris", "Q90")],
        {"Q90": 7, "Q1471": 3},
    )
    assert places(aligned) == [(1, 2, 0, 7), (6, 6, 1, 3)]
    assert len(aligned[Mentions]) == 2


def test_a_mention_in_parentheses_or_within_a_word_is_found() -> None:
    text = "He left (Portville) by Portvillebus."
    tokens = ["He", "left", "(", "Port", "ville", ")", "by", "Port", "villebus", "."]
    mentions = [mention(text, "Portville"), mention(text, "Portville", at=20), mention(text, "bus")]
    aligned = align(encoded(text, tokens), mentions, {"Q1": 0})
    assert [place[:2] for place in places(aligned)] == [(4, 5), (8, 9), (9, 9)]


def test_two_mentions_that_begin_in_one_sub_token_are_one() -> None:
    text = "the Franco-German border"
    mentions = [mention(text, "Franco", "Q142"), mention(text, "German", "Q183")]
    aligned = align(encoded(text, ["the", "Franco-German", "border"]), mentions, {"Q142": 0, "Q183": 1})
    assert places(aligned) == [(2, 2, 0, 0)]


def test_of_overlapping_mentions_the_longest_stays_and_of_equal_ones_the_first() -> None:
    text = "New York City Hall"
    tokens = text.split()
    mentions = [mention(text, name) for name in ("City Hall", "York City", "New York City", "New")]
    assert [place[:2] for place in places(align(encoded(text, tokens), mentions, {"Q1": 0}))] == [(1, 3)]
    assert [place[:2] for place in places(align(encoded(text, tokens), mentions[:2], {"Q1": 0}))] == [(2, 3)]


def test_a_mention_that_truncation_cut_is_dropped() -> None:
    text = "Berlin is the capital of the Federal Republic of Germany"
    cut = encoded(text, ["Berlin", "is", "the", "capital", "of", "the", "Federal", "Republic"])
    mentions = [mention(text, "Berlin"), mention(text, "Federal Republic of Germany"), mention(text, "Germany")]
    assert places(align(cut, mentions, {"Q1": 0})) == [(1, 1, 0, 0)]


@pytest.mark.parametrize("candidates", [(), (Candidate(NIL, 0.6), Candidate("Q1", 0.4)), (Candidate("Q2", 1.0),)])
def test_no_entity_and_an_unknown_entity_are_minus_one(candidates) -> None:
    aligned = align(encoded("Paris", ["Paris"]), [Mention(0, 5, "Paris", candidates)], {"Q1": 0})
    assert places(aligned) == [(1, 1, 0, -1)]


def test_rows_are_looked_up_by_a_function_as_well() -> None:
    aligned = align(encoded("Paris", ["Paris"]), [mention("Paris", "Paris", "Q90")], lambda name: int(name[1:]))
    assert places(aligned) == [(1, 1, 0, 90)]


def test_packing_moves_mentions_with_their_texts() -> None:
    texts = ["Paris here", "nothing", "in Rome"]
    names = ["Paris", None, "Rome"]
    several = [
        align(encoded(text, text.split(), number=number), [mention(text, name)] if name else [], {"Q1": 5})
        for number, (text, name) in enumerate(zip(texts, names, strict=True))
    ]
    part = pack(several, pad=0, room=8)[Mentions]
    alone = pack(several, pad=0)[Mentions]
    assert (part.row.tolist(), part.first.tolist(), part.text.tolist()) == ([0, 0], [1, 6], [0, 2])
    assert (alone.row.tolist(), alone.first.tolist(), alone.text.tolist()) == ([0, 2], [1, 2], [0, 2])
    assert part.entity.dtype == torch.long


@given(cuts=st.sets(st.integers(1, 29)), span=st.tuples(st.integers(0, 29), st.integers(1, 30)))
def test_alignment_agrees_with_looking_at_every_character(cuts: set[int], span: tuple[int, int]) -> None:
    text = "abcdefghijklmnopqrstuvwxyzABCD"
    edges = [0, *sorted(cuts), 30]
    tokens = [text[first:last] for first, last in pairwise(edges)]
    start, end = min(span), max(span)
    if start == end:
        return
    owner = [number for number, token in enumerate(tokens) for _ in token]
    aligned = align(encoded(text, tokens, specials=False), [Mention(start, end, text[start:end])], {})
    assert places(aligned) == [(owner[start], owner[end - 1], 0, -1)]
