"""Does it help to tell how two hidden entities are related if the graph's triples about them stand beside (K-BERT)?

    arm         branches at the mentions                what it shows
    none        no                                      what the sentence alone gives
    knowledge   the graph's, without the answers        the same
    tails       tails dealt anew                        what relations' names give: who has an occupation is a person
    shuffled    those of another entity                 what more words at the mentions give, whatever they say
    ablated     the graph's in training, none asked     what the model that learned with them loses without

The words of both mentions are hidden, and the triples that join the two entities of any sentence are taken out of the
graph first. The test asks sentences with an entity in the graph, in part of them ("unseen") one that no training
sentence has. Source: Liu et al. (2020); data, controls and hiding as in ERNIE's study on FewRel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from kelm.batch import Encoded
from kelm.data.files import required
from kelm.evaluation.base import given
from kelm.evaluation.intervals import arms_table
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder
from kelm.text import tokenizer as tokenizers
from kelm.text.tokenizer import Tokenizer
from kelm.training import record
from kg.enrich.branches import Branches, BranchOptions
from kg.enrich.sentence_tree import Grown, SentenceTree
from kg.graph import KnowledgeGraph
from kg.linking.base import Candidate, Mention
from kg.linking.linked_text import RelationText, joining, read_fewrel
from kg.study.base import Pretraining, pretrain, uncompressed
from kg.study.fewrel import english_texts, joined_graph
from kg.study.fine_tuning import FineTuning, answers, fine_tuned
from kg.study.kbert import shuffled_tails
from kg.study.material import Split, encode_examples, fingerprint, split

__all__ = ["KBertFewRel", "KBertRelationArm", "KBertRelationOutcome", "table"]

KBertRelationArm = Literal["none", "knowledge", "tails", "shuffled", "ablated"]
ARMS: tuple[KBertRelationArm, ...] = get_args(KBertRelationArm)
SLICES = ("covered", "unseen")


@dataclass(frozen=True, slots=True)
class KBertRelationOutcome:
    """Accuracy of one arm and seed; `branches` is how many a test sentence has on average."""

    arm: str
    seed: int
    covered: float
    unseen: float
    branches: float
    n: int
    n_unseen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KBertFewRel:
    """The study's options, an evaluation.

    Attributes:
        base: the encoder that all arms start from.
        per_relation: sentences of each relation to learn from.
        length: tokens of a sentence with its branches; `trunk`: without.
        judged: at most so many test sentences.
    """

    base: Pretraining = field(default_factory=Pretraining)
    branches: BranchOptions = field(default_factory=lambda: BranchOptions(most=3, incoming=True))
    arms: tuple[KBertRelationArm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    per_relation: int = 20
    length: int = 160
    trunk: int = 96
    judged: int = 1000
    fine_tune: FineTuning = field(default_factory=lambda: FineTuning(entities=False))

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        work = _Work(self, given(data), out, say)
        record.keep(out, work.fingerprints())
        log = OutcomeLog(out / "outcomes.jsonl", KBertRelationOutcome)
        done = {(one.seed, one.arm) for one in log.done}
        for seed in self.seeds:
            missing = [arm for arm in self.arms if (seed, arm) not in done]
            for taught in dict.fromkeys(_taught(arm) for arm in missing):
                log.add(work.outcomes(taught, [arm for arm in missing if _taught(arm) == taught], seed))
        return table(log.done)


def _taught(arm: KBertRelationArm) -> KBertRelationArm:
    return "knowledge" if arm == "ablated" else arm


@dataclass(frozen=True, eq=False)
class _Work:
    options: KBertFewRel
    data: Path
    out: Path
    say: Callable[[str], None]

    def fingerprints(self) -> Mapping[str, str]:
        """Returns what was read, by name."""
        read = {"graph": self.graph.fingerprint(), "vocabulary": self.words.fingerprint()}
        return {**read, "examples": fingerprint(self.examples)}

    def outcomes(
        self, taught: KBertRelationArm, arms: Sequence[KBertRelationArm], seed: int
    ) -> list[KBertRelationOutcome]:
        """Returns what a classifier that learned in one arm reaches in some."""
        parts = self.parts(seed)
        texts = self.read(parts.train, taught, seed)
        encoder, task = fine_tuned(self.options.fine_tune, self.base, list(texts.values()), self.relations, 0, seed)
        found = []
        for arm in arms:
            asked = self.read(parts.test["covered"], "none" if arm == "ablated" else arm, seed)
            said = answers(encoder, task, asked)
            right = {number: answer == self.examples[number].relation for number, answer in said.items()}
            unseen = [float(right[number]) for number in parts.test["unseen"] if number in right]
            branches = [int(text[Grown].branches) if Grown in text.parts else 0 for text in asked.values()]
            scores = (float(np.mean(list(right.values()))), float(np.mean(unseen or [float("nan")])))
            found.append(KBertRelationOutcome(arm, seed, *scores, float(np.mean(branches)), len(right), len(unseen)))
            self.say(f"{arm}, seed {seed}: covered {scores[0]:.3f}, unseen {scores[1]:.3f}")
        return found

    def parts(self, seed: int) -> Split:
        known = [any(self.graph.entities.find(entity or "") >= 0 for entity in one.entities) for one in self.examples]
        options = self.options
        return split(self.examples, known, options.per_relation, seed, covered=options.judged, uncovered=0)

    def read(self, numbers: Sequence[int], arm: KBertRelationArm, seed: int) -> dict[int, Encoded]:
        """Returns these examples as an arm reads them, without those whose mentions are cut off."""
        examples, options = [self.examples[number] for number in numbers], self.options
        marked = encode_examples(
            examples, self.words, self.relations, lambda name: -1, length=options.trunk, hidden=True
        )
        kept = {number: text for number, text in zip(numbers, marked, strict=True) if text is not None}
        if arm == "none":
            return kept
        graph = shuffled_tails(self.graph, seed) if arm == "tails" else self.graph
        tree = SentenceTree(
            Branches(graph, self.words, options.branches), options.length, options.length, options.branches.most
        )
        meant = self._dealt(seed) if arm == "shuffled" else {}
        mentions = [[_meaning(one, meant) for one in self.examples[number].mentions] for number in kept]
        return dict(zip(kept, tree.grow_all(list(kept.values()), mentions), strict=True))

    def _dealt(self, seed: int) -> Mapping[str, str]:
        """Returns for each entity that has branches another one that has."""
        graph, tells = self.graph, [self.graph.heads]
        if self.options.branches.incoming:
            tells.append(graph.tails)
        told = np.unique(np.concatenate(tells))
        dealt = np.random.default_rng(seed).permutation(told)
        return {
            graph.entities[one]: graph.entities[other] for one, other in zip(told.tolist(), dealt.tolist(), strict=True)
        }

    @cached_property
    def examples(self) -> Sequence[RelationText]:
        return list(read_fewrel(required(self.data, "linked_text/fewrel/val_wiki.json")))

    @cached_property
    def relations(self) -> list[str]:
        return sorted({example.relation for example in self.examples})

    @cached_property
    def graph(self) -> KnowledgeGraph:
        """X-FACTR and CoDEx without the triples that join the entities of a sentence."""
        graph = joined_graph(self.data)
        answered = joining(graph, self.examples)
        self.say(f"graph: {len(graph):,} triples, {len(answered)} with answers taken out")
        return graph.without(answered)

    @cached_property
    def words(self) -> Tokenizer:
        pieces = required(self.data, "vocab/bert_uncased_en_vocab.txt")
        return tokenizers.open(self.options.base.hf or uncompressed(pieces, self.out / "vocab.txt"))

    @cached_property
    def base(self) -> Encoder:
        """The encoder that all start from."""
        base = self.options.base
        return Encoder.from_hf(pretrain(base, self._read_first, self.words, self.out, show=True))

    def _read_first(self) -> list[str]:
        return list(dict.fromkeys(english_texts(self.data)))


def _meaning(mention: Mention, meant: Mapping[str, str]) -> Mention:
    """Returns the mention with another entity, if it is dealt one."""
    other = meant.get(mention.entity or "")
    return mention if other is None else replace(mention, candidates=(Candidate(other, 1.0),))


def table(outcomes: Sequence[KBertRelationOutcome]) -> str:
    """Returns means over seeds with 95 % intervals, and differences paired by seed, as Markdown."""
    found = {(one.arm, one.seed): [one.covered, one.unseen] for one in outcomes}
    branches = {arm: float(np.mean([one.branches for one in outcomes if one.arm == arm])) for arm, _ in found}
    told = ", ".join(f"{arm} {count:.1f}" for arm, count in branches.items())
    counts = [sorted({getattr(one, name) for one in outcomes}) for name in ("n", "n_unseen")]
    said = " and ".join(f"{_range(some)} {name}" for some, name in zip(counts, SLICES, strict=True))
    seeds = len({one.seed for one in outcomes})
    lines = arms_table(found, SLICES, arms=ARMS, over=("none", "tails", "shuffled", "ablated"))
    return "\n".join([f"Accuracy on {said} sentences, {seeds} seeds. Branches: {told}.", "", *lines]) + "\n"


def _range(counts: Sequence[int]) -> str:
    return f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
