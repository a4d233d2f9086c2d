"""A run that is killed and resumed ends with the same bits as one that was not."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kelm.data import folders
from kelm.training import checkpoint
from kelm.training.learner import Learner
from kelm.training.progress import Result
from kelm.training.recipe import Checkpoints, Evaluation, Logging, Optimization, Training
from kelm.training.trainer import Trainer
from tests.kelm.training.forks import exit_code
from tests.kelm.training.tiny_run import Texts, learner

STEPS = 12


def guess(some: Learner) -> dict[str, float]:
    """Scores that depend on the weights and use up randomness, as an evaluation with dropout would."""
    size = float(some.encoder.embeddings.word_embeddings.weight.square().sum())
    return {"score": size * float(torch.rand(1)) + np.random.rand()}


def train(folder: Path, resume: bool, tick: Callable[[int], None] = lambda number: None) -> Result:
    """Trains with dropout, accumulation, two objectives of which one is drawn, evaluation and a best checkpoint."""
    return Trainer(
        learner("first", "second"),
        {"first": Texts("first", size=2, tick=tick), "second": Texts("second", size=3, seed=1)},
        train=Training(steps=STEPS, accumulation=2, seed=5),
        optim=Optimization(rate=1e-2, layer_decay=0.9, schedule="cosine"),
        rates={"first": 2.0, "second": 1.0},
        evaluation=Evaluation(every=2, metric="score"),
        evaluate=guess,
        checkpoints=Checkpoints(every=3, keep=2),
        log=Logging(every=1, tensorboard=False),
        folder=folder,
        resume=resume,
    ).run()


def killed_at_batch(folder: Path, number: int) -> None:
    train(folder, True, lambda now: os.kill(os.getpid(), signal.SIGKILL) if now == number else None)


def killed_while_saving(folder: Path, write: int) -> None:
    """Dies at the so many-th time that something is forced to the disk."""
    force, done = folders.force, [0]

    def count(path: Path) -> None:
        done[0] += 1
        if done[0] == write:
            os.kill(os.getpid(), signal.SIGKILL)
        force(path)

    folders.force = checkpoint.force = count
    train(folder, True)


def interrupted_at_batch(folder: Path, number: int, sign: int) -> None:
    result = train(folder, True, lambda now: os.kill(os.getpid(), sign) if now == number else None)
    (folder / "stopped").write_text(f"{result.stopped} {result.signal}")


def outcome(folder: Path) -> dict[str, bytes]:
    """Returns every byte that a finished run left, but for its speed."""
    last = folder / "checkpoints" / f"step-{STEPS:08d}"
    files = [*(folder / "model").iterdir(), *(last / "model").iterdir(), last / "optimizer.safetensors"]
    bytes_of = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    state = json.loads((last / "state.json").read_text())
    state["progress"].pop("seconds")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    told = [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]
    return {**bytes_of, "state": json.dumps(state).encode(), "log": json.dumps(told).encode()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    assert exit_code(train, folder, False) == 0
    return outcome(folder)


@pytest.mark.parametrize("batch", [1, 4, 9, 12])
def test_a_run_killed_at_any_step_ends_with_the_same_bits(whole: dict[str, bytes], tmp_path: Path, batch: int) -> None:
    assert exit_code(killed_at_batch, tmp_path, batch) == -signal.SIGKILL
    assert exit_code(train, tmp_path, True) == 0
    assert outcome(tmp_path) == whole


@pytest.mark.parametrize("write", [1, 4, 7, 9, 15])
def test_a_run_killed_while_saving_ends_with_the_same_bits(whole: dict[str, bytes], tmp_path: Path, write: int) -> None:
    assert exit_code(killed_while_saving, tmp_path, write) == -signal.SIGKILL
    for saved in checkpoint.checkpoints(tmp_path / "checkpoints"):
        json.loads((saved / "state.json").read_text())  # what looks like a checkpoint is a whole one
    assert exit_code(train, tmp_path, True) == 0
    assert outcome(tmp_path) == whole
    assert not list(tmp_path.rglob("*tmp*"))


def test_a_run_killed_again_and_again_ends_with_the_same_bits(whole: dict[str, bytes], tmp_path: Path) -> None:
    for batch in (3, 7, 10, 12):
        assert exit_code(killed_at_batch, tmp_path, batch) == -signal.SIGKILL
    assert exit_code(train, tmp_path, True) == 0
    assert outcome(tmp_path) == whole


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_ends_cleanly(
    whole: dict[str, bytes], tmp_path: Path, sign: signal.Signals
) -> None:
    assert exit_code(interrupted_at_batch, tmp_path, 7, sign) == 0
    assert (tmp_path / "stopped").read_text() == f"signal {sign.value}"
    (last,) = checkpoint.checkpoints(tmp_path / "checkpoints")[-1:]
    assert json.loads((last / "state.json").read_text())["processes"][0]["streams"]["first"] == {"number": 8}
    assert exit_code(train, tmp_path, True) == 0
    assert outcome(tmp_path) == whole


def test_the_comparison_sees_a_different_dropout(whole: dict[str, bytes], tmp_path: Path) -> None:
    assert exit_code(killed_at_batch, tmp_path, 9) == -signal.SIGKILL
    state = checkpoint.checkpoints(tmp_path / "checkpoints")[-1] / "state.json"
    changed = json.loads(state.read_text())
    changed["processes"][0]["random"]["torch"] = bytes(torch.Generator().manual_seed(1).get_state().numpy()).hex()
    state.write_text(json.dumps(changed))
    assert exit_code(train, tmp_path, True) == 0
    assert outcome(tmp_path) != whole
