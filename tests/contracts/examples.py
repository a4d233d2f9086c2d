"""One small example of every plug-in, for the contract tests. A new plug-in adds a line here.

EXTENSIONS, OBJECTIVES (tasks too), CORPORA and ENRICHERS lie at the end. Evaluations need none: they have defaults.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from kelm.batch import Encoded
from kelm.data.corpus import Corpus
from kelm.data.labeled_text import Label, labeled_text
from kelm.data.ranked_pairs import Groups, Relevance, ranked_pairs
from kelm.data.reader import Enricher
from kelm.data.tagged_words import Words, WordTags, tagged_words
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.base import Objective
from kelm.objectives.causal_lm import CausalLanguageModel
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.tasks.classification import TextClassification
from kelm.tasks.ranking import AnswerRanking
from kelm.tasks.tagging import Tagging
from kelm.text import vocabulary
from kelm.text.assembly import Template
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.enrich.candidates import candidate_spans
from kg.enrich.described_corpus import described_mentions
from kg.enrich.described_triples import described_triples
from kg.enrich.grower import sentence_tree
from kg.enrich.linked_corpus import linked_text
from kg.enrich.marked_corpora import marked_mentions, marked_pairs
from kg.enrich.markers import Markers
from kg.fusion.ernie import Ernie
from kg.graph import KnowledgeGraph
from kg.linking.base import Mentions
from kg.linking.bi_encoder import Choice, Described
from kg.linking.triple_text import DescribedTriple
from kg.objectives.entity_alignment import EntityAlignment
from kg.objectives.knowledge_embedding import KnowledgeEmbedding
from kg.objectives.masked_candidates import MaskedCandidates
from kg.objectives.mention_description import MentionDescription
from kg.tasks.entity_typing import EntityTyping, mark_mention
from kg.tasks.linking import EntityLinking
from kg.tasks.relations import RelationClassification, mark_pair
from multilingual.words_apart import WordsApart
from tests.contracts import language_examples as languages
from tests.contracts import supersense_example
from tests.contracts.lexical_examples import PAIRS, lexical_corpus, lexical_relation, related_words
from tests.contracts.span_examples import knowing_encoder, linked, with_spans

__all__ = [
    "CORPORA",
    "ENRICHERS",
    "EXTENSIONS",
    "OBJECTIVES",
    "RESPELLING",
    "CorpusExample",
    "enriched_texts",
    "lacking",
    "objective_texts",
    "plain_encoder",
    "texts_of",
]

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 48,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}
MASK, PAD, SPECIAL = 4, 0, (0, 1, 2, 3, 4)
ENTITIES, WIDTH = 7, 8


def lacking(names: str, examples: Mapping[str, object], plugins: Mapping[str, object]) -> str:
    """Returns what to do about plug-ins without an example, and examples without a plug-in; nothing if all is well."""
    here = f"{names} in {Path(__file__).relative_to(Path(__file__).parents[2])}"
    add = [f'Add a line "{name}": ... to {here}.' for name in sorted(set(plugins) - set(examples))]
    remove = [
        f'Remove "{name}" from {here}: no plug-in has that name.' for name in sorted(set(examples) - set(plugins))
    ]
    return " ".join([*add, *remove])


def plain_encoder(extensions: Mapping[str, Mapping[str, Any]]) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(**SIZES, extensions={name: dict(options) for name, options in extensions.items()}))


def entity_table() -> EntityTable:
    vectors = np.random.default_rng(0).normal(size=(ENTITIES, WIDTH)).astype(np.float32)
    return EntityTable.from_vectors([f"Q{number}" for number in range(ENTITIES)], vectors)


def _plain_text(number: int, length: int) -> Encoded:
    random = np.random.default_rng(number)
    count = np.arange(length)
    tokens = random.integers(5, 60, length)
    tokens[0], tokens[-1] = 2, 3  # [CLS], [SEP]
    words = np.where((count == 0) | (count == length - 1), -1, count - 1)
    spans = np.stack([count, count + 1], axis=1)
    return Encoded(f"text {number}", tokens, spans, words, np.zeros_like(count), number=number, origin=f"line {number}")


def _with_mentions(text: Encoded) -> Encoded:
    first = torch.tensor([1, 4, 6])
    zeros = torch.zeros_like(first)
    entity = torch.tensor([text.number % ENTITIES, -1, (text.number + 3) % ENTITIES])
    named = Mentions(row=zeros, first=first, last=first, text=zeros, slot=torch.arange(3), entity=entity)
    return text.having(named)


def texts_of(plugin: str) -> list[Encoded]:
    """Four texts of different lengths with the parts that the plug-in reads."""
    plain = [_plain_text(number, length) for number, length in enumerate((12, 9, 17, 8))]
    return [PARTS[plugin](text) for text in plain] if plugin in PARTS else plain


def _ernie() -> Encoder:
    made = plain_encoder({"ernie": {"width": WIDTH, "heads": 2}})
    ernie = made.extensions["ernie"]
    assert isinstance(ernie, Ernie)
    ernie.attach(entity_table())
    return made


def _typed(text: Encoded) -> Encoded:
    markers = Markers(head=55, tail=56, entity=57)
    return mark_mention(text, (2, 3), markers, types=[text.number % 2 == 0, text.number % 3 == 0, True])


def _labeled(text: Encoded) -> Encoded:
    return text.having(Label(torch.tensor([0]), torch.tensor([text.number % 3])))


def _tagged(text: Encoded) -> Encoded:
    """Words of one token, one of two, and one that was cut off."""
    tokens = torch.tensor([1, 2, 4, 5, -1])
    zeros, tags = torch.zeros_like(tokens), torch.tensor([text.number % 3, 1, 2, (text.number + 1) % 3, 0])
    return text.having(Words(zeros, zeros, tokens), WordTags(tags))


def _ranked(text: Encoded) -> Encoded:
    """Two questions with a right and a wrong answer each."""
    zero, relevant = torch.tensor([0]), torch.tensor([text.number % 2 == 0])
    return text.having(Groups(zero, torch.tensor([text.number // 2])), Relevance(zero, relevant))


def _related(text: Encoded) -> Encoded:
    markers = Markers(head=55, tail=56, entity=57)
    return mark_pair(_with_mentions(text), (1, 2), (4, 4), markers, relation=text.number % 3)


def _described(text: Encoded) -> Described:
    """Two mentions; the entities have texts of their own, entity 3 is named by all."""
    right = 10 + text.number
    entities = {number: _plain_text(100 + number, 5 + number % 3) for number in (3, right, right + 10)}
    mentions = (Choice(1, 2, right, (3, right + 10)), Choice(4, 4, 3))
    return Described(text, mentions, entities, number=text.number, origin=text.origin)


def _triple(text: Encoded) -> DescribedTriple:
    """A chain of entities over two relations, each beside a corrupted one."""
    head, tail = text.number, text.number + 1
    texts = {number: _plain_text(100 + number, 5 + number % 3) for number in (head, tail, 9)}
    corrupted: Any = {"head": (9,), "tail": (9,)}
    return DescribedTriple(head, text.number % 2, tail, texts, corrupted=corrupted, number=head, origin=text.origin)


def objective_texts(plugin: str) -> list[Any]:
    """The same texts as an objective reads them."""
    return [OBJECTIVE_PARTS.get(plugin, lambda same: same)(text) for text in texts_of("")]


class WordList:
    """As much of a tokenizer as an objective asks for."""

    pad, cls, sep, unk, mask = PAD, 2, 3, 1, MASK
    special = frozenset(SPECIAL)
    template = Template((2,), (3,), (3,))
    vocabulary_size = SIZES["vocab_size"]


def _causal_lm() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    return encoder, CausalLanguageModel(encoder.config, tokenizer=cast(Tokenizer, WordList()))


def _mlm() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    return encoder, MaskedLanguageModel(encoder.config, tokenizer=cast(Tokenizer, WordList()))


def _entity_alignment() -> tuple[Encoder, Objective[Any]]:
    encoder = _ernie()
    words = cast(Tokenizer, WordList())
    return encoder, EntityAlignment(encoder.config, tokenizer=words, entities=ENTITIES, width=WIDTH)


def _knowledge_embedding() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    return encoder, KnowledgeEmbedding(encoder.config, relations=2, earlier=4)


def _knowledge_attention() -> Encoder:
    return knowing_encoder(EncoderConfig(**SIZES), entity_table())


def _masked_candidates() -> tuple[Encoder, Objective[Any]]:
    encoder = _knowledge_attention()
    return encoder, MaskedCandidates(encoder.config, tokenizer=cast(Tokenizer, WordList()), encoder=encoder)


def _entity_linking() -> tuple[Encoder, Objective[Any]]:
    encoder = _knowledge_attention()
    return encoder, EntityLinking(encoder.config, encoder=encoder, base="facts")


def _mention_description() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    return encoder, MentionDescription(encoder.config)


def _supersense_encoder() -> Encoder:
    return supersense_example.attached(plain_encoder({"supersense": {"senses": list(supersense_example.SENSES)}}))


def _supersense() -> tuple[Encoder, Objective[Any]]:
    encoder = _supersense_encoder()
    return encoder, supersense_example.objective(encoder, cast(Tokenizer, WordList()))


def _classification() -> tuple[Encoder, Objective[Any]]:
    encoder, states = plain_encoder({}), ("pooled", "first", "mean")
    return encoder, TextClassification(
        encoder.config, labels=["a", "b", "c"], states=states, hidden=12, dropout=0.0, encoder=encoder
    )


def _tagging() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    return encoder, Tagging(encoder.config, tags=["O", "B-PER", "I-PER"], dropout=0.0)


def _ranking() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    return encoder, AnswerRanking(encoder.config, states=("pooled", "mean"), hidden=12, dropout=0.0)


def _relations() -> tuple[Encoder, Objective[Any]]:
    encoder, states = _ernie(), ("pooled", "first", "markers", "mentions", "mean")
    return encoder, RelationClassification(
        encoder.config, relations=["a", "b", "c"], states=states, entities=WIDTH, dropout=0.0, encoder=encoder
    )


def _entity_typing() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    types = ["person", "place", "thing"]
    return encoder, EntityTyping(encoder.config, types=types, states=("pooled", "markers"), dropout=0.0)


@dataclass(frozen=True)
class CorpusExample:
    """A corpus of one file.

    Attributes:
        lines: of the file.
        make: opens the file; beside it lies an entity table, "vectors".
        form: how a line is written.
        texts: how many texts the lines give, each different; None: each line is one.
    """

    lines: Sequence[Mapping[str, Any]]
    make: Callable[[Path], Corpus[Any]]
    form: Callable[[Mapping[str, Any]], str] = json.dumps
    texts: int | None = None

    def write(self, folder: Path, lines: Sequence[Mapping[str, Any]] | None = None) -> Path:
        """Writes the file, by default with all its lines, and returns its path."""
        path = folder / "lines.jsonl"
        written = (self.form(line) for line in (self.lines if lines is None else lines))
        path.write_text("".join(f"{line}\n" for line in written), encoding="utf-8")
        if not (folder / "vectors").is_dir():
            entity_table().save(folder / "vectors")
        return path


SENTENCES = [
    f"the {noun} of bonn lies on the rhine" for noun in ("city", "old town", "bridge", "port", "church", "hill")
]
SENTENCES.append("one more thing about bonn and the river that is called the rhine")
TRANSLATED = [{"en": text, "de": " ".join(reversed(text.split()))} for text in SENTENCES]


@cache
def words() -> Tokenizer:
    return vocabulary.train(SENTENCES, 120, "wordpiece", lower=True)


def _mention(text: str, name: str) -> list[Any]:
    start = text.index(name)
    return [start, start + len(name), {"bonn": "Q1", "rhine": "Q2"}[name]]


def _corpus(plugin: Callable[..., Corpus[Any]], path: Path, **options: Any) -> Corpus[Any]:
    return plugin(str(path), tokenizer=words(), config=_config(), **options)


def _config() -> EncoderConfig:
    return EncoderConfig(**{**SIZES, "vocab_size": words().vocabulary_size})


def _with_table(plugin: Callable[..., Corpus[Any]], path: Path, **options: Any) -> Corpus[Any]:
    return _corpus(plugin, path, table=str(path.parent / "vectors"), **options)


def enriched_texts() -> list[Encoded]:
    """Texts as enrichers get them, with a part whose tokens move."""
    numbered = (text.having(number=number) for number, text in enumerate(words().encode(SENTENCES)))
    return [_with_mentions(text) for text in numbered]


def _sentence_tree(folder: Path) -> Enricher:
    labels = {"en": {"Q1": "bonn", "Q2": "rhine", "P1": "is a city of", "P2": "is a"}}
    triples = [("Q1", "P1", "Q2"), ("Q2", "P2", "Q3")]
    KnowledgeGraph.from_triples(triples, labels=labels).save(folder / "branches")
    encoder = Encoder(EncoderConfig(**{**SIZES, "vocab_size": words().vocabulary_size}))
    parts: dict[str, Any] = {"tokenizer": words(), "config": encoder.config, "encoder": encoder, "length": 40}
    return sentence_tree(graph=str(folder / "branches"), **parts)


def _candidate_spans(folder: Path) -> Enricher:
    KnowledgeGraph.from_triples([("Q1", "P1", "Q2")], labels={"en": {"Q1": "bonn", "Q2": "rhine"}}).save(folder / "kb")
    entity_table().save(folder / "vectors")
    return candidate_spans(bases={"graph": {"graph": str(folder / "kb"), "table": str(folder / "vectors"), "most": 3}})


def _words_apart(_: Path) -> Enricher:
    own = words().vocabulary_size - len(words().special)
    return WordsApart(("en", "de"), len(words().special), own, language="de")


def _described_corpus(path: Path) -> Corpus[Any]:
    folder = path.parent / "graph"
    if not folder.is_dir():
        names = {"Q1": ["bonn"], "Q2": ["rhine"], "Q3": ["bonn"], "Q4": ["rhine", "bonn"]}
        KnowledgeGraph.from_triples([("Q1", "on", "Q2"), ("Q3", "on", "Q4")], labels={"en": names}).save(folder)
    config = EncoderConfig(**{**SIZES, "vocab_size": words().vocabulary_size})
    return described_mentions(str(path), graph=str(folder), tokenizer=words(), config=config)


def _triples(path: Path) -> Corpus[Any]:
    """The graph whose triples are the file's lines."""
    read = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    names = {name: [f"the {name}"] for line in read for name in line}
    KnowledgeGraph.from_triples([(h, r, t) for h, r, t in read], labels={"en": names}).save(path.parent / "triples")
    return _corpus(described_triples, path.parent / "triples", relation="condition")


