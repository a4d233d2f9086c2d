"""Answer ranking: its scores against slow ones, and a toy set learned from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from kelm import cli
from kelm.batch import Encoded, pack
from kelm.data.ranked_pairs import Groups
from kelm.errors import MissingPart
from kelm.model import Encoder, EncoderConfig
from kelm.tasks.ranking import AnswerRanking, Judged, ranking_scores
from kelm.training.recipe_file import read
from tests.kelm.tasks.toy import answers, save_model

CONFIG = EncoderConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=50)
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(-3, 3)), min_size=1, max_size=30)


def judged(pairs: list[tuple[int, bool, int]]) -> list[Judged]:
    return [Judged(group, relevant, float(relevant)) for group, relevant, _ in pairs]


def slow(pairs: list[tuple[int, bool, int]]) -> dict[str, float]:
    """The scores by their definitions, one question after another."""
    firsts, precisions, left_out = [], [], 0
    for group in {group for group, _, _ in pairs}:
        own = [(relevant, score) for number, relevant, score in pairs if number == group]
        right = [score for relevant, score in own if relevant]
        if not right:
            left_out += 1
            continue
        # A right answer stands after all that score more, after the wrong ones that score the same, and in its place
        # among the right ones of its score.
        ranks = []
        for place, score in enumerate(sorted(right, reverse=True)):
            above = sum(other > score for _, other in own)
            tied_wrong = sum(other == score and not relevant for relevant, other in own)
            ranks.append(above + tied_wrong + place - sum(other > score for other in right) + 1)
        firsts.append(min(ranks))
        precisions.append(np.mean([sum(other <= rank for other in ranks) / rank for rank in ranks]))
    return {
        "mrr": float(np.mean([1 / first for first in firsts])) if firsts else 0.0,
        "map": float(np.mean(precisions)) if firsts else 0.0,
        "precision_at_1": float(np.mean([first == 1 for first in firsts])) if firsts else 0.0,
        "scored": float(len(firsts)),
        "left_out": float(left_out),
    }


@settings(deadline=None)
@given(PAIRS)
def test_scores_are_what_their_definitions_say(pairs: list[tuple[int, bool, int]]) -> None:
    scores = ranking_scores(judged(pairs), [float(score) for _, _, score in pairs])
    assert scores == pytest.approx(slow(pairs))


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any), st.integers(0, 99))
def test_the_map_of_one_question_is_scikit_learns_average_precision(relevant: list[bool], seed: int) -> None:
    scores = np.random.default_rng(seed).permutation(len(relevant)).astype(float)  # no two are equal
    gold = [Judged(1, right, float(right)) for right in relevant]
    found = ranking_scores(gold, scores.tolist())["map"]
    assert found == pytest.approx(average_precision_score(relevant, scores))


def test_a_question_without_a_right_answer_is_left_out_and_counted() -> None:
    gold = [Judged(1, True, 1), Judged(1, False, 0), Judged(2, False, 0), Judged(2, False, 0)]
    scores = ranking_scores(gold, [0.1, 0.2, 0.3, 0.4])
    assert scores == {"mrr": 0.5, "map": 0.5, "precision_at_1": 0, "scored": 1, "left_out": 1}


def test_a_score_that_says_nothing_earns_nothing() -> None:
    gold = [Judged(1, True, 1), *(Judged(1, False, 0) for _ in range(9))]
    assert ranking_scores(gold, [0.0] * 10)["mrr"] == 0.1


def text(number: int, length: int) -> Encoded:
    count = np.arange(length)
    words = np.where((count == 0) | (count == length - 1), -1, count - 1)
    tokens = np.random.default_rng(number).integers(5, 50, length)
    plain = Encoded("", tokens, np.stack([count, count + 1], 1), words, np.zeros_like(count))
    return plain.having(Groups(torch.tensor([0]), torch.tensor([number])))


def test_pairs_that_share_a_row_are_scored_as_if_alone() -> None:
    torch.manual_seed(0)
    encoder, task = Encoder(CONFIG).eval(), AnswerRanking(CONFIG, states=("pooled", "mean"), hidden=6).eval()
    texts = [text(3, 5), text(3, 9), text(8, 6)]
    alone = [task.logits(one, encoder.encode(one)) for one in (pack([single], pad=0) for single in texts)]
    batch = pack(texts, pad=0, room=20)
    found = task.predict(batch, encoder.encode(batch))
    assert [one.score for one in found] == pytest.approx(torch.cat(alone).tolist(), abs=1e-5)
    assert [one.group for one in found] == [3, 3, 8]
    assert [one.relevant for one in found] == [one.score > 0 for one in found]
    with pytest.raises(MissingPart, match="Relevance"):
        task.loss(batch, encoder.encode(batch))


RECIPE = """
[model]
hf = "model"

[[objectives]]
name = "ranking"

[objectives.corpus]
name = "ranked_pairs"
options = { path = "pairs.tsv" }

[objectives.held_out]
name = "ranked_pairs"
options = { path = "pairs.tsv" }

[batch]
tokens = 128

[optim]
rate = 1e-2

[train]
passes = 30

[evaluation]
every = 10
metric = "ranking/mrr"
"""


def test_a_toy_set_is_learned_and_put_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nouns = ("film", "book", "song", "play")
    rows = [
        (f"who made the {noun} ?", f"{start} the {noun}", int(start.startswith("he")))
        for noun in nouns
        for start in ("it is", "he made", "no", "see")
    ]
    save_model([f"{question} {answer}" for question, answer, _ in rows], tmp_path / "model", 70)
    Path("pairs.tsv").write_text("question\tanswer\tlabel\n" + "".join(f"{q}\t{a}\t{n}\n" for q, a, n in rows))
    Path("ranking.toml").write_text(RECIPE)
    assert cli.run(["train", "ranking.toml", "--out", "run", "--quiet"]) == 0
    corpus = read("ranking.toml").objectives[0].corpus
    task, texts, said = answers(read("ranking.toml"), tmp_path / "run" / "model", corpus)
    scores = task.score(task.gold(texts), said)
    assert (scores["mrr"], scores["map"], scores["scored"], scores["left_out"]) == (1, 1, 4, 0)
