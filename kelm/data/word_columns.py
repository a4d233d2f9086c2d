"""Files with a word a line, as those of CoNLL's shared tasks: columns for word and tag, a blank line ends a sentence.

    -DOCSTART- -X- O                     left out
    # sent_id = 7                        a comment, left out
    1    Bonn    B-LOC                   columns are separated by tabs, or by blanks where no tab is
    2    lies    O
                                         a blank line, or several
    1    It      O

Of CoNLL-U (ten columns) the lines of several words ("8-9") and of words that are not there ("8.1") are left out.
"# O" with as many columns as the file has, separated by blanks, is a word and no comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kelm.data.corpus import Text
from kelm.data.files import Line, read
from kelm.data.sources import Files, Parse, Paths, stretches
from kelm.errors import FormatError

__all__ = ["WordColumns"]


class WordColumns(Files):
    """Sentences: the text is the words with blanks between, `Text.fields` holds "words", "tags" and "lines" (numbers).

    Every line of a file has as many columns as its first.

    Args:
        word, tag: their columns, from 0, or from -1 backwards; tag None: tags are not read.
    """

    def __init__(self, paths: Paths, *, word: int = 0, tag: int | None = -1) -> None:
        super().__init__(paths)
        self.word, self.tag = word, tag

    def _grouped(self, lines: Iterator[Line], path: Path) -> Iterator[list[Line]]:
        form = _Form.of(path)
        return stretches((line for line in lines if not form.leaves_out(line.text)), path)

    def _parser(self, path: Path) -> Parse:
        form = _Form.of(path)
        for name, column in (("word", self.word), ("tag", self.tag)):
            if column is not None and not -form.width <= column < form.width:
                raise FormatError(
                    f"there is no column {column} among {form.width}",
                    path=path,
                    line=form.line,
                    field=name,
                    remedy=f"Give a number from 0 to {form.width - 1}, or from -1 backwards.",
                )
        return _Sentences(path, form, self.word, self.tag)

    def _options(self) -> list[Any]:
        return [self.word, self.tag]


_CONLLU, _NO_WORD = 10, re.compile(r"\d+[-.]\d+\t")  # columns; "8-9" and "8.1"


@dataclass(frozen=True, slots=True)
class _Form:
    """What separates the columns of a file, how many there are, and the line that says so."""

    separator: Literal["\t", " "]
    width: int
    line: int

    @classmethod
    def of(cls, path: Path) -> _Form:
        for line in read(path):
            if line.text.strip() and not line.text.startswith(("# ", "-DOCSTART-")):
                one = cls("\t" if "\t" in line.text else " ", 0, line.number)
                return replace(one, width=len(one.cells(line.text)))
        raise FormatError("no line holds a word", path=path, remedy="Give a file with a word and its tag a line.")

    def leaves_out(self, line: str) -> bool:
        """Whether a line is a comment, begins a document, or is none of CoNLL-U's words."""
        if self.width == _CONLLU and self.separator == "\t" and _NO_WORD.match(line):
            return True
        if line.startswith("# "):
            return self.separator == "\t" or len(self.cells(line)) != self.width
        return line.startswith("-DOCSTART-")

    def cells(self, line: str) -> list[str]:
        """Returns the columns of a line; only the ASCII blank separates, others are part of a word."""
        cells = [cell.strip() for cell in line.split(self.separator)]
        return cells if self.separator == "\t" else [cell for cell in cells if cell]


@dataclass(frozen=True, slots=True)
class _Sentences:
    path: Path
    form: _Form
    word: int
    tag: int | None

    def __call__(self, lines: list[Line], number: int, origin: str) -> Text:
        rows = [self._cells(line) for line in lines]
        words = [row[self.word] for row in rows]
        fields = {"words": words, "lines": [line.number for line in lines]}
        if self.tag is not None:
            fields["tags"] = [row[self.tag] for row in rows]
        return Text(" ".join(words), number=number, origin=origin, fields=fields)

    def _cells(self, line: Line) -> list[str]:
        cells = self.form.cells(line.text)
        if len(cells) != self.form.width:
            raise FormatError(
                f"expected {self.form.width} columns as in line {self.form.line}, found {len(cells)}",
                path=self.path,
                line=line.number,
                remedy="Give each word a line of its own and a blank line to each end of a sentence.",
            )
        for name, column in (("word", self.word), ("tag", self.tag)):
            if column is not None and not cells[column]:
                raise FormatError(
                    "nothing stands there",
                    path=self.path,
                    line=line.number,
                    field=name,
                    remedy="Give a word and a tag.",
                )
        return cells
