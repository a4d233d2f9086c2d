"""How a graph is embedded, as one value that can be written into a recipe file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from kelm.errors import InputError, RecipeError, closest
from kelm.training.bounds import COUNT, FACTOR, NOT_NEGATIVE, PART, POSITIVE, SEED, SHARE, Bound
from kg.embeddings.interactions import Interaction
from kg.embeddings.losses import LOSSES
from kg.embeddings.models import MODELS

__all__ = ["EmbeddingRecipe"]

Engine = Literal["kelm", "pykeen"]
Sampler = Literal["both", "uniform", "bernoulli"]
Optimizer = Literal["adam", "adagrad"]
Training = Literal["sampled", "1vsall", "kvsall"]
Loss = Literal["softmax", "self_adversarial", "softplus", "margin", "cross_entropy", "bce"]
Start = Literal["xavier", "normal", "uniform"]
Decay = Literal["linear", "plateau", "constant"]

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "engine": get_args(Engine),
    "norm": (1, 2),
    "training": get_args(Training),
    "loss": get_args(Loss),
    "sampler": get_args(Sampler),
    "optimizer": get_args(Optimizer),
    "start": get_args(Start),
    "decay": get_args(Decay),
}
_SHARES = ("label_smoothing", "entity_dropout", "relation_dropout", "query_dropout", "feature_dropout")

_BOUNDS: Mapping[Bound, tuple[str, ...]] = {
    COUNT: (
        "width",
        "epochs",
        "batch_size",
        "negatives",
        "check_every",
        "decay_patience",
        "filters",
        "kernel",
        "together",
    ),
    POSITIVE: ("rate", "margin", "sharpness", "start_scale"),
    FACTOR: ("decay_factor",),
    NOT_NEGATIVE: ("regularization", "n3", "duality", "patience", "relation_width", "image_height"),
    SEED: ("seed",),
    SHARE: _SHARES,
    PART: ("typed_negatives",),
}
# what TransE's loop with closed gradients lacks
_BY_AUTOGRAD = ("n3", "duality", "together", *_SHARES, "start", "start_scale", "decay")


@dataclass(frozen=True, slots=True)
class EmbeddingRecipe:
    """Options of `kg.embeddings.train.train`.

    The defaults are not the paper's of 2013 but a spherical TransE with sampled softmax: after 70 seconds of one core,
    filtered MRR .294, Hits@1 .211 and Hits@10 .450 on the test triples of CoDEx-M, at width 100 (Safavi and Koutra,
    2020, report .303, .223 and .454 for TransE). With 1,024 negatives, MRR is .299 on the validation triples after
    twice the time. The paper's own: ``EmbeddingRecipe(norm=1, loss="margin", margin=1.0, sampler="uniform",
    negatives=1, sharpness=1.0, optimizer="adagrad", rate=0.01)``.

    Two loops are kelm's own: TransE with sampled negatives and no inverse relations has gradients in closed form
    (`kg.embeddings.train`); everything else goes by autograd (`kg.embeddings.query_training`), and what is said there
    of options without a meaning for the other loop is checked.

    Attributes:
        engine: kelm's own loops, or PyKEEN's for any of its models.
        model: "transe", "distmult", "complex", "rotate", "rescal", "tucker" or "conve"; with the engine "pykeen" a
            PyKEEN model's name, for example "TransD".
        norm: 1 or 2, the distance of TransE.
        width: length of a vector.
        epochs: passes over the triples.
        batch_size: most triples that share a step and its negatives ("kvsall": questions); the loop with closed
            gradients cuts a small graph into 64 batches an epoch as long as they have 16 triples.
        rate: learning rate at the start; see `decay`.
        training: "sampled" compares the true answer with some others, "1vsall" with all entities, "kvsall" all true
            answers to a question with all entities at once (Dettmers et al., 2018, section 4.1).
        together: up to so many triples of a question are put in one step, where it is asked and compared with all
            entities only once ("1vsall" with cross-entropy). The loss stays, but for dropout, which then is
            one for all of them; the steps are less random.
        negatives: corrupted answers, drawn once a step and shared by its triples ("sampled").
        typed_negatives: share of them that is drawn from entities seen at that side of the step's relations, each
            for the questions whose relation it was seen with (`kg.embeddings.negatives`; Krompass et al., 2015).
        loss: "softmax", "self_adversarial", "softplus" or "margin" for "sampled"; "cross_entropy" or "bce" for all
            entities.
        margin: the margin of the losses that have one.
        sharpness: inverse temperature of "softmax", and of the weights of "self_adversarial".
        sampler: which ends are corrupted: both of each triple, one by a fair coin, or one by the relation's share of
            heads per tail and tails per head (Wang et al., 2014, section 3.2).
        filtered: whether known answers are left out of the negatives.
        normalize: whether entity vectors are scaled to length 1 after each step (Bordes et al., 2013, algorithm 1).
        regularization: weight of the squared lengths of the entity vectors in a step; by autograd, of the vectors of
            each triple (entities and relation), averaged over the step.
        n3: weight of the cubed moduli of each triple's vectors, averaged over the step (Lacroix et al., 2018, section
            4.1); a question of "kvsall" counts without its answers.
        duality: weight of the squared lengths of each question's query and answer, averaged over the step: DURA (Zhang
            et al., 2020, equation 8), which keeps what a dot product compares short on both sides. With inverse
            relations a triple counts at both ends; "kvsall" counts queries only.
        optimizer: Adam or Adagrad; with closed gradients row-wise and lazy, only the rows of a step are touched.
        reciprocal: ask for heads by inverse relations with vectors of their own (Lacroix et al., 2018, section 3.3).
        label_smoothing: share of the target that all entities get evenly ("1vsall" and "kvsall").
        entity_dropout, relation_dropout, query_dropout: shares dropped of the given entity, of the relation (of
            TuckER: of its matrix) and of the query.
        feature_dropout: share of ConvE's feature maps dropped.
        start: first vectors: normal with Glorot's deviation √(2 / (rows + numbers)) times `start_scale`, normal with
            that deviation, or uniform up to it. TransE with closed gradients starts as its paper says.
        start_scale: see `start`.
        decay: the rate falls to zero linearly, by `decay_factor` whenever `decay_patience` checks brought no better
            validation MRR, or stays.
        decay_factor, decay_patience: see `decay`.
        relation_width: TuckER's length of a relation's vector; 0 is `width`.
        batch_norm: whether TuckER and ConvE use their norms.
        image_height, filters, kernel: ConvE's; a height of 0 is chosen.
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
    loss: Loss = "softmax"
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
    training: Training = "sampled"
    reciprocal: bool = False
    label_smoothing: float = 0.0
    n3: float = 0.0
    duality: float = 0.0
    entity_dropout: float = 0.0
    relation_dropout: float = 0.0
    query_dropout: float = 0.0
    feature_dropout: float = 0.0
    start: Start = "xavier"
    start_scale: float = 1.0
    decay: Decay = "linear"
    decay_factor: float = 0.95
    decay_patience: int = 5
    relation_width: int = 0
    batch_norm: bool = True
    image_height: int = 0
    filters: int = 32
    kernel: int = 3
    typed_negatives: float = 0.0
    together: int = 1

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise RecipeError(
                    f'"{getattr(self, name)}" is not a choice',
                    field=name,
                    remedy=closest(str(getattr(self, name)), map(str, choices)),
                )
        for bound, names in _BOUNDS.items():
            for name in names:
                bound.check(getattr(self, name), name)
        sampled = self.training == "sampled" or self.engine == "pykeen"
        if sampled != (self.loss in LOSSES):
            fitting = tuple(LOSSES) if sampled else ("cross_entropy", "bce")
            raise RecipeError(
                f'training = "{self.training}" has no loss "{self.loss}"',
                field="loss",
                remedy=f"Choose from {', '.join(fitting)}.",
            )
        if self.engine == "kelm":
            self._check_own()
        else:
            more = (*_BY_AUTOGRAD, "training", "reciprocal", "typed_negatives")
            self._check_absent(
                more, "PyKEEN's engine has no such option", "Leave it out, or use a model of kelm's own."
            )

    def _check_absent(self, names: tuple[str, ...], problem: str, remedy: str) -> None:
        """Raises a `RecipeError` where one of these options is not as it is by default."""
        for name in names:
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise RecipeError(problem, field=name, remedy=remedy)

    def _check_own(self) -> None:
        """Raises a `RecipeError` for what kelm's own loops cannot train."""
        if self.model.lower() not in MODELS:
            raise RecipeError(
                f'kelm\'s own loops do not train "{self.model}"',
                field="model",
                remedy=f'{closest(self.model.lower(), MODELS)} Set engine = "pykeen" for PyKEEN\'s models.',
            )
        if not self.by_autograd:
            self._check_absent(
                _BY_AUTOGRAD,
                "TransE with sampled negatives has no such option",
                'Set reciprocal = true or training = "1vsall", or leave it out.',
            )
            return
        if self.training != "sampled":
            self._check_absent(("typed_negatives",), f'"{self.training}" draws no negatives', "Leave it out.")
        if (self.training, self.loss) != ("1vsall", "cross_entropy"):
            self._check_absent(
                ("together",), f'"{self.training}" with "{self.loss}" gathers no triples', "Leave it out."
            )
        if self.sampler != "both":
            raise RecipeError(
                f'"{self.sampler}" is for TransE with sampled negatives',
                field="sampler",
                remedy='Set sampler = "both", or leave it out.',
            )
        interaction = self.interaction()
        try:
            interaction.relation_width(self.width)
        except InputError as error:
            raise RecipeError(error.problem, field=error.field, remedy=error.remedy) from None
        if not (interaction.two_sided or self.reciprocal):
            raise RecipeError(
                f"{self.model} asks for heads by inverse relations only", field="reciprocal", remedy="Set it to true."
            )

    @property
    def by_autograd(self) -> bool:
        """Whether `kg.embeddings.query_training` trains it."""
        own = self.engine == "kelm"
        return own and (self.model.lower() != "transe" or self.training != "sampled" or self.reciprocal)

    def interaction(self) -> Interaction:
        """Returns what scores the vectors of one of kelm's own models."""
        return MODELS[self.model.lower()](self)

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
