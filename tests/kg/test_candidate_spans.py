"""Candidate spans: which stretches they are, what is known of them, what becomes of those whose words are masked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from kelm.batch import Encoded, Targets
from kelm.errors import InputError, KelmError
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.enrich.candidates import CandidateFinder, candidate_finder, candidate_spans
from kg.graph import KnowledgeGraph
from kg.linking.base import NIL, Candidate, Mention, Mentions, align
from kg.linking.candidate_spans import HIDDEN, NONE, NOTHING, KnowledgeSpans, spans_of, with_gold
from kg.objectives.masked_candidates import MaskedCandidates, MaskedCandidatesCollate, corrupt_candidates
from kg.tasks.linking import SpanAnswer, linking_scores
from tests.contracts.examples import WordList, objective_texts, plain_encoder
from tests.contracts.test_objectives import made

TEXT = "the bank of england is old"
ROWS = {"Q1": 0, "Q2": 1, "Q3": 2, "Q4": 3}


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return vocabulary.train([TEXT] * 20, 60, "wordpiece", lower=True)


def encoded(words: Tokenizer, text: str = TEXT) -> Encoded:
    return words.encode([text])[0]


def mention(text: str, name: str, *candidates: tuple[str, float]) -> Mention:
    start = text.index(name)
    return Mention(start, start + len(name), name, tuple(Candidate(entity, prior) for entity, prior in candidates))


def row_of(name: str) -> int:
    return ROWS.get(name, -1)


def said(text: Encoded, first: int, last: int) -> str:
    return text.text[text.spans[first, 0] : text.spans[last, 1]]


def test_spans_overlap_and_their_priors_sum_to_one(words: Tokenizer) -> None:
    text = encoded(words)
    found = [
        mention(TEXT, "bank of england", ("Q3", 0.4)),
        mention(TEXT, "bank", ("Q1", 0.6), (NIL, 0.2), ("Q9", 0.1), ("Q2", 0.1)),
        mention(TEXT, "old", ("Q9", 1.0)),  # not in the table
    ]
    spans = spans_of(text, found, row_of, most=2, longest=20)
    assert [said(text, *place) for place in zip(spans.first.tolist(), spans.last.tolist(), strict=True)] == [
        "bank",
        "bank of england",
    ]
    assert spans.entity.tolist() == [[0, 1], [2, NONE]]
    assert np.allclose(spans.prior.numpy(), [[0.6 / 0.7, 0.1 / 0.7], [1.0, 0.0]])
    assert spans.gold.tolist() == [NONE, NONE]


def test_spans_that_are_too_long_or_cut_off_are_left_out(words: Tokenizer) -> None:
    text = encoded(words)
    found = [mention(TEXT, "bank of england", ("Q3", 1.0)), mention(TEXT, "england", ("Q4", 1.0))]
    length = len([token for token in range(len(text)) if "england" in said(text, token, token)]) or 1
    assert spans_of(text, found, row_of, most=1, longest=length).entity.tolist() == [[3]]
    short = words.encode([TEXT], length=4)[0]
    assert len(spans_of(short, found, row_of, most=1, longest=20)) == 0


def test_known_mentions_teach_and_other_spans_only_if_all_are_known(words: Tokenizer) -> None:
    found = [mention(TEXT, "bank", ("Q1", 1.0)), mention(TEXT, "england", ("Q4", 1.0), ("Q2", 0.5))]
    gold = [mention(TEXT, "england", ("Q2", 1.0)), mention(TEXT, "bank")]
    text = align(encoded(words), gold[:1], ROWS)

    spans = spans_of(text, found, row_of, most=2, longest=20)
    assert with_gold(spans, text[Mentions], known="none").gold.tolist() == [NONE, NONE]
    assert with_gold(spans, text[Mentions], known="linked").gold.tolist() == [NONE, 1]
    assert with_gold(spans, text[Mentions], known="mentions").gold.tolist() == [NONE, 1]
    both = align(encoded(words), gold, ROWS)
    assert with_gold(spans, both[Mentions], known="linked").gold.tolist() == [NONE, 1]
    assert with_gold(spans, both[Mentions], known="mentions").gold.tolist() == [NOTHING, 1]
    complete = with_gold(spans, text[Mentions], known="all")
    assert complete.gold.tolist() == [NOTHING, 1]
    assert complete.right.tolist() == [[False, False, True], [False, True, False]]


def folders(path: Path) -> dict[str, str]:
    names = {"Q1": "bank", "Q2": ["bank", "england"], "Q3": "bank of england", "Q4": "england"}
    KnowledgeGraph.from_triples([("Q1", "p", "Q2"), ("Q3", "p", "Q4")], labels={"en": names}).save(path / "graph")
    EntityTable.from_vectors(list(ROWS), np.eye(4, dtype=np.float32)).save(path / "table")
    return {"graph": str(path / "graph"), "table": str(path / "table")}


def test_a_graphs_names_are_found_within_one_another_and_bases_lie_side_by_side(
    words: Tokenizer, tmp_path: Path
) -> None:
    finder: CandidateFinder = candidate_finder("graph", **folders(tmp_path))
    other = candidate_finder("other", **folders(tmp_path / "other"), most=1)
    bases = {"graph": folders(tmp_path), "other": {**folders(tmp_path / "other"), "most": 1}}
    both = candidate_spans(bases=bases)
    [text] = both([encoded(words)])
    assert both.fingerprint() != candidate_spans(bases={"graph": bases["graph"]}).fingerprint()
    spans = text[KnowledgeSpans]["graph"]
    names = [said(text, *place) for place in zip(spans.first.tolist(), spans.last.tolist(), strict=True)]
    assert names == ["bank", "bank of england", "england"]
    assert {row for row in spans.entity[0].tolist() if row != NONE} == {0, 1}
    assert text[KnowledgeSpans]["other"].entity.shape == (3, 1)
    assert finder.fingerprint() != other.fingerprint()


def test_one_source_of_names_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of graph and names is needed"):
        candidate_finder("graph", table=folders(tmp_path)["table"])
    with pytest.raises(InputError, match=r'bases\.graph\.tabel.*unknown option.*"table"'):
        candidate_spans(bases={"graph": {"tabel": "vectors"}})
    with pytest.raises(InputError, match=r"bases\.graph\.table: is missing"):
        candidate_spans(bases={"graph": {"graph": "graph"}})
    with pytest.raises(InputError, match=r"bases\.graph\.known.*\"all\""):
        candidate_finder("graph", **folders(tmp_path), known="al")  # type: ignore[arg-type]


def test_spans_that_meet_a_masked_word_are_hidden_drawn_or_kept(words: Tokenizer) -> None:
    text = encoded(words)
    one = spans_of(text, [mention(TEXT, "bank", ("Q1", 0.7), ("Q2", 0.3))], row_of, most=4, longest=20)
    fates: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    for seed in range(3000):
        random = {0: np.random.default_rng(seed)}
        seen = corrupt_candidates(one, np.array([True]), random, count=1000, hidden=0.8, replaced=0.1)
        entity = seen.entity[0].tolist()
        if entity == [HIDDEN, HIDDEN, NONE, NONE]:
            fates["hidden"] += 1
        elif entity == [0, 1, NONE, NONE]:
            fates["kept"] += 1
        else:
            fates["drawn"] += 1
            sizes[sum(row != NONE for row in entity)] += 1
            assert seen.prior.sum() == pytest.approx(1.0)
        assert seen.gold.tolist() == [NONE]
    assert fates["hidden"] / 3000 == pytest.approx(0.8, abs=0.03)
    assert fates["drawn"] / 3000 == pytest.approx(0.1, abs=0.02)
    assert set(sizes) == {1, 2, 3, 4}  # at most as many as a span can hold


def test_spans_whose_words_are_all_shown_stay_as_they_are(words: Tokenizer) -> None:

    _, objective = made("masked_candidates")
    assert isinstance(objective, MaskedCandidates)
    texts = objective_texts("masked_candidates")
    batch = objective.collate(texts, 5)
    hidden = set(zip(batch[Targets].row.tolist(), batch[Targets].token.tolist(), strict=True))
    for base, spans in batch[KnowledgeSpans].of.items():
        before = torch.cat([text[KnowledgeSpans][base].entity for text in texts])
        for number in range(len(spans)):
            row, first, last = int(spans.row[number]), int(spans.first[number]), int(spans.last[number])
            if not any((row, token) in hidden for token in range(first, last + 1)):
                assert torch.equal(spans.entity[number], before[number])
    assert batch.units["masked_candidates"] == len(hidden)


def test_what_becomes_of_candidates_does_not_depend_on_the_other_texts() -> None:

    _, objective = made("masked_candidates")
    collate = objective.collate
    assert isinstance(collate, MaskedCandidatesCollate)
    texts = objective_texts("masked_candidates")
    together = collate(texts, 3)[KnowledgeSpans]["facts"]
    for number, text in enumerate(texts):
        alone = collate([text], 3)[KnowledgeSpans]["facts"]
        assert torch.equal(alone.entity, together.entity[together.text == number])


def test_masked_candidates_need_the_extension() -> None:

    encoder = plain_encoder({})
    with pytest.raises(KelmError, match="no extension knowledge_attention"):
        MaskedCandidates(encoder.config, tokenizer=cast(Tokenizer, WordList()), encoder=encoder)


def by_hand(gold: list[list[SpanAnswer]], told: list[list[SpanAnswer]]) -> dict[str, float]:
    """The scores by their definitions, with sets."""
    links, judged, asked, ranks = set(), set(), set(), []
    for number, (known, answers) in enumerate(zip(gold, told, strict=True)):
        asked |= {(number, one.first, one.last, one.entities[0]) for one in known if one.entities[0] >= 0}
        free = set(range(100))
        for one in sorted(answers, key=lambda one: -one.score):
            tokens = set(range(one.first, one.last + 1))
            if one.entities[0] >= 0 and tokens <= free:
                free -= tokens
                links.add((number, one.first, one.last, one.entities[0]))
                if any(tokens & set(range(other.first, other.last + 1)) for other in known):
                    judged.add((number, one.first, one.last, one.entities[0]))
        for one in known:
            if one.entities[0] >= 0:
                rows = [
                    [row for row in answer.entities if row >= 0]
                    for answer in answers
                    if (answer.first, answer.last) == (one.first, one.last)
                ]
                place = [list_.index(one.entities[0]) + 1 for list_ in rows if one.entities[0] in list_]
                ranks.append(place[0] if place else float("inf"))
    precision = len(judged & asked) / len(judged) if judged else 0.0
    recall = len(links & asked) / len(asked) if asked else 0.0
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "hits_at_1": sum(rank <= 1 for rank in ranks) / len(ranks) if ranks else 0.0,
        "hits_at_10": sum(rank <= 10 for rank in ranks) / len(ranks) if ranks else 0.0,
        "mrr": sum(1 / rank for rank in ranks) / len(ranks) if ranks else 0.0,
    }


def test_linking_scores_are_those_of_their_definitions() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        gold, told = [], []
        for _ in range(3):
            places = sorted({(int(first), int(first + size)) for first, size in random.integers(0, 4, (5, 2)) * [3, 1]})
            apart = [place for number, place in enumerate(places) if number == 0 or places[number - 1][1] < place[0]]
            known = [
                SpanAnswer(*place, (int(random.integers(0, 3)) if random.random() < 0.8 else NOTHING,))
                for place in apart
                if random.random() < 0.7
            ]
            answers = []
            for place in places:
                order = random.permutation([0, 1, 2, NOTHING])[: random.integers(1, 5)]
                answers.append(SpanAnswer(*place, tuple(order.tolist()), float(random.random())))
            gold.append(known)
            told.append(answers)
        assert linking_scores(gold, told) == pytest.approx(by_hand(gold, told))
