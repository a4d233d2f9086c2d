"""A recipe says everything about a run: frozen dataclasses, written as TOML (`kelm.training.recipe_file`).

name = "mlm on my text"
[model]           hf = "bert-base-uncased"          or preset = "xlm-r-base", or [model.config] hidden_size = 256, ...
[model.extensions.ernie]                            its options
[tokenizer]       path = "bert-base-uncased"
[[objectives]]    name = "mlm", options = { rate = 0.15 }
[objectives.corpus]   name = "text", options = { path = "train.txt" }
[objectives.corpus.enrich.sentence_tree]   graph = "graph"
[optim] [train] [batch] [evaluation] [checkpoint] [log]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kelm.errors import RecipeError
from kelm.model import presets
from kelm.training.bounds import COUNT, FACTOR, MEMORY, NORM, NOT_NEGATIVE, POSITIVE, SEED

__all__ = [
    "Batching",
    "Checkpoints",
    "CorpusChoice",
    "Evaluation",
    "Logging",
    "ModelChoice",
    "ObjectiveChoice",
    "Optimization",
    "Options",
    "Recipe",
    "TokenizerChoice",
    "Training",
    "check",
]

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which encoder: `hf` (a folder or a Hub name; also a folder of ours), or a fresh one by `preset` or `config`.

    Attributes:
        preset: the size of a published model (`kelm.model.presets`), with the tokenizer's vocabulary.
        config: fields of `EncoderConfig`; with `hf` or `preset`, those to override (dropout, attention kernel).
        extensions: options of each extension by its plug-in name, first is innermost.
    """

    hf: str | None = None
    preset: str | None = None
    config: Options = field(default_factory=dict)
    extensions: Mapping[str, Options] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerChoice:
    """Where the tokenizer lies: a folder, a SentencePiece file or a Hub name. None: where `model.hf` is."""

    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusChoice:
    """A corpus and how it is read.

    Attributes:
        name: a plug-in of the group ``kelm.corpora``, or "text", "jsonl", "tsv", "dataset" (Hugging Face's).
        options: its own; see `kelm.data.sources`.
        length: tokens that a text may have. None: as many as the model reads, or a row of `batch.room`.
        long: what happens to a longer text.
        enrich: options of each enricher by its plug-in name, in the order in which they add to a text.
    """

    name: str
    options: Options = field(default_factory=dict)
    length: int | None = None
    long: Literal["cut", "split", "refuse"] = "cut"
    enrich: Mapping[str, Options] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveChoice:
    """An objective or task by its plug-in name, what it trains on and how much it counts.

    Attributes:
        weight: factor of its loss.
        rate: how often it is drawn, relative to the others; one objective a step then. None: all in every step.
        held_out: the corpus on which it is evaluated.
    """

    name: str
    corpus: CorpusChoice
    weight: float = 1.0
    rate: float | None = None
    options: Options = field(default_factory=dict)
    held_out: CorpusChoice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How texts become batches.

    Attributes:
        tokens: real tokens aimed at in one batch of one process.
        room: tokens a row may hold, several texts then share one; None: one text a row.
        pool: texts among which those of similar length are looked for.
        workers: processes that read, tokenize and corrupt; 0 does it in the training process.
    """

    tokens: int = 8192
    room: int | None = None
    pool: int = 4096
    workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimization:
    """AdamW and its schedule; the defaults are BERT's fine-tuning values (Devlin et al., 2019, appendix A.3).

    Attributes:
        rate: the peak learning rate.
        clip: largest norm of the gradient; None, or in a file inf, does not clip.
        warmup: steps of linear increase; below 1 a share of all steps.
        peak_beta: what the first beta falls to while the rate rises, and rises from afterwards; for the schedule
            one_cycle, whose usual values are betas (0.8, 0.99) and 0.7. None: it stays.
        layer_decay: factor of the rate from one layer to the one below (ELECTRA uses 0.8 to 0.9); 1 is off.
        decay_embeddings: apply weight decay to embedding tables.
        factors: of the rate, by patterns of parameters' names in which `*` stands for anything; the first pattern that
            fits a name counts. 0 leaves a parameter as it is: ``{"encoder.extensions.*" = 1.0, "encoder.*" = 0.0}``.
    """

    rate: float = 5e-5
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip: float | None = 1.0
    schedule: Literal["linear", "inverse_sqrt", "cosine", "one_cycle", "constant"] = "linear"
    warmup: float = 0.1
    peak_beta: float | None = None
    layer_decay: float = 1.0
    decay_embeddings: bool = True
    factors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How long, how large a step, in which precision.

    Attributes:
        steps: how many updates. With `passes` in a recipe: counted from the data.
        passes: how often the first objective's corpus is read, by all processes together; give this or `steps`.
        accumulation: batches of each objective in one step, per process.
        seed: of weights, dropout, shuffling and corruption.
        not_finite: what to do when a loss is not a number: stop, or leave that step out (at most 10 in a row).
        compile: use `torch.compile`.
        gradient_checkpointing: compute states twice to keep fewer of them.
    """

    steps: int | None = None
    passes: float | None = None
    accumulation: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = 0
    not_finite: Literal["stop", "skip"] = "stop"
    compile: bool = False
    gradient_checkpointing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """When to evaluate, and which model to keep.

    Attributes:
        every: steps; None: only at the end.
        metric: the score by which the best model is chosen, such as "mlm/loss"; None keeps the last model.
        better: whether a higher or a lower score is better.
        patience: stop after so many evaluations without a better score; None never does.
    """

    every: int | None = None
    metric: str | None = None
    better: Literal["higher", "lower"] = "higher"
    patience: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """How often the state of the run is saved (in steps; None: at the end only), and how many states are kept."""

    every: int | None = 1000
    keep: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """How often a line is written (in steps), and whether TensorBoard's files are too, if it is installed."""

    every: int = 10
    tensorboard: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything about a run."""

    model: ModelChoice
    objectives: tuple[ObjectiveChoice, ...]
    name: str = ""
    tokenizer: TokenizerChoice = field(default_factory=TokenizerChoice)
    batch: Batching = field(default_factory=Batching)
    optim: Optimization = field(default_factory=Optimization)
    train: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoint: Checkpoints = field(default_factory=Checkpoints)
    log: Logging = field(default_factory=Logging)


def check(recipe: Recipe) -> None:
    """Raises RecipeError if a value is impossible, or if values do not go together."""

    def wrong(field: str, problem: str, remedy: str) -> RecipeError:
        return RecipeError(problem, field=field, remedy=remedy)

    _check_bounds(recipe)
    if not recipe.objectives:
        raise wrong("objectives", "no objective is given", 'Add [[objectives]] with name = "mlm" and a corpus.')
    names = [objective.name for objective in recipe.objectives]
    if len(set(names)) < len(names):
        raise wrong("objectives", "an objective is named twice", "Give each once; join their corpora.")
    if len({objective.rate is None for objective in recipe.objectives}) > 1:
        raise wrong("objectives", "only some objectives have a rate", "Give all of them a rate, or none.")
    if (recipe.train.steps is None) == (recipe.train.passes is None):
        raise wrong("train.steps", "one of train.steps and train.passes is needed", "Give one of the two.")
    model = recipe.model
    if model.hf is None and model.preset is None and not model.config:
        raise wrong("model", "no model is chosen", 'Set model.hf = "folder or name", or fill [model.config].')
    if model.preset is not None:
        if model.hf is not None:
            raise wrong("model.preset", "a checkpoint has its own size", "Give model.hf or model.preset.")
        presets.fields(model.preset, "model.preset")
    if recipe.model.hf is None and recipe.tokenizer.path is None:
        raise wrong("tokenizer.path", "a fresh model needs a tokenizer", "Set tokenizer.path.")
    if recipe.optim.peak_beta is not None and recipe.optim.schedule != "one_cycle":
        raise wrong("optim.peak_beta", "only a cycle has such a peak", 'Set optim.schedule = "one_cycle".')
    if recipe.evaluation.patience is not None and (recipe.evaluation.metric is None or recipe.evaluation.every is None):
        raise wrong(
            "evaluation.patience", "there is nothing to wait for", "Give evaluation.metric and evaluation.every."
        )


def _check_bounds(recipe: Recipe) -> None:
    optim, batch, train, evaluation = recipe.optim, recipe.batch, recipe.train, recipe.evaluation
    objectives = [(f"objectives.{number}", one) for number, one in enumerate(recipe.objectives)]
    for bound, values in (
        (
            POSITIVE,
            {
                "optim.rate": optim.rate,
                "optim.epsilon": optim.epsilon,
                "train.steps": train.steps,
                "train.passes": train.passes,
                "train.accumulation": train.accumulation,
                "batch.tokens": batch.tokens,
                "batch.room": batch.room,
                "batch.pool": batch.pool,
                "evaluation.every": evaluation.every,
                "checkpoint.every": recipe.checkpoint.every,
                "checkpoint.keep": recipe.checkpoint.keep,
                "log.every": recipe.log.every,
                **{f"{place}.rate": one.rate for place, one in objectives},
                **{f"{place}.corpus.length": one.corpus.length for place, one in objectives},
                **{f"{place}.held_out.length": one.held_out.length for place, one in objectives if one.held_out},
            },
        ),
        (NORM, {"optim.clip": optim.clip}),
        (COUNT, {"evaluation.patience": evaluation.patience}),
        (
            NOT_NEGATIVE,
            {
                "optim.warmup": optim.warmup,
                "optim.weight_decay": optim.weight_decay,
                "batch.workers": batch.workers,
                **{f"{place}.weight": one.weight for place, one in objectives},
                **{f"optim.factors.{name}": factor for name, factor in optim.factors.items()},
            },
        ),
        (SEED, {"train.seed": train.seed}),
        (FACTOR, {"optim.layer_decay": optim.layer_decay}),
        (MEMORY, {f"optim.betas.{number}": beta for number, beta in enumerate(optim.betas)}),
        (MEMORY, {"optim.peak_beta": optim.peak_beta}),
    ):
        for key, value in values.items():
            if value is not None:
                bound.check(value, key)
