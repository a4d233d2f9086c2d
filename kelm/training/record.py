"""run.json: what is needed to run the same again, and to tell results of other data from these.

{"versions": {"python": "3.12.3", "torch": ...}, "data": {name: fingerprint}, "machine": {...}, ...}
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from kelm.data.folders import file_aside
from kelm.errors import InputError
from kelm.training import device

__all__ = ["environment", "keep", "write"]

_FILE = "run.json"
_PACKAGES = ("kelm", "transformers", "accelerate", "safetensors", "tokenizers", "numpy")


def environment(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Returns versions and machine.

    Args:
        packages: further ones whose versions matter.
    """
    return {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,  # with its build, such as +cpu, which the package's metadata may lack
            **{name: version(name) for name in (*_PACKAGES, *packages)},
        },
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
            "processes": device.process().num_processes,
        },
    }


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of a run into its folder.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    with file_aside(folder / _FILE) as new:
        new.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def keep(folder: Path, data: Mapping[str, str], packages: Sequence[str] = ()) -> None:
    """Writes the record of results into their folder, or checks that those there are of the same data.

    Args:
        data: fingerprints by name.
        packages: further ones whose versions matter.

    Raises:
        InputError: the folder holds results, or parts made for them, of other data.
        CheckpointError: the folder cannot be written.
    """
    path = folder / _FILE
    if not path.is_file():
        write(folder, {**environment(packages), "data": dict(data)})
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["data"]
        changed = sorted(name for name in data.keys() | before.keys() if data.get(name) != before.get(name))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"this record of a run is damaged ({error})", path=path, remedy="Choose another folder with --out."
        ) from error
    if changed:
        raise InputError(
            f"what lies in this folder was made from other data (changed: {', '.join(changed)})",
            path=path,
            field="data",
            remedy="Choose another folder with --out, or give the same data.",
        )
