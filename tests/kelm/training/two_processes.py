"""Started by torchrun in test_training_processes.py: trains in each process and writes what came out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from kelm.training.recipe import Checkpoints, Evaluation, Logging, Optimization, Training
from kelm.training.trainer import Trainer
from tests.kelm.training.tiny_run import Texts, learner


def train(folder: Path, *, rank: int, processes: int, size: int, accumulation: int, rates: bool) -> None:
    """Trains on the texts that all processes share; 8 texts of each objective in every step."""
    names = ["first", "second"]
    some = learner(*names, dropout=0.0, average=True)
    streams = {name: Texts(name, size=size, rank=rank, processes=processes, seed=len(name)) for name in names}
    Trainer(
        some,
        streams,
        train=Training(steps=6, accumulation=accumulation),
        optim=Optimization(rate=1e-3, clip=0.5),
        weights={"second": 0.3},
        rates={"first": 1.0, "second": 2.0} if rates else None,
        evaluation=Evaluation(every=3, metric="score"),
        evaluate=lambda some: {"score": float(some.encoder.embeddings.word_embeddings.weight.sum())},
        checkpoints=Checkpoints(every=2),
        log=Logging(every=1, tensorboard=False),
        folder=folder,
    ).run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for rates in (False, True):
        place = Path(sys.argv[1]) / f"two-{rates}"
        train(place, rank=int(os.environ["RANK"]), processes=2, size=2, accumulation=2, rates=rates)
    if os.environ["RANK"] == "0":
        (Path(sys.argv[1]) / "world.json").write_text(json.dumps(torch.distributed.get_world_size()))
    torch.distributed.destroy_process_group()
