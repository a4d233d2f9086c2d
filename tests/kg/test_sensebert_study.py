"""SenseBERT's study where animals and dishes are told apart by what is said of them, and half are never taught."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from kelm.text import tokenizer as tokenizers
from kelm.text.tokenizer import Tokenizer
from kg.linking.supersenses import SenseLexicon
from kg.study import oewn
from kg.study.base import Pretraining
from kg.study.sense_probe import fitted, pairs, untaught, uses_of, wic
from kg.study.sensebert import SenseBert, SenseOutcome, table

SYLLABLES = ["bak", "dol", "fim", "gur", "hep", "jov", "kel", "mun", "nar", "pid"]
WORDS = [one + other for one in SYLLABLES for other in SYLLABLES if one != other]
KINDS = {"noun.animal": "the {} ran home to its young", "noun.food": "we ate a {} with salt and bread"}
SENSE = {word: list(KINDS)[place % 2] for place, word in enumerate(WORDS)}


def write_world(folder: Path) -> None:
    random = np.random.default_rng(0)
    lexicon = folder / "oewn"
    lexicon.mkdir(parents=True)
    (lexicon / "synsets.tsv").write_text(
        "".join(f"{word}-n\t{sense}\t\t{word}\tone\n" for word, sense in SENSE.items())
    )
    (lexicon / "relations.tsv").write_text(f"{WORDS[0]}-n\talso\t{WORDS[2]}-n\n")
    for name, times in (("texts", 6), ("asked", 2)):
        said = [
            KINDS[SENSE[word]].format(word) + (f" {count}" if name == "texts" else "")
            for word in WORDS
            for count in range(times)
        ]
        (folder / f"{name}.txt").write_text("".join(f"{said[n]}\n" for n in random.permutation(len(said)).tolist()))
    uses = [
        {
            "lemma": one,
            "sentence1": KINDS[SENSE[one]].format(one),
            "sentence2": KINDS[sense].format(one),
            "tag": "T" if sense == SENSE[one] else "F",
        }
        for one in WORDS
        for sense in KINDS
    ]
    for use in uses:
        for side in (1, 2):
            start = use[f"sentence{side}"].index(use["lemma"])
            use |= {f"start{side}": str(start), f"end{side}": str(start + len(use["lemma"]))}
    (folder / "wic.jsonl").write_text("".join(json.dumps(use) + "\n" for use in uses))
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *sorted({word for text in KINDS.values() for word in text.split()} - {"{}"}),
    ]
    pieces += [*map(str, range(6)), *SYLLABLES, *(f"##{syllable}" for syllable in SYLLABLES)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")


def study() -> SenseBert:
    return SenseBert(
        lexicon="oewn",
        vocabulary="vocab.txt",
        texts=("texts.txt",),
        asked=("asked.txt",),
        wic=("wic.jsonl", "wic.jsonl"),
        base=Pretraining(width=64, layers=2, steps=40, tokens=512, length=24),
        seeds=(0,),
        steps=100,
        tokens=512,
        rate=3e-3,
        wic_pairs=60,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_world(folder)
    return folder


@pytest.fixture(scope="module")
def words(world: Path) -> Tokenizer:
    return tokenizers.open(world / "vocab.txt")


def test_what_is_taught_tells_of_words_that_were_not(world: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = study().run(world, tmp_path, said.append)
    lines = (tmp_path / "outcomes.jsonl").read_text().splitlines()
    found = {one["arm"]: one for line in lines for one in json.loads(line)}
    assert set(found) == {"none", "knowledge", "shuffled", "muted"}
    assert found["knowledge"]["head_hidden"] > 0.9
    assert found["shuffled"]["head_hidden"] < 0.75
    assert math.isnan(found["none"]["head_shown"])
    assert found["none"]["n"] == found["knowledge"]["n"] >= 30
    assert "knowledge - shuffled" in report
    again: list[str] = []
    assert study().run(world, tmp_path, again.append) == report
    assert again == []


def test_words_left_out_are_in_nothing_that_is_taught(world: Path) -> None:
    lexicon = SenseLexicon.from_graph(oewn.read(world / "oewn"))
    left_out = untaught(lexicon, 0.5)
    taught = lexicon.without(left_out)
    assert 0.3 * len(WORDS) < len(left_out) < 0.7 * len(WORDS)
    assert all(not taught.of(word) for word in left_out)
    assert all(taught.of(word) == lexicon.of(word) for word in set(WORDS) - left_out)
    assert untaught(lexicon, 0.2) < left_out


def test_uses_are_those_of_the_words_and_no_more_than_asked_for(world: Path, words: Tokenizer) -> None:
    lexicon = SenseLexicon.from_graph(oewn.read(world / "oewn"))
    texts = words.encode((world / "asked.txt").read_text().splitlines())
    chosen = set(WORDS[:7])
    for most in (1, 2):
        found = uses_of(texts, lexicon, chosen, most)
        assert sorted(use.lemma for use in found.uses) == sorted(WORDS[:7] * most)
        for use in found.uses:
            assert lexicon.senses[use.sense] == SENSE[use.lemma]
            spans = texts[use.text].spans[list(use.tokens)]
            assert texts[use.text].text[spans[0, 0] : spans[-1, 1]] == use.lemma


def test_pairs_of_uses_say_whether_the_meaning_is_the_same(world: Path, words: Tokenizer) -> None:
    found, same = wic(world / "wic.jsonl", words, 24, 10)
    assert same.tolist() == [int(SENSE[WORDS[place // 2]] == list(KINDS)[place % 2]) for place in range(10)]
    assert [use.lemma for use in found.uses] == [WORDS[place // 4] for place in range(20)]
    features = pairs(np.arange(8.0).reshape(4, 2))
    assert features.tolist() == [[0, 1, 2, 3, 2, 2], [4, 5, 6, 7, 2, 2]]


def test_the_probe_is_scikit_learns(words: Tokenizer) -> None:
    random = np.random.default_rng(0)
    features, answers = random.normal(size=(60, 3)) * [1, 5, 9] + 4, random.integers(3, size=60)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(features), answers)
    asked = random.normal(size=(40, 3)) * [1, 5, 9] + 4
    assert fitted(features, answers, 0.1)(asked).tolist() == model.predict(scaler.transform(asked)).tolist()


def test_the_table_pairs_arms_by_seed() -> None:
    outcomes = [
        SenseOutcome(arm, seed, *[0.5 + gain + seed / 20] * 5, 0.4, 10, 20, 30)
        for seed in range(3)
        for arm, gain in (("knowledge", 0.1), ("shuffled", 0.0))
    ]
    assert "| knowledge - shuffled | +0.100 ± 0.000 |" in table(outcomes)