PARTS: dict[str, Callable[[Encoded], Encoded]] = {
    "ernie": _with_mentions,
    "knowledge_attention": with_spans,
    "adapters": languages.in_two_languages,
    "language_embedding": languages.in_two_languages,
    "own_layers": languages.in_two_languages,
}
EXTENSIONS: dict[str, Callable[[], Encoder]] = {
    "adapters": lambda: plain_encoder({"adapters": {"languages": ["en", "de"]}}),
    "own_layers": lambda: languages.own_layers(plain_encoder({"own_layers": {"languages": ["en", "de"]}})),
    "ernie": _ernie,
    "knowledge_attention": _knowledge_attention,
    "language_embedding": lambda: plain_encoder({"language_embedding": {"languages": ["en", "de"]}}),
    "supersense": _supersense_encoder,
}
OBJECTIVE_PARTS: dict[str, Callable[[Encoded], Any]] = {
    "classification": _labeled,
    "entity_alignment": _with_mentions,
    "entity_linking": linked,
    "entity_typing": _typed,
    "knowledge_embedding": _triple,
    "masked_candidates": with_spans,
    "lexical_relation": related_words,
    "mention_description": _described,
    "ranking": _ranked,
    "relations": _related,
    "supersense": supersense_example.spelled_out,
    "tagging": _tagged,
    "denoising_alignment": languages.in_two_languages,
    "tlm": languages.in_two_languages,
    "translation_contrast": languages.in_two_languages,
    "word_recovery": languages.in_two_languages,
}
OBJECTIVES: dict[str, Callable[[], tuple[Encoder, Objective[Any]]]] = {
    "causal_lm": _causal_lm,
    "classification": _classification,
    "denoising_alignment": lambda: languages.denoising_alignment(plain_encoder({}), cast(Tokenizer, WordList())),
    "document_lm": lambda: languages.document_lm(plain_encoder({}), cast(Tokenizer, WordList())),
    "entity_alignment": _entity_alignment,
    "entity_linking": _entity_linking,
    "entity_typing": _entity_typing,
    "knowledge_embedding": _knowledge_embedding,
    "masked_candidates": _masked_candidates,
    "lexical_relation": lambda: lexical_relation(plain_encoder({})),
    "mention_description": _mention_description,
    "mlm": _mlm,
    "ranking": _ranking,
    "relations": _relations,
    "supersense": _supersense,
    "tagging": _tagging,
    "tlm": lambda: languages.translation_lm(plain_encoder({}), cast(Tokenizer, WordList())),
    "translation_contrast": lambda: languages.translation_contrast(plain_encoder({}), cast(Tokenizer, WordList())),
    "word_recovery": lambda: languages.word_recovery(plain_encoder({}), cast(Tokenizer, WordList())),
}
CORPORA: dict[str, CorpusExample] = {
    "described_mentions": CorpusExample(
        [{"text": text, "mentions": [_mention(text, "bonn"), _mention(text, "rhine")]} for text in SENTENCES],
        _described_corpus,
    ),
    "described_triples": CorpusExample(
        [{"head": f"Q{number}", "relation": "on", "tail": f"Q{number * 2 % 7}"} for number in range(6)],
        _triples,
        lambda line: "\t".join(line.values()),
    ),
    "labeled_text": CorpusExample(
        [{"text": text, "label": "odd" if number % 2 else "even"} for number, text in enumerate(SENTENCES)],
        partial(_corpus, labeled_text, labels=["even", "odd"]),
    ),
    "lexical_pairs": CorpusExample(PAIRS, partial(_corpus, lexical_corpus), lambda line: "\t".join(line.values())),
    "linked_text": CorpusExample(
        [{"text": text, "mentions": [_mention(text, "bonn"), _mention(text, "rhine")]} for text in SENTENCES],
        partial(_with_table, linked_text),
    ),
    "marked_mentions": CorpusExample(
        [{"text": text, "mention": _mention(text, "bonn"), "types": ["city"]} for text in SENTENCES],
        partial(_with_table, marked_mentions, types=["city", "river"]),
    ),
    "marked_pairs": CorpusExample(
        [
            {"text": text, "head": _mention(text, "bonn"), "tail": _mention(text, "rhine"), "relation": "on"}
            for text in SENTENCES
        ],
        partial(_with_table, marked_pairs, relations=["in", "on"], length=16),  # the last text is longer
    ),
    "monolingual_text": CorpusExample([{"text": text} for text in SENTENCES], partial(_corpus, languages.one_language)),
    "parallel_text": CorpusExample(TRANSLATED, partial(_corpus, languages.two_languages)),
    "ranked_pairs": CorpusExample(
        [{"question": "what of bonn ?", "answer": text, "label": number % 2} for number, text in enumerate(SENTENCES)],
        partial(_corpus, ranked_pairs),
    ),
    "translated_documents": CorpusExample(
        [*TRANSLATED, *TRANSLATED[:5]], partial(_corpus, languages.documents), texts=6
    ),
    "translation_or_not": CorpusExample(
        TRANSLATED, partial(_corpus, languages.translations_or_not), texts=2 * len(TRANSLATED)
    ),
    "tagged_words": CorpusExample(
        [{word: "NN" if len(word) > 3 else "O" for word in text.split()} for text in SENTENCES],
        partial(_corpus, tagged_words, tags=["NN", "O"]),
        lambda line: "".join(f"{word}\t{tag}\n" for word, tag in line.items()),
    ),
}
ENRICHERS: dict[str, Callable[[Path], Enricher]] = {
    "candidate_spans": _candidate_spans,
    "sentence_tree": _sentence_tree,
    "words_apart": _words_apart,
}
RESPELLING = {"words_apart"}  # they give the same words other tokens
