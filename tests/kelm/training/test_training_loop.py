import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from kelm.batch import Batch
from kelm.errors import KelmError, RecipeError, TrainingDiverged
from kelm.training import signals
from kelm.training.learner import Learner
from kelm.training.progress import Result
from kelm.training.recipe import Checkpoints, Evaluation, Logging, Optimization, Training
from kelm.training.trainer import Trainer
from kelm.training.work import turn
from tests.kelm.training.tiny_run import Guess, Texts, learner, weights


class Same(Texts):
    """Always the same eight texts."""

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.batch(list(range(8)))


class Poisoned(Guess):
    """Loses all sense on the texts whose origin is given."""

    poison: frozenset[int] = frozenset()
    seen = 0

    def loss(self, batch: Batch, stream: Any) -> Any:
        self.seen += 1
        losses = super().loss(batch, stream)
        return {name: value * (math.nan if self.seen in self.poison else 1.0) for name, value in losses.items()}


def poisoned(*steps: int) -> Learner:
    some = learner()
    objective = Poisoned(some.encoder.config)
    objective.poison = frozenset(steps)
    return Learner(some.encoder, [objective])


def train(some: Learner, stream: Any = None, steps: int = 4, **options: Any) -> Result:
    return Trainer(some, {"guess": stream or Texts()}, train=Training(steps=steps), **options).run()


def test_training_drives_a_tiny_corpus_to_near_zero() -> None:
    some = learner(dropout=0.0)
    result = train(some, Same(), steps=120, optim=Optimization(rate=5e-2, warmup=10))
    assert result.progress.losses["guess"] < 0.05
    assert result.stopped == "done"


