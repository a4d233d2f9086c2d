"""Checkpoints that are whole or not there, and from which a run goes on bit for bit.

    checkpoints/step-00001000/
        model/                  opens with Encoder.from_pretrained; heads.safetensors in it are the objectives' weights
        optimizer.safetensors   AdamW's moments: "PARAMETER/exp_avg", "PARAMETER/exp_avg_sq", "PARAMETER/step"
        state.json              progress; data cursor and random states of every process

A checkpoint is written aside, forced to the disk and renamed, so a crash or a full disk leaves the old ones whole.
Nothing is pickled, and pickles are refused.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.utils import logging

from kelm.data.folders import aside
from kelm.errors import CheckpointError, UnsafeFile
from kelm.model import hub
from kelm.training.learner import Learner
from kelm.training.sharding import divided, fitted, whole
from kelm.typing import Tensor

__all__ = [
    "State",
    "aside",
    "checkpoints",
    "clean",
    "load",
    "load_weights",
    "moments",
    "prune",
    "random_state",
    "read_tensors",
    "restore_random_state",
    "save",
    "save_weights",
]

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # a torch archive, or a bare one


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands, weights and moments apart.

    Attributes:
        step: updates made.
        progress: what the trainer keeps besides (best score, tokens seen ...).
        scaler: fp16's loss scale, or nothing.
        processes: of each process its data cursors ("streams") and its random states ("random").
    """

    step: int
    progress: Mapping[str, Any]
    scaler: Mapping[str, Any]
    processes: Sequence[Mapping[str, Any]]


def checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, oldest first; what is being written or was left over does not count."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdecimal())


def save(
    folder: Path, learner: Learner, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor], state: State
) -> Path:
    """Writes a checkpoint into `folder` and returns its path; one that is already there stays as it is.

    Args:
        weights: the learner's state, undivided (`sharding.whole`).
        moments: what `moments` returned.

    Raises:
        CheckpointError: the disk is full or not writable; nothing half-written remains.
    """
    path = folder / f"step-{state.step:08d}"
    if path.exists():
        return path
    with aside(path) as new:
        save_weights(new / "model", learner, weights)
        save_file(dict(moments), new / "optimizer.safetensors")
        (new / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
    return path


def save_weights(path: Path, learner: Learner, weights: Mapping[str, Tensor]) -> None:
    """Writes a folder that opens with `Encoder.from_pretrained`, and the objectives' weights beside it.

    Args:
        weights: the learner's state, undivided.
    """
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        learner.encoder.save_pretrained(path, state_dict=_below(weights, "encoder."))
    finally:
        if shown:
            logging.enable_progress_bar()
    heads = {name: tensor.detach().cpu().clone() for name, tensor in _below(weights, "objectives.").items()}
    save_file(heads, path / "heads.safetensors")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def load(path: Path, learner: Learner, optimizer: torch.optim.Optimizer) -> State:
    """Puts a checkpoint's weights and moments in place and returns where the run stood.

    Raises:
        CheckpointError: a file is missing, damaged, or does not fit; it names the file.
        UnsafeFile: weights are pickled.
    """
    load_weights(path / "model", learner)
    _place_moments(path / "optimizer.safetensors", learner, optimizer)
    file = path / "state.json"
    try:
        return State(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{file} is missing or damaged ({error}). {_remedy(path)}") from error


def load_weights(path: Path, learner: Learner) -> None:
    """Puts the weights that `save_weights` wrote in place; raises as `load`."""
    _fill(learner.encoder, hub.read_weights(path), path)
    _fill(learner.objectives, read_tensors(path / "heads.safetensors"), path / "heads.safetensors")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file.

    Raises:
        UnsafeFile: it is a pickle, by its name or by its first bytes.
        CheckpointError: it is missing, damaged or cut short.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}). {_remedy(path.parent)}") from error
    if path.suffix in PICKLES or start.startswith(PICKLE_STARTS):
        raise UnsafeFile(
            f"{path} is a pickle, which can run code when opened; kelm reads safetensors only. If you trust it, "
            "convert it: save_file(torch.load(path, weights_only=True), new_path), save_file from safetensors.torch."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error}). {_remedy(path.parent)}") from error


def clean(folder: Path) -> None:
    """Removes what killed runs left half-written."""
    for rest in folder.glob(".step-*tmp-*"):
        shutil.rmtree(rest, ignore_errors=True)


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Removes all but the last `keep` checkpoints and that of step `best`."""
    for path in checkpoints(folder)[:-keep]:
        if best is None or path.name != f"step-{best:08d}":
            gone = path.with_name(f".{path.name}.tmp-{os.getpid()}")
            path.rename(gone)  # first out of sight: a half-removed checkpoint must never look like a whole one
            shutil.rmtree(gone)


def _remedy(path: Path) -> str:
    return f"Remove {path} to go on from the checkpoint before it."


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(fitted(tensors, module.state_dict()), strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit this model: {error}. Resume with the run's own recipe.") from error


def _names(learner: Learner, optimizer: torch.optim.Optimizer) -> list[str]:
    """Returns the names of the optimizer's parameters, in its own order."""
    names = {parameter: name for name, parameter in learner.named_parameters()}
    return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]


def moments(learner: Learner, optimizer: torch.optim.Optimizer, keep: bool = True) -> dict[str, Tensor]:
    """Returns the optimizer's state by parameter, undivided; all processes call it together.

    Args:
        keep: False in processes that only take part and get nothing.
    """
    names = _names(learner, optimizer)
    found = {
        f"{names[number]}/{key}": value.detach()
        for number, of_one in optimizer.state_dict()["state"].items()
        for key, value in of_one.items()
    }
    return {name: value.cpu().contiguous() for name, value in whole(found, keep).items()}


def _place_moments(path: Path, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
    numbers = {name: number for number, name in enumerate(_names(learner, optimizer))}
    parameters = dict(learner.named_parameters())
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in read_tensors(path).items():
        name, _, moment = key.rpartition("/")
        if name not in numbers:
            raise CheckpointError(f"{path}: no parameter is called {name}. Resume with the run's own recipe.")
        moments.setdefault(numbers[name], {})[moment] = value if value.ndim == 0 else divided(value, parameters[name])
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state() -> dict[str, Any]:
    """Returns this process's random states (Python, NumPy, torch, CUDA) as JSON values."""
    numpy: Any = np.random.get_state(legacy=False)
    numpy["state"]["key"] = numpy["state"]["key"].tolist()
    version, words, gauss = random.getstate()
    return {
        "python": [version, list(words), gauss],
        "numpy": numpy,
        "torch": _hex(torch.get_rng_state()),
        "cuda": _hex(torch.cuda.get_rng_state()) if torch.cuda.is_available() else None,
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Puts random states from `random_state` back."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = dict(state["numpy"])
    numpy["state"] = {**numpy["state"], "key": np.array(numpy["state"]["key"], dtype=np.uint32)}
    np.random.set_state(numpy)
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(state["cuda"]))


def _hex(values: Tensor) -> str:
    return bytes(values.numpy()).hex()


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
