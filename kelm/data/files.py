"""Text files from outside, opened safely: UTF-8, line by line, plain or compressed, never whole in memory.

    corpus.txt.gz --read--> Line(number=1, text="...", end=57), Line(number=2, ...), ...
    .gz  .bz2  .xz  .zst (with the package `backports.zstd`)  or plain        by the first bytes, not by the name

Only "\\n" ends a line (a "\\r" before it is dropped): the other separators of Unicode are part of a text. Everything
that can be wrong with such a file is a `FormatError` with the file, the line and what to do.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kelm.errors import FormatError, MissingDependency

__all__ = [
    "ENDINGS",
    "LONGEST_LINE",
    "Line",
    "beside",
    "damage",
    "fingerprint",
    "lines",
    "opened",
    "opener",
    "read",
    "required",
]

_BEGINNINGS = {
    ".gz": rb"\x1f\x8b",
    ".bz2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",  # longer than its mark, as a text may begin with "BZh"
    ".xz": rb"\xfd7zXZ\x00",
    ".zst": rb"\x28\xb5\x2f\xfd",
}
ENDINGS = (*_BEGINNINGS, ".zstd")  # of the names of compressed files
LONGEST_LINE = 256 * 2**20  # bytes; what is longer is no text but a binary file or one without line ends
_WHOLE = 64 * 2**20  # bytes up to which a fingerprint reads everything
_BLOCK = 2**16


class Line(NamedTuple):
    """One line: counted from 1, without its line end; `end` is the byte after it in the decompressed file."""

    number: int
    text: str
    end: int


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[io.BufferedReader, io.BufferedReader]]:
    """Opens a file for reading: its decompressed bytes, and the file itself, whose `tell` measures progress.

    They are one and the same if it is not compressed. What reading them raises is told by `damage`.

    Raises:
        FormatError: there is no such file, it is a folder, or it may not be read.
        MissingDependency: the package for zstandard is not installed.
    """
    with _raw(path) as raw:
        start = raw.peek(16)
        ending = next((ending for ending, mark in _BEGINNINGS.items() if re.match(mark, start)), "")
        if not ending:
            yield raw, raw
            return
        with io.BufferedReader(opener(ending)(raw, "rb"), _BLOCK) as file:
            yield file, raw


def _raw(path: str | Path) -> io.BufferedReader:
    try:
        return Path(path).open("rb")
    except OSError as error:
        reason = "a folder where a file is expected" if Path(path).is_dir() else error.strerror or error
        raise FormatError(
            f"cannot be opened: {reason}", path=path, remedy="Give the path of a file that exists and may be read."
        ) from error


def opener(ending: str) -> Any:
    """Returns what opens a file of that ending as `gzip.open` does, by path or open file; `open` if it is none of ours.

    Raises:
        MissingDependency: the package for zstandard is not installed.
    """
    if ending in (".zst", ".zstd"):
        return _zstandard().open
    return {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(ending, open)


def _zstandard() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise MissingDependency("Zstandard files need a package. Run: pip install backports.zstd") from None
    return zstd


def damage(error: Exception, path: str | Path, line: int) -> FormatError | None:
    """Returns what an error says of the file that was being read at `line`; None if it is about something else."""
    remedy = "Fetch or copy it again."
    if isinstance(error, EOFError):
        return FormatError("the compressed file is cut: it ends in the middle", path=path, line=line, remedy=remedy)
    if isinstance(error, OSError) and error.errno is not None:
        problem = f"cannot be read on: {error.strerror}"
        return FormatError(problem, path=path, line=line, remedy="Check the disk, or the connection to it.")
    # gzip and bz2 report damage as an OSError without a number; zstandard's error is known only where it is installed
    if isinstance(error, (OSError, zlib.error, lzma.LZMAError)) or type(error).__name__ == "ZstdError":
        return FormatError(f"the compressed file is damaged ({error})", path=path, line=line, remedy=remedy)
    return None


def read(path: str | Path, *, number: int = 0, byte: int = 0) -> Iterator[Line]:
    """Yields the lines of a UTF-8 text file.

    Args:
        number, byte: continue after line `number`, whose `end` was `byte` (see `Line`).

    Raises:
        FormatError: the file does not exist or is empty, is cut or damaged (compressed files), or is not compressed
            though its name says so; a line is not UTF-8 or longer than `LONGEST_LINE`.

    Cost: one line in memory. Continuing seeks in a plain file and decompresses from the start in others.
    """
    path = Path(path)
    start = number
    with opened(path) as (file, raw):
        if file is raw:
            _check_name(path, raw)
        try:
            if byte:
                file.seek(byte)
            while line := file.readline(LONGEST_LINE):
                number += 1
                byte += len(line)
                yield Line(number, _decoded(line, path, number), byte)
        except Exception as error:
            if told := damage(error, path, number + 1):
                raise told from error
            raise
    if not start and not number:
        raise FormatError("the file is empty", path=path, remedy="Give a file with at least one line.")


def _check_name(path: Path, raw: io.BufferedReader) -> None:
    """Refuses a plain file named as a compressed one: an error page, say, that would pass for a text."""
    if path.suffix.lower() in ENDINGS and raw.peek(1):
        raise FormatError(
            f"the file is damaged or not compressed: {path.suffix} files begin otherwise",
            path=path,
            remedy=f"Fetch it again; if it is not compressed, drop the {path.suffix} from its name.",
        )


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line without its end) of a UTF-8 text file; errors as in `read`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "greetings.txt"
    ...     _ = path.write_text("hello\\nbonjour\\n", encoding="utf-8")
    ...     print(list(lines(path)))
    [(1, 'hello'), (2, 'bonjour')]
    """
    return ((line.number, line.text) for line in read(path))


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"byte {error.start + 1} of the line (0x{line[error.start]:02x}) is not UTF-8",
            path=path,
            line=number,
            remedy=_remedy(line if number == 1 else b"", path),
        ) from None
    if len(line) >= LONGEST_LINE and not text.endswith("\n"):
        raise FormatError(
            f"the line is longer than {LONGEST_LINE:,} bytes",
            path=path,
            line=number,
            remedy="Give a text file with line ends.",
        )
    if number == 1:
        text = text.removeprefix("\ufeff")  # the mark that some editors put first
    return text.removesuffix("\n").removesuffix("\r")


def _remedy(beginning: bytes, path: Path) -> str:
    """Says what to do about bytes that are no UTF-8; `beginning` is the file's first line."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"Convert it: iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}"
    return f"Convert it, from Latin-1 say: iconv -f LATIN1 -t UTF-8 {path.name} > utf8-{path.name}"


def fingerprint(path: str | Path) -> str:
    """Returns a short digest of a file's bytes: the same content, the same digest, wherever the file lies.

    Cost: reads up to 64 MiB whole; of a larger file its size and 1,024 blocks of 64 KiB spread evenly over it.
    """
    with _raw(path) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=16)
        if size <= _WHOLE:
            digest.update(file.read())
            return digest.hexdigest()
        for block in range(1024):
            file.seek(block * (size - _BLOCK) // 1023)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def beside(folder: str | Path, name: str) -> Path | None:
    """Returns the file `name` of a folder, or `name.gz` and the like; None if there is none."""
    plain = Path(folder) / name
    candidates = (plain, *(plain.with_name(f"{plain.name}{ending}") for ending in ENDINGS))
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
