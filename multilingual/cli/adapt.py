"""Adapt a checkpoint to a language.

kelm adapt xlm-roberta-base --text wo=wolof.txt --out wolof
kelm adapt xlm-roberta-base --text wo=wolof.txt --train whole --vocabulary 5000 --out wolof
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from multilingual.cli.given import Texts, files_of
from multilingual.cli.terminal import show

__all__ = ["adapt"]


def adapt(
    model: Annotated[str, typer.Argument(help="A plain checkpoint: a folder or a name on the Hub.")],
    text: Texts,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    train: Annotated[
        str, typer.Option(help="What learns: adapters (a file of their own), embeddings, or the whole model.")
    ] = "adapters",
    vocabulary: Annotated[int, typer.Option(help="Pieces to add for the texts; 0 keeps the vocabulary.")] = 0,
    steps: Annotated[int, typer.Option(help="Updates.")] = 2000,
    tokens: Annotated[int, typer.Option(help="Tokens of an update.")] = 4096,
    rate: Annotated[
        float | None, typer.Option(help="The peak learning rate; 1e-4, of a whole model 5e-5, if not given.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Languages are drawn by n ** alpha.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Of masks and of adapters.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was stopped.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Let a checkpoint learn a language from texts: small adapters, its word vectors, or all of it.

    1 text in 20 is held out; the table tells their bits a character before and after. Ctrl-C saves; --resume goes on.

    Example: kelm adapt xlm-roberta-base --text wo=wolof.txt --vocabulary 5000 --train whole --out wolof
    """
    from kelm.training.recipe_file import read
    from kelm.training.run import train as run
    from multilingual.adaptation import Adaptation, shown

    options = {"steps": steps, "tokens": tokens, "rate": rate, "alpha": alpha, "seed": seed}
    asked = Adaptation(model=model, out=out, train=train, more=vocabulary, **options)  # type: ignore[arg-type]
    going_on = resume and (out / "recipe.toml").is_file()
    recipe = read(out / "recipe.toml") if going_on else asked.prepare(files_of(text))
    result = run(recipe, out / "run", resume=going_on, show=not quiet)
    if result.stopped == "signal":
        print(f"{out}: stopped after step {result.progress.step}; go on with --resume")
        raise typer.Exit(128 + (result.signal or 0))
    show(shown(asked.finish()), left=1)
    print(f"{out / ('adapters.safetensors' if train == 'adapters' else 'model')}: written")
