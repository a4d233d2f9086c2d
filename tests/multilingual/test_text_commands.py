"""Texts are looked at, cleaned, identified and scored from the command line."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import multilingual
from kelm import cli
from kelm.batch import Targets
from kelm.data.corpus import Text
from kelm.errors import InputError
from kelm.text import vocabulary
from kelm.training import recipe_file
from kelm.training.run import train
from multilingual.corpora.fluency import Fluent, TextModel
from multilingual.corpora.survey import survey, table
from multilingual.corpora.written import write

RECIPE = Path(multilingual.__file__).parent / "recipes" / "text_model.toml"
GOOD = ["the cat sat on the mat", "the dog ran to the house", "a cat ran to the mat", "the dog sat on a mat"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of four sentences."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary.train([*GOOD, "qwertyuiopasdfghjklzxcvbnm"], 38, "unigram").save(folder / "words")
    (folder / "en.txt").write_text("".join(f"{GOOD[one % 4]}\n" for one in range(80)))
    values = {
        "model.config.hidden_size": 32,
        "model.config.num_hidden_layers": 1,
        "model.config.num_attention_heads": 2,
        "model.config.intermediate_size": 64,
        "tokenizer.path": folder / "words",
        "objectives.0.corpus.options.files": f'{{en = "{folder}/en.txt"}}',
        "batch.tokens": 256,
        "batch.workers": 0,
        "optim.rate": 1e-2,
        "train.steps": 40,
    }
    changes = [f"{name}={value}" for name, value in values.items()]
    train(recipe_file.read(RECIPE, changes), folder / "run", show=False)
    return folder / "run"


def test_bits_a_character_are_the_sum_over_tokens_of_their_surprise(model: Path) -> None:
    opened = TextModel(model)
    texts = [GOOD[2], "dog house", GOOD[0]]
    found = opened.bits(texts)
    words, learner = opened.run.parts.tokenizer, opened.run.learner
    for text, bits in zip(texts, found, strict=True):
        encoded = words.encode([text])[0]
        batch = opened.objective.collate([encoded], 0)
        with torch.no_grad():
            stream = learner.read(batch)
            logits = opened.objective.head.logits(stream.hidden[0], stream.vocabulary).double()
        told = logits.log_softmax(-1)
        nats = -sum(float(told[place, token]) for place, token in enumerate(encoded.tokens[1:].tolist()))
        assert bits == pytest.approx(nats / math.log(2) / len(text), rel=1e-4)
        assert len(batch[Targets].label) == len(encoded) - 1


def test_a_model_finds_what_it_was_trained_on_less_odd_than_the_same_letters_in_disorder(model: Path) -> None:
    random = np.random.default_rng(0)
    shuffled = ["".join(random.permutation(list(text))) for text in GOOD]
    bits = TextModel(model).bits([*GOOD, *shuffled])
    assert max(bits[:4]) < 0.5 * min(bits[4:])
    rule = Fluent(model, most=max(bits[:4]) + 0.1)
    assert rule.reasons([Text(text) for text in (*GOOD, *shuffled)]) == [""] * 4 + ["odd"] * 4
    assert rule.keep(Text(GOOD[0], shuffled[0])) == "second side odd"
    assert Fluent(model, most=99, least=98).keep(Text(GOOD[0])) == "monotonous"


def test_texts_without_a_character_have_no_bits_and_are_odd(model: Path) -> None:
    assert math.isnan(TextModel(model).bits([" "])[0])
    assert Fluent(model, most=99).keep(Text("")) == "odd"


def test_a_run_without_a_language_model_is_refused(model: Path, tmp_path: Path) -> None:
    changes = [
        f"tokenizer.path={model.parent / 'words'}",
        'objectives.0.name="mlm"',
        "train.steps=1",
        "batch.workers=0",
    ]
    changes += [f'objectives.0.corpus.options.files={{en = "{model.parent}/en.txt"}}', "model.config.hidden_size=32"]
    train(recipe_file.read(RECIPE, changes), tmp_path / "run", show=False)
    with pytest.raises(InputError, match="has no objective causal_lm"):
        TextModel(tmp_path / "run")


def test_scores_of_lines_are_printed_beside_them(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{GOOD[0]}\nzzz qqq\n"))
    assert cli.run(["text", "score", str(model)]) == 0
    told = capsys.readouterr()
    rows = [line.split("\t") for line in told.out.splitlines()]
    assert [row[1] for row in rows] == [GOOD[0], "zzz qqq"]
    assert float(rows[0][0]) < float(rows[1][0])
    assert "2 texts: median" in told.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    english = [
        "A dog runs.",
        "A dog runs.",
        "Two  cats\u200b sit.",
        "Это Москва, да",
        "Yes",
        "Snow falls on the hills.",
    ]
    german = [
        "Ein Hund rennt.",
        "Ein Hund rennt.",
        "Zwei Katzen sitzen.",
        "Das ist Moskau",
        "Ja " * 40,
        "Schnee fällt auf die Hügel.",
    ]
    for code, lines in (("en", english), ("de", german)):
        (tmp_path / f"train.{code}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path


def test_a_filter_writes_what_is_kept_and_says_of_each_step_what_went(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "clean"
    told = [
        "--pair",
        f"en-de={folder}/train.en,{folder}/train.de",
        "--text",
        f"de={folder}/train.de",
        "--out",
        str(out),
    ]
    assert cli.run(["text", "filter", *told, "--quiet"]) == 0
    assert (out / "en-de.en").read_text() == "A dog runs.\nTwo cats sit.\nSnow falls on the hills.\n"
    assert (out / "en-de.de").read_text() == "Ein Hund rennt.\nZwei Katzen sitzen.\nSchnee fällt auf die Hügel.\n"
    assert len((out / "de.txt").read_text().splitlines()) == 5
    kept = {one["name"]: one for one in json.loads((out / "report.json").read_text())}
    assert kept["en-de"]["kept"] == 3
    dropped = {step["name"]: step["dropped"] for step in kept["en-de"]["steps"]}
    assert dropped["length ratio"] == {"second side longer": 1}
    assert dropped["script"] == {"other script": 1}
    assert dropped["duplicates"] == {"duplicate": 1}
    printed = capsys.readouterr().out
    assert "en-de: 3 of 6 kept" in printed
    assert "train.en:2: A dog runs." in printed
    assert cli.run(["text", "filter", *told]) == 2  # the folder is there
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--duplicates", "nearly"], 'Did you mean "near"?'),
        (["--bits", "3"], "--model and --bits go together"),
        (["--ratio", "0.5"], "--ratio"),
        (["--script", "2"], "share"),
        (["--shortest", "9", "--longest", "3"], "longest"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_anything_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], told: str
) -> None:
    assert cli.run(["text", "filter", "--text", f"en={folder}/train.en", "--out", str(folder / "clean"), *more]) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "clean").exists()


def test_nothing_to_read_is_said(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert cli.run(["text", "report"]) == 2
    assert "Give --text en=en.txt" in capsys.readouterr().err
    assert cli.run(["text", "report", "--pair", f"en-de={folder}/train.de,{folder}/train.en"]) == 2
    assert "in the order of the languages" in capsys.readouterr().err


def test_a_report_counts_what_slow_loops_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = {code: (folder / f"train.{code}").read_text().splitlines() for code in ("en", "de")}
    assert cli.run(["text", "report", "--pair", f"en-de={folder}/train.en,{folder}/train.de", "--json", "--quiet"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    for told, code in ((first, "en"), (second, "de")):
        assert told["texts"] == "6"
        assert told["characters"] == f"{sum(map(len, lines[code])):,}"
        assert told["words"] == f"{sum(len(line.split()) for line in lines[code])}"
        assert told["bytes"] == f"{sum(len(line.encode()) for line in lines[code])}"
        assert told["longest"] == f"{max(map(len, lines[code]))}"
        assert told["characters a text, median"] == f"{sorted(map(len, lines[code]))[2]}"
    assert first["duplicates"] == "16.7%"
    assert first["unclean"] == "16.7%"
    assert "cyrillic" in first["scripts"]
    ratios = sorted(len(one) / len(other) for one, other in zip(lines["en"], lines["de"], strict=True))
    assert float(first["median"]) == pytest.approx(ratios[2], rel=0.02)


def test_a_survey_of_single_texts_has_no_ratios() -> None:
    rows = table({"ja": survey([Text("東京タワー"), Text("ロンドン")])})
    assert ["scripts", "kana 77.8%, han 22.2%"] in rows
    assert not any("side" in row[0] for row in rows)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    texts = [Text("a\nb", fields={"language": "en"}), Text("ü")]
    assert write(texts, tmp_path / "some.jsonl") == 2
    assert [json.loads(line)["text"] for line in (tmp_path / "some.jsonl").read_text().splitlines()] == ["a\nb", "ü"]
    assert write(texts, tmp_path / "some.txt.gz") == 2
    from kelm.data.sources import TextFiles

    assert [text.text for text, _ in TextFiles(tmp_path / "some.txt.gz").stream()] == ["a b", "ü"]
    with pytest.raises(InputError, match="has 1 sides"):
        write(texts, tmp_path / "one", tmp_path / "two")
    assert not (tmp_path / "one").exists()


def test_languages_are_learned_and_told_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fasttext", reason="fastText is not installed: pip install 'kelm[fasttext]'")
    for code, line in (("en", "the house is big and we are there"), ("de", "das Haus ist groß und wir sind dort")):
        words = line.split()
        turned = [" ".join(words[start:] + words[:start]) for start in range(len(words))]
        (folder / f"{code}.txt").write_text("".join(f"{one}\n" for one in turned * 9), encoding="utf-8")
    told = ["--text", f"en={folder}/en.txt", "--text", f"de={folder}/de.txt", "--quiet"]
    model = str(folder / "lid.bin")
    assert cli.run(["text", "identify", model, "--train", *told]) == 0
    assert "2 languages, de, en" in capsys.readouterr().out
    assert cli.run(["text", "identify", model, str(folder / "de.txt"), "--threshold", "0"]) == 0
    assert {line.split("\t")[0] for line in capsys.readouterr().out.splitlines()} == {"de"}
    assert cli.run(["text", "report", *told, "--identifier", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["identified"] == "as said 100.0%"
    swapped = ["--pair", f"en-de={folder}/de.txt,{folder}/en.txt", "--identifier", model]
    assert cli.run(["text", "filter", *swapped, "--out", str(folder / "clean")]) == 2  # by the files' names
    for one in ("one", "two"):
        (folder / one).write_text((folder / {"one": "de.txt", "two": "en.txt"}[one]).read_text())
    swapped[1] = f"en-de={folder}/one,{folder}/two"
    assert cli.run(["text", "filter", *swapped, "--out", str(folder / "clean"), "--json", "--quiet"]) == 0
    steps = {step["name"]: step["dropped"] for step in json.loads(capsys.readouterr().out)[0]["steps"]}
    assert steps["in language"]["swapped"] > 60
