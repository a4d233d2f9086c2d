"""What runs have found, read from their folders: of training, of one run without something, of an evaluation.

runs/mine/log.jsonl                         scores of a training run: the last, or the best by its metric
runs/mine/evaluation/NAME/scores.json       what `kelm evaluate runs/mine` found, preferred where it is there
                         /answers.jsonl     {"objective", "number", "gold", "answer"} of each held-out text
runs/mine/outcomes.jsonl                    an evaluation's outcomes, flat records with at least "seed"
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kelm.data.folders import file_aside
from kelm.errors import CheckpointError, FormatError

__all__ = ["AS_TRAINED", "Found", "keep", "read"]

AS_TRAINED = "as-trained"
Answers = Mapping[tuple[str, int], tuple[Any, Any]]
_SETTINGS = ("size", "per_relation", "layer", "k", "length", "steps", "width")  # whole numbers that outcomes differ in


@dataclass(frozen=True, slots=True)
class Found:
    """The scores of one run.

    Attributes:
        name: of what was run, the same for all seeds.
        settings: all that may tell it from others, the seed apart.
        answers: right and given answer of each held-out text, by objective and number.
        folder: where it was read.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    scores: Mapping[str, float]
    folder: Path
    answers: Answers = field(default_factory=dict)


def read(folder: Path) -> list[Found]:
    """Returns everything that a folder holds.

    Raises:
        CheckpointError: it holds no scores.
        FormatError: a file is damaged.
    """
    if (folder / "outcomes.jsonl").is_file():
        return list(_outcomes(folder))
    if not (folder / "recipe.toml").is_file():
        raise CheckpointError(
            f"{folder} is no folder of a run: it has neither outcomes.jsonl nor recipe.toml. "
            "Name what kelm train or kelm evaluate wrote."
        )
    recipe = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    settings = dict(_flat(recipe))
    seed, name = int(settings.pop("train.seed", 0)), str(settings.pop("name", "") or folder.name)
    measured = sorted(path.parent for path in folder.glob("evaluation/*/scores.json"))
    found = [
        Found(
            name if place.name == AS_TRAINED else f"{name}, {place.name}",
            settings if place.name == AS_TRAINED else {**settings, "left out": place.name},
            seed,
            _json(place / "scores.json"),
            folder,
            _answers(place / "answers.jsonl"),
        )
        for place in measured
    ]
    if any(place.name == AS_TRAINED for place in measured):
        return found
    scores = _logged(folder, recipe.get("evaluation", {}).get("metric"))
    if not scores and not found:
        raise CheckpointError(
            f"{folder} holds no scores. Give its recipe a held_out corpus, or measure it: kelm evaluate."
        )
    return [Found(name, settings, seed, scores, folder), *found] if scores else found


def keep(
    folder: Path, label: str, scores: Mapping[str, float], judged: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]
) -> None:
    """Writes what was measured of a run, where `read` finds it.

    Args:
        label: `AS_TRAINED`, or what was left out.
        judged: right and given answers to the held-out texts, by objective.
    """
    place = folder / "evaluation" / label
    place.mkdir(parents=True, exist_ok=True)
    with file_aside(place / "scores.json") as new:
        new.write_text(json.dumps(dict(scores), indent=2) + "\n", encoding="utf-8")
    with file_aside(place / "answers.jsonl") as new, new.open("w", encoding="utf-8") as file:
        for objective, (gold, answers) in judged.items():
            for number, (right, given) in enumerate(zip(gold, answers, strict=True)):
                line = {"objective": objective, "number": number, "gold": right, "answer": given}
                file.write(json.dumps(line, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _answers(path: Path) -> Answers:
    if not path.is_file():
        return {}
    return {(one["objective"], one["number"]): (one["gold"], one["answer"]) for one in _lines(path)}


def _logged(folder: Path, metric: str | None) -> Mapping[str, float]:
    """Returns the scores of the model that was kept: the best by the metric, or the last."""
    path = folder / "log.jsonl"
    scores = [line["scores"] for line in _lines(path) if "scores" in line] if path.is_file() else []
    if not scores:
        return {}
    if metric is None or metric not in scores[-1]:
        return dict(scores[-1])
    sign = -1 if metric.endswith("loss") else 1
    return dict(max(scores, key=lambda one: sign * (one[metric] if one[metric] is not None else -math.inf)))


def _outcomes(folder: Path) -> Iterator[Found]:
    for outcomes in _lines(folder / "outcomes.jsonl"):
        for outcome in outcomes if isinstance(outcomes, list) else [outcomes]:
            settings: dict[str, Any] = {}
            scores: dict[str, float] = {}
            for name, value in outcome.items():
                if isinstance(value, str) or (name in _SETTINGS and isinstance(value, int)):
                    settings[name] = value
                elif isinstance(value, float) and not math.isnan(value):
                    scores[name] = value
                elif isinstance(value, list) and value and all(isinstance(one, float) for one in value):
                    scores |= {f"{name} {place + 1}": one for place, one in enumerate(value)}
            name = str(settings.get("arm", folder.name))
            yield Found(name, {"folder": folder.name, **settings}, int(outcome.get("seed", 0)), scores, folder)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            for place, one in enumerate(value):
                yield from _flat(one, f"{prefix}{name}.{one.get('name', place)}.")
        else:
            yield f"{prefix}{name}", value if not isinstance(value, list) else tuple(map(str, value))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"is no JSON ({error})", path=path, remedy="Run kelm evaluate again.") from error


def _lines(path: Path) -> Iterator[Any]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            return  # a line that was cut off by a kill
        try:
            yield json.loads(line)
        except ValueError as error:
            raise FormatError(f"is no JSON ({error})", path=path, line=number, remedy="Take the line out.") from error
