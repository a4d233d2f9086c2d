"""The study of TLM on two made-up languages without a common word: only translations can bring them together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kelm.data.corpus import Text
from kelm.errors import InputError
from multilingual.study.translation import Translation, TranslationOutcome, shuffled, table
from multilingual.study.zero_shot import ZeroShot

ONE = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]
REST = "\t_" * 6
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
        **{"steps": 300, "tokens": 1024, "rate": 8e-3},
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


def test_sentences_put_together_from_their_translations_are_found_and_tags_are_asked_for_in_the_other_language(
    data: Path, tmp_path: Path
) -> None:
    for code, words in (("en", ONE), ("de", OTHER)):
        tags = ["NOUN" if number % 2 else "VERB" for number in range(len(words))]
        rows = [f"1\t{word}\t_\t{tag}" for word, tag in zip(words, tags, strict=True)]
        lines = [f"1-2\tboth\t_\t_{REST}", *(f"{row}{REST}\n" for row in rows)]
        (data / f"{code}.conllu").write_text("\n".join(lines) + "\n")
    asked = ZeroShot(train="en.conllu", test={"en": "en.conllu", "de": "de.conllu"}, steps=60, tokens=256, rate=5e-3)
    (data / "known.tsv").write_text("".join(f"{one}\t{other}\n" for one, other in zip(ONE, OTHER, strict=True)))
    arms, known = ("recovery", "recovery_shuffled"), {"en-de": "known.tsv"}
    report = study(arms=arms, steps=300, hard=True, zero_shot=asked, known=known).run(
        data, tmp_path / "out", lambda said: None
    )
    rows = [[cell.strip() for cell in line.split("|")] for line in report.splitlines() if line.startswith("| ")]
    head, values = rows[0], {row[1]: row for row in rows[1:]}
    found = {arm: float(values[arm][head.index("en-de")]) for arm in ("recovery", "recovery_shuffled")}
    assert found["recovery"] > 0.2 > 0.1 > found["recovery_shuffled"]
    assert float(values["recovery"][head.index("tags, en")]) > 0.9
    assert 0 <= float(values["recovery"][head.index("tags, de")]) <= 1
    assert "recovery - recovery_shuffled" in report
    wrong = {arm: float(row[head.index("words linked wrong, en-de")]) for arm, row in values.items()}
    assert wrong["recovery"] < wrong["recovery_shuffled"] / 2


def test_a_dictionary_of_languages_that_are_not_asked_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no en-fr") as told:
        study(known={"en-fr": "known.tsv"}).run(data, tmp_path / "out", lambda said: None)
    assert told.value.field == "known.en-fr"


def test_sentences_told_from_others_and_words_that_point_are_arms_too(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = study(steps=3, arms=("tlm", "alignment", "contrast")).run(data, tmp_path / "out", said.append)
    assert [line.split(",")[0] for line in said] == ["tlm", "alignment", "contrast"]
    assert "| alignment - tlm |" in report and "| contrast - tlm |" in report


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
