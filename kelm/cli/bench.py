"""`kelm bench`: run benchmarks, each ours against what a user would pick instead."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kelm.errors import InputError, KelmError, UnknownName, closest

__all__ = ["Row", "bench", "folder", "names", "run"]

Row = dict[str, Any]
_NEEDED = ("benchmark", "ours", "peer", "peer_name", "unit", "ratio")


def bench(
    name: Annotated[
        list[str] | None, typer.Argument(help="Benchmarks to run; none lists them.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run all benchmarks.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Small input: does it run? The numbers mean little.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON and nothing else.")] = False,
) -> None:
    """Measure speed and memory against what you would use instead.

    Benchmarks are part of the source tree, not of the installed package: run this inside a clone.
    A ratio above 1 means that kelm is better. Of several benchmarks each gets its own process.

    Example: kelm bench graph-load --json
    """
    known = names(folder(Path.cwd()))
    wanted = sorted(known) if everything else list(name or ())
    for asked in wanted:
        if asked not in known:
            raise UnknownName(f'no benchmark is called "{asked}"', remedy=closest(asked, known))
    if not wanted:
        print("\n".join(sorted(known)))
        return
    rows = run(wanted[0], quick=quick) if len(wanted) == 1 else [row for one in wanted for row in _apart(one, quick)]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        _show(rows)


def folder(start: Path) -> Path:
    """Returns the folder of benchmarks: of `start`, of a folder above it, or of the source tree of this package.

    Raises:
        InputError: there is none, as with a kelm installed from a wheel.
    """
    for root in (start, *start.parents, Path(__file__).parents[2]):
        if (root / "benchmarks" / "measure.py").is_file():
            return root / "benchmarks"
    raise InputError(
        f"no folder benchmarks/ in {start} or above it",
        remedy="The benchmarks come with kelm's source: clone its repository and run kelm bench inside.",
    )


def names(benchmarks: Path) -> dict[str, str]:
    """Returns each benchmark's name with its module's, read from ``NAME = ...`` or ``NAMES = (...)`` in the source."""
    found: dict[str, str] = {}
    for path in sorted(benchmarks.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8"), path.name).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if not isinstance(target, ast.Name) or target.id not in ("NAME", "NAMES"):
                continue
            value = ast.literal_eval(node.value)  # type: ignore[attr-defined]  # an assignment, see above
            found.update(dict.fromkeys((value,) if target.id == "NAME" else value, path.stem))
    return found


def run(name: str, *, quick: bool = False, start: Path | None = None) -> list[Row]:
    """Returns the rows of one benchmark, run in this process; what it prints goes to standard error.

    Raises:
        UnknownName: no benchmark has that name.
        KelmError: a row lacks one of the columns that every row has.
    """
    benchmarks = folder(start or Path.cwd())
    known = names(benchmarks)
    if name not in known:
        raise UnknownName(f'no benchmark is called "{name}"', remedy=closest(name, known))
    if str(benchmarks.parent) not in sys.path:
        sys.path.insert(0, str(benchmarks.parent))
    with _output_to_error():
        measure = importlib.import_module(f"benchmarks.{known[name]}").rows
        takes_name = "name" in inspect.signature(measure).parameters
        rows: list[Row] = measure(name, quick=quick) if takes_name else measure(quick=quick)
    for row in rows:
        if missing := [column for column in _NEEDED if column not in row]:
            raise KelmError(f'a row of benchmark "{name}" lacks {", ".join(missing)}: {row}.')
    return rows


def _apart(name: str, quick: bool) -> list[Row]:
    """Runs one benchmark in its own process, so that the caches and heap of the one before do not count."""
    command = [sys.executable, "-m", "kelm", "bench", name, "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode < 0:
        cause = signal.Signals(-done.returncode).name
        raise KelmError(
            f'benchmark "{name}" was ended by {cause}. SIGKILL often means too little memory: try it alone.'
        )
    if done.returncode:
        raise KelmError(f'benchmark "{name}" failed with exit code {done.returncode}; its message stands above.')
    rows: list[Row] = json.loads(done.stdout)
    return rows


@contextmanager
def _output_to_error() -> Iterator[None]:
    """Sends what Python and libraries beneath it write to standard output to standard error instead."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _show(rows: list[Row]) -> None:
    table = Table(title="kelm against its peers (ratio above 1: kelm is better)")
    for column in ("benchmark", "setting", "peer"):
        table.add_column(column, overflow="fold")
    for column in ("kelm", "theirs", "unit", "ratio", "range", "kelm MB", "theirs MB"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    for row in rows:
        low, high = row.get("ratio_interval", (None, None))
        numbers = [row["ours"], row["peer"], row["unit"], row["ratio"]]
        spread = "" if low is None else f"{low:.2f}-{high:.2f}"
        memory = [row.get("ours_memory_mb"), row.get("peer_memory_mb")]
        first = [row["benchmark"], str(row.get("setting", "")), row["peer_name"]]
        table.add_row(*first, *map(_cell, numbers), spread, *map(_cell, memory))
    narrow = Console()
    (narrow if narrow.is_terminal else Console(width=160)).print(table)  # a file has room


def _cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
