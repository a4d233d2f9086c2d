"""The command `kelm`: one file per command group, loaded when it is called, so that ``kelm --help`` is quick.

    kelm [--debug] COMMAND ...      COMMAND is one of ours or an entry point of the group ``kelm.commands``

A command is a function with a typer signature or a `typer.Typer` app; its docstring ends with an example. Its line in
``kelm --help`` is read from its source and not from its module, which may need seconds to import.

Exit codes: 0 done, 1 it could not be done, 2 what was given is wrong (a file, a name, an option), 130 interrupted.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from kelm.errors import CannotExport, InputError, KelmError, NothingSaved

__all__ = ["application", "commands", "load", "main", "run"]

_OURS = {
    "train": "kelm.cli.train:train",
    "plan": "kelm.cli.plan:plan",
    "evaluate": "kelm.cli.evaluate:evaluate",
    "compare": "kelm.cli.compare:compare",
    "convert": "kelm.cli.convert:convert",
    "bench": "kelm.cli.bench:bench",
}

_NO_MEMORY = re.compile(r"can't allocate memory|out of memory", re.IGNORECASE)  # torch's words, of CPU and CUDA


def commands() -> dict[str, str]:
    """Returns every command's name with where it lives, as ``module:name``; ours win over entry points."""
    others = {point.name: point.value for point in entry_points(group="kelm.commands")}
    return {**dict(sorted(others.items())), **_OURS}


def load(name: str, place: str) -> Any:
    """Returns the command as click sees it, importing its module.

    Raises:
        KelmError: the module or the command in it is missing.
    """
    module, _, attribute = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise KelmError(
            f'the command "{name}" cannot be loaded from {place}: {error}. Install the package that provides it again.'
        ) from error
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)


class _Commands(TyperGroup):
    """Lists commands by their first docstring line and loads the one that is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.places = commands()
        for name, place in self.places.items():
            self.add_command(TyperCommand(name, short_help=_summary(place)))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name or "", self.places[name or ""]), rest


def _summary(place: str) -> str:
    """Returns the first docstring line of a command's function, or of its module where it is a variable."""
    module, _, attribute = place.partition(":")
    try:
        spec = find_spec(module)
        source = Path(spec.origin or "").read_text(encoding="utf-8") if spec else ""
        tree = ast.parse(source)
    except (ImportError, OSError, SyntaxError):
        return ""
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == attribute)
    first, *_ = (ast.get_docstring(next(functions, tree)) or "").splitlines() or [""]
    return first


def application() -> Any:
    """Returns the whole application as a click group; building it imports no command."""
    app = typer.Typer(
        cls=_Commands,
        name="kelm",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(epilog="Example: kelm quickstart")
    def kelm(
        version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
        debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error; anywhere on the line."),
    ) -> None:
        """Language models that know a knowledge graph and speak many languages."""

    return typer.main.get_command(app)


def _version(wanted: bool) -> None:
    if wanted:
        from kelm import __version__

        print(f"kelm {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line of this process and leaves it with the exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], *, call: Callable[[list[str]], object] | None = None) -> int:
    """Runs one command line and returns its exit code; errors go to standard error, one line each.

    Args:
        arguments: without the program's name. ``--debug`` may stand anywhere before ``--``.
        call: what runs them; the application if not given.
    """
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:end]
    kept = [word for word in arguments[:end] if word != "--debug"] + list(arguments[end:])
    try:
        (call or _call)(kept)
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at exit
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
            return _code(error)
        _show(error)
        return _code(error)
    return 0


def _call(arguments: list[str]) -> None:
    application()(arguments, prog_name="kelm")


def _code(error: Exception) -> int:
    given = (InputError, NothingSaved, CannotExport, FileNotFoundError, NotADirectoryError, IsADirectoryError)
    return 2 if isinstance(error, given) else 1


def _show(error: Exception) -> None:
    """Prints what is wrong; the traceback of an error that nobody foresaw goes to a file, so that it is not lost."""
    if isinstance(error, KelmError):
        message = str(error)
    elif isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        message = f"{place}{error.strerror}. {_remedy(error)}".rstrip()
    elif isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        message = f"there is not enough memory ({error}). Make the model, its vectors or the batches smaller."
    else:
        with tempfile.NamedTemporaryFile("w", prefix="kelm-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.writelines(traceback.format_exception(error))
        message = (
            f"{type(error).__name__}: {error}. This was not foreseen; {log.name} holds the traceback, --debug shows it."
        )
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), message))


def _remedy(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "Check the path; relative paths start at the current folder."
    if isinstance(error, IsADirectoryError):
        return "Give a file, not a folder."
    if isinstance(error, NotADirectoryError):
        return "Give a folder, not a file."
    return "Check the rights of the file and its folder." if isinstance(error, PermissionError) else ""
