"""Documents whose sentences change between two languages: which sentence is which, separators, borders, resuming."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kelm.data.corpus import Shard
from kelm.errors import InputError
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from multilingual.corpora.documents import Documents, translated_documents
from multilingual.corpora.parallel import translations
from multilingual.languages import Languages, code_of

ENGLISH = ["one a", "two b", "three c", "", "four d", "five e", "six f", "seven g"]
GERMAN = ["eins a", "zwei b", "drei c", "", "vier d", "fünf e", "sechs f", "sieben g"]
WORDS = vocabulary.train([*ENGLISH, *GERMAN], 90, "wordpiece", lower=True)


def written(folder: Path) -> list[str]:
    for code, lines in (("en", ENGLISH), ("de", GERMAN)):
        (folder / f"x.{code}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(folder / "x.en"), str(folder / "x.de")]


def joined(folder: Path, most: int = 16, order: str = "given") -> Documents:
    pairs = translations(written(folder), ["en", "de"])
    return Documents(pairs, most=most, order=order)  # type: ignore[arg-type]


def test_every_second_sentence_is_its_translation_and_a_blank_line_ends_a_document(tmp_path: Path) -> None:
    found = [text for text, _ in joined(tmp_path).stream()]
    assert [text.text.split("\n") for text in found] == [
        ["one a", "zwei b", "three c"],
        ["four d", "fünf e", "six f", "sieben g"],
    ]
    assert [text.fields["languages"] for text in found] == [["en", "de", "en"], ["en", "de", "en", "de"]]
    assert [text.number for text in found] == [0, 1]


def test_the_parts_of_a_long_document_go_on_changing_languages(tmp_path: Path) -> None:
    found = [text.text for text, _ in joined(tmp_path, most=3).stream()]
    assert found == ["one a\nzwei b\nthree c", "four d\nfünf e\nsix f", "sieben g"]


def test_half_of_the_documents_begin_in_the_second_language(tmp_path: Path) -> None:
    lines = [line for number in range(400) for line in (f"a {number}", f"b {number}", "")]
    for code in ("en", "de"):
        (tmp_path / f"y.{code}").write_text("".join(f"{line and code + ' ' + line}\n" for line in lines))
    pairs = translations([str(tmp_path / "y.en"), str(tmp_path / "y.de")], ["en", "de"])
    found = [text for text, _ in Documents(pairs, most=2, order="mixed").stream()]
    assert all(sorted(text.fields["languages"]) == ["de", "en"] for text in found)
    assert 150 < sum(text.fields["languages"][0] == "de" for text in found) < 250


@pytest.mark.parametrize("most", [2, 3, 16])
@pytest.mark.parametrize("shard", [Shard(), Shard(0, 2), Shard(1, 2)])
def test_a_stream_goes_on_after_any_document(tmp_path: Path, most: int, shard: Shard) -> None:
    corpus = joined(tmp_path, most, "mixed")
    given = list(corpus.stream(shard))
    for place, (_, cursor) in enumerate(given):
        rest = [text for text, _ in corpus.stream(shard, json.loads(json.dumps(cursor)))]
        assert rest == [text for text, _ in given[place + 1 :]]


def test_chapters_of_keyed_verses_are_documents(tmp_path: Path) -> None:
    keys = ["GEN.1.1", "GEN.1.2", "GEN.2.1", "EXO.2.1"]
    for code in ("en", "de"):
        (tmp_path / f"{code}.tsv").write_text("".join(f"{key}\t{code} {key}\n" for key in keys))
    pairs = translations([str(tmp_path / "en.tsv"), str(tmp_path / "de.tsv")], ["en", "de"])
    found = [text.text for text, _ in Documents(pairs, most=16, order="given").stream()]
    assert found == ["en GEN.1.1\nde GEN.1.2", "en GEN.2.1", "en EXO.2.1"]


def test_separators_stand_between_sentences_and_each_token_has_the_language_of_its_sentence(tmp_path: Path) -> None:
    config = EncoderConfig(vocab_size=WORDS.vocabulary_size, hidden_size=16, num_attention_heads=2)
    corpus = translated_documents({"en-de": written(tmp_path)}, tokenizer=WORDS, config=config, order="given")
    text, _ = next(iter(corpus.stream()))
    expected: list[int] = [WORDS.cls]
    languages: list[str] = ["en"]
    for sentence, code in (("one a", "en"), ("zwei b", "de"), ("three c", "en")):
        inside = WORDS.encode([sentence])[0].tokens[1:].tolist()  # with the separator that ends it
        expected += inside
        languages += [code] * len(inside)
    assert text.tokens.tolist() == expected
    told = text[Languages]
    spread = [""] * len(text)
    for first, last, code in zip(told.first.tolist(), told.last.tolist(), told.language.tolist(), strict=True):
        spread[first : last + 1] = [code_of(code)] * (last + 1 - first)
    assert spread == languages
    assert np.array_equal(text.words < 0, np.isin(text.tokens, [WORDS.cls, WORDS.sep]))


def test_a_long_document_is_split_with_its_separators_and_loses_no_word(tmp_path: Path) -> None:
    config = EncoderConfig(vocab_size=WORDS.vocabulary_size, hidden_size=16, num_attention_heads=2)
    options = {"tokenizer": WORDS, "config": config, "order": "given", "sentences": 4}
    whole = translated_documents({"en-de": written(tmp_path)}, **options)  # type: ignore[arg-type]
    split = translated_documents({"en-de": written(tmp_path)}, length=9, **options)  # type: ignore[arg-type]
    words = [
        [int(token) for text, _ in one.stream() for token in text.tokens[text.words >= 0]] for one in (whole, split)
    ]
    assert words[0] == words[1] and all(len(text) <= 9 for text, _ in split.stream())
    with pytest.raises(InputError, match="Give fewer"):
        translated_documents({"en-de": written(tmp_path)}, length=5, **options)  # type: ignore[arg-type]
