"""The study of bootstrapping: how verses are divided, what each arm learns, that it goes on where it was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kelm.errors import InputError
from multilingual.study.bootstrap import (
    ARMS,
    BOOKS,
    LABELS,
    USES,
    Bootstrap,
    BootstrapOutcome,
    as_wrong,
    divided,
    read,
    table,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two made-up Bibles of 24 books: each kind of book has words of its own, and some are common to all."""
    random = np.random.default_rng(0)
    for code, consonants in (("one", "bcdfgh"), ("two", "klmnpr")):
        lines = []
        for kind, books in enumerate(BOOKS.values()):
            own = [f"{consonants[kind]}{vowel}" for vowel in "aeiou"]
            for book in books.split()[:4]:
                for chapter in range(1, 11):
                    for verse in range(1, 6):
                        words = random.choice(own, 3).tolist() + random.choice(["xa", "xe", "xo"], 2).tolist()
                        lines.append(f"{book}.{chapter}.{verse}\t{' '.join(words)}\n")
        (tmp_path / f"{code}.tsv").write_text("".join(lines))
    return tmp_path


def study(**changes: object) -> Bootstrap:
    options: dict[str, object] = {
        **{"source": "one.tsv", "target": "two.tsv", "seeds": (0,), "pieces": (80, 31), "width": 64, "layers": 1},
        **{"steps": 4, "tokens": 256, "tuning_steps": 4, "words": 16, "inner": 24, "depth": 2, "lm_steps": 4},
        **{"label_steps": 4, "room": 16},
    }
    return Bootstrap(**{**options, **changes})  # type: ignore[arg-type]


def test_whole_chapters_of_every_kind_of_book_are_divided_and_each_verse_is_used_once(data: Path) -> None:
    verses = read(data, "one.tsv", "two.tsv")
    assert len(verses) == 6 * 4 * 50
    parts = divided(verses, 0)
    assert sum(len(part) for part in parts.values()) == len(verses)
    used = Counter(verse for part in parts.values() for verse in part)
    assert used == Counter(verses.values())
    for use, share in USES.items():
        assert len(parts[use]) == pytest.approx(share * len(verses), rel=0.01)
        assert {verse[0] for verse in parts[use]} == set(LABELS)
    chapters = {verse: name.rpartition(".")[0] for name, verse in verses.items()}
    owner: dict[str, set[str]] = {}
    for use, part in parts.items():
        for verse in part:
            owner.setdefault(chapters[verse], set()).add(use)
    # the last verse of equal ones decides about a chapter's name, so few may seem to be in two
    assert sum(len(uses) == 1 for uses in owner.values()) / len(owner) > 0.95
    assert divided(verses, 0) == parts != divided(verses, 1)
    (data / "none.tsv").write_text("XXX.1.1\tword\n")
    with pytest.raises(InputError, match="share no verse"):
        read(data, "one.tsv", "none.tsv")


def test_a_student_learns_true_labels_and_none_from_shuffled_ones(data: Path, tmp_path: Path) -> None:
    changes = {"arms": ("shuffled", "supervised"), "lm_steps": 40, "label_steps": 200, "layer_decay": 1.0}
    study(**changes, label_rate=1e-2).run(data, tmp_path / "out", lambda said: None)
    lines = (tmp_path / "out" / "outcomes.jsonl").read_text().splitlines()
    found = {
        line.split('"arm": "')[1].split('"')[0]: float(line.split('"target": ')[1].split(",")[0]) for line in lines
    }
    assert found["supervised"] > 0.9
    assert found["shuffled"] < 0.4


def test_every_arm_runs_and_goes_on_where_it_was(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = study().run(data, tmp_path / "out", said.append)
    assert [line.split(",")[0] for line in said] == list(ARMS)
    assert "; source" in said[0]
    again: list[str] = []
    assert study().run(data, tmp_path / "out", again.append) == report and not again


def test_noise_is_as_much_as_the_teachers_and_falls_anywhere() -> None:
    gold = [LABELS[number % 6] for number in range(600)]
    answers = [LABELS[0] if label == LABELS[1] else label for label in gold]  # all of one kind wrong, in one way
    made = as_wrong(gold, answers, 0)
    wrong = [(one, other) for one, other in zip(gold, made, strict=True) if one != other]
    assert len(wrong) == 100
    assert {one for one, _ in wrong} == set(LABELS) == {other for _, other in wrong}
    assert made == as_wrong(gold, answers, 0) != as_wrong(gold, answers, 1)


def test_the_table_tells_the_students_gain_over_its_teacher() -> None:
    outcomes = [BootstrapOutcome("teacher", 0, 0.5, 0.5, 0.7, 0.52), BootstrapOutcome("student", 0, 0.6, 0.55)]
    assert "| student - teacher | +0.100 | +0.050 |" in table(outcomes)
