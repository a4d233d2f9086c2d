"""Columns in a folder: one `.npy` file each and a manifest with their sizes and checksums.

    graph/manifest.json    {"format": "kelm-graph", "version": 1, "facts": {...}, "files": {"heads.npy": {...}}}
    graph/heads.npy        NumPy's own format, memory-mapped when opened; no pickle

A folder is written aside and renamed (`kelm.data.folders`): a reader finds the old one, the new one, or none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kelm.data.folders import aside
from kelm.errors import CheckpointError, NothingSaved

__all__ = ["MANIFEST", "open_columns", "save_columns"]

MANIFEST = "manifest.json"
_FORMAT, _VERSION = "kelm-graph", 1
_REBUILD = "Build it again, or copy it again from where it came from."


def save_columns(folder: str | Path, columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Writes `columns` and the JSON value `facts` to `folder`, replacing a graph that is there.

    Raises:
        CheckpointError: the folder holds something else, or cannot be written (a full disk, no permission).
            Nothing half-written remains.
    """
    target = Path(folder).absolute()
    if target.exists() and not (target.is_dir() and (_is_ours(target) or not any(target.iterdir()))):
        raise CheckpointError(f"{target} is there and is not a saved graph. Name another folder, or remove it first.")
    with aside(target) as new:
        _write(new, columns, facts)


def _is_ours(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / MANIFEST).read_text("utf-8"))["format"] == _FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(folder: Path, columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    files = {}
    for name, column in columns.items():
        path = folder / f"{name}.npy"
        with path.open("wb") as file:
            np.save(file, column, allow_pickle=False)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    manifest = {"format": _FORMAT, "version": _VERSION, "facts": facts, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_columns(folder: str | Path, *, verify: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the columns, memory-mapped and read-only, and the facts that `save_columns` wrote.

    Args:
        verify: compare checksums, which reads every file once; sizes are compared in any case.

    Raises:
        NothingSaved: no graph is there.
        CheckpointError: a file of it is missing, cut or changed.
    """
    root = Path(folder)
    manifest = _manifest(root)
    columns = {}
    for name, expected in manifest["files"].items():
        path = root / name
        if path.name != name or path.suffix != ".npy":  # a manifest from outside must not reach other folders
            raise CheckpointError(f'{root / MANIFEST}: "{name}" is not the name of a column. {_REBUILD}')
        _check(path, expected, verify=verify)
        columns[path.stem] = _column(path)
    return columns, manifest["facts"]


def _manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    if not path.is_file():
        raise NothingSaved(f"{root}: nothing that kelm saved is here ({MANIFEST} is missing). Check the path.")
    try:
        manifest = json.loads(path.read_text("utf-8"))
        kind, version = manifest["format"], manifest["version"]
        sound = isinstance(manifest["facts"], dict) and isinstance(manifest["files"], dict)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a manifest ({error}). {_REBUILD}") from error
    if kind != _FORMAT or not sound:
        raise CheckpointError(f'{path}: expected the format "{_FORMAT}", found "{kind}". Check the path.')
    if version != _VERSION:
        raise CheckpointError(f"{path}: expected version {_VERSION}, found {version}. Install the kelm that wrote it.")
    return dict(manifest)


def _check(path: Path, expected: Any, *, verify: bool) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: the file is missing. {_REBUILD}")
    found = path.stat().st_size
    if not isinstance(expected, dict) or found != expected.get("bytes"):
        size = expected.get("bytes") if isinstance(expected, dict) else expected
        raise CheckpointError(f"{path}: the file is damaged: expected {size} bytes, found {found}. {_REBUILD}")
    if verify and _sha256(path) != expected.get("sha256"):
        raise CheckpointError(f"{path}: the file is damaged: its checksum differs from the manifest's. {_REBUILD}")


def _column(path: Path) -> np.ndarray:
    try:
        column = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:  # ValueError: no .npy header, or one that asks for a pickle
        raise CheckpointError(f"{path}: cannot be opened as a column ({error}). {_REBUILD}") from error
    return np.asarray(column)  # a plain array over the same mapping
