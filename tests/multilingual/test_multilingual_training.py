"""XLM's recipe in small: two corpora in many languages by turns, one head, exact continuation in the middle."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import multilingual
from kelm import cli
from kelm.errors import KelmError
from kelm.model import Encoder
from kelm.text import vocabulary
from kelm.training import construct, recipe_file
from kelm.training.recipe import Recipe
from kelm.training.run import train
from multilingual.modules.language_embedding import LanguageEmbedding
from tests.torchrun import run_twice

RECIPES = Path(multilingual.__file__).parent / "recipes"
TEXTS = {
    "en": ["a cat sat here", "a dog ran", "it is late"],
    "de": ["eine katze sass", "ein hund lief", "es ist spaet"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [line for texts in TEXTS.values() for line in texts]
    vocabulary.train(lines, 80, "wordpiece", lower=True).save(tmp_path / "words")
    random = np.random.default_rng(0)
    for code, texts in TEXTS.items():
        chosen = random.integers(0, 3, 40 if code == "en" else 12).tolist()
        (tmp_path / f"{code}.txt").write_text("".join(f"{texts[one]}\n" for one in chosen))
        both = [one % 3 for one in range(30)]
        (tmp_path / f"train.{code}").write_text("".join(f"{texts[one]}\n" for one in both))
    return tmp_path


def changes(folder: Path, **more: object) -> list[str]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    values: dict[str, object] = {
        **{f"model.config.{name}": size for name, size in sizes.items()},
        "model.config.max_position_embeddings": 40,
        "model.extensions.language_embedding.languages": '["en", "de"]',
        "tokenizer.path": folder / "words",
        "objectives.0.corpus.length": 16,
        "objectives.0.corpus.options.files": f'{{en = "{folder}/en.txt", de = "{folder}/de.txt"}}',
        "objectives.1.corpus.options.length": 24,
        "objectives.1.corpus.options.files": f'{{en-de = ["{folder}/train.en", "{folder}/train.de"]}}',
        **{"batch.tokens": 96, "batch.room": 32, "batch.workers": 0, "batch.pool": 16, "optim.warmup": 2},
        **{"train.steps": 12, "train.precision": "fp32", "checkpoint.every": 5, "log.every": 1},
        **more,
    }
    return [f"{name}={value}" for name, value in values.items()]


def recipe(folder: Path, **more: object) -> Recipe:
    return recipe_file.read(RECIPES / "conneau2019_xlm.toml", changes(folder, **more))


def weights(run: Path) -> dict[str, Any]:
    return dict(Encoder.from_pretrained(run / "model").state_dict())


def test_the_recipe_trains_both_objectives_with_one_head_and_language_vectors(folder: Path, tmp_path: Path) -> None:
    told = ["train", str(RECIPES / "conneau2019_xlm.toml"), "--out", str(tmp_path / "run"), "--quiet"]
    assert cli.run([*told, *(part for change in changes(folder) for part in ("--set", change))]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {name for line in lines for name in line["losses"]} == {"mlm", "tlm"}
    from safetensors.torch import load_file

    heads = load_file(tmp_path / "run" / "model" / "heads.safetensors")
    of = {name: {key.partition("head.")[2]: key for key in heads if key.startswith(name)} for name in ("mlm", "tlm")}
    assert of["mlm"].keys() == of["tlm"].keys()
    assert all(torch.equal(heads[key], heads[of["tlm"][part]]) for part, key in of["mlm"].items())
    encoder = Encoder.from_pretrained(tmp_path / "run" / "model")
    extension = encoder.extensions["language_embedding"]
    assert isinstance(extension, LanguageEmbedding) and extension.languages == ("de", "en")
    assert extension.numbers.tolist() == sorted(extension.numbers.tolist())


def test_the_recipe_of_unicoder_trains_all_five_tasks_with_one_head(folder: Path, tmp_path: Path) -> None:
    pairs = f'{{en-de = ["{folder}/train.en", "{folder}/train.de"]}}'
    told = {f"objectives.{number}.corpus.options.files": pairs for number in (2, 3, 4)}
    told |= {f"objectives.{number}.corpus.options.length": 24 for number in (2, 3)}
    told |= {"objectives.3.corpus.options.steps": 5, "objectives.3.corpus.options.width": 8}
    told |= {"objectives.4.corpus.options.sentences": 4, "objectives.4.corpus.options.length": 30}
    made = recipe_file.read(RECIPES / "huang2019_unicoder.toml", changes(folder, **told, **{"train.steps": 20}))
    result = train(made, tmp_path / "run", show=False)
    assert result.progress.step == 20
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    names = {"mlm", "tlm", "word_recovery", "classification", "document_lm"}
    assert {name for line in lines for name in line["losses"]} == names
    from safetensors.torch import load_file

    heads = load_file(tmp_path / "run" / "model" / "heads.safetensors")
    biases = [value for key, value in heads.items() if key.endswith("head.bias") and not key.startswith("classif")]
    assert len(biases) == 4 and all(torch.equal(biases[0], bias) for bias in biases)


def test_the_recipe_of_multilingual_bert_trains_words_and_next_sentences(folder: Path, tmp_path: Path) -> None:
    told = [change for change in changes(folder) if "objectives.1" not in change and "extensions" not in change]
    train(recipe_file.read(RECIPES / "devlin2019_mbert.toml", told), tmp_path / "run", show=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {name for line in lines for name in line["losses"]} == {"mlm", "mlm/next_sentence"}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_stopped_in_the_middle_of_the_mixture_goes_on_exactly(
    workers: int, folder: Path, tmp_path: Path
) -> None:
    more = {"batch.workers": workers}
    train(recipe(folder, **more), tmp_path / "whole", show=False)
    train(recipe(folder, **more, **{"train.steps": 5}), tmp_path / "part", show=False)
    (tmp_path / "part" / "recipe.toml").write_text((tmp_path / "whole" / "recipe.toml").read_text())
    train(recipe(folder, **more), tmp_path / "part", resume=True, show=False)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "part")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.timeout(600)
def test_two_processes_with_workers_that_stopped_in_the_middle_of_the_mixture_go_on_exactly(
    folder: Path, tmp_path: Path
) -> None:
    made = recipe(folder, **{"batch.workers": 2, "batch.tokens": 40, "train.accumulation": 2, "checkpoint.keep": 9})
    recipe_file.write(made, tmp_path / "recipe.toml")
    run_twice("tests.multilingual.two_readers", tmp_path, tmp_path / "recipe.toml")
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1)]
    assert told == [["signal", 4], ["signal", 4]]  # only one was asked to stop
    end = tmp_path / "part" / "checkpoints" / "step-00000012"
    for file in ("model/model.safetensors", "model/heads.safetensors", "optimizer.safetensors"):
        assert (end / file).read_bytes() == (tmp_path / "whole" / "checkpoints" / end.name / file).read_bytes(), file
    stopped, whole = (
        json.loads((tmp_path / run / "checkpoints" / step / "state.json").read_text())
        for run, step in (("part", "step-00000004"), ("whole", end.name))
    )
    assert json.loads((end / "state.json").read_text())["processes"] == whole["processes"]
    for process in stopped["processes"]:  # in the middle of a pool, of both corpora
        assert all(any(place["given"] for place in stream["positions"]) for stream in process["streams"].values())
    logs = [
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("whole", "part")
    ]
    losses = [[line["losses"] for line in lines if "losses" in line] for lines in logs]
    assert losses[0] == losses[1] and len(losses[0]) == 12


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"objectives.0.corpus.options.files": '{englsh = "en.txt"}'}, 'Did you mean "english"'),
        ({"objectives.1.corpus.options.files": '{en-de = "train.en"}'}, "tells no format"),
        ({"objectives.1.corpus.options.files": '{en = "train.tsv"}'}, r"corpus\.options\.files\.en: expected two"),
        ({"objectives.1.options.rate": 2.0}, "rate is 2"),
        ({"objectives.1.options.layout": "side"}, r"objectives\.1\.options\.layout"),
        ({"model.extensions.language_embedding.languages": '["en", "eng"]'}, "Name each once"),
    ],
)
def test_what_is_wrong_is_told_before_training(
    more: dict[str, object], said: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(KelmError, match=said):
        train(recipe(folder, **more), tmp_path / "run", show=False)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_log_says_how_much_of_each_language_was_read(folder: Path, tmp_path: Path) -> None:
    train(recipe(folder), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "tokens" in line]
    assert len(steps) == 12
    for before, after in itertools.pairwise(steps):
        assert all(after["tokens"][code] >= before["tokens"][code] for code in before["tokens"])
    last = steps[-1]
    assert set(last["tokens"]) == {"en", "de"}
    assert set(last["passes"]) <= {"mlm", "tlm"}
    assert set(last["passes"]["mlm"]) == {"en", "de"} and set(last["passes"]["tlm"]) == {"en-de"}


def test_a_resumed_run_goes_on_counting(folder: Path, tmp_path: Path) -> None:
    train(recipe(folder), tmp_path / "whole")
    train(recipe(folder, **{"train.steps": 12}), tmp_path / "run")
    first = recipe(folder)
    whole = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    for checkpoint in sorted((tmp_path / "run" / "checkpoints").iterdir())[1:]:
        shutil.rmtree(checkpoint)
    shutil.rmtree(tmp_path / "run" / "model")
    train(first, tmp_path / "run", resume=True)
    again = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line.get("tokens") for line in again] == [line.get("tokens") for line in whole]


@pytest.mark.parametrize(("own", "given", "room", "most"), [(None, 6, 32, 6), (5, 6, 32, 5), (None, None, 7, 7)])
def test_the_length_of_a_corpus_and_the_room_of_a_row_bound_what_a_corpus_reads_by_itself(
    own: int | None, given: int | None, room: int, most: int, folder: Path
) -> None:
    made = recipe(folder)
    words = construct.tokenizer(made)
    encoder = construct.encoder(made, words)
    choice = made.objectives[0].corpus
    options = {name: value for name, value in choice.options.items() if name != "length"}
    choice = replace(choice, length=given, options={**options, **({} if own is None else {"length": own})})
    (folder / "en.txt").write_text("a cat sat here a dog ran it is late\n" * 4)
    parts = construct.Parts(encoder.config, words, encoder, 0)
    corpus = construct.corpus(choice, parts, room, "objectives.0.corpus")
    assert max(len(text) for text, _ in corpus.stream()) == most
