"""A folder is written whole or not at all: aside, forced to the disk, then renamed to its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from kelm.errors import CheckpointError

__all__ = ["aside", "force"]


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Gives a folder to write into, which takes the place of `path` when all of it is on the disk.

    Raises:
        CheckpointError: writing failed; `path` is as it was and nothing half-written remains.
    """
    new, old = (path.with_name(f".{path.name}.{word}-{os.getpid()}") for word in ("tmp", "old.tmp"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for rest in path.parent.glob(f".{path.name}.*tmp-*"):
            shutil.rmtree(rest)
        new.mkdir()
        yield new
        _to_disk(new)
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        force(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} could not be written ({error}). Nothing half-written was left and earlier checkpoints are whole. "
            "Free some space there or choose another folder, then resume."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


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
