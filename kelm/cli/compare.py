"""`kelm compare`: runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders that kelm train or kelm evaluate wrote.")],
    baseline: Annotated[
        str | None,
        typer.Option(
            help='The run to compare with, by its name; "none" or the first if not given.', show_default=False
        ),
    ] = None,
    scores: Annotated[
        list[str] | None, typer.Option("--score", help="Show this score only; may be repeated.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write a page as well: .md or .html.", show_default=False)] = None,
) -> None:
    """Show what runs differ in, their scores over seeds, and which differences are more than chance.

    Runs whose recipes differ in their seed alone are one row: mean and 95 % interval. Against the baseline, differences
    are taken seed by seed; where `kelm evaluate RUN` kept the answers to the same texts, also by the paired bootstrap.

    Example: kelm compare runs/with-* runs/without-* --out comparison.html
    """
    from dataclasses import replace

    from rich.console import Console
    from rich.markdown import Markdown

    from kelm.errors import InputError, closest
    from kelm.evaluation.compare import compare as compared
    from kelm.evaluation.page import as_html, as_markdown
    from kelm.evaluation.results import read

    if out is not None and out.suffix not in (".md", ".html"):
        raise InputError(f'"{out}" is no page', field="--out", remedy="End its name in .md or .html.")
    found = compared([one for folder in runs for one in read(folder)], baseline=baseline)
    for score in scores or ():
        if score not in found.scores:
            raise InputError(f'no score is called "{score}"', field="--score", remedy=closest(score, found.scores))
    shown = replace(found, scores=scores or found.scores)
    Console().print(Markdown(as_markdown(shown)))
    if out is not None:
        title = " and ".join(dict.fromkeys(row.name for row in found.rows))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(as_html(shown, title) if out.suffix == ".html" else as_markdown(shown), encoding="utf-8")
        Console(stderr=True).print(f"The page is {out}.")
