"""Finished runs: answers to new texts in their order, scores as in training, and what is wrong is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kelm.cli import run as command
from kelm.errors import CheckpointError, InputError, RecipeError, UnknownName
from kelm.text import vocabulary
from kelm.training import finished
from kelm.training.recipe_file import parse
from kelm.training.run import train

WORDS = ["good", "fine", "great", "bad", "poor", "awful"]
TEXTS = [
    (f"it was {word} {more}", "yes" if place < 3 else "no") for place, word in enumerate(WORDS) for more in ("", "too")
]
RECIPE = """
    name = "small"
    [model.config]
    hidden_size = 32
    num_hidden_layers = 1
    num_attention_heads = 2
    intermediate_size = 64
    [tokenizer]
    path = "words"
    [[objectives]]
    name = "{task}"
    options = {options}
    [objectives.corpus]
    name = "{corpus}"
    options = {{ path = "{path}", {more} }}
    [objectives.held_out]
    name = "{corpus}"
    options = {{ path = "{path}", {more} }}
    [batch]
    tokens = 256
    [optim]
    rate = 1e-2
    [train]
    passes = 40
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier and a tagger."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        vocabulary.train([text for text, _ in TEXTS], 60, "wordpiece", lower=True).save("words")
        Path("texts.tsv").write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for text, label in TEXTS))
        labels = 'labels = "texts.tsv"'
        how = {"task": "classification", "corpus": "labeled_text", "path": "texts.tsv", "more": labels}
        train(parse(RECIPE.format(options=f"{{ {labels} }}", **how)), "classes", show=False)
        lines = [
            f"it O\nwas O\n{text.split()[2]} {'B-' if label == 'yes' else ''}{'P' if label == 'yes' else 'O'}\n\n"
            for text, label in TEXTS
        ]
        Path("words.conll").write_text("".join(lines))
        tags = 'tags = ["O", "B-P"]'
        how = {"task": "tagging", "corpus": "tagged_words", "path": "words.conll", "more": tags}
        train(parse(RECIPE.format(options=f"{{ {tags} }}", **how)), "tags", show=False)
    return place


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_a_text_has_an_answer_and_several_have_theirs_in_order() -> None:
    run = finished.open("classes")
    assert run("it was good") == "yes"
    assert run(("it was", "bad")) in ("yes", "no")
    order = [TEXTS[place] for place in (7, 0, 11, 3, 5)]
    assert run([text for text, _ in order]) == [label for _, label in order]
    assert run(["it was good"], "classification") == ["yes"]


def test_words_are_tagged_whether_given_as_words_or_with_blanks() -> None:
    run = finished.open("tags")
    assert run(["it", "was", "great"]) == run("it was great") == ["O", "O", "B-P"]
    assert run([["it", "was", "great"], ["awful"]]) == [["O", "O", "B-P"], ["O"]]


def test_held_out_texts_have_the_scores_that_training_saw_last() -> None:
    lines = [json.loads(line) for line in Path("classes/log.jsonl").read_text().splitlines()]
    [*_, last] = [line["scores"] for line in lines if "scores" in line]
    measured = finished.open("classes").measured()
    assert measured.scores == pytest.approx(last)
    judged = measured.judged["classification"]
    assert list(judged.gold) == [label for _, label in TEXTS]
    assert list(judged.answers) == finished.open("classes")([text for text, _ in TEXTS])


@pytest.mark.parametrize(
    ("folder_", "how", "error", "told"),
    [
        ("nowhere", {}, CheckpointError, "nowhere holds no finished run: it has no recipe.toml"),
        ("classes", {"mute": ["ernie"]}, UnknownName, 'no extension "ernie"'),
        ("classes", {"without": ["sentence_tree"]}, RecipeError, 'no corpus has an enricher "sentence_tree"'),
    ],
)
def test_what_is_not_there_is_told(folder_: str, how: dict[str, list[str]], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        finished.open(folder_, **how)


def test_a_blank_text_and_another_task_are_told() -> None:
    with pytest.raises(InputError, match="text 2 has nothing to read"):
        finished.open("classes")(["it", " "])
    with pytest.raises(RecipeError, match=r"no task 'clasification'.*\"classification\""):
        finished.open("classes")("it", "clasification")
    with pytest.raises(InputError, match="a list of words"):
        finished.open("classes")([["it"]])


def test_the_command_measures_a_run_and_compares_it_with_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["evaluate", "classes"]) == 0
    shown = capsys.readouterr().out
    assert "classification/accuracy" in shown
    answers = [
        json.loads(line) for line in Path("classes/evaluation/as-trained/answers.jsonl").read_text().splitlines()
    ]
    assert [one["gold"] for one in answers] == [label for _, label in TEXTS]
    assert command(["compare", "classes", "tags", "--out", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert "<svg" in page
    assert "tagging/f1" in page
    assert "classes" in capsys.readouterr().out
    assert command(["compare", "classes", "--score", "acuracy"]) == 2
    assert command(["compare", "classes", "--out", "page.pdf"]) == 2
    assert command(["evaluate", "recipe.toml", "--mute", "ernie"]) == 2
