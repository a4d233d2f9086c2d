"""An evaluation is a recipe that can be run: it trains what it needs, measures, and says what came out.

@dataclass(frozen=True, kw_only=True)
class ErnieFewRel:                      # registered in the group ``kelm.evaluations``; its fields are the TOML's
    study: Study
    def run(self, data, out, say): ...  # returns Markdown
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kelm.errors import InputError

__all__ = ["Evaluation", "given"]


def given(data: Path | None) -> Path:
    """Returns the folder of real data that an evaluation needs.

    Raises:
        InputError: none is given.
    """
    if data is None:
        raise InputError("no folder of data is given", remedy="Give --data FOLDER or set KELM_DATA.")
    return data


class Evaluation(Protocol):
    """A frozen dataclass of options with a method `run`."""

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the findings as Markdown; everything else is written into `out`.

        A run that was interrupted and is started again with the same `out` goes on where it was.

        Args:
            data: the folder of real data, if it needs one.
            say: is told what happens.
        """
        ...
