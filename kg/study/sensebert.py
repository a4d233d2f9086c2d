"""Does it help an encoder to be taught supersenses (SenseBERT) with words that it was not taught?

    arm         trained on text, the same for all, and                  what it shows
    none        hidden words                                            what text alone gives
    knowledge   hidden words and their supersenses, which go in, too
    shuffled    the same, the sets dealt anew among the words           what more learning gives, whatever it says
    muted       knowledge, no senses go in when asked                   what the input of neighbors' senses is worth

A share of the words with a single supersense is left out of the lexicon. Probes on frozen states learn to tell the
supersense from half of these and are asked about the others, in texts that no arm has read; the same probe in all arms.
All arms of a seed start from one encoder, trained on the same text without senses.
Source: Levine et al. (2020), section 5; the controls are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.data.files import lines, required
from kelm.evaluation.base import given
from kelm.evaluation.intervals import arms_table
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, hub
from kelm.objectives.base import Objective
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training import record
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.typing import Int
from kg.fusion.supersense import Supersense as SenseVectors
from kg.linking.linked_text import read_articles
from kg.linking.supersenses import SenseLexicon
from kg.objectives.supersense import Supersense
from kg.study import oewn
from kg.study.base import Pretraining, pretrain, uncompressed
from kg.study.fine_tuning import train
from kg.study.sense_probe import Uses, answered, fitted, pairs, share_of, states, untaught, uses_of, wic

__all__ = ["SenseArm", "SenseBert", "SenseOutcome", "table"]

SenseArm = Literal["none", "knowledge", "shuffled", "muted"]
ARMS: tuple[SenseArm, ...] = get_args(SenseArm)
SCORES = ("shown", "hidden", "head_shown", "head_hidden", "wic")


@dataclass(frozen=True, slots=True)
class SenseOutcome:
    """Scores of one arm and seed; nan where an arm has none.

    Attributes:
        shown, hidden: share of right supersenses by the probe, of words that are seen and behind the mask.
        head_shown, head_hidden: the same by the sense vectors themselves, the best of the nouns' and verbs'.
        wic: share of pairs of uses of which it is told rightly whether they mean the same.
        common: share of the commonest supersense among those asked for.
        words, n, pairs: different words asked about, their uses, pairs of uses.
    """

    arm: str
    seed: int
    shown: float
    hidden: float
    head_shown: float
    head_hidden: float
    wic: float
    common: float
    words: int
    n: int
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseBert:
    """The study. Registered as ``sensebert`` in the group ``kelm.evaluations``; paths lie in the folder of data.

    Attributes:
        lexicon: Open English WordNet's tables.
        vocabulary: a list of word pieces; None: `pieces` of them are learned from `texts`.
        texts: to train on: plain text, CoNLL-U, or ERNIE's sample of articles.
        asked: texts with the words that are asked about.
        wic: training and test pairs.
        base: the encoder that all arms start from.
        steps, tokens, rate: of each arm.
        untaught: share of the words with a single supersense that no arm is taught; the probe learns from half of them.
        uses: of one word at most.
        transform: see the objective `supersense`.
        strength: of the probes, inverse regularization.
        wic_pairs: to learn from.
    """

    lexicon: str = "lexical/oewn"
    vocabulary: str | None = None
    pieces: int = 8000
    texts: tuple[str, ...] = ("parallel/multi30k/train.en.txt", "parallel/tanaka_enja/train.en.txt")
    asked: tuple[str, ...] = (
        *(f"parallel/multi30k/{part}.en.txt" for part in ("val", "test_2016_flickr", "test_2017_flickr")),
        *(f"parallel/multi30k/{part}.en.txt" for part in ("test_2017_mscoco", "test_2018_flickr")),
        *(f"parallel/tanaka_enja/{part}.en.txt" for part in ("dev", "test")),
    )
    wic: tuple[str, str] = ("lexical/mcl_wic/training.en-en.jsonl", "lexical/mcl_wic/test.en-en.jsonl")
    base: Pretraining = field(default_factory=Pretraining)
    arms: tuple[SenseArm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 600
    tokens: int = 2048
    rate: float = 1e-3
    untaught: float = 0.5
    uses: int = 10
    transform: bool = False
    strength: float = 0.01
    wic_pairs: int = 2000

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        work = _Work(self, given(data), out, say)
        record.keep(out, work.fingerprints())
        log = OutcomeLog(out / "outcomes.jsonl", SenseOutcome)
        done = {(one.seed, one.arm) for one in log.done}
        for seed in self.seeds:
            for taught in ("none", "knowledge", "shuffled"):
                asked = [arm for arm in self.arms if _taught(arm) == taught and (seed, arm) not in done]
                if asked:
                    log.add(list(work.outcomes(seed, taught, asked)))
        return table(log.done)


def _taught(arm: str) -> str:
    return "knowledge" if arm == "muted" else arm


@dataclass(frozen=True, eq=False)
class _Work:
    options: SenseBert
    data: Path
    out: Path
    say: Callable[[str], None]

    def fingerprints(self) -> Mapping[str, str]:
        """Returns what was read, by name."""
        read = [text.text for text in (*self.texts, *self.asked)]
        return {
            "lexicon": self.lexicon.fingerprint(),
            "vocabulary": self.words.fingerprint(),
            "texts": digest(read),
            "untaught": digest(sorted(self.left_out)),
        }

    def outcomes(self, seed: int, taught: str, asked: Sequence[SenseArm]) -> Iterator[SenseOutcome]:
        encoder, objective = self._trained(taught, seed)
        for arm in asked:
            if taught != "none":
                vectors = encoder.extensions["supersense"]
                assert isinstance(vectors, SenseVectors)
                vectors.muted = arm == "muted"
            yield self._judged(arm, seed, encoder, objective if isinstance(objective, Supersense) else None)

    def _judged(self, arm: str, seed: int, encoder: Encoder, objective: Supersense | None) -> SenseOutcome:
        (learned, tested), options = self.questions, self.options
        right = np.array([use.sense for use in tested.uses])
        scores: dict[str, float] = {}
        for name, mask in (("shown", None), ("hidden", self.words.mask)):
            known, asked = (states(encoder, uses, pad=self.words.pad, mask=mask) for uses in (learned, tested))
            probe = fitted(known, np.array([use.sense for use in learned.uses]), options.strength)
            scores[name] = answered(right, probe(asked))
            scores[f"head_{name}"] = float("nan")
            if objective is not None:
                scores[f"head_{name}"] = answered(right, self._by_vectors(encoder, objective, asked))
        scores["wic"], count = self._wic(encoder)
        _, counts = np.unique(right, return_counts=True)
        words = len({use.lemma for use in tested.uses})
        told = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        self.say(f"{arm}, seed {seed}: {told}")
        return SenseOutcome(
            arm, seed, **scores, common=float(counts.max() / len(right)), words=words, n=len(right), pairs=count
        )

    def _by_vectors(self, encoder: Encoder, objective: Supersense, found: np.ndarray) -> Int[np.ndarray, "use"]:
        vectors = encoder.extensions["supersense"]
        assert isinstance(vectors, SenseVectors)
        with torch.no_grad():
            scores = objective.compare(torch.from_numpy(found), vectors.vectors).numpy()
        judged = [name.startswith(("noun.", "verb.")) for name in vectors.senses]
        return np.asarray(np.where(judged, scores, -np.inf).argmax(1))

    def _wic(self, encoder: Encoder) -> tuple[float, int]:
        (learned, same), (tested, right) = self.wic_sets
        known, asked = (pairs(states(encoder, uses, pad=self.words.pad)) for uses in (learned, tested))
        return answered(right, fitted(known, same, self.options.strength)(asked)), len(right)

    def _trained(self, arm: str, seed: int) -> tuple[Encoder, Objective[Encoded]]:
        """Returns the encoder of an arm, trained on; the base's vocabulary head goes on, too."""
        options, place = self.options, self.base
        torch.manual_seed(seed)
        taught = self.lexicon.without(self.left_out)
        if arm == "none":
            encoder = Encoder.from_hf(place)
            mlm = MaskedLanguageModel(encoder.config, tokenizer=self.words, kind="word")
            objective: Objective[Encoded] = mlm
        else:
            taught = taught.shuffled(seed) if arm == "shuffled" else taught
            encoder = Encoder.from_hf(place, extensions=["supersense"])
            vectors = encoder.extensions["supersense"]
            assert isinstance(vectors, SenseVectors)
            vectors.attach(taught.tokens(self.words, encoder.config.vocab_size))
            objective = senses = Supersense(
                encoder.config, tokenizer=self.words, encoder=encoder, lexicon=taught, transform=options.transform
            )
            mlm = senses.mlm
        mlm.head.load_state_dict(hub.head_weights(place))
        optim = Optimization(rate=options.rate, betas=(0.9, 0.98), warmup=0.1)
        train(Learner(encoder, [objective]), objective, self.encoded, options.steps, options.tokens, optim, seed)
        return encoder, objective

    @cached_property
    def words(self) -> Tokenizer:
        options, place = self.options, self.out / "words"
        if options.vocabulary is not None:
            return open_tokenizer(uncompressed(required(self.data, options.vocabulary), self.out / "vocab.txt"))
        if not place.is_dir():
            vocabulary.train(self._lines(options.texts), options.pieces, "wordpiece", lower=True).save(place)
        return open_tokenizer(place)

    @cached_property
    def lexicon(self) -> SenseLexicon:
        return SenseLexicon.from_graph(oewn.read(self.data / self.options.lexicon))

    @cached_property
    def left_out(self) -> set[str]:
        return untaught(self.lexicon, self.options.untaught)

    @cached_property
    def base(self) -> Path:
        """The folder of the encoder that all start from."""
        return pretrain(self.options.base, lambda: [text.text for text in self.texts], self.words, self.out)

    @cached_property
    def encoded(self) -> list[Encoded]:
        return [text for text in self.texts if len(text) > 4]

    @cached_property
    def texts(self) -> list[Encoded]:
        return self._read(self.options.texts)

    @cached_property
    def asked(self) -> list[Encoded]:
        return self._read(self.options.asked)

    def _read(self, paths: Sequence[str]) -> list[Encoded]:
        read = self.words.encode(self._lines(paths), length=self.options.base.length)
        return [text.having(number=number) for number, text in enumerate(read)]

    def _lines(self, paths: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(line for path in paths for line in _sentences(required(self.data, path))))

    @cached_property
    def questions(self) -> tuple[Uses, Uses]:
        """Words that were not taught: those that the probe learns from, and those it is asked about."""
        half = self.options.untaught / 2
        parts = ({one for one in self.left_out if (share_of(one) < half) == first} for first in (True, False))
        learned, tested = (uses_of(self.asked, self.lexicon, part, self.options.uses) for part in parts)
        return learned, tested

    @cached_property
    def wic_sets(self) -> tuple[tuple[Uses, Int[np.ndarray, "pair"]], tuple[Uses, Int[np.ndarray, "pair"]]]:
        learned, tested = (required(self.data, path) for path in self.options.wic)
        length, most = self.options.base.length, self.options.wic_pairs
        return wic(learned, self.words, length, most), wic(tested, self.words, length, most)


def _sentences(path: Path) -> Iterator[str]:
    if ".jsonl" in path.suffixes:
        yield from (article.text for article in read_articles(path))
    elif ".conllu" in path.suffixes:
        yield from (line.removeprefix("# text = ") for _, line in lines(path) if line.startswith("# text = "))
    else:
        yield from (line for _, line in lines(path) if line.strip())


def table(outcomes: Sequence[SenseOutcome]) -> str:
    """Returns means over seeds with 95 % intervals, and differences paired by seed, as Markdown."""
    if not outcomes:
        return "Nothing was asked.\n"
    found = {(one.arm, one.seed): [getattr(one, score) for score in SCORES] for one in outcomes}
    one, seeds = outcomes[0], len({one.seed for one in outcomes})
    said = (
        f"Accuracy, {seeds} seeds: supersense of {one.n:,} uses of {one.words:,} words that were not taught "
        f"(the commonest: {one.common:.3f}), by a probe on frozen states and by the sense vectors; "
        f"{one.pairs:,} pairs of WiC."
    )
    heads = ("word shown", "word hidden", "vectors, shown", "vectors, hidden", "WiC")
    return "\n".join([said, "", *arms_table(found, heads, arms=ARMS, over=("none", "shuffled", "muted"))]) + "\n"
