"""Opens what is to be planned without its weights: a recipe, the size of a published model, or a checkpoint.

opened("recipe.toml")   opened("xlm-r-xl")   opened("bert-base-uncased")   opened("runs/mine/model")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from kelm.errors import InputError, KelmError, RecipeError
from kelm.model import Encoder, EncoderConfig, VocabularyHead, hub, presets
from kelm.text.tokenizer import Tokenizer
from kelm.training import construct, plan
from kelm.training.learner import Learner
from kelm.training.plan import Load
from kelm.training.recipe import ModelChoice, Recipe
from kelm.training.recipe_file import read

__all__ = ["Planned", "opened"]


@dataclass(frozen=True, slots=True)
class Planned:
    """What is planned.

    Attributes:
        parameters: by part, see `plan.parameters`.
        load: of a GPU, as the recipe says.
        tokens: real ones of the whole run of one process, if it says.
        notes: what was assumed.
    """

    config: EncoderConfig
    parameters: Mapping[str, int]
    load: Load
    tokens: float | None = None
    notes: tuple[str, ...] = ()


def opened(name: str, changes: Sequence[str] = ()) -> Planned:
    """Returns what a name stands for; no weight is read or made.

    Args:
        name: a recipe's file, a size of `kelm.model.presets`, a folder or a name on the Hub.
        changes: ``KEY=VALUE`` of a recipe.

    Raises:
        InputError: changes of what is no recipe.
        RecipeError, CheckpointError, and what an extension raises that needs a file.
    """
    if Path(name).suffix == ".toml":
        return _of_recipe(read(name, changes))
    if changes:
        raise InputError(f"{name} is no recipe", field="--set", remedy="Only a recipe has values to change.")
    if not Path(name).exists() and get_close_matches(name, presets.PRESETS, cutoff=0.75):
        config = EncoderConfig(**presets.fields(name))
    else:
        config = EncoderConfig(**_fields_of_checkpoint(name))
    encoder, heads = _alone(config)
    return Planned(config, plan.parameters(encoder, heads), Load())


def _alone(config: EncoderConfig) -> tuple[Encoder, dict[str, nn.Module]]:
    """Returns an encoder and a vocabulary head that take no memory."""
    with torch.device("meta"):
        return Encoder(config), {"mlm": VocabularyHead(config)}


def _fields_of_checkpoint(name: str) -> dict[str, Any]:
    if not construct.is_ours(name):
        return {**hub.read_fields(name), "pooler": False}
    described, _ = EncoderConfig.get_config_dict(hub.folder(name))
    common = set(PreTrainedConfig().to_dict()) | {"model_type"}
    return {key: value for key, value in described.items() if key not in common or key in EncoderConfig.__annotations__}


def _of_recipe(recipe: Recipe) -> Planned:
    model = recipe.model
    if model.hf is not None:  # only the shape of it is wanted
        fields = _fields_of_checkpoint(model.hf)
        extensions = fields.pop("extensions", None) or model.extensions
        tokenizer = replace(recipe.tokenizer, path=recipe.tokenizer.path or model.hf)
        chosen = ModelChoice(config={**fields, **model.config}, extensions=extensions)
        recipe = replace(recipe, model=chosen, tokenizer=tokenizer)
    notes: list[str] = []
    size = {} if model.preset is None else presets.fields(model.preset)
    sized = {**size, **recipe.model.config}
    place = recipe.tokenizer.path or ""
    if "vocab_size" in sized and not Path(place).exists():
        encoder, heads = _alone(EncoderConfig(**{**sized, "extensions": dict(recipe.model.extensions)}))
        notes.append(f"{place} is not there: {sized['vocab_size']:,} pieces and one vocabulary head are assumed.")
    else:
        words = _tokenizer(recipe)
        with torch.device("meta"):
            encoder = construct.encoder(recipe, words)
            parts = construct.Parts(encoder.config, words, encoder, recipe.train.seed)
            made = [construct.objective(choice, parts, None, at) for at, choice in enumerate(recipe.objectives)]
            heads = dict(Learner(encoder, made).objectives.items())
    counts = plan.parameters(encoder, heads)
    return Planned(encoder.config, counts, _load(recipe, encoder.config), _tokens(recipe), tuple(notes))


def _tokenizer(recipe: Recipe) -> Tokenizer:
    try:
        return construct.tokenizer(recipe)
    except KelmError as error:
        remedy = "Make it, or give its size: --set model.config.vocab_size=32000"
        raise RecipeError(f"no vocabulary is there ({error})", field="tokenizer.path", remedy=remedy) from error


def _load(recipe: Recipe, config: EncoderConfig) -> Load:
    lengths = [choice.corpus.length for choice in recipe.objectives]
    row = recipe.batch.room or max(length or config.longest for length in lengths)
    rates = [choice.options.get("rate", 0.15) for choice in recipe.objectives if choice.name in ("mlm", "tlm")]
    return Load(
        tokens=recipe.batch.tokens,
        row=min(row, config.longest),
        targets=max(rates, default=0.15),
        masked=config.attention == "sdpa",
        precision=recipe.train.precision,
        checkpointing=recipe.train.gradient_checkpointing,
    )


def _tokens(recipe: Recipe) -> float | None:
    """Returns the tokens that one process reads in all steps."""
    if recipe.train.steps is None:
        return None
    by_turns = any(choice.rate is not None for choice in recipe.objectives)
    batches = recipe.train.accumulation * (1 if by_turns else len(recipe.objectives))
    return float(recipe.train.steps * batches * recipe.batch.tokens)
