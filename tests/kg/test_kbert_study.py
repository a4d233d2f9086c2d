"""K-BERT's study on towns whose names say nothing: only the graph knows where they lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kelm.errors import InputError
from kg.enrich.branches import BranchOptions
from kg.graph import KnowledgeGraph
from kg.study.base import Pretraining
from kg.study.kbert import KBert, KBertOutcome, TextSet, shuffled_tails, table

SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "lo", "mi", "nu", "pa", "ri", "su")
TOWNS = [first + second + "x" for first in SYLLABLES for second in SYLLABLES]
LANDS = ("asia", "africa")


def write_world(folder: Path) -> None:
    random = np.random.default_rng(0)
    lies = {town: LANDS[int(random.integers(2))] for town in TOWNS}
    (folder / "graph.tsv").write_text("".join(f"{town}\tin\t{land}\n" for town, land in lies.items()))
    names = [*TOWNS, *LANDS, "in"]
    (folder / "names.tsv").write_text("".join(f"{name}\ten\t{name}\n" for name in names))
    for part, towns in (("train", TOWNS[:96]), ("test", TOWNS[96:])):
        rows = "".join(f"{lies[town]}\twe came to {town} at night\n" for town in towns)
        (folder / f"{part}.tsv").write_text("label\ttext\n" + rows)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", "we", "came", "to", "at", "night", "in", *LANDS, "##x"]
    pieces += [*SYLLABLES, *(f"##{syllable}" for syllable in SYLLABLES)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")


def study(**changes: object) -> KBert:
    options: dict[str, object] = {
        "texts": TextSet(train="train.tsv", test="test.tsv", labels=LANDS),
        "graph": ("graph",),
        "vocabulary": "vocab.txt",
        "mono": (),
        "branches": BranchOptions(most=1, separator=" "),
        "base": Pretraining(width=64, layers=2, steps=30, tokens=512, length=24),
        **{"sizes": (96,), "seeds": (0,), "length": 24, "trunk": 16, "steps": 160, "rate": 2e-3},
    }
    return KBert(**{**options, **changes})


@pytest.fixture
def world(tmp_path: Path) -> Path:
    from kelm.cli import run

    folder = tmp_path / "data"
    folder.mkdir()
    write_world(folder)
    names = ["--labels", str(folder / "names.tsv")]
    assert run(["graph", "build", str(folder / "graph.tsv"), *names, "--out", str(folder / "graph"), "--quiet"]) == 0
    return folder


def test_what_only_the_graph_knows_is_told_with_its_branches_alone(world: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = study().run(world, tmp_path / "out", said.append)
    lines = (tmp_path / "out" / "outcomes.jsonl").read_text().splitlines()
    [found] = [{one["arm"]: one for one in json.loads(line)} for line in lines]
    assert found["knowledge"]["accuracy"] > 0.95
    assert all(found[arm]["accuracy"] < 0.8 for arm in ("none", "shuffled", "ablated"))
    assert [found[arm]["branches"] for arm in ("none", "knowledge", "shuffled", "ablated")] == [0, 1, 1, 0]
    assert "| knowledge - shuffled | | | +" in report
    again: list[str] = []
    assert study().run(world, tmp_path / "out", again.append) == report
    assert again == []  # nothing is done twice


def test_tails_are_dealt_anew_within_their_relation() -> None:
    triples = [(f"h{number}", f"r{number % 2}", f"t{number}") for number in range(40)]
    graph = KnowledgeGraph.from_triples(triples)
    shuffled = shuffled_tails(graph, 0)
    pairs = {(relation, tail) for _, relation, tail in graph.names()}
    assert {(relation, tail) for _, relation, tail in shuffled.names()} == pairs
    assert sorted(head for head, _, _ in shuffled.names()) == sorted(head for head, _, _ in graph.names())
    assert set(shuffled.names()) != set(graph.names())
    assert set(shuffled_tails(graph, 0).names()) == set(shuffled.names()) != set(shuffled_tails(graph, 1).names())


def test_the_table_gives_means_intervals_and_differences_by_seed() -> None:
    scores = {"none": (0.5, 0.6), "knowledge": (0.6, 0.8), "shuffled": (0.5, 0.5)}
    outcomes = [
        KBertOutcome(arm, 100, seed, score, score, 2.0, 1.5, 50)
        for arm, both in scores.items()
        for seed, score in enumerate(both)
    ]
    lines = table(outcomes).splitlines()
    assert "| none | 2.0 | 1.5 | 0.550 ± 0.635 |" in lines
    assert "| knowledge - none | | | +0.150 ± 0.635 |" in lines
    assert any(line.startswith("| knowledge - shuffled | | | +0.200 ±") for line in lines)


def test_data_are_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of data is given"):
        study().run(None, tmp_path, print)


def test_dealing_keeps_nearly_all_triples_where_tails_are_few() -> None:
    random = np.random.default_rng(0)
    pairs = {(int(head), int(tail)) for head, tail in random.integers(0, 30, (400, 2)) if head != tail}
    graph = KnowledgeGraph.from_triples([(f"e{head}", "r", f"e{tail}") for head, tail in sorted(pairs)])
    for seed in range(5):
        shuffled = shuffled_tails(graph, seed)
        assert len(shuffled) > 0.97 * len(graph)
        assert (shuffled.heads != shuffled.tails).all()


def test_results_of_other_data_are_refused_and_further_arms_are_added(world: Path, tmp_path: Path) -> None:
    quick = {"steps": 2, "base": Pretraining(width=64, layers=1, steps=2, tokens=256, length=24)}
    study(arms=("none",), **quick).run(world, tmp_path / "out", lambda _: None)
    said: list[str] = []
    study(arms=("none", "knowledge"), **quick).run(world, tmp_path / "out", said.append)
    assert [line.split(",")[0] for line in said] == ["knowledge"]
    lines = (world / "train.tsv").read_text().replace("asia", "x").replace("africa", "asia").replace("x\t", "africa\t")
    (world / "train.tsv").write_text(lines)
    with pytest.raises(InputError, match="was made from other data"):
        study(arms=("none",), **quick).run(world, tmp_path / "out", said.append)
