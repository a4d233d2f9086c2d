"""`kelm train`: run a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.")],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; runs/NAME of the recipe if not given.", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint, if there is one.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train a model as a recipe says, with checkpoints to go on from.

    Started by torchrun or accelerate launch it trains in all their processes. Ctrl-C finishes the step, saves and
    leaves with code 130 (SIGTERM: 143); the same line with --resume goes on.

    Example: kelm train recipe.toml --set optim.rate=2e-5 --set train.steps=1000 --out runs/first
    """
    from kelm.training import device
    from kelm.training.recipe_file import located, read
    from kelm.training.run import train as run

    if quiet:
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    wanted = read(recipe, change or ())
    folder = out or Path("runs") / (wanted.name.replace("/", "-") or recipe.stem)
    with located(recipe, change or ()):
        result = run(wanted, folder, resume=resume, show=not quiet)
    progress, main = result.progress, device.process().is_main_process
    device.leave()
    if result.stopped == "signal":
        if main:
            print(f"{folder}: stopped after step {progress.step}; go on with --resume")
        raise typer.Exit(128 + (result.signal or 0))
    told = ", ".join(f"{name} {value:.4g}" for name, value in {**progress.losses, **progress.scores}.items())
    best = f", best at step {progress.best_step}" if progress.best_step is not None else ""
    if main:
        print(f"{folder / 'model'}: {progress.step} steps, {progress.tokens:,} tokens, {told}{best}")
    if result.signal is not None:  # it came too late to stop this run; what calls this one is to stop all the same
        raise typer.Exit(128 + result.signal)
