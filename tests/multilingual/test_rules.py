"""Rules for texts and pairs, each by example and by a slow formula."""

from __future__ import annotations

import pickle
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kelm.data.corpus import Text
from kelm.errors import CheckpointError, InputError
from multilingual.corpora import language_rules
from multilingual.corpora.filter import (
    Clean,
    InLanguage,
    Length,
    LengthRatio,
    Report,
    Same,
    Script,
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
    assert Script(languages=("ru", "en")).keep(pair) == "swapped"
    assert Script(languages=("ru", "el")).keep(pair) == "other script"


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
