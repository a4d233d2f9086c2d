"""The study of sharing on two made-up languages that are spelled alike in part: arms, controls, table and plot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multilingual.study.sharing import ARMS, Sharing, SharingOutcome, table
from multilingual.study.translation import Translation

ONE = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]
OTHER = [f"{a}{b}" for a in "klmnp" for b in "aeiou"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sentences of five words, each the next but one of a circle; a third of the words is common to both languages."""
    random = np.random.default_rng(0)
    other = [ONE[place] if place % 3 == 0 else word for place, word in enumerate(OTHER)]
    for name, count in (("train", 1500), ("test", 40)):
        rows = (random.integers(0, len(ONE), count)[:, None] + 2 * np.arange(5)) % len(ONE)
        for code, words in (("en", ONE), ("de", other)):
            lines = "".join(" ".join(words[word] for word in row) + "\n" for row in rows.tolist())
            (tmp_path / f"{name}.{code}").write_text(lines)
    pairs = zip(ONE, other, strict=True)
    (tmp_path / "en-de.tsv").write_text("".join(f"{one}\t{two}\n" for one, two in pairs if one != two))
    return tmp_path


def study(**changes: object) -> Sharing:
    files = {name: {"en-de": (f"{name}.en", f"{name}.de")} for name in ("train", "test")}
    sizes = {"pieces": 80, "kind": "bpe", "width": 64, "layers": 2, "length": 16, "tokens": 512, "rate": 5e-3}
    texts = Translation(**files, **sizes, steps=int(str(changes.pop("steps", 3))))  # type: ignore[arg-type]
    options = {"texts": texts, "switch": {"en-de": "en-de.tsv"}, "seeds": (0,), **changes}
    return Sharing(**options)  # type: ignore[arg-type]


def test_what_is_shared_brings_languages_together_and_nothing_shared_does_not(data: Path, tmp_path: Path) -> None:
    arms = ("default", "extra", "own_all")
    study(arms=arms, steps=150).run(data, tmp_path / "out", lambda said: None)
    lines = (tmp_path / "out" / "outcomes.jsonl").read_text().splitlines()
    found = {one["arm"]: max(one["found"]) for line in lines for one in json.loads(line)}
    assert found["default"] > 0.15 > 0.1 > found["own_all"]
    assert found["extra"] > 0.15


def test_every_arm_runs_goes_on_where_it_was_and_is_told(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = study().run(data, tmp_path / "out", said.append)
    assert [line.split(",")[0] for line in said] == list(ARMS)
    assert all(f"\n| {arm} |" in report for arm in ARMS)
    assert "| own_1 - default |" in report
    assert (tmp_path / "out" / "sharing.svg").read_text().count("</svg>") == 1
    again: list[str] = []
    assert study().run(data, tmp_path / "out", again.append) == report and not again


def test_the_table_has_the_differences_of_each_arm_to_the_default() -> None:
    outcomes = [SharingOutcome("default", 0, [0.5, 0.4], [0.9, 0.8], 2.0, {"de": 0.6})]
    outcomes.append(SharingOutcome("own_1", 0, [0.2, 0.3], [0.5, 0.4], 2.5, {"de": 0.4}))
    rows = [[cell.strip() for cell in line.split("|")][1:-1] for line in table(outcomes).splitlines() if "|" in line]
    assert rows[0] == ["arm", "found, best layer", "CKA 0", "CKA 1", "masked words (loss)", "tags, de"]
    assert rows[-1] == ["own_1 - default", "-0.200", "-0.400", "-0.400", "+0.500", "-0.200"]
