"""Contextual linkers for the study of linking: encoders trained on linked sentences, and two controls.

    contextual   the checkpoint, trained to find a mention's entity text among those of the batch and of its name
    shuffled     the same encoders, but every entity has the text vector of another
    untrained    the checkpoint as it is

What they learn from is no judged or development set. How much the text counts beside the prior, and the cosine at which
"no entity" is as likely, are chosen on the development set of each judged set, as the threshold is.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Literal

import torch

from kelm.errors import RecipeError
from kelm.model import Encoder
from kelm.text.tokenizer import Tokenizer
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kg.enrich.described_corpus import Describer
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import Mention, align
from kg.linking.bi_encoder import Described
from kg.linking.contextual import ContextualLinker, ContextWeights
from kg.linking.entity_text import EntityText
from kg.linking.entity_vectors import entity_vectors
from kg.linking.linking_sets import LinkingText
from kg.linking.nil import silenced, tuned_threshold
from kg.linking.scores import count_links
from kg.objectives.mention_description import MentionDescription
from kg.study.fine_tuning import train
from kg.study.linking_data import read_set

__all__ = ["CONTEXTUAL", "ContextTraining", "ContextWorkshop", "Contextual"]

Contextual = Literal["contextual", "shuffled", "untrained"]
CONTEXTUAL: tuple[Contextual, ...] = ("contextual", "shuffled", "untrained")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTraining:
    """How the encoders are trained and weighed.

    Attributes:
        hf: the checkpoint, a folder or a name on the Hugging Face Hub; "" where no method needs it.
        sets: linked texts to learn from; those with a mention whose name has several entities are used.
        seeds: one encoder each.
        examples: texts of a batch, about.
        negatives: other entities of a mention's name.
        length, entity_length: tokens of a text and of an entity's text.
        scales, nothings: weights of the cosine, and cosines of "no entity", among which to choose. No cosine: a lone
            candidate is certain, and only mentions with a choice are read.
    """

    hf: str = ""
    sets: tuple[str, ...] = ("articles", "fewrel-train")
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 200
    examples: int = 16
    rate: float = 3e-5
    negatives: int = 4
    length: int = 64
    entity_length: int = 24
    scales: tuple[float, ...] = (2.5, 5.0, 10.0, 20.0)
    nothings: tuple[float, ...] = (-1.0, 0.2, 0.4)


@dataclass(frozen=True, eq=False)
class ContextWorkshop:
    """Trains encoders and makes linkers; what is finished lies in `out` and is not made again.

    Attributes:
        names: finds mentions and candidates.
        candidates: the entities that will be asked about; only they get vectors.
    """

    options: ContextTraining
    data: Path
    out: Path
    graph: KnowledgeGraph
    names: AliasLinker
    languages: tuple[str, ...]
    candidates: frozenset[str]
    say: Callable[[str], None]

    def seeds(self, method: Contextual) -> tuple[int, ...]:
        """Returns the seeds that a method depends on."""
        return self.options.seeds if method != "untrained" else (0,)

    def linker(self, method: Contextual, seed: int) -> ContextualLinker:
        """Returns the linker of a method and seed.

        Raises:
            RecipeError: the recipe names no checkpoint.
        """
        options = self.options
        if not options.hf:
            raise RecipeError("no checkpoint is given", field="context.hf", remedy="Name a folder or a model.")
        encoder = Encoder.from_hf(options.hf) if method == "untrained" else self._trained(seed)
        table = entity_vectors(
            EntityText(self.graph),
            encoder,
            self.tokenizer,
            length=options.entity_length,
            only=self.candidates,
            cache=self.out / "vectors",
        )
        self.say(f"{method}, seed {seed}: {len(table):,} entities have vectors")
        table = table.shuffled(seed) if method == "shuffled" else table
        weights = ContextWeights(length=options.length, nothing=0.0 if options.nothings else None)
        return ContextualLinker(self.names, encoder, self.tokenizer, table, weights)

    def tuned(
        self,
        linker: ContextualLinker,
        texts: Sequence[LinkingText],
        found: Sequence[Sequence[Mention]],
        known: Container[str],
    ) -> ContextualLinker:
        """Returns the linker with the weights that have the best F1 on development texts, each at its best threshold.

        Args:
            found: mentions and candidates of the texts, as `names` gives them.
        """
        vectors = linker.mention_vectors([text.text for text in texts], found)
        best = linker, -1.0
        for scale, nothing in product(self.options.scales, self.options.nothings or (None,)):
            changed = linker.having(replace(linker.weights, context=scale, nothing=nothing))
            answers = changed.weigh(found, vectors)
            threshold = tuned_threshold(texts, answers, known)
            said = [silenced(mentions, threshold) for mentions in answers]
            right, said_all, wanted = count_links(texts, said, known=known).sum(0).tolist()
            f1 = 2 * right / max(said_all + wanted, 1)
            best = (changed, f1) if f1 > best[1] else best
        return best[0]

    def _trained(self, seed: int) -> Encoder:
        folder = self.out / "encoders" / str(seed)
        if folder.is_dir():
            return Encoder.from_hf(folder)
        options, texts = self.options, self._texts
        encoder = Encoder.from_hf(options.hf)
        torch.manual_seed(seed)
        objective = MentionDescription(encoder.config)
        tokens = options.examples * sum(map(len, texts)) // len(texts)
        optim = Optimization(rate=options.rate, warmup=0.1)
        train(Learner(encoder, [objective]), objective, texts, options.steps, tokens, optim, seed)
        encoder.to_hf(folder)
        self.say(f"seed {seed}: trained {options.steps} steps")
        return encoder

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's."""
        return open_tokenizer(self.options.hf)

    @cached_property
    def _texts(self) -> list[Described]:
        texts = list(self._described())
        self.say(f"{len(texts):,} texts to learn from, {sum(len(one.mentions) for one in texts):,} mentions")
        return texts

    def _described(self) -> Iterator[Described]:
        options = self.options
        describe = Describer(
            self.graph,
            self.tokenizer,
            languages=self.languages,
            negatives=options.negatives,
            length=options.entity_length,
        )
        for name in options.sets:
            texts = [text for text in read_set(self.data, name).texts if any(map(self._teaches, text.mentions))]
            encoded = self.tokenizer.encode([text.text for text in texts], length=options.length)
            for read, text in zip(encoded, texts, strict=True):
                aligned = align(read, text.mentions, self.graph.entities.find)
                described = describe(aligned.having(origin=text.origin))
                if described.mentions:  # what was cut off teaches nothing
                    yield described

    def _teaches(self, mention: Mention) -> bool:
        """Whether an entity of the graph is meant, and its name means others too."""
        known = mention.entity is not None and mention.entity in self.graph.entities
        return known and any(one.entity != mention.entity for one in self.names.candidates(mention.text))
