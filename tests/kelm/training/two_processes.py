"""Started by torchrun in test_training_processes.py: trains in each process and writes what came out."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from kelm.data.corpus import InMemory, Shard, Text
from kelm.data.reader import Reader
from kelm.data.stream import BatchStream
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training import run
from kelm.training.learner import Learner
from kelm.training.progress import Result
from kelm.training.recipe import Checkpoints, Evaluation, Logging, Optimization, Training
from kelm.training.recipe_file import read
from kelm.training.trainer import Trainer
from tests.kelm.training.tiny_run import Texts, learner
from tests.kelm.training.tiny_text import sentence


def train(
    folder: Path,
    *,
    rank: int,
    processes: int,
    size: int,
    accumulation: int,
    rates: bool,
    tick: Callable[[int], None] = lambda number: None,
) -> Result:
    """Trains on the texts that all processes share; 8 texts of each objective in every step."""
    names = ["first", "second"]
    some = learner(*names, dropout=0.0, average=True)
    streams = {
        name: Texts(name, size=size, rank=rank, processes=processes, seed=len(name), tick=told)
        for name, told in zip(names, (tick, lambda number: None), strict=True)
    }
    return Trainer(
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
        resume=True,
    ).run()


def train_words(folder: Path, vocabulary: Path, *, rank: int, processes: int, size: int, accumulation: int) -> None:
    """Trains the real thing: masked words from a `BatchStream`, 8 texts of equal length in every step."""
    tokenizer = open_tokenizer(vocabulary)
    encoder = learner(dropout=0.0).encoder
    objective = MaskedLanguageModel(encoder.config, tokenizer=tokenizer)
    texts = InMemory[Text]([sentence(number, 7) for number in range(64)])
    stream = BatchStream(
        Reader(texts, tokenizer, 32),
        objective.collate,
        tokens=9 * size,  # with [CLS] and [SEP]
        pool=32 // processes,
        shuffle=False,
        shard=Shard(rank, processes),
    )
    Trainer(
        Learner(encoder, [objective]),
        {"mlm": stream},
        train=Training(steps=10, accumulation=accumulation),  # 8 are one pass: masks are drawn anew after that
        optim=Optimization(rate=1e-3),
        log=Logging(every=1, tensorboard=False),
        folder=folder,
    ).run()


def ask_one_to_stop(number: int) -> None:
    if number == 7 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, place = int(os.environ["RANK"]), Path(sys.argv[1])
    half = {"rank": rank, "processes": 2, "size": 2, "accumulation": 2}
    for rates in (False, True):
        train(place / f"two-{rates}", rates=rates, **half)
    train_words(place / "two-words", Path(sys.argv[2]), **half)
    run.train(read(sys.argv[3]), place / "two-passes", show=False)
    stopped = train(place / "two-stopped", rates=False, tick=ask_one_to_stop, **half)
    told = [stopped.stopped, stopped.signal, stopped.progress.step]
    train(place / "two-stopped", rates=False, **half)
    (place / f"told-{rank}.json").write_text(json.dumps([torch.distributed.get_world_size(), *told]))
    torch.distributed.destroy_process_group()
