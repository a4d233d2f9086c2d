"""A graph embedded by its texts: the scores are those of training, and what the texts tell is learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kg
from kelm import cli
from kelm.data.stream import BatchStream
from kelm.errors import InputError
from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization, Training
from kelm.training.trainer import Trainer
from kg.embeddings.embedding import KnowledgeGraphEmbedding
from kg.embeddings.ranking import metrics, ranks
from kg.enrich.described_triples import DescribedTriples
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.linking.entity_text import EntityText, EntityTextOptions
from kg.linking.triple_text import TripleText
from kg.objectives.knowledge_embedding import KnowledgeEmbedding
from kg.objectives.mention_description import EntityRows
from kg.objectives.triple_batch import Asked
from kg.tasks.completion import described_embedding

RECIPE = Path(kg.__file__).parent / "recipes" / "wang2021_kepler.toml"
OPTIONS = EntityTextOptions(neighbors=0, types=0)
PLACES = ["alm", "bern", "cham", "dorf", "egg", "fulda", "gera", "hof"]
NAMES = [f"{first}{second}" for first in ("ka", "lo", "mi", "nu", "pe", "ru") for second in ("na", "ri", "sa", "to")]
NAME = "knowledge_embedding"


def town_graph(
    rows: list[tuple[str, int, int]], told: dict[str, int] | None = None, relations: int = 2
) -> KnowledgeGraph:
    """People are born in one town and work in another; only their descriptions tell where.

    Args:
        rows: name of a person, number of the two towns.
        told: the number of the person whose description each has, if not the own.
        relations: 1: that of birth only.
    """
    builder = GraphBuilder()
    for place in PLACES:
        builder.label_any(place, "en", place, preferred=True)
    for number, (name, born, work) in enumerate(rows):
        builder.triple(name, "born", PLACES[born])
        if relations == 2:
            builder.triple(name, "works", PLACES[work])
        builder.label_any(name, "en", name, preferred=True)
        _, first, second = rows[number if told is None else told[name]]
        builder.attribute(name, "description", f"from {PLACES[first]} , now {PLACES[second]}", language="en")
    for relation in ("born", "works")[:relations]:
        builder.label_any(relation, "en", relation, preferred=True)
    return builder.build()


def people(seed: int, count: int, prefix: str) -> list[tuple[str, int, int]]:
    random = np.random.default_rng(seed)
    towns = random.integers(0, len(PLACES), (count, 2)).tolist()
    return [(f"{prefix} {NAMES[number % len(NAMES)]} {number}", *pair) for number, pair in enumerate(towns)]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    lines = [f"{name} : from {place} , now {place} . born works" for name, place in zip(NAMES, PLACES * 3, strict=True)]
    return vocabulary.train([*lines, "0 1 2 3 4 5 6 7 8 9", *PLACES * 5], 200, "wordpiece", lower=True)


def small(words: Tokenizer, spread: float = 0.02) -> Encoder:
    torch.manual_seed(0)
    return Encoder(
        EncoderConfig(
            vocab_size=words.vocabulary_size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=40,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=spread,
        )
    )


CASES: list[dict[str, Any]] = [
    {"loss": "kepler", "norm": 1, "state": "first"},
    {"loss": "kepler", "norm": 2, "relation": "text"},
    {"loss": "kepler", "relation": "condition"},
    {"loss": "infonce"},
    {"loss": "infonce", "relation": "text", "state": "first"},
    {"loss": "infonce", "relation": "condition"},
]


@pytest.mark.parametrize("options", CASES, ids=lambda options: "-".join(map(str, options.values())))
def test_ranks_are_those_of_the_scores_of_training(options: dict[str, Any], words: Tokenizer, tmp_path: Path) -> None:
    graph = town_graph(people(1, 7, "dr"))
    encoder = small(words, 0.3).eval()
    objective = KnowledgeEmbedding(encoder.config, relations=2, **options).eval()
    torch.nn.init.normal_(objective.relation_vectors.weight, std=0.3) if objective.has_table else None
    corpus = DescribedTriples(graph, words, texts=OPTIONS, relation=objective.relation, negatives=99)  # all entities
    batch = objective.collate([item for item, _ in corpus.stream()], 0)
    with torch.no_grad():
        stream = encoder.encode(batch)
        entities = objective._read(batch, stream, batch[EntityRows].text)
        scores = objective.scores(objective.queries(batch, stream, entities), entities).double().numpy()
    assert batch[EntityRows].entity.tolist() == list(range(graph.entity_count))
    right = batch[Asked].right.numpy()
    margin = scores - scores[np.arange(len(scores)), right][:, None]
    expected = 1 + (margin > 1e-4).sum(1)
    embedding = described_embedding(objective, encoder, TripleText(EntityText(graph, OPTIONS), words), cache=tmp_path)
    found = ranks(embedding, graph, ties="optimistic", tolerance=1e-4)
    assert np.abs(np.concatenate([found["tail"], found["head"]]) - expected).max() == 0


def trained(graph: KnowledgeGraph, words: Tokenizer, steps: int, **options: Any) -> tuple[Encoder, KnowledgeEmbedding]:
    encoder = small(words, 0.1)
    objective = KnowledgeEmbedding(encoder.config, relations=graph.relation_count, **options)
    corpus = DescribedTriples(graph, words, texts=OPTIONS, relation=objective.relation, negatives=2)
    stream = BatchStream(corpus, objective.collate, tokens=1500, seed=1)
    Trainer(
        Learner(encoder, [objective]),
        {NAME: stream},
        train=Training(steps=steps, seed=1),
        optim=Optimization(rate=3e-3, warmup=0.1),
    ).run()
    return encoder.eval(), objective.eval()


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "kepler", "in_batch": False, "state": "first"},
        {"loss": "infonce", "temperature": 0.2},
        {"loss": "infonce", "relation": "condition", "temperature": 0.2},
    ],
    ids=["kepler", "infonce", "condition"],
)
def test_the_text_of_an_entity_that_was_never_seen_tells_its_triples(options: dict[str, Any], words: Tokenizer) -> None:
    seen, new = people(1, 100, "dr"), people(2, 30, "mr")
    order = np.random.default_rng(5).permutation(len(seen)).tolist()
    dealt = dict(zip([name for name, *_ in seen], order, strict=True))
    judged = town_graph(new, relations=1)
    hits = {}
    for told in (None, dealt):
        graph = town_graph(seen, told, relations=1)
        encoder, objective = trained(graph, words, 100, **options)
        texts = TripleText(EntityText(judged, OPTIONS), words)
        embedding = described_embedding(objective, encoder, texts, relations=list(graph.relation_names))
        found = ranks(embedding, judged, filter=judged, sides=("tail",))
        hits["own" if told is None else "shuffled"] = metrics(found, at=(1,))["hits@1"]
    assert hits["own"] >= 0.9, hits
    assert hits["shuffled"] <= 0.35, hits  # chance among the towns is an eighth


def test_relations_are_matched_by_name_and_unknown_ones_are_told(words: Tokenizer) -> None:
    graph = town_graph(people(1, 5, "dr"))
    encoder = small(words)
    objective = KnowledgeEmbedding(encoder.config, loss="kepler", relations=3)
    texts = TripleText(EntityText(graph, OPTIONS), words)
    rows = objective.relation_vectors.weight.detach().numpy()
    embedding = described_embedding(objective, encoder, texts, relations=["works", "other", "born"])
    assert isinstance(embedding, KnowledgeGraphEmbedding)
    assert list(graph.relation_names) == ["born", "works"]
    assert np.array_equal(embedding.relations, rows[[2, 0]])
    for names in (None, ["works", "other", "else"]):
        with pytest.raises(InputError, match="the objective has vectors of 3 relations"):
            described_embedding(objective, encoder, texts, relations=names)


def test_the_shipped_recipe_trains_words_and_triples_in_every_step(
    words: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    town_graph(people(1, 12, "dr")).save("graph")
    Path("texts.txt").write_text("".join(f"from {place} , now {place}\n" for place in PLACES), encoding="utf-8")
    small(words).to_hf("roberta-base")
    words.save("roberta-base")
    for number, changes in enumerate(
        (
            [],
            ["objectives.1.options.loss=infonce", "objectives.1.options.in_batch=true"],
            [f"objectives.1.{which}options.relation=condition" for which in ("", "corpus.")],
        )
    ):
        sizes = ["train.steps=3", "train.accumulation=2", "optim.warmup=1", "batch.tokens=200", "log.every=1"]
        arguments = [word for change in [*sizes, *changes, f"name=run{number}"] for word in ("--set", change)]
        assert cli.run(["train", str(RECIPE), "--quiet", *arguments]) == 0
        log = [json.loads(line) for line in Path(f"runs/run{number}/log.jsonl").read_text().splitlines()]
        losses = [entry["losses"] for entry in log if "losses" in entry]
        assert len(losses) == 3
        assert all(set(step) == {"mlm", NAME} for step in losses)
