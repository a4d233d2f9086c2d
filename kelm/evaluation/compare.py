"""Runs beside each other: what they differ in, means over seeds, and differences that are more than chance.

    Found, Found, ...  --what differs only in its seed together-->  Row, Row, ...  --against one of them-->  Difference

Differences are taken seed by seed, with Student's t interval; where both runs answered the same texts, also by the
paired bootstrap over texts (Koehn, 2004), for the share that is answered rightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kelm.errors import InputError, closest
from kelm.evaluation.bootstrap import Paired, paired
from kelm.evaluation.intervals import Mean, mean
from kelm.evaluation.results import Found

__all__ = ["Comparison", "Difference", "Row", "compare"]

_FIRST = ("none", "as trained")  # arms to compare with, if nobody says


@dataclass(frozen=True, slots=True)
class Row:
    """Runs that differ in their seed alone.

    Attributes:
        name: the same as those of other rows only if their settings differ.
        settings: in which rows differ.
    """

    name: str
    settings: Mapping[str, Any]
    runs: Mapping[int, Found]

    def mean(self, score: str) -> Mean | None:
        """Returns the mean over the seeds that have the score."""
        values = [run.scores[score] for run in self.runs.values() if score in run.scores]
        return mean(values) if values else None


@dataclass(frozen=True, slots=True)
class Difference:
    """A row against the one to compare with.

    Attributes:
        scores: by name, over the seeds that both have.
        answered: share of texts that are answered rightly, by objective, over these seeds' texts.
    """

    row: Row
    scores: Mapping[str, Mean]
    answered: Mapping[str, Paired]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows, the names of their settings and scores, and the differences to one of them."""

    rows: Sequence[Row]
    settings: Sequence[str]
    scores: Sequence[str]
    baseline: Row
    differences: Sequence[Difference]


def compare(found: Sequence[Found], *, baseline: str | None = None, draws: int = 1000) -> Comparison:
    """Returns the comparison of runs.

    Args:
        baseline: name of the row to compare with; "none" if there is one, else the first.
        draws: of the bootstrap.

    Raises:
        InputError: there are no scores, a run comes twice, or no row is called so.
    """
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], dict[int, Found]] = {}
    for one in found:
        key = (one.name, tuple(sorted((name, str(value)) for name, value in one.settings.items())))
        if one.seed in groups.setdefault(key, {}):
            other = groups[key][one.seed].folder
            raise InputError(
                f"{one.folder} and {other} are the same recipe with the same seed",
                remedy="Name each run once, and give train.seed in repetitions.",
            )
        groups[key][one.seed] = one
    if not any(one.scores for one in found):
        raise InputError("there are no scores to compare", remedy="Name folders of finished runs.")
    every = [dict(settings) for _, settings in groups]
    names = list(dict.fromkeys(name for settings in every for name in settings))
    differing = [name for name in names if len({settings.get(name) for settings in every}) > 1 and name != "arm"]
    rows = [
        Row(name, {one: dict(settings).get(one) for one in differing}, dict(sorted(runs.items())))
        for (name, settings), runs in groups.items()
    ]
    scores = list(dict.fromkeys(score for one in found for score in one.scores))
    against = _against(rows, baseline)
    return Comparison(rows, differing, scores, against[0], list(_differences(rows, against, scores, draws)))


def _against(rows: Sequence[Row], baseline: str | None) -> Sequence[Row]:
    """Returns the rows to compare with: all of one name, such as an arm at several sizes."""
    names = [row.name for row in rows]
    if baseline is not None and baseline not in names:
        raise InputError(f'no row is called "{baseline}"', field="baseline", remedy=closest(baseline, names))
    name = baseline or next((first for first in _FIRST if first in names), names[0])
    chosen = [row for row in rows if row.name == name]
    return chosen if len(chosen) < len(rows) else rows[:1]


def _differences(rows: Sequence[Row], against: Sequence[Row], scores: Sequence[str], draws: int) -> list[Difference]:
    found = []
    for row in rows:
        if row in against:
            continue
        same = [one for one in against if one.settings == row.settings]
        other = same[0] if same else against[0]
        seeds = [seed for seed in row.runs if seed in other.runs]
        values = {
            score: [row.runs[seed].scores[score] - other.runs[seed].scores[score] for seed in seeds]
            for score in scores
            if seeds and all(score in one.runs[seed].scores for one in (row, other) for seed in seeds)
        }
        means = {score: mean(one) for score, one in values.items()}
        found.append(Difference(row, means, _answered(row, other, seeds, draws)))
    return found


def _answered(row: Row, other: Row, seeds: Sequence[int], draws: int) -> dict[str, Paired]:
    """Returns the paired bootstrap over the texts that both answered in all seeds; a text counts by its mean."""
    objectives = dict.fromkeys(name for seed in seeds for name, _ in row.runs[seed].answers)
    found = {}
    for objective in objectives:
        texts = None
        for one in (row, other):
            for seed in seeds:
                here = {(text, _same(one, seed, text)) for text in one.runs[seed].answers if text[0] == objective}
                texts = here if texts is None else texts & here
        if not texts:
            continue
        chosen = sorted(text for text, _ in texts)
        right = np.array([[[_right(one, seed, t) for t in chosen] for seed in seeds] for one in (row, other)]).mean(1)

        def score(numbers: np.ndarray, right: np.ndarray = right) -> tuple[float, float]:
            return float(right[0, numbers].mean()), float(right[1, numbers].mean())

        found[objective] = paired(score, len(chosen), draws=draws)
    return found


def _same(row: Row, seed: int, text: tuple[str, int]) -> str:
    return str(row.runs[seed].answers[text][0])


def _right(row: Row, seed: int, text: tuple[str, int]) -> bool:
    gold, answer = row.runs[seed].answers[text]
    return bool(gold == answer)
