"""How a graph is embedded, as one value that can be written into a recipe file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from kelm.errors import RecipeError, closest
from kg.embeddings.losses import LOSSES, LossName

__all__ = ["EmbeddingRecipe"]

Engine = Literal["kelm", "pykeen"]
Sampler = Literal["both", "uniform", "bernoulli"]
Optimizer = Literal["adam", "adagrad"]


@dataclass(frozen=True, slots=True)
class EmbeddingRecipe:
    """Options of `kg.embeddings.train.train`.

    The defaults are not the paper's of 2013 but a spherical TransE with sampled softmax: after 70 seconds of one core,
    filtered MRR .294, Hits@1 .211 and Hits@10 .450 on the test triples of CoDEx-M, at width 100 (Safavi and Koutra,
    2020, report .303, .223 and .454 for TransE). With 1,024 negatives, MRR is .299 on the validation triples after
    twice the time. The paper's own: ``EmbeddingRecipe(norm=1, loss="margin", margin=1.0, sampler="uniform",
    negatives=1, sharpness=1.0, optimizer="adagrad", rate=0.01)``.

    Attributes:
        engine: kelm's own loop (TransE), or PyKEEN's for any of its models.
        model: "transe", or with the engine "pykeen" a PyKEEN model's name, for example "RotatE".
        norm: 1 or 2, the distance of TransE.
        width: length of a vector.
        epochs: passes over the triples.
        batch_size: most triples that share a step and its negatives; a small graph is cut into 64 batches an epoch
            as long as they have 16 triples.
        rate: learning rate at the start; it falls to zero linearly.
        negatives: corrupted answers, drawn once a step and shared by its triples.
        loss: a name of `kg.embeddings.losses`.
        margin: the margin of the losses that have one.
        sharpness: inverse temperature of "softmax", and of the weights of "self_adversarial".
        sampler: which ends are corrupted: both of each triple, one by a fair coin, or one by the relation's share of
            heads per tail and tails per head (Wang et al., 2014, section 3.2).
        filtered: whether known answers are left out of the negatives.
        normalize: whether entity vectors are scaled to length 1 after each step (Bordes et al., 2013, algorithm 1).
        regularization: weight of the squared lengths of the entity vectors in a step.
        optimizer: row-wise lazy Adam or Adagrad: only the rows of a step are touched.
        patience: checks without a better validation MRR until training stops; 0 trains all epochs.
        check_every: epochs between two checks on validation triples.
        seed: equal seeds give equal vectors on the same machine with the same number of threads.
        options: further arguments of a PyKEEN model.
    """

    engine: Engine = "kelm"
    model: str = "transe"
    norm: Literal[1, 2] = 2
    width: int = 100
    epochs: int = 12
    batch_size: int = 1024
    rate: float = 0.005
    negatives: int = 512
    loss: LossName = "softmax"
    margin: float = 9.0
    sharpness: float = 10.0
    sampler: Sampler = "both"
    filtered: bool = True
    normalize: bool = True
    regularization: float = 0.0
    optimizer: Optimizer = "adam"
    patience: int = 0
    check_every: int = 5
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, choices in (
            ("engine", get_args(Engine)),
            ("norm", (1, 2)),
            ("loss", tuple(LOSSES)),
            ("sampler", get_args(Sampler)),
            ("optimizer", get_args(Optimizer)),
        ):
            if getattr(self, name) not in choices:
                raise RecipeError(
                    f'"{getattr(self, name)}" is not a choice',
                    field=name,
                    remedy=closest(str(getattr(self, name)), map(str, choices)),
                )
        if self.engine == "kelm" and self.model.lower() != "transe":
            raise RecipeError(
                f'kelm\'s own loop trains "transe", not "{self.model}"',
                field="model",
                remedy='Set engine = "pykeen" for PyKEEN\'s models.',
            )
        for name in ("width", "epochs", "batch_size", "negatives", "check_every"):
            if getattr(self, name) < 1:
                raise RecipeError(f"must be at least 1, found {getattr(self, name)}", field=name)
        for name in ("rate", "margin", "sharpness"):
            if not getattr(self, name) > 0:
                raise RecipeError(f"must be above 0, found {getattr(self, name)}", field=name)
        for name in ("regularization", "patience"):
            if not getattr(self, name) >= 0:
                raise RecipeError(f"must not be below 0, found {getattr(self, name)}", field=name)

    def facts(self) -> dict[str, Any]:
        """Returns the recipe as JSON."""
        return {**dataclasses.asdict(self), "options": dict(self.options)}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """Returns the recipe that `facts` gave.

        Raises:
            RecipeError: an unknown key or an impossible value.
        """
        known = {one.name for one in dataclasses.fields(cls)}
        for key in facts:
            if key not in known:
                raise RecipeError(f'no key is "{key}"', field=key, remedy=closest(key, known))
        return cls(**facts)
