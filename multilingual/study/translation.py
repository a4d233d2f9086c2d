"""Do languages come together if sentences are read beside translations (TLM), or put together from them (Unicoder)?

    arm                  reads, in as many steps and tokens                   what it shows
    mlm                  both sides of all pairs, each alone                  what shared words and an encoder give
    tlm                  half of the tokens in pairs                          the same
    shuffled             the same, translations dealt anew                    what two languages in a row give
    recovery             a quarter each: word recovery, translation or not    the same
    recovery_shuffled    the same, translations dealt anew                    what these tasks give by themselves
    alignment            half of the tokens in pairs: hidden words point at their translations (XLM-Align)
    contrast             a quarter of them in pairs, a quarter in sentences told from others (InfoXLM)

All arms of a seed read the same sentences with a vocabulary that all languages share. Asked: whether a sentence's
translation is the nearest of the test's, in both directions, by the mean state after each layer; the loss of masked
words of a sentence alone; with `zero_shot`, whether tags that were learned in one language are right in another; and,
with `known`, whether words are linked as a dictionary says.
Sources: Conneau and Lample, 2019, sections 3 and 5; Huang et al., 2019; Chi et al., 2021 (InfoXLM, XLM-Align); the
controls are ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from kelm.batch import Encoded
from kelm.data.corpus import InMemory, Text, digest
from kelm.data.files import required
from kelm.data.labeled_text import Labeled
from kelm.data.stream import BatchStream
from kelm.errors import InputError
from kelm.evaluation.base import given
from kelm.evaluation.intervals import arms_table
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.tasks.classification import TextClassification
from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kelm.training import record
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from multilingual.corpora.code_switched import read_dictionary
from multilingual.corpora.hard_negatives import LABELS, Paraphrases
from multilingual.corpora.parallel import translations
from multilingual.evaluation.retrieval import retrieval, sentence_vectors
from multilingual.languages import with_languages
from multilingual.objectives.denoising_alignment import DenoisingAlignment
from multilingual.objectives.translation_contrast import TranslationContrast
from multilingual.objectives.translation_lm import Layout, TranslationLanguageModel
from multilingual.objectives.word_recovery import WordRecovery
from multilingual.study.known_links import known_link_error
from multilingual.study.zero_shot import ZeroShot

__all__ = ["Translation", "TranslationArm", "TranslationOutcome", "Work", "multi30k", "only", "sides_of", "table"]

TranslationArm = Literal["mlm", "tlm", "shuffled", "recovery", "recovery_shuffled", "alignment", "contrast"]
ARMS: tuple[TranslationArm, ...] = get_args(TranslationArm)
Files = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class TranslationOutcome:
    """What one arm and seed reached.

    Attributes:
        found: shares of translations found after each layer, the mean of all pairs and both directions.
        pairs: the same by pair of languages, after the best layer of the development pairs.
        masked: loss of masked words of the test's sentences, each alone.
        tagged: accuracy of zero-shot tagging by language.
        linked: error of word alignment by pair of languages, after the best layer of the development pairs.
    """

    arm: str
    seed: int
    layer: int
    found: list[float]
    pairs: dict[str, float]
    masked: float
    tagged: dict[str, float] = field(default_factory=dict)
    linked: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """The study's options, an evaluation. Paths lie in the folder of data.

    Attributes:
        train, dev, test: files of each pair of languages, see `translations`; of `dev` the layer is chosen.
        pieces: of the shared vocabulary, and which kind.
        width, layers: of the encoder; a head for every 64 numbers.
        told: languages are told by vectors (XLM); without, the words tell them (XLM-R).
        steps, tokens, rate: of each arm.
        length: tokens of a sentence at most; a pair has twice as many.
        hard: of word recovery, see `RecoveryAttention`.
        zero_shot: None: no tagging.
        known: dictionaries by pair of languages: words that they know are to be linked, see `known_link_error`.
    """

    train: Files = field(default_factory=lambda: multi30k("train"))
    dev: Files = field(default_factory=lambda: multi30k("test_2017_flickr", ("de", "fr")))
    test: Files = field(default_factory=lambda: multi30k("test_2016_flickr"))
    pieces: int = 8000
    kind: Literal["unigram", "bpe"] = "bpe"
    width: int = 128
    layers: int = 4
    told: bool = False
    layout: Layout = "restart"
    arms: tuple[TranslationArm, ...] = ("mlm", "tlm", "shuffled")
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1500
    tokens: int = 2048
    rate: float = 1.5e-3
    length: int = 40
    hard: bool = False
    zero_shot: ZeroShot | None = None
    known: Mapping[str, str] = field(default_factory=dict)

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        unasked = [name for name in self.known if name not in self.dev or name not in self.test]
        if unasked:
            remedy = "Name pairs of languages that both have."
            raise InputError(f"dev or test has no {unasked[0]}", field=f"known.{unasked[0]}", remedy=remedy)
        work = Work(self, given(data), out, say)
        record.keep(out, {"texts": digest([self.train, work.pairs]), "vocabulary": work.words.fingerprint()})
        log = OutcomeLog(out / "outcomes.jsonl", TranslationOutcome)
        done = {(one.seed, one.arm) for one in log.done}
        for seed in self.seeds:
            for arm in self.arms:
                if (seed, arm) not in done:
                    log.add([work.outcome(arm, seed)])
        return table(log.done)


def multi30k(part: str, languages: Sequence[str] = ("de", "fr", "cs")) -> Files:
    name = f"parallel/multi30k/{part}.{{}}.txt"
    return {f"en-{code}": (name.format("en"), name.format(code)) for code in languages}


@dataclass(frozen=True, eq=False)
class Work:
    """What the arms share: texts, read ones and the vocabulary.

    Attributes:
        data, out: folders.
        say: is told what happens.
    """

    options: Translation
    data: Path
    out: Path
    say: Callable[[str], None]

    def outcome(self, arm: TranslationArm, seed: int) -> TranslationOutcome:
        learner = self.trained(arm, seed)
        encoder = learner.eval().encoder
        layers = range(1, self.options.layers + 1)
        found = {name: self._found(encoder, files, layers) for name, files in (("dev", "dev"), ("test", "test"))}
        means = {
            name: [_mean([pair[layer] for pair in pairs.values()]) for layer in layers] for name, pairs in found.items()
        }
        best = 1 + max(range(len(layers)), key=lambda place: means["dev"][place])
        sides = [side for pairs in self.read(self.options.test).values() for side in sides_of(pairs)]
        masked = HeldOut({"mlm": self.alone(sides)})(learner)["mlm/loss"]
        pairs = {name: of_layer[best] for name, of_layer in found["test"].items()}
        asked = self.options.zero_shot
        tagged = {} if asked is None else asked.accuracies(encoder, self.words, self.data, seed)
        linked = {name: self._link_error(encoder, name, path) for name, path in self.options.known.items()}
        told = "".join(f", {code} {value:.3f}" for code, value in tagged.items())
        told += "".join(f", {name} linked wrong {value:.3f}" for name, value in linked.items())
        self.say(f"{arm}, seed {seed}: found {_mean(pairs.values()):.3f} after layer {best}, masked {masked:.3f}{told}")
        return TranslationOutcome(arm, seed, best, means["test"], pairs, masked, tagged, linked)

    def _link_error(self, encoder: Encoder, name: str, path: str) -> float:
        """Returns the error of links of words in the test, after the layer that is best in the development pairs."""
        dictionary = read_dictionary(str(required(self.data, path)))

        def error(files: Files, layer: int) -> float:
            pairs = self.read({name: files[name]})[name]
            first, second = (self.alone([only(pair, side) for pair in pairs]) for side in (0, 1))
            return known_link_error(encoder, first, second, dictionary, pad=self.words.pad, layer=layer)

        best = min(range(self.options.layers + 1), key=lambda layer: error(self.options.dev, layer))
        return error(self.options.test, best)

    def _found(self, encoder: Encoder, part: str, layers: Sequence[int]) -> dict[str, dict[int, float]]:
        """Returns how often translations are found, by pair and layer."""
        found = {}
        for name, pairs in self.read(getattr(self.options, part)).items():
            sides = [
                sentence_vectors(encoder, self.alone(side), pad=self.words.pad, layers=layers)
                for side in ([only(pair, 0) for pair in pairs], [only(pair, 1) for pair in pairs])
            ]
            found[name] = {layer: retrieval(sides[0][layer], sides[1][layer]).mean for layer in layers}
        return found

    def trained(self, arm: TranslationArm, seed: int) -> Learner:
        options = self.options
        torch.manual_seed(seed)
        languages = sorted(
            {code for pair in self.pairs for code in (pair.fields["language"], pair.fields["pair_language"])}
        )
        encoder = Encoder(
            EncoderConfig(
                family="xlm-roberta",
                vocab_size=self.words.vocabulary_size,
                pad_token_id=self.words.pad,
                hidden_size=options.width,
                num_hidden_layers=options.layers,
                num_attention_heads=max(1, options.width // 64),
                intermediate_size=4 * options.width,
                max_position_embeddings=2 * options.length + 8,
                initializer_range=0.02 * (768 / options.width) ** 0.5,  # as large a sum as in BERT of width 768
                extensions={"language_embedding": {"languages": languages}} if options.told else {},
            )
        )
        objectives, streams = self._asked(encoder, arm, seed)
        optim = Optimization(rate=options.rate, betas=(0.9, 0.98), warmup=0.1)
        train_unsaved(learner := Learner(encoder, objectives), streams, options.steps, optim, seed)
        return learner

    def _asked(self, encoder: Encoder, arm: TranslationArm, seed: int) -> tuple[list[Any], dict[str, Any]]:
        """Returns the objectives of an arm and a stream for each, of as many tokens in all."""
        config, words = encoder.config, self.words
        mlm, whole = MaskedLanguageModel(config, tokenizer=words), self.options.tokens
        asked: list[tuple[Any, Sequence[Encoded], int]] = []
        pairs = shuffled(self.pairs, seed) if "shuffled" in arm else self.pairs
        if arm in ("tlm", "shuffled", "contrast"):
            tlm = TranslationLanguageModel(config, tokenizer=words, layout=self.options.layout)
            asked = [(tlm, self.together(pairs), whole // (4 if arm == "contrast" else 2))]
            if arm == "contrast":
                contrast = TranslationContrast(config, tokenizer=words, encoder=encoder, state="mean")
                asked.append((contrast, self.together(pairs), whole // 4))
        elif arm == "alignment":
            alignment = DenoisingAlignment(config, tokenizer=words, layout=self.options.layout)
            asked = [(alignment, self.together(pairs), whole // 2)]
        elif arm != "mlm":
            recovery = WordRecovery(config, tokenizer=words, hard=self.options.hard, start=config.hidden_size**-0.5)
            asked = [(recovery, self.together(pairs), whole // 4)]
            told = TextClassification(config, labels=LABELS, states=["first"])
            asked.append((told, self.misses(pairs, seed), whole // 4))
        asked.append((mlm, self.alone(sides_of(self.pairs)), whole - sum(tokens for *_, tokens in asked)))
        streams = {
            objective.name: BatchStream(InMemory(texts), objective.collate, tokens=tokens, seed=seed)
            for objective, texts, tokens in asked
        }
        return [objective for objective, *_ in asked], streams

    def alone(self, texts: Sequence[Text]) -> list[Encoded]:
        """Returns sentences as they are read without their translation."""
        read = self.words.encode([text.text for text in texts], length=self.options.length)
        told = [with_languages(one, text.fields["language"]) for one, text in zip(read, texts, strict=True)]
        return [one.having(number=number) for number, one in enumerate(told)]

    def together(self, pairs: Sequence[Text]) -> list[Encoded]:
        """Returns pairs in a row."""
        sides = ([pair.text for pair in pairs], [pair.pair or "" for pair in pairs])
        read = self.words.encode(*sides, length=2 * self.options.length)
        codes = [(pair.fields["language"], pair.fields["pair_language"]) for pair in pairs]
        told = [with_languages(one, *both) for one, both in zip(read, codes, strict=True)]
        return [one.having(number=number) for number, one in enumerate(told)]

    def misses(self, pairs: Sequence[Text], seed: int) -> list[Encoded]:
        """Returns pairs and as many near misses, labeled."""
        by_languages: dict[str, list[Text]] = {}
        for pair in pairs:
            by_languages.setdefault(pair.fields["pair_language"], []).append(pair)
        labeled = Labeled("label", LABELS)
        texts = [
            text
            for some in by_languages.values()
            for text, _ in Paraphrases(InMemory(some), self.words, order="given", seed=seed).stream()
        ]
        read = [labeled(one, text) for one, text in zip(self.together(texts), texts, strict=True)]
        return [one.having(number=number) for number, one in enumerate(read)]

    def read(self, files: Files) -> dict[str, list[Text]]:
        """Returns the pairs of files, by pair of languages."""
        found = {}
        for name, paths in files.items():
            places = [str(required(self.data, path)) for path in paths]
            found[name] = [text for text, _ in translations(places, name.split("-")).stream()]
        return found

    @cached_property
    def pairs(self) -> list[Text]:
        return [pair for pairs in self.read(self.options.train).values() for pair in pairs]

    @cached_property
    def words(self) -> Tokenizer:
        place = self.out / "words"
        if not place.is_dir():
            texts = list(dict.fromkeys(side.text for side in sides_of(self.pairs)))
            vocabulary.train(texts, self.options.pieces, self.options.kind).save(place)
        return tokenizers.open(place)


def only(pair: Text, side: int) -> Text:
    name = ("language", "pair_language")[side]
    return Text((pair.text, pair.pair or "")[side], fields={"language": pair.fields[name]})


def sides_of(pairs: Sequence[Text]) -> list[Text]:
    """Returns the sentences of pairs, each once."""
    sides = [only(pair, side) for pair in pairs for side in (0, 1)]
    return list({(side.text, side.fields["language"]): side for side in sides}.values())


def shuffled(pairs: Sequence[Text], seed: int) -> list[Text]:
    """Returns pairs with the second sides of the same two languages dealt anew."""
    dealt = list(pairs)
    by_languages: dict[tuple[str, str], list[int]] = {}
    for number, pair in enumerate(pairs):
        by_languages.setdefault((pair.fields["language"], pair.fields["pair_language"]), []).append(number)
    for numbers in by_languages.values():
        others = random.Random(seed).sample(numbers, len(numbers))
        for number, other in zip(numbers, others, strict=True):
            dealt[number] = replace(pairs[number], pair=pairs[other].pair)
    return dealt


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def table(outcomes: Sequence[TranslationOutcome]) -> str:
    """Returns means over seeds with 95 % intervals, and differences paired by seed, as Markdown."""
    layers = max((len(one.found) for one in outcomes), default=0)
    names = list(dict.fromkeys(name for one in outcomes for name in one.pairs))
    codes = list(dict.fromkeys(code for one in outcomes for code in one.tagged))
    heads = [*(f"layer {layer + 1}" for layer in range(layers)), *names, "masked words (loss)"]
    heads += [f"tags, {code}" for code in codes]
    linked = list(dict.fromkeys(name for one in outcomes for name in one.linked))
    heads += [f"words linked wrong, {name}" for name in linked]
    found = {
        (one.arm, one.seed): [
            *one.found,
            *map(one.pairs.get, names),
            one.masked,
            *map(one.tagged.get, codes),
            *map(one.linked.get, linked),
        ]
        for one in outcomes
    }
    chosen = sorted({one.layer for one in outcomes})
    seeds = len({one.seed for one in outcomes})
    said = f"Translations found, {seeds} seeds; of each pair after layer {', '.join(map(str, chosen))}."
    tables = [arms_table(found, heads, arms=ARMS, over=("mlm", "shuffled"), ours="tlm")]
    if any(arm == "recovery" for arm, _ in found):
        compared = arms_table(found, heads, arms=(), over=("mlm", "recovery_shuffled", "tlm"), ours="recovery")
        tables.append(compared[2:])
    for ours in ("alignment", "contrast"):
        if any(arm == ours for arm, _ in found):
            tables.append(arms_table(found, heads, arms=(), over=("mlm", "tlm"), ours=ours)[2:])
    return "\n".join([said, "", *(line for lines in tables for line in lines)]) + "\n"
