"""Texts and pairs that are worth reading: steps that clean, judge and compare them, and a report of what went and why.

    texts -> Clean -> Length -> Script -> InLanguage -> Duplicates -> texts
                      too long 3  mixed 12  is de 40     duplicate 7           report

    rules = [Clean(), Length(3, 2000), LengthRatio(), Same(), Script(), InLanguage("lid.176.bin")]
    report = Report()
    for text in filtered(texts, [*rules, Duplicates(), NearDuplicates()], report): ...

Texts are read and given one at a time, in order; held are a batch of them and what the steps for duplicates remember.
Cheap steps come first. Rules judge each text by itself, so `as_map` gives them to the workers of `datasets` or Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kelm.data.corpus import Text
from kelm.errors import InputError, closest
from multilingual.corpora.duplicates import Duplicates, NearDuplicates
from multilingual.corpora.fluency import Fluent
from multilingual.corpora.language_rules import InLanguage, Script
from multilingual.corpora.rules import Clean, Judge, Length, LengthRatio, Rule, Same, Step, sides_of

__all__ = [
    "AsMap",
    "Clean",
    "Duplicates",
    "Fluent",
    "InLanguage",
    "Length",
    "LengthRatio",
    "NearDuplicates",
    "Report",
    "Rule",
    "Same",
    "Script",
    "Step",
    "Tally",
    "as_map",
    "filtered",
]

_TEXTS, _CHARACTERS = 1024, 2**20  # a batch ends with either
_EXAMPLES = 3
_SHOWN = 40  # characters of each side of an example


@dataclass
class Tally:
    """What one step saw and dropped.

    Attributes:
        name: the step's.
        seen: texts that came to it.
        dropped: texts by reason.
        examples: of each reason the first three texts, with their origin.
    """

    name: str
    seen: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, texts: Sequence[Text], reasons: Sequence[str]) -> None:
        self.seen += len(texts)
        for text, reason in zip(texts, reasons, strict=True):
            if reason:
                self.dropped[reason] += 1
                shown = self.examples.setdefault(reason, [])
                if len(shown) < _EXAMPLES:
                    shown.append(_shown(text))


def _shown(text: Text) -> str:
    sides = (" ".join(side[: 4 * _SHOWN].split()) for side in sides_of(text))
    short = " ||| ".join(side if len(side) <= _SHOWN else f"{side[: _SHOWN - 3]}..." for side in sides)
    return f"{Path(text.origin).name}: {short}" if text.origin else short


@dataclass
class Report:
    """What each step of a filter saw and dropped; several passes of the same steps add up."""

    steps: list[Tally] = field(default_factory=list)

    def begin(self, steps: Sequence[Step]) -> None:
        """Makes a tally for each step, if there is none yet.

        Raises:
            InputError: the report is of other steps.
        """
        names = [step.name for step in steps]
        if self.steps and names != (told := [tally.name for tally in self.steps]):
            problem = f"it is of {', '.join(told)}, and the steps are {', '.join(names) or 'none'}"
            raise InputError(problem, field="report", remedy="Give a new Report().")
        self.steps = self.steps or [Tally(name) for name in names]

    @property
    def dropped(self) -> int:
        return sum(tally.dropped.total() for tally in self.steps)

    def table(self) -> list[list[str]]:
        """Returns a row for each step, and below it one for each reason, the most frequent first."""
        rows = [["step", "seen", "dropped", "share", "example"]]
        for tally in self.steps:
            rows.append([tally.name, f"{tally.seen:,}", *_part(tally.dropped.total(), tally.seen), ""])
            for reason, count in tally.dropped.most_common():
                rows.append([f"  {reason}", "", *_part(count, tally.seen), tally.examples[reason][0]])
        return rows


def _part(count: int, of: int) -> tuple[str, str]:
    return f"{count:,}", f"{count / of:.1%}" if of else ""


def filtered(texts: Iterable[Text], steps: Sequence[Step], report: Report | None = None) -> Iterator[Text]:
    """Returns the texts that every step keeps, as the steps changed them, in their order.

    Args:
        texts: such as ``(text for text, _ in corpus.stream())``.
        report: is told what each step does, batch by batch.

    >>> [text.text for text in filtered(map(Text, ["a  cat", "a cat", ""]), [Clean(), Duplicates()])]
    ['a cat']

    Raises:
        InputError: the report is of other steps; while reading, what a step needs is missing.

    Cost: holds 1,024 texts or a million characters and one text more, and what `Duplicates`, `NearDuplicates` say.
    """
    report = report or Report()
    report.begin(steps)
    return _passed(texts, steps, report)


def _passed(texts: Iterable[Text], steps: Sequence[Step], report: Report) -> Iterator[Text]:
    judges = [step.begin() for step in steps]
    for batch in _batches(texts):
        for step, judge, tally in zip(steps, judges, report.steps, strict=True):
            batch, reasons = _step(step, judge, batch)
            tally.add(batch, reasons)
            batch = [text for text, reason in zip(batch, reasons, strict=True) if not reason]
        yield from batch


def _step(step: Step, judge: Judge, texts: Sequence[Text]) -> tuple[list[Text], list[str]]:
    changed = [step.changed(text) for text in texts]
    return changed, judge(changed)


def _batches(texts: Iterable[Text]) -> Iterator[list[Text]]:
    batch: list[Text] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += sum(map(len, sides_of(text)))
        if len(batch) == _TEXTS or size >= _CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@dataclass(frozen=True)
class AsMap:
    """Rules as a function of a batch of columns; see `as_map`."""

    rules: tuple[Rule, ...]
    text: str = "text"
    pair: str | None = None
    reason: str = ""

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns all columns, with the texts as the rules changed them, of the rows that stay."""
        texts, reasons = self._judged(batch)
        places = [place for place, reason in enumerate(reasons) if self.reason or not reason]
        columns = {name: _taken(column, places) for name, column in batch.items()}
        new: dict[str, list[Any]] = {self.text: [text.text for text in texts]}
        if self.pair is not None:
            new[self.pair] = [text.pair for text in texts]
        if self.reason:
            new[self.reason] = reasons
        for name, values in new.items():
            columns[name] = _taken(_like(batch[self.text], values), places)
        return columns

    def kept(self, batch: Mapping[str, Any]) -> list[bool]:
        """Returns which rows stay, for ``Dataset.filter(..., batched=True)``, which changes no text."""
        return [not reason for reason in self._judged(batch)[1]]

    def _judged(self, batch: Mapping[str, Any]) -> tuple[list[Text], list[str]]:
        """Returns each row's text as far as the rules changed it, and "" or "rule: reason"."""
        texts = self._texts(batch)
        reasons = [""] * len(texts)
        for rule in self.rules:
            left = [place for place, reason in enumerate(reasons) if not reason]
            changed, found = _step(rule, rule.reasons, [texts[place] for place in left])
            for place, text, reason in zip(left, changed, found, strict=True):
                texts[place] = text
                reasons[place] = f"{rule.name}: {reason}" if reason else ""
        return texts, reasons

    def _texts(self, batch: Mapping[str, Any]) -> list[Text]:
        for name in (self.text, self.pair):
            if name is not None and name not in batch:
                raise InputError("no such column", field=name, remedy=closest(name, batch))
        named = [name for name in (self.text, self.pair) if name is not None]
        told = [name for name in batch if name not in named]
        texts = []
        for place in range(len(batch[self.text])):
            sides = [batch[name][place] for name in named]
            for name, side in zip(named, sides, strict=True):
                if not isinstance(side, str):
                    problem = f"expected a string, found {type(side).__name__} in row {place} of a batch"
                    raise InputError(problem, field=name, remedy="Leave such rows out first.")
            second = None if self.pair is None else sides[1]
            texts.append(Text(sides[0], second, fields={name: batch[name][place] for name in told}))
        return texts


