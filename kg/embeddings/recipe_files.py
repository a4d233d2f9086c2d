"""Recipes of embeddings as TOML files: those that are shipped, by name, and one's own.

kg/recipes/{model}-{graph}.toml       complex-codex-s, transe-codex-s ...       a name is a file's, without ending
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kelm.errors import InputError, UnknownName, closest
from kg.embeddings.models import MODELS
from kg.embeddings.recipe import EmbeddingRecipe

__all__ = ["read_recipe", "shipped"]

_FOLDER = Path(__file__).resolve().parent.parent / "recipes"


def shipped() -> Mapping[str, Path]:
    """Returns the recipes that come with kelm, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*-*.toml")) if path.stem.partition("-")[0] in MODELS}


def read_recipe(name: str | Path | None, changes: Sequence[str] = ()) -> EmbeddingRecipe:
    """Returns the recipe of a TOML file or of a shipped name, with ``KEY=VALUE`` changes; values are TOML, or words.

    Raises:
        UnknownName: neither a file nor a shipped recipe has that name.
        InputError: the file is no TOML, or a change no KEY=VALUE.
        RecipeError: an unknown key, a wrong type or an impossible value.

    >>> read_recipe("complex-codex-s", ["width=64"]).width
    64
    """
    from kelm.training import recipe_file

    facts: dict[str, Any] = {} if name is None else _facts(name)
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise InputError(f'--set: expected KEY=VALUE, found "{change}"', remedy="Example: --set width=100.")
        try:
            facts |= tomllib.loads(f"{key} = {value}")
        except tomllib.TOMLDecodeError:
            facts[key] = value
    recipe: EmbeddingRecipe = recipe_file.convert(EmbeddingRecipe, facts, "")
    return recipe


def _facts(name: str | Path) -> dict[str, Any]:
    known = shipped()
    path = Path(name)
    if not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise InputError("no such recipe file", path=path, remedy="Check the path.")
        if str(name) not in known:
            raise UnknownName(f'no recipe is called "{name}"', remedy=closest(str(name), known))
        path = known[str(name)]
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as TOML ({error})", path=path, remedy="Correct the file.") from error
