"""The processes that train one embedding together, started by torchrun or `accelerate launch`.

    questions of a step --every count-th--> gradients of a share --summed over processes--> the same step in each

Each process holds the whole table and draws from the same random stream, so steps and negatives are those of a single
process and so are the vectors, up to the order of sums. Two things differ: dropout is each process's own, and batch
norms measure each share alone (their running statistics are averaged).

kelm's own embeddings are trained on CPUs, here too: processes are cores or machines, not GPUs.

Cost: a step sends the gradient of the table; where only its rows have one (Adagrad over samples), these.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor

__all__ = ["ALONE", "Processes"]

X = TypeVar("X")


@dataclass(frozen=True, slots=True)
class Processes:
    """Which process this is, and of how many.

    >>> Processes(rank=1, count=2).share([0, 1, 2])
    [1]
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def started(cls) -> Self:
        """Returns what torchrun or `accelerate launch` started; a single process otherwise, without asking further."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        from kelm.training import device

        found = device.accelerator("fp32")  # joins the processes; the state alone would not on a CPU
        return cls(found.process_index, found.num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def share(self, rows: X) -> X:
        """Returns every count-th of the rows; perhaps none."""
        return rows if self.count == 1 else rows[self.rank :: self.count]  # type: ignore[index]

    def first(self, compute: Callable[[], X]) -> X:
        """Returns what the first process computes, in all of them."""
        if self.count == 1:
            return compute()
        from kelm.training.device import agreed

        return agreed(compute() if self.is_first else None)  # type: ignore[return-value]

    def total(self, value: Tensor) -> Tensor:
        """Returns the sum over all processes."""
        if self.count == 1:
            return value
        from kelm.training.device import summed

        return summed(value)

    def add_gradients(self, values: Iterable[Tensor], *, sparse: bool) -> None:
        """Puts the sum over all processes in the place of each gradient.

        Args:
            sparse: whether the gradient of the first value has some rows only.
        """
        if self.count == 1:
            return
        for number, value in enumerate(values):
            if sparse and number == 0:
                value.grad = self._joined(value)
            else:
                value.grad = self.total(torch.zeros_like(value) if value.grad is None else value.grad)

    def leave(self) -> None:
        """Ends what the processes have in common."""
        if self.count > 1:
            from kelm.training import device

            device.leave()

    def _joined(self, value: Tensor) -> Tensor:
        from kelm.training.device import everyone

        own = None
        if value.grad is not None:
            gradient = value.grad.coalesce()
            own = gradient.indices(), gradient.values()
        parts = [part for part in everyone(own) if part is not None]
        indices, rows = (torch.cat(some, dim) for some, dim in zip(zip(*parts, strict=True), (1, 0), strict=True))
        joined: Tensor = torch.sparse_coo_tensor(indices, rows, value.shape, check_invariants=False)
        return joined.coalesce()


ALONE = Processes()
