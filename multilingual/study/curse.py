"""The curse of multilinguality in small: what do more languages, alpha, vocabulary and width do to each language?

    axis          changes                              asked of
    languages     how many, at each width              the languages that are in every run
      alone       those alone, as often as in company  the same: what the others take or give
    alpha         how often rare languages are read    languages with many and with few verses
    vocabulary    pieces that all share                the same

Masked words of Bible verses, a fresh encoder for every run, all runs of one length. Chapters that nobody trains on say
how well each language is known, in bits a character (`held_out_words`): losses a token of different vocabularies are
of different things. Source: Conneau et al., 2020, section 5.1; "alone" is ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from kelm.batch import Encoded
from kelm.data.corpus import InMemory, Text, digest
from kelm.data.files import read, required
from kelm.data.reader import Reader
from kelm.data.stream import BatchStream
from kelm.errors import InputError, RecipeError
from kelm.evaluation.base import given
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import tokenizer as tokenizers
from kelm.text.tokenizer import Tokenizer
from kelm.training import record
from kelm.training.bounds import COUNT, NOT_NEGATIVE, POSITIVE
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from multilingual import vocabulary
from multilingual.corpora.sampling import Sampled
from multilingual.languages import language
from multilingual.study.curse_report import CurseOutcome, Point, draw, table
from multilingual.study.held_out_words import bits_per_character

__all__ = ["Curse"]

_BOOKS = (  # of the New Testament, which every language has
    *("MAT", "MAR", "LUK", "JOH", "ACT", "ROM", "1CO", "2CO", "GAL", "EPH", "PHI", "COL", "1TH", "2TH", "1TI", "2TI"),
    *("TIT", "PHM", "HEB", "JAM", "1PE", "2PE", "1JO", "2JO", "3JO", "JUD", "REV"),
)
Verses = Mapping[str, str]  # by BOOK.chapter.verse


@dataclass(frozen=True, slots=True, kw_only=True)
class Curse:
    """The study's options, an evaluation. Values in plural are the axes, those in singular hold elsewhere.

    Attributes:
        verses: of each language at most, in the order in which languages join; the name is that of its file.
        files: of a language, `{}` is its name: verses as ``BOOK.chapter.verse<TAB>text``.
        counts: how many languages; those of the smallest are in every run, and are asked there.
        widths: of the encoder; a head for every 64 numbers.
        alphas: of the batches' mixture, with all languages; the vocabulary's is always `alpha`.
        vocabularies: pieces, with all languages.
        rare: a language with fewer verses is a rare one.
        characters: of a verse at most.
        every: of so many chapters of the New Testament one is held out.
        judged: verses of each language, the same ones, by which it is judged.
        steps, tokens, rate: of a run.
    """

    verses: Mapping[str, int] = field(default_factory=lambda: {"eng": 20_000, "swh": 500, "spa": 20_000, "zul": 500})
    files: str = "parallel/bible/{}.tsv.gz"
    counts: tuple[int, ...] = (2, 4)
    widths: tuple[int, ...] = (64, 128)
    alphas: tuple[float, ...] = (1.0, 0.7, 0.3, 0.0)
    vocabularies: tuple[int, ...] = (1000, 4000, 16_000)
    alpha: float = 0.3
    pieces: int = 4000
    width: int = 128
    layers: int = 3
    rare: int = 1000
    characters: int = 160
    every: int = 10
    judged: int = 40
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 800
    tokens: int = 2048
    rate: float = 3e-3

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        self._check()
        work = _Work(self, given(data), out, say)
        record.keep(out, {"verses": digest({name: sorted(kept.items()) for name, kept in work.verses.items()})})
        log = OutcomeLog(out / "outcomes.jsonl", CurseOutcome)
        done = {(one.point, one.seed) for one in log.done}
        for seed in self.seeds:
            for point in self.points():
                if (point, seed) not in done:
                    log.add([work.outcome(point, seed)])
        few = {name for name, most in self.verses.items() if most < self.rare}
        base = self.base
        draw(log.done, base, few, out / "curves.svg")
        return table(log.done, base, few)

    @property
    def base(self) -> Point:
        return Point(max(self.counts), self.width, self.alpha, self.pieces)

    def points(self) -> list[Point]:
        """Returns the runs of a seed, each once."""
        least = min(self.counts)
        grid = [replace(self.base, languages=count, width=width) for width in self.widths for count in self.counts]
        alone = [replace(one, alone=True) for one in grid if one.languages > least]
        alphas = [replace(self.base, alpha=alpha) for alpha in self.alphas]
        pieces = [replace(self.base, pieces=size) for size in self.vocabularies]
        return list(dict.fromkeys([self.base, *grid, *alone, *alphas, *pieces]))

    def _check(self) -> None:
        for name in ("characters", "judged", "every", "steps", "tokens", "layers", "pieces", "width"):
            COUNT.check(getattr(self, name), name)
        POSITIVE.check(self.rate, "rate")
        for name in ("counts", "widths", "vocabularies"):
            for number, value in enumerate(getattr(self, name)):
                COUNT.check(value, f"{name}.{number}")
        for number, alpha in enumerate((*self.alphas, self.alpha)):
            NOT_NEGATIVE.check(alpha, f"alphas.{number}" if number < len(self.alphas) else "alpha")
        for name, most in self.verses.items():
            COUNT.check(most, f"verses.{name}")
        if not self.counts or max(self.counts) > len(self.verses):
            raise RecipeError(
                f"{len(self.verses)} languages are given, {max(self.counts, default=0)} asked for",
                field="counts",
                remedy="Give numbers up to that of the languages.",
            )


@dataclass(frozen=True, eq=False)
class _Work:
    options: Curse
    data: Path
    out: Path
    say: Callable[[str], None]

    def outcome(self, point: Point, seed: int) -> CurseOutcome:
        options, names = self.options, self.names(point)
        words = self.words(point)
        texts = {language(name): InMemory[Text](self.trained_on(name)) for name in names}
        mixture = Sampled(texts, alpha=point.alpha, seed=seed)
        asked, steps = names, options.steps
        if point.alone:
            asked = names[: min(options.counts)]
            steps = max(1, round(steps * self.share(mixture, words, asked)))
            mixture = Sampled({language(name): texts[language(name)] for name in asked}, alpha=point.alpha, seed=seed)
        learner = self.trained(point, words, mixture, steps, seed)
        bits = {
            name: bits_per_character(learner, self.judged(name, words), mask=words.mask, pad=words.pad)
            for name in asked
        }
        table = learner.encoder.embeddings.word_embeddings.weight.numel()
        others = sum(parameter.numel() for parameter in learner.encoder.parameters()) - table
        mean = sum(bits.values()) / len(bits)
        self.say(f"{point}, seed {seed}: {mean:.3f} bits a character, mean of {len(bits)} languages")
        return CurseOutcome(**asdict(point), seed=seed, steps=steps, table=table, others=others, bits=bits)

    def names(self, point: Point) -> list[str]:
        return list(self.options.verses)[: point.languages]

    def share(self, mixture: Sampled, words: Tokenizer, names: Sequence[str]) -> float:
        """Returns which share of a mixture's tokens is in some languages."""
        sizes = {}
        for code, part in mixture.parts.items():
            some = [text.text for text, _ in part.stream()][:200]
            pieces = sum(len(text) for text in words.encode(some))
            sizes[code] = mixture.probabilities[code] * pieces / len(some)
        return sum(sizes[language(name)] for name in names) / sum(sizes.values())

    def trained(self, point: Point, words: Tokenizer, mixture: Sampled, steps: int, seed: int) -> Learner:
        torch.manual_seed(seed)
        length = self.length
        encoder = Encoder(
            EncoderConfig(
                family="xlm-roberta",
                vocab_size=words.vocabulary_size,
                pad_token_id=words.pad,
                hidden_size=point.width,
                num_hidden_layers=self.options.layers,
                num_attention_heads=max(1, point.width // 64),
                intermediate_size=4 * point.width,
                max_position_embeddings=length + words.pad + 1,
                type_vocab_size=1,
                pooler=False,
                initializer_range=0.02 * (768 / point.width) ** 0.5,  # as large a sum as in BERT of width 768
                hidden_dropout_prob=0.0,  # each verse is read a few times at most
                attention_probs_dropout_prob=0.0,
            )
        )
        mlm = MaskedLanguageModel(encoder.config, tokenizer=words)
        stream = BatchStream(Reader(mixture, words, length), mlm.collate, tokens=self.options.tokens, seed=seed)
        learner = Learner(encoder, [mlm])
        optim = Optimization(rate=self.options.rate, betas=(0.9, 0.98), warmup=0.1)
        train_unsaved(learner, {mlm.name: stream}, steps, optim, seed)
        return learner.eval()

    @property
    def length(self) -> int:
        """Tokens that no verse exceeds, were it spelled in bytes."""
        return 4 * self.options.characters + 2

    def words(self, point: Point) -> Tokenizer:
        """Returns the vocabulary of a point's languages; unknown characters are spelled in bytes, so none is lost."""
        place = self.out / f"words-{point.languages}-{point.pieces}"
        if not place.is_dir():
            parts = {language(name): InMemory[Text](self.trained_on(name)) for name in self.names(point)}
            made = vocabulary.train(parts, point.pieces, alpha=self.options.alpha, byte_fallback=True)
            made.save(place)
        return tokenizers.open(place)

    def trained_on(self, name: str) -> list[Text]:
        """Returns a language's verses, evenly from all that are not held out."""
        kept = [text for key, text in self.verses[name].items() if not self.is_held_out(key)]
        return [Text(text) for text in _evenly(kept, self.options.verses[name])]

    def judged(self, name: str, words: Tokenizer) -> list[Encoded]:
        return words.encode([self.verses[name][key] for key in self.judged_keys])

    @cached_property
    def judged_keys(self) -> list[str]:
        """Verses of held-out chapters that all languages have."""
        first, *others = self.verses.values()
        common = [key for key in first if self.is_held_out(key) and all(key in other for other in others)]
        if not common:
            raise InputError("no verse of all languages is held out", field="every", remedy="Give a smaller number.")
        return _evenly(common, self.options.judged)

    def is_held_out(self, key: str) -> bool:
        book, chapter, _ = key.split(".")
        return book in _BOOKS and zlib.crc32(f"{book}.{chapter}".encode()) % self.options.every == 0

    @cached_property
    def verses(self) -> dict[str, Verses]:
        """The verses of each language that are not too long, by key."""
        return {name: dict(self._read(name)) for name in self.options.verses}

    def _read(self, name: str) -> Iterator[tuple[str, str]]:
        path = required(self.data, self.options.files.format(name))
        for line in read(path):
            key, _, text = line.text.partition("\t")
            if key.count(".") != 2:
                remedy = "Write BOOK.chapter.verse, a tab, and the verse."
                raise InputError(f'"{line.text[:40]}" is no verse', path=path, line=line.number, remedy=remedy)
            if 0 < len(text.strip()) <= self.options.characters:
                yield key, text.strip()


def _evenly(items: Sequence[str], most: int) -> list[str]:
    count = min(most, len(items))
    return [items[place * len(items) // count] for place in range(count)]
