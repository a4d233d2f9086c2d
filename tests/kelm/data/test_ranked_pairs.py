"""Questions and answers from tables and JSON lines: their groups, their relevance, and what is said of bad lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kelm.batch import Encoded
from kelm.data.ranked_pairs import Groups, Relevance, ranked_pairs
from kelm.errors import FormatError, MissingPart
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer

CONFIG = EncoderConfig(hidden_size=16, num_attention_heads=2, max_position_embeddings=24)
ROWS = [("who ?", "he did", 1), ("who ?", "it is", 0), ("what ?", "it is", 1), ("who ?", "no", 0)]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return vocabulary.train([f"{question} {answer}" for question, answer, _ in ROWS], 40, "wordpiece", lower=True)


def read(path: Path, words: Tokenizer, **options: Any) -> list[Encoded]:
    return [text for text, _ in ranked_pairs(str(path), tokenizer=words, config=CONFIG, **options).stream()]


def groups(texts: list[Encoded]) -> list[int]:
    return [int(text[Groups].group) for text in texts]


FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a table": (
        "a.tsv",
        "question\tanswer\tlabel\n" + "".join(f"{q}\t{a}\t{label}\n" for q, a, label in ROWS),
        {},
    ),
    "a table by numbers": (
        "a.tsv",
        "".join(f"{label}\t{q}\t{a}\n" for q, a, label in ROWS),
        {"question": 1, "answer": 2, "relevance": 0},
    ),
    "JSON lines": (
        "a.jsonl",
        "".join(json.dumps({"question": q, "answer": a, "label": bool(label)}) + "\n" for q, a, label in ROWS),
        {},
    ),
}


@pytest.mark.parametrize(("name", "content", "options"), FORMS.values(), ids=FORMS)
def test_equal_questions_are_a_group_wherever_they_stand(
    name: str, content: str, options: dict[str, Any], words: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    texts = read(tmp_path / name, words, **options)
    assert [text.text for text in texts] == [f"{question}\n{answer}" for question, answer, _ in ROWS]
    assert [bool(text[Relevance].relevant) for text in texts] == [True, False, True, False]
    who, other, what, last = groups(texts)
    assert who == other == last != what


def test_a_column_may_tell_questions_apart(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("7\twho ?\thim\t1\n8\twho ?\thim\t1\n7\twho else ?\tno\t0\n")
    one, other, again = groups(read(tmp_path / "a.tsv", words, group=0, question=1, answer=2, relevance=3))
    assert one == again != other


def test_without_relevance_its_column_may_be_missing(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("question\tanswer\nwho ?\the did\n")
    [text] = read(tmp_path / "a.tsv", words, relevance=None)
    assert groups([text])
    with pytest.raises(MissingPart, match="Relevance"):
        text[Relevance]


@pytest.mark.parametrize(
    ("name", "said", "found"), [("a.tsv", "yes", "'yes'"), ("a.jsonl", "2", "2"), ("a.jsonl", "1.0", "1.0")]
)
def test_another_relevance_than_0_or_1_is_told(
    name: str, said: str, found: str, words: Tokenizer, tmp_path: Path
) -> None:
    table, lines = (
        f"question\tanswer\tlabel\nwho ?\thim\t{said}\n",
        f'{{"question": "a", "answer": "b", "label": {said}}}\n',
    )
    (tmp_path / name).write_text(lines if name.endswith("jsonl") else table)
    with pytest.raises(FormatError) as caught:
        read(tmp_path / name, words)
    line = 1 if name.endswith("jsonl") else 2
    assert f"{name}, line {line}, field label: expected 0 or 1, found {found}. Give 1 to right" in str(caught.value)
