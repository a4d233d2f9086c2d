"""Text files from outside, opened safely: UTF-8, line by line, plain or compressed, never whole in memory.

    corpus.txt.gz --read--> Line(number=1, text="...", end=57), Line(number=2, ...), ...

Only "\\n" ends a line (a "\\r" before it is dropped): the other separators of Unicode are part of a text. Everything
that can be wrong with such a file is a `FormatError` with the file, the line and what to do.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from kelm.errors import FormatError, MissingDependency

__all__ = ["LONGEST_LINE", "Line", "fingerprint", "lines", "opened", "read"]

LONGEST_LINE = 256 * 2**20  # bytes; what is longer is no text but a binary file or one without line ends
_WHOLE = 64 * 2**20  # bytes up to which a fingerprint reads everything
_BLOCK = 2**16


class Line(NamedTuple):
    """One line: counted from 1, without its line end; `end` is the byte after it in the decompressed file."""

    number: int
    text: str
    end: int


def opened(path: str | Path) -> BinaryIO:
    """Opens a file for reading bytes, decompressing ``.gz``, ``.bz2`` and ``.zst`` by their suffix.

    Raises:
        FormatError: there is no such file, or it is a folder.
        MissingDependency: zstandard is not installed.
    """
    path = Path(path)
    if not path.is_file():
        problem = "a folder where a file is expected" if path.is_dir() else "no such file"
        raise FormatError(problem, path=path, remedy="Give the path of an existing text file.")
    if path.suffix == ".gz":
        return io.BufferedReader(cast(io.RawIOBase, gzip.open(path, "rb")), _BLOCK)
    if path.suffix == ".bz2":
        return io.BufferedReader(cast(io.RawIOBase, bz2.open(path, "rb")), _BLOCK)
    if path.suffix in (".zst", ".zstd"):
        return io.BufferedReader(cast(io.RawIOBase, _zstandard(path)), _BLOCK)
    return path.open("rb")


def _zstandard(path: Path) -> BinaryIO:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise MissingDependency(
                f"{path}: reading zstandard files needs a package. Run: pip install backports.zstd"
            ) from None
    return cast(BinaryIO, zstd.open(path, "rb"))


def read(path: str | Path, *, number: int = 0, byte: int = 0) -> Iterator[Line]:
    """Yields the lines of a UTF-8 text file.

    Args:
        number, byte: continue after line `number`, whose `end` was `byte` (see `Line`).

    Raises:
        FormatError: the file does not exist or is empty, is cut off or damaged (compressed files), a line is not
            UTF-8 or longer than `LONGEST_LINE`.

    Cost: one line in memory. Continuing seeks in a plain file and decompresses from the start in others.
    """
    path = Path(path)
    start = number
    with opened(path) as file:
        try:
            if byte:
                file.seek(byte)
            while line := file.readline(LONGEST_LINE):
                number += 1
                byte += len(line)
                yield Line(number, _decoded(line, path, number), byte)
        except EOFError as error:
            raise FormatError(
                "the compressed file ends in the middle", path=path, line=number + 1, remedy="Fetch the file again."
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise _damaged(path, number + 1, error) from error
        except OSError as error:  # bz2 reports damage so
            if path.suffix != ".bz2" or error.errno is not None:
                raise
            raise _damaged(path, number + 1, error) from error
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # its module is known only where it is installed
                raise
            raise _damaged(path, number + 1, error) from error
    if not start and not number:
        raise FormatError("the file is empty", path=path, remedy="Give a file with at least one line.")


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
    if beginning.startswith(b"\x1f\x8b"):
        return f"The file is compressed by gzip: name it {path.name}.gz."
    if beginning.startswith(b"(\xb5/\xfd"):
        return f"The file is compressed by zstandard: name it {path.name}.zst."
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"Convert it: iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}"
    return f"Convert it, from Latin-1 say: iconv -f LATIN1 -t UTF-8 {path.name} > utf8-{path.name}"


def _damaged(path: Path, line: int, error: Exception) -> FormatError:
    return FormatError(
        f"the compressed file is damaged ({error})",
        path=path,
        line=line,
        remedy=f"Fetch the file again; if it is not compressed, drop the {path.suffix} from its name.",
    )


def fingerprint(path: str | Path) -> str:
    """Returns a short digest of a file's bytes: the same content, the same digest, wherever the file lies.

    Cost: reads up to 64 MiB whole; of a larger file its size and 1,024 blocks of 64 KiB spread evenly over it.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError("no such file", path=path, remedy="Give the path of an existing file.")
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= _WHOLE:
            digest.update(file.read())
            return digest.hexdigest()
        for block in range(1024):
            file.seek(block * (size - _BLOCK) // 1023)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
