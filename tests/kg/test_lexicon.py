"""The lexicon: what only has the hash of a name is not the name, and texts that repeat themselves cost no more."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.errors import InputError
from kg.linking import lexicon
from kg.linking.alias import AliasLinker
from kg.linking.folding import fold
from kg.linking.lexicon import Lexicon, _made_powers, coded
from kg.linking.names import AliasOptions
from kg.linking.stretches import equal


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


@pytest.mark.parametrize("matches", ["longest", "all"])
@pytest.mark.parametrize(
    ("name", "text", "starts"),
    [
        ("ha " * 5_000, "ha " * 15_000, range(0, 30_001, 3)),
        ("Ha " * 34_000, "ha " * 35_000 + "HA " * 35_000, range(3 * 1_001, 3 * 36_001, 3)),
        ("哈" * 200, "哈" * 60_000, range(59_801)),
    ],
)
def test_a_text_that_repeats_itself_takes_little_memory(name, text, starts, matches, monkeypatch) -> None:
    lexicon = AliasLinker([(name, "Q1")]).names.lexicon
    folded, rounds = fold(text), []
    monkeypatch.setattr(
        Lexicon, "_owners", lambda self, hashes, of=Lexicon._owners: rounds.append(1) or of(self, hashes)
    )
    monkeypatch.setattr("kg.linking.alias.Mention", lambda start, end, *_: (start, end))  # "all" would copy gigabytes
    linker = AliasLinker([(name, "Q1"), ("other", "Q2"), ("of three words", "Q3")], AliasOptions(matches=matches))
    length, step = len(name.strip()), starts.step
    tracemalloc.start()
    try:
        lexicon.find(folded, np.ones(len(folded.codes) + 1, dtype=bool))
        assert tracemalloc.get_traced_memory()[1] < 400 * (len(text) + len(name))
    finally:
        tracemalloc.stop()
    assert len(rounds) == 1  # no name has fewer words
    if matches == "all" and len(text) < 70_000 and length < 1_000:
        assert linker.link(text) == [(start, start + length) for start in starts]
    if matches == "longest":
        each = range(starts[0], starts[-1] + 1, length + (step > 1))
        assert linker.link(text) == [(start, start + length) for start in each]


def test_names_in_names_are_found_in_a_text_that_repeats_itself() -> None:
    names = [(("ha " * number).strip(), f"Q{number}") for number in (1, 2, 7, 40)] + [("ha " * 40 + "he", "Q41")]
    text = "ha " * 100 + "he ho"
    linker = AliasLinker(names, AliasOptions(matches="all", min_length=1))
    expected = [
        (3 * first, 3 * (first + number) - 1)
        for first in range(101)
        for number in (41, 40, 7, 2, 1)
        if (first + number <= 100 if number < 41 else first == 60)
    ]
    assert [(mention.start, mention.end) for mention in linker.link(text)] == expected
    longest = AliasLinker(names, AliasOptions(min_length=1)).link(text)
    assert [mention.entity for mention in longest] == ["Q40", "Q40", *["Q7"] * 2, *["Q2"] * 3]


@settings(max_examples=200, deadline=None)
@given(
    text=st.text("ab", max_size=40),
    names=st.lists(st.text("ab", min_size=1, max_size=20), min_size=1, max_size=4),
    picks=st.lists(st.tuples(*[st.integers(0, 99)] * 4), max_size=30),
    repeated=st.sampled_from([0, 1, 16]),
)
def test_stretches_are_equal_where_their_letters_are(text, names, picks, repeated) -> None:
    begins = [sum(map(len, names[:number])) for number in range(len(names))]
    spans = []
    for one, start, skip, size in picks:
        name, start = one % len(names), start % (len(text) + 1)
        skip %= len(names[name])
        spans.append((start, begins[name] + skip, size % (min(len(text) - start, len(names[name]) - skip) + 1)))
    row, joined = (np.frombuffer(one.encode("utf-32-le"), np.uint32) for one in (text, "".join(names)))
    start, place, length = np.array(spans, np.int64).reshape(-1, 3).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kg.linking.stretches._REPEATED", repeated)
        patch.setattr("kg.linking.stretches._TOGETHER", 7)
        same = equal(row, start, joined, place, length)
    assert same.tolist() == [text[a : a + n] == "".join(names)[b : b + n] for a, b, n in spans]


def test_the_powers_of_a_long_text_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    linker = AliasLinker([("Paris", "Q90"), ("New York", "Q60")])
    text = "In Paris, " * 30 + "New York"
    expected = linker.link(text)
    made = []
    monkeypatch.setattr("kg.linking.lexicon._KEPT", 100)
    monkeypatch.setattr("kg.linking.lexicon._made_powers", lambda *of, make=_made_powers: made.append(of) or make(*of))
    assert linker.link(text) == linker.link(text) == expected
    assert len(made) == 2


def test_names_are_taken_in_portions_by_number_and_by_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [("a" * number, f"Q{number}") for number in range(3, 60)] + [("b", "Q1"), ("New York", "Q60")]
    whole = AliasLinker(names)
    for module in ("name_table", "lexicon"):
        monkeypatch.setattr(f"kg.linking.{module}._CHARACTERS", 50)
    parts = AliasLinker(names)
    assert list(parts.names) == list(whole.names)
    assert (parts.names.lexicon.keys == whole.names.lexicon.keys).all()
    assert (parts.names.lexicon.owner == whole.names.lexicon.owner).all()
    assert parts.dropped == whole.dropped == {"too short": 1}
