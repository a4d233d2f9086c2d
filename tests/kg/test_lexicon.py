"""The lexicon: what only has the hash of a name is not the name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.errors import InputError
from kg.linking import lexicon
from kg.linking.folding import fold
from kg.linking.lexicon import Lexicon, coded


def shape(name: str) -> bytes:
    folded = fold(name)
    codes = coded(folded)
    codes[0] = folded.codes[0]
    return codes.tobytes()


def hits(names: list[str], text: str) -> list[tuple[str, int, int]]:
    found = Lexicon.of([shape(name) for name in names])
    folded = fold(text)
    columns = found.find(folded, np.ones(len(folded.codes) + 1, dtype=bool))
    return [(names[name], first, last) for name, first, last in zip(*map(np.ndarray.tolist, columns), strict=True)]


WORDS = st.lists(st.sampled_from(["ab", "ba", "c", "aabb"]), min_size=1, max_size=3).map(" ".join)


@settings(deadline=None)
@given(names=st.lists(WORDS, unique=True, max_size=12), text=WORDS, bases=st.sampled_from([None, (1, 3), (1, 5, 7)]))
def test_a_text_has_the_names_that_are_in_it_whatever_the_hash_says(names, text, bases) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if bases:  # with base 1 every order of the same letters has the same hash
            patch.setattr(lexicon, "_BASES", (*bases, lexicon._BASES[0]))
        words = [0, *(place + 1 for place, letter in enumerate(text) if letter == " ")]
        spans = [(first, last) for first in words for last in [*(word - 1 for word in words[1:]), len(text)]]
        expected = [(text[first:last], first, last) for first, last in spans if text[first:last] in names]
        assert hits(names, text) == sorted(expected, key=lambda hit: hit[1:])


def test_a_text_does_not_have_a_name_of_the_same_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "_BASES", (1,))
    assert hits(["ab c"], "ba c ab c") == [("ab c", 5, 9)]
    assert hits(["ab"], "ba ab bb") == [("ab", 3, 5)]


def test_names_that_no_base_tells_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "_BASES", (1,))
    with pytest.raises(InputError, match="cannot be told apart"):
        Lexicon.of([shape("ab"), shape("ba")])


def test_a_lexicon_of_many_names_finds_each_of_them() -> None:
    names = [f"n{number} of {number % 7} b{number}" for number in range(40_000)]  # hashed in several parts
    found = Lexicon.of([shape(name) for name in names])
    text = "\0".join(names[::-1])
    folded = fold(text)
    owner, first, last = found.find(folded, np.ones(len(folded.codes) + 1, dtype=bool))
    assert owner.tolist() == list(range(40_000))[::-1]
    assert [text[start:end] for start, end in zip(first.tolist(), last.tolist(), strict=True)] == names[::-1]
