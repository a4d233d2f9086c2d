"""Where a training run stands, as one safetensors file: killed there, it goes on with the same bits.

value.*  best.*     numbers by name         optimizer.{parameter}.{moment}      random      the stream's state
header              recipe, course (epoch, best MRR, misses, share of the rate, history), checksums of the triples
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from kelm.errors import CheckpointError
from kg.embeddings.embedding import read_tensors, recipe_of, write_tensors
from kg.embeddings.recipe import EmbeddingRecipe

__all__ = ["Course", "Moments", "Source", "TrainingState", "load_state", "save_state"]

Moments = Mapping[str, Mapping[str, Tensor]]  # what the optimizer remembers, by parameter and by what it is


@dataclass(frozen=True, slots=True)
class Course:
    """What has been so far.

    Attributes:
        epoch: epochs done.
        best_mrr: the best filtered MRR of validation; negative before the first.
        misses: checks since then.
        stalls: checks since then, or since the rate was lowered.
        share: of the recipe's rate, lowered on plateaus.
        history: one entry an epoch.
    """

    epoch: int = 0
    best_mrr: float = -1.0
    misses: int = 0
    stalls: int = 0
    share: float = 1.0
    history: tuple[Mapping[str, float], ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of training until here."""
        return self.history[-1]["seconds"] if self.history else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """All that the next step depends on.

    Attributes:
        course: see there.
        values: the model's numbers.
        best: those of the best check; empty without validation.
        moments: of the optimizer.
        random: state of the random stream.
    """

    course: Course
    values: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    moments: Moments
    random: Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """What a run is made from: how, from which triples, and by which others it stops (checksums; "" for none)."""

    recipe: EmbeddingRecipe
    triples: str
    validation: str

    @classmethod
    def of(
        cls,
        recipe: EmbeddingRecipe,
        triples: Int64[np.ndarray, "triple 3"],
        validation: Int64[np.ndarray, "held_out 3"] | None,
    ) -> Self:
        """Returns the source of a run over these triples."""
        return cls(recipe, _checksum(triples), "" if validation is None else _checksum(validation))


def save_state(path: Path, state: TrainingState, source: Source) -> None:
    """Writes the state, aside and then renamed.

    Raises:
        CheckpointError: it cannot be written; what was there is whole.
    """
    moments = {
        f"optimizer.{number}.{name}": value for number, entry in state.moments.items() for name, value in entry.items()
    }
    tensors = {
        **{f"value.{name}": value.detach() for name, value in state.values.items()},
        **{f"best.{name}": value for name, value in state.best.items()},
        **moments,
        "random": state.random,
    }
    facts = {
        "format": "kelm-embedding",
        "recipe": source.recipe.facts(),
        "graph": source.triples,
        "validation": source.validation,
        "history": list(state.course.history),
        "course": {**dataclasses.asdict(state.course), "history": []},
    }
    write_tensors(path, tensors, facts)


def load_state(path: Path, source: Source) -> TrainingState:
    """Returns the state that `save_state` wrote.

    Raises:
        CheckpointError: none is there, it is damaged, or it is of another recipe, or of other triples.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no run to resume. Train without resuming.")
    tensors, facts = read_tensors(path)
    if "course" not in facts or "random" not in tensors:
        raise CheckpointError(f"{path}: this is no state of a training run. Train without resuming.")
    if facts["graph"] != source.triples:
        raise CheckpointError(f"{path}: the run had other triples. Pass the same graph, or train without resuming.")
    if facts.get("validation") != source.validation:
        raise CheckpointError(
            f"{path}: the run had other validation triples. Pass the same ones, or none if it had none, or train "
            "without resuming."
        )
    theirs, ours = recipe_of(facts, path).facts(), source.recipe.facts()
    different = [key for key in ours if ours[key] != theirs[key]]
    if different:
        key = different[0]
        raise CheckpointError(
            f"{path}: the run had {key} = {theirs[key]}, not {ours[key]}. "
            "Resume with the same recipe, or train without resuming."
        )
    moments: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, moment = name.split(".", 2)
            moments.setdefault(number, {})[moment] = value
    course = Course(**{**facts["course"], "history": tuple(facts["history"])})
    values, best = (_part(tensors, kind) for kind in ("value.", "best."))
    return TrainingState(course, values, best, moments, tensors["random"])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _checksum(triples: Int64[np.ndarray, "triple 3"]) -> str:
    return f"crc32:{zlib.crc32(np.ascontiguousarray(triples).tobytes()):08x}"
