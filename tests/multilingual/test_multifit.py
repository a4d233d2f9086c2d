"""MultiFiT from texts to a classifier: its language model, a teacher's labels, a student of them, by the recipes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

import kelm
import multilingual
from kelm import cli
from kelm.model import Encoder
from kelm.model.qrnn import QRNNLayer
from kelm.training import finished
from tests.kelm.tasks.toy import save_model

RECIPES = Path(multilingual.__file__).parent / "recipes"
NOUNS = ("film", "book", "song", "play", "room", "tale")
JUDGED = {"good": "positive", "fine": "positive", "bad": "negative", "dull": "negative"}
TEXTS = [f"a {word} {noun} it was" for noun in NOUNS for word in JUDGED]


def run(folder: Path, recipe: Path, out: str, values: Mapping[str, object]) -> Path:
    changes = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    assert cli.run(["train", str(recipe), "--out", str(folder / out), "--quiet", *changes]) == 0
    return folder / out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multifit")
    save_model(TEXTS, folder / "bert")
    (folder / "texts.txt").write_text("\n".join([*TEXTS, ""]))
    (folder / "labels.txt").write_text("negative\npositive\n")
    for name, nouns in (("train", NOUNS[:4]), ("dev", NOUNS[4:])):
        lines = [{"text": f"a {word} {noun} it was", "label": JUDGED[word]} for noun in nouns for word in JUDGED]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """A language model by MultiFiT's recipe, in small."""
    values = {
        **{f"model.config.{name}": size for name, size in (("hidden_size", 16), ("intermediate_size", 32))},
        **{"model.config.num_hidden_layers": 2, "tokenizer.path": folder / "bert", "optim.rate": 0.02},
        **{"objectives.0.corpus.options.paths": folder / "texts.txt", "train.passes": 200, "batch.tokens": 100},
        "log.every": 1,
    }
    return run(folder, RECIPES / "eisenschlos2019_multifit.toml", "lm", values)


def test_the_language_model_learns_texts_by_heart(model: Path) -> None:
    log = [json.loads(line) for line in (model / "log.jsonl").read_text().splitlines()]
    losses = [line["losses"]["causal_lm"] for line in log if "losses" in line]
    # "a", "it", "was" and the end are certain; one of 4 words and one of 6 nouns: (ln 4 + ln 6) / 6 tokens
    assert losses[0] > 3
    assert losses[-1] == pytest.approx((math.log(4) + math.log(6)) / 6, abs=0.1)
    assert isinstance(Encoder.from_pretrained(model / "model").encoder.layer[0], QRNNLayer)


def test_a_student_learns_what_a_teachers_labels_say(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {"objectives.0.options.labels": folder / "labels.txt"}
    for part, name in (("corpus", "train"), ("held_out", "dev")):
        labels[f"objectives.0.{part}.options.path"] = folder / f"{name}.jsonl"
        labels[f"objectives.0.{part}.options.labels"] = folder / "labels.txt"
    quick = {
        "train.passes": 40,
        "batch.tokens": 64,
        "optim.rate": 0.005,
        "evaluation.metric": "classification/accuracy",
    }
    teacher = run(
        folder,
        Path(kelm.__file__).parent / "recipes" / "classification.toml",
        "teacher",
        {
            "model.hf": folder / "bert",
            **labels,
            **quick,
            "evaluation.every": 20,
        },
    )
    capsys.readouterr()
    pseudo = folder / "pseudo.jsonl"
    assert cli.run(["label", str(teacher), str(folder / "texts.txt"), "--out", str(pseudo), "--quiet"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "24 texts, mean confidence" in told and "positive 12 50.0%" in told
    lines = [json.loads(line) for line in pseudo.read_text().splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    opened = finished.open(teacher)
    assert [line["label"] for line in lines] == opened(TEXTS)
    assert all(0.5 <= line["confidence"] <= 1 for line in lines)
    values = {"model.hf": model / "model", **labels, "objectives.0.corpus.options.path": pseudo, "train.passes": 80}
    values |= {"optim.rate": 0.005, "optim.layer_decay": 1.0}  # which fit so narrow a network
    student = run(
        folder, RECIPES / "eisenschlos2019_multifit_classifier.toml", "student", {**values, "batch.tokens": 64}
    )
    made = finished.open(student)
    assert made.learner.encoder.config.qrnn == {"scale": 0.5}
    assert made.measured().scores["classification/accuracy"] == 1.0


def test_only_sure_labels_are_kept_and_none_is_an_error(folder: Path, model: Path, tmp_path: Path) -> None:
    teacher = str(folder / "teacher")
    out = ["--out", str(tmp_path / "sure.jsonl"), "--quiet"]
    for wrong in ("1.5", "-0.1"):
        assert cli.run(["label", teacher, str(folder / "texts.txt"), *out, f"--least={wrong}"]) == 2
    assert cli.run(["label", teacher, str(folder / "texts.txt"), *out, "--least", "1.0"]) in (0, 2)
    (tmp_path / "blank.txt").write_text("\n\n")
    assert cli.run(["label", teacher, str(tmp_path / "blank.txt"), *out]) == 2
    assert not (tmp_path / "sure.jsonl").exists() or (tmp_path / "sure.jsonl").stat().st_size
    assert cli.run(["label", str(model), str(folder / "texts.txt"), *out]) == 2  # a language model gives no labels
