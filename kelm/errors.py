"""Every error that kelm raises on purpose, as one tree.

KelmError                   catch this to catch them all
├── InputError              something read from outside is wrong: names file, line, field and remedy
│   ├── FormatError         a line, a field or a file does not have the expected form
│   ├── UnknownName         a triple, recipe or call names something that does not exist
│   │   └── UnknownPlugin   no plug-in of that kind has that name
│   └── RecipeError         a recipe has an unknown key, a wrong type or an impossible value
├── CheckpointError         a saved model or run cannot be opened, or does not fit
│   ├── NothingSaved        nothing of the kind is at the path that was given
│   └── UnsafeFile          the file could run code when opened (a pickle); refused
├── VocabularyMismatch      tokenizer and model do not share a vocabulary
├── TextTooLong             a text does not fit the model, and cutting it was not allowed
├── MissingPart             a batch lacks a part that a model or objective needs
├── MissingDependency       an optional package is not installed
├── CannotExport            a plain Hugging Face folder cannot express this model
└── TrainingDiverged        the loss is not a number
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "CannotExport",
    "CheckpointError",
    "FormatError",
    "InputError",
    "KelmError",
    "MissingDependency",
    "MissingPart",
    "NothingSaved",
    "RecipeError",
    "TextTooLong",
    "TrainingDiverged",
    "UnknownName",
    "UnknownPlugin",
    "UnsafeFile",
    "VocabularyMismatch",
    "closest",
]


class KelmError(Exception):
    """Base of all errors raised on purpose. The message says what was expected, what came and what to do."""


class InputError(KelmError):
    """Something read from outside is wrong.

    `str(error)` reads ``triples.tsv, line 7, field tail: expected 3 columns, found 2. Add the missing column.``
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        field: str | None = None,
        remedy: str = "",
    ) -> None:
        self.problem, self.path, self.line, self.field, self.remedy = problem, path, line, field, remedy
        place = ", ".join(
            part
            for part in (
                str(path) if path is not None else "",
                f"line {line}" if line is not None else "",
                f"field {field}" if field is not None else "",
            )
            if part
        )
        message = f"{place}: {problem}" if place else problem
        super().__init__(f"{message.rstrip('.')}. {remedy}".strip() if remedy else message)

    def __reduce__(self) -> tuple[object, ...]:  # crosses the queue of a data worker
        return _rebuild, (type(self), self.problem, self.path, self.line, self.field, self.remedy)


def _rebuild(
    kind: type[InputError], problem: str, path: str | Path | None, line: int | None, field: str | None, remedy: str
) -> InputError:
    error = kind.__new__(kind)
    InputError.__init__(error, problem, path=path, line=line, field=field, remedy=remedy)
    return error


class FormatError(InputError):
    """A line, a field or a whole file does not have the expected form."""


class UnknownName(InputError):
    """A triple, a recipe or a call names something that does not exist."""


class UnknownPlugin(UnknownName):
    """No plug-in of that kind has that name."""


class RecipeError(InputError):
    """A recipe has an unknown key, a wrong type or an impossible value."""


class CheckpointError(KelmError):
    """A saved model or run cannot be opened, or does not fit."""


class NothingSaved(CheckpointError):
    """Nothing of the kind is at the path that was given."""


class UnsafeFile(CheckpointError):
    """The file could run code when opened (a pickle); kelm reads safetensors only."""


class VocabularyMismatch(KelmError):
    """Tokenizer and model do not share a vocabulary."""


class TextTooLong(KelmError):
    """A text does not fit the model, and cutting it was not allowed."""


class MissingPart(KelmError):
    """A batch lacks a part that a model or objective needs."""


class MissingDependency(KelmError):
    """An optional package is not installed; the message holds the line that installs it."""


class CannotExport(KelmError):
    """A plain Hugging Face folder cannot express this model."""


class TrainingDiverged(KelmError):
    """The loss is not a number; the message names the batch's origin."""


def closest(name: str, known: Iterable[str]) -> str:
    """Returns ``Did you mean "ernie"? Known: ernie, knowledge_attention.`` for an unknown name.

    >>> closest("erine", ["ernie", "kar"])
    'Did you mean "ernie"? Known: ernie, kar.'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    guess = f'Did you mean "{near[0]}"? ' if near else ""
    shown = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    return f"{guess}Known: {shown}." if names else f"{guess}None is known."
