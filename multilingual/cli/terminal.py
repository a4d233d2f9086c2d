"""How the commands look in a terminal: progress on standard error, tables on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["counted", "show"]

X = TypeVar("X")


def show(rows: Sequence[Sequence[str]], *, left: int, title: str | None = None) -> None:
    """Prints a table below its first row; the first `left` columns, and one of an example, stand to the left."""
    head, *others = rows
    table = Table(box=None, title=title, title_justify="left", title_style="bold")
    for place, column in enumerate(head):
        words = column == "example"
        table.add_column(column, justify="left" if place < left or words else "right", no_wrap=not words)
    for row in others:
        table.add_row(*map(escape, row))
    Console().print(table)


def counted(items: Iterable[X], name: str, total: int | None, *, shown: bool) -> Iterator[X]:
    """Gives the items on, and shows how many have gone by, how fast, and when the rest will have."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True), disable=not shown) as bars:
        task = bars.add_task(name, total=total, told="")
        number = 0
        for number, item in enumerate(items, 1):
            if not number % 500:
                seconds = bars.tasks[task].elapsed or 0.0
                rate = f", {number / seconds:,.0f}/s" if seconds > 0 else ""
                bars.update(task, completed=number, told=f"{number:,} texts{rate}")
            yield item
        bars.update(task, completed=number, told=f"{number:,} texts")
