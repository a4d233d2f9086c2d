"""Half precision: what is computed in it, and what fp16's loss scale does to steps, checkpoints and divergence.

accelerate has fp16 on GPUs only. Here a CPU gets its autocast and its scaler, so that the loop around them is tested
everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from kelm.batch import Batch
from kelm.errors import RecipeError, TrainingDiverged
from kelm.model import Stream
from kelm.training import device
from kelm.training.learner import Learner
from kelm.training.progress import Result
from kelm.training.recipe import Checkpoints, Logging, Optimization, Training
from kelm.training.trainer import Trainer
from tests.kelm.training.tiny_run import Guess, Texts, learner, weights

Half = Callable[[float], None]


class Watched(Guess):
    """Notes in which precision products are computed."""

    def loss(self, batch: Batch, stream: Stream) -> Any:
        self.computed = (stream.hidden @ stream.hidden.mT).dtype
        return super().loss(batch, stream)


class Steep(Guess):
    """A loss of 0 with a slope of no number."""

    def loss(self, batch: Batch, stream: Stream) -> Any:
        return {"guess": torch.sqrt((stream.hidden - stream.hidden.detach()).sum().float())}


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> Half:
    """Makes fp16 work on a CPU, its loss scale starting as told and doubled after every two good steps."""

    def start(scale: float) -> None:
        def accelerator(precision: str) -> Accelerator:
            AcceleratorState._reset_state()
            made = Accelerator(mixed_precision=precision)
            made.native_amp = True
            made.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2)
            return made

        monkeypatch.setattr(device, "accelerator", accelerator)

    return start


def train(some: Learner, steps: int, folder: Path | None = None, **options: Any) -> Result:
    return Trainer(
        some,
        {"guess": Texts()},
        train=Training(steps=steps, precision="fp16", **options),
        optim=Optimization(rate=1e-2, schedule="constant"),
        checkpoints=Checkpoints(every=4),
        log=Logging(every=1, tensorboard=False),
        folder=folder,
        resume=True,
    ).run()


def made(kind: type[Guess]) -> tuple[Learner, Guess]:
    encoder = learner(dropout=0.0).encoder
    objective = kind(encoder.config)
    return Learner(encoder, [objective]), objective


@pytest.mark.parametrize(
    ("precision", "kind"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_products_are_computed_in_the_precision_and_weights_kept_in_fp32(
    precision: Any, kind: torch.dtype, half: Half
) -> None:
    plain, _ = made(Watched)
    expected = Trainer(plain, {"guess": Texts()}, train=Training(steps=8)).run().progress.losses["guess"]
    some, objective = made(Watched)
    if precision == "fp16":
        half(2.0**10)
    result = Trainer(some, {"guess": Texts()}, train=Training(steps=8, precision=precision)).run()
    assert objective.computed == kind
    assert {value.dtype for value in weights(some).values()} == {torch.float32}
    assert result.progress.losses["guess"] == pytest.approx(expected, abs=1e-6 if precision == "fp32" else 2e-2)


def test_fp16_without_a_gpu_is_refused_not_replaced() -> None:
    with pytest.raises(RecipeError, match=r"field train\.precision: fp16 needs a GPU\. Use fp32 or bf16"):
        train(learner(), 1)


def test_a_step_that_overflows_is_left_out_and_its_scale_halved(half: Half, tmp_path: Path) -> None:
    half(2.0**24)
    some = learner(dropout=0.0)
    before = weights(some)
    train(some, 2)
    assert all(torch.equal(value, before[name]) for name, value in weights(some).items())
    train(some, 12, tmp_path)
    assert not all(torch.equal(value, before[name]) for name, value in weights(some).items())
    norms = [json.loads(line)["norm"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert norms[:4] == [None] * 4
    assert any(norm is not None for norm in norms)
    state = json.loads((tmp_path / "checkpoints" / "step-00000012" / "state.json").read_text())
    assert 2.0**10 < state["scaler"]["scale"] < 2.0**21


def test_a_gradient_that_is_no_number_stops_when_the_scale_cannot_be_why(half: Half) -> None:
    half(2.0**3)
    some, _ = made(Steep)
    with pytest.raises(TrainingDiverged, match=r"step 4: gradient is nan, on the texts made\.txt:12"):
        train(some, 9)
    with pytest.raises(TrainingDiverged, match="step 14: gradient is nan"):  # 10 more may be left out
        train(made(Steep)[0], 99, not_finite="skip")


def test_a_resumed_run_goes_on_with_its_loss_scale(half: Half, tmp_path: Path) -> None:
    half(2.0**24)
    whole, first, resumed = learner(), learner(), learner()
    train(whole, 12, tmp_path / "whole")
    train(first, 8, tmp_path / "parts")
    assert not all(torch.equal(value, weights(whole)[name]) for name, value in weights(first).items())
    train(resumed, 12, tmp_path / "parts")
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())
