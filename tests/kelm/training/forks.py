"""Processes that may be killed: forked from a server that has everything imported, so that each starts at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

__all__ = ["exit_code"]

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["kelm.cli.train", "kelm.training.run", "transformers", "pytest"])


def exit_code(what: Callable[..., object], *arguments: Any) -> int | None:
    """Runs a function of a test module in a process of its own; a signal's number comes back negative."""
    process = FORKS.Process(target=_alone, args=(what, *arguments))
    process.start()
    process.join()
    return process.exitcode


def _alone(what: Callable[..., object], *arguments: Any) -> None:
    import torch

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # for data workers, as in a process of its own
    what(*arguments)
