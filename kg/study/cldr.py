"""The quickstart's study: the CLDR's graph, and sentences about it from our own templates; needs no download.

    CLDR (in Babel) -> graph -> TransE ─────────────┐
                    -> our own short templates -> linked texts -> base encoder -> ERNIE, four arms -> table, picture

The examples' words do not tell the relation and the triples that hold the answers are taken out of the graph, so what
an arm with knowledge gains, it has from what the graph says elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kelm.text import vocabulary
from kelm.training import record
from kg import cldr_text
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.train import train
from kg.graph import KnowledgeGraph
from kg.io import cldr
from kg.linking.alias import AliasLinker
from kg.linking.linked_text import RelationText, joining
from kg.study import report
from kg.study.base import Pretraining, pretrain
from kg.study.material import fingerprint, relink
from kg.study.run import Alignment, FineTuning, Material, Outcome, Study, run

__all__ = ["Cldr"]

RELATIONS = ("contained_in", "official_language", "uses_currency", "written_in", "mainly_spoken_in", "located_in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cldr:
    """How the study is made, as an evaluation; the defaults take minutes on two cores.

    Attributes:
        examples, texts: numbers of sentences about two entities, and of paragraphs to pre-train on.
        vocabulary: word pieces learned from the paragraphs.
    """

    examples: int = 1500
    texts: int = 4000
    vocabulary: int = 2000
    embedding: EmbeddingRecipe = field(default_factory=lambda: EmbeddingRecipe(width=64, epochs=60))
    base: Pretraining = field(
        default_factory=lambda: Pretraining(width=64, layers=3, steps=300, tokens=1536, length=64)
    )
    study: Study = field(
        default_factory=lambda: Study(
            per_relation=(5, 20),
            links=("automatic",),
            length=64,
            align=Alignment(steps=60, tokens=1536, rate=1e-3),
            fine_tune=FineTuning(steps=60, rate=1e-3),
        )
    )

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`. `data` is not needed."""
        return report.table(self.outcomes(out, say))

    def outcomes(self, out: Path, say: Callable[[str], None]) -> list[Outcome]:
        """Returns all scores; draws ``out/accuracy.png``."""
        outcomes = run(self.study, self.material(out, say), out, say=say)
        title = "Which relation do two hidden entities have? (CLDR)"
        report.picture(outcomes, out / "accuracy.png", title=title, links=self.study.links[0])
        return outcomes

    def material(self, out: Path, say: Callable[[str], None]) -> Material:
        """Returns graph, vectors, texts and base encoder, made anew; they are written into `out`."""
        graph = cldr.read()
        languages = len(graph.labels.languages)
        say(f"graph: {len(graph):,} facts about {graph.entity_count:,} entities, named in {languages} languages")

        examples = cldr_text.sentences(graph, 0, self.examples, relations=RELATIONS)
        texts = cldr_text.paragraphs(graph, 1, self.texts, without=examples)
        read = {"graph": graph.fingerprint(), "examples": fingerprint(examples), "texts": fingerprint(texts)}
        record.keep(out, read, packages=("babel",))
        answers = joining(graph, examples)
        known = KnowledgeGraph.from_triples(graph.without(answers).names())  # an entity without triples is unknown
        say(f"text: {len(texts):,} paragraphs, {len(examples):,} examples; {len(answers):,} answers taken out")

        table = train(known, self.embedding).table(known)
        table.save(out / "vectors")
        known.save(out / "graph")
        say(f"vectors: TransE, {table.width} numbers for each entity")

        automatic = relink(examples, AliasLinker.from_graph(graph, ["en"]))
        say(f"links: {_agreement(examples, automatic):.1%} of the mentions are linked by name to the right entity")

        words = [text.text for text in texts]
        tokenizer = vocabulary.train(words, self.vocabulary, "wordpiece", lower=True)
        base = pretrain(self.base, lambda: words, tokenizer, out)
        say(f"encoder: {self.base.layers} layers of width {self.base.width}, trained on the paragraphs' words alone")
        return Material(base, tokenizer, table, texts, {"gold": examples, "automatic": automatic})


def _agreement(gold: Sequence[RelationText], automatic: Sequence[RelationText]) -> float:
    right = [one for example in gold for one in example.entities]
    found = [one for example in automatic for one in example.entities]
    return sum(one == other for one, other in zip(right, found, strict=True)) / len(right)
