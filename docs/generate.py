"""Writes `docs/reference/cli.md` from the commands themselves: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kelm import cli

__all__ = ["reference"]

PLACE = Path(__file__).parent / "reference" / "cli.md"
START = """# Command line

<!-- written by docs/generate.py from the commands themselves; a test checks that it is fresh -->

`kelm --debug ...` shows the traceback of an error. Exit codes: 0 done, 1 it could not be done, 2 what was given is
wrong (a file, a name, an option), 130 interrupted.
"""


def reference() -> str:
    """Returns the page: every command with its text, its arguments and its options."""
    parts = [START]
    for name, place in cli.commands().items():
        parts += _section(cli.load(name, place), f"kelm {name}")
    return "\n".join(parts)


def _section(command: Any, path: str) -> list[str]:
    level = "#" * (path.count(" ") + 1)
    lines = [f"{level} {path}\n", f"{_prose(command.help or '')}\n"]
    subcommands = getattr(command, "commands", {})
    if not subcommands:
        lines.append(f"```text\n{_usage(command, path)}\n```\n")
    rows = [row for parameter in command.params if (row := _row(parameter)) and not parameter.hidden]
    if rows and not subcommands:
        lines.append("\n".join(["| | | default |", "|---|---|---|", *rows]) + "\n")
    for name, subcommand in subcommands.items():
        lines += _section(subcommand, f"{path} {name}")
    return lines


def _prose(text: str) -> str:
    """Puts the example, the docstring's last paragraph, into a block of its own."""
    before, mark, example = text.partition("Example:")
    if not mark:
        return text.strip()
    return f"{before.strip()}\n\n```console\n$ {' '.join(example.split())}\n```"


def _usage(command: Any, path: str) -> str:
    arguments = [_argument(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
    return " ".join([path, *arguments, "[OPTIONS]"])


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper() + (" ..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _row(parameter: Any) -> str:
    if parameter.name == "help":
        return ""
    option = parameter.param_type_name != "argument"
    shown = ", ".join([*parameter.opts, *parameter.secondary_opts]) if option else _argument(parameter)
    given = parameter.default
    default = "" if given is None or given is False or callable(given) else f"`{getattr(given, 'value', given)}`"
    if option and parameter.required:
        default = "required"
    text = " ".join((parameter.help or "").replace("|", "\\|").split())
    return f"| `{shown}` | {text} | {default} |"


if __name__ == "__main__":
    PLACE.write_text(reference(), encoding="utf-8")
