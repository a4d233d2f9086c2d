"""The door to accelerate: processes, devices, precision and the randomness of each process."""

from __future__ import annotations

import random
from typing import TypeVar

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    broadcast_object_list,
    gather,
    gather_object,
    parse_flag_from_env,
    reduce,
)
from torch import nn

from kelm.batch import Batch
from kelm.errors import RecipeError
from kelm.objectives.base import Losses
from kelm.training.learner import Learner

__all__ = ["Call", "accelerator", "agreed", "everyone", "joined", "leave", "process", "seed", "summed"]

X = TypeVar("X")


class Call(nn.Module):
    """What accelerate wraps and compile compiles, so that the learner itself stays as it was."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, batch: Batch) -> Losses:
        losses: Losses = self.learner(batch)
        return losses


def seed(number: int, process: int) -> None:
    """Seeds dropout; each process draws its own."""
    own = int(np.random.SeedSequence((number, process)).generate_state(1)[0])
    random.seed(own)
    np.random.seed(own)
    torch.manual_seed(own)


def accelerator(precision: str) -> Accelerator:
    """Returns what accelerate finds: the device, and one process or several.

    Raises:
        RecipeError: the device cannot compute in that precision.
    """
    wanted, here = "no" if precision == "fp32" else precision, process()
    if precision == "fp16" and here.device.type == "cpu":  # accelerate would compute in fp32 and not say so
        raise RecipeError("fp16 needs a GPU", field="train.precision", remedy="Use fp32 or bf16.")
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != wanted:
        AcceleratorState._reset_state()  # one process may train several models, each in its own precision
    # An objective that a step leaves out, or a pooler, leaves parameters without gradients.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    try:
        return Accelerator(mixed_precision=wanted, kwargs_handlers=[unused])
    except ValueError as error:
        raise RecipeError(
            f"{precision} does not work here ({error})", field="train.precision", remedy="Use fp32 or bf16."
        ) from error


def process() -> PartialState:
    """Returns which process this is, and of how many."""
    # accelerate takes each of several processes on CPUs for the only one, unless it is told that CPUs are meant
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


def leave() -> None:
    """Ends what the processes of this run have in common."""
    process().destroy_process_group()


def everyone(value: X) -> list[X]:
    """Returns the value of every process, by rank."""
    gathered: list[X] = gather_object([value])
    return gathered


def agreed(value: X) -> X:
    """Returns the first process's value, in all processes."""
    first: X = broadcast_object_list([value])[0]
    return first


def joined(value: torch.Tensor) -> torch.Tensor:
    """Returns the rows of every process, by rank, in all of them; each may have another number of rows."""
    counts = everyone(len(value))
    if len(counts) == 1:
        return value
    filled = value.new_zeros(max(counts), *value.shape[1:])
    filled[: len(value)] = value
    parts = gather(filled.to(process().device)).to(value.device).split(max(counts)) if max(counts) else ()
    return torch.cat([value[:0], *(part[:count] for part, count in zip(parts, counts, strict=bool(parts)))])


def summed(value: torch.Tensor) -> torch.Tensor:
    """Returns the sum over all processes, in all of them, on the device where `value` is."""
    total: torch.Tensor = reduce(value.to(process().device), "sum")
    return total.to(value.device)
