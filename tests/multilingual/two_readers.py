"""Run by torchrun, see test_multilingual_training.py: a run that goes through, and one that is stopped and goes on."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

from kelm.training import log, run
from kelm.training.recipe_file import read

if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, place, recipe = int(os.environ["RANK"]), Path(sys.argv[1]), read(sys.argv[2])
    run.train(recipe, place / "whole", show=False)
    written = log.Log.step

    def stopping(self: log.Log, record: log.Record) -> None:
        written(self, record)
        if record.step == 3 and rank == 1:  # the other process learns of it in the next step
            os.kill(os.getpid(), signal.SIGTERM)

    log.Log.step = stopping  # type: ignore[method-assign]
    stopped = run.train(recipe, place / "part", show=False)
    log.Log.step = written  # type: ignore[method-assign]
    run.train(recipe, place / "part", resume=True, show=False)
    (place / f"told-{rank}.json").write_text(json.dumps([stopped.stopped, stopped.progress.step]))
    torch.distributed.destroy_process_group()
