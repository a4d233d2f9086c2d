"""How far a run is and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kelm.tasks.base import Scores

__all__ = ["Progress", "Reason", "Result"]

Reason = Literal["done", "patience", "data", "signal"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        tokens, seconds: so far.
        parts: tokens of each part of the data that says which it is, such as a language, so far.
        losses: means of the last step, by part.
        scores, scored: the last evaluation and its step.
        best, best_step: the best value of the chosen metric and its step.
        waited: evaluations since the best one.
        skipped: steps left out, the last ones in a row.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    parts: Mapping[str, int] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    scored: int = 0
    best: float | None = None
    best_step: int | None = None
    waited: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        stopped: all steps "done", "patience" lost, the "data" ended, or a "signal" came.
        signal: its number, whichever process it came to; also of one that came too late to stop the run.
        history: (step, scores) of each evaluation since this run started or was resumed.
    """

    progress: Progress
    stopped: Reason
    signal: int | None
    history: tuple[tuple[int, Scores], ...]
