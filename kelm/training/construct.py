"""Makes what a recipe names: plug-ins by name, with options checked against what they take."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from kelm import plugins
from kelm.data.corpus import Corpus
from kelm.data.reader import Enriched, Enricher, Reader
from kelm.data.sources import Dataset, JsonLines, Table, TextFiles
from kelm.errors import CheckpointError, InputError, KelmError, RecipeError, closest
from kelm.model import Encoder, EncoderConfig, VocabularyHead, hub, presets
from kelm.objectives.base import Objective
from kelm.text.tokenizer import Tokenizer
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training.checkpoint import read_tensors
from kelm.training.recipe import CorpusChoice, ObjectiveChoice, Options, Recipe
from kelm.training.recipe_file import convert

__all__ = [
    "Parts",
    "corpus",
    "dataset",
    "encoder",
    "enrichers",
    "is_ours",
    "loaded",
    "make",
    "objective",
    "open_encoder",
    "tokenizer",
]

SIMPLE = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class Parts:
    """What plug-ins may ask for by the names of their parameters, beside their options."""

    config: EncoderConfig
    tokenizer: Tokenizer
    encoder: Encoder
    seed: int


def loaded(
    path: str,
    *,
    config: str | None = None,
    files: str | Sequence[str] | None = None,
    split: str = "train",
    streaming: bool = True,
) -> Any:
    """Opens a dataset of the library `datasets`: a name on the Hub, a folder, or "parquet" with `files`.

    Args:
        streaming: read it as it comes; otherwise it is fetched once and lies in memory-mapped files.

    Raises:
        RecipeError: it cannot be opened.
    """
    from datasets import load_dataset

    try:
        return load_dataset(path, config, data_files=files, split=split, streaming=streaming)
    except Exception as error:  # the library raises many kinds; all mean the same to the user
        raise RecipeError(
            f'the dataset "{path}" cannot be opened ({type(error).__name__}: {error})',
            remedy="Check its name and split.",
        ) from error


def dataset(
    path: str,
    *,
    config: str | None = None,
    files: str | Sequence[str] | None = None,
    split: str = "train",
    field: str = "text",
    pair: str | None = None,
    keep: Sequence[str] = (),
) -> Dataset:
    """Returns a corpus of the library `datasets`, streamed; see `loaded` and `Dataset`."""
    return Dataset(loaded(path, config=config, files=files, split=split), field=field, pair=pair, keep=keep)


CORPORA = {"text": TextFiles, "jsonl": JsonLines, "tsv": Table, "dataset": dataset}


def tokenizer(recipe: Recipe) -> Tokenizer:
    """Opens the recipe's tokenizer, by default the model's own."""
    path = recipe.tokenizer.path or recipe.model.hf
    assert path is not None  # `recipe.check` sees to it
    return open_tokenizer(path)


def encoder(recipe: Recipe, words: Tokenizer) -> Encoder:
    """Returns the recipe's encoder: read from Hugging Face, one of ours, or fresh, sized for the tokenizer.

    Raises:
        RecipeError: an unknown field or extension option.
        CheckpointError: the checkpoint is damaged or does not fit.
    """
    model = recipe.model
    known = [name for name in EncoderConfig.__annotations__ if name not in ("extensions", "model_type")]
    for name in model.config:
        if name not in known:
            raise RecipeError("unknown key", field=f"model.config.{name}", remedy=closest(name, known))
    extensions = {name: _extension_options(name, options) for name, options in model.extensions.items()}
    if model.hf is None:
        size = {} if model.preset is None else presets.fields(model.preset, "model.preset")
        sized = {**size, "vocab_size": words.vocabulary_size, "pad_token_id": words.pad, **model.config}
        return _made({**sized, "extensions": extensions}, Encoder)
    if not is_ours(model.hf):
        fields = {**hub.read_fields(model.hf), **model.config, "extensions": extensions}
        hf, changes = model.hf, model.config
        return _made(fields, lambda _: Encoder.from_hf(hf, extensions=extensions, **changes))
    opened = open_encoder(model.hf, model.config)
    if extensions and list(extensions) != list(opened.extensions):
        have = ", ".join(opened.extensions) or "none"
        raise RecipeError(
            f"{model.hf} is a model of ours with its own extensions ({have})",
            field="model.extensions",
            remedy="Leave them out of the recipe.",
        )
    return opened


def _extension_options(name: str, options: Any) -> dict[str, Any]:
    field = f"model.extensions.{name}"
    known = _names("extensions")
    if name not in known:
        raise RecipeError(f'no extension is called "{name}"', field=field, remedy=closest(name, known))
    return dict(_checked(plugins.find("extensions", name), options, {"config"}, field))


def _made(fields: Mapping[str, Any], make: Callable[[EncoderConfig], Encoder]) -> Encoder:
    """Returns the encoder that `make` makes; what is wrong with a field or an extension is told by its dotted key."""
    extensions = fields["extensions"]
    try:
        config = EncoderConfig(**fields)
    except (KelmError, TypeError, ValueError) as error:
        raise _no_encoder(error) from error
    try:
        return make(config)
    except CheckpointError as error:
        for name, options in extensions.items():  # a table of vectors is a checkpoint too
            if found := _refusal(name, config, options):
                raise found from error
        raise
    except (KelmError, TypeError, ValueError) as error:
        for name, options in extensions.items():
            if found := _refusal(name, config, options):
                raise found from error
        if isinstance(error, KelmError):  # each extension can be made, but not all together
            raise RecipeError(str(error), field="model.extensions") from error
        raise _no_encoder(error) from error


def _no_encoder(error: Exception) -> RecipeError:
    """Returns an error about the field with which the message begins, as those of `EncoderConfig` do."""
    named = re.match(r"EncoderConfig: (\w+)", str(error))
    return RecipeError(
        f"no such encoder can be made ({error})",
        field=f"model.config.{named[1]}" if named else "model.config",
        remedy="Change that value, or leave it out." if named else "Compare the values with EncoderConfig's.",
    )


def _refusal(name: str, config: EncoderConfig, options: Mapping[str, Any]) -> RecipeError | None:
    """Returns what an extension says against its options: about the one that the message begins with or whose path."""
    field = f"model.extensions.{name}"
    try:
        plugins.find("extensions", name)(config, **options)
    except KelmError as error:
        return RecipeError(str(error), field=_about(str(error), options, field))
    except (TypeError, ValueError) as error:
        return RecipeError(f"these options do not work ({error})", field=field, remedy=f"Given: {dict(options)}.")
    return None


def _about(said: str, options: Mapping[str, Any], field: str) -> str:
    """Returns the dotted key of the option with whose name or path a message begins; `field` if it is about none."""
    paths = {key: str(Path(value)) for key, value in options.items() if value and isinstance(value, str)}
    named = re.match(r"\w+: (\w+)\b", said)
    about = named[1] if named and named[1] in options else None
    about = about or next((key for key, path in paths.items() if said.startswith(path)), None)
    return field if about is None else f"{field}.{about}"


def objective(choice: ObjectiveChoice, parts: Parts, start: str | None, number: int) -> Objective[Any]:
    """Returns an objective or a task, its head filled from the checkpoint `start` if that has a fitting one.

    Raises:
        RecipeError: no plug-in has that name, or it does not take an option.
    """
    field = f"objectives.{number}"
    kinds = {name: kind for kind in ("tasks", "objectives") for name in _names(kind)}
    if choice.name not in kinds:
        remedy = closest(choice.name, kinds)
        raise RecipeError(f'no objective or task is called "{choice.name}"', field=f"{field}.name", remedy=remedy)
    made: Objective[Any] = make(
        plugins.find(kinds[choice.name], choice.name), choice.options, parts, f"{field}.options"
    )
    if start is not None:
        _fill_heads(made, start)
    return made


def corpus(choice: CorpusChoice, parts: Parts, room: int | None, field: str) -> Corpus[Any]:
    """Returns a corpus of what the objective reads: tokenized texts, unless the plug-in asks for the tokenizer itself.

    Raises:
        RecipeError: no corpus has that name, it does not take an option, or it takes no length.
    """
    known = [*CORPORA, *_names("corpora")]
    if choice.name not in known:
        remedy = closest(choice.name, known)
        raise RecipeError(f'no corpus is called "{choice.name}"', field=f"{field}.name", remedy=remedy)
    plugin: Any = CORPORA.get(choice.name) or plugins.find("corpora", choice.name)
    most = min(room or parts.config.longest, parts.config.longest)
    length, takes, options = min(choice.length or most, most), inspect.signature(plugin).parameters, choice.options
    if "length" in takes and (choice.length is not None or takes["length"].default is None):
        options = {"length": length, **options}
    elif choice.length is not None and "tokenizer" in takes:
        remedy = "Leave it out."
        raise RecipeError(f"the corpus {choice.name} takes no length", field=f"{field}.length", remedy=remedy)
    made: Corpus[Any] = make(plugin, options, parts, f"{field}.options")
    if "tokenizer" not in takes:
        made = Reader(made, parts.tokenizer, length, long=choice.long)
    found = enrichers(choice, parts, most, f"{field}.enrich")
    return Enriched(made, found) if found else made


def enrichers(choice: CorpusChoice, parts: Parts, length: int, field: str) -> list[Enricher]:
    """Returns the enrichers of a corpus; `length` is how long they may make a text, unless they say it themselves.

    Raises:
        RecipeError: no enricher has that name, or it does not take an option.
    """
    return [_enricher(name, options, parts, length, f"{field}.{name}") for name, options in choice.enrich.items()]


def _enricher(name: str, options: Options, parts: Parts, length: int, field: str) -> Enricher:
    """Returns an enricher; one that makes texts longer is told how long they may be."""
    known = _names("enrichers")
    if name not in known:
        raise RecipeError(f'no enricher is called "{name}"', field=field, remedy=closest(name, known))
    plugin = plugins.find("enrichers", name)
    if "length" in inspect.signature(plugin).parameters:
        options = {"length": length, **options}
    made: Enricher = make(plugin, options, parts, field)
    return made


def make(plugin: Any, options: Mapping[str, Any], parts: Parts, field: str) -> Any:
    """Calls a plug-in with its options and whatever of `parts` it names as a parameter.

    Raises:
        RecipeError: an unknown, a missing or a wrong option; names `field`, and the closest option.
    """
    offered = {"config": parts.config, "tokenizer": parts.tokenizer, "encoder": parts.encoder, "seed": parts.seed}
    given = {name: value for name, value in offered.items() if name not in options}
    checked = _checked(plugin, options, given.keys(), field)
    taken = {name: value for name, value in given.items() if name in inspect.signature(plugin).parameters}
    try:
        return plugin(**taken, **checked)
    except InputError as error:
        if error.path is not None:  # a file that an option names is told with its place
            raise
        about = field if error.field is None else f"{field}.{error.field}"
        raise RecipeError(error.problem, field=about, remedy=error.remedy) from error
    except KelmError as error:
        about = _about(str(error), options, field)
        if about == field and type(error) is not KelmError:  # a vocabulary that does not fit is about no option
            raise
        raise RecipeError(str(error), field=about) from error
    except (TypeError, ValueError) as error:
        raise RecipeError(f"these options do not work ({error})", field=field, remedy=f"Given: {options}.") from error


def _checked(plugin: Any, options: Mapping[str, Any], given: Any, field: str) -> Mapping[str, Any]:
    """Returns the options, converted where their type is a simple one."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(plugin).parameters.items()
        if name not in given and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    for name in options:
        if name not in parameters:
            raise RecipeError("unknown option", field=f"{field}.{name}", remedy=closest(name, parameters))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise RecipeError("missing option", field=f"{field}.{name}", remedy=f"Add {name}.")
    try:
        kinds = typing.get_type_hints(plugin.__init__ if inspect.isclass(plugin) else plugin)
    except (NameError, TypeError):  # types that are imported for the type checker only
        kinds = {}
    return {
        name: convert(kinds[name], value, f"{field}.{name}") if _simple(kinds.get(name)) else value
        for name, value in options.items()
    }


