"""What LIBERT's study found, as a table: means over seeds with 95 % intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from kelm.evaluation.intervals import arms_table

__all__ = ["LibertArm", "LibertOutcome", "table"]

LibertArm = Literal["none", "knowledge", "shuffled"]


@dataclass(frozen=True, slots=True)
class LibertOutcome:
    """What one encoder scores.

    Attributes:
        head, probe: macro F1 over held-out pairs and their negatives; an arm that learned no pairs has no head.
        similarity: Spearman's correlation, for each of the study's layers.
        masked: loss of masked words of held-out texts, in nats.
        task: accuracy.
        pairs: how many are learned.
    """

    arm: str
    seed: int
    head: float | None
    probe: float
    similarity: Sequence[float]
    masked: float
    task: float
    pairs: int


def table(outcomes: Sequence[LibertOutcome], layers: Sequence[int]) -> str:
    """Returns means over seeds with 95 % intervals, and differences paired by seed, as Markdown."""
    found = {(one.arm, one.seed): [one.head, one.probe, *one.similarity, one.masked, one.task] for one in outcomes}
    names = [f"similarity, layer {layer}" for layer in layers]
    heads = ["pairs: head", "pairs: probe", *names, "masked words (loss)", "task"]
    learned, seeds = max((one.pairs for one in outcomes), default=0), len({one.seed for one in outcomes})
    said = f"{learned:,} pairs learned, {seeds} seeds. Pairs: macro F1 of held-out ones."
    return "\n".join([said, "", *arms_table(found, heads, arms=get_args(LibertArm), over=("none", "shuffled"))]) + "\n"
