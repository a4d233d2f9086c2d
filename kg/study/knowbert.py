"""Does it help an encoder to look at what its spans may name (KnowBert)?

    arm         the vectors of the candidates         what it shows
    none        no knowledge attention at all         what the text alone gives
    knowledge   the graph's                           the same
    shuffled    dealt anew among the entities         what candidates and their priors give, whatever is known of them
    random      random ones                           the same, without the vectors' geometry
    ablated     the graph's, muted in the test        what the encoder that learned with them loses without

All arms of a seed start from the same encoder, learn from the same linked texts, first the linker alone, then
everything, and are fine-tuned on the same examples. Source: Peters et al. (2019), sections 3.4 and 4; the controls are
ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from kelm.batch import Encoded
from kelm.evaluation.base import given
from kelm.evaluation.intervals import arms_table
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, hub
from kelm.objectives.base import Objective
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.tasks.base import Scores
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kg.embeddings.table import EntityTable
from kg.enrich.candidates import CandidateFinder, candidate_finder
from kg.fusion.knowledge_attention import KnowledgeAttention
from kg.linking.base import Mentions
from kg.linking.candidate_spans import NONE, KnowledgeSpans, Spans
from kg.linking.linked_text import LinkedText, RelationText, encode
from kg.objectives.masked_candidates import MaskedCandidates
from kg.study.fewrel import FewRel, joined_graph, material
from kg.study.fine_tuning import FineTuning, answers, fine_tuned, train
from kg.study.linking_data import fewrel_part
from kg.study.material import controlled, encode_examples
from kg.study.run import Material
from kg.tasks.linking import EntityLinking, SpanAnswer, known_mentions, linking_scores
from kg.tasks.relations import RelationClassification

__all__ = ["KnowBert", "KnowBertArm", "KnowBertOutcome", "by_prior", "table"]

KnowBertArm = Literal["none", "knowledge", "shuffled", "random", "ablated"]
ARMS: tuple[KnowBertArm, ...] = get_args(KnowBertArm)
BASE, EXTENSION = "graph", "knowledge_attention"
LINKER_ONLY = {f"encoder.extensions.{EXTENSION}.bases.*.linker.*": 1.0, "*": 0.0}
MEASURES = ("precision", "recall", "f1", "hits_at_1", "hits_at_10")


@dataclass(frozen=True, slots=True)
class KnowBertOutcome:
    """What one arm and seed reached; scores of linking are nan where nothing links.

    Attributes:
        masked: loss of masked words in held-out texts.
        precision, recall, f1, hits_at_1, hits_at_10: of the links of held-out sentences.
        unseen_f1: F1 where no entity of the sentence was linked in training.
        accuracy: of relations, from few examples.
    """

    arm: str
    seed: int
    masked: float
    precision: float
    recall: float
    f1: float
    hits_at_1: float
    hits_at_10: float
    unseen_f1: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowBert:
    """The study's options, an evaluation.

    Attributes:
        material: graph, vectors and the encoder to start from, as in ERNIE's study.
        linker: options of the knowledge base, see `KnowledgeBase`.
        linker_steps, linker_rate: of the first stage, in which only the linker learns.
        steps, rate: of the second, in which everything does; in the arm "none" both stages train everything.
        tokens: of a batch.
        length: tokens of a text.
        per_relation: training examples of each relation.
        hidden: the words of head and tail are hidden when relations are told, their candidates are not: only the graph
            can tell who they are.
        judged: at most so many held-out sentences are classified, those with an entity in the graph.
    """

    material: FewRel = field(default_factory=lambda: FewRel(linked_by_name=0))
    linker: Mapping[str, Any] = field(default_factory=lambda: {"inner": 256})
    arms: tuple[KnowBertArm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    linker_steps: int = 100
    linker_rate: float = 1e-3
    steps: int = 250
    rate: float = 5e-4
    tokens: int = 2048
    length: int = 96
    per_relation: int = 20
    hidden: bool = True
    judged: int = 1500
    fine_tune: FineTuning = field(default_factory=lambda: FineTuning(entities=False))

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        work = _Work(self, given(data), out, say)
        log = OutcomeLog(out / "outcomes.jsonl", KnowBertOutcome)
        for seed in self.seeds:
            missing = [arm for arm in self.arms if (seed, arm) not in {(one.seed, one.arm) for one in log.done}]
            for taught in dict.fromkeys(_taught(arm) for arm in missing):
                learner = work.trained(taught, seed)
                log.add(list(work.outcomes(learner, [arm for arm in missing if _taught(arm) == taught], seed)))
        return table(log.done, work.prior)


def _taught(arm: KnowBertArm) -> KnowBertArm:
    return "knowledge" if arm == "ablated" else arm


@dataclass(frozen=True, eq=False)
class _Work:
    options: KnowBert
    data: Path
    out: Path
    say: Callable[[str], None]

    def trained(self, arm: KnowBertArm, seed: int) -> Learner:
        """Returns the encoder and the head of an arm after both stages."""
        self.say(f"{arm}, seed {seed}: learning from {len(self.learned):,} texts")
        options, base = self.options, self.material.base
        torch.manual_seed(seed)
        encoder = Encoder.from_hf(base) if arm == "none" else self._knowing(arm, seed)
        made: dict[str, Any] = {"tokenizer": self.material.tokenizer}
        objective: Objective[Encoded]
        if arm == "none":
            objective = mlm = MaskedLanguageModel(encoder.config, kind="word", **made)
        else:
            objective = MaskedCandidates(encoder.config, encoder=encoder, mlm={"kind": "word"}, **made)
            mlm = objective.mlm
        mlm.head.load_state_dict(hub.head_weights(base))
        steps = options.steps + (options.linker_steps if arm == "none" else 0)
        optim = Optimization(rate=options.rate, warmup=0.1)
        learner = Learner(encoder, [objective])
        train(learner, objective, self.learned, steps, options.tokens, optim, seed)
        return learner

    def _knowing(self, arm: KnowBertArm, seed: int) -> Encoder:
        """Returns the base encoder with knowledge attention whose linker has learned."""
        options, vectors = self.options, _vectors(self.material.table, arm, seed)
        known = {**options.linker, "width": vectors.width, "entities": len(vectors)}
        encoder = Encoder.from_hf(self.material.base, extensions={EXTENSION: {"bases": {BASE: known}}})
        extension = encoder.extensions[EXTENSION]
        assert isinstance(extension, KnowledgeAttention)
        extension.attach(BASE, vectors)
        if options.linker_steps:
            task = EntityLinking(encoder.config, encoder=encoder)
            optim = Optimization(rate=options.linker_rate, warmup=0.1, factors=LINKER_ONLY)
            train(Learner(encoder, [task]), task, self.learned, options.linker_steps, options.tokens, optim, seed)
        return encoder

    def outcomes(self, learner: Learner, arms: Sequence[KnowBertArm], seed: int) -> Iterator[KnowBertOutcome]:
        """Yields what a trained encoder reaches in arms that differ in what is muted."""
        [objective], encoder = learner.objectives, learner.eval().encoder
        tuned, task = self._tuned(encoder, seed)
        for arm in arms:
            for one in (encoder, tuned):
                one.mute(*([EXTENSION] if arm == "ablated" else []))
            masked = HeldOut({objective: [*self.told, *self.held_out]})(learner)
            links, unseen = (self._links(encoder, arm, texts) for texts in (self.told, self.unseen))
            said = answers(tuned, task, dict(enumerate(text for _, text in self.asked)))
            right = sum(said[number] == example.relation for number, (example, _) in enumerate(self.asked))
            found = KnowBertOutcome(
                arm=arm,
                seed=seed,
                masked=masked[f"{objective}/loss"],
                **{name: links.get(name, math.nan) for name in MEASURES},
                unseen_f1=unseen.get("f1", math.nan),
                accuracy=right / len(self.asked),
            )
            self.say(f"{arm}, seed {seed}: masked {found.masked:.3f}, F1 {found.f1:.3f}, accuracy {found.accuracy:.3f}")
            yield found

    def _links(self, encoder: Encoder, arm: KnowBertArm, texts: Sequence[Encoded]) -> Scores:
        if arm in ("none", "ablated"):
            return {}
        task = EntityLinking(encoder.config, encoder=encoder)
        scores = HeldOut({task.name: texts})(Learner(encoder, [task]).eval())
        return {name.partition("/")[2]: score for name, score in scores.items()}

    def _tuned(self, encoder: Encoder, seed: int) -> tuple[Encoder, RelationClassification]:
        """Returns a classifier of relations that learned from a few examples of each."""
        random, few = np.random.default_rng(seed), self.options.per_relation
        relations = sorted({example.relation for example, _ in self.taught})
        texts: list[Encoded] = []
        for relation in relations:
            of_relation = [text for example, text in self.taught if example.relation == relation]
            chosen = random.choice(len(of_relation), min(few, len(of_relation)), replace=False)
            texts += [of_relation[number] for number in chosen.tolist()]
        return fine_tuned(self.options.fine_tune, encoder, texts, relations, 0, seed)

    @cached_property
    def material(self) -> Material:
        made = material(self.options.material, self.data, self.out, say=self.say)
        if not (self.out / "graph").is_dir():
            joined_graph(self.data).save(self.out / "graph")
        return made

    @cached_property
    def prior(self) -> Mapping[str, float]:
        """How well the priors alone link."""
        return {**by_prior(self.told), "unseen_f1": by_prior(self.unseen)["f1"]}

    @cached_property
    def finder(self) -> CandidateFinder:
        """Finds the candidates of any text; the same for all arms."""
        table, graph = str(self.out / "vectors"), str(self.out / "graph")
        return candidate_finder(BASE, table=table, graph=graph, languages=["en"], most=8, known="mentions")

    def spanned(self, texts: Sequence[LinkedText | RelationText]) -> list[Encoded]:
        """Returns texts with their mentions and candidate spans."""
        linked = [LinkedText(one.text, one.mentions, one.origin) for one in texts]
        return self.finder(encode(linked, self.material.tokenizer, self.finder.rows, length=self.options.length))

    @cached_property
    def articles(self) -> tuple[Sequence[LinkedText], Sequence[LinkedText]]:
        """ERNIE's articles to learn from, and those that are held out."""
        texts = self.material.texts
        return texts[: -len(texts) // 10], texts[-len(texts) // 10 :]

    @cached_property
    def learned(self) -> list[Encoded]:
        return self.spanned([*self.articles[0], *fewrel_part(self.data, "train")])

    @cached_property
    def held_out(self) -> list[Encoded]:
        return self.spanned(self.articles[1])

    @cached_property
    def judged(self) -> list[tuple[RelationText, Encoded]]:
        """FewRel's held-out sentences with an entity in the graph."""
        texts = [text for text in fewrel_part(self.data, "test") if self._known(text)][: self.options.judged]
        return list(zip(texts, self.spanned(texts), strict=True))

    @cached_property
    def told(self) -> list[Encoded]:
        """Sentences whose links are judged."""
        return [text for _, text in self.judged]

    @cached_property
    def unseen(self) -> list[Encoded]:
        """Those whose entities were not linked in any text to learn from."""
        met = {row for text in self.learned for row in text[Mentions].entity.tolist()}
        return [text for text in self.told if not met & {row for row in text[Mentions].entity.tolist() if row >= 0}]

    @cached_property
    def taught(self) -> list[tuple[RelationText, Encoded]]:
        return self._marked([text for text in fewrel_part(self.data, "train") if self._known(text)])

    @cached_property
    def asked(self) -> list[tuple[RelationText, Encoded]]:
        return self._marked([text for text, _ in self.judged])

    def _marked(self, texts: Sequence[RelationText]) -> list[tuple[RelationText, Encoded]]:
        """Returns sentences with head and tail marked, without those that are cut off; no links are told."""
        options, relations = self.options, self.material.relations
        marked = encode_examples(
            texts,
            self.material.tokenizer,
            relations,
            lambda name: -1,
            length=options.length,
            hidden=options.hidden,
        )
        kept = [(example, text) for example, text in zip(texts, marked, strict=True) if text is not None]
        return list(zip((one for one, _ in kept), self.finder([text for _, text in kept]), strict=True))

    def _known(self, text: RelationText) -> bool:
        return any(self.finder.rows(entity or "") >= 0 for entity in text.entities)


def _vectors(table: EntityTable, arm: KnowBertArm, seed: int) -> EntityTable:
    return controlled(table, arm, seed) if arm == "shuffled" or arm == "random" else table


def by_prior(texts: Sequence[Encoded], base: str = BASE) -> Scores:
    """Returns the scores of whoever always takes the most frequent candidate, and longer names before others."""
    known = [list(known_mentions(text, base)) for text in texts]
    return linking_scores(known, [_most_frequent(text[KnowledgeSpans][base]) for text in texts])


def _most_frequent(spans: Spans) -> list[SpanAnswer]:
    places = zip(spans.first.tolist(), spans.last.tolist(), spans.entity.tolist(), strict=True)
    return [SpanAnswer(first, last, tuple(row for row in rows if row != NONE)) for first, last, rows in places]


def table(outcomes: Sequence[KnowBertOutcome], prior: Mapping[str, float]) -> str:
    """Returns means over seeds with 95 % intervals, and differences paired by seed, as Markdown.

    Args:
        prior: scores of links by the prior alone.
    """
    names = ("masked", *MEASURES, "unseen_f1", "accuracy")
    found = {(one.arm, one.seed): [getattr(one, name) for name in names] for one in outcomes}
    told = " | ".join(f"{prior[name]:.3f}" if name in prior else "" for name in names)
    head, rule, *lines = arms_table(found, names, arms=ARMS, over=("none", "shuffled", "random", "ablated"))
    said = f"{len({one.seed for one in outcomes})} seeds; links and relations of FewRel's held-out sentences."
    return "\n".join([said, "", head, rule, f"| most frequent | {told} |", *lines]) + "\n"
