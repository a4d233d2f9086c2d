"""Every recipe of training runs as it is written, on files where it looks for them; only sizes are small.

Some lines hold nothing but marks without a width, on one side of a pair or the other.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import multilingual
from kelm import cli
from kelm.model import Encoder, EncoderConfig, VocabularyHead
from kelm.text import vocabulary
from kelm.text.sentence_piece import SentencePiece
from multilingual.words_apart import apart

RECIPES = Path(multilingual.__file__).parent / "recipes"
TRAINED = {
    path.name: read
    for path in sorted(RECIPES.glob("*.toml"))
    if "objectives" in (read := tomllib.loads(path.read_text()))
}
LINES = {
    "en": ["the cat sat on a mat", "a dog ran to the house", "it is late in the day", "we read old books"],
    "de": ["die katze sass auf der matte", "ein hund lief zum haus", "es ist spaet am tag", "wir lesen alte buecher"],
    "fr": ["le chat est sur le tapis", "un chien court a la maison", "il est tard ce jour", "nous lisons des livres"],
    "sw": ["paka alikaa juu ya mkeka", "mbwa alikimbia nyumbani", "siku imekwisha sasa", "tunasoma vitabu vya zamani"],
    "yo": ["ologbo joko lori eni", "aja sare lo si ile", "ojo ti lo bayi", "a n ka iwe atijo"],
}
MARKS = {"en": "\u200e", "de": "\ufeff\u200b"}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
STEPS = 3


def named(files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields languages with the paths of their files."""
    for name, paths in files.items():
        codes = name.split("-")
        for place, path in enumerate([paths] if isinstance(paths, str) else paths):
            yield codes[place % len(codes)], path


def write(path: Path, code: str) -> None:
    path = Path(str(path).replace("*", "part"))
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = LINES[code] * 12
    blank = MARKS.get(code, "\u200b")  # no white space, and yet no token
    lines[5 if code == "en" else 3 :: 8] = [blank] * 6
    text = "".join(f"{line}\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary of all languages, the same apart for two, and a checkpoint of XLM-R's kind."""
    folder = tmp_path_factory.mktemp("words")
    made = vocabulary.train([line for lines in LINES.values() for line in lines] * 3, 120, "bpe")
    assert isinstance(made, SentencePiece)
    made.save(folder / "words")
    apart(made, ["en", "fr"]).save(folder / "words-apart")
    torch.manual_seed(0)
    config = EncoderConfig(family="xlm-roberta", vocab_size=made.vocabulary_size, pad_token_id=made.pad, **SMALL)
    Encoder(config).to_hf(folder / "xlm-roberta-base", head=VocabularyHead(config))
    made.save(folder / "xlm-roberta-base")
    return folder


@pytest.mark.parametrize("name", [name for name in TRAINED if "classifier" not in name])  # that: test_multifit.py
def test_a_recipe_runs_as_it_is_written(
    name: str, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TRAINED[name]
    for made in words.iterdir():
        (tmp_path / made.name).symlink_to(made)
    for objective in recipe["objectives"]:
        options = objective["corpus"]["options"]
        for code, path in named(options.get("files", {"de": options.get("paths")})):
            write(tmp_path / path, code)
    monkeypatch.chdir(tmp_path)
    sizes = {} if "hf" in recipe["model"] else {f"model.config.{key}": value for key, value in SMALL.items()}
    values = {
        **sizes,
        **{"train.steps": STEPS, "train.precision": "fp32", "batch.tokens": 200, "batch.workers": 0, "log.every": 1},
    }
    if "hf" in recipe["model"]:
        values |= {"objectives.1.corpus.options.length": 32}
    for number, objective in enumerate(recipe["objectives"]):
        if objective["name"] in ("translation_contrast", "denoising_alignment"):
            values[f"objectives.{number}.options.layer"] = 1
        if objective["name"] == "translation_contrast":
            values[f"objectives.{number}.options.queue"] = 64
    if "passes" in recipe["train"]:
        values |= {"train.passes": 2}
        del values["train.steps"]
    changes = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    assert cli.run(["train", str(RECIPES / name), "--out", "run", "--quiet", *changes]) == 0
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["losses"] for line in log if "losses" in line]
    assert losses and all(value == value for line in losses for value in line.values())
