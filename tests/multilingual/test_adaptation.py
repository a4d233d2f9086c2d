"""A tiny checkpoint learns a language that it never read, in three ways, and stops and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from kelm import cli
from kelm.model import Encoder, EncoderConfig, VocabularyHead
from kelm.text import vocabulary
from kelm.training import finished
from multilingual.adaptation import Adaptation
from multilingual.modules.adapters import load_adapters

OLD = ["the cat sat on the mat", "a dog ran to the house"]
NEW = ["xinku balo rema", "rema xinku tolo", "balo tolo xinku rema"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    words = vocabulary.train([*OLD * 20, "abcdefghijklmnopqrstuvwxyz"], 60, "bpe")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = EncoderConfig(
        family="xlm-roberta",
        vocab_size=words.vocabulary_size,
        pad_token_id=words.pad,
        intermediate_size=48,
        max_position_embeddings=66,
        **sizes,
    )
    encoder = Encoder(config)
    encoder.to_hf(folder, head=VocabularyHead(config))
    words.save(folder)
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0).integers(0, 3, 300).tolist()
    (tmp_path / "wo.txt").write_text("".join(f"{NEW[one]}\n" for one in drawn))
    return tmp_path / "wo.txt"


def told(checkpoint: Path, text: Path, *more: str) -> list[str]:
    named = ["adapt", str(checkpoint), "--text", f"wo={text}", "--out", str(text.parent / "out"), "--quiet"]
    return [*named, "--tokens", "256", "--rate", "0.01", *more]


def gained(printed: str) -> tuple[float, float]:
    row = next(line.split() for line in printed.splitlines() if line.split()[:1] == ["wo"])
    return float(row[1]), float(row[2])


def test_adapters_alone_learn_the_language_and_are_one_small_file(
    checkpoint: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(told(checkpoint, text, "--steps", "60")) == 0
    before, after = gained(capsys.readouterr().out)
    assert after < before - 0.1  # the checkpoint is random, and the head stays as it is
    out = text.parent / "out"
    encoder = Encoder.from_hf(checkpoint, extensions={"adapters": {"languages": ["wo"]}})
    load_adapters(encoder, out / "adapters.safetensors")  # the checkpoint's weights are as they were
    trained = finished.open(out / "run").learner.encoder
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in encoder.state_dict().items())
    assert not (out / "model").exists()


@pytest.mark.parametrize("train", ["whole", "embeddings"])
def test_a_longer_vocabulary_and_the_model_open_elsewhere(
    train: str, checkpoint: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(told(checkpoint, text, "--steps", "40", "--train", train, "--vocabulary", "20")) == 0
    printed = capsys.readouterr().out
    before, after = gained(printed)
    assert after < before
    out = text.parent / "out"
    opened = AutoModelForMaskedLM.from_pretrained(out / "model")
    words = AutoTokenizer.from_pretrained(out / "model")
    assert opened.get_input_embeddings().weight.shape[0] == len(words) > 60
    assert len(words.tokenize(NEW[0])) < len(AutoTokenizer.from_pretrained(checkpoint).tokenize(NEW[0]))
    start = dict(Encoder.from_hf(out / "start").state_dict())
    ended = dict(Encoder.from_hf(out / "model").state_dict())
    same = {name for name, value in start.items() if torch.equal(value, ended[name])}
    changed = set(start) - same
    assert (changed == {"embeddings.word_embeddings.weight"}) == (train == "embeddings")


def test_what_was_stopped_goes_on(checkpoint: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = Adaptation(model=str(checkpoint), out=text.parent / "out", steps=10, tokens=256)
    asked.prepare({"wo": [str(text)]})
    assert cli.run(told(checkpoint, text)) == 2
    assert "Go on with --resume" in capsys.readouterr().err
    assert cli.run(told(checkpoint, text, "--resume")) == 0
    assert "adapters.safetensors: written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--train", "adapter"], 'Did you mean "adapters"'),
        (["--steps", "0"], "steps"),
        (["--text", "englsh=x.txt"], 'Did you mean "english"'),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    more: list[str], said: str, checkpoint: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(told(checkpoint, text, *more)) == 2
    assert said in capsys.readouterr().err
    assert not (text.parent / "out").exists()


def test_a_handful_of_texts_is_too_few(checkpoint: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text.write_text("xinku\n" * 4)
    assert cli.run(told(checkpoint, text)) == 2
    assert "wo has 4 texts" in capsys.readouterr().err
