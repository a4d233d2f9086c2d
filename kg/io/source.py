"""Opens a file, plain or compressed, as chunks of whole lines or as numbered lines of text.

    .gz  .bz2  .xz  .zst (with the package `backports.zstd`)  or plain        by the first bytes, not by the name

A missing, empty, truncated or mis-encoded file becomes a `FormatError` with the line and what to do.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from kelm.errors import FormatError, MissingDependency
from kg.io.journal import Journal

__all__ = ["beside", "chunks", "decoded", "json_value", "lines", "opened", "required", "suffix", "written"]

_CHUNK = 1 << 24  # bytes; larger is no faster, and this much times three fits into small machines
_COMPRESSIONS = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def suffix(path: str | Path) -> str:
    """Returns what the file's name says it holds, in lower case and without the ending of a compression.

    >>> suffix("graph.nt.gz")
    '.nt'
    """
    name = Path(path)
    if name.suffix.lower().lstrip(".") in _COMPRESSIONS.values():
        name = name.with_suffix("")
    return name.suffix.lower()


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Opens `path` for reading: its decompressed bytes, and the file itself (whose `tell` measures progress).

    Raises:
        FormatError: there is no such file, it is a folder, or it cannot be read.
        MissingDependency: a `.zst` file without the package that reads it.
    """
    try:
        raw = Path(path).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise FormatError(
            f"cannot be opened: {error.strerror or error}", path=path, remedy="Check the path and its permissions."
        ) from error
    with raw:
        start = raw.read(6)
        raw.seek(0)
        kind = next((kind for magic, kind in _COMPRESSIONS.items() if start.startswith(magic)), "")
        yield _decompressed(raw, kind), raw


def _decompressed(raw: BinaryIO, kind: str) -> BinaryIO:
    if kind == "gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if kind == "bz2":
        return cast(BinaryIO, bz2.BZ2File(raw))
    if kind == "xz":
        return cast(BinaryIO, lzma.LZMAFile(raw))
    if kind == "zst":
        return cast(BinaryIO, _zstandard().open(raw, "rb"))
    return raw


def _zstandard() -> Any:
    try:
        from backports import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingDependency("Reading .zst needs a package. Run: pip install backports.zstd") from error
    return zstd


def chunks(
    path: str | Path, journal: Journal, *, size: int = _CHUNK, line_ends: bool = True
) -> Iterator[tuple[int, bytes]]:
    r"""Yields the number of the first line and the bytes of chunks of whole lines; every line ends in ``\n``.

    A byte-order mark is left out, `journal.line` moves on.

    Args:
        size: bytes to read at once.
        line_ends: turn ``\r\n`` and ``\r`` into ``\n``; not for formats in which a string may run over lines.

    Raises:
        FormatError: the file is missing, empty, cut, or not what its compression says.
    """
    rest = b""
    with opened(path) as (file, raw):
        total = Path(path).stat().st_size
        while block := _read(file, size, path, journal.line + rest.count(b"\n") + 1):
            if not journal.line and not rest:
                block = block.removeprefix(_BYTE_ORDER_MARK)
            rest += block
            cut = rest.rfind(b"\n") + 1
            if cut:
                yield _numbered(rest[:cut], journal, line_ends)
                rest = rest[cut:]
                journal.progress(journal.line, raw.tell() / max(total, 1))
        if rest:
            yield _numbered(rest + b"\n", journal, line_ends)
        journal.progress(journal.line, 1.0)
    if not journal.line:
        raise FormatError("the file is empty", path=path, remedy="Check that it was downloaded or written completely.")


def _numbered(chunk: bytes, journal: Journal, line_ends: bool) -> tuple[int, bytes]:
    if line_ends and b"\r" in chunk:
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    first = journal.line + 1
    journal.line += chunk.count(b"\n")
    return first, chunk


def _read(file: BinaryIO, size: int, path: str | Path, line: int) -> bytes:
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, OSError, ValueError) as error:
        raise FormatError(
            f"the compressed file is cut off or damaged ({error})",
            path=path,
            line=line,
            remedy="Download or copy it again; the lines before this one are readable.",
        ) from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # the package is optional, so its error cannot be named
            raise
        raise FormatError(
            f"the compressed file is damaged ({error})", path=path, line=line, remedy="Download or copy it again."
        ) from error


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


def beside(folder: str | Path, name: str) -> Path | None:
    """Returns the file `name` of a folder, or `name.gz` and the like; None if there is none."""
    plain = Path(folder) / name
    candidates = (plain, *(plain.with_name(f"{plain.name}.{ending}") for ending in _COMPRESSIONS.values()))
    return next((path for path in candidates if path.is_file()), None)


def required(folder: str | Path, *names: str) -> Path:
    """Returns the first of the files `names` that a folder has, compressed or not.

    Raises:
        FormatError: it has none of them.
    """
    for name in names:
        if found := beside(folder, name):
            return found
    raise FormatError(
        f"the folder has no {' and no '.join(names)}", path=folder, remedy="Name the folder that holds the data set."
    )


def json_value(path: str | Path) -> Any:
    """Returns the JSON value of a file.

    Raises:
        FormatError: it is not JSON, or cannot be read.
    """
    journal = Journal(path, "json")
    text = "".join(decoded(chunk, first, journal) for first, chunk in chunks(path, journal))
    try:
        return json.loads(text)
    except ValueError as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise FormatError(f"this is not JSON ({error})", path=path, line=line, remedy="Copy the file again.") from error


@contextmanager
def written(path: str | Path) -> Iterator[IO[bytes]]:
    """Opens `path` for writing, aside and renamed at the end; compressed if its name ends in .gz, .bz2 or .xz.

    Raises:
        FormatError: the file cannot be written. Nothing half-written remains.
    """
    target = Path(path)
    aside = target.with_name(f".{target.name}.partial")
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    try:
        with openers.get(target.suffix.lower(), open)(aside, "wb") as file:
            yield file
        aside.replace(target)
    except OSError as error:
        raise FormatError(
            f"cannot be written: {error.strerror or error}", path=path, remedy="Make room or choose another place."
        ) from error
    finally:
        aside.unlink(missing_ok=True)
