"""Text classification: what is read of a text, and a toy set learned by heart from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from kelm import cli
from kelm.batch import Encoded, pack
from kelm.data.labeled_text import Label, labeled_text
from kelm.errors import InputError, KelmError, MissingPart, UnknownName
from kelm.model import Encoder, EncoderConfig
from kelm.tasks.classification import TextClassification
from kelm.tasks.states import TextState
from kelm.training.recipe_file import read
from tests.kelm.tasks.toy import QUICK, RECIPES, answers, config_of, save_model

LABELS = ("negative", "positive")
NOUNS = ("film", "book", "song", "play", "room")
JUDGED = {"good": "positive", "fine": "positive", "bad": "negative", "dull": "negative"}
TRAIN = [(JUDGED[word], f"a {word} {noun} it was") for noun in NOUNS[:4] for word in JUDGED]
DEV = [(JUDGED[word], f"a {word} {NOUNS[4]} it was") for word in JUDGED]

CONFIG = EncoderConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=50)


def text(number: int, length: int) -> Encoded:
    count = np.arange(length)
    words = np.where((count == 0) | (count == length - 1), -1, count - 1)
    tokens = np.random.default_rng(number).integers(5, 50, length)
    return Encoded("", tokens, np.stack([count, count + 1], 1), words, np.zeros_like(count), number=number)


def label(number: int) -> Label:
    return Label(torch.tensor([0]), torch.tensor([number]))


def task(*states: TextState, **options: Any) -> TextClassification:
    return TextClassification(CONFIG, labels=LABELS, states=states or ("pooled",), **options).eval()


@pytest.mark.parametrize("state", get_args(TextState))
def test_a_state_is_read_of_each_text_alone_wherever_it_lies(state: TextState) -> None:
    torch.manual_seed(0)
    encoder, made = Encoder(CONFIG).eval(), task(state)
    texts = [text(0, 5), text(1, 9), text(2, 4)]

    def read(hidden: Tensor) -> Tensor:
        if state == "pooled":
            assert made.states.pooler is not None
            return made.states.pooler(hidden[:1])
        pooled = {"first": hidden[0], "last": hidden[-1], "mean": hidden.mean(0), "max": hidden.max(0).values}
        return pooled[state][None]

    expected = torch.cat([made.classifier(read(encoder.encode(pack([one], pad=0)).hidden[0])) for one in texts])
    for room in (None, 9, 20):
        batch = pack(texts, pad=0, room=room)
        assert torch.allclose(made.logits(batch, encoder.encode(batch)), expected, atol=1e-5)


def test_a_hidden_layer_and_several_states_widen_the_classifier() -> None:
    made = task("pooled", "mean", hidden=7)
    assert made.classifier.dense is not None
    assert tuple(made.classifier.dense.weight.shape) == (7, 32)
    assert tuple(made.classifier.scores.weight.shape) == (2, 7)
    assert task().classifier.dense is None


@pytest.mark.parametrize("by_labels", [False, True])
def test_label_smoothing_is_the_formula_over_the_labels(by_labels: bool) -> None:
    made, encoder = task(smoothing=0.1, smoothing_by_labels=by_labels), Encoder(CONFIG).eval()
    labeled = [text(number, 5).having(label(number % 2)) for number in range(3)]
    batch = made.collate(labeled, 0)
    stream, wanted = encoder.encode(batch), 0.0
    epsilon = 0.05 if by_labels else 0.1
    for scores, gold in zip(made.logits(batch, stream), batch[Label].label.tolist(), strict=True):
        surprise = -torch.log(scores.exp() / scores.exp().sum())
        wanted += ((1 - epsilon) * surprise[gold] + epsilon / 2 * surprise.sum()).item()
    assert float(made.loss(batch, stream)["classification"].detach()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_a_smoothing_that_is_no_share_is_refused(smoothing: float) -> None:
    with pytest.raises(InputError, match="field smoothing"):
        task(smoothing=smoothing)


def test_a_recurrent_networks_classifier_reads_no_first_state() -> None:
    config = EncoderConfig(family="qrnn", vocab_size=50, hidden_size=8, intermediate_size=12, num_hidden_layers=2)
    with pytest.raises(InputError, match=r'field states: .* Set states = \["last", "max", "mean"\]'):
        TextClassification(config, labels=LABELS)
    made = TextClassification(config, labels=LABELS, states=["last", "max", "mean"]).eval()
    batch = made.collate([text(0, 5).having(label(1)), text(1, 9).having(label(0))], 0)
    assert len(made.predict(batch, Encoder(config).eval().encode(batch))) == 2


def test_an_unknown_state_is_named() -> None:
    with pytest.raises(
        UnknownName, match=r'field states: no state is called "markers". Known: first, last, max, mean, pooled'
    ):
        task("markers")  # type: ignore[arg-type]


def test_without_labels_it_answers_but_has_no_loss() -> None:
    encoder, made = Encoder(CONFIG).eval(), task()
    batch = made.collate([text(0, 5)], 0)
    stream = encoder.encode(batch)
    assert made.predict(batch, stream)[0] in LABELS
    with pytest.raises(MissingPart, match="Label"):
        made.loss(batch, stream)


def test_a_part_of_the_label_moves_with_its_text() -> None:
    labeled = [text(n, 5).having(Label(torch.tensor([0]), torch.tensor([n % 2]))) for n in range(3)]
    batch = pack(labeled, pad=0, room=10)
    assert (batch[Label].text.tolist(), batch[Label].label.tolist()) == ([0, 1, 2], [0, 1, 0])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the recipe finds what it names: a model to start from, and the texts."""
    monkeypatch.chdir(tmp_path)
    save_model([sentence for _, sentence in TRAIN + DEV], tmp_path / "model")
    for name, rows in (("train", TRAIN), ("dev", DEV)):
        lines = "".join(f"{label}\t{sentence}\n" for label, sentence in rows)
        Path(f"{name}.tsv").write_text(f"label\ttext\n{lines}")
    return tmp_path


