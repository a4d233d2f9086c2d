"""SentencePiece's tokenizers as fast ones of Hugging Face: the same ids, whoever opens the folder."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from kelm.text import tokenizer, vocabulary
from kelm.text.fast import merges
from kelm.text.sentence_piece import SentencePiece

TEXTS = [
    "the cat sat on the mat",
    "a dog ran after the cat, and the cat ran",
    "Die Katze sitzt auf der Straße",
    "кошка сидит на ковре",
    "猫が座っています",
    "naïve café, ﬁne",
] * 20


def trained(kind: str, bytes_: bool) -> SentencePiece:
    words = vocabulary.train(TEXTS, 320 if bytes_ else 66, kind, byte_fallback=bytes_)  # type: ignore[arg-type]
    assert isinstance(words, SentencePiece)
    return words


KINDS = {(kind, bytes_): trained(kind, bytes_) for kind in ("unigram", "bpe") for bytes_ in (False, True)}
FAST = {name: words.fast() for name, words in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_whoever_opens_the_folder_gets_the_same_ids(name: tuple[str, bool], tmp_path: Path) -> None:
    words = KINDS[name]
    words.save(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(tokenizer.open(tmp_path), SentencePiece)  # ours, which is faster
    assert opened.is_fast and len(opened) == words.vocabulary_size
    for text in dict.fromkeys(TEXTS):
        assert opened(text)["input_ids"] == words.encode([text])[0].tokens.tolist()
        ids = opened(text)["input_ids"]
        assert opened.decode(ids, skip_special_tokens=True) == words.decode(ids)
    [pair] = words.encode(["the cat"], ["die Katze"])
    assert opened("the cat", "die Katze")["input_ids"] == pair.tokens.tolist()
    told = (opened.cls_token_id, opened.sep_token_id, opened.pad_token_id, opened.unk_token_id, opened.mask_token_id)
    assert told == (words.cls, words.sep, words.pad, words.unk, words.mask)


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="[<"), max_size=30))
@pytest.mark.parametrize("name", KINDS)
def test_any_text_has_the_same_ids(name: tuple[str, bool], text: str) -> None:
    assert FAST[name](text)["input_ids"] == KINDS[name].encode([text])[0].tokens.tolist()


def test_merges_are_ranked_by_the_piece_they_make() -> None:
    scored = [("a", 0.0), ("b", 0.0), ("aa", -1.0), ("ab", -2.0), ("aab", -3.0), ("zz", -0.5)]
    assert merges(scored) == [("a", "a"), ("a", "b"), ("a", "ab"), ("aa", "b")]


def test_sentences_of_a_hundred_languages_have_the_same_ids(data: Path) -> None:
    texts = []
    for path in sorted((data / "parallel" / "tatoeba").glob("*.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts += [line.split("\t")[0] for _, line in zip(range(40), file, strict=False)]
    for kind in ("unigram", "bpe"):
        words = vocabulary.train(texts, 4000, kind)  # type: ignore[arg-type]
        assert isinstance(words, SentencePiece)
        fast, read = words.fast(), words.encode(texts)
        found = fast(texts)["input_ids"]
        assert sum(ids == one.tokens.tolist() for ids, one in zip(found, read, strict=True)) == len(texts) > 4000
