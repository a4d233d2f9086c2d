"""Counts what a reader reads, and decides whether a bad line ends the reading.

Two kinds of loss: a *bad* line (broken, or a sign of a mistake) raises until `skip_bad` of them are allowed; what is
merely *dropped* (a comment, a label in a language nobody asked for) is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kelm.errors import FormatError, InputError
from kg.report import UNWANTED, Report

__all__ = ["Journal", "Progress"]

Progress = Callable[[int, float], None]
"""Called now and then with the lines read so far and the share of the source that is behind (0 to 1)."""

_SHOWN = 5  # messages of bad lines that a report keeps


class Journal:
    """The account of one reading.

    Args:
        source: named in messages and in the report.
        kind: the reader's name, such as "tsv".
        skip_bad: how many bad lines to leave out before one raises.
        progress: told the lines read, see `Progress`.

    Attributes:
        line: number of the line being read, from 1; 0 before the first.
        counts: triples, labels, types and attributes read so far.
    """

    def __init__(self, source: str | Path, kind: str, *, skip_bad: int = 0, progress: Progress | None = None) -> None:
        self.source, self.kind, self.skip_bad = source, kind, skip_bad
        self.progress = progress or (lambda lines, share: None)
        self.line = 0
        self.counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._bad: list[str] = []
        self._bad_count = 0

    def bad(self, error: InputError, *, line: int | None = None, reason: str = "bad line") -> None:
        """Counts a bad line under `reason`, or raises `error` with file and line filled in.

        Raises:
            InputError: of the given kind, when more lines are bad than `skip_bad` allows.
        """
        line = error.line or line or self.line or None
        placed = type(error)(
            error.problem, path=error.path or self.source, line=line, field=error.field, remedy=error.remedy
        )
        self._bad_count += 1
        if self._bad_count > self.skip_bad:
            if self.skip_bad:
                placed.args = (f"{placed} This is bad line number {self._bad_count}; skip_bad={self.skip_bad}.",)
            raise placed from error
        self._dropped[reason] += 1
        if len(self._bad) < _SHOWN:
            self._bad.append(str(placed))

    def drop(self, reason: str, count: int = 1) -> None:
        """Counts something that is left out without being wrong."""
        if count:
            self._dropped[reason] += count

    def label(self, kept: bool) -> None:
        """Counts a label, or one whose language nobody asked for; `kept` is what the builder's method returned."""
        if kept:
            self.counts["labels"] += 1
        else:
            self.drop(UNWANTED)

    def report(self) -> Report:
        """Returns the account so far."""
        counted = {name: self.counts[name] for name in ("triples", "labels", "types", "attributes")}
        return Report(
            str(self.source), self.kind, lines=self.line, **counted, dropped=dict(self._dropped), bad=tuple(self._bad)
        )

    def nothing(self, expected: str) -> FormatError:
        """Returns the error for a source that holds nothing of what was expected."""
        return FormatError(
            f"expected {expected}, found none in {self.line:,} lines",
            path=self.source,
            remedy="Check that this is the right file and the right format.",
        )
