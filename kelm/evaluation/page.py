"""A comparison as a page: Markdown, or HTML in one file with the learning curves.

| run      | objectives.mlm.rate | accuracy      |        rows: runs over their seeds
|---|---|---|
| without  | 0.15                | 0.610 ± 0.020 |
| with     | 0.15                | 0.700 ± 0.010 |
| with - without | | +0.090 ± 0.015 |               differences, seed by seed
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kelm.evaluation.compare import Comparison, Difference, Row

__all__ = ["as_html", "as_markdown"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums } svg { max-width: 100% }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left }
"""


def as_markdown(comparison: Comparison) -> str:
    """Returns tables of scores, of differences, and of where each run lies."""
    parts = [_table(_score_lines(comparison))]
    if any(difference.answered for difference in comparison.differences):
        parts += ["Share of texts that are answered rightly, by the paired bootstrap over texts:", ""]
        parts += [_table(_bootstrap_lines(comparison.differences, comparison.baseline))]
    parts += ["Intervals are 95 %: Student's t over seeds; of a single run there is none.", ""]
    parts += [_table([["run", "seeds", "folders"], *map(_place, comparison.rows)])]
    return "\n".join(parts)


def as_html(comparison: Comparison, title: str) -> str:
    """Returns the same as one HTML file, with the curves of the losses of training runs."""
    body = "\n".join(_html(part) for part in as_markdown(comparison).split("\n\n"))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>{body}{_curves(comparison.rows)}</html>\n"
    )


def _score_lines(comparison: Comparison) -> Iterator[list[str]]:
    settings, scores = comparison.settings, comparison.scores
    yield ["run", *settings, *scores]
    for row in comparison.rows:
        means = (row.mean(score) for score in scores)
        yield [row.name, *_said(row, settings), *("" if mean is None else str(mean) for mean in means)]
    for difference in comparison.differences:
        if difference.scores:
            signed = [difference.scores[score].signed() if score in difference.scores else "" for score in scores]
            yield [_minus(difference, comparison.baseline), *_said(difference.row, settings), *signed]


def _bootstrap_lines(differences: Sequence[Difference], baseline: Row) -> Iterator[list[str]]:
    yield ["difference", "task", "by", "95 % interval", "p"]
    for difference in differences:
        for task, found in difference.answered.items():
            interval = f"{found.low:+.3f} to {found.high:+.3f}"
            yield [_minus(difference, baseline), task, f"{found.difference:+.3f}", interval, f"{found.p:.3f}"]


def _said(row: Row, settings: Sequence[str]) -> list[str]:
    return ["" if (value := row.settings.get(name)) is None else str(value) for name in settings]


def _minus(difference: Difference, baseline: Row) -> str:
    return f"{difference.row.name} - {baseline.name}"


def _place(row: Row) -> list[str]:
    folders = list(dict.fromkeys(str(run.folder) for run in row.runs.values()))
    return [row.name, ", ".join(map(str, row.runs)), ", ".join(f"`{folder}`" for folder in folders)]


def _table(lines: Sequence[list[str]] | Iterator[list[str]]) -> str:
    head, *body = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body)]) + "\n"


def _html(part: str) -> str:
    lines = part.strip().split("\n")
    if not lines[0].startswith("|"):
        return f"<p>{html.escape(part.strip())}</p>" if part.strip() else ""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if "| --- |" not in line]
    cells = [[html.escape(cell.replace("\\|", "|")).replace("`", "") for cell in row] for row in rows]
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells[1:])
    return f"<table><tr>{head}</tr>{body}</table>"


def _curves(rows: Sequence[Row]) -> str:
    """Returns the losses of training runs against their steps as SVG, nothing if there are none."""
    curves = [(row.name, *curve) for row in rows for run in row.runs.values() if (curve := _curve(run.folder))]
    if not curves:
        return ""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4), constrained_layout=True)
    names = list(dict.fromkeys(name for name, *_ in curves))
    for name, steps, losses in curves:
        first = name not in [line.get_label() for line in axes.get_lines()]
        axes.plot(steps, losses, color=f"C{names.index(name) % 10}", alpha=0.7, label=name if first else f"_{name}")
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    pyplot.close(figure)
    return f"<h2>Learning curves</h2>{drawn.getvalue().partition('<svg')[1]}{drawn.getvalue().partition('<svg')[2]}"


def _curve(folder: Path) -> tuple[list[int], list[float]] | None:
    path = folder / "log.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    points = [(line["step"], line["loss"]) for line in lines if line.get("loss") is not None]
    return ([step for step, _ in points], [loss for _, loss in points]) if points else None
