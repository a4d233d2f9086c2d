"""A finished run, opened and used: answers to new texts, scores of held-out ones, with what it knows or without.

    run = finished.open("runs/mine")
    run("She loves Paris.")                               the first task's answer: "positive"
    run(["She loves Paris.", "He hates it."])             an answer each
    run.measured().scores                                 what its held-out texts say: {"classification/accuracy": .9}
    finished.open("runs/mine", mute=["ernie"])            the same without an extension
    finished.open("runs/mine", without=["sentence_tree"]) the same without an enricher

New texts are read, and enriched, as those of training were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from kelm.batch import Batch, Encoded
from kelm.data.bucketing import bucketed
from kelm.data.corpus import Corpus, InMemory, Text
from kelm.data.reader import Enriched, Reader
from kelm.data.tagged_words import Tagged
from kelm.errors import CheckpointError, InputError, RecipeError, closest
from kelm.model import Encoder, Stream
from kelm.tasks.base import Task
from kelm.tasks.classification import TextClassification
from kelm.text.tokenizer import Tokenizer
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training import construct
from kelm.training.held_out import HeldOut, Measured
from kelm.training.learner import Learner
from kelm.training.recipe import CorpusChoice, ObjectiveChoice, Recipe
from kelm.training.recipe_file import read

__all__ = ["FinishedRun", "New", "encoder_of", "open"]

New = str | tuple[str, str] | list[str]
"""A text, two that are read together, or the words of one."""


def encoder_of(name_or_path: str | Path) -> tuple[Encoder, Tokenizer]:
    """Opens the encoder, for evaluation, and the tokenizer of a finished run or of a checkpoint, whoever wrote it.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if (Path(name_or_path) / "recipe.toml").is_file():
        run = open(name_or_path)
        return run.learner.encoder, run.parts.tokenizer
    name = str(name_or_path)
    made = construct.open_encoder(name, {}) if construct.is_ours(name) else Encoder.from_hf(name)
    return made.eval(), open_tokenizer(name)


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A trained model with its recipe.

    Attributes:
        folder: of the run.
        recipe: without the enrichers that were left out.
        learner: encoder and objectives, for evaluation.
        parts: what plug-ins may ask for.
    """

    folder: Path
    recipe: Recipe
    learner: Learner
    parts: construct.Parts

    def __call__(self, texts: New | Sequence[New], task: str | None = None) -> Any:
        """Returns the answer to a text, or to each of several; `task` is the first one if not given.

        A list of words is one text with these words, for taggers; a list of such lists is several.

        Raises:
            RecipeError: the run has no such task.
            InputError: a text has nothing to read.
            MissingPart: the task reads what a text alone does not have, such as marked mentions: see `answers`.
        """
        choice = self._task(task)
        words = choice.corpus.name == "tagged_words"
        alone = isinstance(texts, str | tuple) or (
            words and isinstance(texts, list) and bool(texts) and all(isinstance(one, str) for one in texts)
        )
        given: list[New] = [texts] if alone else list(texts)  # type: ignore[list-item]
        found = self.answers(self._read(given, choice, words), choice.name)
        return found[0] if alone else found

    def answers(self, texts: Corpus[Any] | Sequence[Any], task: str | None = None) -> list[Any]:
        """Returns the answers to the texts of a corpus of the task, in their order."""
        choice = self._task(task)
        objective = self.learner.objectives[choice.name]
        assert isinstance(objective, Task)
        items = [item for item, _ in texts.stream()] if isinstance(texts, Corpus) else list(texts)
        return self._each(items, objective, objective.predict)

    def judged(self, texts: Iterable[str], task: str | None = None) -> Iterator[tuple[str, str, float]]:
        """Yields each text with its label and the label's probability, a thousand read at a time.

        Raises:
            RecipeError: the run has no such task, or the task is no classification.
            InputError: a text has nothing to read.
        """
        choice = self._task(task)
        objective = self.learner.objectives[choice.name]
        if not isinstance(objective, TextClassification):
            raise RecipeError(f"{choice.name} gives no probabilities", field="task", remedy="Train a classification.")
        waiting = iter(texts)
        while chunk := list(islice(waiting, 1024)):
            found = self._each(self._read(chunk, choice, words=False), objective, objective.judged)
            yield from ((text, *answer) for text, answer in zip(chunk, found, strict=True))

    def _each(
        self, items: Sequence[Any], objective: Task[Any, Any], ask: Callable[[Batch, Stream], Sequence[Any]]
    ) -> list[Any]:
        found: list[Any] = [None] * len(items)
        device = next(self.learner.parameters()).device
        with torch.no_grad():
            for numbers in bucketed([len(item) for item in items], self.recipe.batch.tokens, None):
                batch = objective.collate([items[number] for number in numbers], 0).to(device)
                for number, answer in zip(numbers, ask(batch, self.learner.read(batch)), strict=True):
                    found[number] = answer
        return found

    def measured(self) -> Measured:
        """Returns scores and answers of the recipe's held-out texts.

        Raises:
            RecipeError: the recipe holds none out.
        """
        corpora = {
            choice.name: construct.corpus(
                choice.held_out, self.parts, self.recipe.batch.room, f"objectives.{number}.held_out"
            )
            for number, choice in enumerate(self.recipe.objectives)
            if choice.held_out is not None
        }
        if not corpora:
            raise RecipeError(
                "no objective has held-out texts",
                field="objectives.0.held_out",
                remedy="Name some: --set objectives.0.held_out.name=... --set objectives.0.held_out.options.path=...",
            )
        texts = {name: [item for item, _ in corpus.stream()] for name, corpus in corpora.items()}
        return HeldOut(texts, tokens=self.recipe.batch.tokens).measure(self.learner)

    def _task(self, name: str | None) -> ObjectiveChoice:
        tasks = [one for one in self.recipe.objectives if isinstance(self.learner.objectives[one.name], Task)]
        for choice in tasks:
            if name in (None, choice.name):
                return choice
        have = [choice.name for choice in tasks]
        remedy = closest(str(name), have) if name else "Train one: docs/how-to/fine-tune.md."
        raise RecipeError(f"the run has no task{'' if name is None else f' {name!r}'}", field="task", remedy=remedy)

    def _read(self, texts: Sequence[New], choice: ObjectiveChoice, words: bool) -> list[Encoded]:
        corpus = choice.held_out or choice.corpus
        most = min(self.recipe.batch.room or self.parts.config.longest, self.parts.config.longest)
        length = min(int(corpus.options.get("length") or corpus.length or most), most)
        made = InMemory([_text(one, words) for one in texts])
        attach = Tagged(None, bool(corpus.options.get("blanks", True))) if words else None
        read: Corpus[Encoded] = Reader(made, self.parts.tokenizer, length, attach=attach)
        source = Enriched(read, construct.enrichers(corpus, self.parts, most, "enrich"))
        found = [text for text, _ in source.stream()]
        if len(found) < len(texts):
            missing = min(set(range(len(texts))) - {text.number for text in found})
            raise InputError(f"text {missing + 1} has nothing to read", remedy="Leave blank texts out.")
        return found


def _text(given: New, words: bool) -> Text:
    if isinstance(given, tuple):
        return Text(given[0], given[1])
    if not words:
        if isinstance(given, list):
            raise InputError("found a list of words", remedy="Give a text, or a tuple of two that are read together.")
        return Text(given)
    split = given if isinstance(given, list) else given.split()
    return Text(" ".join(split), fields={"words": split})


def open(
    folder: str | Path, *, change: Sequence[str] = (), mute: Sequence[str] = (), without: Sequence[str] = ()
) -> FinishedRun:
    """Opens the model of a run.

    Args:
        folder: that `kelm train` wrote.
        change: of the recipe, as ``--set`` takes it: ``["objectives.0.held_out.options.path=test.tsv"]``.
        mute: extensions that shall add nothing, see `Encoder.mute`.
        without: enrichers that are left out.

    Raises:
        CheckpointError: the folder holds no finished run.
        UnknownName: the model has no such extension.
        RecipeError: no corpus of the recipe has such an enricher.
    """
    folder = Path(folder)
    for part in ("recipe.toml", "model"):
        if not (folder / part).exists():
            begun = (folder / "checkpoints").is_dir()
            remedy = "Go on with it: kelm train --resume." if begun else "Name a run's folder."
            raise CheckpointError(f"{folder} holds no finished run: it has no {part}. {remedy}")
    recipe = _without(read(folder / "recipe.toml", change), without)
    words = open_tokenizer(folder / "model")
    encoder = Encoder.from_pretrained(folder / "model").eval()
    encoder.mute(*mute)
    parts = construct.Parts(encoder.config, words, encoder, recipe.train.seed)
    start = str(folder / "model")
    made = [construct.objective(choice, parts, start, number) for number, choice in enumerate(recipe.objectives)]
    return FinishedRun(folder, recipe, Learner(encoder, made).eval(), parts)


def _without(recipe: Recipe, names: Sequence[str]) -> Recipe:
    def left(choice: CorpusChoice | None) -> CorpusChoice | None:
        kept = {} if choice is None else {name: one for name, one in choice.enrich.items() if name not in names}
        return None if choice is None else replace(choice, enrich=kept)

    corpora = [one for choice in recipe.objectives for one in (choice.corpus, choice.held_out) if one is not None]
    known = list(dict.fromkeys(name for corpus in corpora for name in corpus.enrich))
    for name in names:
        if name not in known:
            raise RecipeError(f'no corpus has an enricher "{name}"', field="without", remedy=closest(name, known))
    objectives = [
        replace(choice, corpus=left(choice.corpus), held_out=left(choice.held_out))  # type: ignore[arg-type]
        for choice in recipe.objectives
    ]
    return replace(recipe, objectives=tuple(objectives))
