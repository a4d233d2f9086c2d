"""Lines of the log: what they are means over, whatever happens to the run, and the same in TensorBoard."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from kelm.training.log import Log, Record
from kelm.training.progress import Result
from kelm.training.recipe import Checkpoints, Evaluation, Logging, Training
from kelm.training.trainer import Trainer
from tests.kelm.training.tiny_run import Texts, learner


class Killed(Exception):
    """Stands for whatever ends a run without a word."""


def train(folder: Path, every: int = 1, *, steps: int = 10, tensorboard: bool = False, **stream: Any) -> Result:
    return Trainer(
        learner(),
        {"guess": Texts(**stream)},
        train=Training(steps=steps),
        evaluation=Evaluation(every=8),
        evaluate=lambda some: {"f1": 0.5},
        checkpoints=Checkpoints(every=4),
        log=Logging(every=every, tensorboard=tensorboard),
        folder=folder,
        resume=True,
    ).run()


def killed_at_batch(number: int) -> dict[str, Any]:
    def tick(now: int) -> None:
        if now == number:
            raise Killed

    return {"tick": tick}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def means(folder: Path) -> list[tuple[int, int, float]]:
    return [(line["step"], line["steps"], line["loss"]) for line in lines(folder) if "losses" in line]


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Of each step of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return [loss for _, _, loss in means(folder)]


def mean(losses: list[float], first: int, last: int) -> Any:
    """Of the steps from the first to the last one, counted from 1."""
    return pytest.approx(sum(losses[first - 1 : last]) / (last - first + 1), abs=1e-6)


def test_a_line_is_the_mean_over_the_steps_since_the_line_before(tmp_path: Path, losses: list[float]) -> None:
    train(tmp_path, 4)
    assert means(tmp_path) == [(4, 4, mean(losses, 1, 4)), (8, 4, mean(losses, 5, 8)), (10, 2, mean(losses, 9, 10))]


def test_the_first_line_after_a_resume_says_that_it_is_over_fewer_steps(tmp_path: Path, losses: list[float]) -> None:
    with pytest.raises(Killed):
        train(tmp_path, 5, **killed_at_batch(8))
    assert means(tmp_path) == [(5, 5, mean(losses, 1, 5))]
    train(tmp_path, 5)  # from the checkpoint of step 4 on; the line of step 5 is written anew
    assert means(tmp_path) == [(5, 1, mean(losses, 5, 5)), (10, 5, mean(losses, 6, 10))]


def test_a_run_that_ends_early_tells_its_last_steps_before_its_last_scores(tmp_path: Path, losses: list[float]) -> None:
    assert train(tmp_path, 4, ends=7).stopped == "data"
    assert [line["step"] for line in lines(tmp_path)] == [4, 7, 7]
    assert means(tmp_path)[1] == (7, 3, mean(losses, 5, 7))
    assert lines(tmp_path)[-1]["scores"] == {"f1": 0.5}


def test_nothing_is_lost_by_a_signal(tmp_path: Path) -> None:
    stop = {"tick": lambda number: os.kill(os.getpid(), signal.SIGTERM) if number == 6 else None}
    assert train(tmp_path, 4, **stop).stopped == "signal"
    train(tmp_path, 4)
    assert [(step, steps) for step, steps, _ in means(tmp_path)] == [(4, 4), (6, 2), (8, 2), (10, 2)]


def test_steps_left_out_do_not_count(tmp_path: Path) -> None:
    log = Log(tmp_path, Logging(every=3, tensorboard=False), steps=9)
    with log:
        for step in (1, 2, 4, 5):
            log.step(Record(step, step, {"mlm": step}, 1e-3, 1.0, 10))
        log.flush()
        log.flush()
    assert means(tmp_path) == [(5, 4, 3.0)]


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    """JSON has no word for infinity, and readers other than Python's refuse it."""
    with Log(tmp_path, Logging(every=1, tensorboard=False), steps=9) as log:
        log.step(Record(1, 2.0, {"mlm": 2.0}, 1e-3, math.inf, 10))
        log.scores(1, {"f1": math.nan})
    first, second = lines(tmp_path)
    assert (first["norm"], first["loss"]) == (None, 2.0)
    assert second == {"step": 1, "scores": {"f1": None}}


def test_tensorboard_shows_what_the_lines_say_and_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(9))  # ".10" sorts before ".9"
    with pytest.raises(Killed):
        train(tmp_path, tensorboard=True, **killed_at_batch(8))
    train(tmp_path, tensorboard=True)
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    told = lines(tmp_path)
    for name in ("loss", "rate", "norm", "guess"):
        wanted = [(line["step"], {**line, **line["losses"]}[name]) for line in told if "losses" in line]
        assert [event.step for event in shown.Scalars(name)] == list(range(1, 11))
        assert [event.value for event in shown.Scalars(name)] == pytest.approx([value for _, value in wanted])
    assert [(event.step, event.value) for event in shown.Scalars("f1")] == [(8, 0.5), (10, 0.5)]
    assert set(shown.Tags()["scalars"]) == {"loss", "rate", "norm", "tokens_per_second", "guess", "f1"}
