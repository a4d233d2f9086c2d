"""LIBERT's study where words that begin alike are synonyms: true pairs tell of those that were held out."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from kelm.batch import pack
from kelm.model import Encoder, EncoderConfig
from kelm.text import tokenizer as tokenizers
from kelm.text.tokenizer import Tokenizer
from kg.study.base import Pretraining
from kg.study.lexical_measures import similarity, word_states
from kg.study.libert import Libert, _Work
from kg.study.libert_report import LibertOutcome, table

FIRST = ["bak", "dol", "fim", "gur", "hep", "jov", "kel", "mun", "nar", "pid", "ros", "tas"]
SECOND = ["ab", "ec", "id", "ol", "um"]
WORDS = [first + second for first in FIRST for second in SECOND]
APART = [(f"{first}ab", f"{first}um") for first in FIRST]


def write_world(folder: Path) -> None:
    random = np.random.default_rng(0)
    (folder / "oewn").mkdir(parents=True)
    synsets = [f"{first}-n\tnoun.artifact\t\t{'|'.join(first + one for one in SECOND)}\tone\n" for first in FIRST]
    (folder / "oewn" / "synsets.tsv").write_text("".join(synsets))
    (folder / "oewn" / "relations.tsv").write_text("bak-n\thypernym\tdol-n\n")
    (folder / "list.txt").write_text("".join(f"{first}ec {first}id\n" for first in FIRST))
    scores = [f"{one}\t{other}\tN\t{9 - place / 2}\n" for place, (one, other) in enumerate(APART)]
    (folder / "similarity.txt").write_text("word1\tword2\tPOS\tscore\n" + "".join(scores))
    said = [f"we saw {' and '.join(random.choice(WORDS, 3))}" for _ in range(200)]
    (folder / "mono.txt").write_text("".join(f"{text}\n" for text in said))
    for name, some in (("train", said[:40]), ("test", said[40:60])):
        rows = "".join(f"{text}\t{place % 2}\n" for place, text in enumerate(some))
        (folder / f"{name}.tsv").write_text(f"sentence\tlabel\n{rows}")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "we", "saw", "and", *FIRST, *(f"##{one}" for one in SECOND)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")


def study() -> Libert:
    return Libert(
        lexicon="oewn",
        lists=("list.txt",),
        similarity="similarity.txt",
        vocabulary="vocab.txt",
        mono=("mono.txt",),
        task_train="train.tsv",
        task_test="test.tsv",
        base=Pretraining(width=64, layers=2, steps=10, tokens=512, length=24),
        often=1,
        relations=(),
        held_out=0.25,
        layers=(1, 2),
        seeds=(0,),
        steps=150,
        tokens=128,
        pair_tokens=512,
        rate=2e-3,
        task_passes=0.1,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_world(folder)
    return folder


def test_only_true_pairs_tell_of_those_that_were_held_out(world: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = study().run(world, tmp_path, said.append)
    lines = (tmp_path / "outcomes.jsonl").read_text().splitlines()
    found = {one["arm"]: one for line in lines for one in json.loads(line)}
    assert found["knowledge"]["head"] > 0.9
    assert found["shuffled"]["head"] < 0.75
    assert found["none"]["head"] is None
    assert found["knowledge"]["pairs"] >= found["shuffled"]["pairs"] > 0
    assert "knowledge - shuffled" in report
    again: list[str] = []
    assert study().run(world, tmp_path, again.append) == report
    assert again == []


def test_pairs_of_the_similarity_test_are_neither_learned_nor_negatives(world: Path, tmp_path: Path) -> None:
    work = _Work(study(), world, tmp_path, print)
    held = {tuple(sorted(pair)) for pair in APART}
    every = {tuple(sorted((first + one, first + two))) for first in FIRST for one, two in combinations(SECOND, 2)}
    every |= {(f"bak{one}", f"dol{two}") for one in SECOND for two in SECOND}  # hypernyms
    for arm in ("knowledge", "shuffled"):
        corpus = work.learned(arm, 0)
        assert corpus is not None
        pairs = {tuple(sorted((pair.first.pieces.text, pair.second.pieces.text))) for pair, _ in corpus.stream()}
        assert pairs
        assert not pairs & held
        assert (pairs <= every) == (arm == "knowledge")
        corpus = work.learned(arm, 0)
        assert corpus is not None
        words = {word.pieces.text: word for pair, _ in corpus.stream() for word in (pair.first, pair.second)}
        both = [(words[one], words[other]) for one, other in APART if one in words and other in words]
        assert both
        assert all(other.key in one.partners for one, other in both)  # known, so no negative


def test_similarity_is_spearmans_correlation_of_cosines(world: Path) -> None:
    words: Tokenizer = tokenizers.open(world / "vocab.txt")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    encoder = Encoder(EncoderConfig(**sizes, vocab_size=words.vocabulary_size, initializer_range=0.3)).eval()
    scored = [(one, other, float(place % 5)) for place, (one, other) in enumerate(zip(WORDS, WORDS[7:], strict=False))]
    cosines = []
    for one, other, _ in scored:
        vectors = []
        for word in (one, other):
            [text] = words.encode([word])
            with torch.no_grad():
                trail = encoder.encode(pack([text], pad=words.pad), trail=True).trail
            vectors.append(trail[1][0, 1:-1].mean(0).double())
        cosines.append(float(torch.cosine_similarity(*vectors, dim=0)))
    expected = spearmanr(cosines, [score for *_, score in scored]).statistic
    assert similarity(encoder, words, scored, 1) == pytest.approx(expected, abs=1e-6)
    assert word_states(encoder, words, WORDS[:3], 2).shape == (3, 16)


def test_the_table_pairs_arms_by_seed_and_leaves_out_what_an_arm_has_not() -> None:
    outcomes = [
        LibertOutcome(arm, seed, head, 0.5 + gain, [0.1, 0.2], 4.0, 0.7, 10)
        for seed in range(3)
        for arm, head, gain in (("none", None, 0.0), ("knowledge", 0.6, 0.1), ("shuffled", 0.4, 0.0))
    ]
    said = table(outcomes, (1, 2))
    assert "| knowledge - none |  | +0.100 ± 0.000 |" in said
    assert "| knowledge - shuffled | +0.200 ± 0.000 |" in said
