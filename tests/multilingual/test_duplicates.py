"""Duplicates of texts and near ones against exact counting."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.data.corpus import Text
from multilingual.corpora.duplicates import _Seen, estimated
from multilingual.corpora.filter import (
    Clean,
    Duplicates,
    Length,
    NearDuplicates,
    Report,
    filtered,
)

# Duplicates


@settings(deadline=None)
@given(st.lists(st.text("ab", max_size=3)), st.lists(st.text("ab", max_size=3)))
def test_the_first_of_equal_texts_stays(first: list[str], second: list[str]) -> None:
    judge = Duplicates().begin()
    found = [*judge([*map(Text, first)]), *judge([*map(Text, second)])]
    seen: set[str] = set()
    for text, reason in zip(first + second, found, strict=True):
        assert reason == ("duplicate" if text in seen else "")
        seen.add(text)


def test_duplicates_are_found_over_many_batches_as_a_set_finds_them() -> None:
    drawn = random.Random(0)
    texts = [Text(str(drawn.randrange(8_000)), number=number) for number in range(20_000)]
    first: dict[str, Text] = {}
    for text in texts:
        first.setdefault(text.text, text)
    assert list(filtered(texts, [Duplicates()])) == list(first.values())


def test_a_pass_begins_without_a_memory() -> None:
    step = Duplicates()
    assert [len(list(filtered([Text("a")], [step]))) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("kind", [Duplicates, NearDuplicates])
@pytest.mark.parametrize(("side", "kept"), [("both", [0, 1, 2]), ("first", [0, 2]), ("second", [0, 1])])
def test_of_pairs_the_side_that_is_asked_for_counts(kind: Any, side: Any, kept: list[int]) -> None:
    pairs = [("a house", "ein Haus"), ("a house", "das Gebäude"), ("a building", "ein Haus"), ("a house", "ein Haus")]
    texts = [Text(*pair, number) for number, pair in enumerate(pairs)]
    assert [text.number for text in filtered(texts, [kind(side=side)])] == kept


def test_where_a_text_ends_matters() -> None:
    assert len({Duplicates().key(text) for text in (Text("ab", "c"), Text("a", "bc"), Text("abc"))}) == 3


def test_half_a_surrogate_is_no_obstacle() -> None:
    assert len(list(filtered([Text("a\ud83d")] * 2, [Clean(), Length(), Duplicates(), NearDuplicates()]))) == 1


def test_keys_are_the_same_in_every_run() -> None:
    assert Duplicates().key(Text("a cat")) == 11_735_574_737_183_569_255


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=8), max_size=30), st.lists(st.integers(0, 2**64 - 1)))
def test_numbers_that_were_added_are_held_and_no_others(batches: list[list[int]], asked: list[int]) -> None:
    seen, whole = _Seen(), [number for batch in batches for number in batch]
    for batch in batches:
        seen.add(np.array(batch, np.uint64))
    assert len(seen) == len(whole)
    assert all(len(longer) > 2 * len(shorter) for longer, shorter in zip(seen.runs, seen.runs[1:], strict=False))
    asked += whole
    assert seen.holds(np.array(asked, np.uint64)).tolist() == [number in set(whole) for number in asked]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**32 - 1))), st.lists(st.integers(0, 5)))
def test_lower_halves_are_found_by_their_upper_half(pairs: list[tuple[int, int]], asked: list[int]) -> None:
    seen = _Seen()
    for upper, lower in pairs:
        seen.add(np.array([upper << 32 | lower], np.uint64))
    expected = {
        place: {lower for upper, lower in pairs if upper == one}
        for place, one in enumerate(asked)
        if any(upper == one for upper, _ in pairs)
    }
    assert seen.beginning(np.array(asked, np.uint64)) == expected


def test_a_text_takes_from_eight_to_sixteen_bytes() -> None:
    step, count = Duplicates(), 200_000
    judge = step.begin()
    tracemalloc.start()
    for at in range(0, count, 1000):
        judge([Text(str(number)) for number in range(at, at + 1000)])
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held <= 9 * count and most <= 17 * count


# Near duplicates


def shingles(text: str, width: int, words: bool = False) -> set[Any]:
    units = tuple(text.casefold().split()) if words else " ".join(text.casefold().split())
    return {units[at : at + width] for at in range(max(1, len(units) - width + 1))}


def jaccard(one: str, other: str, width: int = 5, words: bool = False) -> float:
    first, second = shingles(one, width, words), shingles(other, width, words)
    return len(first & second) / len(first | second)


def changed(text: str, times: int, drawn: random.Random) -> str:
    words = text.split()
    for _ in range(times):
        words[drawn.randrange(len(words))] = "".join(drawn.choices("abcdefgh", k=5))
    return " ".join(words)


def sentences(count: int, drawn: random.Random, words: int = 30) -> Iterator[str]:
    vocabulary = ["".join(drawn.choices("abcdefghijkl", k=drawn.randint(2, 8))) for _ in range(2000)]
    for _ in range(count):
        yield " ".join(drawn.choices(vocabulary, k=words))


@pytest.mark.parametrize(("shingle", "width"), [("characters", 5), ("characters", 3), ("words", 2)])
def test_the_estimate_is_the_exact_similarity_within_its_error(shingle: Any, width: int) -> None:
    drawn = random.Random(0)
    apart = []
    for number, text in enumerate(sentences(300, drawn)):
        other = changed(text, number % 12, drawn)
        step = NearDuplicates(shingle=shingle, width=width, seed=number)
        minima = np.stack([step.minima(Text(one)) for one in (text, other)]).astype(np.uint8)
        exact = jaccard(text, other, width, shingle == "words")
        found = float(estimated(minima[0], minima[1:])[0])
        if exact == 1:
            assert found == 1
        else:
            apart.append((found - exact) / np.sqrt(exact * (1 - exact) / step.hashes))
    assert abs(np.mean(apart)) < 4 / np.sqrt(len(apart))  # no bias
    assert 0.85 < np.std(apart) < 1.15  # and the error that the docstring says


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_texts_meet_as_often_as_the_formula_says(threshold: float) -> None:
    drawn = random.Random(1)
    met, likely = [], []
    for number, text in enumerate(sentences(300, drawn)):
        other = changed(text, 3 + number % 10, drawn)
        step = NearDuplicates(threshold, seed=number)
        keys = step.keys(np.stack([step.minima(Text(one)) for one in (text, other)]))
        met.append(bool((keys[0] == keys[1]).any()))
        likely.append(step.meet(jaccard(text, other)))
    error = np.sqrt(np.sum(np.multiply(likely, np.subtract(1, likely))))
    assert abs(sum(met) - sum(likely)) < 4 * error


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8, 0.95, 1.0])
def test_bands_use_all_minima_and_let_texts_at_the_threshold_meet(threshold: float) -> None:
    step = NearDuplicates(threshold)
    assert step.rows * step.bands == step.hashes and step.size == 8 * step.bands + step.hashes
    assert step.meet(threshold) >= 0.99
    assert step.meet(0) == 0 and step.meet(1) == 1


@settings(deadline=None, max_examples=50)
@given(st.text(), st.integers(1, 7), st.integers(0, 9))
def test_minima_are_those_of_each_shingle_by_itself(text: str, width: int, seed: int) -> None:
    step = NearDuplicates(width=width, hashes=6, seed=seed)
    alone = [step.minima(Text(one)) for one in shingles(text, width) if one == " ".join(one.casefold().split())]
    whole = step.minima(Text(text))
    assert all((whole <= one).all() for one in alone)
    if len(alone) == len(shingles(text, width)):
        assert whole.tolist() == np.stack(alone).min(0).tolist()


def test_what_is_far_above_the_threshold_goes_and_what_is_far_below_stays() -> None:
    drawn = random.Random(2)
    texts: list[Text] = []
    for number, text in enumerate(sentences(1500, drawn)):
        texts += [Text(text, number=number), Text(changed(text, 1 if number % 2 else 9, drawn), number=number)]
    drawn.shuffle(texts)
    kept, report = [], Report()
    for text in filtered(texts, [NearDuplicates(0.7)], report):
        kept.append(text)
    by_number: dict[int, list[str]] = {}
    for text in texts:
        by_number.setdefault(text.number, []).append(text.text)
    times = Counter(text.number for text in kept)
    for number, (one, other) in by_number.items():
        exact = jaccard(one, other)
        if exact > 0.85:
            assert times[number] == 1
        elif exact < 0.55:
            assert times[number] == 2
    assert report.steps[0].dropped["near duplicate"] == len(texts) - len(kept) > 500


def test_case_and_blanks_do_not_count_and_other_texts_stay() -> None:
    texts = ["The house is BIG.", "the  house is big.", "The mouse is big.", "", " ", "Ä", "ä", "b"]
    assert [one.text for one in filtered(map(Text, texts), [NearDuplicates()])] == [
        "The house is BIG.",
        "The mouse is big.",
        "",
        "Ä",
        "b",
    ]


def test_a_long_text_is_compared_in_pieces() -> None:
    long = " ".join(sentences(60, random.Random(3)))
    step = NearDuplicates()
    minima = step.minima(Text(long))
    assert len(long) > 8000
    shingled = step.shingles(Text(long))
    drawn = np.random.default_rng(0).integers(0, 2**32, (2, 120), np.uint32)
    slow = [min((int(a | 1) * int(x) + int(b)) % 2**32 for x in shingled) for a, b in list(drawn.T)[:3]]
    assert minima[:3].tolist() == slow
