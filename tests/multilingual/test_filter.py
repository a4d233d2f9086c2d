"""Filters of texts and pairs: each rule by example and by a slow formula, duplicates against exact counting."""

from __future__ import annotations

import pickle
import random
import tracemalloc
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import FrozenInstanceError, dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kelm.data.corpus import InMemory, Text
from kelm.errors import CheckpointError, InputError
from multilingual.corpora import language_rules
from multilingual.corpora.duplicates import _Seen, estimated
from multilingual.corpora.filter import (
    Clean,
    Duplicates,
    InLanguage,
    Length,
    LengthRatio,
    NearDuplicates,
    Report,
    Same,
    Script,
    as_map,
    filtered,
)
from multilingual.corpora.language_rules import script_share
from multilingual.corpora.rules import cleaned
from multilingual.identify import Identified, IdentifierOptions, LanguageIdentifier
from multilingual.languages import script_of

ZWNJ, ZWJ, ZWSP = "\u200c", "\u200d", "\u200b"
FAMILY = f"👨{ZWJ}👩{ZWJ}👧"


@dataclass(frozen=True)
class ByWord:
    """Identifies by the first word, with the probability that follows it: "de 0.9 ..."."""

    def identify(self, texts: Iterable[str], threshold: float = 0.5) -> list[Identified]:
        words = [text.split() for text in texts]
        return [Identified(code if float(p) >= threshold else None, float(p)) for code, p, *_ in words]


def told(text: str, language: str = "en", pair: str | None = None, pair_language: str = "de") -> Text:
    fields = {"language": language, **({} if pair is None else {"pair_language": pair_language})}
    return Text(text, pair, fields=fields)


RULES = [
    Clean(),
    Length(2, 50),
    LengthRatio(),
    Same(),
    Script(languages=("en", "ru")),
    InLanguage(ByWord(), languages=("en", "de")),
]
STEPS = [*RULES, Duplicates(), NearDuplicates()]


# Clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cafe\u0301", "café"),
        (" a\t\u00a0 b\u3000", "a b"),
        ("a \r\n\n\u2028 b", "a\nb"),
        (f"\ufeffa{ZWSP}b\u2060\u00ad\x00", "ab"),
        ("\u202bשלום\u202c \u200fעולם\u2069", "שלום עולם"),
        (f"می{ZWNJ}خواهم", f"می{ZWNJ}خواهم"),
        (f"क्{ZWJ}ष ക്{ZWJ}", f"क्{ZWJ}ष ക്{ZWJ}"),
        (f"ab{ZWNJ}c{ZWJ}", "abc"),
        (f"می{ZWNJ}{ZWNJ}خ {ZWJ}a", f"می{ZWNJ}خ a"),
        (f"❤\ufe0f{ZWJ}🔥", f"❤\ufe0f{ZWJ}🔥"),
        (f"{FAMILY} 👧{ZWNJ}", f"{FAMILY} 👧"),
        (f"e{ZWSP}\u0301", "é"),
        ("ﬁ ½ Ａ", "ﬁ ½ Ａ"),
        ("\u2029 \u200e ", ""),
    ],
)
def test_what_cannot_be_seen_goes_and_joiners_stay_where_a_script_needs_them(text: str, expected: str) -> None:
    assert cleaned(text) == expected


def cleaned_slowly(text: str) -> str:
    gone = {*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFFF9, 0xFFFC)}
    gone |= {0xAD, 0x61C, 0x200B, 0xFEFF}
    seen = ""
    for character in text:
        control = unicodedata.category(character) == "Cc" and not character.isspace()
        if not control and ord(character) not in gone:
            seen += character
    kept = ""
    for place, character in enumerate(seen):
        before = place - 1
        while before >= 0 and unicodedata.category(seen[before])[0] == "M":
            before -= 1
        name = unicodedata.name(seen[before], "") if before >= 0 else ""
        if character not in (ZWNJ, ZWJ) or name.split(" ")[0] in ("ARABIC", "DEVANAGARI", "MALAYALAM"):
            kept += character
    return unicodedata.normalize("NFC", "\n".join(filter(None, (" ".join(one.split()) for one in kept.splitlines()))))


