"""The study of TLM on two made-up languages without a common word: only translations can bring them together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kelm.data.corpus import Text
from kelm.errors import InputError
from multilingual.study.translation import Translation, TranslationOutcome, shuffled, table

ONE = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]
OTHER = [f"{a}{b}" for a in "klmnp" for b in "aeiou"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sentences of five words: each is one, two or three after the one before."""
    random = np.random.default_rng(0)
    for name, count in (("train", 3000), ("dev", 60), ("test", 60)):
        kinds = random.permutation(np.arange(count) % 75)
        rows = (kinds[:, None] // 3 + (kinds[:, None] % 3 + 1) * np.arange(5)) % len(ONE)
        for code, words in (("en", ONE), ("de", OTHER)):
            lines = "".join(" ".join(words[word] for word in row) + "\n" for row in rows.tolist())
            (tmp_path / f"{name}.{code}").write_text(lines)
    return tmp_path


def study(**changes: object) -> Translation:
    files = {name: {"en-de": (f"{name}.en", f"{name}.de")} for name in ("train", "dev", "test")}
    options: dict[str, object] = {
        **files,
        **{"pieces": 80, "kind": "bpe", "width": 64, "layers": 2, "seeds": (0,), "length": 16},
        **{"steps": 600, "tokens": 1024, "rate": 5e-3},
    }
    return Translation(**{**options, **changes})  # type: ignore[arg-type]


def test_translations_are_found_if_pairs_were_read_and_not_otherwise(data: Path, tmp_path: Path) -> None:
    report = study().run(data, tmp_path / "out", lambda said: None)
    rows = [[cell.strip() for cell in line.split("|")] for line in report.splitlines() if line.startswith("| ")]
    column = rows[0].index("en-de")
    found = {row[1]: float(row[column]) for row in rows[1:]}
    assert found["tlm"] > 0.2
    assert max(found["mlm"], found["shuffled"]) < 0.1
    again: list[str] = []
    assert study().run(data, tmp_path / "out", again.append) == report and not again


def test_languages_can_be_told(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    study(steps=3, arms=("tlm",), told=True, layout="running").run(data, tmp_path / "out", said.append)
    assert len(said) == 1 and said[0].startswith("tlm, seed 0")


def test_dealt_translations_are_those_of_the_same_languages() -> None:
    def pair(number: int, code: str) -> Text:
        return Text(f"en {number}", f"{code} {number}", fields={"language": "en", "pair_language": code})

    pairs = [pair(number, "de" if number % 2 else "fr") for number in range(40)]
    dealt = shuffled(pairs, 0)
    assert [one.text for one in dealt] == [one.text for one in pairs]
    assert all((one.pair or "").startswith(one.fields["pair_language"]) for one in dealt)
    assert sorted(one.pair or "" for one in dealt) == sorted(one.pair or "" for one in pairs)
    assert sum(one.pair == other.pair for one, other in zip(dealt, pairs, strict=True)) < 10


def test_the_report_pairs_seeds() -> None:
    outcomes = [
        TranslationOutcome(arm, seed, 2, [0.1, score], {"en-de": score}, 3.0)
        for arm, score in (("mlm", 0.2), ("tlm", 0.6))
        for seed in (0, 1)
    ]
    report = table(outcomes)
    assert report.startswith("Translations found, 2 seeds; of each pair after layer 2.")
    assert "| tlm - mlm | +0.000 ± 0.000 | +0.400 ± 0.000 | +0.400 ± 0.000 |" in report


def test_without_data_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of data"):
        study().run(None, tmp_path, print)
