"""Shared vocabularies: who is in the sample how often, what they cost, and how well they serve each language."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kelm import cli
from kelm.data.corpus import Corpus, Cursor, InMemory, Shard, Text
from kelm.errors import InputError
from kelm.text import tokenizer
from multilingual.corpora.sampling import Sampled
from multilingual.vocabulary import coverage, sample, shown, train


def parts(counts: dict[str, int]) -> dict[str, Corpus[Text]]:
    return {name: InMemory([Text(f"{name}{n}") for n in range(count)]) for name, count in counts.items()}


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_sample_has_of_each_language_what_the_formula_says(alpha: float) -> None:
    counts = {"a": 5000, "b": 500, "c": 20}
    drawn = list(sample(Sampled(parts(counts), alpha=alpha), 1000))
    total = sum(count**alpha for count in counts.values())
    for name, count in counts.items():
        of_language = [text for text in drawn if text.startswith(name)]
        assert len(of_language) == pytest.approx(1000 * count**alpha / total, abs=1)
        times = Counter(of_language)
        assert max(times.values()) - min(times.values()) <= 1  # repeated evenly
        places = sorted({int(text[1:]) for text in of_language})
        if len(places) > 1:
            gaps = [later - earlier for earlier, later in pairwise(places)]
            assert max(gaps) - min(gaps) <= 1 and places[-1] >= count - max(gaps) - 1  # from beginning to end


def test_bytes_are_counted_where_they_are_the_unit() -> None:
    texts = {"a": InMemory(["x" * 100] * 100), "b": InMemory(["y" * 10] * 100)}
    sizes = {
        unit: Counter(text[0] for text in sample(Sampled(texts, alpha=1.0, unit=unit), 100))  # type: ignore[arg-type]
        for unit in ("texts", "bytes")
    }
    assert sizes["texts"] == {"x": 50, "y": 50}
    assert sizes["bytes"]["x"] == pytest.approx(50, abs=1) and sizes["bytes"]["y"] == pytest.approx(50, abs=1)
    alike = Counter(text[0] for text in sample(Sampled(texts, alpha=0.0, unit="bytes"), 100))
    assert alike["y"] == pytest.approx(10 * alike["x"], rel=0.05)


class Endless(Corpus[Text]):
    """More text than would be held: 200 MB."""

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        for number in range(20_000):
            yield Text(f"{number} " + "word " * 2000), number + 1

    def fingerprint(self) -> str:
        return ""


def test_only_the_sample_is_in_memory() -> None:
    sampled = Sampled({"en": Endless(), "de": InMemory(["ein wort"] * 50)}, alpha=1.0)
    tracemalloc.start()
    drawn = list(sample(sampled, 100))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 95 <= len(drawn) <= 105
    assert most < 3 * sum(map(len, drawn)) < 10_000_000


ENGLISH = ["the cat sat on the mat", "a dog ran after the cat", "the mat is on the floor"] * 40
SWAHILI = ["paka alikaa juu ya mkeka", "mbwa alimkimbiza paka", "mkeka uko sakafuni"]


def test_rare_languages_are_served_better_the_smaller_alpha_is() -> None:
    texts: dict[str, Corpus[Text]] = {"en": InMemory(ENGLISH), "sw": InMemory(SWAHILI)}
    found = {}
    for alpha in (0.0, 1.0):
        words = train(texts, 70, "bpe", alpha=alpha)
        [english, swahili] = coverage(words, texts)
        assert english.language == "en" and english.fertility is not None and swahili.fertility is not None
        found[alpha] = (english.fertility, swahili.fertility)
    assert found[0.0][1] < found[1.0][1] and found[0.0][0] > found[1.0][0]


def test_coverage_counts_pieces_words_and_what_nothing_spells() -> None:
    words = train({"en": InMemory(ENGLISH)}, 60, "bpe", coverage=1.0)
    given = {"en": ["the cat Ω", "mat"], "zh": ["猫"], "x-none": []}
    texts: dict[str, Corpus[Text]] = {name: InMemory(some) for name, some in given.items()}
    english, chinese, nothing = coverage(words, texts)
    pieces = sum(int((text.words >= 0).sum()) for text in words.encode(["the cat Ω", "mat"]))
    assert english.unknown == pytest.approx(1 / 10) and english.fertility == pytest.approx(pieces / 4)
    assert english.characters == pytest.approx(10 / pieces)
    assert chinese.fertility is None and chinese.unknown == 1.0
    assert nothing.texts == 0
    rows = shown([english, chinese])
    assert rows[0][0] == "language" and {row[0] for row in rows[1:]} == {"en", "zh"} and "100.00%" in rows[1] + rows[2]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "en.txt").write_text("\n".join(ENGLISH))
    (tmp_path / "sw.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in SWAHILI))
    return tmp_path


def told(folder: Path) -> list[str]:
    return ["--text", f"eng={folder}/en.txt", "--text", f"Swahili={folder}/sw.jsonl"]


def test_the_command_writes_a_tokenizer_and_shows_whom_it_serves(files: Path, capsys: Any) -> None:
    out = files / "words"
    assert cli.run(["vocab", "train", *told(files), "--size", "70", "--kind", "bpe", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "language" in said and "sw" in said and "70 pieces" in said
    assert tokenizer.open(out).vocabulary_size == 70
    assert cli.run(["vocab", "report", str(out), *told(files), "--json"]) == 0
    assert {one["language"] for one in json.loads(capsys.readouterr().out)} == {"en", "sw"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--kind", "words"], "is none of unigram"),
        (["--unit", "lines"], "is none of texts"),
        (["--text", "en"], "names no file"),
        (["--text", "englsh=x.txt"], "Did you mean"),
        (["--sample", "0"], "Give 1 or more texts"),
        (["--size", "9000"], "cannot fill a vocabulary"),
    ],
)
def test_what_is_wrong_is_told(changed: list[str], said: str, files: Path, capsys: Any) -> None:
    assert cli.run(["vocab", "train", *told(files), *changed, "--out", str(files / "words")]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (files / "words").exists()


def test_a_folder_that_is_there_is_not_written_over(files: Path, capsys: Any) -> None:
    (files / "words").mkdir()
    assert cli.run(["vocab", "train", *told(files), "--out", str(files / "words")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_part_without_text_is_told() -> None:
    with pytest.raises(InputError, match='"sw" has no text'):
        train({"en": InMemory(ENGLISH), "sw": InMemory([])}, 60)
