"""Comparisons: runs by recipe and seed, differences as by hand, the bootstrap's coverage, pages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kelm.errors import CheckpointError, FormatError, InputError
from kelm.evaluation.bootstrap import paired
from kelm.evaluation.compare import compare
from kelm.evaluation.intervals import mean
from kelm.evaluation.page import as_html, as_markdown
from kelm.evaluation.results import AS_TRAINED, keep, read


def trained(folder: Path, seed: int, rate: float, scores: dict[str, float], answers: list[str] | None = None) -> Path:
    folder.mkdir(parents=True)
    recipe = f'name = "mine"\n[optim]\nrate = {rate}\n[train]\nseed = {seed}\n[[objectives]]\nname = "classification"\n'
    (folder / "recipe.toml").write_text(recipe)
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "scores": scores}]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if answers is not None:
        keep(folder, AS_TRAINED, scores, {"classification": (["a"] * len(answers), answers)})
    return folder


def test_runs_that_differ_in_their_seed_are_one_row_and_settings_that_differ_are_named(tmp_path: Path) -> None:
    values = {
        (rate, seed): 0.5 + rate + seed / 10 + seed * seed / 100 * rate for rate in (0.1, 0.2) for seed in range(3)
    }
    found = [
        one
        for (rate, seed), value in values.items()
        for one in read(trained(tmp_path / f"{rate}-{seed}", seed, rate, {"classification/accuracy": value}))
    ]
    compared = compare(found)
    assert list(compared.settings) == ["optim.rate"]
    assert [row.settings["optim.rate"] for row in compared.rows] == ["0.1", "0.2"]
    [difference] = compared.differences
    by_hand = mean([values[0.2, seed] - values[0.1, seed] for seed in range(3)])
    assert difference.scores["classification/accuracy"] == by_hand
    assert compared.rows[0].mean("classification/accuracy") == mean([values[0.1, seed] for seed in range(3)])
    said = as_markdown(compared)
    assert f"| mine - mine | 0.2 | {by_hand.signed()} |" in said
    assert "<svg" in as_html(compared, "rates")


def test_answers_to_the_same_texts_are_compared_text_by_text(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ours, theirs = (["a" if hit else "b" for hit in random.random(200) < share] for share in (0.8, 0.6))
    runs = [
        *read(trained(tmp_path / "one", 0, 0.1, {"classification/accuracy": 0.6}, theirs)),
        *read(trained(tmp_path / "two", 0, 0.2, {"classification/accuracy": 0.8}, ours)),
    ]
    [difference] = compare(runs).differences
    found = difference.answered["classification"]
    assert found.difference == pytest.approx((ours.count("a") - theirs.count("a")) / 200)
    assert found.low < found.difference < found.high
    assert found.p < 0.01
    assert "classification | " in as_markdown(compare(runs))


def test_what_was_left_out_is_a_row_of_its_own(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", 0, 0.1, {"classification/accuracy": 0.8}, ["a", "a", "b"])
    keep(folder, "without ernie", {"classification/accuracy": 0.6}, {"classification": (["a"] * 3, ["b", "a", "b"])})
    compared = compare(read(folder))
    assert [row.name for row in compared.rows] == ["mine", "mine, without ernie"]
    assert compared.differences[0].answered["classification"].difference == pytest.approx(-1 / 3)


def test_outcomes_of_an_evaluation_are_compared_with_the_arm_none_at_each_size(tmp_path: Path) -> None:
    lines = [
        [
            {
                "arm": arm,
                "size": size,
                "seed": seed,
                "accuracy": size / 1000 + (arm == "knowledge") * 0.1 + seed / 50,
                "n": 9,
            }
        ]
        for seed in range(2)
        for size in (100, 200)
        for arm in ("knowledge", "none")
    ]
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '[{"arm": "cut')
    compared = compare(read(tmp_path))
    assert compared.baseline.name == "none"
    assert [(one.row.settings["size"], round(one.scores["accuracy"].value, 6)) for one in compared.differences] == [
        ("100", 0.1),
        ("200", 0.1),
    ]


@pytest.mark.parametrize("apart", [0.0, 0.15])
def test_the_paired_bootstrap_covers_the_true_difference(apart: float) -> None:
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(120):
        hard = random.random(150)
        theirs, ours = (random.random(150) < 0.9 - 0.5 * hard + more for more in (0.0, apart))
        found = paired(lambda n, o=ours, t=theirs: (o[n].mean(), t[n].mean()), 150, draws=300, seed=trial)  # type: ignore[misc]
        assert found.difference == pytest.approx(ours.mean() - theirs.mean())
        covered += found.low <= apart * (1 if apart == 0 else 0.93) <= found.high
    assert covered >= 0.88 * 120


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    one = read(trained(tmp_path / "one", 0, 0.1, {"a": 0.5}))
    with pytest.raises(InputError, match="the same recipe with the same seed"):
        compare([*one, *read(trained(tmp_path / "again", 0, 0.1, {"a": 0.6}))])
    with pytest.raises(InputError, match='no row is called "nothing"'):
        compare(one, baseline="nothing")
    with pytest.raises(CheckpointError, match="is no folder of a run"):
        read(tmp_path)
    (tmp_path / "outcomes.jsonl").write_text("{\n")
    with pytest.raises(FormatError, match=r"outcomes.jsonl, line 1: is no JSON"):
        read(tmp_path)
