"""A graph's source, plain or compressed (`kelm.data.files`), as chunks of whole lines or as numbered lines of text.

A missing, empty, truncated or mis-encoded file becomes a `FormatError` with the line and what to do. A plain file that
is named as a compressed one is read all the same; a corpus refuses it, since there any line would pass for a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from kelm.data.files import ENDINGS, LONGEST_LINE, damage, opened, opener
from kelm.data.folders import file_aside
from kelm.data.json_text import parsed
from kelm.errors import CheckpointError, FormatError
from kg.io.journal import Journal

__all__ = [
    "chunks",
    "decoded",
    "json_value",
    "lines",
    "opened",
    "suffix",
    "written",
]

_CHUNK = 1 << 24  # bytes; larger is no faster, and this much times three fits into small machines
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def suffix(path: str | Path) -> str:
    """Returns what the file's name says it holds, in lower case and without the ending of a compression.

    >>> suffix("graph.nt.gz")
    '.nt'
    """
    name = Path(path)
    if name.suffix.lower() in ENDINGS:
        name = name.with_suffix("")
    return name.suffix.lower()


def chunks(
    path: str | Path, journal: Journal, *, size: int = _CHUNK, line_ends: bool = True
) -> Iterator[tuple[int, bytes]]:
    r"""Yields the number of the first line and the bytes of chunks of whole lines; every line ends in ``\n``.

    A byte-order mark is left out, `journal.line` moves on.

    Args:
        size: bytes to read at once.
        line_ends: turn ``\r\n`` and ``\r`` into ``\n``; not for formats in which a string may run over lines.

    Raises:
        FormatError: the file is missing, empty, cut, or not what its compression says; a line is longer than
            `LONGEST_LINE` (where `line_ends` is True).
    """
    rest: list[bytes] = []  # blocks of a line that has not ended
    with opened(path) as (file, raw):
        total = Path(path).stat().st_size
        while block := _read(file, size, path, journal.line + 1):
            if not journal.line and not rest:
                block = block.removeprefix(_BYTE_ORDER_MARK)
            cut = block.rfind(b"\n") + 1
            if not cut:
                rest += [block] if block else []
                _check_length(sum(map(len, rest)) if line_ends else 0, path, journal.line + 1)
                continue
            yield _numbered(b"".join((*rest, block[:cut])), journal, line_ends)
            rest = [block[cut:]] if cut < len(block) else []
            journal.progress(journal.line, raw.tell() / total if total else 0.0)  # a pipe has no size and no place
        if rest:
            yield _numbered(b"".join((*rest, b"\n")), journal, line_ends)
        journal.progress(journal.line, 1.0)
    if not journal.line:
        raise FormatError("the file is empty", path=path, remedy="Check that it was downloaded or written completely.")


def _check_length(length: int, path: str | Path, line: int) -> None:
    if length > LONGEST_LINE:
        problem = f"the line is longer than {LONGEST_LINE:,} bytes"
        raise FormatError(problem, path=path, line=line, remedy="Give a file with line ends.")


def _numbered(chunk: bytes, journal: Journal, line_ends: bool) -> tuple[int, bytes]:
    if line_ends and b"\r" in chunk:
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    first = journal.line + 1
    journal.line += chunk.count(b"\n")
    return first, chunk


def _read(file: BinaryIO, size: int, path: str | Path, line: int) -> bytes:
    try:
        return file.read(size)
    except Exception as error:
        if told := damage(error, path, line):
            raise told from error
        raise


def decoded(chunk: bytes, first: int, journal: Journal) -> str:
    """Returns the chunk's text; a line that is not UTF-8 goes to `journal.bad` and becomes empty.

    Raises:
        FormatError: such a line, unless the journal allows bad lines.
    """
    try:
        return chunk.decode()
    except UnicodeDecodeError:
        return "\n".join(_decoded_line(line, first + row, journal) for row, line in enumerate(chunk.split(b"\n")))


def _decoded_line(line: bytes, number: int, journal: Journal) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
        journal.bad(
            FormatError(
                f"expected UTF-8, found {byte}",
                remedy="Save the file as UTF-8 (iconv -f ENCODING -t UTF-8), or allow bad lines to be skipped.",
            ),
            line=number,
            reason="not UTF-8",
        )
        return ""


def lines(path: str | Path, journal: Journal, *, line_ends: bool = True) -> Iterator[tuple[int, str]]:
    """Yields number and text of each line, without its end. Arguments and errors as `chunks` and `decoded`."""
    for first, chunk in chunks(path, journal, size=1 << 20, line_ends=line_ends):
        texts = decoded(chunk, first, journal).split("\n")
        yield from enumerate(texts[:-1], first)


def json_value(path: str | Path) -> Any:
    """Returns the JSON value of a file.

    Raises:
        FormatError: it is not JSON, or cannot be read.
    """
    journal = Journal(path, "json")
    text = "".join(decoded(chunk, first, journal) for first, chunk in chunks(path, journal))
    try:
        return parsed(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise FormatError(f"this is not JSON ({error})", path=path, line=line, remedy="Copy the file again.") from error


@contextmanager
def written(path: str | Path) -> Iterator[IO[bytes]]:
    """Opens `path` for writing, aside and renamed at the end; compressed if its name has the ending of a compression.

    Raises:
        FormatError: the file cannot be written. Nothing half-written remains.
        MissingDependency: the package for zstandard is not installed.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FormatError("cannot be written: no such folder", path=path, remedy="Make the folder, or choose another.")
    try:
        with file_aside(target) as new, opener(target.suffix.lower())(new, "wb") as file:
            yield file
    except CheckpointError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise FormatError(
            f"cannot be written: {reason}", path=path, remedy="Make room or choose another place."
        ) from error
