"""JSON from outside, read strictly: a line that should be an object is one, and its texts can be written again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kelm.errors import FormatError

__all__ = ["json_object", "parsed"]

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def json_object(text: str, path: str | Path, line: int) -> dict[str, Any]:
    """Returns the JSON object in a line of a file.

    Raises:
        FormatError: it is something else, or a text in it has half of a surrogate pair, which no file could hold.
    """
    try:
        found = parsed(text)
    except (ValueError, RecursionError) as error:
        problem = f"this is no JSON ({error})"
        raise FormatError(problem, path=path, line=line, remedy="Give one object a line.") from error
    if not isinstance(found, dict):
        problem = f"expected an object, found {type(found).__name__}"
        raise FormatError(problem, path=path, line=line, remedy="Give one object a line.")
    return found


def parsed(text: str) -> Any:
    """Returns a JSON value.

    Raises:
        ValueError: it is none, or a text in it has half of a surrogate pair.
        RecursionError: it is nested too deeply.
    """
    found = json.loads(text)
    if _SURROGATE.search(text):
        json.dumps(found, ensure_ascii=False).encode()  # raises UnicodeEncodeError, a ValueError
    return found
