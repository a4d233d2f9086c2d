"""Recipes of embeddings as TOML files: those that are shipped, by name, and one's own.

kg/recipes/{model}-{graph}.toml       complex-codex-s, transe-codex-s ...       a name is a file's, without ending
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from kelm.errors import InputError, UnknownName, closest
from kelm.training import recipe_file
from kg.embeddings.models import MODELS
from kg.embeddings.recipe import EmbeddingRecipe

__all__ = ["located", "read_recipe", "shipped"]

_FOLDER = Path(__file__).resolve().parent.parent / "recipes"


def shipped() -> Mapping[str, Path]:
    """Returns the recipes that come with kelm, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*-*.toml")) if path.stem.partition("-")[0] in MODELS}


def read_recipe(name: str | Path | None, changes: Sequence[str] = ()) -> EmbeddingRecipe:
    """Returns the recipe of a TOML file or of a shipped name, with ``KEY=VALUE`` changes; values are TOML, or words.

    Raises:
        UnknownName: neither a file nor a shipped recipe has that name.
        InputError: there is no such file.
        RecipeError: the file is no TOML, a change no KEY=VALUE, a key unknown, or a value wrong.

    >>> read_recipe("complex-codex-s", ["width=64"]).width
    64
    """
    return recipe_file.read_as(lambda _: EmbeddingRecipe, _path(name), changes)


def located(name: str | Path | None, changes: Sequence[str] = ()) -> AbstractContextManager[None]:
    """Adds to a `RecipeError` of the training file and line, or the change, that it is about."""
    return recipe_file.located(_path(name), changes)


def _path(name: str | Path | None) -> Path | None:
    """Returns the file of a recipe that is a file or is shipped; None for none."""
    if name is None or Path(name).is_file():
        return None if name is None else Path(name)
    path, known = Path(name), shipped()
    if path.suffix or len(path.parts) > 1:
        raise InputError("no such recipe file", path=path, remedy="Check the path.")
    if str(name) not in known:
        raise UnknownName(f'no recipe is called "{name}"', remedy=closest(str(name), known))
    return known[str(name)]
