"""PyKEEN's own training loop: what it is given, and what it tells while it runs.

    recipe, triples -> SLCWATrainingLoop -- after each epoch --> loss, validation, the best weights -> PykeenEmbedding

Of a recipe the loop takes epochs, batch size, rate, negatives (of each triple, not shared: keep them few), sampler,
filtered, optimizer, patience and seed; what the model takes is said in `kg.embeddings.pykeen`.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from kelm.errors import TrainingDiverged
from kg.embeddings.progress import Progress, TrainingInterrupted
from kg.embeddings.pykeen import PykeenEmbedding, factory_of, untrained
from kg.embeddings.ranking import filtered_mrr
from kg.embeddings.recipe import EmbeddingRecipe

__all__ = ["train_pykeen"]


@contextmanager
def _shorter_collections() -> Iterator[None]:
    """Keeps what is alive out of garbage collections: PyKEEN asks for a whole one after every epoch."""
    if gc.get_freeze_count():  # the program has its own arrangement
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Enough(Exception):
    """Ends PyKEEN's loop when validation no longer gains."""


def train_pykeen(
    triples: Int64[np.ndarray, "triple 3"],
    entity_count: int,
    relation_count: int,
    recipe: EmbeddingRecipe,
    *,
    fingerprint: str = "",
    validation: Int64[np.ndarray, "triple 3"] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PykeenEmbedding:
    """Trains a PyKEEN model by its stochastic local closed world loop; see `kg.embeddings.train.train`.

    Raises:
        RecipeError: PyKEEN has no such model, or it does not take these options.
        TrainingDiverged: the loss is not a number.
        TrainingInterrupted: Ctrl-C; holds what was learned.
    """
    from pykeen.training import NonFiniteLossError, SLCWATrainingLoop
    from pykeen.utils import set_random_seed

    set_random_seed(recipe.seed)
    factory = factory_of(triples, entity_count, relation_count)
    model = untrained(recipe, factory)
    optimizer = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[recipe.optimizer]
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=factory,
        optimizer=optimizer(params=model.get_grad_params(), lr=recipe.rate),
        negative_sampler="bernoulli" if recipe.sampler == "bernoulli" else "basic",
        negative_sampler_kwargs={"num_negs_per_pos": recipe.negatives, "filtered": recipe.filtered},
    )
    watch = _Watch(model, recipe, triples, fingerprint, validation, progress)
    try:
        with warnings.catch_warnings(), _shorter_collections():
            for noise in ("Training instances are always shuffled", "'pin_memory' argument is set as true"):
                warnings.filterwarnings("ignore", noise)  # PyKEEN's calls of itself and of torch
            loop.train(
                triples_factory=factory,
                num_epochs=recipe.epochs,
                batch_size=recipe.batch_size,
                use_tqdm=False,
                num_workers=0,  # its default forks workers anew for every epoch
                pin_memory=False,
                callbacks=watch.callback(),
            )
    except _Enough:
        pass
    except NonFiniteLossError as error:
        raise TrainingDiverged(
            f"PyKEEN's loss is not a number in epoch {len(watch.history) + 1}. Lower the rate (now {recipe.rate})."
        ) from error
    except KeyboardInterrupt as interrupt:
        raise TrainingInterrupted(watch.embedding()) from interrupt
    return watch.embedding()


class _Watch:
    """Follows PyKEEN's loop: progress, validation, the best weights."""

    def __init__(
        self,
        model: Any,
        recipe: EmbeddingRecipe,
        triples: Int64[np.ndarray, "triple 3"],
        fingerprint: str,
        validation: Int64[np.ndarray, "triple 3"] | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.model, self.recipe, self.triples, self.fingerprint = model, recipe, triples, fingerprint
        self.validation, self.progress = validation, progress
        self.history: list[Progress] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_mrr, self.misses = -1.0, 0
        self.began = self.latest = time.perf_counter()

    def callback(self) -> Any:
        """Returns the callback that PyKEEN's loop calls after each epoch."""
        from pykeen.training.callbacks import TrainingCallback

        class Follow(TrainingCallback):
            def __init__(self, watch: _Watch) -> None:
                super().__init__()
                self.watch = watch

            def post_epoch(self, epoch: int, epoch_loss: float, **_: Any) -> None:
                self.watch.epoch(epoch, epoch_loss)

        return Follow(self)

    def epoch(self, epoch: int, loss: float) -> None:
        """Notes an epoch; raises `_Enough` when validation has not gained for `patience` checks."""
        now, mrr = time.perf_counter(), None
        speed = len(self.triples) / (now - self.latest)
        if self.validation is not None and (epoch % self.recipe.check_every == 0 or epoch == self.recipe.epochs):
            training = self.model.training
            mrr = filtered_mrr(PykeenEmbedding.of(self.model), self.validation, self.triples)
            self.model.train(training)
            if mrr > self.best_mrr:
                self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
                self.best_mrr, self.misses = mrr, 0
            else:
                self.misses += 1
        done = Progress(epoch, self.recipe.epochs, float(loss), speed, now - self.began, mrr)
        self.history.append(done)
        if self.progress is not None:
            self.progress(done)
        self.latest = time.perf_counter()
        if self.recipe.patience and self.misses >= self.recipe.patience:
            raise _Enough

    def embedding(self) -> PykeenEmbedding:
        """Returns the best model so far, or the latest without validation."""
        if self.best is not None:
            self.model.load_state_dict(self.best)
        history = tuple(done.facts() for done in self.history)
        return PykeenEmbedding(self.model.eval(), self.recipe, self.triples, self.fingerprint, history)
