"""Stretches of characters and the tokens they touch, against the obvious slow search."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.text import spans
from kelm.text.hugging_face import HuggingFace
from kelm.text.sentence_piece import SentencePiece
from tests.kelm.text.sentences import SENTENCES


def slow_locate(encoded_spans: list[list[int]], start: int, end: int) -> list[int]:
    touched = [token for token, (a, b) in enumerate(encoded_spans) if a >= 0 and a < end and start < b]
    return [touched[0], touched[-1] + 1] if touched and start < end else [-1, -1]


@settings(max_examples=80, deadline=None)
@given(sentence=st.sampled_from(SENTENCES), start=st.integers(0, 40), length=st.integers(1, 30))
def test_located_tokens_are_those_that_touch_the_characters(
    unigram: SentencePiece, word_pieces: HuggingFace, sentence: str, start: int, length: int
) -> None:
    for tokenizer in (unigram, word_pieces):
        encoded = tokenizer.encode([sentence])[0]
        found = spans.locate(encoded, [start], [start + length])
        assert found[0].tolist() == slow_locate(encoded.spans.tolist(), start, start + length)


def test_a_name_is_found_and_spelled_back(tokenizer: HuggingFace | SentencePiece) -> None:
    encoded = tokenizer.encode(["Chiara visited the unaffable museum."])[0]
    start = encoded.text.index("unaffable")
    first, end = spans.locate(encoded, [start], [start + len("unaffable")])[0]
    assert encoded.spans[first:end][[0, -1], [0, 1]].tolist() == [start, start + len("unaffable")]


def test_blanks_are_trimmed_of_each_text_apart() -> None:
    texts = ["a b", "", " \u3000c "]
    counts = np.array([2, 0, 2])
    given_spans = np.array([[0, 1], [1, 3], [0, 4], [0, 2]])
    assert spans.trimmed(given_spans, texts, counts).tolist() == [[0, 1], [2, 3], [2, 3], [-1, -1]]


def test_words_are_numbered_from_zero_in_each_text() -> None:
    begins = np.array([True, False, True, False, False, False])
    special = np.array([False, False, False, False, True, False])
    counts = np.array([3, 0, 3])
    assert spans.word_numbers(begins, special, counts).tolist() == [0, 0, 1, 0, -1, 2]
