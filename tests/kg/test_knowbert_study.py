"""KnowBert's study where every name is a person's and a place's: words tell the kind, vectors who is of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from kg.embeddings.table import EntityTable
from kg.graph import KnowledgeGraph
from kg.linking.linked_text import LinkedText, RelationText, gold
from kg.study import knowbert
from kg.study.base import Pretraining, pretrain
from kg.study.fewrel import FewRel
from kg.study.fine_tuning import FineTuning
from kg.study.knowbert import KnowBert, KnowBertOutcome, table
from kg.study.run import Material

NAMES = [first + second for first in ("ba", "de", "fi", "go", "hu", "ka") for second in ("lo", "mi", "nu", "pa")]
KINDS = {"person": "she spoke with {0} and {1} today", "place": "she went from {0} to {1} today"}


def sentence(kind: str, one: str, other: str) -> RelationText:
    text = KINDS[kind].format(one, other)
    first, second = text.index(f" {one} ") + 1, text.index(f" {other} ") + 1
    head, tail = (gold(text, at, at + len(name), f"{name}-{kind}") for at, name in ((first, one), (second, other)))
    return RelationText(text, head, tail, kind)


def sentences(part: str) -> list[RelationText]:
    names = {"train": NAMES[:16], "test": NAMES[16:]}[part]
    return [sentence(kind, one, other) for kind in KINDS for one in names for other in names if one != other]


def graph() -> KnowledgeGraph:
    triples = [(f"{name}-{kind}", "is", kind) for name in NAMES for kind in KINDS]
    labels = {f"{name}-{kind}": name for name in NAMES for kind in KINDS}
    return KnowledgeGraph.from_triples(triples, labels={"en": labels})


def made_material(folder: Path) -> Material:
    texts = [text.text for text in sentences("train")]
    random = np.random.default_rng(0)
    entities = list(graph().entities)
    kinds = np.array([[name.endswith("person"), name.endswith("place")] for name in entities], np.float32)
    vectors = (3 * kinds.repeat(4, axis=1) + 0.1 * random.normal(size=(len(kinds), 8))).astype(np.float32)
    found = EntityTable.from_vectors(entities, vectors)
    if not (folder / "base").is_dir():
        found.save(folder / "vectors")
        words = vocabulary.train([*texts, *NAMES], 90, "wordpiece", lower=True)
        pretrain(Pretraining(width=64, layers=2, steps=60, tokens=512, length=32), lambda: texts, words, folder)
        words.save(folder / "words")
    articles = [LinkedText(one.text, one.mentions) for one in sentences("train")[::8]]
    examples = {"gold": [*sentences("train"), *sentences("test")]}
    return Material(folder / "base", tokenizers.open(folder / "words"), found, articles, examples)


def study(**changes: object) -> KnowBert:
    options: dict[str, object] = {
        "material": FewRel(),
        "linker": {"inner": 16, "heads": 2, "hidden": 16, "after": 1},
        **{"seeds": (0,), "linker_steps": 150, "linker_rate": 5e-3, "steps": 30, "tokens": 512, "length": 32},
        "fine_tune": FineTuning(entities=False, steps=2, passes=0.1),
    }
    return KnowBert(**{**options, **changes})


def test_only_vectors_tell_which_of_two_the_words_speak_of_where_names_were_never_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowbert, "material", lambda options, data, out, say: made_material(out))
    monkeypatch.setattr(knowbert, "joined_graph", lambda data: graph())
    monkeypatch.setattr(knowbert, "fewrel_part", lambda data, part: sentences(part))
    said: list[str] = []
    out = tmp_path / "out"
    out.mkdir()
    report = study().run(tmp_path, out, said.append)
    lines = (out / "outcomes.jsonl").read_text().splitlines()
    found = {one["arm"]: one for line in lines for one in json.loads(line)}
    assert set(found) == {"none", "knowledge", "shuffled", "random", "ablated"}
    assert found["knowledge"]["unseen_f1"] > 0.95
    assert all(found[arm]["unseen_f1"] < 0.8 for arm in ("shuffled", "random"))
    assert found["knowledge"]["hits_at_10"] == 1
    assert math.isnan(found["none"]["f1"])
    assert math.isnan(found["ablated"]["f1"])
    assert "| most frequent | " in report
    again: list[str] = []
    assert study().run(tmp_path, out, again.append) == report
    assert again == []


def test_the_table_pairs_arms_by_seed() -> None:
    def one(arm: str, seed: int, f1: float) -> KnowBertOutcome:
        return KnowBertOutcome(arm, seed, 2.0, f1, f1, f1, f1, f1, f1, 0.5)

    outcomes = [one("knowledge", seed, 0.6 + seed / 10) for seed in range(3)]
    outcomes += [one("shuffled", seed, 0.5 + seed / 10) for seed in range(3)]
    lines = table(outcomes, dict.fromkeys((*knowbert.MEASURES, "unseen_f1"), 0.4)).splitlines()
    assert lines[0].startswith("3 seeds")
    assert "| knowledge - shuffled | +0.000 ± 0.000 | +0.100 ± 0.000 |" in "\n".join(lines)