def _simple(kind: Any) -> bool:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        arguments = [part for part in typing.get_args(kind) if part is not type(None)]
        return len(arguments) == 1 and arguments[0] in SIMPLE
    return kind in SIMPLE or origin is typing.Literal


def _names(kind: str) -> list[str]:
    return sorted(point.name for point in entry_points(group=f"kelm.{kind}"))


def is_ours(name_or_path: str) -> bool:
    """Whether a checkpoint is one of kelm's own."""
    try:
        described = json.loads((hub.folder(name_or_path) / "config.json").read_text(encoding="utf-8"))
        return bool(described["model_type"] == EncoderConfig.model_type)
    except (OSError, ValueError, KeyError, TypeError):
        return False  # `Encoder.from_hf` tells what is wrong


def open_encoder(name_or_path: str, changes: Mapping[str, Any]) -> Encoder:
    """Opens a checkpoint of kelm's own.

    Raises:
        CheckpointError: it is damaged.
    """
    path = hub.folder(name_or_path)
    if not any((path / f"model.safetensors{index}").is_file() for index in ("", ".index.json")):
        hub.read_weights(path)  # raises: there are none, or pickles
    try:
        opened: Encoder = Encoder.from_pretrained(path, use_safetensors=True, **changes)
    except KelmError as error:
        if changes and str(error).startswith("EncoderConfig: "):
            raise _no_encoder(error) from error
        raise
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or does not fit its config.json ({error}). Write it again."
        ) from error
    return opened


def _fill_heads(made: Objective[Any], start: str) -> None:
    """Goes on with the heads of the checkpoint: ours by name, Hugging Face's vocabulary head wherever there is one."""
    if not is_ours(start):
        heads = [module for module in made.modules() if isinstance(module, VocabularyHead)]
        try:
            weights = hub.head_weights(start) if heads else {}
        except CheckpointError:  # saved without a head, or with another task's
            return
        for head in heads:
            head.load_state_dict(weights)
        return
    path = hub.folder(start) / "heads.safetensors"
    if not path.is_file():
        return
    prefix, wanted = f"{made.name}.", made.state_dict()
    saved = {name.removeprefix(prefix): value for name, value in read_tensors(path).items() if name.startswith(prefix)}
    if {name: value.shape for name, value in saved.items()} == {name: value.shape for name, value in wanted.items()}:
        made.load_state_dict(saved)
