"""Does it help to learn a graph's triples by the texts of its entities (KEPLER, SimKGC), and what does it cost?

    arm          learns                                     what it shows
    none         masked words                               what texts say of one another anyhow
    knowledge    masked words and the triples (InfoNCE)
    kepler       the same with KEPLER's loss
    shuffled     the triples with tails dealt anew          what learning from such texts gives, whatever they say
    frequency    how often a relation has an answer         the floor
    transe       vectors of entities, no text               transductive only: it knows nothing of new entities

Entities that are held out occur in no triple to learn from. Triples with one are asked inductively, test triples
without transductively; both are ranked among all entities, seen and unseen, filtered with all triples. Beside it, the
loss of masked words.

Source: Wang et al. (2021), sections 5.2 and 5.3, Wang et al. (2022), section 4; the controls are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Int64

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, InMemory, digest
from kelm.data.files import required
from kelm.data.stream import BatchStream
from kelm.evaluation.base import given
from kelm.evaluation.intervals import arms_table
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, hub
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.tokenizer import Tokenizer
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training import record
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from kg.embeddings.ranking import Rankable, metrics, ranks
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.train import train as embed
from kg.enrich.described_triples import DescribedTriples
from kg.graph import KnowledgeGraph
from kg.linking.entity_text import EntityText, EntityTextOptions
from kg.linking.triple_text import TripleText
from kg.objectives.knowledge_embedding import KnowledgeEmbedding
from kg.objectives.triple_batch import RelationUse
from kg.study.base import Pretraining, pretrain, text_file, uncompressed
from kg.study.frequency import Frequency
from kg.study.kbert import shuffled_tails
from kg.study.kepler_data import SETTINGS, Parted, described_graph, parted
from kg.tasks.completion import described_embedding

__all__ = ["Kepler", "KeplerArm", "KeplerOutcome", "table"]

KeplerArm = Literal["frequency", "transe", "none", "knowledge", "kepler", "shuffled"]
ARMS: tuple[KeplerArm, ...] = get_args(KeplerArm)
_EVERY = 20  # one text in so many is held out
_TEXTS = EntityTextOptions(types=0, neighbors=0)


@dataclass(frozen=True, slots=True)
class KeplerOutcome:
    """Figures of one arm and seed in one setting; `tails` are of tails alone, the others of both sides.

    Attributes:
        masked: loss of masked words in held-out texts; nan where no text is read.
        n: test triples.
    """

    arm: str
    seed: int
    setting: str
    mrr: float
    hits_at_1: float
    hits_at_10: float
    tails: float
    tails_at_10: float
    masked: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kepler:
    """The study's options, an evaluation. Paths lie in the folder of data.

    Attributes:
        graph: folder with train.txt, valid.txt and test.txt; in it `entities` and `relations`, see `described_graph`.
        frequent: so many entities, those with most training triples, and the triples between them; None: all.
        mono: text files to read beside the entities' texts.
        held_out: share of the entities that no triple to learn from has.
        judged: at most so many test triples of each setting.
        steps, tokens, rate: of each arm; tokens of a batch of texts, `triple_tokens` of one of triples.
        length: tokens of an entity's text, and of a question.
        relation, popularity: of the arms with InfoNCE, see `KnowledgeEmbedding`.
        transe: the baseline without text.
    """

    graph: str = "kg/fb15k237"
    entities: str = "entities.jsonl"
    relations: str = "relation2text.txt"
    frequent: int | None = 3000
    vocabulary: str = "vocab/bert_uncased_en_vocab.txt"
    mono: tuple[str, ...] = ("kg/codex/type_extracts.en.jsonl",)
    base: Pretraining = field(default_factory=lambda: Pretraining(steps=1500, length=64))
    arms: tuple[KeplerArm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    held_out: float = 0.1
    judged: int = 1500
    steps: int = 350
    tokens: int = 768
    triple_tokens: int = 16384
    rate: float = 1e-3
    length: int = 20
    relation: RelationUse = "table"
    popularity: bool = True
    transe: EmbeddingRecipe = field(default_factory=lambda: EmbeddingRecipe(epochs=20))

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        work = _Work(self, given(data), out, say)
        record.keep(out, work.fingerprints())
        log = OutcomeLog(out / "outcomes.jsonl", KeplerOutcome)
        done = {(one.seed, one.arm) for one in log.done}
        for seed in self.seeds:
            for arm in self.arms:
                if (seed, arm) not in done:
                    log.add(list(work.outcomes(arm, seed)))
        return table(log.done)


@dataclass(frozen=True, eq=False)
class _Work:
    options: Kepler
    data: Path
    out: Path
    say: Callable[[str], None]

    def fingerprints(self) -> Mapping[str, str]:
        """Returns what was read, by name."""
        words = self.words.fingerprint()
        return {"graph": self.graph.fingerprint(), "vocabulary": words, "texts": digest(self.texts)}

    def outcomes(self, arm: KeplerArm, seed: int) -> Iterator[KeplerOutcome]:
        """Yields the figures of both settings."""
        embedding, masked = self._embedding(arm, seed)
        for setting in SETTINGS if arm != "transe" else SETTINGS[:1]:
            asked = self.parts.asked[setting]
            if not len(asked):
                continue
            found = ranks(embedding, asked, filter=self.graph)
            both, tails = metrics(found), metrics(found, side="tail")
            figures = (both["mrr"], both["hits@1"], both["hits@10"], tails["mrr"], tails["hits@10"])
            self.say(f"{arm}, seed {seed}, {setting}: MRR {both['mrr']:.3f}, tails {tails['mrr']:.3f}")
            yield KeplerOutcome(arm, seed, setting, *figures, masked, len(asked))

    def _embedding(self, arm: KeplerArm, seed: int) -> tuple[Rankable, float]:
        options, learned = self.options, self.graph.with_triples(self.parts.learned)
        if arm == "frequency":
            return Frequency(learned), float("nan")
        if arm == "transe":
            return embed(learned, replace(options.transe, seed=seed)), float("nan")
        taught = shuffled_tails(learned, seed) if arm == "shuffled" else learned
        learner, objective = self._trained(None if arm == "none" else taught, arm, seed)
        encoder = learner.eval().encoder
        assert isinstance(encoder, Encoder)
        masked = HeldOut({"mlm": self.encoded[::_EVERY]})(learner)["mlm/loss"]
        texts = TripleText(EntityText(self.graph, _TEXTS), self.words, options.length)
        return described_embedding(objective.eval(), encoder, texts, relations=list(learned.relation_names)), masked

    def _trained(self, graph: KnowledgeGraph | None, arm: KeplerArm, seed: int) -> tuple[Learner, KnowledgeEmbedding]:
        """Returns the encoder after learning; the objective has learned nothing where there is no graph."""
        options = self.options
        torch.manual_seed(seed)
        encoder = Encoder.from_hf(self.base)
        mlm = MaskedLanguageModel(encoder.config, tokenizer=self.words, kind="word")
        mlm.head.load_state_dict(hub.head_weights(self.base))
        how: dict[str, Any] = {"loss": "kepler", "relation": "table"}
        if arm != "kepler":
            how = {"loss": "infonce", "relation": options.relation, "popularity": options.popularity}
        objective = KnowledgeEmbedding(encoder.config, relations=self.graph.relation_count, state="mean", **how)
        objectives: list[Any] = [mlm]
        kept = [text for number, text in enumerate(self.encoded) if number % _EVERY]
        streams: dict[str, Any] = {mlm.name: _stream(InMemory(kept), mlm.collate, options.tokens, seed)}
        if graph is not None:
            mixed = graph.with_triples(np.random.default_rng(seed).permutation(graph.triples()))
            corpus = DescribedTriples(
                mixed, self.words, texts=_TEXTS, length=options.length, relation=objective.relation, negatives=0
            )
            objectives.append(objective)
            streams[objective.name] = _stream(corpus, objective.collate, options.triple_tokens, seed)
        learner = Learner(encoder, objectives)
        optim = Optimization(rate=options.rate, betas=(0.9, 0.98), warmup=0.1)
        train_unsaved(learner, streams, options.steps, optim, seed)
        return learner, objective

    @cached_property
    def words(self) -> Tokenizer:
        return open_tokenizer(uncompressed(required(self.data, self.options.vocabulary), self.out / "vocab.txt"))

    @cached_property
    def _read(self) -> tuple[KnowledgeGraph, Mapping[str, Int64[np.ndarray, "triple 3"]]]:
        options = self.options
        folder = self.data / options.graph
        return described_graph(folder, options.entities, options.relations, frequent=options.frequent)

    @property
    def graph(self) -> KnowledgeGraph:
        """All triples, with the texts of all entities."""
        return self._read[0]

    @cached_property
    def parts(self) -> Parted:
        triples, options = self._read[1], self.options
        found = parted(self.graph, triples["train"], triples["test"], options.held_out, options.judged)
        told = ", ".join(f"{len(some):,} {setting}" for setting, some in found.asked.items())
        self.say(f"{len(found.learned):,} triples to learn from; asked: {told}")
        return found

    @cached_property
    def texts(self) -> list[str]:
        """Running text, and what is said of the entities; that is no fact of the graph."""
        files = [str(required(self.data, path)) for path in self.options.mono]
        read = [text.text for path in files for text, _ in text_file(path).stream()]
        says = EntityText(self.graph, _TEXTS)
        return [*read, *(says(number) for number in range(self.graph.entity_count))]

    @cached_property
    def encoded(self) -> list[Encoded]:
        read = self.words.encode(self.texts, length=self.options.base.length)
        return [text.having(number=number) for number, text in enumerate(read) if len(text) > 4]

    @cached_property
    def base(self) -> Path:
        """The folder of the encoder that all start from."""
        kept = [text.text for number, text in enumerate(self.encoded) if number % _EVERY]
        return pretrain(self.options.base, lambda: kept, self.words, self.out)


def _stream(corpus: Corpus[Any], collate: Any, tokens: int, seed: int) -> BatchStream[Any]:
    return BatchStream(corpus, collate, tokens=tokens, seed=seed)


def table(outcomes: Sequence[KeplerOutcome]) -> str:
    """Returns means over seeds with 95 % intervals, and differences paired by seed, as Markdown."""
    names = ("mrr", "hits_at_1", "hits_at_10", "tails", "tails_at_10", "masked")
    heads = ("MRR", "Hits@1", "Hits@10", "tails: MRR", "tails: Hits@10", "masked words (loss)")
    parts = []
    for setting in SETTINGS:
        of_setting = [one for one in outcomes if one.setting == setting]
        found = {(one.arm, one.seed): [getattr(one, name) for name in names] for one in of_setting}
        seeds, n = len({one.seed for one in of_setting}), max((one.n for one in of_setting), default=0)
        lines = arms_table(found, heads, arms=ARMS, over=("none", "shuffled", "kepler", "transe"))
        parts.append("\n".join([f"**{setting}**, {n:,} triples, {seeds} seeds", "", *lines]))
    return "\n\n".join(parts) + "\n"
