"""A recipe says everything about a run: frozen dataclasses, written as TOML.

    name = "mlm on my text"
    [model]           hf = "bert-base-uncased"          or [model.config] family = "bert", hidden_size = 256, ...
    [model.extensions.ernie]                            its options
    [tokenizer]       path = "bert-base-uncased"
    [[objectives]]    name = "mlm", options = { rate = 0.15 }
    [objectives.corpus]   name = "text", options = { path = "train.txt" }
    [optim] [train] [batch] [evaluation] [checkpoint] [log]

An unknown key or a wrong type is an error that names file, line, dotted key and the closest key. `--set a.b=c`
changes one value; an item of a list goes by its number or its name: ``--set objectives.mlm.options.rate=0.2``.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from kelm.errors import RecipeError, closest

__all__ = [
    "Batching",
    "Checkpoints",
    "CorpusChoice",
    "Evaluation",
    "Logging",
    "ModelChoice",
    "ObjectiveChoice",
    "Optimization",
    "Recipe",
    "TokenizerChoice",
    "Training",
    "parse",
    "read",
    "write",
]

T = TypeVar("T")
Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which encoder: `hf` (a folder or a Hub name; also a folder of ours), or a fresh one by `config`.

    Attributes:
        config: fields of `EncoderConfig`; with `hf`, the fields to override (dropout, attention kernel).
        extensions: options of each extension by its plug-in name, first is innermost.
    """

    hf: str | None = None
    config: Options = field(default_factory=dict)
    extensions: Mapping[str, Options] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerChoice:
    """Where the tokenizer lies: a folder, a SentencePiece file or a Hub name. None: where `model.hf` is."""

    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusChoice:
    """A corpus by its plug-in name (group ``kelm.corpora``) or "text", "jsonl", "tsv", with its options."""

    name: str
    options: Options = field(default_factory=dict)


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
        tokens: of one batch of one process, padding included.
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
        clip: largest norm of the gradient; None does not clip.
        warmup: steps of linear increase; below 1 a share of all steps.
        layer_decay: factor of the rate from one layer to the one below (ELECTRA uses 0.8 to 0.9); 1 is off.
        decay_embeddings: apply weight decay to embedding tables.
    """

    rate: float = 5e-5
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip: float | None = 1.0
    schedule: Literal["linear", "inverse_sqrt", "cosine", "constant"] = "linear"
    warmup: float = 0.1
    layer_decay: float = 1.0
    decay_embeddings: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How long, how large a step, in which precision.

    Attributes:
        steps: how many updates. With `passes` in a recipe: counted from the data.
        passes: how often the first objective's corpus is read; give this or `steps`.
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


def read(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Returns the recipe in a TOML file, with ``a.b=c`` overrides applied.

    Raises:
        RecipeError: the file is missing or no TOML, a key is unknown, a value has the wrong type or is impossible.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot be read ({error})", path=path, remedy="Give a recipe file in TOML.") from error
    return parse(text, overrides, path=path)


def parse(text: str, overrides: Sequence[str] = (), *, path: Path | None = None) -> Recipe:
    """Returns the recipe that a TOML text describes; see `read`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        line = int(found[1]) if found else None
        raise RecipeError(f"no valid TOML: {error}", path=path, line=line, remedy="Correct that line.") from error
    for override in overrides:
        _override(table, override)
    try:
        return _checked(_convert(Recipe, table, ""))
    except RecipeError as error:
        line = _line_of(text, error.field or "")
        raise RecipeError(error.problem, path=path, line=line, field=error.field, remedy=error.remedy) from None


def write(recipe: Recipe, path: str | Path) -> None:
    """Writes the recipe with every default filled in, so that it means the same in later versions."""
    import tomli_w

    Path(path).write_text(tomli_w.dumps(_plain(recipe)), encoding="utf-8")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            part.name: _plain(getattr(value, part.name))
            for part in dataclasses.fields(value)
            if getattr(value, part.name) is not None
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value


