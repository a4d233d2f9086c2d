"""ERNIE from files to a model: a graph's vectors, linked texts, `kelm train`, and what Transformers makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

import kg
from kelm.errors import FormatError, KelmError
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.next_sentence import NextSentence
from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from kelm.training.recipe_file import parse, read
from kelm.training.run import train
from kg.embeddings.table import EntityTable
from kg.enrich.linked_corpus import linked_text
from kg.fusion.ernie import Ernie
from kg.graph import GraphBuilder
from kg.linking.base import Mentions
from kg.objectives.entity_alignment import EntityAlignment

NAMES = {"Q1": "rhine", "Q2": "bonn", "Q3": "germany", "Q4": "cologne"}
TEXTS = [
    ("bonn lies on the rhine in germany .", [(0, 4, "Q2"), (17, 22, "Q1"), (26, 33, "Q3")]),
    ("cologne lies on the rhine too .", [(0, 7, "Q4"), (20, 25, "Q1")]),
    ("nobody knows where atlantis lies .", [(19, 27, "Q999")]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with vectors, a graph, linked texts, plain texts and a word list."""
    random = np.random.default_rng(0)
    EntityTable.from_vectors(list(NAMES), random.normal(size=(4, 8)).astype(np.float32)).save(tmp_path / "vectors")
    builder = GraphBuilder()
    builder.triple("Q2", "located_on", "Q1")
    builder.triple("Q4", "located_on", "Q1")
    builder.triple("Q2", "country", "Q3")
    for entity, name in NAMES.items():
        builder.label(entity, "en", name)
    builder.build().save(tmp_path / "graph")
    lines = [json.dumps({"text": text, "mentions": mentions}) for text, mentions in TEXTS]
    (tmp_path / "linked.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "plain.txt").write_text("\n".join(text for text, _ in TEXTS) + "\n", encoding="utf-8")
    vocabulary.train([text for text, _ in TEXTS], 80, "wordpiece", lower=True).save(tmp_path / "words")
    return tmp_path


def entities(folder: Path, path: str, graph: str | None = None) -> list[list[int]]:
    words = tokenizers.open(folder / "words")
    config = EncoderConfig(vocab_size=words.vocabulary_size)
    where = None if graph is None else str(folder / graph)
    corpus = linked_text(
        str(folder / path), table=str(folder / "vectors"), tokenizer=words, config=config, graph=where, languages=["en"]
    )
    return [text[Mentions].entity.tolist() for text, _ in corpus.stream()]


def test_given_mentions_become_rows_of_the_table(folder: Path) -> None:
    assert entities(folder, "linked.jsonl") == [[1, 0, 2], [3, 0], [-1]]


def test_plain_text_is_linked_by_the_graphs_names(folder: Path) -> None:
    assert entities(folder, "plain.txt", "graph") == [[1, 0, 2], [3, 0], []]


@pytest.mark.parametrize(
    ("mentions", "told"),
    [
        ('[[0, 9, "Q2"]]', r"linked.jsonl, line 1, field mentions: \[0, 9, 'Q2'\] is no mention of this text"),
        ('[["0", 4, "Q2"]]', "is no mention of this text"),
        ("[[0, 4, 5]]", "is no mention of this text"),
        ("7", "7 is no list"),
    ],
)
def test_a_bad_mention_is_named(mentions: str, told: str, folder: Path) -> None:
    (folder / "linked.jsonl").write_text(f'{{"text": "bonn", "mentions": {mentions}}}\n', encoding="utf-8")
    with pytest.raises(FormatError, match=told):
        entities(folder, "linked.jsonl")


def recipe(folder: Path, workers: int = 0) -> str:
    return f"""
        [model.config]
        hidden_size = 16
        num_hidden_layers = 2
        num_attention_heads = 2
        intermediate_size = 32
        [model.extensions.ernie]
        table = "{folder / "vectors"}"
        heads = 2
        [tokenizer]
        path = "{folder / "words"}"
        [[objectives]]
        name = "entity_alignment"
        [objectives.corpus]
        name = "linked_text"
        options = {{path = "{folder / "linked.jsonl"}", table = "{folder / "vectors"}"}}
        [batch]
        tokens = 64
        workers = {workers}
        [optim]
        rate = 1e-2
        warmup = 0
        [train]
        steps = 30
    """


def test_a_recipe_trains_ernie_and_transformers_opens_it(folder: Path) -> None:
    result = train(parse(recipe(folder)), folder / "run")
    assert set(result.progress.losses) == {"entity_alignment", "entity_alignment/mlm"}
    assert result.progress.losses["entity_alignment"] < 1.0  # of log 4 = 1.39 at chance
    model = AutoModel.from_pretrained(folder / "run" / "model")
    assert isinstance(model, Encoder)
    ernie = model.extensions["ernie"]
    assert isinstance(ernie, Ernie)
    assert torch.equal(ernie.vectors, torch.from_numpy(EntityTable.open(folder / "vectors").vectors.copy()))
    assert any(bool(fusion.up.weight.any()) for fusion in ernie.fusions.values())  # type: ignore[union-attr]


def test_next_sentences_are_predicted_beside_words_and_entities(folder: Path) -> None:
    changes = ["train.steps=60", "objectives.0.options.next_sentence=true", "objectives.0.corpus.options.pairs=true"]
    result = train(parse(recipe(folder), changes), folder / "run")
    assert set(result.progress.losses) == {
        "entity_alignment",
        "entity_alignment/mlm",
        "entity_alignment/next_sentence",
    }
    assert result.progress.losses["entity_alignment/next_sentence"] < 0.65  # of log 2 = 0.69 at chance


def test_mentions_of_both_sentences_of_a_pair_are_found(folder: Path) -> None:
    words = tokenizers.open(folder / "words")
    config = EncoderConfig(vocab_size=words.vocabulary_size)
    options = {"table": str(folder / "vectors"), "tokenizer": words, "config": config, "pairs": True}
    given = [text for text, _ in linked_text(str(folder / "linked.jsonl"), **options).stream()]  # type: ignore[arg-type]
    for text in given:
        mentions = text[Mentions]
        named = [
            text.text[text.spans[a, 0] : text.spans[b, 1]] for a, b in zip(mentions.first, mentions.last, strict=True)
        ]
        for name, row in zip(named, mentions.entity.tolist(), strict=True):
            assert (NAMES.get(f"Q{row + 1}") == name) if row >= 0 else name == "atlantis"
        assert text[NextSentence].follows.tolist() in ([0], [1])
        assert set(text.segments.tolist()) == {0, 1}


def test_data_workers_read_the_same_texts(folder: Path) -> None:
    result = train(parse(recipe(folder, workers=2), ["train.steps=3"]), folder / "run")
    assert result.progress.step == 3


def test_the_recipe_that_we_ship_is_valid() -> None:
    shipped = read(Path(kg.__file__).parent / "recipes" / "zhang2019_ernie.toml")
    assert shipped.objectives[0].name == "entity_alignment"


def test_without_a_table_the_objective_says_what_it_needs(folder: Path) -> None:
    words = tokenizers.open(folder / "words")
    config = EncoderConfig(vocab_size=words.vocabulary_size, hidden_size=16, num_attention_heads=2)
    with pytest.raises(KelmError, match="the encoder has no entity table"):
        EntityAlignment(config, tokenizer=words)
