"""Run by accelerate launch, see test_training_launch.py: trains in each process, whole and interrupted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from kelm.model import Extension, Stream
from kelm.model.extension import Step
from kelm.model.layers import Layer
from kelm.training import run, sharding
from kelm.training.recipe import Training
from kelm.training.recipe_file import read
from kelm.training.trainer import Trainer
from tests.kelm.training.tiny_run import Texts, learner
from tests.kelm.training.two_processes import ask_one_to_stop, train


class Halves(Extension):
    """Calls the parts of a layer one by one, as ERNIE does."""

    innermost = True

    def layer(self, step: Step, index: int, stream: Stream) -> Stream:
        assert isinstance(step, Layer)
        words = step.attend(stream)
        return stream.having(hidden=step.contract(step.activation(step.expand(words)), words))


def train_halves(rank: int) -> tuple[dict[str, torch.Tensor], float]:
    """Returns the weights after three steps, and which share of them this process held."""
    some = learner(dropout=0.0)
    some.encoder.extensions["halves"] = Halves(some.encoder.config)
    Trainer(some, {"guess": Texts(rank=rank, processes=2)}, train=Training(steps=3)).run()
    own = sum(getattr(value, "_local_tensor", value).numel() for value in some.parameters())
    return sharding.whole(some.state_dict()), own / sum(value.numel() for value in some.parameters())


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, place = int(os.environ["RANK"]), Path(sys.argv[1])
    half = {"rank": rank, "processes": 2, "size": 2, "accumulation": 2}
    for rates in (False, True):
        train(place / f"rates-{rates}", rates=rates, **half)
    stopped = train(place / "stopped", rates=False, tick=ask_one_to_stop, **half)
    train(place / "stopped", rates=False, **half)
    run.train(read(sys.argv[2]), place / "recipe", show=False)
    run.train(read(sys.argv[2], ["train.precision=bf16"]), place / "bf16", show=False)
    weights, share = train_halves(rank)
    save_file({name: value.clone() for name, value in weights.items()}, place / f"halves-{rank}.safetensors")
    (place / f"told-{rank}.json").write_text(json.dumps([torch.distributed.get_world_size(), stopped.stopped, share]))
    torch.distributed.destroy_process_group()
