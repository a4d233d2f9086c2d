import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kelm.errors import CheckpointError
from kelm.training.recipe import Training
from kelm.training.trainer import Trainer
from tests.kelm.training.tiny_run import Texts, learner
from tests.kelm.training.two_processes import train

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes of two batches of two texts, accumulated."""
    folder = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "tests.kelm.training.two_processes", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((folder / "world.json").read_text()) == 2
    return folder


@pytest.mark.parametrize("rates", [False, True], ids=["all objectives", "one objective a step"])
def test_two_processes_equal_one_with_the_doubled_batch(folder: Path, tmp_path: Path, rates: bool) -> None:
    two = folder / f"two-{rates}"
    train(tmp_path, rank=0, processes=1, size=8, accumulation=1, rates=rates)
    ours = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    theirs = [json.loads(line) for line in (two / "log.jsonl").read_text().splitlines()]
    assert len(ours) == len(theirs) == 8
    for our, their in zip(ours, theirs, strict=True):
        assert our["step"] == their["step"]
        if "losses" in our:
            assert their["losses"] == pytest.approx(our["losses"], abs=1e-6)
            assert their["norm"] == pytest.approx(our["norm"], abs=1e-6)
    for file in ("model.safetensors", "heads.safetensors"):
        our, their = load_file(tmp_path / "model" / file), load_file(two / "model" / file)
        assert our.keys() == their.keys()
        for name in our:
            torch.testing.assert_close(our[name], their[name], atol=1e-6, rtol=0, msg=name)


def test_a_run_resumes_with_as_many_processes_as_before(folder: Path) -> None:
    state = sorted((folder / "two-False" / "checkpoints").glob("step-*/state.json"))[-1]
    first, second = json.loads(state.read_text())["processes"]
    assert first["random"]["torch"] != second["random"]["torch"]  # each process drops out its own units
    trainer = Trainer(
        learner("first", "second", average=True),
        {name: Texts(name) for name in ("first", "second")},
        train=Training(steps=9),
        folder=folder / "two-False",
        resume=True,
    )
    with pytest.raises(CheckpointError, match="saved by 2 processes, this run has 1"):
        trainer.run()
