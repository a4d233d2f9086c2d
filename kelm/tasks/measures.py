"""Scores of answers, as pure functions: what several tasks count alike.

    precision = hits / said        recall = hits / asked        F1 = 2 hits / (said + asked)

Nothing said or asked counts as 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import sqrt

from kelm.tasks.base import Scores

__all__ = ["classification_scores", "f1", "share"]


def share(part: float, whole: float) -> float:
    """Returns part / whole, 0 of nothing."""
    return part / whole if whole else 0.0


def f1(hits: int, said: int, asked: int) -> float:
    """Returns the harmonic mean of precision and recall."""
    return share(2 * hits, said + asked)


def classification_scores(gold: Sequence[str], predicted: Sequence[str]) -> Scores:
    """Returns accuracy, macro and micro F1 and Matthews' correlation for one label a text.

    Macro F1 is the mean over the labels that occur in either sequence, as scikit-learn has it; micro F1 counts all
    labels together and so equals accuracy. Matthews' correlation is Gorodkin's (2004) for any number of labels, 0 where
    all gold or all predicted labels are the same:

        (right n - sum said asked) / sqrt(n² - sum said²) / sqrt(n² - sum asked²)

    >>> classification_scores(["a", "b", "b"], ["a", "b", "a"])["matthews"]
    0.5
    """
    said, asked = Counter(predicted), Counter(gold)
    hits = Counter(answer for answer, guess in zip(gold, predicted, strict=True) if answer == guess)
    right, count, names = sum(hits.values()), len(gold), sorted({*said, *asked})
    together = sum(said[name] * asked[name] for name in names)
    spread = (count**2 - sum(n**2 for n in said.values())) * (count**2 - sum(n**2 for n in asked.values()))
    return {
        "accuracy": share(right, count),
        "macro_f1": share(sum(f1(hits[name], said[name], asked[name]) for name in names), len(names)),
        "micro_f1": f1(right, count, count),
        "matthews": share(right * count - together, sqrt(spread)),
    }
