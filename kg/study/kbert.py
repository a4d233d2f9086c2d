"""Does it help a classifier of texts to read a graph's triples beside their mentions (K-BERT)?

    arm         branches in training    in the test    what it shows
    none        no                      no             what the text alone gives
    knowledge   the graph's             the same
    shuffled    tails dealt anew        the same       what more words at the mentions give, whatever they say
    ablated     the graph's             no             what the model that learned with them loses without

All arms of a seed start from the same encoder, trained on text alone, with the same head, examples and order.
Source: Liu et al. (2020), section 4; the controls are ours.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.data.files import beside, required
from kelm.data.labeled_text import Label, labeled_text
from kelm.evaluation.base import given
from kelm.evaluation.intervals import mean
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder
from kelm.tasks.classification import TextClassification
from kelm.text.tokenizer import Tokenizer
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training import record
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kg import io
from kg.enrich.branches import Branches, BranchOptions
from kg.enrich.sentence_tree import Grown, SentenceTree
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.study.base import Pretraining, Room, pretrain, text_file, uncompressed
from kg.study.fine_tuning import train

__all__ = ["KBert", "KBertArm", "KBertOutcome", "TextSet", "shuffled_tails", "table"]

KBertArm = Literal["none", "knowledge", "shuffled", "ablated"]
ARMS: tuple[KBertArm, ...] = get_args(KBertArm)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSet:
    """Labeled texts, as the corpus `labeled_text` reads them; paths lie in the folder of data.

    Attributes:
        train, test: the tables.
        train_only, test_only: see `labeled_text`'s `only`.
        labels: their names.
    """

    train: str
    test: str
    labels: tuple[str, ...]
    text: str = "text"
    label: str = "label"
    train_only: Mapping[str, str] = field(default_factory=dict)
    test_only: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KBertOutcome:
    """One score; `branches` is how many a test text has on average, `mentions` likewise."""

    arm: str
    size: int
    seed: int
    accuracy: float
    macro_f1: float
    mentions: float
    branches: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KBert:
    """The study's options, an evaluation; by default Chinese reviews with HowNet's triples.

    Attributes:
        texts: what is classified.
        graph: sources of `kelm graph build` in the folder of data, read together.
        vocabulary: a list of word pieces in the folder of data.
        mono: text files that the encoder is trained on first, beside the texts to learn from.
        sizes: how many texts are learned from.
        length: tokens of a text with its branches; `trunk`: without.
        passes, examples, rate: of fine-tuning.
        test: at most so many texts are judged.
    """

    texts: TextSet = field(
        default_factory=lambda: TextSet(
            train="classification/zh_chnsenticorp/train.tsv",
            test="classification/zh_chnsenticorp/test.tsv",
            text="text_a",
            labels=("0", "1"),
        )
    )
    graph: tuple[str, ...] = ("kg/spo_zh/HowNet.spo",)
    vocabulary: str = "vocab/bert_zh_vocab.txt"
    mono: tuple[str, ...] = ("mono/zh_cluecorpussmall_sample.txt",)
    branches: BranchOptions = field(default_factory=lambda: BranchOptions(language="zh"))
    base: Pretraining = field(default_factory=Pretraining)
    sizes: tuple[int, ...] = (200, 2000)
    arms: tuple[KBertArm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    length: int = 160
    trunk: int = 96
    steps: int = 100
    passes: float = 4.0
    examples: int = 16
    rate: float = 3e-4
    test: int = 1000

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        work = _Work(self, given(data), out, say)
        record.keep(out, work.fingerprints())
        log = OutcomeLog(out / "outcomes.jsonl", KBertOutcome)
        done = {(one.seed, one.size, one.arm) for one in log.done}
        for seed in self.seeds:
            for size in self.sizes:
                if arms := [arm for arm in self.arms if (seed, size, arm) not in done]:
                    log.add(list(work.outcomes(seed, size, arms)))
        return table(log.done)


@dataclass(frozen=True, eq=False)
class _Work:
    options: KBert
    data: Path
    out: Path
    say: Callable[[str], None]

    def fingerprints(self) -> Mapping[str, str]:
        """Returns what was read, by name."""
        texts = [[text.text, int(text[Label].label[0])] for text in (*self.train, *self.test)]
        return {"graph": self.graph.fingerprint(), "vocabulary": self.words.fingerprint(), "texts": digest(texts)}

    def outcomes(self, seed: int, size: int, arms: Sequence[KBertArm]) -> Sequence[KBertOutcome]:
        random = np.random.default_rng((seed, size))
        chosen = sorted(random.choice(len(self.train), min(size, len(self.train)), replace=False).tolist())
        judged = self.test if len(self.test) <= self.options.test else self.test[: self.options.test]
        found: list[KBertOutcome] = []
        trained: dict[str, Learner] = {}
        for arm in arms:
            taught, asked = ("knowledge", "none") if arm == "ablated" else (arm, arm)
            tree = self._tree(taught, seed)
            if taught not in trained:
                trained[taught] = self._trained(self.grown([self.train[n] for n in chosen], tree), seed)
            texts = self.grown(judged, tree if asked == taught else None)
            scores = HeldOut({"classification": texts}, tokens=8192)(trained[taught])
            accuracy, macro = scores["classification/accuracy"], scores["classification/macro_f1"]
            mentions, branches = (_average(texts, name) for name in ("mentions", "branches"))
            found.append(KBertOutcome(arm, size, seed, accuracy, macro, mentions, branches, len(texts)))
            self.say(f"{arm}, {size} texts, seed {seed}: accuracy {accuracy:.3f}")
        return found

    def grown(self, texts: Sequence[Encoded], tree: SentenceTree | None) -> list[Encoded]:
        """Returns the texts as an arm with this tree reads them."""
        if tree is None:
            return list(texts)
        return tree.grow_all(texts, self.linker.link_all([text.text for text in texts]))

    def _tree(self, arm: str, seed: int) -> SentenceTree | None:
        if arm == "none":
            return None
        graph, options = self.graph if arm == "knowledge" else shuffled_tails(self.graph, seed), self.options
        branches = Branches(graph, self.words, options.branches)
        return SentenceTree(branches, options.length, options.length, options.branches.most)

    def _trained(self, texts: Sequence[Encoded], seed: int) -> Learner:
        options = self.options
        torch.manual_seed(seed)
        encoder = copy.deepcopy(self.base)
        task = TextClassification(encoder.config, labels=options.texts.labels, states=("mean",), encoder=encoder)
        learner = Learner(encoder, [task])
        steps = max(options.steps, round(options.passes * len(texts) / options.examples))
        tokens = options.examples * sum(map(len, texts)) // len(texts)
        train(learner, task, texts, steps, tokens, Optimization(rate=options.rate, warmup=0.1), seed)
        return learner

    @cached_property
    def words(self) -> Tokenizer:
        return open_tokenizer(uncompressed(required(self.data, self.options.vocabulary), self.out / "vocab.txt"))

    @cached_property
    def graph(self) -> KnowledgeGraph:
        builder = GraphBuilder()
        for source in self.options.graph:
            io.feed(builder, beside(self.data, source) or self.data / source)
        return builder.build()

    @cached_property
    def linker(self) -> AliasLinker:
        return AliasLinker.from_graph(self.graph, {self.options.branches.language, ""})

    @cached_property
    def base(self) -> Encoder:
        """The encoder that all start from."""
        base = pretrain(self.options.base, self._read_first, self.words, self.out)
        return Encoder.from_hf(base, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)

    def _read_first(self) -> list[str]:
        files = [str(required(self.data, path)) for path in self.options.mono]
        lines = [text.text for path in files for text, _ in text_file(path).stream()]
        return [*lines, *(text.text for text in self.train)]

    @cached_property
    def train(self) -> list[Encoded]:
        return self._read(self.options.texts.train, self.options.texts.train_only)

    @cached_property
    def test(self) -> list[Encoded]:
        return self._read(self.options.texts.test, self.options.texts.test_only)

    def _read(self, path: str, only: Mapping[str, str]) -> list[Encoded]:
        texts = self.options.texts
        corpus = labeled_text(
            str(required(self.data, path)),
            labels=texts.labels,
            tokenizer=self.words,
            config=Room(self.options.trunk),
            text=texts.text,
            label=texts.label,
            only=dict(only) or None,
        )
        return [text for text, _ in corpus.stream()]


def _average(texts: Sequence[Encoded], name: str) -> float:
    return float(np.mean([int(getattr(text[Grown], name)) if Grown in text.parts else 0 for text in texts]))


def shuffled_tails(graph: KnowledgeGraph, seed: int) -> KnowledgeGraph:
    """Returns the graph with the tails of each relation dealt anew among its triples: other facts of the same entities.

    Where a triple would come twice or lead from an entity to itself, two tails change places, in up to twenty rounds;
    the few that are left are dropped.
    """
    random = np.random.default_rng(seed)
    triples = graph.triples()
    for relation in range(graph.relation_count):
        [rows] = np.nonzero(triples[:, 1] == relation)
        heads, tails = triples[rows, 0], triples[random.permutation(rows), 2]
        for _ in range(20):
            wrong = _wrong(heads, tails)
            if not len(wrong):
                break
            others = random.integers(len(rows), size=len(wrong))
            for one, other in zip(wrong.tolist(), others.tolist(), strict=True):
                tails[one], tails[other] = tails[other], tails[one]
        triples[rows, 2] = tails
    return graph.with_triples(triples[triples[:, 0] != triples[:, 2]])


def _wrong(heads: Int[np.ndarray, "triple"], tails: Int[np.ndarray, "triple"]) -> Int[np.ndarray, "wrong"]:
    """Returns the triples of a relation that lead back, or that came before."""
    _, first = np.unique(np.stack((heads, tails), axis=1), axis=0, return_index=True)
    again = np.ones(len(heads), bool)
    again[first] = False
    return np.flatnonzero(again | (heads == tails))


def table(outcomes: Sequence[KBertOutcome]) -> str:
    """Returns means over seeds with 95 % intervals, and differences paired by seed, as Markdown."""
    sizes = sorted({one.size for one in outcomes})
    scores = {(one.arm, one.size, one.seed): one for one in outcomes}
    seeds = sorted({one.seed for one in outcomes})
    asked = max((one.n for one in outcomes), default=0)
    lines = [f"Accuracy on {asked:,} texts, {len(seeds)} seeds.", ""]
    lines += ["| arm | mentions | branches |" + "".join(f" {size:,} texts |" for size in sizes)]
    lines += ["|---|---|---|" + "---|" * len(sizes)]
    for arm in [arm for arm in ARMS if any(one.arm == arm for one in outcomes)]:
        of_arm = [one for one in outcomes if one.arm == arm]
        counts = [f"{np.mean([getattr(one, name) for one in of_arm]):.1f}" for name in ("mentions", "branches")]
        cells = [str(mean([one.accuracy for one in of_arm if one.size == size])) for size in sizes]
        lines.append(f"| {arm} | {' | '.join([*counts, *cells])} |")
    for over in ("none", "shuffled", "ablated"):
        pairs = [
            [
                scores["knowledge", size, seed].accuracy - scores[over, size, seed].accuracy
                for seed in seeds
                if {("knowledge", size, seed), (over, size, seed)} <= scores.keys()
            ]
            for size in sizes
        ]
        if all(pairs):
            lines.append(f"| knowledge - {over} | | | {' | '.join(mean(one).signed() for one in pairs)} |")
    return "\n".join(lines) + "\n"
