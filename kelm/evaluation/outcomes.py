"""outcomes.jsonl: what a study has found so far, so that one that was interrupted goes on where it was.

log = OutcomeLog(out / "outcomes.jsonl", Outcome)      log.done      log.add(fresh)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

__all__ = ["OutcomeLog"]

T = TypeVar("T")


class OutcomeLog(Generic[T]):
    """Outcomes in a file, a line for those that belong together.

    Args:
        path: of the file; its folder is made. A last line that was cut off by a kill is dropped.
        kind: the dataclass of an outcome.

    Attributes:
        done: all outcomes, those of earlier runs first.
    """

    def __init__(self, path: Path, kind: type[T]) -> None:
        self.path = path
        self.done: list[T] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]
            path.write_text("".join(whole), encoding="utf-8")
            self.done = [kind(**outcome) for line in whole for outcome in json.loads(line)]

    def add(self, fresh: Sequence[T]) -> None:
        """Keeps outcomes that belong together: a kill leaves all of them or none."""
        values: list[Any] = [asdict(outcome) for outcome in fresh]  # type: ignore[call-overload]  # T is a dataclass
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
        self.done += fresh
