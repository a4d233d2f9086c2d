"""The one training loop: draw, forward and backward, check, update, evaluate, save.

    Trainer(Learner(encoder, [objective]), {"mlm": stream}, train=Training(steps=1000)).run()

It runs on whatever accelerate finds: one CPU or GPU, or one process of several started by torchrun or
`accelerate launch`. The same seed and data give the same weights, interrupted or not.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from kelm.errors import CheckpointError, KelmError, RecipeError, TrainingDiverged, closest
from kelm.tasks.base import Scores
from kelm.training import checkpoint, device, optim, sharding
from kelm.training.device import everyone
from kelm.training.held_out import check_metric
from kelm.training.learner import Learner
from kelm.training.log import Log, Read, Record
from kelm.training.progress import Progress, Reason, Result
from kelm.training.recipe import Checkpoints, Evaluation, Logging, Optimization, Training
from kelm.training.signals import Interrupts
from kelm.training.work import Batches, Work, draw, turn
from kelm.typing import Tensor

__all__ = ["Trainer", "train_unsaved"]

SKIPS = 10  # steps in a row that may be left out because of a loss that is not a number


class Trainer:
    """Trains a learner. Only `learner`, `streams` and `train.steps` are needed; without `folder` nothing is written.

    Args:
        streams: a stream of batches for each objective, already sharded by process.
        weights: factor of each objective's loss; 1 where not given.
        rates: draw one objective a step, with these relative rates. None: all objectives in every step.
        folder: where checkpoints, log and the trained model go.
        resume: go on from the last checkpoint in `folder`, if there is one.
        evaluate: returns scores of the learner; called in every process, the first one's answer counts.
        show: show progress on standard error.

    Raises:
        CheckpointError: `folder` holds another run, or cannot be written, or a checkpoint is damaged.
        TrainingDiverged: a loss or gradient is not a number; the checkpoints from before are kept.
        RecipeError: an option is impossible here.
    """

    def __init__(
        self,
        learner: Learner,
        streams: Mapping[str, Batches],
        *,
        train: Training,
        optim: Optimization = Optimization(),  # noqa: B008  # frozen
        evaluation: Evaluation = Evaluation(),  # noqa: B008
        checkpoints: Checkpoints = Checkpoints(),  # noqa: B008
        log: Logging = Logging(),  # noqa: B008
        weights: Mapping[str, float] | None = None,
        rates: Mapping[str, float] | None = None,
        folder: str | Path | None = None,
        resume: bool = False,
        evaluate: Callable[[Learner], Scores] | None = None,
        show: bool = False,
    ) -> None:
        _check_names(learner, streams, weights or {}, rates)
        if train.steps is None:
            raise RecipeError("the trainer needs a number of steps", field="train.steps", remedy="Set train.steps.")
        self.learner, self.streams, self.steps = learner, dict(streams), train.steps
        self.train, self.optim, self.evaluation, self.checkpoints = train, optim, evaluation, checkpoints
        self.weights, self.rates, self.evaluate = weights or {}, rates, evaluate
        self.folder = None if folder is None else Path(folder)
        self.resume, self.show, self.logging = resume, show, log
        self.progress = Progress()
        self._history: list[tuple[int, Scores]] = []
        self._signal: int | None = None
        self._best_weights: dict[str, Tensor] | None = None
        self._prepare()

    def run(self) -> Result:
        """Trains until the steps are done, patience is lost, the data ends or a signal comes."""
        device.seed(self.train.seed, self.accelerator.process_index)
        random_state = self._open()
        self._called.train()
        self._iterators = {name: iter(stream) for name, stream in self.streams.items()}
        if random_state is not None:
            checkpoint.restore_random_state(random_state)
        main = self.accelerator.is_main_process
        self.log = Log(
            self.folder if main else None,
            self.logging,
            steps=self.steps,
            start=self.progress.step,
            show=self.show and main,
        )
        with Interrupts() as self._interrupts, self.log, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified.*")
            reason = self._loop()
            self.log.flush()
            self._close(reason)
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        return Result(self.progress, reason, self._signal or self._interrupts.received, tuple(self._history))

    def _loop(self) -> Reason:
        names = list(self.streams)
        while self.progress.step < self.steps:
            if self._lost_patience():
                return "patience"
            started = time.perf_counter()
            step = self.progress.step + 1
            work = draw(self._iterators, turn(names, self.rates, self.train.seed, step), self.train.accumulation)
            if work is None:
                return "data"
            self._signal = self._update(step, work)
            self.progress = replace(self.progress, seconds=self.progress.seconds + time.perf_counter() - started)
            improved = self._score() if _due(step, self.evaluation.every) else False
            if improved or self._signal is not None or _due(step, self.checkpoints.every):
                self._save()
            if self._signal is not None and step < self.steps:
                return "signal"
        return "done"

    def _update(self, step: int, work: Work) -> int | None:
        """Makes one update; returns the signal by which some process was asked to stop, the same in all of them."""
        sums, wrong = self._backward(work)
        told = everyone((sums, wrong, self._interrupts.received))
        wrong = [entry for _, entries, _ in told for entry in entries]
        factor = optim.factor(self.optim, step, self.steps)
        norm = math.nan
        if not wrong:
            norm = self._step(factor, optim.first_beta(self.optim, step, self.steps))
            if not math.isfinite(norm) and not self._overflows():
                origins = everyone([origin for batch in work.batches for origin in batch.origins])
                wrong = [("gradient", norm, tuple(origin for part in origins for origin in part))]
        if wrong:
            self._diverged(step, wrong)
        self._stepper.zero_grad(set_to_none=True)

        losses: dict[str, float] = {}
        for name, value in (item for entry, _, _ in told for item in entry.items()):
            losses[name] = losses.get(name, 0.0) + value
        skipped = self.progress.skipped + 1 if wrong else 0
        tokens, parts = self.progress.tokens + work.tokens, dict(Counter(self.progress.parts) + work.parts)
        self.progress = replace(self.progress, step=step, tokens=tokens, parts=parts, losses=losses, skipped=skipped)
        if not wrong:
            total = sum(self._weight(name.partition("/")[0]) * value for name, value in losses.items())
            read = Read(parts, {name: stream.times_read() for name, stream in self.streams.items()}) if parts else None
            self.log.step(Record(step, total, losses, self.optim.rate * factor, norm, work.tokens, read))
        return next((number for _, _, number in told if number is not None), None)

    def _step(self, factor: float, first_beta: float) -> float:
        """Clips the gradient and updates the weights, unless it is not finite; returns its norm."""
        clipped = self.accelerator.clip_grad_norm_(self.learner.parameters(), self.optim.clip or math.inf)
        norm = float(sharding.whole({"norm": clipped})["norm"])
        if math.isfinite(norm) or self.accelerator.scaler is not None:  # which leaves out such a step, and notes it
            for group in self.optimizer.param_groups:
                group["lr"] = self.optim.rate * group["scale"] * factor
                group["betas"] = (first_beta, self.optim.betas[1])
            self._stepper.step()
            self.learner.updated()
        return norm

    def _overflows(self) -> bool:
        """Whether fp16's loss scale is what made the gradient infinite; the scaler has halved it by now."""
        scaler = self.accelerator.scaler
        return scaler is not None and scaler.get_scale() >= 1.0

    def _backward(self, work: Work) -> tuple[dict[str, float], list[tuple[str, float, tuple[str, ...]]]]:
        """Returns this process's share of each mean loss, and losses that are no numbers with their texts' origins."""
        named: list[tuple[str, int]] = []
        means: list[Tensor] = []
        for number, batch in enumerate(work.batches):
            last = number == len(work.batches) - 1
            with nullcontext() if last else self._apart():
                with self.accelerator.autocast():
                    losses = self._called(batch.having(origins=(), cursor=None).to(self.accelerator.device))
                parts = {name: value / work.units(batch.objective, name) for name, value in losses.items()}
                named += [(_key(batch.objective, name), number) for name in parts]
                means += [value.detach() for value in parts.values()]
                total = torch.stack(list(parts.values())).sum() * self._weight(batch.objective)
                # DDP takes the mean over processes; the units are already those of all processes.
                self.accelerator.backward(total * self.accelerator.num_processes)
        sums: dict[str, float] = {}
        wrong = []
        for (name, number), value in zip(named, torch.stack(means).tolist(), strict=True):
            sums[name] = sums.get(name, 0.0) + value
            if not math.isfinite(value):
                wrong.append((name, value, work.batches[number].origins))
        return sums, wrong

    def _apart(self) -> AbstractContextManager[None]:
        """Lets gradients add up in each process, until they are exchanged in the step's last pass backward."""
        called = self._called
        apart: AbstractContextManager[None] = (
            sharding.unsynchronized(called) if sharding.is_sharded(called) else self.accelerator.no_sync(called)
        )
        return apart

    def _weight(self, objective: str) -> float:
        return self.weights.get(objective, 1.0)

    def _diverged(self, step: int, wrong: list[tuple[str, float, tuple[str, ...]]]) -> None:
        name, value, origins = wrong[0]
        shown = ", ".join(dict.fromkeys(origins[:8])) + (f" ... ({len(origins)} texts)" if len(origins) > 8 else "")
        said = f"step {step}: {name} is {value}, on the texts {shown or 'of unknown origin'}."
        if self.train.not_finite == "skip" and self.progress.skipped < SKIPS:
            self.log.say(f"{said} This step is left out.")
            return
        kept = [] if self.folder is None else checkpoint.checkpoints(self.folder / "checkpoints")
        raise TrainingDiverged(
            f"{said} {f'The state before is kept in {kept[-1]}. ' if kept else ''}"
            'Look at these texts, lower optim.rate, lengthen optim.warmup, or set train.not_finite = "skip".'
        )

    def _score(self) -> bool:
        """Evaluates; returns whether the score is the best so far."""
        if self.evaluate is None:
            return False
        self._called.eval()
        with torch.no_grad(), self.accelerator.autocast(), sharding.gathered(self._called):
            scores = dict(device.agreed(self.evaluate(self.learner)))
        self._called.train()
        step, metric = self.progress.step, self.evaluation.metric
        self._history.append((step, scores))
        self.log.scores(step, scores)
        self.progress = replace(self.progress, scores=scores, scored=step)
        if metric is None:
            return False
        check_metric(metric, scores)
        sign = 1 if self.evaluation.better == "higher" else -1
        best = -math.inf if self.progress.best is None else sign * self.progress.best
        if not sign * scores[metric] > best:  # nor is what is no number
            self.progress = replace(self.progress, waited=self.progress.waited + 1)
            return False
        self.progress = replace(self.progress, best=scores[metric], best_step=step, waited=0)
        if self.folder is None:
            found = sharding.whole(self.learner.state_dict())
            self._best_weights = {name: value.to("cpu", copy=True) for name, value in found.items()}
        return True

    def _lost_patience(self) -> bool:
        return self.evaluation.patience is not None and self.progress.waited >= self.evaluation.patience

    def _open(self) -> Mapping[str, Any] | None:
        """Makes the folder ready, or goes back to its last checkpoint; returns the random state to go on with."""
        if self.folder is None:
            return None
        place = self.folder / "checkpoints"
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{place} cannot be made ({error}). Choose another folder.") from error
        if self.accelerator.is_main_process:
            checkpoint.clean(place)
        saved = checkpoint.checkpoints(place)
        if saved and not self.resume:
            raise CheckpointError(
                f"{self.folder} already holds a run. Go on with it (--resume), or choose another folder (--out)."
            )
        if not saved:
            return None
        state = checkpoint.load(saved[-1], self.learner, self.optimizer)
        if len(state.processes) != self.accelerator.num_processes:
            raise CheckpointError(
                f"{saved[-1]} was saved by {len(state.processes)} processes, this run has "
                f"{self.accelerator.num_processes}. Resume with as many as before."
            )
        mine = state.processes[self.accelerator.process_index]
        if set(mine["streams"]) != set(self.streams):
            raise CheckpointError(
                f"{saved[-1]} is of other objectives ({', '.join(mine['streams'])}). Resume with those."
            )
        for name, stream in self.streams.items():
            stream.restore(mine["streams"][name])
        if self.accelerator.scaler is not None and state.scaler:
            self.accelerator.scaler.load_state_dict(dict(state.scaler))
        self.progress = Progress(**state.progress)
        return dict(mine["random"])

    def _save(self) -> None:
        if self.folder is None:
            return
        processes = everyone(
            {
                "streams": {name: stream.state() for name, stream in self.streams.items()},
                "random": checkpoint.random_state(),
            }
        )
        main = self.accelerator.is_main_process
        weights = sharding.whole(self.learner.state_dict(), keep=main)
        moments = checkpoint.moments(self.learner, self.optimizer, keep=main)
        if main:
            scaler = self.accelerator.scaler
            state = checkpoint.State(
                step=self.progress.step,
                progress=asdict(self.progress),
                scaler={} if scaler is None else scaler.state_dict(),
                processes=processes,
            )
            place = self.folder / "checkpoints"
            checkpoint.save(place, self.learner, weights, moments, state)
            checkpoint.prune(place, self.checkpoints.keep, self.progress.best_step)
        self.accelerator.wait_for_everyone()

    def _close(self, reason: Reason) -> None:
        """Evaluates a last time, saves, and leaves the best weights in the learner and in ``folder/model``."""
        if reason == "signal":
            self.log.say(f"Stopped after step {self.progress.step}; everything is saved.")
            return
        if self.progress.scored < self.progress.step:
            self._score()
        self._save()
        if self._best_weights is not None:
            self.learner.load_state_dict(sharding.fitted(self._best_weights, self.learner.state_dict()))
        elif self.folder is not None and self.progress.best_step is not None:
            best = self.folder / "checkpoints" / f"step-{self.progress.best_step:08d}" / "model"
            checkpoint.load_weights(best, self.learner)
        self.learner.eval()
        main = self.accelerator.is_main_process
        weights = sharding.whole(self.learner.state_dict(), keep=main)
        if self.folder is not None and main:
            with checkpoint.aside(self.folder / "model") as new:
                checkpoint.save_weights(new, self.learner, weights)
        self.accelerator.wait_for_everyone()

    def _prepare(self) -> None:
        """Puts everything onto its device and wraps it for the processes there are."""
        self.accelerator = device.accelerator(self.train.precision)
        if self.train.gradient_checkpointing:
            self.learner.encoder.gradient_checkpointing = True
        call = device.Call(self.learner)
        if self.train.compile:
            call.compile()
        self._frozen = optim.freeze(self.learner, self.optim)
        sharded = sharding.asked(self.train.precision)
        if sharded:
            sharding.shard(call.to(self.accelerator.device))
        self.optimizer = optim.optimizer(self.learner.named_parameters(), self.optim)
        prepared: Any = (call, self.optimizer) if sharded else self.accelerator.prepare(call, self.optimizer)
        self._called, self._stepper = prepared


def _key(objective: str, loss: str) -> str:
    return objective if loss == objective else f"{objective}/{loss}"


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _check_names(
    learner: Learner, streams: Mapping[str, Batches], weights: Mapping[str, float], rates: Mapping[str, float] | None
) -> None:
    for name in [*streams, *weights, *(rates or {})]:
        if name not in learner.objectives:
            raise KelmError(f'the learner has no objective "{name}". {closest(name, learner.objectives)}')
    if rates is not None and set(rates) != set(streams):
        raise KelmError(f"rates are given for {', '.join(rates)}, streams for {', '.join(streams)}. Give both for all.")


def train_unsaved(learner: Learner, streams: Mapping[str, Batches], steps: int, optim: Optimization, seed: int) -> None:
    """Trains without writing anything.

    Raises:
        KeyboardInterrupt: the training was interrupted.
    """
    training, never = Training(steps=steps, seed=seed), Checkpoints(every=None)
    if Trainer(learner, streams, train=training, optim=optim, checkpoints=never).run().stopped == "signal":
        raise KeyboardInterrupt
