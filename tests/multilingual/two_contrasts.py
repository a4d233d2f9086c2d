"""Started by accelerate launch in test_translation_contrast.py: contrasts in each process and writes what came out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from kelm.data.corpus import InMemory, Shard
from kelm.data.stream import BatchStream
from kelm.training import sharding
from kelm.training.learner import Learner
from kelm.training.recipe import Checkpoints, Logging, Optimization, Training
from kelm.training.trainer import Trainer
from tests.multilingual.test_translation_contrast import made, read


def train(folder: Path, rank: int, steps: int, *, resume: bool = False) -> dict[str, torch.Tensor]:
    """Trains on texts of which each process reads its own."""
    encoder, objective = made(momentum=0.5, queue=24)
    shard = Shard(rank, 2)
    Trainer(
        learner := Learner(encoder, [objective]),
        {objective.name: BatchStream(InMemory(read(41)), objective.collate, tokens=64, seed=0, shard=shard)},
        train=Training(steps=steps),
        optim=Optimization(rate=1e-3, schedule="constant"),
        checkpoints=Checkpoints(every=4),
        log=Logging(every=1, tensorboard=False),
        folder=folder,
        resume=resume,
    ).run()
    return {name: value.clone() for name, value in sharding.whole(learner.state_dict()).items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, place = int(os.environ["RANK"]), Path(sys.argv[1])
    place.mkdir(exist_ok=True)
    save_file(train(place / "whole", rank, 8), place / f"whole-{rank}.safetensors")
    train(place / "part", rank, 4)
    save_file(train(place / "part", rank, 8, resume=True), place / f"again-{rank}.safetensors")
    torch.distributed.destroy_process_group()
