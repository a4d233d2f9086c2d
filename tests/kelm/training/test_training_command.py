"""`kelm train` from recipe to model, and what it says when something is wrong."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils import logging

from kelm.cli import run
from kelm.data.corpus import Shard
from kelm.data.reader import Reader
from kelm.data.sources import TextFiles
from kelm.data.stream import BatchStream
from kelm.errors import RecipeError
from kelm.model import Encoder, EncoderConfig, VocabularyHead
from kelm.text.tokenizer import open as open_tokenizer
from kelm.training.checkpoint import checkpoints, read_tensors
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Batching
from kelm.training.recipe_file import keep, read
from kelm.training.run import count_batches
from kelm.training.run import train as train_recipe
from tests.kelm.training.forks import exit_code
from tests.kelm.training.tiny_text import WORDS
from tests.kelm.training.tiny_text import recipe as write_recipe


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe that has been trained into `run`."""
    folder = tmp_path_factory.mktemp("home")
    assert run(["train", str(write_recipe(folder)), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder


def test_a_run_records_what_it_was(home: Path) -> None:
    assert read(home / "run" / "recipe.toml") == read(home / "tiny.toml")
    record = json.loads((home / "run" / "run.json").read_text())
    assert record["versions"]["torch"] == torch.__version__
    assert (record["seed"], record["steps"]) == (0, 12)
    reader = Reader(TextFiles(home / "text.txt"), open_tokenizer(home / "vocab.txt"), 32)
    assert record["data"] == {"mlm": reader.fingerprint()}
    held_out = Reader(TextFiles(home / "held_out.txt"), open_tokenizer(home / "vocab.txt"), 32)
    assert record["held_out"] == {"mlm": held_out.fingerprint()}
    assert record["machine"]["processes"] == 1
    lines = [json.loads(line) for line in (home / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "losses" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "scores" in line] == [5, 10, 12]


def test_the_trained_model_opens_with_its_tokenizer(home: Path) -> None:
    model = home / "run" / "model"
    assert open_tokenizer(model).encode(["ba be"])[0].tokens.tolist() == [2, 5, 6, 3]
    encoder = Encoder.from_pretrained(model)
    assert (encoder.config.vocab_size, encoder.config.pad_token_id) == (30, 0)
    assert read_tensors(model / "heads.safetensors")["mlm.head.bias"].shape == (30,)


def test_training_learns_from_text(home: Path, tmp_path: Path) -> None:
    """Sentences of one word each, so that a hidden one can be told from the others."""
    for name, first in (("train", 0), ("other", 7)):
        texts = "".join(f"{' '.join([WORDS[(first + n) % 25]] * (4 + n % 5))}\n" for n in range(100))
        (tmp_path / f"{name}.txt").write_text(texts)
    result = train_recipe(
        read(
            home / "tiny.toml",
            [
                f"objectives.mlm.corpus.options.paths={tmp_path / 'train.txt'}",
                f"objectives.mlm.held_out.options.paths={tmp_path / 'other.txt'}",
                "train.steps=120",
                "evaluation.every=40",
                "optim.rate=2e-2",
                "model.config.initializer_range=0.1",
            ],
        ),
        tmp_path / "run",
        show=False,
    )
    losses = [scores["mlm/loss"] for _, scores in result.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1.0


def test_a_recipe_names_a_causal_language_model(home: Path, tmp_path: Path) -> None:
    text = (home / "tiny.toml").read_text().replace("mlm", "causal_lm").replace("options = { rate = 0.2 }\n", "")
    (tmp_path / "causal.toml").write_text(text)
    result = train_recipe(read(tmp_path / "causal.toml"), tmp_path / "run", show=False)
    assert (result.stopped, sorted(result.progress.losses)) == ("done", ["causal_lm"])
    (_, first), *_, (_, last) = result.history
    assert last["causal_lm/loss"] < first["causal_lm/loss"]


def test_passes_are_counted_as_steps(home: Path, tmp_path: Path) -> None:
    wanted = read(home / "tiny.toml")
    reader = Reader(TextFiles(home / "text.txt"), open_tokenizer(home / "vocab.txt"), 32)
    batches = count_batches(reader, wanted.batch)
    assert batches == 11  # 120 texts of 9.5 tokens, 100 tokens a batch
    assert count_batches(reader, Batching(tokens=100, room=20), shard=Shard(1, 2)) == 6
    text = (home / "tiny.toml").read_text().replace("steps = 12", "passes = 1.5\naccumulation = 2")
    (tmp_path / "passes.toml").write_text(text)
    result = train_recipe(read(tmp_path / "passes.toml"), tmp_path / "run", show=False)
    assert (result.stopped, result.progress.step) == ("done", 9)  # ceil(11 * 1.5 / 2)


def test_passes_are_counted_as_the_workers_divide_them(home: Path) -> None:
    """1,140 tokens are one batch of 800, and two if two workers read half of them each."""
    reader = Reader(TextFiles(home / "text.txt"), open_tokenizer(home / "vocab.txt"), 32)
    alone, shared = Batching(tokens=800), Batching(tokens=800, workers=2)
    assert (count_batches(reader, alone), count_batches(reader, shared)) == (1, 2)
    quarters = [count_batches(reader, Batching(tokens=100), shard=part) for part in Shard(1, 2).split(2)]
    assert count_batches(reader, Batching(tokens=100, workers=2), shard=Shard(1, 2)) == sum(quarters)


def test_everything_in_a_recipe_reaches_the_trainer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def trainer(learner: Learner, streams: dict[str, BatchStream[Any]], **options: Any) -> None:
        given.update(options, streams=streams)
        raise KeyboardInterrupt

    monkeypatch.setattr("kelm.training.run.Trainer", trainer)
    wanted = read(
        home / "tiny.toml",
        ["objectives.mlm.weight=0.5", "objectives.mlm.rate=2.0", "train.seed=7", "batch.room=32", "batch.workers=2"],
    )
    with pytest.raises(KeyboardInterrupt):
        train_recipe(wanted, home / "never", resume=True, show=False)
    for name, part in (
        ("train", wanted.train),
        ("optim", wanted.optim),
        ("evaluation", wanted.evaluation),
        ("checkpoints", wanted.checkpoint),
        ("log", wanted.log),
    ):
        assert given[name] == part
    assert (given["weights"], given["rates"]) == ({"mlm": 0.5}, {"mlm": 2.0})
    assert (given["folder"], given["resume"], given["show"]) == (home / "never", True, False)
    assert isinstance(given["evaluate"], HeldOut)
    settings = given["streams"]["mlm"].state()
    expected = {"tokens": 100, "room": 32, "pool": 50, "seed": 7, "workers": 2, "shard": [0, 1]}
    assert {name: settings[name] for name in expected} == expected


def test_a_run_is_not_resumed_by_another_recipe(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(home / "run", tmp_path / "run")
    arguments = ["train", str(home / "tiny.toml"), "--out", str(tmp_path / "run"), "--resume", "--quiet"]
    assert run([*arguments, "--set", "optim.rate=1"]) == 2
    assert "another recipe has its results here" in capsys.readouterr().err


def test_a_metric_that_no_score_has_is_told_before_the_first_step(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(home / "tiny.toml"), "--out", str(tmp_path / "run"), "--set", "evaluation.metric=mlm/los"]
    assert run(arguments) == 2
    assert 'no score is called "mlm/los". Did you mean "mlm/loss"' in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_made_nothing_yet_gives_way_to_another(home: Path, tmp_path: Path) -> None:
    one, other = (read(home / "tiny.toml", [f"optim.rate={rate}"]) for rate in (1e-3, 2e-3))
    keep(one, tmp_path / "recipe.toml")
    keep(other, tmp_path / "recipe.toml")
    assert read(tmp_path / "recipe.toml").optim.rate == 2e-3
    (tmp_path / "outcomes.jsonl").touch()
    keep(other, tmp_path / "recipe.toml")
    with pytest.raises(RecipeError, match="another recipe has its results here"):
        keep(one, tmp_path / "recipe.toml")


def test_training_goes_on_from_a_model_of_ours_with_its_heads(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.enable_progress_bar()  # transformers' own, which another command may have turned off
    seen = {}

    def stop(trainer: object) -> None:
        seen.update(trainer.learner.state_dict())  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr("kelm.training.trainer.Trainer.run", stop)
    text = (home / "tiny.toml").read_text()
    start, end = text.index("[model.config]"), text.index("[[objectives]]")
    (tmp_path / "on.toml").write_text(f'{text[:start]}[model]\nhf = "{home / "run" / "model"}"\n\n{text[end:]}')
    assert run(["train", str(tmp_path / "on.toml"), "--out", str(tmp_path / "run")]) == 130
    assert "Loading weights" in capsys.readouterr().err
    assert run(["train", str(tmp_path / "on.toml"), "--out", str(tmp_path / "run"), "--quiet"]) == 130
    assert "Loading weights" not in capsys.readouterr().err
    saved = read_tensors(home / "run" / "model" / "heads.safetensors")
    assert torch.equal(seen["objectives.mlm.head.dense.weight"], saved["mlm.head.dense.weight"])
    words = Encoder.from_pretrained(home / "run" / "model").embeddings.word_embeddings.weight
    assert torch.equal(seen["encoder.embeddings.word_embeddings.weight"], words)


def test_a_signal_after_the_last_step_does_not_call_the_run_stopped(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kelm.training.trainer._due", lambda step, every: os.kill(os.getpid(), signal.SIGINT))
    assert run(["train", str(home / "tiny.toml"), "--out", str(tmp_path / "run"), "--set", "train.steps=1"]) == 130
    assert f"{tmp_path / 'run' / 'model'}: 1 steps" in capsys.readouterr().out
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("with_head", [True, False])
def test_training_starts_from_hugging_face_with_its_vocabulary_head(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_head: bool
) -> None:
    config = EncoderConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, pooler=False
    )
    head = VocabularyHead(config)
    Encoder(config).to_hf(tmp_path / "bert", head=head if with_head else None)
    open_tokenizer(home / "vocab.txt").save(tmp_path / "bert")
    seen: list[Learner] = []

    def stop(trainer: object) -> None:
        seen.append(trainer.learner)  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr("kelm.training.trainer.Trainer.run", stop)
    text = (home / "tiny.toml").read_text()
    start, end = text.index("[model.config]"), text.index("[[objectives]]")
    changes = f'[model]\nhf = "{tmp_path / "bert"}"\n[model.config]\nhidden_dropout_prob = 0.3\n'
    (tmp_path / "on.toml").write_text(f"{text[:start]}{changes}\n{text[end:]}")
    assert run(["train", str(tmp_path / "on.toml"), "--out", str(tmp_path / "run")]) == 130
    weight = seen[0].state_dict()["objectives.mlm.head.dense.weight"]
    assert torch.equal(weight, head.dense.weight) is with_head
    assert seen[0].encoder.config.hidden_dropout_prob == 0.3


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ("optim.rat=1", 2, 'field optim.rat: unknown key. Did you mean "rate"?'),
        ("optim.rate=fast", 2, "--set optim.rate=fast, field optim.rate: expected a number, found a string 'fast'"),
        (
            "objectives.mlm.name=mln",
            2,
            'field objectives.0.name: no objective or task is called "mln". Did you mean "mlm"?',
        ),
        (
            "objectives.mlm.options.rat=1",
            2,
            '--set objectives.mlm.options.rat=1, field objectives.0.options.rat: unknown option. Did you mean "rate"?',
        ),
        ("objectives.mlm.options.rate=2", 2, "field objectives.0.options.rate: Masking: rate is 2"),
        ("objectives.mlm.options.kind=tokens", 2, "'tokens' is not allowed. Did you mean \"token\"?"),
        ("objectives.mlm.options.rate=often", 2, "field objectives.0.options.rate: expected a number"),
        ("objectives.mlm.corpus.name=txt", 2, 'no corpus is called "txt". Did you mean "text"?'),
        ("objectives.mlm.corpus.options={}", 2, "field objectives.0.corpus.options.paths: missing option. Add paths."),
        ("objectives.mlm.corpus.options.paths=none.txt", 2, "none.txt"),
        ("objectives.mlm.held_out.options.docs=true", 2, "field objectives.0.held_out.options.docs: unknown option"),
        ("model.config.hiden_size=3", 2, 'field model.config.hiden_size: unknown key. Did you mean "hidden_size"?'),
        ("model.config.hidden_size=15", 2, "is not a multiple of num_attention_heads"),
        ("model.extensions.erni={}", 2, 'no extension is called "erni". Did you mean "ernie"?'),
        (
            "model.extensions.ernie.widht=3",
            2,
            'field model.extensions.ernie.widht: unknown option. Did you mean "width"?',
        ),
        ("tokenizer.path=.", 1, ".: no tokenizer can be opened there"),
        ("evaluation.metric=mlm/los", 2, 'no score is called "mlm/los". Did you mean "mlm/loss"?'),
        ("train.precision=fp8", 2, "'fp8' is not allowed."),
        ("model.config.vocab_size=7", 1, "the tokenizer has 30 tokens, the model's vocabulary 7 rows"),
    ],
)
def test_a_mistake_is_told_in_one_line_without_a_traceback(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, code: int, told: str
) -> None:
    arguments = ["train", str(home / "tiny.toml"), "--out", str(tmp_path / "run"), "--quiet", "--set", change]
    assert run(arguments) == code
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("cut", "is damaged or cut"),
        ("pickle", "pytorch_model.bin is a pickle"),
        ("none", "holds no"),
    ],
)
def test_a_model_that_cannot_be_opened_is_told(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, told: str
) -> None:
    shutil.copytree(home / "run" / "model", tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    if kind == "cut":
        weights.write_bytes(whole[: len(whole) // 2])
    if kind == "pickle":
        torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    text = (home / "tiny.toml").read_text()
    start, end = text.index("[model.config]"), text.index("[[objectives]]")
    (tmp_path / "on.toml").write_text(f'{text[:start]}[model]\nhf = "{tmp_path / "model"}"\n\n{text[end:]}')
    assert run(["train", str(tmp_path / "on.toml"), "--out", str(tmp_path / "run")]) == 1
    assert told in capsys.readouterr().err


def test_a_metric_without_held_out_texts_is_told(home: Path, tmp_path: Path) -> None:
    text = (home / "tiny.toml").read_text()
    start, end = text.index("[objectives.held_out]"), text.index("[batch]")
    (tmp_path / "bare.toml").write_text(text[:start] + text[end:])
    assert run(["train", str(tmp_path / "bare.toml"), "--out", str(tmp_path / "run")]) == 2


def test_a_folder_with_a_run_needs_resume(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(home / "tiny.toml"), "--out", str(home / "run"), "--quiet"]
    before = (home / "run" / "run.json").read_bytes()
    assert run(arguments) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "already holds a run. Go on with it (--resume), or choose another folder (--out)." in told
    assert (home / "run" / "run.json").read_bytes() == before
    assert run([*arguments, "--resume"]) == 0  # nothing is left to do


def within_a_process(recipe: Path, out: Path, sign: int, after: int, resume: bool) -> None:
    """Runs the command with data workers; sends itself a signal when the log has so many lines."""

    def strike() -> None:
        log = out / "log.jsonl"
        while not log.exists() or len(log.read_text().splitlines()) < after:
            time.sleep(0.01)
        os.kill(os.getpid(), sign)

    if sign:
        threading.Thread(target=strike, daemon=True).start()
    more = ["--resume"] if resume else []
    sys.exit(run(["train", str(recipe), "--out", str(out), "--quiet", "--set", "batch.workers=2", *more]))


def ended(*arguments: object) -> int | None:
    return exit_code(within_a_process, *arguments)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_command_resumes_to_the_same_bits(home: Path, tmp_path: Path, sign: int, code: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    recipe = tmp_path / "longer.toml"
    recipe.write_text((home / "tiny.toml").read_text().replace("steps = 12", "steps = 40"))
    assert ended(recipe, whole, 0, 0, False) == 0
    assert ended(recipe, broken, sign, 7, False) == code
    assert not (broken / "model").exists()
    if sign != signal.SIGKILL:
        assert checkpoints(broken / "checkpoints")
    assert ended(recipe, broken, 0, 0, True) == 0
    for file in (
        "model/model.safetensors",
        "model/heads.safetensors",
        "checkpoints/step-00000040/optimizer.safetensors",
    ):
        assert (broken / file).read_bytes() == (whole / file).read_bytes()
