"""Sentence trees from a recipe: with ERNIE's fusion and masked words in one run, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kelm.batch import Batch
from kelm.errors import RecipeError
from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from kelm.training import construct, finished
from kelm.training.recipe import Recipe
from kelm.training.recipe_file import parse, read
from kelm.training.run import train
from kg.enrich.sentence_tree import Grown
from kg.graph import GraphBuilder, KnowledgeGraph
from tests.kg.test_ernie_training import NAMES, folder  # noqa: F401
from tests.kg.test_ernie_training import recipe as plain_recipe

TREE = """
        [objectives.corpus.enrich.sentence_tree]
        graph = "{folder}/labeled"
        table = "{folder}/vectors"
        most = 1
        separator = " "
"""


@pytest.fixture
def labeled(folder: Path) -> Path:  # noqa: F811
    """The graph with words for its relations."""
    builder = GraphBuilder().graph(KnowledgeGraph.open(folder / "graph"))
    for relation, name in (("located_on", "lies on"), ("country", "in")):
        builder.label_any(relation, "en", name, preferred=True)
    builder.build().save(folder / "labeled")
    return folder


def recipe(folder: Path, *, workers: int = 0, more: str = "") -> Recipe:  # noqa: F811
    text = plain_recipe(folder, workers)
    place = text.index("        [batch]")
    return parse(text[:place] + TREE.format(folder=folder) + more + text[place:])


def batches(made: Recipe) -> list[Batch]:
    words = construct.tokenizer(made)
    encoder = construct.encoder(made, words)
    parts = construct.Parts(encoder.config, words, encoder, 0)
    objective = construct.objective(made.objectives[0], parts, None, 0)
    corpus = construct.corpus(made.objectives[0].corpus, parts, None, "objectives.0.corpus")
    return [objective.collate([text for text, _ in corpus.stream()], 0)]


def test_branches_hang_on_the_mentions_that_ernie_reads(labeled: Path) -> None:
    made = recipe(labeled)
    [batch] = batches(made)
    assert batch.visibility.branch is not None
    assert batch[Grown].branches.tolist() == [1, 1, 0]  # the Rhine and Germany lead nowhere, Atlantis is unknown
    words = tokenizers.open(labeled / "words")
    said = [
        "".join(words.piece(int(token)) for token in row[branch > 0]).replace("#", "")
        for row, branch in zip(batch.tokens, batch.visibility.branch, strict=True)
    ]
    assert said == ["liesonrhine", "liesonrhine", ""]


def test_tree_fusion_and_masked_words_learn_in_one_run(labeled: Path, tmp_path: Path) -> None:
    made = recipe(labeled)
    made = replace(made, train=replace(made.train, steps=30))
    train(made, tmp_path / "run", show=False)
    lines = [line for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines() if "entity_alignment" in line]
    assert "mlm" in lines[0]
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_workers_read_the_same_trees(labeled: Path, tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("alone", "workers"))
    for place, workers in ((first, 0), (second, 1)):
        made = recipe(labeled, workers=workers)
        train(replace(made, train=replace(made.train, steps=4)), place, show=False)
    from safetensors.torch import load_file

    one, other = (load_file(place / "model" / "model.safetensors") for place in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ('priority = ["country"]', None, ""),
        ("mots = 1", RecipeError, r"enrich\.sentence_tree\.mots: unknown option\. Did you mean \"most\"\?"),
        ('language = "fr"', RecipeError, r"enrich\.sentence_tree\.language: the graph's entities have no labels in fr"),
        ('priority = ["x"]', RecipeError, r'sentence_tree\.priority: no relation of the graph is called "x"'),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_read(
    labeled: Path, change: str, error: type[Exception] | None, told: str
) -> None:
    text = plain_recipe(labeled)
    place = text.index("        [batch]")
    tree = TREE.format(folder=labeled).replace("most = 1", change)
    made = parse(text[:place] + tree + text[place:])
    if error is None:
        batches(made)
        return
    with pytest.raises(error, match=told):
        batches(made)


def test_an_unknown_enricher_is_named(labeled: Path) -> None:
    text = plain_recipe(labeled)
    place = text.index("        [batch]")
    made = parse(text[:place] + TREE.format(folder=labeled).replace("sentence_tree", "sentence_three") + text[place:])
    with pytest.raises(RecipeError, match=r'no enricher is called "sentence_three"\. Did you mean "sentence_tree"'):
        batches(made)


def test_the_shipped_recipe_is_whole() -> None:
    shipped = read(Path(__file__).parents[2] / "kg" / "recipes" / "liu2020_kbert_ernie.toml")
    assert dict(shipped.objectives[0].corpus.enrich)["sentence_tree"]["most"] == 2
    assert set(NAMES) and np.isclose(shipped.optim.rate, 5e-5)


def test_the_shipped_classifier_learns_what_only_the_graph_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # every town is [UNK] to the tokenizer: only its branch tells
    lands = {f"αβ{letter}": ("asia", "africa")[number % 2] for number, letter in enumerate("γδεζηθικλμνξ")}
    builder = GraphBuilder()
    for town, land in lands.items():
        builder.triple(town, "in", land)
    for name in (*lands, "asia", "africa", "in"):
        builder.label_any(name, "en", name, preferred=True)
    builder.build().save("graph")
    for name, towns in (("train", list(lands)[:8]), ("dev", list(lands)[8:])):
        rows = "".join(f"{lands[town]}\twe saw {town} today\n" for town in towns)
        Path(f"{name}.tsv").write_text(f"label\ttext\n{rows}")
    vocabulary.train(["we saw today in asia africa :"] * 9, 58, "wordpiece", lower=True).save("words")
    shipped = Path(__file__).parents[2] / "kg" / "recipes" / "liu2020_kbert.toml"
    places = ("objectives.classification.corpus", "objectives.classification.held_out")
    changes = [
        *(f'{place}.enrich.sentence_tree.language="en"' for place in places),
        *(f"{place}.enrich.sentence_tree.length=24" for place in places),
        *(f"{place}.options.length=16" for place in places),
        "model.config.hidden_size=32", "model.config.num_hidden_layers=2", "model.config.num_attention_heads=2",
        "model.config.intermediate_size=64", "model.config.max_position_embeddings=24", 'tokenizer.path="words"',
        "batch.tokens=128", "optim.rate=0.005", "train.passes=150", "evaluation.every=50",
    ]  # fmt: skip
    made = read(shipped, changes)
    made = replace(made, model=replace(made.model, hf=None))
    result = train(made, "run", show=False)
    assert result.stopped != "signal"
    scores = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert max(line["scores"]["classification/accuracy"] for line in scores if "scores" in line) == 1.0
    whole, trunk = finished.open("run"), finished.open("run", without=["sentence_tree"])
    assert whole([f"we saw {town} today" for town in lands]) == list(lands.values())
    assert whole.measured().scores["classification/accuracy"] == 1.0
    assert trunk.measured().scores["classification/accuracy"] < 1.0
    with pytest.raises(RecipeError, match=r'no corpus has an enricher "sentence_three".*"sentence_tree"'):
        finished.open("run", without=["sentence_three"])
