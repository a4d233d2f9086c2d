"""Triple classification: is a triple true? A threshold for each relation, tuned where the answers are known.

    true(h, r, t)  ⇔  score(h, r, t) ≥ δ_r          δ_r: best accuracy on validation triples and checked negatives

Sources: Socher et al. (2013), section 4.3; CoDEx's hard negatives: Safavi and Koutra (2020), section 6, who calibrate
one threshold for all relations by logistic regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from kelm.errors import InputError
from kg.embeddings.answers import as_triples
from kg.embeddings.ranking import Rankable
from kg.embeddings.screening import Scorer

__all__ = ["Thresholds", "accuracy_and_f1", "best_threshold", "classify", "tail_scores", "triple_scores"]


def triple_scores(embedding: Rankable, triples: Any) -> Float32[np.ndarray, "triple"]:
    """Returns each triple's score, its tail as the answer.

    Raises:
        InputError: an id is unknown.
    """
    scorer = embedding.scorer()
    return tail_scores(scorer, as_triples(triples, scorer.entity_count, scorer.relation_count))


def tail_scores(scorer: Scorer, triples: Int64[np.ndarray, "triple 3"]) -> Float32[np.ndarray, "triple"]:
    """Returns the same of ids that are known to fit.

    Cost: width numbers a triple; with an exact scorer, such as PyKEEN's, the scores of all entities.
    """
    if not scorer.exact:
        return scorer.score(triples[:, 0], triples[:, 1], "tail", triples[:, 2])
    scores = np.empty(len(triples), np.float32)
    for start in range(0, len(triples), scorer.block_size):
        part = triples[start : start + scorer.block_size]
        rows = np.empty((len(part), scorer.entity_count), np.float32)
        scorer.score_all(np.ascontiguousarray(part[:, 0]), np.ascontiguousarray(part[:, 1]), "tail", rows)
        scores[start : start + len(part)] = rows[np.arange(len(part)), part[:, 2]]
    return scores


def best_threshold(scores: Float32[np.ndarray, "triple"], labels: Bool[np.ndarray, "triple"]) -> float:
    """Returns the threshold that most labels agree with, halfway between two scores; the lowest of equals.

    >>> best_threshold(np.array([1, 2, 3, 4], np.float32), np.array([False, False, True, True]))
    2.5
    """
    if not len(scores):
        return 0.0
    order = np.argsort(scores, kind="stable")
    ordered = scores[order].astype(np.float64)
    truths = labels[order].astype(np.int64)
    # right[k]: the first k are called false, the rest true
    right = np.concatenate(([0], np.cumsum(1 - truths))) + truths.sum() - np.concatenate(([0], np.cumsum(truths)))
    possible = np.concatenate(([True], ordered[1:] > ordered[:-1], [True]))  # equal scores are called the same
    cut = int(np.argmax(np.where(possible, right, -1)))
    if cut in (0, len(ordered)):
        return float(ordered[0] - 1) if cut == 0 else float(ordered[-1] + 1)
    return float(ordered[cut - 1] + ordered[cut]) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Thresholds:
    """From which score on a triple is called true.

    Attributes:
        values: one a relation; relations without validation triples have that of all relations together.
    """

    values: Float64[np.ndarray, "relation"]

    @classmethod
    def tuned(
        cls,
        scores: Float32[np.ndarray, "triple"],
        labels: Bool[np.ndarray, "triple"],
        relations: Int64[np.ndarray, "triple"],
        relation_count: int,
    ) -> Thresholds:
        """Returns the thresholds of best accuracy on validation triples, true and false."""
        values = np.full(relation_count, best_threshold(scores, labels))
        for relation in np.unique(relations).tolist():
            rows = relations == relation
            values[relation] = best_threshold(scores[rows], labels[rows])
        return cls(values)

    def judge(
        self, scores: Float32[np.ndarray, "triple"], relations: Int64[np.ndarray, "triple"]
    ) -> Bool[np.ndarray, "triple"]:
        """Returns which triples are called true."""
        called: Bool[np.ndarray, "triple"] = scores.astype(np.float64) >= self.values[relations]
        return called


def accuracy_and_f1(predicted: Bool[np.ndarray, "triple"], labels: Bool[np.ndarray, "triple"]) -> dict[str, float]:
    """Returns accuracy, and precision, recall and F1 of the true triples (0 where there is nothing to divide by).

    Raises:
        InputError: there is nothing to judge.
    """
    if not len(labels):
        raise InputError("there are no triples to classify", remedy="Pass true and false ones.")
    hits, called, true = int((predicted & labels).sum()), int(predicted.sum()), int(labels.sum())
    return {
        "accuracy": float((predicted == labels).mean()),
        "precision": hits / called if called else 0.0,
        "recall": hits / true if true else 0.0,
        "f1": 2 * hits / (called + true) if called + true else 0.0,
    }


def classify(embedding: Rankable, valid: Any, valid_negatives: Any, test: Any, test_negatives: Any) -> dict[str, float]:
    """Tunes thresholds on validation triples and returns the figures on the test triples.

    Args:
        valid, test: true triples, as a `KnowledgeGraph` of the embedded graph's ids or an array.
        valid_negatives, test_negatives: false ones.
    """
    scorer = embedding.scorer()
    counts = scorer.entity_count, scorer.relation_count
    judged = []
    for right, wrong in ((valid, valid_negatives), (test, test_negatives)):
        parts = as_triples(right, *counts), as_triples(wrong, *counts)
        labels = np.repeat([True, False], [len(part) for part in parts])
        triples = np.concatenate(parts)
        judged.append((triple_scores(embedding, triples), labels, triples[:, 1]))
    thresholds = Thresholds.tuned(*judged[0], counts[1])
    scores, labels, relations = judged[1]
    return accuracy_and_f1(thresholds.judge(scores, relations), labels)
