"""A folder or a file is written whole or not at all: aside, forced to the disk, then renamed to its place.

.model.tmp-1234      what process 1234 writes, gone when it ends; .model.old.tmp-1234 is what was in the place
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from safetensors import SafetensorError

from kelm.errors import CheckpointError

__all__ = ["added", "aside", "file_aside", "force"]


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Gives a folder to write into, which takes the place of `path` when all of it is on the disk.

    Raises:
        CheckpointError: writing failed; `path` is as it was and nothing half-written remains.
    """
    with _beside(path) as (place, new):
        new.mkdir()
        yield new
        _to_disk(new)
        old = place.with_name(f".{place.name}.old.tmp-{os.getpid()}")
        _swap(place, new, old)
        force(place.parent)
        _remove(old)


@contextmanager
def added(path: Path) -> Iterator[Path]:
    """Gives a folder to write into, whose entries are added to the folder `path` when all of them are on the disk.

    Entries of the same names are replaced, each by one rename; others stay.

    Raises:
        CheckpointError: writing failed; no entry is half-written.
    """
    with _beside(path) as (place, new):
        new.mkdir()
        yield new
        _to_disk(new)
        place.mkdir(exist_ok=True)
        for entry in sorted(new.iterdir()):
            if entry.is_dir():
                _swap(place / entry.name, entry, place / f".{entry.name}.old.tmp-{os.getpid()}")
                _remove(place / f".{entry.name}.old.tmp-{os.getpid()}")
            else:
                entry.replace(place / entry.name)
        force(place)


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """Gives the path of a file to write, which takes the place of `path` when all of it is on the disk.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with file_aside(Path(folder) / "names.txt") as new:
    ...         _ = new.write_text("Berlin")
    ...     print([file.name for file in Path(folder).iterdir()])
    ['names.txt']

    Raises:
        CheckpointError: writing failed; `path` is as it was and nothing half-written remains.
    """
    with _beside(path) as (place, new):
        yield new
        force(new)
        new.replace(place)
        force(place.parent)


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, Path]]:
    """Gives the place that `path` means (links followed) and a free name beside it; nothing of that name remains."""
    try:
        place = path.resolve()
        new = place.with_name(f".{place.name}.tmp-{os.getpid()}")
        place.parent.mkdir(parents=True, exist_ok=True)
        _clear(place)
        try:
            yield place, new
        finally:
            _remove(new)
    except (OSError, SafetensorError) as error:
        raise _unwritten(path, error) from error
    except CheckpointError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError | SafetensorError) or new.name not in str(error):
            raise
        raise _unwritten(path, cause) from cause  # of a folder within: its name is gone with `new`


def _unwritten(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} could not be written ({error}). Nothing half-written was left, and what was there is whole. "
        "Free some space or choose another place, then save again or resume."
    )


def _swap(place: Path, new: Path, old: Path) -> None:
    """Puts a new folder in its place; one that is there moves out first, as a rename needs an empty place."""
    try:
        if place.exists():
            place.rename(old)
        new.rename(place)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        raise


def _clear(place: Path) -> None:
    """Removes what killed processes left beside `place`; one killed amid a swap gets its old folder back."""
    for word in ("old.tmp", "tmp"):
        for rest in place.parent.glob(f".{escape(place.name)}.{word}-*"):
            process = rest.name.rpartition("-")[2]
            if not process.isdecimal() or _is_running(int(process)):
                continue
            if word == "old.tmp" and not place.exists():
                rest.rename(place)
            else:
                _remove(rest)


def _is_running(process: int) -> bool:
    """Whether another process of that number is there."""
    if process == os.getpid():
        return False  # numbers come again: in a container every run may be process 1
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _to_disk(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        for name in files:
            force(Path(root, name))
        force(Path(root))


def force(path: Path) -> None:
    """Makes sure that a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
