"""What a run says about itself: a progress bar (plain lines where there is no terminal), JSON lines, TensorBoard.

log.jsonl   {"step": 20, "steps": 10, "loss": 5.1, "rate": 4e-5, "norm": 1.3, "tokens_per_second": 9000,
             "losses": {"mlm": 5.1}}
            {"step": 100, "scores": {"mlm/loss": 4.2}}
             of data in parts, such as languages, also
             "tokens": {"en": 90112, "sw": 41208}, "passes": {"mlm": {"en": 0.4, "sw": 2.1}}

Losses are means over the `steps` since the line before, or since the run was resumed; steps left out do not count.
Rate and norm are those of the last of them. Tokens and passes are those since the run began; passes are told to a pool
of texts. What is no number is null.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kelm.data.folders import file_aside
from kelm.errors import CheckpointError
from kelm.training.recipe import Logging

__all__ = ["Log", "Read", "Record"]


@dataclass(frozen=True, slots=True)
class Read:
    """Of each part of the data the tokens so far, and for each objective how often the part was read."""

    tokens: Mapping[str, int]
    passes: Mapping[str, Mapping[str, float]]

    def told(self, most: int = 8) -> str:
        """Returns a line: the passes over the parts of which most was read."""
        named = {name: times for passes in self.passes.values() for name, times in passes.items()}
        first = sorted(self.tokens, key=lambda name: -self.tokens[name])[:most]
        parts = [
            f"{name} {self.tokens[name]:,}" + (f" ({named[name]:.2f} passes)" if name in named else "")
            for name in first
        ]
        more = len(self.tokens) - len(first)
        return ", ".join(parts) + (f", and {more} more: see log.jsonl" if more else "")


@dataclass(frozen=True, slots=True)
class Record:
    """One step: its losses by part, their weighted sum, rate, the gradient's norm, real tokens, all that was read."""

    step: int
    loss: float
    losses: Mapping[str, float]
    rate: float
    norm: float
    tokens: int
    read: Read | None = None


class Log:
    """Used as a context; `step` and `scores` take what happens.

    Args:
        folder: where log.jsonl and TensorBoard's files go; None writes none.
        steps: of the whole run, for the bar.
        start: the step that the run stands at; later lines of an interrupted run are dropped.
        show: whether to show progress on standard error.
    """

    def __init__(
        self, folder: Path | None, options: Logging, *, steps: int, start: int = 0, show: bool = False
    ) -> None:
        self._file = None if folder is None else folder / "log.jsonl"
        self._board = _board(folder, start) if folder is not None and options.tensorboard else None
        self._every, self._steps = options.every, steps
        self._gathered: list[Record] = []
        self._clock = time.perf_counter()
        self._console = Console(stderr=True) if show else None
        self._bar, self._task = _bar(self._console, steps, start)
        if self._file is not None:
            with _told(self._file):
                _cut(self._file, start)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()

    def step(self, record: Record) -> None:
        """Takes a step; writes a line when it is time, see also `flush`."""
        self._gathered.append(record)
        if self._bar is not None:
            self._bar.update(self._task, completed=record.step)
        if record.step % self._every == 0 or record.step == self._steps:
            self.flush()

    def flush(self) -> None:
        """Writes a line about the steps since the last one, if there are any."""
        records, self._gathered = self._gathered, []
        if not records:
            return
        before, self._clock = self._clock, time.perf_counter()
        last = records[-1]
        losses: dict[str, float] = {}
        for name in dict.fromkeys(name for record in records for name in record.losses):
            values = [record.losses[name] for record in records if name in record.losses]
            losses[name] = sum(values) / len(values)
        numbers = {
            "loss": sum(record.loss for record in records) / len(records),
            "rate": last.rate,
            "norm": last.norm,
            "tokens_per_second": round(sum(record.tokens for record in records) / (self._clock - before)),
        }
        read = {} if last.read is None else {"tokens": last.read.tokens, "passes": last.read.passes}
        self._line({"step": last.step, "steps": len(records), **numbers, "losses": losses, **read})
        self._plot(last.step, numbers | losses)
        told = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        if self._bar is not None:
            self._bar.update(self._task, told=told, speed=numbers["tokens_per_second"], rate=last.rate)
        else:
            speed = f"{numbers['tokens_per_second']:,} tokens/s"
            self.say(f"step {last.step} of {self._steps}: {told}, rate {last.rate:.2e}, {speed}")
        if last.read is not None and last.step == self._steps:
            self.say(f"tokens read: {last.read.told()}")

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Takes an evaluation."""
        self._line({"step": step, "scores": dict(scores)})
        self._plot(step, scores)
        self.say(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))

    def say(self, text: str) -> None:
        """Shows a sentence."""
        if self._console is not None:
            self._console.print(text, highlight=False)

    def _line(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        with _told(self._file), self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(line)) + "\n")

    def _plot(self, step: int, values: Mapping[str, Any]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)


def _bar(console: Console | None, steps: int, start: int) -> tuple[Progress | None, Any]:
    if console is None or not console.is_terminal:
        return None, None
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TextColumn("rate {task.fields[rate]:.1e}"),
        TextColumn("{task.fields[speed]:,} tokens/s"),
        TimeRemainingColumn(),
        console=console,
    )
    return bar, bar.add_task("", total=steps, completed=start, told="", speed=0, rate=0.0)


def _board(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    board = folder / "tensorboard"
    seconds = [int(path.name.split(".")[3]) for path in board.glob("events.out.tfevents.*")]
    while int(time.time()) in seconds:  # files of one second are read in no order of their own
        time.sleep(0.05)
    return SummaryWriter(str(board), purge_step=start + 1)  # what a killed run plotted is hidden


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{file} could not be written ({error}). Free some space or choose another folder, then resume."
        ) from error


def _cut(file: Path, start: int) -> None:
    """Drops the lines of steps after `start`, and a last line that a crash left incomplete."""
    if not file.exists():
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if _step_of(line) <= start]
    if kept == lines:
        return
    with file_aside(file) as new:
        new.write_text("".join(kept), encoding="utf-8")


def _finite(value: Any) -> Any:
    """Returns a line's value with None for numbers that JSON cannot write."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf
