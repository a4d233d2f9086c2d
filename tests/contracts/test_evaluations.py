"""What every evaluation keeps to, whoever wrote it: a frozen dataclass of options whose defaults are a whole recipe."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from pathlib import Path
from typing import Any

import pytest

from kelm import plugins
from kelm.errors import RecipeError
from kelm.training import recipe_file

NAMES = sorted(plugins.all("evaluations"))


def kind(name: str) -> type[Any]:
    found: type[Any] = plugins.find("evaluations", name)
    return found


def parsed(name: str, path: Path, *changes: str) -> Any:
    return recipe_file.read_as(lambda values: kind(name), path, changes)


def keys(options: Any, prefix: str = "") -> list[str]:
    """The dotted keys of a recipe, tables and values."""
    if not dataclasses.is_dataclass(options):
        return []
    names = [field.name for field in dataclasses.fields(options)]
    below = [key for name in names for key in keys(getattr(options, name), f"{prefix}{name}.")]
    return [*(prefix + name for name in names), *below]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_with_data_a_folder_and_someone_to_tell(name: str) -> None:
    assert list(inspect.signature(kind(name).run).parameters) == ["self", "data", "out", "say"]


@pytest.mark.parametrize("name", NAMES)
def test_its_defaults_make_a_frozen_value(name: str) -> None:
    made = kind(name)()
    assert made == kind(name)()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(made)[0].name, None)


@pytest.mark.parametrize("name", NAMES)
def test_its_recipe_written_in_full_means_the_same(name: str, tmp_path: Path) -> None:
    made = kind(name)()
    recipe_file.write(made, tmp_path / "recipe.toml")
    again = parsed(name, tmp_path / "recipe.toml")
    assert again == made
    recipe_file.write(again, tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_text() == (tmp_path / "recipe.toml").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_key_is_an_error_that_names_the_closest_one(name: str, tmp_path: Path) -> None:
    made = kind(name)()
    recipe_file.write(made, tmp_path / "recipe.toml")
    for key in keys(made):
        *above, last = key.split(".")
        wrong = ".".join([*above, f"{last}_"])
        with pytest.raises(RecipeError, match=f'field {wrong}: unknown key. Did you mean "{last}"'):
            parsed(name, tmp_path / "recipe.toml", f"{wrong}=1")


@pytest.mark.parametrize("name", NAMES)
def test_an_option_can_be_set_from_the_command_line(name: str, tmp_path: Path) -> None:
    made = kind(name)()
    recipe_file.write(made, tmp_path / "recipe.toml")
    for key in whole_numbers(made):
        if key.endswith(("embedding.together", "transe.together")):  # another option takes its meaning away
            with pytest.raises(RecipeError, match=f"field {key}: .* has no such option"):
                parsed(name, tmp_path / "recipe.toml", f"{key}=12345")
        else:
            assert _at(parsed(name, tmp_path / "recipe.toml", f"{key}=12345"), key) == 12345


def whole_numbers(options: Any, prefix: str = "") -> list[str]:
    """The dotted keys of a recipe that any whole number fits."""
    kinds = typing.get_type_hints(type(options))
    below = {name: getattr(options, name) for name in kinds}
    tables = [
        key
        for name, value in below.items()
        if dataclasses.is_dataclass(value)
        for key in whole_numbers(value, f"{prefix}{name}.")
    ]
    return [*(prefix + name for name, kind in kinds.items() if kind is int), *tables]


def _at(options: Any, key: str) -> Any:
    for name in key.split("."):
        options = getattr(options, name)
    return options


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_kept_beside_its_results_runs_again(name: str, tmp_path: Path) -> None:
    recipe_file.keep(kind(name)(), tmp_path / "recipe.toml", evaluation=name)

    def named(values: dict[str, Any]) -> type[Any]:
        assert values.pop("evaluation") == name
        return kind(name)

    assert recipe_file.read_as(named, tmp_path / "recipe.toml") == kind(name)()
    recipe_file.keep(kind(name)(), tmp_path / "recipe.toml", evaluation=name)  # the same again is no conflict
