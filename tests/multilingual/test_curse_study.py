"""The study of the curse on made-up languages, and its measure against sums done one word at a time."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kelm.errors import InputError, RecipeError
from kelm.evaluation.intervals import mean
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import vocabulary
from kelm.training.learner import Learner
from multilingual.study.curse import Curse, _Work
from multilingual.study.curse_report import CurseOutcome, Point, draw, table
from multilingual.study.held_out_words import bits_per_character, readings

LANGUAGES = {"eng": "bcdfg", "swh": "klmnp", "spa": "rstvw"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Verses of four words, each the one after the last, in a made-up Matthew of forty chapters."""
    random = np.random.default_rng(0)
    for name, letters in LANGUAGES.items():
        words = [f"{a}{b}" for a in letters for b in "aeiou"]
        lines = []
        for chapter in range(1, 41):
            for verse in range(1, 11):
                start = int(random.integers(25))
                text = " ".join(words[(start + place) % 25] for place in range(4))
                lines.append(f"MAT.{chapter}.{verse}\t{text}\n")
        with gzip.open(tmp_path / f"{name}.tsv.gz", "wt") as file:
            file.writelines(lines)
    return tmp_path


def study(**changes: object) -> Curse:
    options: dict[str, object] = {
        "verses": {"eng": 300, "swh": 40, "spa": 300},
        "files": "{}.tsv.gz",
        **{"counts": (2, 3), "widths": (64,), "alphas": (1.0, 0.0), "vocabularies": (310, 320), "pieces": 310},
        **{"width": 64, "layers": 1, "rare": 100, "judged": 8, "seeds": (0,), "steps": 4, "tokens": 200},
    }
    return Curse(**{**options, **changes})  # type: ignore[arg-type]


