"""Does a language model gain by learning which words a lexicon relates (LIBERT)?

    arm         learns, in as many steps on text       what it shows
    none        masked words                           what text alone gives
    knowledge   and the lexicon's pairs
    shuffled    and second words dealt anew            what reading the same words in pairs gives, whatever they say

All arms of a seed start from the same encoder and read the same texts in the same order. Asked of each: how pairs that
were held out are related (of its head, and of a linear probe on its states, which every arm has), the rank correlation
of word similarity, the loss of masked words, and a task.

Source: Lauscher et al., 2020, sections 3 and 4; probe, similarity and controls are ours.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from kelm.batch import Batch, Encoded
from kelm.data.bucketing import bucketed
from kelm.data.corpus import InMemory, digest
from kelm.data.files import required
from kelm.data.labeled_text import labeled_text
from kelm.data.sources import TextFiles
from kelm.data.stream import BatchStream
from kelm.evaluation.base import given
from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, hub
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.tasks.classification import TextClassification
from kelm.text.tokenizer import Tokenizer
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training import record
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved
from kg.embeddings.word_vectors import piece_vectors
from kg.enrich.lexical_pairs import LexicalPairs
from kg.enrich.related_words import LexicalSources, RelatedWords, listed
from kg.linking.word_pairs import WordPair
from kg.objectives.lexical_relation import LexicalRelation
from kg.study import oewn
from kg.study.base import Pretraining, Room, pretrain, text_file, uncompressed
from kg.study.fine_tuning import train
from kg.study.lexical_measures import head_score, probe_score, similarity
from kg.study.libert_report import LibertArm, LibertOutcome, table

__all__ = ["Libert"]

ARMS: tuple[LibertArm, ...] = get_args(LibertArm)
_EVERY = 20  # one text in so many is held out
_TOGETHER = 4096  # tokens that are read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Libert:
    """The study's options, an evaluation. Paths lie in the folder of data.

    Attributes:
        lexicon: Open English WordNet's tables.
        lists: of synonyms.
        similarity: pairs with scores, between tabs, after a head line; they are neither learned nor negatives.
        score: the score's column, from 0.
        mono: text files; one text in twenty is held out.
        task_train, task_test: tables of "sentence" and "label", which is 0 or 1; the sentences are text to read, too.
        often: only pairs whose words the text has so often are used.
        relations: what is told apart; empty: only whether words are related, as in the paper.
        filtered: see `LexicalRelation`; near are words whose pieces have near vectors in the encoder to start from.
        held_out: share of the pairs; at most `asked` of them are asked for, and as many teach the probe.
        layers: whose states are compared for similarity, from 1.
        steps, tokens, rate: of what the arms learn; tokens of a batch of texts, `pair_tokens` of one of pairs.
        task_texts, task_passes, task_rate: of fine-tuning.
    """

    lexicon: str = "lexical/oewn"
    lists: tuple[str, ...] = ("lexical/constraints/ppdb_synonyms.txt",)
    similarity: str = "lexical/constraints/SimLex-999.txt"
    score: int = 3
    vocabulary: str = "vocab/bert_uncased_en_vocab.txt"
    mono: tuple[str, ...] = ("kg/codex/type_extracts.en.jsonl", "parallel/multi30k/train.en.txt")
    task_train: str = "classification/sst2/train.tsv"
    task_test: str = "classification/sst2/test.tsv"
    base: Pretraining = field(default_factory=lambda: Pretraining(steps=1500))
    often: int = 10
    relations: tuple[str, ...] = ("synonym", "hypernym")
    filtered: bool = True
    held_out: float = 0.05
    asked: int = 1500
    layers: tuple[int, ...] = (1, 4)
    arms: tuple[LibertArm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 600
    tokens: int = 1024
    pair_tokens: int = 4096
    rate: float = 1e-3
    task_texts: int = 3000
    task_passes: float = 2.0
    task_rate: float = 5e-4

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        work = _Work(self, given(data), out, say)
        record.keep(out, work.fingerprints())
        log = OutcomeLog(out / "outcomes.jsonl", LibertOutcome)
        done = {(one.seed, one.arm) for one in log.done}
        for seed in self.seeds:
            for arm in self.arms:
                if (seed, arm) not in done:
                    log.add([work.outcome(seed, arm)])
        return table(log.done, self.layers)


@dataclass(frozen=True, eq=False)
class _Work:
    options: Libert
    data: Path
    out: Path
    say: Callable[[str], None]

    def fingerprints(self) -> Mapping[str, str]:
        """Returns what was read, by name."""
        texts = digest([list(self.texts), [one.text for one in (*self.task_train, *self.task_test)]])
        return {"lexicon": self.related.fingerprint(), "vocabulary": self.words.fingerprint(), "texts": texts}

    def outcome(self, seed: int, arm: LibertArm) -> LibertOutcome:
        corpus = self.learned(arm, seed)
        learner = self._trained(seed, corpus)
        encoder = learner.encoder
        assert isinstance(encoder, Encoder)
        head = None
        if corpus is not None:
            task = learner.objectives["lexical_relation"]
            assert isinstance(task, LexicalRelation)
            head = head_score(task, encoder, self.asked[1])
        probe = probe_score(self.relation_task(encoder, ("first", "mean")), encoder, *self.asked)
        masked = HeldOut({"mlm": self.held_out}, tokens=_TOGETHER)(learner)["mlm/loss"]
        found = LibertOutcome(
            arm,
            seed,
            head,
            probe,
            [similarity(encoder, self.words, self.scored, layer) for layer in self.options.layers],
            masked,
            self._task(encoder, seed),
            0 if corpus is None else len(corpus),
        )
        self.say(f"{arm}, seed {seed}: probe {probe:.3f}, similarity {found.similarity[-1]:.3f}, masked {masked:.3f}")
        return found

    def learned(self, arm: LibertArm, seed: int) -> LexicalPairs | None:
        """Returns the pairs that an arm learns."""
        share = self.options.held_out
        if arm == "none":
            return None
        if arm == "knowledge":
            return LexicalPairs(self.related, self.words, split="train", test=share)
        mixed = self.related.where(~self.related.held_out(share)).shuffled(seed)
        apart = np.concatenate((mixed.apart, self.related.key_pairs))  # those held out are no negatives either
        return LexicalPairs(mixed.without(apart), self.words)

    def _trained(self, seed: int, corpus: LexicalPairs | None) -> Learner:
        options = self.options
        torch.manual_seed(seed)
        encoder, place = Encoder.from_hf(self.base), self.base
        mlm = MaskedLanguageModel(encoder.config, tokenizer=self.words, kind="word")
        mlm.head.load_state_dict(hub.head_weights(place))
        objectives: list[Any] = [mlm]
        streams: dict[str, Any] = {mlm.name: BatchStream(self.read, mlm.collate, tokens=options.tokens, seed=seed)}
        if corpus is not None:
            task = self.relation_task(encoder)
            objectives.append(task)
            streams[task.name] = BatchStream(corpus, task.collate, tokens=options.pair_tokens, seed=seed)
        optim = Optimization(rate=options.rate, betas=(0.9, 0.98), warmup=0.1)
        train_unsaved(learner := Learner(encoder, objectives), streams, options.steps, optim, seed)
        return learner.eval()

    def relation_task(self, encoder: Encoder, states: Any = ("first",)) -> LexicalRelation:
        """Returns the objective, its head fresh."""
        return LexicalRelation(
            encoder.config,
            relations=self.options.relations or None,
            vectors=str(self.near),
            filtered=self.options.filtered,
            states=states,
        )

    def _task(self, start: Encoder, seed: int) -> float:
        options, encoder = self.options, copy.deepcopy(start)
        random = np.random.default_rng(seed)
        count = min(options.task_texts, len(self.task_train))
        chosen = [
            self.task_train[n] for n in sorted(random.choice(len(self.task_train), count, replace=False).tolist())
        ]
        torch.manual_seed(seed)
        task = TextClassification(encoder.config, labels=("0", "1"), states=("mean",), encoder=encoder)
        learner, tokens = Learner(encoder, [task]), 32 * sum(map(len, chosen)) // len(chosen)
        steps = max(1, round(options.task_passes * len(chosen) / 32))
        train(learner, task, chosen, steps, tokens, Optimization(rate=options.task_rate, warmup=0.1), seed)
        scores = HeldOut({task.name: self.task_test}, tokens=_TOGETHER)(learner.eval())
        return float(scores[f"{task.name}/accuracy"])

    @cached_property
    def words(self) -> Tokenizer:
        return open_tokenizer(uncompressed(required(self.data, self.options.vocabulary), self.out / "vocab.txt"))

    @cached_property
    def texts(self) -> Sequence[str]:
        files = [str(required(self.data, path)) for path in self.options.mono]
        return [text.text for path in files for text, _ in text_file(path).stream()]

    @cached_property
    def related(self) -> RelatedWords:
        """The lexicon's pairs whose words the text has often enough, parts of words counted alone."""
        options = self.options
        lists = {"synonym": [str(required(self.data, path)) for path in options.lists]}
        apart = (str(required(self.data, options.similarity)),)
        graph = oewn.read(self.data / options.lexicon)
        related = LexicalSources(graph=graph, lists=lists, without=apart).read()
        counts = Counter(word for text in self.texts for word in re.findall(r"\w+", text.casefold()))
        common = np.array(
            [
                min((counts[part] for part in re.findall(r"\w+", word.casefold())), default=0) >= options.often
                for word in related.spellings
            ]
        )
        return related.where(common[related.first] & common[related.second])

    @cached_property
    def scored(self) -> Sequence[tuple[str, str, float]]:
        """Words and scores of similarity."""
        path = str(required(self.data, self.options.similarity))
        rows = [text.text.split("\t") for text, _ in TextFiles(path).stream()][1:]
        pairs = [(one, other) for _, one, other in listed(path)][1:]
        return [(*pair, float(row[self.options.score])) for pair, row in zip(pairs, rows, strict=True)]

    @cached_property
    def asked(self) -> tuple[Sequence[Batch], Sequence[Batch]]:
        """Pairs with their negatives, the same for all arms: those that teach the probe, and those held out."""
        task = self.relation_task(Encoder.from_hf(self.base))
        made = []
        for split in ("train", "test"):
            corpus = LexicalPairs(self.related, self.words, split=split, test=self.options.held_out)
            pairs: list[WordPair] = [pair for pair, _ in corpus.stream()][: self.options.asked]
            places = bucketed([len(pair) for pair in pairs], self.options.tokens, None)
            made.append([task.collate([pairs[place] for place in some], 0) for some in places])
        return made[0], made[1]

    @cached_property
    def base(self) -> Path:
        """The folder of the encoder that all start from."""
        kept = [text for number, text in enumerate(self.texts) if number % _EVERY]
        return pretrain(
            self.options.base, lambda: [*kept, *(one.text for one in self.task_train)], self.words, self.out
        )

    @cached_property
    def near(self) -> Path:
        """The folder of the words' vectors, the means of their pieces'."""
        place = self.out / "words"
        if not place.is_dir():
            piece_vectors(self.related.spellings, self.words, Encoder.from_hf(self.base)).save(place)
        return place

    @cached_property
    def read(self) -> InMemory[Encoded]:
        """The texts to learn from."""
        kept = [text for number, text in enumerate(self.texts) if number % _EVERY]
        return InMemory(self._encoded([*kept, *(one.text for one in self.task_train)]))

    @cached_property
    def held_out(self) -> list[Encoded]:
        return self._encoded(self.texts[::_EVERY])

    @cached_property
    def task_train(self) -> list[Encoded]:
        return self._labeled(self.options.task_train)

    @cached_property
    def task_test(self) -> list[Encoded]:
        return self._labeled(self.options.task_test)

    def _encoded(self, texts: Sequence[str]) -> list[Encoded]:
        read = self.words.encode(texts, length=self.options.base.length)
        return [text.having(number=number) for number, text in enumerate(read) if len(text) > 4]

    def _labeled(self, path: str) -> list[Encoded]:
        place, room = str(required(self.data, path)), Room(min(64, self.options.base.length))
        options: Any = {"tokenizer": self.words, "config": room}
        corpus = labeled_text(place, labels=("0", "1"), text="sentence", label="label", **options)
        return [text for text, _ in corpus.stream()]
