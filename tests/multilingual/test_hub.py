"""Datasets of Hugging Face's as texts of a language and as pairs, from folders: no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kelm import cli
from kelm.errors import FormatError, InputError, RecipeError
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from multilingual.corpora.parallel import parallel_text, translations
from multilingual.corpora.sampling import monolingual_text, texts_of

EN = [f"the cat number {number} is here" for number in range(40)]
SW = [f"paka namba {number} yuko hapa" for number in range(40)]


def folder(path: Path, columns: Mapping[str, Any], part: str = "train") -> str:
    (path / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path / "data" / f"{part}-00000-of-00001.parquet")
    return f"hf:{path}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_texts_of_a_dataset_are_mixed_with_files_and_go_on_where_they_were(tmp_path: Path) -> None:
    named = folder(tmp_path / "swahili", {"text": SW})
    (tmp_path / "en.txt").write_text("\n".join(EN) + "\n")
    words = vocabulary.train(EN + SW, 80, "bpe")
    config = EncoderConfig(family="xlm-roberta", vocab_size=words.vocabulary_size, pad_token_id=words.pad)
    corpus = monolingual_text({"en": str(tmp_path / "en.txt"), "sw": named}, tokenizer=words, config=config, alpha=1.0)
    given = list(corpus.stream())
    assert sorted(text.text for text, _ in given) == sorted(EN + SW)
    rest = [text.text for text, _ in corpus.stream(start=given[9][1])]
    assert rest == [text.text for text, _ in given[10:]]


@pytest.mark.parametrize("nested", [True, False])
def test_pairs_lie_in_a_column_of_translations_or_in_two(nested: bool, tmp_path: Path) -> None:
    both = [{"en": one, "sw": other} for one, other in zip(EN, SW, strict=True)]
    named = folder(tmp_path / "pairs", {"translation": both} if nested else {"en": EN, "sw": SW, "id": range(40)})
    found = [(text.text, text.pair) for text, _ in translations(named, ["en", "sw"]).stream()]
    assert found == list(zip(EN, SW, strict=True))
    back = [(text.text, text.pair) for text, _ in translations(named, ["sw", "en"]).stream()]
    assert back == [(other, one) for one, other in found]
    words = vocabulary.train(EN + SW, 80, "bpe")
    config = EncoderConfig(family="xlm-roberta", vocab_size=words.vocabulary_size, pad_token_id=words.pad)
    assert len(list(parallel_text({"en-sw": named}, tokenizer=words, config=config).stream())) == 40


def test_a_part_is_named_behind_the_configuration(tmp_path: Path) -> None:
    folder(tmp_path / "swahili", {"text": SW})
    named = folder(tmp_path / "swahili", {"text": SW[:3]}, "test")
    assert [text.text for text, _ in texts_of({"sw": f"{named}::test"})["sw"].stream()] == SW[:3]
    assert cli.run(["text", "report", "--text", f"sw={named}::test", "--quiet"]) == 0


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    named = folder(tmp_path / "swahili", {"text": SW})
    with pytest.raises(RecipeError, match="cannot be opened"):
        texts_of({"sw": f"{named}::nothing"})
    with pytest.raises(FormatError, match=r'no such column.*Did you mean "text"'):
        texts_of({"sw": named}, field="texts")
    with pytest.raises(FormatError, match="no such column"):
        translations(named, ["en", "sw"])
    with pytest.raises(InputError, match="names no dataset"):
        texts_of({"sw": "hf:a:b:c:d"})