@pytest.mark.parametrize("changes", [[], ["objectives.0.options.states=['mean']", "batch.room=40"]], ids=str)
def test_the_shipped_recipe_learns_a_toy_set_and_keeps_the_best_model(changes: list[str], folder: Path) -> None:
    path, sets = str(RECIPES / "classification.toml"), [*QUICK, *changes]
    assert cli.run(["train", path, "--quiet", *(word for one in sets for word in ("--set", one))]) == 0
    recipe = read(path, sets)
    assert recipe.objectives[0].held_out is not None
    unread = {**recipe.objectives[0].held_out.options, "labels": None}
    model = folder / "runs" / "classification" / "model"
    made, texts, said = answers(recipe, model, recipe.objectives[0].held_out)
    assert said == made.gold(texts) == [label for label, _ in DEV]
    assert answers(recipe, model, replace(recipe.objectives[0].held_out, options=unread))[2] == said
    log = [json.loads(line) for line in (model.parent / "log.jsonl").read_text().splitlines()]
    assert max(entry["scores"]["classification/accuracy"] for entry in log if "scores" in entry) == 1


def test_a_corpus_that_numbers_labels_otherwise_is_refused(folder: Path) -> None:
    words = save_model([sentence for _, sentence in TRAIN], folder / "other")
    corpus = labeled_text("train.tsv", labels=LABELS[::-1], tokenizer=words, config=config_of(words))
    texts = [one for one, _ in corpus.stream()]
    made = TextClassification(config_of(words), labels="train.tsv")
    assert made.labels == LABELS
    with pytest.raises(KelmError, match=r"train.tsv:2: the corpus numbers its labels by another list than classif"):
        made.collate(texts, 0)


def test_the_recipe_holds_berts_values() -> None:
    recipe = read(RECIPES / "classification.toml")
    assert (recipe.optim.rate, recipe.train.passes, recipe.optim.warmup) == (2e-5, 3, 0.1)
