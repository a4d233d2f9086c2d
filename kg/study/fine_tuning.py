"""Fine-tuning of a relation classifier from few examples: first its head, then everything.

    features of the encoder as it is  --logistic regression-->  head  --train head, fusion and upper layers-->  model

A fresh head on a few dozen examples first learns whatever fits quickest and bends the encoder to it; a head that starts
at its optimum does not (Kumar et al., 2022, "linear probing then fine-tuning").
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kelm.batch import Batch, Encoded
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.model import Encoder, Stream
from kelm.objectives.base import Objective
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from kg.tasks.relations import Pairs, RelationClassification

__all__ = ["FineTuning", "answers", "fine_tuned", "fit_head", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """Training of the relation classifier.

    Attributes:
        strength: inverse regularization of the logistic regression that the head starts from; 0 starts it afresh.
        steps, passes: at least so many updates, and at least so often through the examples.
        examples: of a batch, about.
        entities: the classifier reads head's and tail's entity, as looked up and as fused, beside the states of the
            text; without, only what the fusion brought into the text.
        frozen: lowest layers that are left as they are, the embeddings with them.
        layer_decay: factor of the rate from one layer to the one below.
    """

    strength: float = 10.0
    steps: int = 100
    passes: float = 5.0
    examples: int = 32
    rate: float = 5e-4
    entities: bool = True
    frozen: int = 0
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    dropout: float = 0.1


def fine_tuned(
    options: FineTuning, start: Encoder, texts: Sequence[Encoded], relations: Sequence[str], entities: int, seed: int
) -> tuple[Encoder, RelationClassification]:
    """Returns a copy of the encoder `start` and a classifier, trained on marked texts.

    Args:
        entities: width of the entities that the classifier reads beside mentions and mean.
    """
    encoder = copy.deepcopy(start)
    torch.manual_seed(seed)
    task = RelationClassification(
        encoder.config,
        relations=relations,
        states=("mentions", "mean"),
        entities=entities,
        unit=True,
        dropout=options.dropout,
    )
    if options.strength:
        fit_head(task, encoder, texts, strength=options.strength)
    if options.frozen:
        for module in (encoder.embeddings, *encoder.encoder.layer[: options.frozen]):
            module.requires_grad_(False)
    mean = sum(map(len, texts)) // len(texts)
    optim = Optimization(
        rate=options.rate, layer_decay=options.layer_decay, weight_decay=options.weight_decay, warmup=0.1
    )
    steps = max(options.steps, round(options.passes * len(texts) / options.examples))
    train(Learner(encoder, [task]), task, texts, steps, mean * options.examples, optim, seed)
    return encoder, task


def train(
    learner: Learner,
    objective: Objective[Any],
    texts: Sequence[Any],
    steps: int,
    tokens: int,
    optim: Optimization,
    seed: int,
) -> None:
    """Trains on what one objective reads, without writing anything. `tokens` is the size of a batch."""
    stream = BatchStream(InMemory(texts), objective.collate, tokens=tokens, seed=seed)
    train_unsaved(learner, {objective.name: stream}, steps, optim, seed)


def fit_head(task: RelationClassification, encoder: Encoder, texts: Sequence[Encoded], *, strength: float) -> None:
    """Sets the classifier to the logistic regression on what it reads of the encoder as it is.

    Args:
        strength: inverse regularization (scikit-learn's C).

    Raises:
        ValueError: the classifier has a hidden layer, or all texts have the same relation.
    """
    from sklearn.linear_model import LogisticRegression

    if task.dense is not None:
        raise ValueError("fit_head: only a classifier without a hidden layer is linear in what it reads.")
    read = list(_encoded(encoder, task, dict(enumerate(texts))))
    with torch.no_grad():
        features = np.concatenate([task.features(batch, stream).numpy() for _, batch, stream in read])
    relations = np.concatenate([batch[Pairs].relation.numpy() for _, batch, _ in read])
    if len(np.unique(relations)) < 2:
        raise ValueError("fit_head: examples of at least two relations are needed.")
    middle = features.mean(0)  # states of all texts point in much the same direction
    fitted = LogisticRegression(C=strength, max_iter=500).fit(features - middle, relations)
    weights = np.column_stack([fitted.coef_, fitted.intercept_ - fitted.coef_ @ middle]).astype(np.float32)
    if len(weights) == 1:  # of two relations scikit-learn weighs the second against the first
        weights = np.concatenate([-weights / 2, weights / 2])
    known = torch.from_numpy(fitted.classes_)
    with torch.no_grad():
        task.classifier.weight[known] = torch.from_numpy(weights[:, :-1])
        task.classifier.bias[known] = torch.from_numpy(weights[:, -1])


def answers(encoder: Encoder, task: RelationClassification, texts: Mapping[int, Encoded]) -> dict[int, str]:
    """Returns the answer to each text by its number."""
    return {
        number: answer
        for numbers, batch, stream in _encoded(encoder, task, texts)
        for number, answer in zip(numbers, task.predict(batch, stream), strict=True)
    }


def _encoded(
    encoder: Encoder, task: RelationClassification, texts: Mapping[int, Encoded], at_once: int = 64
) -> Iterator[tuple[list[int], Batch, Stream]]:
    """Yields numbers, batch and states of texts of similar length, without dropout and without a gradient."""
    encoder.eval()
    task.eval()
    numbers = sorted(texts, key=lambda number: len(texts[number]))
    for start in range(0, len(numbers), at_once):
        some = numbers[start : start + at_once]
        batch = task.collate([texts[number] for number in some], 0)
        with torch.no_grad():
            yield some, batch, encoder.encode(batch)