@given(
    st.text(st.sampled_from(f"ab é e\u0301\u0327 \t\n\x85\x00\x1c\u2028می\u0650क्ക്{ZWNJ}{ZWJ}{ZWSP}\u200f\ufeff\xad"))
)
@example(f"ک{ZWSP}{ZWNJ}a")
@example(f"\u094d\u0301{ZWNJ}")  # NFC changes the order of these marks
def test_cleaning_is_what_the_slow_rule_says_and_cleaning_again_changes_nothing(text: str) -> None:
    assert cleaned(text) == cleaned_slowly(text)
    assert cleaned(cleaned(text)) == cleaned(text)


@given(st.text())
def test_any_clean_text_is_clean(text: str) -> None:
    once = cleaned(text)
    assert cleaned(once) == once == unicodedata.normalize("NFC", once)
    assert not any(unicodedata.category(one) == "Cc" for one in once.replace("\n", ""))


def test_both_sides_are_cleaned_and_an_empty_one_goes() -> None:
    texts = [Text(" a ", "b\u00ad"), Text("a", ZWSP), Text(" ")]
    report = Report()
    assert list(filtered(texts, [Clean()], report)) == [Text("a", "b")]
    assert report.steps[0].dropped == {"empty": 2}


# Length, ratio, equal sides


@given(st.integers(0, 9), st.none() | st.integers(0, 9), st.integers(1, 5), st.integers(5, 8))
def test_all_sides_are_as_long_as_asked(first: int, second: int | None, shortest: int, longest: int) -> None:
    text = Text("x" * first, None if second is None else "x" * second)
    fits = all(shortest <= length <= longest for length in (first, second) if length is not None)
    assert (Length(shortest, longest).keep(text) == "") == fits


def test_a_megabyte_in_a_line_is_dropped_with_a_reason_and_not_shown_whole() -> None:
    report = Report()
    kept = list(filtered([Text("a b"), Text("ab " * 350_000, origin="x.txt:2")], [Clean(), Length()], report))
    assert [text.text for text in kept] == ["a b"]
    assert report.steps[1].dropped == {"too long": 1}
    ((shown,),) = report.steps[1].examples.values()
    assert shown.startswith("x.txt:2: ab ab") and len(shown) < 60


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 30))
def test_the_longer_side_is_longer_by_no_more_than_the_bounds(first: int, second: int, short: int) -> None:
    reason = LengthRatio(0.5, 3, short).keep(Text("x" * first, "y" * second))
    if max(first, second) <= short or (second and 0.5 <= first / second <= 3):
        assert reason == ""
    else:
        assert reason == ("first side longer" if not second or first / second > 3 else "second side longer")


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("A house", "Ein Haus", ""),
        ("A  House", "a house ", "both sides are the same"),
        ("Straße", "STRASSE", "both sides are the same"),
        ("2019", "2019.", ""),
    ],
)
def test_sides_that_differ_only_in_case_and_blanks_are_the_same(first: str, second: str, reason: str) -> None:
    assert Same().keep(Text(first, second)) == reason


def test_rules_for_pairs_let_single_texts_pass() -> None:
    assert LengthRatio().keep(Text("a" * 99)) == Same().keep(Text("a")) == ""


# Script


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("en", "It's 3 o'clock: café ﬁne ª", ""),
        ("ru", "Москва, 5 км", ""),
        ("ru", "Moscow", "other script"),
        ("ru", "Москва is big", "mixed scripts"),
        ("en", "12 + 3 = 15 !", "no letters"),
        ("ja", "東京タワーへ行く", ""),
        ("ja", "ｶﾀｶﾅ", ""),
        ("zh", "東京タワー", "mixed scripts"),
        ("zh-hant", "时间", ""),  # Hans and Hant are both Han
        ("ko", "서울", ""),
        ("hi", "दिल्ली में WiFi", ""),
        ("bn", "ঢাকা", ""),
        ("or", "ଓଡ଼ିଶା", ""),
        ("sr", "Beograd", "other script"),
        ("sr-latn", "Beograd", ""),
        ("haw", "Hawaiʻi ʻ ʻ ʻ ʻ ʻ", ""),
        ("en", "e\u0301\u0327\u0301\u0301", ""),
        ("x-klingon", "любой", ""),
    ],
)
def test_letters_are_in_the_script_of_the_language(language: str, text: str, reason: str) -> None:
    assert Script().keep(told(text, language)) == reason
    assert Script(languages=(language,)).keep(Text(text)) == reason


