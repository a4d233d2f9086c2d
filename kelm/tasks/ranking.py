"""Answer ranking: each pair of question and answer gets a score, by which the answers to a question are ordered.

    [CLS] who wrote Faust ? [SEP] Goethe did , in 1808 [SEP]     ->  2.1     1st
    [CLS] who wrote Faust ? [SEP] it is a play [SEP]             -> -0.7     2nd

MRR is the mean over questions of 1 / rank of the first right answer, MAP that of the mean, over a question's right
answers, of the share of right ones down to each. Questions without a right answer have neither and are left out, as in
NLPCC-DBQA and WikiQA.

Source: Duan, 2016 (NLPCC-ICCPOL shared task: open domain Chinese question answering), document-based QA.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from kelm.batch import Batch, Encoded, Texts
from kelm.data.ranked_pairs import Groups, Relevance
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.tasks.classifier import Classifier
from kelm.tasks.collate import LabelCollate
from kelm.tasks.measures import share
from kelm.tasks.states import TextState, TextStates
from kelm.typing import Float, Tensor

__all__ = ["AnswerRanking", "Judged", "ranking_scores"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of a pair.

    Attributes:
        group: of the question.
        relevant: the answer is right.
        score: by which answers are ordered, higher is better: the logit; of a gold answer 1 or 0.
    """

    group: int
    relevant: bool
    score: float = field(compare=False)


class AnswerRanking(Task[Encoded, Judged]):
    """A score for each pair of question and answer; above 0 the answer is taken for right.

    Args:
        states: what the score is read from: "pooled" (BERT), "first", "mean", or several of them.
        hidden: width of a tanh layer before it; 0: none.
        encoder: only asked for the pooler to start with, not kept.
        room: tokens a row may hold; several short pairs then share one.
    """

    main_score = "mrr"

    def __init__(
        self,
        config: EncoderConfig,
        *,
        states: Sequence[TextState] = ("pooled",),
        hidden: int = 0,
        dropout: float = 0.1,
        encoder: Encoder | None = None,
        room: int | None = None,
    ) -> None:
        super().__init__()
        self.name = "ranking"
        self.states = TextStates(config, states, encoder)
        self.classifier = Classifier(config, self.states.width, 1, hidden=hidden, dropout=dropout)
        self.collate = LabelCollate(config.pad_token_id, self.name, (), room)

    def logits(self, batch: Batch, stream: Stream) -> Float[Tensor, "text"]:
        every = torch.arange(len(batch[Texts].row), device=stream.hidden.device)
        scores: Tensor = self.classifier(torch.cat(self.states(batch, stream, every), dim=-1))
        return scores.squeeze(-1)

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        asked = batch[Relevance]
        logits = self.logits(batch, stream)[asked.text]
        return {self.name: binary_cross_entropy_with_logits(logits, asked.relevant.to(logits.dtype), reduction="sum")}

    def predict(self, batch: Batch, stream: Stream) -> list[Judged]:
        scores = self.logits(batch, stream).tolist()
        return [
            Judged(group, score > 0, score) for group, score in zip(batch[Groups].group.tolist(), scores, strict=True)
        ]

    def gold(self, texts: Sequence[Encoded]) -> list[Judged]:
        relevant = [bool(text[Relevance].relevant[0]) for text in texts]
        groups = [int(text[Groups].group[0]) for text in texts]
        return [Judged(group, right, float(right)) for group, right in zip(groups, relevant, strict=True)]

    def score(self, gold: Sequence[Judged], predicted: Sequence[Judged]) -> Scores:
        """Returns what `ranking_scores` does, and the accuracy of the pairs."""
        right = sum(one.relevant == other.relevant for one, other in zip(gold, predicted, strict=True))
        return {**ranking_scores(gold, [one.score for one in predicted]), "accuracy": share(right, len(gold))}


def ranking_scores(gold: Sequence[Judged], scores: Sequence[float]) -> Scores:
    """Returns MRR, MAP, precision at 1, and how many questions are scored and left out.

    Of equally high scores those of wrong answers count as higher, so that a score that says nothing earns nothing.

    >>> gold = [Judged(1, False, 0), Judged(1, True, 1), Judged(2, True, 1), Judged(3, False, 0)]
    >>> ranking_scores(gold, [0.9, 0.8, 0.7, 0.6])
    {'mrr': 0.75, 'map': 0.75, 'precision_at_1': 0.5, 'scored': 2.0, 'left_out': 1.0}
    """
    answers: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for right, score in zip(gold, scores, strict=True):
        answers[right.group].append((-score, right.relevant))
    ranks = [
        [rank for rank, (_, relevant) in enumerate(sorted(group), 1) if relevant] for group in answers.values()
    ]  # sorted: the highest score first, and False before True
    found = [group for group in ranks if group]
    return {
        "mrr": share(sum(1 / group[0] for group in found), len(found)),
        "map": share(sum(_average_precision(group) for group in found), len(found)),
        "precision_at_1": share(sum(group[0] == 1 for group in found), len(found)),
        "scored": float(len(found)),
        "left_out": float(len(ranks) - len(found)),
    }


def _average_precision(ranks: Sequence[int]) -> float:
    """Returns the mean share of right answers down to each right one, given the ranks of these."""
    return sum(count / rank for count, rank in enumerate(ranks, 1)) / len(ranks)
