"""The reader: windows, dropped blanks, enrichers, and a stream that continues within a split text."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from kelm.batch import Encoded, Part
from kelm.data.corpus import InMemory, Shard, Text
from kelm.data.reader import Enriched, Reader, windows
from kelm.errors import KelmError
from kelm.text import vocabulary
from kelm.text.hugging_face import HuggingFace

TEXTS = ["the quick fox", "jumps " * 30, "over", "the lazy dog and the quick brown fox again " * 4, " ", "dog"]


@pytest.fixture(scope="module")
def tokenizer() -> HuggingFace:
    found = vocabulary.train(TEXTS, 70, "wordpiece", coverage=1.0)
    assert isinstance(found, HuggingFace)
    return found


def same(a: Encoded, b: Encoded) -> bool:
    arrays = all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("tokens", "spans", "words", "segments")
    )
    return arrays and (a.text, a.number, a.origin) == (b.text, b.number, b.origin)


@pytest.mark.parametrize("long", ["cut", "split"])
@pytest.mark.parametrize("shard", [Shard(), Shard(1, 2)])
def test_reading_continues_after_any_text_and_window(tokenizer: HuggingFace, long: Any, shard: Shard) -> None:
    reader = Reader(InMemory(TEXTS), tokenizer, 12, long=long, chunk=4)
    whole = list(reader.stream(shard))
    assert whole
    for place, (_, cursor) in enumerate(whole):
        rest = list(reader.stream(shard, json.loads(json.dumps(cursor))))
        assert all(same(a, b) for (a, _), (b, _) in zip(rest, whole[place + 1 :], strict=True))


def test_the_chunk_does_not_matter(tokenizer: HuggingFace) -> None:
    one, many = (list(Reader(InMemory(TEXTS), tokenizer, 12, long="split", chunk=chunk).stream()) for chunk in (1, 100))
    assert all(same(a, b) and left == right for (a, left), (b, right) in zip(one, many, strict=True))


def test_windows_hold_the_whole_text_and_break_between_words(tokenizer: HuggingFace) -> None:
    (encoded,) = tokenizer.encode([TEXTS[3]])
    for length in (5, 9, 12, 30):
        parts = windows(encoded, length, tokenizer.template)
        assert all(len(part) <= length for part in parts)
        assert np.concatenate([part.tokens[1:-1] for part in parts]).tolist() == encoded.tokens[1:-1].tolist()
        assert np.concatenate([part.spans[1:-1] for part in parts]).tolist() == encoded.spans[1:-1].tolist()
        assert all(part.tokens[0] == tokenizer.cls and part.tokens[-1] == tokenizer.sep for part in parts)
        longest = max(np.bincount(encoded.words[encoded.words >= 0]))
        if longest <= length - 2:
            words = [set(part.words[1:-1].tolist()) for part in parts]
            assert all(not left & right for left, right in pairwise(words))


def test_a_word_longer_than_a_window_is_divided(tokenizer: HuggingFace) -> None:
    (encoded,) = tokenizer.encode(["quickquickquickquick dog"])
    parts = windows(encoded, 4, tokenizer.template)
    assert np.concatenate([part.tokens[1:-1] for part in parts]).tolist() == encoded.tokens[1:-1].tolist()


def test_numbers_are_distinct_and_do_not_depend_on_the_shard(tokenizer: HuggingFace) -> None:
    reader = Reader(InMemory(TEXTS), tokenizer, 12, long="split")
    whole = {text.number: text for text, _ in reader.stream()}
    assert len(whole) == len(list(reader.stream()))
    for index in range(3):
        assert all(same(whole[text.number], text) for text, _ in reader.stream(Shard(index, 3)))


def test_blank_texts_give_nothing(tokenizer: HuggingFace) -> None:
    origins = {text.origin for text, _ in Reader(InMemory(TEXTS), tokenizer, 12).stream()}
    assert origins == {"text 1", "text 2", "text 3", "text 4", "text 6"}


class Label(Part):
    """A label for the test."""

    def __init__(self, value: int) -> None:
        self.value = torch.tensor([value])


def test_attach_sees_the_source_and_enrichers_follow(tokenizer: HuggingFace) -> None:
    def attach(encoded: Encoded, text: Text) -> Encoded:
        return encoded.having(Label(text.fields["label"]))

    class Doubled:
        def __call__(self, texts: Sequence[Encoded]) -> list[Encoded]:
            return [text.having(Label(2 * int(text[Label].value))) for text in texts]

        def fingerprint(self) -> str:
            return "doubled"

    corpus = InMemory([Text("the dog", "over", fields={"label": 3}), Text("the fox", fields={"label": 4})])
    plain, read = Reader(corpus, tokenizer, 12), Reader(corpus, tokenizer, 12, attach=attach)
    enriched = Enriched(read, [Doubled(), Doubled()])
    encoded = [text for text, _ in enriched.stream()]
    assert [int(text[Label].value) for text in encoded] == [12, 16]
    assert [int(text.segments.max()) for text in encoded] == [1, 0]
    assert len({plain.fingerprint(), read.fingerprint(), enriched.fingerprint()}) == 3


def test_an_unknown_way_with_long_texts_lists_the_known(tokenizer: HuggingFace) -> None:
    with pytest.raises(KelmError, match="cut, split, refuse"):
        Reader(InMemory(TEXTS), tokenizer, 12, long="truncate")  # type: ignore[arg-type]
