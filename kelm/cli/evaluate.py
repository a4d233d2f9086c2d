"""`kelm evaluate`: run an evaluation and report what it found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["evaluate"]


def evaluate(
    recipe: Annotated[Path, typer.Argument(help='The recipe, a TOML file with evaluation = "NAME".')],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; may be repeated."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The folder of real data; KELM_DATA if not given.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where everything is written; runs/NAME of the recipe.", show_default=False)
    ] = None,
) -> None:
    """Train and measure as an evaluation's recipe says: arms, seeds, intervals, a report.

    Every score is kept as soon as it is there; the same line again goes on where it was. Beside the scores lie the
    whole recipe and run.json: versions, machine and fingerprints of the data.

    Example: kelm evaluate kg/recipes/zhang2019_ernie_fewrel.toml --data DATA --set study.seeds=[0]
    """
    from rich.console import Console
    from rich.markdown import Markdown

    from kelm import plugins
    from kelm.evaluation.base import Evaluation
    from kelm.training import recipe_file

    wanted: Evaluation = recipe_file.read_as(_kind, recipe, change or ())
    folder = out or Path("runs") / recipe.stem
    recipe_file.keep(wanted, folder / "recipe.toml", evaluation=plugins.name_of("evaluations", type(wanted)))
    named = os.environ.get("KELM_DATA")
    console = Console(stderr=True)
    given = data or (Path(named) if named else None)
    with recipe_file.located(recipe, change or ()):
        found = wanted.run(given, folder, lambda text: console.print(text, highlight=False, markup=False))
    (folder / "report.md").write_text(found, encoding="utf-8")
    Console().print(Markdown(found))
    console.print(f"Everything lies in {folder}.")


def _kind(values: Mapping[str, Any]) -> type[Any]:
    from kelm import plugins
    from kelm.errors import RecipeError, closest

    assert isinstance(values, dict)
    known = plugins.all("evaluations")
    name = values.pop("evaluation", None)
    if name not in known:
        said = "no evaluation is named" if name is None else f'no evaluation is called "{name}"'
        raise RecipeError(said, field="evaluation", remedy=closest(str(name), known))
    kind: type[Any] = known[name]
    return kind