def test_each_side_is_held_against_its_own_language() -> None:
    pair = told("Moscow", "en", "Москва", "ru")
    assert Script().keep(pair) == ""
    assert Script(languages=("ru", "en")).keep(pair) == "other script"


def test_the_script_of_every_living_letter_is_what_unicode_says() -> None:
    regex = pytest.importorskip("regex")
    living = ["en", "ru", "el", "hy", "ka", "he", "ar", "ur", "hi", "bn", "pa", "gu", "or", "ta", "te", "kn", "ml"]
    living += ["si", "th", "lo", "bo", "my", "am", "km", "mn-mong", "chr", "iu", "dv", "nqo", "ii", "zh", "sat", "mni"]
    plane = "".join(chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000 and chr(code).isalpha())
    odd = ("MODIFIER", "TURNED", "ROMAN", "VERTICAL")  # a dozen signs, such as U+02C7, whose names tell no script
    pattern = {"Hans": "Han"}
    shared = regex.compile(r"\p{Script=Common}|\p{Script=Inherited}")
    for code in living:
        script = script_of(code)
        unicode = regex.compile(rf"\p{{Script={pattern.get(script, script)}}}")
        for letter in plane:
            found = language_rules._in_script(letter, script)
            if unicode.match(letter):
                assert found or unicodedata.name(letter).split(" ")[0] in odd, (script, letter)
            elif not shared.match(letter):
                plain = unicodedata.normalize("NFKC", letter)
                assert not found or unicode.match(plain) or "IDEOGRAPHIC" in unicodedata.name(letter), (script, letter)


@given(st.text(st.sampled_from("abШé1 ,ʻक्東\u0301")))
def test_the_share_is_that_of_letters_and_vowel_signs(text: str) -> None:
    letters = [one for one in text if one in "abШéक्東"]
    if letters:
        latin = sum(unicodedata.name(one).startswith("LATIN") for one in letters)
        assert script_share(text, "Latn") == pytest.approx(latin / len(letters))
    else:
        assert np.isnan(script_share(text, "Latn"))


# Identification


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (told("en 0.9 yes"), ""),
        (told("de 0.9"), "is de"),
        (told("deu_Latn 0.9", "de"), ""),
        (told("zho_Hans 0.9", "zh-hant"), ""),
        (told("no 0.9", "nb"), ""),
        (told("sh 0.9", "sr-latn"), ""),
        (told("als 0.9", "gsw"), ""),
        (told("als_Latn 0.9", "sq"), ""),
        (told("??? 0.9"), "is ???"),
        (told("x-klingon 0.9", "x-klingon"), ""),
        (told("x-elvish 0.9", "x-klingon"), "is x-elvish"),
        (told("en 0.4"), "unsure"),
        (told("en 0.9", pair="de 0.9"), ""),
        (told("de 0.9", pair="en 0.9"), "swapped"),
        (told("en 0.9", pair="en 0.9"), "second is en"),
        (told("fr 0.9", pair="en 0.9"), "first is fr"),
        (told("en 0.9", pair="de 0.4"), "second unsure"),
    ],
)
def test_texts_are_in_the_language_they_say(text: Text, reason: str) -> None:
    assert InLanguage(ByWord()).keep(text) == reason


def test_the_threshold_says_what_is_unsure() -> None:
    assert InLanguage(ByWord(), threshold=0.3).keep(told("en 0.4")) == ""
    assert InLanguage(ByWord(), threshold=0.99).keep(told("en 0.9")) == "unsure"


