"""What several commands are given: texts by language, pairs by languages, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from kelm.errors import InputError

__all__ = ["AsJson", "Pairs", "Texts", "files_of"]

Texts = Annotated[
    list[str],
    typer.Option("--text", metavar="LANGUAGE=FILES", help="Texts of a language, lines or JSON lines; may be repeated."),
]
Pairs = Annotated[
    list[str],
    typer.Option(
        "--pair",
        metavar="EN-DE=FILES",
        help="Sentences and their translations: a table, JSON lines, a .tmx, or two files as a,b; may be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def files_of(given: Sequence[str], option: str = "--text", example: str = "en=en.txt") -> dict[str, list[str]]:
    """Returns the files by the name before the sign of equality.

    Raises:
        InputError: one has no name or no file; names `option`.
    """
    files: dict[str, list[str]] = {}
    for one in given:
        tag, mark, path = one.partition("=")
        if not mark or not path:
            raise InputError(f'"{one}" names no file', field=option, remedy=f"Give both: {option} {example}")
        files.setdefault(tag, []).append(path)
    return files
