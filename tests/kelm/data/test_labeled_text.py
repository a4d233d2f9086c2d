"""Labeled texts from tables and JSON lines: what becomes of a good line, and what is said about a bad one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kelm.batch import Encoded
from kelm.data.corpus import Shard
from kelm.data.labeled_text import Label, labeled_text
from kelm.data.reader import Reader
from kelm.errors import FormatError, InputError, MissingPart
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer

CONFIG = EncoderConfig(hidden_size=16, num_attention_heads=2, max_position_embeddings=24)
ROWS = [("neutral", "a man sleeps", "a man dreams"), ("contradiction", "a man sleeps", "a man runs")]
LABELS = ["contradiction", "neutral"]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return vocabulary.train([f"{one} {other}" for _, one, other in ROWS], 60, "wordpiece", lower=True)


def texts(corpus: Reader) -> list[Encoded]:
    return [text for text, _ in corpus.stream()]


def labels_of(corpus: Reader) -> list[str]:
    return [LABELS[int(text[Label].label)] for text in texts(corpus)]


FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a table with a header": (
        "a.tsv",
        "gold\tone\tother\n" + "".join("\t".join(row) + "\n" for row in ROWS),
        {"text": "one", "pair": "other", "label": "gold"},
    ),
    "a table by numbers": (
        "a.tsv",
        "".join("\t".join(row) + "\n" for row in ROWS),
        {"text": 1, "pair": 2, "label": 0},
    ),
    "numbers below a header": (
        "a.txt",
        "gold\tone\tother\n" + "".join("\t".join(row) + "\n" for row in ROWS),
        {"text": 1, "pair": 2, "label": 0, "header": True},
    ),
    "JSON lines": (
        "a.jsonl",
        "".join(json.dumps({"a": one, "b": other, "label": label}) + "\n" for label, one, other in ROWS),
        {"text": "a", "pair": "b"},
    ),
}


@pytest.mark.parametrize(("name", "content", "options"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_form_gives_the_same_texts(
    name: str, content: str, options: dict[str, Any], compressed: bool, words: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / (f"{name}.gz" if compressed else name)
    path.write_bytes(gzip.compress(content.encode()) if compressed else content.encode())
    corpus = labeled_text(str(path), labels=LABELS, tokenizer=words, config=CONFIG, **options)
    assert [text.text for text in texts(corpus)] == [f"{one}\n{other}" for _, one, other in ROWS]
    assert [sorted(set(text.segments.tolist())) for text in texts(corpus)] == [[0, 1], [0, 1]]
    assert labels_of(corpus) == [label for label, _, _ in ROWS]


def test_labels_can_come_from_the_table_itself(words: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\n" + "".join(f"{label}\t{one}\n" for label, one, _ in ROWS))
    assert labels_of(labeled_text(str(path), labels=str(path), tokenizer=words, config=CONFIG)) == [
        label for label, _, _ in ROWS
    ]


def test_without_labels_the_column_is_not_even_asked_for(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\na man sleeps\n")
    [text] = texts(labeled_text(str(tmp_path / "a.tsv"), labels=None, tokenizer=words, config=CONFIG))
    with pytest.raises(MissingPart, match="Label"):
        text[Label]


def test_only_the_wanted_lines_are_read_and_keep_their_numbers(words: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    splits = ["train", "dev", "train", "test", "train"]
    path.write_text("split\tlabel\ttext\n" + "".join(f"{split}\tneutral\ta man\n" for split in splits))

    def opened(**only: str) -> Reader:
        return labeled_text(str(path), labels=LABELS, tokenizer=words, config=CONFIG, only=only)

    assert [text.number for text in texts(opened(split="train"))] == [0, 2, 4]
    assert [text.number for text, _ in opened(split="train").stream(Shard(1, 2))] == []
    given = list(opened(split="train").stream())
    assert [text.number for text, _ in opened(split="train").stream(start=given[1][1])] == [4]
    assert opened(split="train").fingerprint() != opened(split="dev").fingerprint()
    with pytest.raises(FormatError, match=r"a.tsv, field split: no line has 'tran' there. Did you mean \"train\"?"):
        texts(opened(split="tran"))


def test_numbers_choose_lines_of_a_table_too(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("fold\tlabel\ttext\n0\tneutral\ta man\n1\tneutral\ta man\n")
    found = labeled_text(str(tmp_path / "a.tsv"), labels=LABELS, tokenizer=words, config=CONFIG, only={"fold": 1})
    assert [text.number for text in texts(found)] == [1]


def test_a_long_text_is_cut(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("neutral\t" + "a man " * 40 + "\n")
    options: dict[str, Any] = {"labels": LABELS, "tokenizer": words, "config": CONFIG, "text": 1, "label": 0}
    assert [len(text) for text in texts(labeled_text(str(tmp_path / "a.tsv"), **options))] == [24]
    assert [len(text) for text in texts(labeled_text(str(tmp_path / "a.tsv"), length=10, **options))] == [10]


BAD: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "an unknown label": (
        "a.tsv",
        "label\ttext\nneutral\ta man\nnetural\ta man\n",
        {},
        'a.tsv, line 3, field label: "netural" is none of the 2 labels. Did you mean "neutral"?',
    ),
    "a blank label": ("a.tsv", "label\ttext\n \ta man\n", {}, "a.tsv, line 2, field label: ' ' is no name"),
    "a label by number": (
        "a.tsv",
        "neutral\ta man\ncat\ta man\n",
        {"text": 1, "label": 0},
        'a.tsv, line 2, field 0: "cat" is none of the 2 labels. Known: contradiction, neutral.',
    ),
    "no such column": (
        "a.tsv",
        "lable\ttext\n",
        {},
        'a.tsv, line 1, field label: no such column. Did you mean "lable"',
    ),
    "a column too few": ("a.tsv", "label\ttext\nneutral\n", {}, "a.tsv, line 2: expected 2 columns as in line 1"),
    "no such key": (
        "a.jsonl",
        '{"txt": "a", "label": "neutral"}\n',
        {},
        'a.jsonl, line 1, field text: the object lacks it. Did you mean "txt"?',
    ),
    "no name": (
        "a.jsonl",
        '{"text": "a man", "label": 1}\n',
        {},
        "a.jsonl, line 1, field label: 1 is no name. Give names as strings.",
    ),
}


@pytest.mark.parametrize(("name", "content", "options", "told"), BAD.values(), ids=BAD)
def test_a_bad_line_is_told_by_file_line_field_and_remedy(
    name: str, content: str, options: dict[str, Any], told: str, words: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(FormatError) as caught:
        texts(labeled_text(str(tmp_path / name), labels=LABELS, tokenizer=words, config=CONFIG, **options))
    assert told in str(caught.value)
    assert caught.value.remedy


def test_json_lines_have_keys_and_no_numbers(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"JSON lines have no column 0\. Give the key"):
        labeled_text(str(tmp_path / "a.jsonl"), labels=LABELS, tokenizer=words, config=CONFIG, text=0)


REAL: dict[str, tuple[str, list[str], dict[str, Any], int]] = {
    "hotel reviews in Chinese": (
        "classification/zh_chnsenticorp/dev.tsv.gz",
        ["0", "1"],
        {"text": "text_a"},
        1200,
    ),
    "tweets": ("classification/umsab/english.test.tsv.gz", ["0", "1", "2"], {"text": 1, "label": 0}, 870),
    "sentence pairs": (
        "nli/sick/sick.en-nl-ja.tsv.gz",
        ["entailment", "neutral", "contradiction"],
        {"text": "a_en", "pair": "b_en", "label": "label_en", "only": {"split": "trial"}},
        500,
    ),
    "sentence pairs in German": (
        "nli/xnli/de.dev.tsv.gz",
        ["entailment", "neutral", "contradiction"],
        {"text": 0, "pair": 1, "label": 2},
        250,
    ),
    "topics": (
        "classification/sib200/eng_Latn.tsv.gz",
        ["science/technology", "travel", "politics", "sports", "health", "entertainment", "geography"],
        {"label": "category", "only": {"split": "test"}},
        204,
    ),
}


@pytest.mark.parametrize(("name", "labels", "options", "count"), REAL.values(), ids=REAL)
def test_real_files_are_read_line_by_line(
    name: str, labels: list[str], options: dict[str, Any], count: int, data: Path, words: Tokenizer
) -> None:
    found = texts(labeled_text(str(data / name), labels=labels, tokenizer=words, config=CONFIG, **options))
    assert len(found) == count
    assert {int(text[Label].label) for text in found} == set(range(len(labels)))
