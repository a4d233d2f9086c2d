"""What a study found, as a table and a picture: means over seeds with 95 % intervals, and paired differences.

Intervals are Student's t over seeds; the difference of two arms is taken seed by seed, as both learn from the same
examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from kelm.evaluation.intervals import Mean, mean
from kg.study.run import Outcome

__all__ = ["gain", "picture", "rows", "table"]

ORDER = ("none", "random", "shuffled", "knowledge")
COLORS = {"none": "#8c8c8c", "random": "#c9a227", "shuffled": "#5b8fd6", "knowledge": "#1b7f4d"}


def _by_seed(outcomes: Iterable[Outcome], **chosen: object) -> dict[int, float]:
    return {
        outcome.seed: outcome.accuracy
        for outcome in outcomes
        if all(getattr(outcome, name) == value for name, value in chosen.items())
    }


def gain(outcomes: Sequence[Outcome], over: str, **chosen: object) -> Mean | None:
    """Returns by how much accuracy "knowledge" is better than another arm, paired by seed."""
    ours = _by_seed(outcomes, arm="knowledge", **chosen)
    theirs = _by_seed(outcomes, arm=over, **chosen)
    both = sorted(ours.keys() & theirs.keys())
    return mean([ours[seed] - theirs[seed] for seed in both]) if both else None


def rows(outcomes: Sequence[Outcome], slice: str, links: str = "gold") -> list[list[str]]:
    """Returns the table of one slice: a head line, then a line for each model and arm, then the gains."""
    of_slice = [o for o in outcomes if o.slice == slice and o.links == links]
    counts = sorted({o.per_relation for o in of_slice})
    table = [["model", "vectors", *(f"{n} a relation" for n in counts)]]
    for model in ("probe", "ernie"):
        for arm in ORDER:
            found = [_by_seed(of_slice, model=model, arm=arm, per_relation=n) for n in counts]
            if any(found):
                table.append([model, arm, *(str(mean(list(f.values()))) if f else "" for f in found)])
        for over in ("none", "shuffled"):
            gains = [gain(of_slice, over, model=model, per_relation=n) for n in counts]
            if any(gains):
                signed = ["" if g is None else g.signed() for g in gains]
                table.append([model, f"knowledge - {over}", *signed])
    return table


def table(outcomes: Sequence[Outcome]) -> str:
    """Returns all slices and kinds of links as Markdown."""
    parts = []
    for links in sorted({o.links for o in outcomes}, reverse=True):
        for slice in ("covered", "unseen", "uncovered"):
            lines = rows(outcomes, slice, links)
            if len(lines) < 2:
                continue
            tested = sorted({o.n for o in outcomes if o.slice == slice and o.links == links})
            sizes = f"{tested[0]:,}" if len(tested) == 1 else f"{tested[0]:,} to {tested[-1]:,}"
            seeds = len({o.seed for o in outcomes})
            head, *body = lines
            parts += [f"**{slice}, {links} links** (accuracy, {sizes} test sentences, {seeds} seeds)", ""]
            parts += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            parts += ["| " + " | ".join(line) + " |" for line in body] + [""]
    return "\n".join(parts)


def picture(
    outcomes: Sequence[Outcome], path: Path, *, title: str, slice: str = "covered", links: str = "gold"
) -> None:
    """Draws accuracy against the number of training examples, a line for each arm, the probe's dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), constrained_layout=True)
    counts = sorted({o.per_relation for o in outcomes})
    for model, style in (("ernie", "-"), ("probe", ":")):
        for arm in ORDER:
            chosen = {"model": model, "arm": arm, "slice": slice, "links": links}
            means = [(n, mean(list(f.values()))) for n in counts if (f := _by_seed(outcomes, per_relation=n, **chosen))]
            if not means:
                continue
            places = [counts.index(n) for n, _ in means]
            values = [m.value for _, m in means]
            spread = [0.0 if math.isnan(m.half) else m.half for _, m in means]
            label = f"{'linear probe' if model == 'probe' else 'ERNIE'}, {arm}"
            axes.errorbar(
                places, values, spread, color=COLORS[arm], linestyle=style, marker="o", capsize=3, label=label
            )
    axes.set_xticks(range(len(counts)), [str(n) for n in counts])
    axes.set_xlabel("training sentences of each relation")
    axes.set_ylabel("accuracy (mean and 95 % interval over seeds)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