def test_every_axis_is_run_once_drawn_and_told(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = study().run(data, tmp_path / "out", said.append)
    assert len(said) == 6  # 3 languages, 2, those 2 alone, two other alphas, another vocabulary
    heads = [line for line in report.splitlines() if line.startswith("| ")]
    names = [line.split("|")[1].strip() for line in heads]
    assert names[:6] == [
        *("arm", "2 languages", "3 languages", "3, alone"),
        *("3 languages - 2 languages", "3 languages - 3, alone"),
    ]
    assert {"alpha 1.0", "alpha 0.3", "alpha 0.0 - alpha 1.0", "320 pieces - 310 pieces"} <= set(names)
    assert "310 pieces: 19,840 parameters of" in report
    drawing = (tmp_path / "out" / "curves.svg").read_text()
    assert "<desc>" in drawing and "width 64, alone as often" in drawing and "pieces of the vocabulary" in drawing
    again: list[str] = []
    assert study().run(data, tmp_path / "out", again.append) == report and not again


def test_more_training_says_more_of_held_out_chapters(data: Path, tmp_path: Path) -> None:
    few = {"counts": (2,), "alphas": (0.0,), "alpha": 0.0, "vocabularies": (310,)}
    found = []
    for steps in (2, 250):
        study(**few, steps=steps, tokens=600, rate=3e-3).run(data, tmp_path / str(steps), lambda said: None)
        line = (tmp_path / str(steps) / "outcomes.jsonl").read_text().splitlines()[0]
        found.append(float(line.partition('"eng": ')[2].partition(",")[0]))
    assert found[1] < 0.7 * found[0]


def test_no_held_out_chapter_is_trained_on_and_all_languages_are_asked_the_same_verses(
    data: Path, tmp_path: Path
) -> None:
    work = _Work(study(), data, tmp_path, print)
    held_out = [key for key in work.verses["eng"] if work.is_held_out(key)]
    assert 0 < len({key.split(".")[1] for key in held_out}) < 10  # of 40 chapters, whole ones
    assert len(held_out) == 10 * len({key.split(".")[1] for key in held_out})
    assert set(work.judged_keys) <= set(held_out) and len(work.judged_keys) == 8
    kept = [text for key, text in work.verses["eng"].items() if key not in held_out]
    assert [one.text for one in work.trained_on("eng")] == [kept[place * len(kept) // 300] for place in range(300)]
    assert len(work.trained_on("swh")) == 40


def test_those_alone_read_as_many_tokens_as_in_company(data: Path, tmp_path: Path) -> None:
    study(steps=40).run(data, tmp_path / "out", lambda said: None)
    rows = [json.loads(line)[0] for line in (tmp_path / "out" / "outcomes.jsonl").read_text().splitlines()]
    [alone] = [row for row in rows if row["alone"]]
    work = _Work(study(), data, tmp_path / "out", print)
    texts = {name: [text.text for text in work.trained_on(name)] for name in work.verses}
    words = work.words(study().base)
    pieces = {name: np.mean([len(one) for one in words.encode(some)]) for name, some in texts.items()}
    read = {name: len(some) ** 0.3 * pieces[name] for name, some in texts.items()}
    assert alone["steps"] == pytest.approx(40 * (read["eng"] + read["swh"]) / sum(read.values()), abs=1)
    assert set(alone["bits"]) == {"eng", "swh"}


@pytest.fixture
def learner_and_words() -> tuple[Learner, vocabulary.HuggingFace | vocabulary.SentencePiece]:
    texts = ["a cat sat on the mat", "the dog ran", "cats run"] * 4
    words = vocabulary.train(texts, 282, "unigram", byte_fallback=True)
    torch.manual_seed(0)
    config = EncoderConfig(
        family="xlm-roberta",
        vocab_size=words.vocabulary_size,
        pad_token_id=words.pad,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        type_vocab_size=1,
        initializer_range=0.3,
    )
    return Learner(Encoder(config), [MaskedLanguageModel(config, tokenizer=words)]).eval(), words


def test_every_piece_is_hidden_once_with_its_whole_word(learner_and_words) -> None:  # type: ignore[no-untyped-def]
    _, words = learner_and_words
    [text] = words.encode(["the cat sat on ☃ mats"])
    hidden = [(reading.tokens == words.mask).nonzero()[0].tolist() for reading in readings(text, words.mask, 3)]
    assert sorted(place for places in hidden for place in places) == (text.words >= 0).nonzero()[0].tolist()
    for places in hidden:
        own = {int(text.words[place]) for place in places}
        assert places == [place for place in range(len(text)) if int(text.words[place]) in own]
        assert len({number % 3 for number in own}) == 1


@pytest.mark.parametrize("turns", [1, 2, 50])
def test_bits_of_a_character_are_those_summed_word_by_word(turns: int, learner_and_words) -> None:  # type: ignore[no-untyped-def]
    learner, words = learner_and_words
    texts = words.encode(["a cat sat on the mat", "the dog", "☃ ran"])
    nats = 0.0
    for text in texts:
        for turn in range(turns):
            seen = torch.tensor(text.tokens)
            places = [place for place, word in enumerate(text.words.tolist()) if word >= 0 and word % turns == turn]
            if places:
                seen[places] = words.mask
                with torch.no_grad():
                    hidden = learner.encoder(seen[None]).last_hidden_state[0, places]
                    head = learner.objectives["mlm"].head
                    logits = head.logits(hidden, learner.encoder.embeddings.word_embeddings.weight)
                for row, place in zip(logits.log_softmax(-1), places, strict=True):
                    nats -= float(row[int(text.tokens[place])])
    expected = nats / math.log(2) / sum(len(text.text) for text in texts)
    found = bits_per_character(learner, texts, mask=words.mask, pad=words.pad, turns=turns, tokens=20)
    assert found == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match="no text to judge by"):
        bits_per_character(learner, [], mask=words.mask, pad=words.pad)


def test_differences_are_paired_by_seed_and_the_picture_tells_means(tmp_path: Path) -> None:
    base = Point(4, 64, 0.3, 100)
    outcomes = [
        CurseOutcome(4, 64, alpha, 100, False, seed, 10, 1, 2, {"eng": 2.0 + seed, "swh": 3.0 + seed - gain})
        for alpha, gain in ((1.0, 0.0), (0.3, 0.5))
        for seed in (0, 1)
    ]
    report = table(outcomes, base, {"swh"})
    assert "| alpha 0.3 - alpha 1.0 | +0.000 ± 0.000 | -0.500 ± 0.000 | -0.250 ± 0.000 |" in report
    draw(outcomes, base, {"swh"}, tmp_path / "curves.svg")
    told = (tmp_path / "curves.svg").read_text()
    assert f"languages with few verses, alpha 0.3: {mean([2.5, 3.5])}" in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"counts": (2, 4)}, "field counts: 3 languages are given, 4 asked for"),
        ({"steps": 0}, "field steps"),
        ({"alphas": (-1.0,)}, r"field alphas\.0"),
        ({"verses": {"eng": 0}, "counts": (1,)}, r"field verses\.eng"),
    ],
)
def test_impossible_options_are_told(changes: dict[str, object], said: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        study(**changes).run(data, tmp_path / "out", print)


def test_missing_or_other_data_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of data"):
        study().run(None, tmp_path / "out", print)
    with pytest.raises(InputError, match="no verse of all languages is held out"):
        study(every=100_000).run(data, tmp_path / "out", print)
    (data / "eng.tsv.gz").unlink()
    (data / "eng.tsv.gz").write_text("In the beginning\n")
    with pytest.raises(InputError):
        study().run(data, tmp_path / "other", print)
