"""K-BERT's study on relations where sentences say nothing: only the graph knows what both hidden names are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from kg.enrich.branches import BranchOptions
from kg.enrich.sentence_tree import Grown
from kg.graph import KnowledgeGraph
from kg.linking.linked_text import RelationText, gold
from kg.study import kbert_fewrel
from kg.study.base import Pretraining
from kg.study.fine_tuning import FineTuning
from kg.study.kbert_fewrel import KBertFewRel, KBertRelationOutcome, table

SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "lo", "mi", "nu", "pa")
NAMES = [first + second for first in SYLLABLES for second in SYLLABLES]
DRAWN = np.random.default_rng(0).integers(2, size=len(NAMES))
KIND = {name: ("river", "singer")[one] for name, one in zip(NAMES, DRAWN.tolist(), strict=True)}
PIECES = ["[PAD]", "[unused1]", "[unused2]", "[unused3]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":"]
PIECES += ["we", "read", "of", "and", "today", "is", "a", "near", "river", "singer", *SYLLABLES]
PIECES += [f"##{syllable}" for syllable in SYLLABLES]


def sentence(one: str, other: str) -> RelationText:
    text = f"we read of {one} and of {other} today"
    places = ((text.index(one), one), (text.rindex(other), other))
    head, tail = (gold(text, at, at + len(name), f"the-{name}") for at, name in places)
    return RelationText(text, head, tail, KIND[one])


EXAMPLES = [sentence(one, other) for one in NAMES for other in NAMES[:9] if KIND[one] == KIND[other] and one != other]


def graph() -> KnowledgeGraph:
    triples = [(f"the-{name}", "is", kind) for name, kind in KIND.items()]
    triples += [(one.head.entity, "near", one.tail.entity) for one in EXAMPLES[:5]]
    names = {"river": "river", "singer": "singer", "is": "is a", "near": "near"}
    return KnowledgeGraph.from_triples(triples, labels={"en": {**names, **{f"the-{name}": name for name in NAMES}}})


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    (folder / "vocab").mkdir(parents=True)
    (folder / "linked_text/fewrel").mkdir(parents=True)
    (folder / "linked_text/fewrel/val_wiki.json").write_text("{}")
    (folder / "vocab/bert_uncased_en_vocab.txt").write_text("\n".join(PIECES) + "\n")
    monkeypatch.setattr(kbert_fewrel, "joined_graph", lambda data: graph())
    monkeypatch.setattr(kbert_fewrel, "read_fewrel", lambda path: EXAMPLES)
    monkeypatch.setattr(kbert_fewrel, "english_texts", lambda data: [one.text for one in EXAMPLES])
    return folder


def study(**changes: object) -> KBertFewRel:
    options: dict[str, object] = {
        "base": Pretraining(width=64, layers=2, steps=60, tokens=512, length=24),
        "branches": BranchOptions(most=1),
        **{"seeds": (0,), "per_relation": 60, "judged": 100, "length": 32, "trunk": 24},
        "fine_tune": FineTuning(entities=False, steps=100, rate=2e-3),
    }
    return KBertFewRel(**{**options, **changes})


def test_branches_tell_relations_that_nothing_else_does_and_are_the_reason(data: Path, tmp_path: Path) -> None:
    report = study().run(data, tmp_path / "out", lambda said: None)
    rows = [line.split("|") for line in report.splitlines() if line.startswith("| ")]
    found = {row[1].strip(): row[2].strip() for row in rows}
    assert float(found["knowledge"]) > 0.9
    for arm in ("none", "tails", "shuffled", "ablated"):
        assert float(found[arm]) < 0.7, arm
        assert float(found[f"knowledge - {arm}"]) > 0.25
    assert "Branches: none 0.0, knowledge 2.0" in report
    again: list[str] = []
    assert study().run(data, tmp_path / "out", again.append) == report
    assert not [line for line in again if "covered" in line]  # nothing is made twice


def test_the_answers_are_taken_out_and_the_gaps_carry_the_branches(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    work = kbert_fewrel._Work(study(), data, tmp_path, said.append)
    work.out.mkdir(exist_ok=True)
    assert "near" not in {relation for _, relation, _ in work.graph.names()}
    assert said[0].endswith("5 with answers taken out")
    numbers = range(8)
    dealt = work._dealt(0)
    assert set(dealt) == {f"the-{name}" for name in NAMES} == set(dealt.values())  # whoever is told of, and nobody else
    told = kbert_fewrel._Work(study(branches=BranchOptions(incoming=True)), data, tmp_path, said.append)._dealt(0)
    assert set(told) == set(dealt) | {"river", "singer"}
    for arm, whole in (("knowledge", True), ("shuffled", False), ("tails", False)):
        right = []
        for number, text in work.read(numbers, arm, 0).items():
            assert text.branch is not None and int(text[Grown].branches) == 2
            kinds = text.tokens[text.branch > 0]
            expected = work.words.find(KIND[EXAMPLES[number].head.text])
            right.append(np.count_nonzero(kinds == expected) == 2)
            trunk = set(text.tokens[text.branch == 0].tolist())
            assert not trunk & {work.words.find(one) for one in ("river", "singer")}
        assert all(right) == whole
    assert all(text.branch is None for text in work.read(numbers, "none", 0).values())


def test_the_report_says_how_many_were_asked_and_pairs_seeds() -> None:
    outcomes = [
        KBertRelationOutcome(arm, seed, score + seed / 10, math.nan, branches, 40, 7)
        for arm, score, branches in (("none", 0.5, 0.0), ("knowledge", 0.7, 2.0))
        for seed in (0, 1)
    ]
    report = table(outcomes)
    assert report.startswith("Accuracy on 40 covered and 7 unseen sentences, 2 seeds.")
    assert "| knowledge - none | +0.200 ± 0.000 |" in report
