"""Tagging: where it reads, what it answers of words that were cut off, and a toy set learned from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kelm import cli
from kelm.batch import Encoded, pack
from kelm.data.tagged_words import Words, WordTags
from kelm.errors import MissingPart
from kelm.model import Encoder, EncoderConfig
from kelm.tasks.tagging import Tagging
from kelm.training.recipe_file import read
from tests.kelm.tasks.toy import QUICK, RECIPES, answers, save_model

TAGS = ["O", "B-PER", "I-PER", "B-LOC"]
CONFIG = EncoderConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=50)
PEOPLE, PLACES = ("anna", "otto", "hanna"), ("bonn", "gera", "hof")


def text(length: int, tokens: list[int], tags: list[int]) -> Encoded:
    count = np.arange(length)
    words = np.where((count == 0) | (count == length - 1), -1, count - 1)
    ids = np.random.default_rng(length).integers(5, 50, length)
    plain = Encoded("", ids, np.stack([count, count + 1], 1), words, np.zeros_like(count))
    zeros = torch.zeros(len(tokens), dtype=torch.long)
    return plain.having(Words(zeros, zeros, torch.tensor(tokens)), WordTags(torch.tensor(tags)))


TEXTS = [text(8, [1, 3, 6], [1, 2, 0]), text(5, [2, -1, -1], [0, 1, 2]), text(6, [1], [3])]


@torch.no_grad()
@pytest.mark.parametrize("room", [None, 8, 20])
def test_each_word_is_read_at_its_first_sub_token_wherever_it_lies(room: int | None) -> None:
    torch.manual_seed(0)
    encoder, task = Encoder(CONFIG).eval(), Tagging(CONFIG, tags=TAGS).eval()
    batch = replace(task.collate, room=room)(TEXTS, 0)
    stream = encoder.encode(batch)
    right, loss = [], 0.0
    for one in TEXTS:
        hidden = encoder.encode(pack([one], pad=0)).hidden[0]
        scores = [
            None if token < 0 else task.classifier(hidden[token : token + 1])[0] for token in one[Words].token.tolist()
        ]
        right.append(["O" if score is None else TAGS[int(score.argmax())] for score in scores])
        for score, tag in zip(scores, one[WordTags].tag.tolist(), strict=True):
            loss -= 0.0 if score is None else float(score.log_softmax(-1)[tag])
    assert task.predict(batch, stream) == right
    assert float(task.loss(batch, stream)["tagging"]) == pytest.approx(loss, abs=1e-4)
    assert batch.units == {"tagging": 5}


def test_words_that_were_cut_off_are_answered_with_nothing_and_missed() -> None:
    encoder, task = Encoder(CONFIG).eval(), Tagging(CONFIG, tags=TAGS).eval()
    batch = task.collate(TEXTS, 0)
    said = task.predict(batch, encoder.encode(batch))
    assert said[1][1:] == ["O", "O"]
    assert [len(one) for one in said] == [3, 3, 1]
    gold = task.gold(TEXTS)
    assert gold[1] == ["O", "B-PER", "I-PER"]
    best = [gold[0], ["O", "O", "O"], gold[2]]
    assert task.score(gold, best)["recall"] == pytest.approx(2 / 3)
    assert task.score(gold, best)["precision"] == 1
    assert task.score(gold, best)["accuracy"] == pytest.approx(5 / 7)


def test_scores_by_type_are_there_whatever_a_text_holds() -> None:
    scores = Tagging(CONFIG, tags=TAGS).score([["O"]], [["O"]])
    assert {"f1", "accuracy", "f1_PER", "recall_PER", "precision_LOC", "f1_LOC"} <= scores.keys()


def test_without_tags_it_answers_but_has_no_loss() -> None:
    unknown = [replace(one, parts={Words: one[Words]}) for one in TEXTS]
    encoder, task = Encoder(CONFIG).eval(), Tagging(CONFIG, tags=TAGS).eval()
    batch = task.collate(unknown, 0)
    stream = encoder.encode(batch)
    assert [len(one) for one in task.predict(batch, stream)] == [3, 3, 1]
    with pytest.raises(MissingPart, match="WordTags"):
        task.loss(batch, stream)


def tagged(person: str, surname: str, place: str) -> str:
    """A sentence in which a name is two words and several sub-tokens."""
    rows = [("so", "O"), (person, "B-PER"), (surname, "I-PER"), ("saw", "O"), (place, "B-LOC"), (".", "O")]
    return "".join(f"{word}\t{tag}\n" for word, tag in rows)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the recipe finds what it names: a model to start from, and the sentences."""
    monkeypatch.chdir(tmp_path)
    save_model(["so saw .", " ".join(PEOPLE), " ".join(PLACES[:2])], tmp_path / "model", 46)
    pairs = [(one, other) for one in PEOPLE for other in PEOPLE if one != other]
    for name, rows in (("train", pairs[:4]), ("dev", pairs[4:])):
        found = [tagged(*pair, place) for pair in rows for place in PLACES]
        Path(f"{name}.conll").write_text("\n".join(found))
    return tmp_path


@pytest.mark.parametrize("changes", [[], ["batch.room=40"]], ids=str)
def test_the_shipped_recipe_learns_a_toy_set_and_keeps_the_best_model(changes: list[str], folder: Path) -> None:
    path, sets = str(RECIPES / "tagging.toml"), [*QUICK, *changes]
    assert cli.run(["train", path, "--quiet", *(word for one in sets for word in ("--set", one))]) == 0
    recipe = read(path, sets)
    corpus = recipe.objectives[0].held_out
    assert corpus is not None
    model = folder / "runs" / "tagging" / "model"
    task, texts, said = answers(recipe, model, corpus)
    assert said == task.gold(texts) == [["O", "B-PER", "I-PER", "O", "B-LOC", "O"]] * 6
    assert max(len(one) for one in texts) > 8  # names are several sub-tokens
    assert answers(recipe, model, replace(corpus, options={**corpus.options, "tags": None}))[2] == said
    log = [json.loads(line) for line in (model.parent / "log.jsonl").read_text().splitlines()]
    assert max(entry["scores"]["tagging/f1"] for entry in log if "scores" in entry) == 1


def test_the_recipe_holds_berts_values() -> None:
    recipe = read(RECIPES / "tagging.toml")
    assert (recipe.optim.rate, recipe.train.passes, recipe.optim.warmup) == (5e-5, 3, 0.1)
    corpora = (recipe.objectives[0].corpus, recipe.objectives[0].held_out)
    assert all(corpus is not None and corpus.options["tags"] for corpus in corpora)
