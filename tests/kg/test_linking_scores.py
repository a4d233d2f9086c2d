"""Linking scores, worked by hand and on real gold."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from kg.io import xfactr
from kg.linking.alias import AliasLinker
from kg.linking.base import NIL, Candidate, Mention
from kg.linking.linked_text import read_fewrel
from kg.linking.scores import score_linking


def mention(start: int, end: int, *entities: str) -> Mention:
    return Mention(start, end, "x" * (end - start), tuple(Candidate(entity, 0.5) for entity in entities))


def test_scores_worked_by_hand() -> None:
    gold = [[mention(0, 5, "Q90"), mention(6, 11)], [mention(0, 4, "Q586"), mention(5, 9, "Q1"), mention(9, 10, NIL)]]
    found = [
        [mention(0, 5, "Q90"), mention(6, 11, "Q5")],
        [mention(1, 4, "Q220"), mention(5, 9, "Q2", "Q1"), mention(9, 10, NIL, "Q3")],
    ]
    scores = score_linking(gold, found, known={"Q90", "Q586"})
    assert scores.detection == pytest.approx((4 / 5, 4 / 5, 4 / 5))
    assert scores.linking == pytest.approx((1 / 4, 1 / 3, 2 / 7))
    assert scores.accuracy == 1 / 2
    assert scores.candidate_recall == 1.0
    assert scores.nil_accuracy == 1 / 2
    assert scores.known_recall == 1 / 2
    assert scores.as_json()["linking_f1"] == pytest.approx(2 / 7)
    assert scores.as_json()["gold"] == 5


def test_nothing_found_is_zero_and_not_an_error() -> None:
    scores = score_linking([[mention(0, 5, "Q90")]], [[]])
    assert (scores.linking, scores.accuracy, scores.nil_accuracy) == ((0.0, 0.0, 0.0), 0.0, 0.0)
    assert score_linking([], []).detection == (0.0, 0.0, 0.0)


def test_texts_must_correspond() -> None:
    with pytest.raises(ValueError, match="as many found texts"):
        score_linking([[]], [])


def test_the_names_of_a_real_graph_find_the_entities_it_knows(data: Path) -> None:
    """Exact spans against four other annotators' decisions; the bounds are a little below what was measured."""
    graph = xfactr.read(data / "kg" / "xfactr", languages=["en"])
    linker, known = AliasLinker.from_graph(graph), set(graph.entities)
    texts = read_fewrel(data / "linked_text" / "fewrel" / "val_wiki.json.gz")[::4]
    fewrel = score_linking([text.mentions for text in texts], linker.link_all([t.text for t in texts]), known=known)
    assert fewrel.known_recall > 0.7
    assert fewrel.accuracy > 0.68
    with gzip.open(data / "linked_text" / "entity_linking" / "oke-2016-train.jsonl.gz", "rt", encoding="utf-8") as file:
        articles = [json.loads(line) for line in file]
    gold = [[mention(*label["span"], label["entity_id"]) for label in article["labels"]] for article in articles]
    oke = score_linking(gold, linker.link_all([article["text"] for article in articles]), known=known)
    assert oke.known_recall > 0.5
    assert oke.accuracy > 0.6
