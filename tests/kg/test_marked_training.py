"""The shipped recipes for relations and types, from JSON lines to answers, with a tiny ERNIE in the big one's place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kg
from kelm import cli
from kelm.errors import FormatError
from kelm.model import Encoder, EncoderConfig
from kelm.tasks.base import Task
from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from kelm.training import construct
from kelm.training.recipe import Recipe
from kelm.training.recipe_file import read
from kelm.training.run import train
from kg.embeddings.table import EntityTable

RECIPES = Path(kg.__file__).parent / "recipes"
SENTENCES = ["yesterday {} saw {} again .", "we heard that {} and {} are old .", "{} is not far from {} ."]
NAMES = ["alm", "bern", "cham", "dorf", "egg", "fulda", "gera", "hof"]
KINDS = ("city", "river")  # what an entity is, its vector tells; its name does not
QUICK = ["optim.rate=1e-2", "train.passes=12", "batch.tokens=128", "evaluation.every=10"]


def kind(number: int) -> str:
    return KINDS[number % 2]


def line(sentence: str, head: int, tail: int) -> dict[str, Any]:
    """A sentence about two of the entities, as both recipes read it."""
    text = sentence.format(NAMES[head], NAMES[tail])
    spans = [[start := text.index(NAMES[n]), start + len(NAMES[n]), f"Q{n}"] for n in (head, tail)]
    return {
        "text": text,
        "head": spans[0],
        "tail": spans[1],
        "relation": f"of a {kind(head)}",
        "mention": spans[0],
        "mentions": spans[1:],
        "types": [kind(head), "place"],
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the recipes find what they name: the model to start from, with its table, and the texts."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(len(NAMES), 8)) + np.array([[4.0], [-4.0]])[np.arange(len(NAMES)) % 2]
    EntityTable.from_vectors([f"Q{number}" for number in range(len(NAMES))], vectors).save("vectors")
    words = vocabulary.train([line(s, h, 7 - h)["text"] for s in SENTENCES for h in range(8)], 110, "wordpiece")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    more = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.2}
    extensions = {"ernie": {"table": "vectors", "heads": 2}}
    config = EncoderConfig(vocab_size=words.vocabulary_size, **sizes, **more, extensions=extensions)
    Encoder(config).save_pretrained("runs/ernie/model")
    words.save("runs/ernie/model")
    write("train.jsonl", [line(s, head, tail) for s in SENTENCES for head in range(6) for tail in (6, 7)])
    write("dev.jsonl", [line(s, head, tail) for s in SENTENCES for head in (6, 7) for tail in (0, 1)])
    return tmp_path


def write(path: str, lines: Sequence[Mapping[str, Any]]) -> None:
    Path(path).write_text("".join(f"{json.dumps(one)}\n" for one in lines), encoding="utf-8")


def shipped(name: str, *changes: str) -> Recipe:
    hidden = [f"objectives.0.{corpus}.options.hidden=true" for corpus in ("corpus", "held_out")]
    return read(RECIPES / f"{name}.toml", [*QUICK, *hidden, *changes])


def answers(recipe: Recipe, model: Path) -> tuple[list[Any], list[Any]]:
    """The right answers to the held-out texts, and those of the model in a run's folder."""
    choice = recipe.objectives[0]
    encoder, words = Encoder.from_pretrained(model), tokenizers.open(model)
    parts = construct.Parts(encoder.config, words, encoder, 0)
    task = construct.objective(choice, parts, str(model), 0)
    assert isinstance(task, Task) and choice.held_out is not None
    texts = [text for text, _ in construct.corpus(choice.held_out, parts, None, "held_out").stream()]
    batch = task.eval().collate(texts, 0)
    with torch.inference_mode():
        return task.gold(texts), task.predict(batch, encoder.eval().encode(batch))


@pytest.mark.parametrize("name", ["zhang2019_ernie_relations", "zhang2019_ernie_typing"])
def test_what_the_graph_knows_of_hidden_entities_is_learned_and_kept(name: str, folder: Path) -> None:
    recipe = shipped(name)
    metric = recipe.evaluation.metric
    assert metric is not None
    result = train(recipe, folder / "run", show=False)
    scores = [scores[metric] for _, scores in result.history]
    best = result.history[scores.index(max(scores))]
    assert (result.progress.best_step, result.progress.best) == (best[0], best[1][metric])
    gold, said = answers(recipe, folder / "run" / "model")
    assert said == gold
    assert max(scores) == 1


@pytest.mark.parametrize(
    ("name", "run", "metric"),
    [
        ("zhang2019_ernie_relations", "ernie-relations", "relations/accuracy"),
        ("zhang2019_ernie_typing", "ernie-typing", "entity_typing/micro_f1"),
    ],
)
def test_the_command_line_runs_them_as_they_are(name: str, run: str, metric: str, folder: Path) -> None:
    assert cli.run(["train", str(RECIPES / f"{name}.toml"), "--quiet", "--set", "train.passes=1"]) == 0
    log = (folder / "runs" / run / "log.jsonl").read_text().splitlines()
    [scores] = [entry["scores"] for entry in map(json.loads, log) if "scores" in entry]
    assert 0 <= scores[metric] <= 1
    assert (folder / "runs" / run / "model" / "heads.safetensors").is_file()


def test_a_plain_encoder_does_without_a_table(folder: Path) -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = (RECIPES / "zhang2019_ernie_relations.toml").read_text()
    (folder / "plain.toml").write_text("".join(part for part in text.splitlines(True) if not part.startswith("table")))
    words = tokenizers.open("runs/ernie/model")
    Encoder(EncoderConfig(vocab_size=words.vocabulary_size, **small)).to_hf(folder / "plain")
    words.save("plain")
    result = train(read("plain.toml", ["model.hf=plain", "train.passes=1"]), folder / "run", show=False)
    assert "relations/accuracy" in result.progress.scores


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unknown_held_out_relation_stops_the_run_before_it_starts(workers: int, folder: Path) -> None:
    write("dev.jsonl", [line(SENTENCES[0], 0, 1), {**line(SENTENCES[0], 0, 1), "relation": "of a citty"}])
    told = r'dev.jsonl, line 2, field relation: "of a citty" is none of the 2 labels. Did you mean "of a city"'
    with pytest.raises(FormatError, match=told):
        train(shipped("zhang2019_ernie_relations", f"batch.workers={workers}"), folder / "run", show=False)
    assert not (folder / "run").exists()


def test_the_recipes_hold_the_papers_values() -> None:
    relations, typing = (read(RECIPES / f"zhang2019_ernie_{name}.toml") for name in ("relations", "typing"))
    assert (relations.optim.rate, relations.train.passes) == (typing.optim.rate, typing.train.passes) == (2e-5, 10)
    assert (relations.batch.tokens, typing.batch.tokens) == (32 * 35, 16 * 35)
