import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kelm.data.corpus import Shard
from kelm.data.reader import Reader
from kelm.data.sources import TextFiles
from kelm.errors import CheckpointError
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training.recipe import Training
from kelm.training.recipe_file import read
from kelm.training.run import count_batches
from kelm.training.trainer import Trainer
from tests.kelm.training.tiny_run import Texts, learner
from tests.kelm.training.tiny_text import recipe, vocabulary
from tests.kelm.training.two_processes import train, train_words
from tests.torchrun import run_twice

pytestmark = pytest.mark.timeout(600)


def passes(folder: Path) -> Path:
    """Writes a recipe that reads its corpus twice."""
    path = recipe(folder)
    path.write_text(path.read_text().replace("steps = 12", "passes = 2"))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes of two batches of two texts, accumulated."""
    folder = tmp_path_factory.mktemp("processes")
    run_twice("tests.kelm.training.two_processes", folder, vocabulary(folder), passes(folder))
    return folder


def assert_equal(one: Path, two: Path, lines: int) -> None:
    ours = [json.loads(line) for line in (one / "log.jsonl").read_text().splitlines()]
    theirs = [json.loads(line) for line in (two / "log.jsonl").read_text().splitlines()]
    assert len(ours) == len(theirs) == lines
    for our, their in zip(ours, theirs, strict=True):
        assert our["step"] == their["step"]
        if "losses" in our:
            assert their["losses"] == pytest.approx(our["losses"], abs=1e-6)
            assert their["norm"] == pytest.approx(our["norm"], abs=1e-6)
    for file in ("model.safetensors", "heads.safetensors"):
        our, their = load_file(one / "model" / file), load_file(two / "model" / file)
        assert our.keys() == their.keys()
        for name in our:
            torch.testing.assert_close(our[name], their[name], atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("rates", [False, True], ids=["all objectives", "one objective a step"])
def test_two_processes_equal_one_with_the_doubled_batch(folder: Path, tmp_path: Path, rates: bool) -> None:
    train(tmp_path, rank=0, processes=1, size=8, accumulation=1, rates=rates)
    assert_equal(tmp_path, folder / f"two-{rates}", lines=8)


def test_two_processes_hide_the_same_words_as_one(folder: Path, tmp_path: Path) -> None:
    train_words(tmp_path, folder / "vocab.txt", rank=0, processes=1, size=8, accumulation=1)
    assert_equal(tmp_path, folder / "two-words", lines=10)


def test_passes_are_those_of_all_processes_together(folder: Path) -> None:
    wanted = read(folder / "tiny.toml")
    reader = Reader(TextFiles(folder / "text.txt"), open_tokenizer(folder / "vocab.txt"), 32)
    parts = [count_batches(reader, wanted.batch, shard=Shard(rank, 2)) for rank in range(2)]
    assert parts == [5, 6]
    assert json.loads((folder / "two-passes" / "run.json").read_text())["steps"] == 11  # two of each process's 5.5
    state = json.loads((folder / "two-passes" / "checkpoints" / "step-00000011" / "state.json").read_text())
    ends = [process["streams"]["mlm"]["positions"][0] for process in state["processes"]]
    assert [(end["pass"], end["given"]) for end in ends] == [(2, 1), (1, 1)]  # a batch too many and one too few


def test_a_signal_to_one_process_stops_both_and_both_resume(folder: Path) -> None:
    first, second = (json.loads((folder / f"told-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second == [2, "signal", signal.SIGTERM, 4]  # 2 processes; batches 7 and 8 of the fourth step
    for file in (
        "model/model.safetensors",
        "model/heads.safetensors",
        "checkpoints/step-00000006/optimizer.safetensors",
    ):
        assert (folder / "two-stopped" / file).read_bytes() == (folder / "two-False" / file).read_bytes()


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
