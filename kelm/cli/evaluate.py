"""`kelm evaluate`: run an evaluation, or measure a trained run again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kelm.training.held_out import Judged, Measured

__all__ = ["evaluate"]


def evaluate(
    recipe: Annotated[
        Path, typer.Argument(help='A recipe with evaluation = "NAME", or the folder of a run of kelm train.')
    ],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; may be repeated."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The folder of real data; KELM_DATA if not given.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where everything is written; runs/NAME of the recipe, or the run.", show_default=False),
    ] = None,
    mute: Annotated[
        list[str] | None, typer.Option(help="Of a run: an extension that adds nothing; may be repeated.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Of a run: an enricher that is left out; may be repeated.")
    ] = None,
) -> None:
    """Train and measure as an evaluation's recipe says, or measure a trained run again.

    Of a recipe: arms, seeds, intervals, a report. Every score is kept as soon as it is there; the same line again goes
    on where it was. Beside the scores lie the whole recipe and run.json: versions, machine, fingerprints of the data.

    Of a run: the scores of its held-out texts, or of others (--set objectives.0.held_out.options.path=test.tsv). With
    --mute or --without also those without what the model knows, and the difference: the knowledge's share. Scores and
    answers are kept in RUN/evaluation, for kelm compare.

    Example: kelm evaluate runs/relations --mute ernie
    """
    from kelm.errors import InputError

    if recipe.is_dir() or not recipe.suffix:
        _measure(recipe, change or [], mute or [], without or [], out or recipe)
        return
    if mute or without:
        raise InputError("--mute and --without are for runs of kelm train", remedy="Name the folder of one.")
    _study(recipe, change or [], data, out)


def _measure(run: Path, change: Sequence[str], mute: Sequence[str], without: Sequence[str], out: Path) -> None:
    """Measures a run as it was trained, and again without what is named."""
    from rich.console import Console
    from rich.table import Table
    from transformers.utils.logging import disable_progress_bar

    from kelm.evaluation.bootstrap import paired
    from kelm.evaluation.results import AS_TRAINED, keep
    from kelm.training import finished

    disable_progress_bar()
    left_out = "without " + " and ".join([*mute, *without])
    whole = finished.open(run, change=change)
    measured = {AS_TRAINED: whole.measured()}
    keep(out, AS_TRAINED, measured[AS_TRAINED].scores, _pairs(measured[AS_TRAINED]))
    if mute or without:
        measured[left_out] = finished.open(run, change=change, mute=mute, without=without).measured()
        keep(out, left_out, measured[left_out].scores, _pairs(measured[left_out]))
    table = Table("score", *measured, *(["difference"] if len(measured) > 1 else []), box=None)
    first, *others = measured.values()
    for name, value in first.scores.items():
        cells = [f"{value:.4f}"]
        for other in others:
            cells += [f"{other.scores[name]:.4f}", f"{value - other.scores[name]:+.4f}"]
        table.add_row(name, *cells)
    console = Console()
    console.print(table)
    for other in others:
        for name, judged in first.judged.items():
            task, answers = whole.learner.objectives[name], other.judged[name].answers
            found = paired(_both(task, judged, answers), len(judged.gold))
            texts = f"paired bootstrap over {len(judged.gold):,} texts"
            said = f"{name}/{task.main_score}: what was left out is worth {found} ({texts})"
            console.print(said, highlight=False)
    Console(stderr=True).print(f"Scores and answers lie in {out / 'evaluation'}.")


def _pairs(measured: Measured) -> dict[str, tuple[Sequence[Any], Sequence[Any]]]:
    return {name: (one.gold, one.answers) for name, one in measured.judged.items()}


def _both(task: Any, judged: Judged, others: Sequence[Any]) -> Callable[[Any], tuple[float, float]]:
    """Returns what scores a sample of the texts by the task's main score, as trained and without."""

    def score(numbers: Any) -> tuple[float, float]:
        gold = [judged.gold[number] for number in numbers]
        ours, theirs = ([answers[number] for number in numbers] for answers in (judged.answers, others))
        return task.score(gold, ours)[task.main_score], task.score(gold, theirs)[task.main_score]

    return score


def _study(recipe: Path, change: Sequence[str], data: Path | None, out: Path | None) -> None:
    """Runs an evaluation."""
    from rich.console import Console
    from rich.markdown import Markdown

    from kelm import plugins
    from kelm.evaluation.base import Evaluation
    from kelm.training import recipe_file

    wanted: Evaluation = recipe_file.read_as(_kind, recipe, change)
    folder = out or Path("runs") / recipe.stem
    recipe_file.keep(wanted, folder / "recipe.toml", evaluation=plugins.name_of("evaluations", type(wanted)))
    named = os.environ.get("KELM_DATA")
    console = Console(stderr=True)
    given = data or (Path(named) if named else None)
    with recipe_file.located(recipe, change):
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