def _like(column: Any, values: list[Any]) -> Any:
    return np.array(values, object) if isinstance(column, np.ndarray) else values


def _taken(column: Any, places: list[int]) -> Any:
    """Returns some rows of a column: of an array (Ray) an array, of a list (datasets) a list."""
    return column[places] if isinstance(column, np.ndarray) else [column[place] for place in places]


def as_map(steps: Sequence[Step], *, text: str = "text", pair: str | None = None, reason: str = "") -> AsMap:
    """Returns a function of a batch of columns that gives the rows that stay, for many processes.

        clean = as_map([Clean(), Length(3, 2000), Script(languages=("de",))])
        dataset.map(clean, batched=True, num_proc=8)                     # datasets.Dataset
        dataset.filter(clean.kept, batched=True, num_proc=8)             # texts as they were
        ray.data.read_parquet(path).map_batches(clean)                   # Ray Data: batches of NumPy arrays
        multiprocessing.Pool().imap(clean, batches)

    Args:
        steps: rules. Duplicates are found by `filtered`; or map `Duplicates.key` into a column and group by it.
        text, pair: the columns of the text and of its translation. Others become the fields of the text ("language",
            "pair_language") and go on as they are.
        reason: a column that gets "rule: reason"; then all rows stay, so that they can be counted.

    >>> as_map([Clean(), Length(2)])({"text": ["a ", "a  cat"], "id": [7, 8]})
    {'text': ['a cat'], 'id': [8]}

    Raises:
        InputError: a step is no rule; when called: a column is missing, or a value is no string.
    """
    rules = tuple(step for step in steps if isinstance(step, Rule))
    if len(rules) < len(steps):
        names = ", ".join(step.name for step in steps if not isinstance(step, Rule))
        remedy = "Run it by `filtered`, in one process, after the others."
        raise InputError(f"{names} compares with all texts before", field="steps", remedy=remedy)
    return AsMap(rules, text, pair, reason)
