"""What has to be shared for two languages to come together without a single translation: words, heads or layers?

    arm            words of its own     heads     lowest layers of its own
    default        shared by spelling   shared    none
    extra          and by a dictionary: some words are translated in what is read (code-switching)
    no_anchors     each language's      shared    none
    own_words      each language's      own       none
    own_1, own_2   shared               shared    1, 2
    own_words_2    each language's      own       2
    own_all        each language's      own       all: nothing is shared; what chance finds

All arms of a seed read the same sentences of both languages, each alone, as often, by masked words. Asked: whether a
sentence's translation is the nearest of the test's, in both directions, by the mean state after each layer; linear CKA
of both sides; tags learned in one language and asked for in the other; the loss of masked words.
Source: Conneau, Wu et al., 2020 (Emerging cross-lingual structure), sections 4 and 5; the control is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch

from kelm.batch import Encoded
from kelm.data.corpus import InMemory, Text, digest
from kelm.data.files import required
from kelm.data.stream import BatchStream
from kelm.evaluation import drawing
from kelm.evaluation.base import given
from kelm.evaluation.drawing import Line, Panel
from kelm.evaluation.intervals import arms_table, mean
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.sentence_piece import SentencePiece
from kelm.text.tokenizer import Tokenizer
from kelm.training import record
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from multilingual.alignment.similarity import linear_cka
from multilingual.corpora.code_switched import CodeSwitched, dictionaries
from multilingual.evaluation.retrieval import retrieval, sentence_vectors
from multilingual.languages import with_languages
from multilingual.study.translation import Translation, Work, multi30k, only, sides_of
from multilingual.words_apart import apart, words_apart

__all__ = ["Sharing", "SharingArm", "SharingOutcome", "draw", "table"]

SharingArm = Literal["default", "extra", "no_anchors", "own_words", "own_1", "own_2", "own_words_2", "own_all"]
ARMS: tuple[SharingArm, ...] = get_args(SharingArm)
_ALL = 99  # more layers than there are


@dataclass(frozen=True, slots=True)
class _Kind:
    apart: bool = False
    heads: bool = False
    layers: int = 0
    switched: bool = False


_KINDS: Mapping[SharingArm, _Kind] = {
    "default": _Kind(),
    "extra": _Kind(switched=True),
    "no_anchors": _Kind(apart=True),
    "own_words": _Kind(apart=True, heads=True),
    "own_1": _Kind(layers=1),
    "own_2": _Kind(layers=2),
    "own_words_2": _Kind(apart=True, heads=True, layers=2),
    "own_all": _Kind(apart=True, heads=True, layers=_ALL),
}


@dataclass(frozen=True, slots=True)
class SharingOutcome:
    """What one arm and seed reached.

    Attributes:
        found: shares of translations found before the first and after each layer, the mean of both directions.
        cka: linear CKA of both sides at the same places.
        masked: loss of masked words of the test's sentences.
        tagged: accuracy of zero-shot tagging by language.
    """

    arm: str
    seed: int
    found: list[float]
    cka: list[float]
    masked: float
    tagged: dict[str, float] = field(default_factory=dict)


def _captions() -> Translation:
    return Translation(train=multi30k("train", ["de"]), test=multi30k("test_2016_flickr", ["de"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """The study's options, an evaluation. Paths lie in the folder of data.

    Attributes:
        texts: of one pair of languages, with the sizes of model and training; see `Translation`.
        switch, share: dictionaries by pair of languages, and how many of their words are replaced in the arm `extra`.
    """

    texts: Translation = field(default_factory=_captions)
    switch: Mapping[str, str] = field(default_factory=lambda: {"en-de": "lexical/bli/en-de.train.tsv"})
    share: float = 0.5
    arms: tuple[SharingArm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        work = _Arms(self, Work(self.texts, given(data), out, say))
        record.keep(out, {"texts": digest([self.texts.train, work.base.pairs])})
        log = OutcomeLog(out / "outcomes.jsonl", SharingOutcome)
        done = {(one.seed, one.arm) for one in log.done}
        for seed in self.seeds:
            for arm in self.arms:
                if (seed, arm) not in done:
                    log.add([work.outcome(arm, seed)])
        draw(log.done, out / "sharing.svg")
        return table(log.done)


@dataclass(frozen=True, eq=False)
class _Arms:
    options: Sharing
    base: Work

    def outcome(self, arm: SharingArm, seed: int) -> SharingOutcome:
        kind, work = _KINDS[arm], self.base
        learner = self._trained(kind, seed)
        encoder, words = learner.encoder, self._words(kind)
        places = range(self.options.texts.layers + 1)
        [pairs] = work.read(self.options.texts.test).values()
        vectors = [
            sentence_vectors(
                encoder, self._read(kind, [only(pair, side) for pair in pairs]), pad=words.pad, layers=places
            )
            for side in (0, 1)
        ]
        found = [retrieval(vectors[0][place], vectors[1][place]).mean for place in places]
        cka = [linear_cka(vectors[0][place], vectors[1][place]) for place in places]
        masked = HeldOut({"mlm": self._read(kind, sides_of(pairs))})(learner)["mlm/loss"]
        asked = self.options.texts.zero_shot
        tagged = {} if asked is None else asked.accuracies(encoder, work.words, work.data, seed, self._seen(kind))
        told = "".join(f", {code} {value:.3f}" for code, value in tagged.items())
        work.say(f"{arm}, seed {seed}: found {max(found):.3f}, masked {masked:.3f}{told}")
        return SharingOutcome(arm, seed, found, cka, masked, tagged)

    def _trained(self, kind: _Kind, seed: int) -> Learner:
        options, words = self.options.texts, self._words(kind)
        torch.manual_seed(seed)
        own = {"own_layers": {"languages": self.languages, "own": min(kind.layers, options.layers)}}
        encoder = Encoder(
            EncoderConfig(
                family="xlm-roberta",
                vocab_size=words.vocabulary_size,
                pad_token_id=words.pad,
                hidden_size=options.width,
                num_hidden_layers=options.layers,
                num_attention_heads=max(1, options.width // 64),
                intermediate_size=4 * options.width,
                max_position_embeddings=2 * options.length + 8,
                initializer_range=0.02 * (768 / options.width) ** 0.5,
                extensions=own if kind.layers else {},
            )
        )
        mlm = MaskedLanguageModel(encoder.config, tokenizer=words, blocks=len(self.languages) if kind.heads else 1)
        texts = self._read(kind, self._switched(seed) if kind.switched else sides_of(self.base.pairs))
        streams = {"mlm": BatchStream(InMemory(texts), mlm.collate, tokens=options.tokens, seed=seed)}
        optim = Optimization(rate=options.rate, betas=(0.9, 0.98), warmup=0.1)
        train_unsaved(learner := Learner(encoder, [mlm]), streams, options.steps, optim, seed)
        return learner.eval()

    def _switched(self, seed: int) -> list[Text]:
        """Returns the sentences to learn from with some words translated."""
        paths = {name: str(required(self.base.data, path)) for name, path in self.options.switch.items()}
        known, found = dictionaries(paths), []
        for code in self.languages:
            own = InMemory([side for side in sides_of(self.base.pairs) if side.fields["language"] == code])
            switched = CodeSwitched(own, known.get(code, {}), share=self.options.share, seed=seed)
            found += [text for text, _ in switched.stream()]
        return found

    def _read(self, kind: _Kind, texts: Sequence[Text]) -> list[Encoded]:
        """Returns sentences, each alone, as the encoder of an arm reads them."""
        read = self.base.alone(texts)
        return self._moved(read) if kind.apart else read

    def _seen(self, kind: _Kind) -> Callable[[Sequence[Encoded], str], list[Encoded]]:
        def seen(texts: Sequence[Encoded], code: str) -> list[Encoded]:
            told = [with_languages(text, code) for text in texts]
            return self._moved(told) if kind.apart else told

        return seen

    def _moved(self, texts: Sequence[Encoded]) -> list[Encoded]:
        return words_apart(languages=self.languages, tokenizer=self.apart)(texts)

    def _words(self, kind: _Kind) -> Tokenizer:
        return self.apart if kind.apart else self.base.words

    @cached_property
    def languages(self) -> list[str]:
        first = self.base.pairs[0].fields
        return [first["language"], first["pair_language"]]

    @cached_property
    def apart(self) -> Tokenizer:
        words = self.base.words
        assert isinstance(words, SentencePiece)
        return apart(words, self.languages)


def table(outcomes: Sequence[SharingOutcome]) -> str:
    """Returns means over seeds with 95 % intervals, and differences to `default` paired by seed, as Markdown."""
    layers = max((len(one.found) for one in outcomes), default=0)
    codes = list(dict.fromkeys(code for one in outcomes for code in one.tagged))
    heads = ["found, best layer", *(f"CKA {place}" for place in range(layers)), "masked words (loss)"]
    heads += [f"tags, {code}" for code in codes]
    found = {
        (one.arm, one.seed): [max(one.found), *one.cka, one.masked, *map(one.tagged.get, codes)] for one in outcomes
    }
    lines = arms_table(found, heads, arms=ARMS, over=(), ours="default")
    for arm in ARMS[1:]:
        gains = arms_table(found, heads, arms=(), over=("default",), ours=arm)
        lines += gains[2:]
    said = f"{len({one.seed for one in outcomes})} seeds; CKA 0 is before the first layer."
    return "\n".join([said, "", *lines]) + "\n"


def draw(outcomes: Sequence[SharingOutcome], path: Path) -> None:
    """Draws CKA and translations found by layer, a line an arm."""
    panels, told = [], []
    for name, pick in (("linear CKA", "cka"), ("translations found", "found")):
        lines = []
        for color, arm in enumerate(ARMS):
            columns = zip(*(getattr(one, pick) for one in outcomes if one.arm == arm), strict=True)
            means = {str(place): mean(list(values)) for place, values in enumerate(columns)}
            if means:
                lines.append(Line(arm, means, color))
                told.append(
                    f"{name}, {arm}: " + ", ".join(f"layer {place} {one.value:.2f}" for place, one in means.items())
                )
        panels.append(Panel("layer", name, list(lines[0].means) if lines else [], lines))
    drawing.draw(path, "What two languages share", "; ".join(told), panels)
