"""From a recipe to a trained model: makes the parts, counts the steps, records what was run, trains.

runs/mine/recipe.toml    every option, defaults too
runs/mine/run.json       versions, seed, fingerprints of the data, machine
runs/mine/log.jsonl      losses and scores
runs/mine/checkpoints/   to go on from
runs/mine/model/         the result, with its heads and tokenizer
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kelm.batch import Batch, Visibility
from kelm.data.corpus import Corpus, Shard
from kelm.data.stream import BatchStream
from kelm.errors import CheckpointError, RecipeError
from kelm.training import construct, device, record
from kelm.training.checkpoint import checkpoints
from kelm.training.held_out import HeldOut, check_metric
from kelm.training.learner import Learner
from kelm.training.progress import Result
from kelm.training.recipe import Batching, Recipe
from kelm.training.recipe_file import keep, write
from kelm.training.trainer import Trainer

__all__ = ["count_batches", "train"]


def train(recipe: Recipe, folder: str | Path, *, resume: bool = False, show: bool = True) -> Result:
    """Trains what a recipe describes; every process of a distributed run calls it.

    Args:
        folder: of the run. It must hold none yet, unless `resume`.
        resume: go on from the last checkpoint, if there is one.
        show: show progress on standard error.

    Raises:
        RecipeError, CheckpointError, TrainingDiverged, and whatever reading the data raises.
    """
    folder, process = Path(folder), device.process()
    if not resume and checkpoints(folder / "checkpoints"):
        raise CheckpointError(
            f"{folder} already holds a run. Go on with it (--resume), or choose another folder (--out)."
        )
    torch.manual_seed(recipe.train.seed)
    words = construct.tokenizer(recipe)
    encoder = construct.encoder(recipe, words)
    parts = construct.Parts(encoder.config, words, encoder, recipe.train.seed)
    learner = Learner(
        encoder,
        [construct.objective(choice, parts, recipe.model.hf, at) for at, choice in enumerate(recipe.objectives)],
    )
    sources = {
        choice.name: construct.corpus(choice.corpus, parts, recipe.batch.room, f"objectives.{number}.corpus")
        for number, choice in enumerate(recipe.objectives)
    }
    shard = Shard(process.process_index, process.num_processes)
    steps = recipe.train.steps or _steps(recipe, sources[recipe.objectives[0].name], shard)
    held_out = _held_out(recipe, parts)
    trainer = Trainer(
        learner,
        {name: _stream(source, learner, name, recipe, shard) for name, source in sources.items()},
        train=replace(recipe.train, steps=steps, passes=None),
        optim=recipe.optim,
        evaluation=recipe.evaluation,
        checkpoints=recipe.checkpoint,
        log=recipe.log,
        weights={choice.name: choice.weight for choice in recipe.objectives},
        rates=_rates(recipe),
        folder=folder,
        resume=resume,
        evaluate=_evaluation(held_out, recipe, learner),
        show=show,
    )
    if process.is_main_process:
        _record(folder, recipe, steps, {"data": sources, "held_out": held_out}, learner)
    result = trainer.run()
    if process.is_main_process and result.stopped != "signal":
        words.save(folder / "model")
    return result


def count_batches(corpus: Corpus[Any], batch: Batching, *, seed: int = 0, shard: Shard = Shard()) -> int:  # noqa: B008
    """Returns the batches of one pass over a shard, as its data workers divide it.

    Cost: reads and tokenizes the shard once, in as many workers.
    """
    stream = BatchStream(
        corpus,
        _Nothing(),
        tokens=batch.tokens,
        room=batch.room,
        pool=batch.pool,
        workers=batch.workers,
        seed=seed,
        shard=shard,
        passes=1,
    )
    return sum(1 for _ in stream)


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Collates texts to an empty batch: only their number matters."""

    room: int | None = None

    def __call__(self, texts: Sequence[Any], seed: int) -> Batch:
        none = torch.zeros(0, 0, dtype=torch.long)
        return Batch(none, none, none, Visibility(none))


def _steps(recipe: Recipe, source: Corpus[Any], shard: Shard) -> int:
    """Returns how many steps of all processes together are the passes over the first objective's corpus."""
    batches = sum(device.everyone(count_batches(source, recipe.batch, seed=recipe.train.seed, shard=shard)))
    rates = _rates(recipe)
    share = 1.0 if rates is None else rates[recipe.objectives[0].name] / sum(rates.values())
    steps = batches * (recipe.train.passes or 1) / (shard.count * recipe.train.accumulation * share)
    return max(1, math.ceil(round(steps, 6)))  # 100 * 1.1 is a little more than 110


def _rates(recipe: Recipe) -> dict[str, float] | None:
    rates = {choice.name: choice.rate for choice in recipe.objectives if choice.rate is not None}
    return rates or None


def _stream(source: Corpus[Any], learner: Learner, name: str, recipe: Recipe, shard: Shard) -> BatchStream[Any]:
    collate: Any = learner.objectives[name].collate
    options = recipe.batch
    return BatchStream(
        source,
        collate,
        tokens=options.tokens,
        room=options.room,
        pool=options.pool,
        workers=options.workers,
        seed=recipe.train.seed,
        shard=shard,
    )


def _held_out(recipe: Recipe, parts: construct.Parts) -> dict[str, Corpus[Any]]:
    return {
        choice.name: construct.corpus(choice.held_out, parts, recipe.batch.room, f"objectives.{number}.held_out")
        for number, choice in enumerate(recipe.objectives)
        if choice.held_out is not None
    }


def _evaluation(held_out: Mapping[str, Corpus[Any]], recipe: Recipe, learner: Learner) -> HeldOut | None:
    metric = recipe.evaluation.metric
    if metric is not None and not held_out:
        raise RecipeError(
            "there is nothing to evaluate on",
            field="evaluation.metric",
            remedy="Give an objective a held_out corpus, or leave the metric out.",
        )
    texts = {name: [item for item, _ in source.stream()] for name, source in held_out.items()}
    evaluate = HeldOut(texts, tokens=recipe.batch.tokens)
    if metric is not None:  # a wrong one is told now, not after the steps up to the first evaluation
        check_metric(metric, evaluate.names(learner))
    return evaluate if texts else None


def _record(
    folder: Path, recipe: Recipe, steps: int, corpora: Mapping[str, Mapping[str, Corpus[Any]]], learner: Learner
) -> None:
    """Writes what is needed to run the same again."""
    facts = {
        "seed": recipe.train.seed,
        "steps": steps,
        "parameters": sum(parameter.numel() for parameter in learner.parameters()),
        **{use: {name: one.fingerprint() for name, one in named.items()} for use, named in corpora.items()},
    }
    try:
        if checkpoints(folder / "checkpoints"):  # the record of what made them stays
            keep(recipe, folder / "recipe.toml")
            return
        folder.mkdir(parents=True, exist_ok=True)
        write(recipe, folder / "recipe.toml")
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written ({error}). Choose another folder.") from error
    record.write(folder, {**record.environment(), **facts})
