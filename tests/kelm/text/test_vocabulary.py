"""Vocabularies learned from text."""

from collections.abc import Iterator

import pytest

from kelm.errors import InputError, KelmError
from kelm.text import vocabulary
from tests.kelm.text.sentences import SENTENCES


@pytest.mark.parametrize("kind", ["unigram", "bpe", "wordpiece"])
def test_every_kind_has_the_size_asked_for_and_its_special_tokens_first(kind: vocabulary.Kind) -> None:
    tokenizer = vocabulary.train(iter(SENTENCES), 130, kind, coverage=1.0)
    assert tokenizer.vocabulary_size == 130
    assert {tokenizer.pad, tokenizer.unk, tokenizer.cls, tokenizer.sep, tokenizer.mask} == set(range(5))
    encoded = tokenizer.encode(["François visited Washington."])[0]
    assert tokenizer.unk not in encoded.tokens


@pytest.mark.parametrize("kind", ["unigram", "bpe", "wordpiece"])
def test_the_same_texts_give_the_same_vocabulary(kind: vocabulary.Kind) -> None:
    one, two = (vocabulary.train(SENTENCES, 130, kind, coverage=1.0) for _ in range(2))
    assert one.fingerprint() == two.fingerprint()


def test_texts_are_read_once_and_blank_ones_skipped() -> None:
    read = []

    def texts() -> Iterator[str]:
        for number, sentence in enumerate(SENTENCES):
            read.append(number)
            yield sentence
            yield "  "

    vocabulary.train(texts(), 130, coverage=1.0)
    assert read == list(range(len(SENTENCES)))


def test_bytes_spell_what_has_no_piece() -> None:
    tokenizer = vocabulary.train(SENTENCES, 400, "bpe", byte_fallback=True, coverage=1.0)
    assert tokenizer.unk not in tokenizer.encode(["☃"])[0].tokens
    assert tokenizer.decode(tokenizer.encode(["☃ Ada"])[0].tokens) == "☃ Ada"


@pytest.mark.parametrize(
    ("texts", "size", "kind", "problem"),
    [
        ([], 100, "unigram", "no text"),
        (["", " "], 100, "wordpiece", "no text"),
        (SENTENCES, 100_000, "unigram", "Use a size of at most"),
        (SENTENCES, 100_000, "wordpiece", "Use a size of"),
        (SENTENCES, 10, "unigram", "Use a larger size"),
        (SENTENCES, 10, "bpe", "Use a larger size"),
    ],
)
def test_an_impossible_size_is_explained(texts: list[str], size: int, kind: vocabulary.Kind, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        vocabulary.train(texts, size, kind, coverage=1.0)


def test_a_handful_of_sentences_is_enough_for_word_pieces() -> None:
    texts = ["the quick brown fox jumps over the lazy dog", "lazy"]
    tokenizer = vocabulary.train(texts, 70, "wordpiece", coverage=1.0)
    assert [tokenizer.decode(encoded.tokens) for encoded in tokenizer.encode(texts)] == texts
    assert not any(tokenizer.piece(id).startswith("##[") for id in range(70))


def test_an_unknown_kind_lists_the_known() -> None:
    with pytest.raises(KelmError, match="Known: bpe, unigram, wordpiece"):
        vocabulary.train(SENTENCES, 100, "words")  # type: ignore[arg-type]