def test_a_run_leaves_the_learner_ready_for_use_and_for_another_run() -> None:
    some = learner()
    kinds = [type(module) for module in some.modules()]
    train(some)
    assert not some.training
    assert [type(module) for module in some.modules()] == kinds
    assert "forward" not in vars(some)
    before = weights(some)
    train(some, steps=1)
    assert any(not torch.equal(value, before[name]) for name, value in weights(some).items())


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    ends = []
    for seed in (1, 1, 2):
        some = learner()
        Trainer(some, {"guess": Texts()}, train=Training(steps=3, seed=seed)).run()
        ends.append(weights(some))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert any(not torch.equal(ends[0][name], ends[2][name]) for name in ends[0])


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_how_a_step_is_divided_does_not_matter(accumulation: int) -> None:
    """One optimizer step by hand on the sum over the summed units is the oracle."""
    names = ("first", "second")
    some, oracle = learner(*names, dropout=0.0, average=True), learner(*names, dropout=0.0, average=True)
    streams = {name: Texts(name, size=8 // accumulation, seed=len(name)) for name in names}
    result = Trainer(
        some,
        streams,
        train=Training(steps=1, accumulation=accumulation),
        optim=Optimization(rate=1e-2, warmup=0, clip=None, weight_decay=0.0),
        weights={"second": 0.25},
    ).run()
    batches = {name: Texts(name, seed=len(name)).batch(list(range(8))) for name in names}
    sums = {name: oracle(batch) for name, batch in batches.items()}
    means = {
        "first": sums["first"]["first"] / batches["first"].units["first"],
        "first/size": sums["first"]["size"] / 8,  # no units given: one a text
        "second": sums["second"]["second"] / batches["second"].units["second"],
        "second/size": sums["second"]["size"] / 8,
    }
    assert result.progress.losses == pytest.approx({name: value.item() for name, value in means.items()}, abs=1e-6)
    total = means["first"] + means["first/size"] + 0.25 * (means["second"] + means["second/size"])
    total.backward()
    torch.optim.AdamW(oracle.parameters(), lr=1e-2, weight_decay=0.0).step()
    for name, value in some.state_dict().items():
        torch.testing.assert_close(value, oracle.state_dict()[name], atol=1e-5, rtol=0, msg=name)


def test_objectives_are_drawn_at_their_rates_and_the_same_everywhere() -> None:
    rates = {"a": 3.0, "b": 1.0}
    drawn = [turn(["a", "b"], rates, 0, step) for step in range(2000)]
    assert drawn == [turn(["a", "b"], rates, 0, step) for step in range(2000)]
    assert drawn != [turn(["a", "b"], rates, 1, step) for step in range(2000)]
    assert 0.72 < drawn.count(["a"]) / 2000 < 0.78
    assert turn(["a", "b"], None, 0, 1) == ["a", "b"]


def test_an_objective_that_is_not_drawn_keeps_its_head() -> None:
    some = learner("first", "second")
    before = weights(some)
    Trainer(
        some,
        {"first": Texts("first"), "second": Texts("second")},
        train=Training(steps=5),
        rates={"first": 1.0, "second": 1e-12},
    ).run()
    changed = {name for name, value in weights(some).items() if not torch.equal(value, before[name])}
    assert "objectives.first.head.dense.weight" in changed
    assert not [name for name in changed if "second" in name]


def test_clipping_bounds_the_update() -> None:
    """With epsilon far above the gradient Adam's first step is rate * gradient / epsilon."""
    moved = []
    for clip in (1e-3, 2e-3):
        some = learner(dropout=0.0)
        before = weights(some)
        options = Optimization(rate=1.0, clip=clip, epsilon=1e3, weight_decay=0.0, warmup=0)
        train(some, steps=1, optim=options)
        moved.append(
            math.sqrt(sum(float((value - before[name]).square().sum()) for name, value in weights(some).items()))
        )
    assert moved[0] == pytest.approx(1e-6, rel=0.02)
    assert moved[1] == pytest.approx(2e-6, rel=0.02)


def test_a_loss_that_is_no_number_stops_and_names_step_objective_and_texts(tmp_path: Path) -> None:
    some = poisoned(6)
    with pytest.raises(TrainingDiverged) as raised:
        train(some, steps=9, folder=tmp_path, checkpoints=Checkpoints(every=4), log=Logging(tensorboard=False))
    assert "step 6: guess is nan, on the texts made.txt:20, made.txt:21, made.txt:22, made.txt:23." in str(raised.value)
    assert f"The state before is kept in {tmp_path / 'checkpoints' / 'step-00000004'}." in str(raised.value)
    assert all(value.isfinite().all() for value in weights(some).values())


def test_a_step_that_is_no_number_can_be_left_out(tmp_path: Path) -> None:
    some = poisoned(2, 4, 5)
    trainer = Trainer(
        some,
        {"guess": Texts()},
        train=Training(steps=7, not_finite="skip"),
        log=Logging(every=1, tensorboard=False),
        folder=tmp_path,
    )
    assert trainer.run().progress.step == 7
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 3, 6, 7]
    assert all(value.isfinite().all() for value in weights(some).values())
    endless = Trainer(poisoned(*range(3, 99)), {"guess": Texts()}, train=Training(steps=99, not_finite="skip"))
    with pytest.raises(TrainingDiverged, match="step 13:"):
        endless.run()


def test_a_gradient_that_is_no_number_stops() -> None:
    class Steep(Guess):
        def loss(self, batch: Batch, stream: Any) -> Any:
            zero = (stream.hidden - stream.hidden.detach()).sum()
            return {"guess": torch.sqrt(zero)}  # 0 with an infinite slope

    some = learner()
    with pytest.raises(TrainingDiverged, match=r"gradient is nan, on the texts made\.txt:0"):
        train(Learner(some.encoder, [Steep(some.encoder.config)]))


def test_patience_stops_and_the_best_weights_come_back() -> None:
    scores = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    seen: list[dict[str, torch.Tensor]] = []

    def evaluate(some: Learner) -> dict[str, float]:
        assert not some.training
        assert not torch.is_grad_enabled()
        seen.append(weights(some))
        return {"f1": next(scores)}

    some = learner()
    result = train(
        some,
        steps=50,
        evaluation=Evaluation(every=3, metric="f1", patience=2),
        evaluate=evaluate,
        optim=Optimization(rate=1e-2),
    )
    assert (result.stopped, result.progress.step) == ("patience", 12)
    assert [step for step, _ in result.history] == [3, 6, 9, 12]
    assert (result.progress.best, result.progress.best_step) == (3.0, 6)
    assert all(torch.equal(value, seen[1][name]) for name, value in weights(some).items())
    assert not all(torch.equal(value, seen[3][name]) for name, value in weights(some).items())


def test_a_lower_score_can_be_better_and_an_unknown_one_is_told() -> None:
    scores = iter([3.0, 1.0, 2.0])
    lower = Evaluation(every=2, metric="loss", better="lower")
    result = train(learner(), steps=6, evaluation=lower, evaluate=lambda some: {"loss": next(scores)})
    assert (result.progress.best, result.progress.best_step) == (1.0, 4)
    with pytest.raises(RecipeError, match=r'no score is called "los"\. Did you mean "loss"'):
        train(learner(), evaluation=replace(lower, metric="los"), evaluate=lambda some: {"loss": 1.0})


def test_a_score_that_is_no_number_is_never_the_best() -> None:
    scores = iter([math.nan, 1.0, math.nan, 2.0, math.nan, math.nan])
    options = Evaluation(every=1, metric="f1", patience=2)
    result = train(learner(), steps=9, evaluation=options, evaluate=lambda some: {"f1": next(scores)})
    assert (result.progress.best, result.progress.best_step) == (2.0, 4)
    assert (result.stopped, result.progress.step) == ("patience", 6)


def test_the_last_model_is_evaluated_even_between_evaluations() -> None:
    result = train(learner(), steps=5, evaluation=Evaluation(every=2), evaluate=lambda some: {"a": 1.0})
    assert [step for step, _ in result.history] == [2, 4, 5]


def test_training_ends_when_the_data_does() -> None:
    result = Trainer(learner(), {"guess": Texts(ends=5)}, train=Training(steps=50, accumulation=2)).run()
    assert (result.stopped, result.progress.step) == ("data", 3)


def test_a_signal_ends_a_run_that_keeps_nothing_too() -> None:
    stream = Texts(tick=lambda number: os.kill(os.getpid(), signal.SIGTERM) if number == 3 else None)
    handler = signal.getsignal(signal.SIGTERM)
    result = train(learner(), stream, steps=50)
    assert (result.stopped, result.signal, result.progress.step) == ("signal", signal.SIGTERM, 3)
    assert signal.getsignal(signal.SIGTERM) is handler


def twice(number: int) -> None:
    if number == 2:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_later_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SOON", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(learner(), Texts(tick=twice), steps=50)


def test_the_same_signal_passed_on_by_a_launcher_counts_once() -> None:
    assert train(learner(), Texts(tick=twice), steps=50).progress.step == 2


def test_gradient_checkpointing_with_dropout_gives_the_same_weights() -> None:
    plain, thrifty = learner(), learner()
    entered = {"plain": 0, "thrifty": 0}

    def count(name: str) -> Callable[..., None]:
        return lambda *_: entered.update({name: entered[name] + 1})

    plain.encoder.encoder.layer[0].register_forward_pre_hook(count("plain"))
    thrifty.encoder.encoder.layer[0].register_forward_pre_hook(count("thrifty"))
    Trainer(plain, {"guess": Texts()}, train=Training(steps=3)).run()
    Trainer(thrifty, {"guess": Texts()}, train=Training(steps=3, gradient_checkpointing=True)).run()
    assert entered == {"plain": 3, "thrifty": 6}  # states are computed twice
    for name, value in weights(plain).items():
        torch.testing.assert_close(value, weights(thrifty)[name], atol=1e-6, rtol=0)


def test_names_that_do_not_fit_are_told() -> None:
    with pytest.raises(KelmError, match=r'the learner has no objective "gues"\. Did you mean "guess"'):
        Trainer(learner(), {"gues": Texts()}, train=Training(steps=1))
    with pytest.raises(KelmError, match="rates are given for first, streams for first, second"):
        Trainer(
            learner("first", "second"),
            {"first": Texts("first"), "second": Texts("second")},
            rates={"first": 1.0},
            train=Training(steps=1),
        )
    with pytest.raises(RecipeError, match=r"field train\.steps"):
        Trainer(learner(), {"guess": Texts()}, train=Training(passes=2))


def test_the_log_tells_losses_by_part_and_the_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(
        learner(average=True),
        steps=5,
        folder=tmp_path,
        log=Logging(every=2),
        show=True,
        optim=Optimization(rate=1e-3, warmup=0),
        evaluate=lambda some: {"f1": 0.5},
    )
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5, 5]
    assert lines[-1] == {"step": 5, "scores": {"f1": 0.5}}
    assert [line["steps"] for line in lines[:3]] == [2, 2, 1]
    assert set(lines[0]) == {"step", "steps", "loss", "losses", "rate", "norm", "tokens_per_second"}
    assert lines[0]["loss"] == pytest.approx(lines[0]["losses"]["guess"] + lines[0]["losses"]["guess/size"])
    assert [line["rate"] for line in lines[:3]] == pytest.approx([8e-4, 4e-4, 2e-4])
    told = capsys.readouterr()
    assert "step 4 of 5: guess" in told.err
    assert "step 5: f1 0.5" in told.err
    assert told.out == ""
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_without_a_folder_nothing_is_written_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train(learner(), evaluate=lambda some: {"a": 1.0}, evaluation=Evaluation(every=1, metric="a"))
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_a_terminal_gets_a_bar_with_speed_losses_and_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    train(learner(), steps=3, show=True, log=Logging(every=1))
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"3/3 guess \d\.\d{3} rate 1\.\de-05 [\d,]+ tokens/s 0:00:00", told)


def test_without_tensorboard_only_lines_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(learner(), steps=1, folder=tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    assert (tmp_path / "log.jsonl").exists()


def test_a_compiled_run_computes_the_same_in_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without code generation (see test_training_compile.py): no graph breaks, and nothing changes."""
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda some: compile_module(some, backend="eager", fullgraph=True))
    plain, compiled = learner(dropout=0.0), learner(dropout=0.0)
    Trainer(plain, {"guess": Texts()}, train=Training(steps=3)).run()
    torch._dynamo.reset()
    counters.clear()
    Trainer(compiled, {"guess": Texts()}, train=Training(steps=3, compile=True)).run()
    assert counters["stats"]["unique_graphs"] == 2  # one for the first batch, one for those of other shapes
    for name, value in weights(plain).items():
        torch.testing.assert_close(value, weights(compiled)[name], atol=1e-6, rtol=0)
