"""KEPLER's study on people whose descriptions say where they come from: who was never seen can still be asked about."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kelm.errors import InputError
from kg.embeddings.ranking import ranks
from kg.embeddings.recipe import EmbeddingRecipe
from kg.graph import KnowledgeGraph
from kg.study.base import Pretraining
from kg.study.frequency import Frequency
from kg.study.kepler import Kepler, KeplerOutcome, table
from kg.study.kepler_data import described_graph, parted

PLACES = ["alm", "bern", "cham", "dorf", "egg", "fulda"]
SYLLABLES = ["ka", "lo", "mi", "nu", "pe", "ru", "sa", "to", "wi", "ze"]
PEOPLE = [one + other for one in SYLLABLES for other in SYLLABLES]


def write_world(folder: Path) -> None:
    random = np.random.default_rng(0)
    homes = {name: PLACES[int(random.integers(len(PLACES)))] for name in PEOPLE}
    triples = [f"{name}\t{relation}\t{home}\n" for name, home in homes.items() for relation in ("born", "lives")]
    triples = [triples[number] for number in random.permutation(len(triples)).tolist()]
    place = folder / "kg"
    place.mkdir(parents=True)
    (place / "train.txt").write_text("".join(triples[:160]))
    (place / "valid.txt").write_text("".join(triples[160:170]))
    (place / "test.txt").write_text("".join(triples[170:]))
    texts = [f"{name}\t{name}, one of {home}\n" for name, home in homes.items()]
    (place / "entity2text.txt").write_text("".join([*texts, *(f"{home}\t{home}, a town\n" for home in PLACES)]))
    (place / "relation2text.txt").write_text("born\tborn in\nlives\tis in\n")
    (folder / "mono.txt").write_text("".join(f"{name} is one of many in {home} town\n" for name, home in homes.items()))
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        ":",
        ",",
        "one",
        "of",
        "a",
        "town",
        "born",
        "in",
        "is",
        "many",
    ]
    pieces += [*PLACES, *SYLLABLES, *(f"##{syllable}" for syllable in SYLLABLES)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")


def study(**changes: object) -> Kepler:
    options: dict[str, object] = {
        **{"graph": "kg", "entities": "entity2text.txt", "frequent": None},
        **{"vocabulary": "vocab.txt", "mono": ("mono.txt",), "seeds": (0,), "held_out": 0.2},
        "base": Pretraining(width=64, layers=2, steps=20, tokens=256, length=16),
        **{"steps": 120, "tokens": 128, "triple_tokens": 768, "rate": 3e-3, "length": 16},
        "transe": EmbeddingRecipe(width=8, epochs=2),
    }
    return Kepler(**{**options, **changes})  # type: ignore[arg-type]


def test_only_who_learned_the_triples_by_their_texts_answers_for_people_never_seen(tmp_path: Path) -> None:
    write_world(tmp_path / "data")
    said: list[str] = []
    report = study().run(tmp_path / "data", tmp_path / "out", said.append)
    lines = (tmp_path / "out" / "outcomes.jsonl").read_text().splitlines()
    found = {(one["arm"], one["setting"]): one for line in lines for one in json.loads(line)}
    assert found["knowledge", "inductive"]["tails"] > 0.9
    assert all(found[arm, "inductive"]["tails"] < 0.75 for arm in ("none", "shuffled", "frequency"))
    assert ("transe", "inductive") not in found
    assert ("transe", "transductive") in found
    assert "knowledge - shuffled" in report
    again: list[str] = []
    assert study().run(tmp_path / "data", tmp_path / "out", again.append) == report
    assert again == []


def test_nothing_is_learned_of_an_entity_that_is_held_out(tmp_path: Path) -> None:
    write_world(tmp_path)
    graph, triples = described_graph(tmp_path / "kg", "entity2text.txt", "relation2text.txt")
    assert [len(triples[part]) for part in ("train", "valid", "test")] == [160, 10, 30]
    found = parted(graph, triples["train"], triples["test"], 0.3, 1000)
    learned = set(found.learned[:, [0, 2]].ravel().tolist())
    new = set(range(graph.entity_count)) - learned
    between, apart = found.asked["transductive"], found.asked["inductive"]
    assert 0 < len(apart) < 190
    assert all({head, tail} <= learned for head, _, tail in between.tolist())
    assert all({head, tail} & new for head, _, tail in apart.tolist())
    assert not {tuple(one) for one in found.learned.tolist()} & {tuple(one) for one in apart.tolist()}
    few = parted(graph, triples["train"], triples["test"], 0.3, 5).asked["inductive"]
    assert {tuple(one) for one in few.tolist()} < {tuple(one) for one in apart.tolist()}


def test_the_most_frequent_entities_are_kept_with_what_is_said_of_them(tmp_path: Path) -> None:
    write_world(tmp_path)
    rows = [{"mid": place, "label": place.title(), "description": "a town"} for place in PLACES]
    (tmp_path / "kg" / "entities.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    graph, triples = described_graph(tmp_path / "kg", "entities.jsonl", "relation2text.txt", frequent=40)
    whole, every = described_graph(tmp_path / "kg", "entity2text.txt", "relation2text.txt")
    assert graph.entity_count == 40
    assert set(PLACES) <= set(map(str, graph.entities))
    kept = {tuple(map(str, one)) for one in graph.names()}
    assert kept == {one for one in map(tuple, whole.names()) if {one[0], one[2]} <= set(map(str, graph.entities))}
    assert sum(map(len, triples.values())) == len(kept) < sum(map(len, every.values()))
    assert graph.label(int(graph.entities.find("alm")), "en") == "Alm"


def test_the_floor_ranks_by_how_often_a_relation_has_an_answer() -> None:
    triples = [(f"p{n}", "born", "alm" if n < 5 else "bern" if n < 8 else "cham") for n in range(9)]
    graph = KnowledgeGraph.from_triples([*triples, ("p0", "works", "cham")])
    found = ranks(Frequency(graph), graph, sides=("tail",))
    counts = {("born", "alm"): 5, ("born", "bern"): 3, ("born", "cham"): 1, ("works", "cham"): 1}
    for (_, relation, tail), rank in zip(graph.names(), found["tail"].tolist(), strict=True):
        others = [counts.get((relation, str(other)), 0) for other in graph.entities if other != tail]
        mine = counts[relation, tail]
        assert rank == 1 + sum(other > mine for other in others) + sum(other == mine for other in others) / 2


def test_without_its_files_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="KELM_DATA"):
        study().run(None, tmp_path / "out", print)


def test_the_table_pairs_arms_by_seed() -> None:
    outcomes = [
        KeplerOutcome(arm, seed, "inductive", *[0.2 + gain + seed / 10] * 5, 3.0, 9)
        for seed in range(3)
        for arm, gain in (("none", 0.0), ("knowledge", 0.25))
    ]
    assert "| knowledge - none | +0.250 ± 0.000 |" in table(outcomes)
