"""The whole story in minutes, with nothing but installed packages: graph, vectors, links, model, and its controls."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelm.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from kg.study.run import Outcome

__all__ = ["quickstart"]


def quickstart(
    out: Annotated[Path, typer.Option(help="Where everything is written.")] = Path("quickstart"),
    seeds: Annotated[int, typer.Option(min=1, help="How many times each arm is trained.")] = 3,
) -> None:
    """Train an ERNIE-style model on a graph that is already on this machine, against its controls.

    Needs no download and less than five minutes on two cores. An interrupted run goes on where it was.

    Example: kelm quickstart --out my-first-run
    """
    from rich.console import Console

    from kelm.training import recipe_file
    from kg.study.cldr import Cldr

    started, console = time.perf_counter(), Console()
    if out.exists() and not out.is_dir():
        raise InputError("this is a file, not a folder", path=out, remedy="Choose another place with --out.")
    study = Cldr()
    study = replace(study, study=replace(study.study, seeds=tuple(range(seeds))))
    recipe_file.keep(study, out / "recipe.toml", evaluation="ernie_cldr")

    def say(text: str) -> None:
        console.print(f"[dim]{time.perf_counter() - started:5.0f} s[/] {text}", highlight=False)

    _show(study.outcomes(out, say), out, console)
    console.print(f"[dim]{time.perf_counter() - started:.0f} seconds. Everything lies in[/] [bold]{out}[/]")


def _show(outcomes: list[Outcome], out: Path, console: Console) -> None:
    from rich.table import Table

    from kg.study import report

    head, *body = report.rows(outcomes, "covered", "automatic")
    table = Table(*head, title="Which relation do two hidden entities have? (accuracy, mean ± 95 % interval)")
    for line in body:
        table.add_row(*line, style="bold" if line[:2] == ["ernie", "knowledge"] else None)
    console.print(table)
    (out / "report.md").write_text(report.table(outcomes), encoding="utf-8")
    console.print("picture: accuracy.png   tables: report.md   all scores: outcomes.jsonl")
