"""Codes of languages, their numbers, and the part that tells them token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kelm.batch import Encoded, pack
from kelm.errors import InputError
from kelm.text import vocabulary
from multilingual.languages import (
    Languages,
    code_of,
    language,
    name_of,
    number_of,
    script_of,
    with_languages,
)


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "en"),
        ("EN_us", "en"),
        ("eng", "en"),
        ("deu_Latn", "de"),
        ("arb_Arab", "ar"),
        ("swh", "sw"),
        ("zho_Hans", "zh"),
        ("zh-Hant", "zh-hant"),
        ("sh", "sr-latn"),
        ("sr_Cyrl", "sr"),
        ("iw", "he"),
        ("German", "de"),
        ("djk", "djk"),  # which only the table of scripts knows
        ("x-mine", "x-mine"),
    ],
)
def test_a_language_has_one_code_however_it_is_spelled(tag: str, code: str) -> None:
    assert language(tag) == code == language(code)


@pytest.mark.parametrize(
    ("tag", "said"),
    [("englsh", "english"), ("xx9", "no language"), ("", "no language"), ("x-much-too-long", "cannot be kept")],
)
def test_an_unknown_language_is_told_with_the_closest_one(tag: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        language(tag, "files.one")
    assert told.value.field == "files.one"
    assert len(str(told.value)) < 300  # not the list of all


def test_names_and_scripts_are_those_of_cldr() -> None:
    assert [name_of(code) for code in ("sw", "zh-hant", "djk")] == ["Swahili", "Chinese (Hant)", "djk"]
    assert [script_of(code) for code in ("sw", "hi", "zh", "zh-hant", "x-mine")] == ["Latn", "Deva", "Hans", "Hant", ""]


@given(st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-"), max_size=10))
def test_a_number_stands_for_one_code(code: str) -> None:
    assert code_of(number_of(code)) == code
    assert 0 <= number_of(code) < 2**63


WORDS = vocabulary.train(["a cat sat", "eine katze sass"], 50, "wordpiece", lower=True)


def pair() -> Encoded:
    return WORDS.encode(["a cat sat"], ["eine katze"])[0]


def test_of_a_pair_each_side_has_its_language() -> None:
    text = with_languages(pair(), "en", "de")
    part = text[Languages]
    second = int(text.segments.nonzero()[0][0])
    assert part.first.tolist() == [0, second] and part.last.tolist() == [second - 1, len(text) - 1]
    assert [code_of(number) for number in part.language.tolist()] == ["en", "de"]
    [alone] = WORDS.encode(["a cat"])
    assert with_languages(alone, "en")[Languages].last.tolist() == [len(alone) - 1]


def test_a_separator_that_opens_the_second_text_is_in_its_language() -> None:
    words = np.array([-1, 0, 1, -1, -1, 2, 3, -1])  # <s> a b </s> </s> c d </s>
    count = np.arange(8)
    text = Encoded("", count, np.stack([count, count], 1), words, (count > 4).astype(np.int64))
    assert with_languages(text, "en", "de")[Languages].first.tolist() == [0, 4]


def test_every_token_of_a_packed_batch_has_the_language_of_its_text() -> None:
    texts = [with_languages(pair(), "en", "de"), with_languages(WORDS.encode(["eine katze"])[0], "de"), pair()]
    for room in (None, 40):
        batch = pack(texts, pad=0, room=room)
        told = batch[Languages].per_token(batch.tokens.shape)
        expected = torch.zeros_like(batch.tokens)  # slowly: stretch by stretch
        part = batch[Languages]
        columns = (column.tolist() for column in (part.row, part.first, part.last, part.language))
        for row, first, last, code in zip(*columns, strict=True):
            expected[row, first : last + 1] = code
        assert torch.equal(told, expected)
        counts = {code_of(int(number)): int((told == number).sum()) for number in told.unique()}
        second = int((texts[0].segments == 1).sum())
        assert counts["de"] == second + len(texts[1]) and counts["en"] == len(texts[0]) - second
