"""What LIBERT's study found, as a table: means over seeds with 95 % intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from kelm.evaluation.intervals import mean

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
    scores = {(one.arm, one.seed): _scores(one) for one in outcomes}
    seeds, names = sorted({one.seed for one in outcomes}), [f"similarity, layer {layer}" for layer in layers]
    columns = ["pairs: head", "pairs: probe", *names, "masked words (loss)", "task"]
    learned = max((one.pairs for one in outcomes), default=0)
    lines = [f"{learned:,} pairs learned, {len(seeds)} seeds. Pairs: macro F1 of held-out ones.", ""]
    lines += [f"| arm | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for arm in get_args(LibertArm):
        if found := [values for (of, _), values in scores.items() if of == arm]:
            lines.append(
                f"| {arm} | {' | '.join(_cell(column, signed=False) for column in zip(*found, strict=True))} |"
            )
    for over in ("none", "shuffled"):
        both = [seed for seed in seeds if {("knowledge", seed), (over, seed)} <= scores.keys()]
        if both:
            pairs = [zip(scores["knowledge", seed], scores[over, seed], strict=True) for seed in both]
            gains = [[None if a is None or b is None else a - b for a, b in pair] for pair in pairs]
            cells = [_cell(column, signed=True) for column in zip(*gains, strict=True)]
            lines.append(f"| knowledge - {over} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _scores(one: LibertOutcome) -> list[float | None]:
    return [one.head, one.probe, *one.similarity, one.masked, one.task]


def _cell(values: Sequence[float | None], *, signed: bool) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return ""
    return mean(known).signed() if signed else str(mean(known))
