"""KnowBert from recipes: the linker first, then everything; with sentence trees and ERNIE's fusion in one run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import kg
from kelm.batch import Batch
from kelm.model import Encoder
from kelm.training import construct
from kelm.training.learner import Learner
from kelm.training.recipe import Recipe
from kelm.training.recipe_file import parse, read
from kelm.training.run import train
from kg.enrich.sentence_tree import Grown
from kg.linking.candidate_spans import NONE, KnowledgeSpans
from tests.kg.test_ernie_training import NAMES, TEXTS, folder  # noqa: F401
from tests.kg.test_tree_training import TREE, labeled, plain_recipe  # noqa: F401

RECIPES = Path(kg.__file__).parent / "recipes"
SPANS = """
        [objectives.corpus.enrich.candidate_spans.bases.graph]
        graph = "{folder}/graph"
        table = "{folder}/vectors"
        most = 3
"""
BASE = """
        [model.extensions.knowledge_attention.bases.graph]
        table = "{folder}/vectors"
        heads = 2
        inner = 16
        after = 0
"""


def combined(folder: Path, order: tuple[str, str]) -> Recipe:  # noqa: F811
    text = plain_recipe(folder)
    spans = SPANS.format(folder=folder) + 'known = "mentions"\n'
    parts = {"spans": spans, "tree": TREE.format(folder=folder)}
    place = text.index("        [batch]")
    text = text[:place] + "".join(parts[name] for name in order) + text[place:]
    place = text.index("        [tokenizer]")
    return parse(text[:place] + BASE.format(folder=folder) + text[place:])


def opened(made: Recipe) -> tuple[Learner, Batch]:
    words = construct.tokenizer(made)
    torch.manual_seed(0)
    encoder = construct.encoder(made, words)
    parts = construct.Parts(encoder.config, words, encoder, 0)
    objective = construct.objective(made.objectives[0], parts, None, 0)
    corpus = construct.corpus(made.objectives[0].corpus, parts, None, "objectives.0.corpus")
    return Learner(encoder, [objective]), objective.collate([text for text, _ in corpus.stream()], 0)


@pytest.mark.parametrize("order", [("spans", "tree"), ("tree", "spans")])
def test_spans_stay_on_their_words_when_branches_grow_between_them(labeled: Path, order: tuple[str, str]) -> None:  # noqa: F811
    made = combined(labeled, order)
    words, learner = construct.tokenizer(made), opened(made)[0]
    parts = construct.Parts(learner.encoder.config, words, learner.encoder, 0)
    corpus = construct.corpus(made.objectives[0].corpus, parts, None, "objectives.0.corpus")
    said, branches = [], []
    for text, _ in corpus.stream():
        spans = text[KnowledgeSpans]["graph"]
        branches.append(int(text[Grown].branches[0]))
        for first, last, entity in zip(spans.first, spans.last, spans.entity.tolist(), strict=True):
            pieces = (words.piece(int(token)).removeprefix("##") for token in text.tokens[first : last + 1])
            said.append(("".join(pieces), [list(NAMES)[one] for one in entity if one != NONE]))
    assert branches == [1, 1, 0]
    names = [("bonn", ["Q2"]), ("rhine", ["Q1"]), ("germany", ["Q3"]), ("cologne", ["Q4"]), ("rhine", ["Q1"])]
    assert said == names


def test_trees_knowledge_attention_and_fusion_learn_in_one_run(labeled: Path, tmp_path: Path) -> None:  # noqa: F811
    made = combined(labeled, ("spans", "tree"))
    result = train(replace(made, train=replace(made.train, steps=30)), tmp_path / "run", show=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert result.progress.step == 30
    assert lines
    encoder = Encoder.from_pretrained(tmp_path / "run" / "model")
    assert set(encoder.extensions) == {"ernie", "knowledge_attention"}
    learner, batch = opened(made)
    with torch.no_grad():
        before = {name: float(loss) for name, loss in learner.eval()(batch).items()}
        trained = Learner(encoder, list(learner.objectives.values())).eval()
        assert float(trained(batch)["graph_linking"]) < before["graph_linking"]
        told = encoder.encode(batch).hidden
        encoder.mute("knowledge_attention")
        assert not torch.allclose(told, encoder.encode(batch).hidden)


def test_the_shipped_recipes_train_the_linker_and_then_everything(
    folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "table").mkdir()
    (folder / "vectors").rename(folder / "table" / "table")
    (folder / "table").rename(folder / "vectors")
    Path("texts.txt").write_text("".join(f"{text}\n" for text, _ in TEXTS) * 4)
    small = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    changes = [*(f"model.config.{name}={value}" for name, value in small.items()), 'tokenizer.path="words"']
    changes += ["model.extensions.knowledge_attention.bases.graph.heads=2", "batch.tokens=256", "train.passes=30"]
    first = read(RECIPES / "peters2019_knowbert_linker.toml", [*changes, "optim.rate=0.02"])
    first = replace(first, model=replace(first.model, hf=None))
    result = train(first, "runs/knowbert-linker", show=False)
    assert result.progress.losses["entity_linking/graph_linking"] < 0.1
    linked = Encoder.from_pretrained("runs/knowbert-linker/model")
    words = construct.tokenizer(first)
    torch.manual_seed(first.train.seed)
    fresh = dict(construct.encoder(first, words).named_parameters())
    same = {name for name, value in linked.named_parameters() if torch.equal(value, fresh[name])}
    assert {name for name in fresh if ".linker." not in name} == same
    second = read(RECIPES / "peters2019_knowbert.toml", ["batch.tokens=256", "train.steps=20", "optim.rate=0.005"])
    assert second.optim.factors["encoder.encoder.layer.11.*"] == 0.5
    second = replace(second, optim=replace(second.optim, factors={"encoder.extensions.*": 1.0, "encoder.*": 0.2}))
    train(second, "runs/knowbert", show=False)
    lines = [json.loads(line) for line in Path("runs/knowbert/log.jsonl").read_text().splitlines()]
    told = {name for line in lines for name in line.get("losses", ())}
    assert {"masked_candidates", "masked_candidates/next_sentence", "entity_linking/graph_linking"} <= told
    moved = dict(Encoder.from_pretrained("runs/knowbert/model").named_parameters())
    assert all(not torch.equal(moved[name], value) for name, value in linked.named_parameters() if "layer.0." in name)