def test_an_identifier_is_asked_once_a_batch() -> None:
    asked = []

    class Counting(ByWord):
        def identify(self, texts: Iterable[str], threshold: float = 0.5) -> list[Identified]:
            asked.append(texts := list(texts))
            return super().identify(texts, threshold)

    list(filtered([told("en 1", pair="de 1")] * 1500, [InLanguage(Counting())]))
    assert [len(texts) for texts in asked] == [2048, 952]


@pytest.mark.parametrize("rule", [Script(), InLanguage(ByWord())])
def test_a_text_without_a_language_is_an_error_that_says_what_to_give(rule: Any) -> None:
    with pytest.raises(InputError, match=r"x\.txt:3.*languages") as caught:
        rule.keep(Text("en 1", origin="x.txt:3"))
    assert caught.value.field == "language"
    with pytest.raises(InputError, match="one for each side"):
        rule.keep(Text("en 1", "de 1", fields={"language": "en"}))


def test_a_model_that_is_not_there_is_an_error_of_its_path(tmp_path: Any) -> None:
    pytest.importorskip("fasttext", reason="fastText is not installed: pip install 'kelm[fasttext]'")
    with pytest.raises(CheckpointError, match=r"no\.bin"):
        InLanguage(tmp_path / "no.bin").keep(told("a"))


def test_fasttexts_model_is_opened_by_its_path(tmp_path: Any) -> None:
    pytest.importorskip("fasttext", reason="fastText is not installed: pip install 'kelm[fasttext]'")
    words = {"en": "the house is big and we go", "de": "das Haus ist groß und wir gehen"}
    pairs = [(text, code) for code, text in words.items()] * 40
    LanguageIdentifier.train(pairs, IdentifierOptions(epochs=20)).save(tmp_path / "own.bin")
    rule = pickle.loads(pickle.dumps(InLanguage(tmp_path / "own.bin")))
    texts = [told(words["en"]), told(words["de"]), told(words["de"], pair=words["en"])]
    assert rule.reasons(texts) == ["", "is de", "swapped"]


def test_a_path_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(LanguageIdentifier, "open", lambda path: opened.append(path) or ByWord())
    language_rules._opened.cache_clear()
    for _ in range(3):
        assert InLanguage("a.bin").reasons([told("en 1"), told("de 1")]) == ["", "is de"]
    language_rules._opened.cache_clear()
    assert opened == ["a.bin"]


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
    assert len(list(filtered([Text("a\ud83d")] * 2, STEPS[:4] + STEPS[-2:]))) == 1


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


