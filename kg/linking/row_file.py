"""Files of rows: JSON lines, the first of which says of what kind and version they are.

{"format": "kelm-names", "version": 2, ...}
["Paris", "Q90", 120.0, "en", 0]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kelm.data.files import lines
from kelm.data.folders import file_aside
from kelm.errors import FormatError

__all__ = ["RowFile"]


@dataclass(frozen=True, slots=True)
class RowFile:
    """A kind of such files.

    Attributes:
        format, version: what the first line says.
        holds: what the file holds, for who reads an error.
        remedy: what to do about a file that is none of this kind or is damaged.
    """

    format: str
    version: int
    holds: str
    remedy: str

    def write(self, path: str | Path, rows: Iterable[object], **header: object) -> None:
        """Writes a file, aside first, then renamed.

        Raises:
            CheckpointError: it cannot be written; what was there before is untouched.
        """
        with file_aside(Path(path)) as new, new.open("w", encoding="utf-8") as file:
            file.write(_line({"format": self.format, "version": self.version, **header}))
            file.writelines(map(_line, rows))

    def read(self, path: str | Path) -> Iterator[tuple[int, Any]]:
        """Yields the number and the value of each line: first the header, an object, then the rows.

        Raises:
            FormatError: the file is of another kind, or a line is no JSON; names the line.
        """
        for place, (number, line) in enumerate(lines(path)):
            try:
                value = json.loads(line)
                sound = place > 0 or (value["format"] == self.format and value["version"] == self.version)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise self.damaged(path, number, str(error)) from error
            if not sound:
                raise self.damaged(path, number, f"format {value['format']!r}, version {value['version']!r}")
            yield number, value

    def damaged(self, path: str | Path, line: int | None, problem: str) -> FormatError:
        """Returns the error that a line is not what it should be."""
        return FormatError(
            f"expected {self.holds} ({self.format}, version {self.version}), found: {problem}",
            path=path,
            line=line,
            remedy=self.remedy,
        )


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
