"""The main experiment's material: FewRel's sentences, ERNIE's articles, the graph of X-FACTR and CoDEx.

    X-FACTR + CoDEx -> drop triples that join the two entities of a sentence -> TransE -> table
    articles (gold links) + other English text (links by name)               -> alignment
    FewRel, 16 relations, gold links and links by name                       -> examples

The folder holds kg/xfactr, kg/codex, linked_text/fewrel, linked_text/ernie_wiki_sample, vocab and what
`english_texts` reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kelm.data.corpus import digest
from kelm.data.files import lines, required
from kelm.evaluation.base import given
from kelm.text import tokenizer as tokenizers
from kelm.training import record
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.table import EntityTable
from kg.embeddings.train import train
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.linked_text import RelationText, joining, linked, read_articles, read_fewrel
from kg.linking.names import AliasOptions
from kg.study import report
from kg.study.base import Pretraining, pretrain, uncompressed
from kg.study.material import fingerprint, relink
from kg.study.run import Material, Study, run

__all__ = ["ErnieFewRel", "FewRel", "english_texts", "joined_graph", "material", "without_answers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FewRel:
    """How the material is made.

    Attributes:
        embedding: of the graph.
        base: the encoder that every arm starts from.
        linked_by_name: texts beside the articles that are linked by name; those with most links come first.
        ambiguous: names that mean more entities than this are not linked.
    """

    embedding: EmbeddingRecipe = field(default_factory=EmbeddingRecipe)
    base: Pretraining = field(default_factory=Pretraining)
    linked_by_name: int = 40_000
    ambiguous: int = 5


def material(recipe: FewRel, data: Path, folder: Path, *, say: Callable[[str], None]) -> Material:
    """Returns the study's material, made from the folder `data`; what `folder` already holds is not made again.

    Raises:
        InputError: a file is missing, or what `folder` holds was made from other data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gold = read_fewrel(required(data, "linked_text/fewrel/val_wiki.json"))
    graph = joined_graph(data)
    linker = AliasLinker.from_graph(graph, ["en"], options=AliasOptions(max_entities=recipe.ambiguous))
    pieces = required(data, "vocab/bert_uncased_en_vocab.txt")
    vocabulary = recipe.base.hf or uncompressed(pieces, folder / "vocab.txt")
    tokenizer = tokenizers.open(vocabulary)
    articles = list(read_articles(required(data, "linked_text/ernie_wiki_sample/docs.jsonl")))
    others = list(dict.fromkeys(english_texts(data)))
    read = {
        "graph": graph.fingerprint(),
        "vocabulary": tokenizer.fingerprint(),
        "examples": fingerprint(gold),
        "articles": fingerprint(articles),
        "texts": digest(others),
    }
    record.keep(folder, read)
    table = _table(recipe.embedding, graph, gold, folder / "vectors", say)

    def read_first() -> list[str]:
        say(f"base: pre-training on {len(articles) + len(others):,} texts")
        return [*others, *(text.text for text in articles)]

    base = pretrain(recipe.base, read_first, tokenizer, folder, show=True)
    named = [text for text in linked(others, linker) if text.mentions]
    named = sorted(named, key=lambda text: -len(text.mentions))[: recipe.linked_by_name]
    say(f"texts: {len(articles):,} articles' sentences with gold links, {len(named):,} sentences linked by name")
    texts = [*(text for text in articles if text.mentions), *named]
    automatic = relink(gold, linker)
    return Material(base, tokenizer, table, texts, {"gold": gold, "automatic": automatic})


def _table(
    recipe: EmbeddingRecipe,
    graph: KnowledgeGraph,
    gold: Sequence[RelationText],
    folder: Path,
    say: Callable[[str], None],
) -> EntityTable:
    if folder.is_dir():
        return EntityTable.open(folder)
    known, answers = without_answers(graph, gold)
    say(f"graph: {len(graph):,} triples, {answers} with answers taken out; embedding {known.entity_count:,} entities")
    table: EntityTable = train(known, recipe).table(known)
    table.save(folder)
    return table


def joined_graph(data: Path) -> KnowledgeGraph:
    """Returns the union of X-FACTR and CoDEx (all splits of both sizes), with English names."""
    from kg.io import codex, xfactr

    graph = xfactr.read(data / "kg" / "xfactr", languages=["en"])
    for size in ("m", "s"):
        graph = graph.union(codex.read(data / "kg" / "codex", size, languages=["en"]).graph)
    return graph


def without_answers(graph: KnowledgeGraph, examples: Sequence[RelationText]) -> tuple[KnowledgeGraph, int]:
    """Returns the graph without the triples that join the two entities of an example, and how many those were.

    Entities that have no triple left are gone too: nothing is known of them.
    """
    answers = joining(graph, examples)
    return KnowledgeGraph.from_triples(graph.without(answers).names()), len(answers)


def english_texts(data: Path) -> Iterator[str]:
    """Yields English sentences of the folder from other files than FewRel's and ERNIE's articles.

    Two sentences of a hundred thousand stand in FewRel too, and some sixty in the articles.
    """
    for line in _lines(data, "kg/codex/type_extracts.en.jsonl"):
        yield from (part for part in re.split(r"(?<=[.!?])\s+", json.loads(line)["text"]) if len(part) > 20)
    for split in ("train", "dev"):
        for line in _lines(data, f"linked_text/webnlg/en.{split}.jsonl"):
            yield from (said["text"] for said in json.loads(line)["lex"])
    for line in _lines(data, "linked_text/simplequestions_wikidata/train.tsv"):
        yield line.split("\t")[-1]
    yield from _words(data, "ner/wikineural/en.val.conllu")
    yield from _words(data, "ner/wikineural/en.test.conllu")
    yield from _words(data, "ud/en_ewt-train.conllu")
    yield from _lines(data, "parallel/ntrex/newstest2019-src.eng.txt")


def _lines(data: Path, name: str) -> Iterator[str]:
    return (line for _, line in lines(required(data, name)) if line.strip())


def _words(data: Path, name: str) -> Iterator[str]:
    """Yields the sentences of a column file (index, word, ...), words joined by spaces."""
    words: list[str] = []
    for _, line in lines(required(data, name)):
        columns = line.split("\t")
        if line.startswith("#") or (len(columns) > 1 and not columns[0].isdigit()):
            continue
        if len(columns) > 1:
            words.append(columns[1])
        elif words:
            yield " ".join(words)
            words = []
    if words:
        yield " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErnieFewRel:
    """ERNIE with the graph's vectors against its controls on FewRel's relations, as an evaluation.

    Attributes:
        material: how graph, vectors, base encoder and texts are made.
        study: what is compared.
    """

    material: FewRel = field(default_factory=FewRel)
    study: Study = field(default_factory=Study)

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        data = given(data)
        outcomes = run(self.study, material(self.material, data, out, say=say), out, say=say)
        report.picture(outcomes, out / "accuracy.png", title="FewRel, 16 relations, mentions hidden")
        return report.table(outcomes)