# The whole


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_is_a_frozen_value_that_travels(step: Any) -> None:
    assert pickle.loads(pickle.dumps(step)) == step and hash(step) == hash(replace(step))
    with pytest.raises(FrozenInstanceError):
        step.side = "first"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_batch_is_judged_as_each_text_is(rule: Any) -> None:
    texts = [Text("en 0.9 hello"), Text("de 0.9 hallo", "en 1"), Text("en 1 э", "de 1 Э"), Text("fr 0.2", "ru 1 " * 30)]
    assert rule.reasons(texts) == [rule.keep(text) for text in texts]
    assert rule.reasons([]) == []


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Length(0), "shortest"),
        (lambda: Length(5, 4), "longest"),
        (lambda: LengthRatio(-1), "least"),
        (lambda: LengthRatio(2, 1), "most"),
        (lambda: LengthRatio(short=-1), "short"),
        (lambda: Script(0), "share"),
        (lambda: Script(1.1), "share"),
        (lambda: InLanguage("a.bin", 1.5), "threshold"),
        (lambda: Duplicates("third"), "side"),  # type: ignore[arg-type]
        (lambda: NearDuplicates(0), "threshold"),
        (lambda: NearDuplicates(width=0), "width"),
        (lambda: NearDuplicates(hashes=0), "hashes"),
        (lambda: NearDuplicates(seed=-1), "seed"),
        (lambda: NearDuplicates(side="third"), "side"),  # type: ignore[arg-type]
        (lambda: NearDuplicates(shingle="letters"), "shingle"),  # type: ignore[arg-type]
        (lambda: Duplicates("second").key(Text("a")), "side"),
    ],
)
def test_an_option_out_of_range_is_named(make: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.field == field


def test_each_step_sees_what_the_steps_before_it_kept_and_the_report_adds_up() -> None:
    texts = ["a  house", "a house", " ", "x", "Привет", "a tree"] * 400
    report = Report()
    steps = [Clean(), Length(2), Script(languages=("en",)), Duplicates()]
    kept = list(filtered(map(Text, texts), steps, report))
    assert [text.text for text in kept] == ["a house", "a tree"]
    assert [tally.seen for tally in report.steps] == [2400, 2000, 1600, 1200]
    assert [dict(tally.dropped) for tally in report.steps] == [
        {"empty": 400},
        {"too short": 400},
        {"other script": 400},
        {"duplicate": 1198},
    ]
    assert report.dropped == len(texts) - len(kept)
    assert report.steps[3].examples == {"duplicate": ["a house"] * 3}
    assert all(len(shown) == 3 for tally in report.steps for shown in tally.examples.values())


def test_the_report_is_a_table_of_steps_and_reasons() -> None:
    report = Report()
    texts = [Text("good", origin="a:1"), Text("x", origin="a:2"), Text("y" * 99, "z", origin="a:3"), Text("", "ü")]
    list(filtered(texts, [Length(2, 50), Same()], report))
    assert report.table() == [
        ["step", "seen", "dropped", "share", "examples"],
        ["length", "4", "3", "75.0%", ""],
        ["  too short", "", "3", "75.0%", f"a:2: x | a:3: {'y' * 37}... ||| z |  ||| ü"],
        ["same", "1", "0", "0.0%", ""],
    ]
    report = Report()
    list(filtered([], [Same()], report))
    assert report.table()[1:] == [["same", "0", "0", "", ""]]


def test_passes_of_the_same_steps_add_up_in_one_report_and_others_are_refused() -> None:
    report = Report()
    for _ in range(2):
        list(filtered([Text("a")], [Length(2)], report))
    assert report.steps[0].dropped == {"too short": 2}
    with pytest.raises(InputError, match=r"it is of length, and the steps are clean") as caught:
        filtered([Text("a")], [Clean()], report)
    assert caught.value.field == "report"


def test_two_steps_may_have_one_name() -> None:
    report = Report()
    list(filtered([Text("a"), Text("bbb")], [Length(2), Length(1, 2)], report))
    assert [dict(tally.dropped) for tally in report.steps] == [{"too short": 1}, {"too long": 1}]


def test_no_step_keeps_everything_in_order_and_what_else_a_text_says_stays() -> None:
    corpus = InMemory([Text(f"text {number}", fields={"id": number}) for number in range(3000)])
    texts = [text for text, _ in corpus.stream()]
    assert list(filtered(iter(texts), [])) == texts
    assert list(filtered(iter(texts), [Clean(), Duplicates()])) == texts


def test_texts_are_read_as_they_are_asked_for() -> None:
    read = Counter[str]()

    def endless(size: int) -> Iterator[Text]:
        while True:
            read["texts"] += 1
            yield Text("x" * size + str(read["texts"]))

    next(filtered(endless(10), [Clean()]))
    assert read.pop("texts") == 1024
    next(filtered(endless(400_000), [Same()]))
    assert read.pop("texts") == 3  # a million characters


# Other people's maps

COLUMNS = {"text": [" a  house", "x", "Привет мир", "a tree"], "id": [1, 2, 3, 4]}
MAP = as_map([Clean(), Length(2), Script(languages=("en",))])


def test_a_map_gives_the_rows_that_stay_with_all_their_columns() -> None:
    assert MAP(COLUMNS) == {"text": ["a house", "a tree"], "id": [1, 4]}
    assert MAP.kept(COLUMNS) == [True, False, False, True]
    assert MAP({"text": [], "id": []}) == {"text": [], "id": []}
    assert COLUMNS["text"][0] == " a  house"


def test_a_map_gives_what_filtered_gives() -> None:
    texts = [f"{word} " * times for word in ("a", "Привет", "house") for times in range(40)]
    expected = [text.text for text in filtered(map(Text, texts), MAP.rules)]
    assert MAP({"text": texts})["text"] == expected


def test_arrays_give_arrays_as_ray_wants_them() -> None:
    batch = {"text": np.array(COLUMNS["text"], object), "id": np.array([1, 2, 3, 4]), "vector": np.eye(4)}
    found = MAP(batch)
    assert all(isinstance(column, np.ndarray) for column in found.values())
    assert found["text"].tolist() == ["a house", "a tree"] and found["id"].tolist() == [1, 4]
    assert found["vector"].tolist() == np.eye(4)[[0, 3]].tolist()
    assert MAP({"text": np.array(["x"], object), "id": np.array([1])})["text"].shape == (0,)


def test_a_column_of_reasons_keeps_all_rows() -> None:
    found = as_map(MAP.rules, reason="why")(COLUMNS)
    assert found["why"] == ["", "length: too short", "script: other script", ""]
    assert found["id"] == [1, 2, 3, 4] and found["text"][:2] == ["a house", "x"]


def test_pairs_are_two_columns_and_their_languages_two_more() -> None:
    pairs = as_map([Clean(), InLanguage(ByWord())], text="source", pair="target")
    batch = {
        "source": ["en 1 ", "de 1", "en 1"],
        "target": ["de  1", "en 1", "de 0.1"],
        "language": ["en"] * 3,
        "pair_language": ["de"] * 3,
    }
    assert pairs(batch) == {"source": ["en 1"], "target": ["de 1"], "language": ["en"], "pair_language": ["de"]}
    assert replace(pairs, reason="why")(batch)["why"] == ["", "in language: swapped", "in language: second unsure"]


@pytest.mark.parametrize(
    ("batch", "message"),
    [({"texts": ["a"]}, 'Did you mean "texts"'), ({"text": ["a", None]}, "expected a string, found NoneType in row 1")],
)
def test_a_column_that_is_not_as_it_should_be_is_named(batch: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        MAP(batch)
    assert caught.value.field == "text"


def test_what_remembers_is_no_map() -> None:
    with pytest.raises(InputError, match=r"duplicates, near duplicates compares.*`filtered`"):
        as_map(STEPS)


def test_a_map_works_in_other_processes() -> None:
    with get_context("spawn").Pool(1) as pool:
        assert list(pool.imap(MAP, [COLUMNS, COLUMNS])) == [MAP(COLUMNS)] * 2


@pytest.mark.parametrize("processes", [None, 2])
def test_datasets_maps_and_filters_with_it(processes: int | None) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict(COLUMNS)
    options = {"batched": True, "num_proc": processes, "load_from_cache_file": False}
    assert data.map(MAP, **options).to_dict() == MAP(COLUMNS)
    assert data.filter(MAP.kept, **options).to_dict() == {"text": [" a  house", "a tree"], "id": [1, 4]}


def test_datasets_goes_on_after_a_batch_of_which_nothing_stays() -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"text": ["x", "y", "a tree"], "id": [1, 2, 3]})
    found = data.map(MAP, batched=True, batch_size=2)
    assert found.to_dict() == {"text": ["a tree"], "id": [3]}
    stream = data.to_iterable_dataset().map(MAP, batched=True, batch_size=2)
    assert list(stream) == [{"text": "a tree", "id": 3}]


def test_datasets_knows_the_same_map_again() -> None:
    fingerprint = pytest.importorskip("datasets.fingerprint")
    again = as_map([Clean(), Length(2), Script(languages=("en",))])
    assert fingerprint.Hasher.hash(again) == fingerprint.Hasher.hash(MAP)
    assert fingerprint.Hasher.hash(as_map([Clean(), Length(3)])) != fingerprint.Hasher.hash(MAP)
