"""Does MultiFiT's small model of one language, taught by a teacher of two, do better than its teacher?

    teacher      a Transformer, MLM on both languages and TLM on their pairs, learns labels in the source language
    student      a QRNN, language model of the target language, learns the teacher's labels of target texts
    no_lm        the same without the language model, all layers at one rate: is it what the student has read?
    again        the teacher goes on with its own labels: is it the target texts and not the student?
    noisy        the student with true labels, as many of them made wrong at random as the teacher's are
    shuffled     the student with the labels dealt anew: what the number of each label says
    supervised   the student with the true labels of the same texts: what there is to learn

Texts are verses of the Bible in two languages, labels the kinds of books they stand in. Chapters are divided at random:
pairs for TLM, source texts with labels, target texts without, and those that are asked. No verse has two uses.
Source: Eisenschlos et al., 2019 (MultiFiT), section 3.3; the arms but `teacher` and `student` are controls of ours.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from kelm.batch import Encoded
from kelm.data.corpus import InMemory, digest
from kelm.data.files import required
from kelm.data.labeled_text import Label
from kelm.data.sources import Table
from kelm.data.stream import BatchStream
from kelm.errors import InputError
from kelm.evaluation.base import given
from kelm.evaluation.intervals import arms_table
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.base import Objective
from kelm.objectives.causal_lm import CausalLanguageModel
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.tasks.classification import TextClassification
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kelm.training import record
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from multilingual.languages import with_languages
from multilingual.objectives.translation_lm import TranslationLanguageModel

__all__ = ["Bootstrap", "BootstrapArm", "BootstrapOutcome", "as_wrong", "divided", "table"]

BootstrapArm = Literal["teacher", "student", "no_lm", "again", "noisy", "shuffled", "supervised"]
ARMS: tuple[BootstrapArm, ...] = get_args(BootstrapArm)
BOOKS = {
    "law": "GEN EXO LEV NUM DEU",
    "history": "JOS JDG RUT 1SA 2SA 1KI 2KI 1CH 2CH EZR NEH EST",
    "poetry": "JOB PSA PRO ECC SON",
    "prophets": "ISA JER LAM EZE DAN HOS JOE AMO OBA JON MIC NAH HAB ZEP HAG ZEC MAL",
    "narrative": "MAT MAR LUK JOH ACT",
    "letters": "ROM 1CO 2CO GAL EPH PHI COL 1TH 2TH 1TI 2TI TIT PHM HEB JAM 1PE 2PE 1JO 2JO 3JO JUD REV",
}
KIND = {book: kind for kind, books in BOOKS.items() for book in books.split()}
LABELS = tuple(BOOKS)
USES = {"pairs": 0.4, "labeled": 0.25, "unlabeled": 0.2, "dev": 0.05, "test": 0.1}
Verse = tuple[str, str, str]
"""Its kind, its text in the source and in the target language."""


@dataclass(frozen=True, slots=True)
class BootstrapOutcome:
    """What one arm and seed reached.

    Attributes:
        target: share of right labels of the target language's test.
        dev: the same of its development texts; nothing is chosen by it.
        source: the teacher's, of the same test in the source language.
        taught: share of right labels among those that were learned from.
    """

    arm: str
    seed: int
    target: float
    dev: float
    source: float | None = None
    taught: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """The study's options, an evaluation. Paths lie in the folder of data; lines are ``BOOK.chapter.verse<TAB>text``.

    Attributes:
        pieces: of the vocabulary of both languages, and of that of the target's alone.
        width, layers: of the teacher; a head for every 64 numbers.
        steps, tokens, rate: of its pretraining.
        tuning_steps, tuning_rate: of its learning the labels.
        words, inner, depth: widths and layers of the student.
        lm_steps, lm_rate, label_steps, label_rate, layer_decay: of the student's language model, and of its learning.
        room: tokens of a verse at most; a pair has twice as many.
    """

    source: str = "parallel/bible/eng.tsv"
    target: str = "parallel/bible/spa.tsv"
    languages: tuple[str, str] = ("en", "es")
    arms: tuple[BootstrapArm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    pieces: tuple[int, int] = (8000, 6000)
    width: int = 128
    layers: int = 4
    steps: int = 3000
    tokens: int = 2048
    rate: float = 1.5e-3
    tuning_steps: int = 600
    tuning_rate: float = 5e-4
    words: int = 200
    inner: int = 400
    depth: int = 3
    lm_steps: int = 2000
    lm_rate: float = 5e-3
    label_steps: int = 800
    label_rate: float = 5e-3
    layer_decay: float = 0.405
    room: int = 64

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        verses = read(given(data), self.source, self.target)
        record.keep(out, {"texts": digest(verses)})
        log = OutcomeLog(out / "outcomes.jsonl", BootstrapOutcome)
        done = {(one.seed, one.arm) for one in log.done}
        for seed in self.seeds:
            work = _Work(self, divided(verses, seed), seed)
            for arm in self.arms:
                if (seed, arm) not in done:
                    log.add([work.outcome(arm)])
                    last = log.done[-1]
                    told = "" if last.source is None else f"; source {last.source:.3f}, its labels {last.taught:.3f}"
                    say(f"{arm}, seed {seed}: {last.target:.3f} right{told}")
        return table(log.done)


def read(data: Path, source: str, target: str) -> dict[str, Verse]:
    """Returns the verses that both languages have, by ``BOOK.chapter.verse``.

    Raises:
        InputError: none.
    """
    sides = []
    for path in (source, target):
        lines = Table(str(required(data, path)), text=1, keep=[0]).stream()
        sides.append({str(line.fields["0"]): line.text for line, _ in lines if line.text.strip()})
    found = {
        name: (KIND[name.partition(".")[0]], text, sides[1][name])
        for name, text in sides[0].items()
        if name in sides[1] and name.partition(".")[0] in KIND
    }
    if not found:
        raise InputError("the two files share no verse", field="target", remedy="Give two Bibles of the folder.")
    return found


def divided(verses: Mapping[str, Verse], seed: int) -> dict[str, list[Verse]]:
    """Returns verses by use (`USES`), whole chapters together, at random and of every kind of book alike."""
    by_kind: dict[str, dict[str, list[Verse]]] = {}
    for name, verse in verses.items():
        by_kind.setdefault(verse[0], {}).setdefault(name.rpartition(".")[0], []).append(verse)
    found: dict[str, list[Verse]] = {use: [] for use in USES}
    for kind, by_chapter in by_kind.items():
        chapters = list(by_chapter)
        random.Random(f"{seed} {kind}").shuffle(chapters)
        before, share = 0, 0.0
        for use, part in USES.items():
            share += part
            after = round(share * len(chapters))
            found[use] += [verse for chapter in chapters[before:after] for verse in by_chapter[chapter]]
            before = after
    return found


def as_wrong(gold: Sequence[str], answers: Sequence[str], seed: int) -> list[str]:
    """Returns the right labels with as many of them wrong as the answers are, where and how by chance."""
    drawn = random.Random(seed)
    wrong = sum(one != other for one, other in zip(gold, answers, strict=True))
    found = list(gold)
    for place in drawn.sample(range(len(gold)), wrong):
        found[place] = drawn.choice([label for label in LABELS if label != gold[place]])
    return found


@dataclass(frozen=True, eq=False)
class _Work:
    """All arms of a seed."""

    options: Bootstrap
    verses: Mapping[str, Sequence[Verse]]
    seed: int

    def outcome(self, arm: BootstrapArm) -> BootstrapOutcome:
        learner, words = self._learned(arm)
        scores = {
            (part, side): _accuracy(learner, self._labeled(words, self.verses[part], side))
            for part, side in (("test", 2), ("dev", 2), *((("test", 1),) if arm == "teacher" else ()))
        }
        gold = [verse[0] for verse in self.verses["unlabeled"]]
        taught = sum(a == b for a, b in zip(self.pseudo, gold, strict=True)) / len(gold) if arm == "teacher" else None
        return BootstrapOutcome(arm, self.seed, scores["test", 2], scores["dev", 2], scores.get(("test", 1)), taught)

    def _learned(self, arm: BootstrapArm) -> tuple[Learner, Tokenizer]:
        options, both, one = self.options, self.both_words, self.target_words
        if arm == "teacher":
            return self.teacher, both
        given, labels = self.verses["unlabeled"], list(self.pseudo)
        if arm in ("supervised", "noisy"):
            gold = [verse[0] for verse in given]
            labels = gold if arm == "supervised" else as_wrong(gold, labels, self.seed)
        elif arm == "shuffled":
            random.Random(self.seed).shuffle(labels)
        torch.manual_seed(self.seed)
        if arm == "again":
            learner = copy.deepcopy(self.teacher)
            texts = self._labeled(both, given, 2, labels)
            self._train(learner, {"classification": texts}, options.label_steps, Optimization(rate=options.tuning_rate))
            return learner, both
        encoder = self._student() if arm == "no_lm" else copy.deepcopy(self.language_model)
        encoder.config.qrnn = {"scale": 0.5}
        student = Encoder(encoder.config)
        student.load_state_dict(encoder.state_dict())
        task = TextClassification(
            student.config,
            labels=LABELS,
            states=["last", "max", "mean"],
            hidden=50,
            norm=True,
            smoothing=0.1,
            smoothing_by_labels=True,
        )
        learner = Learner(student, [task])
        fresh = arm == "no_lm"  # whose lower layers have to learn as much as the upper ones
        cycle = self._cycle(options.label_rate, layer_decay=1.0 if fresh else options.layer_decay)
        self._train(learner, {task.name: self._labeled(one, given, 2, labels)}, options.label_steps, cycle)
        return learner, one

    @cached_property
    def teacher(self) -> Learner:
        """A Transformer that has learned both languages, then the source's labels."""
        options, words = self.options, self.both_words
        torch.manual_seed(self.seed)
        encoder = Encoder(
            EncoderConfig(
                family="xlm-roberta",
                vocab_size=words.vocabulary_size,
                pad_token_id=words.pad,
                hidden_size=options.width,
                num_hidden_layers=options.layers,
                num_attention_heads=max(1, options.width // 64),
                intermediate_size=4 * options.width,
                max_position_embeddings=2 * options.room + 8,
                initializer_range=0.02 * (768 / options.width) ** 0.5,
                pooler=False,
            )
        )
        objectives: list[Objective[Any]] = [
            MaskedLanguageModel(encoder.config, tokenizer=words),
            TranslationLanguageModel(encoder.config, tokenizer=words),
        ]
        seen = [verse for use in ("pairs", "labeled", "unlabeled") for verse in self.verses[use]]
        alone = [text for side in (1, 2) for text in self._encoded(words, seen, side)]
        texts = {"mlm": _numbered(alone), "tlm": self._pairs(words)}
        rate = Optimization(rate=options.rate, betas=(0.9, 0.98), warmup=0.1)
        self._train(Learner(encoder, objectives), texts, options.steps, rate)
        task = TextClassification(encoder.config, labels=LABELS, states=["mean"])
        learner = Learner(encoder, [task])
        labeled = self._labeled(words, self.verses["labeled"], 1)
        self._train(learner, {task.name: labeled}, options.tuning_steps, Optimization(rate=options.tuning_rate))
        return learner

    @cached_property
    def pseudo(self) -> list[str]:
        """The teacher's labels of the target texts that have none."""
        return _answers(self.teacher, self._labeled(self.both_words, self.verses["unlabeled"], 2))

    @cached_property
    def language_model(self) -> Encoder:
        encoder, options = self._student(), self.options
        lm = CausalLanguageModel(encoder.config, tokenizer=self.target_words)
        seen = [verse for use in ("pairs", "labeled", "unlabeled") for verse in self.verses[use]]
        texts = {lm.name: _numbered(self._encoded(self.target_words, seen, 2))}
        self._train(Learner(encoder, [lm]), texts, options.lm_steps, self._cycle(options.lm_rate, weight_decay=1e-7))
        return encoder

    def _student(self) -> Encoder:
        options = self.options
        torch.manual_seed(self.seed)
        words = self.target_words
        return Encoder(
            EncoderConfig(
                family="qrnn",
                vocab_size=words.vocabulary_size,
                pad_token_id=words.pad,
                hidden_size=options.words,
                intermediate_size=options.inner,
                num_hidden_layers=options.depth,
                qrnn={"scale": 0.0},
            )
        )

    def _cycle(self, rate: float, **more: Any) -> Optimization:
        return Optimization(
            rate=rate, betas=(0.8, 0.99), peak_beta=0.7, schedule="one_cycle", warmup=0.3, clip=0.12, **more
        )

    def _train(self, learner: Learner, texts: Mapping[str, Sequence[Encoded]], steps: int, optim: Optimization) -> None:
        tokens, streams = self.options.tokens // len(texts), {}
        for name, items in texts.items():
            objective = learner.objectives[name]
            assert isinstance(objective, Objective)
            streams[name] = BatchStream(InMemory(items), objective.collate, tokens=tokens, seed=self.seed)
        train_unsaved(learner.train(), streams, steps, optim, self.seed)
        learner.eval()

    def _encoded(self, words: Tokenizer, verses: Sequence[Verse], side: int) -> list[Encoded]:
        code = self.options.languages[side - 1]
        texts = words.encode([verse[side] for verse in verses], length=self.options.room)
        return [with_languages(text, code) for text in texts]

    def _pairs(self, words: Tokenizer) -> list[Encoded]:
        verses = self.verses["pairs"]
        sides = ([verse[1] for verse in verses], [verse[2] for verse in verses])
        texts = words.encode(*sides, length=2 * self.options.room)
        return _numbered([with_languages(text, *self.options.languages) for text in texts])

    def _labeled(
        self, words: Tokenizer, verses: Sequence[Verse], side: int, labels: Sequence[str] | None = None
    ) -> list[Encoded]:
        names = [verse[0] for verse in verses] if labels is None else labels
        texts = self._encoded(words, verses, side)
        zero = torch.tensor([0])
        numbers = [torch.tensor([LABELS.index(name)]) for name in names]
        return _numbered([text.having(Label(zero, number)) for text, number in zip(texts, numbers, strict=True)])

    @cached_property
    def both_words(self) -> Tokenizer:
        seen = [verse for use in ("pairs", "labeled", "unlabeled") for verse in self.verses[use]]
        return vocabulary.train([verse[side] for verse in seen for side in (1, 2)], self.options.pieces[0], "bpe")

    @cached_property
    def target_words(self) -> Tokenizer:
        seen = [verse for use in ("pairs", "labeled", "unlabeled") for verse in self.verses[use]]
        return vocabulary.train([verse[2] for verse in seen], self.options.pieces[1], "unigram")


def _numbered(texts: Sequence[Encoded]) -> list[Encoded]:
    return [text.having(number=number) for number, text in enumerate(texts)]


def _answers(learner: Learner, texts: Sequence[Encoded]) -> list[str]:
    return [str(one) for one in HeldOut({"classification": texts}).measure(learner).judged["classification"].answers]


def _accuracy(learner: Learner, texts: Sequence[Encoded]) -> float:
    return HeldOut({"classification": texts})(learner)["classification/accuracy"]


def table(outcomes: Sequence[BootstrapOutcome]) -> str:
    """Returns means over seeds with 95 % intervals, and the student's gains paired by seed, as Markdown."""
    heads = ["target", "target, dev", "source", "its labels"]
    found = {(one.arm, one.seed): [one.target, one.dev, one.source, one.taught] for one in outcomes}
    over = tuple(arm for arm in ARMS if arm != "student")
    said = f"Share of right labels, {len({one.seed for one in outcomes})} seeds."
    return "\n".join([said, "", *arms_table(found, heads, arms=ARMS, over=over, ours="student")]) + "\n"