def _override(table: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    key = key.strip()
    if not sign or not key:
        raise RecipeError(f'"{override}" is no override', field="--set", remedy="Write key=value: optim.rate=2e-5.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    *steps, last = key.split(".")
    place: Any = table
    for depth, step in enumerate(steps):
        place = place.setdefault(step, {}) if isinstance(place, dict) else _item(place, step, steps[:depth])
        if not isinstance(place, (dict, list)):
            raise RecipeError(f"{step} is a plain value", field=key, remedy="Only tables have keys.")
    if isinstance(place, list):
        raise RecipeError("is a list of tables", field=".".join(steps), remedy="Name a key of one of its items.")
    place[last] = value


def _item(items: list[Any], step: str, before: Sequence[str]) -> Any:
    if step.isdecimal() and int(step) < len(items):
        return items[int(step)]
    names = [str(item.get("name", "")) for item in items if isinstance(item, dict)]
    if names.count(step) == 1:
        return items[names.index(step)]
    raise RecipeError(f'has no single item "{step}"', field=".".join(before), remedy=closest(step, names))


def _checked(recipe: Recipe) -> Recipe:
    def wrong(field: str, problem: str, remedy: str) -> RecipeError:
        return RecipeError(problem, field=field, remedy=remedy)

    if not recipe.objectives:
        raise wrong("objectives", "no objective is given", 'Add [[objectives]] with name = "mlm" and a corpus.')
    names = [objective.name for objective in recipe.objectives]
    if len(set(names)) < len(names):
        raise wrong("objectives", "an objective is named twice", "Give each once; join their corpora.")
    if len({objective.rate is None for objective in recipe.objectives}) > 1:
        raise wrong("objectives", "only some objectives have a rate", "Give all of them a rate, or none.")
    if (recipe.train.steps is None) == (recipe.train.passes is None):
        raise wrong("train.steps", "one of train.steps and train.passes is needed", "Give one of the two.")
    if recipe.model.hf is None and not recipe.model.config:
        raise wrong("model", "no model is chosen", 'Set model.hf = "folder or name", or fill [model.config].')
    if recipe.model.hf is None and recipe.tokenizer.path is None:
        raise wrong("tokenizer.path", "a fresh model needs a tokenizer", "Set tokenizer.path.")
    for key, value in (
        ("optim.rate", recipe.optim.rate),
        ("train.steps", recipe.train.steps),
        ("train.passes", recipe.train.passes),
        ("train.accumulation", recipe.train.accumulation),
        ("batch.tokens", recipe.batch.tokens),
        ("batch.room", recipe.batch.room),
        ("batch.pool", recipe.batch.pool),
        ("evaluation.every", recipe.evaluation.every),
        ("checkpoint.every", recipe.checkpoint.every),
        ("checkpoint.keep", recipe.checkpoint.keep),
        ("log.every", recipe.log.every),
        *((f"objectives.{objective.name}.rate", objective.rate) for objective in recipe.objectives),
    ):
        if value is not None and value <= 0:
            raise wrong(key, f"expected more than 0, found {value}", "Give a positive number.")
    return recipe


def _convert(kind: Any, value: Any, field: str) -> Any:
    """Returns `value` as the type `kind`, or raises RecipeError naming `field`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _table(typing.cast(type[Any], kind), value, field)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert(next(part for part in arguments if part is not type(None)), value, field)
    if origin is Literal:
        if value not in arguments:
            raise RecipeError(f"{value!r} is not allowed", field=field, remedy=closest(str(value), arguments))
        return value
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is not Ellipsis and len(arguments) != len(value):
            raise RecipeError(f"expected {len(arguments)} values, found {len(value)}", field=field)
        parts = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(
            _convert(part, entry, f"{field}.{n}") for n, (part, entry) in enumerate(zip(parts, value, strict=True))
        )
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: _convert(arguments[1], entry, f"{field}.{key}") for key, entry in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise RecipeError(f"expected {_words(kind)}, found {_words(type(value))} {value!r}", field=field)


def _table(kind: type[T], value: Any, field: str) -> T:
    if not isinstance(value, dict):
        raise RecipeError(f"expected a table, found {value!r}", field=field, remedy=f"Write [{field}].")
    kinds = typing.get_type_hints(kind)
    prefix = f"{field}." if field else ""
    for key in value:
        if key not in kinds:
            raise RecipeError("unknown key", field=f"{prefix}{key}", remedy=closest(key, kinds))
    for part in dataclasses.fields(kind):  # type: ignore[arg-type]  # only dataclasses come here
        required = part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING
        if required and part.name not in value:
            raise RecipeError("missing key", field=f"{prefix}{part.name}", remedy=f"Add {part.name}.")
    return kind(**{key: _convert(kinds[key], entry, f"{prefix}{key}") for key, entry in value.items()})


def _words(kind: Any) -> str:
    names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
    return names.get(kind, "a table" if typing.get_origin(kind) is not tuple and kind is not tuple else "a list")


def _line_of(text: str, field: str) -> int | None:
    """Returns the line in which a dotted key stands, or its table if it is not written out; None if neither is."""
    seen: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line):
            table = header[2]
            seen.setdefault(table, number)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
            for listed, count in counts.items():
                if table == listed or table.startswith(f"{listed}."):
                    table = f"{listed}.{count}{table.removeprefix(listed)}"
            seen.setdefault(table, number)
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            seen.setdefault(f"{table}.{key[1]}" if table else key[1], number)
    while field and field not in seen:
        field = field.rpartition(".")[0]
    return seen.get(field)
