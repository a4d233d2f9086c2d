"""The floor: a linear model on words and vectors, which a language model with knowledge has to beat.

features = tf-idf of the sentence without its mentions' words  ++  head's vector  ++  tail's vector
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kelm.typing import Float
from kg.embeddings.table import EntityTable
from kg.linking.linked_text import RelationText

__all__ = ["features", "predict", "without_mentions"]


def without_mentions(example: RelationText) -> str:
    """Returns the sentence with its mentions' words replaced by HEAD and TAIL."""
    text = example.text
    places = [(example.head, "HEAD"), (example.tail, "TAIL")]
    for mention, name in sorted(places, key=lambda place: -place[0].start):
        text = f"{text[: mention.start]} {name} {text[mention.end :]}"
    return text


def features(examples: Sequence[RelationText], table: EntityTable) -> Float[np.ndarray, "example feature"]:
    """Returns head's and tail's vectors side by side; zeros for what the table does not have."""
    sides = []
    for name in ("head", "tail"):
        rows = table.ids([getattr(example, name).entity or "" for example in examples])
        sides.append(np.where(rows[:, None] >= 0, table.vectors[np.maximum(rows, 0)], 0.0))
    return np.concatenate(sides, axis=1)


def predict(
    train: Sequence[RelationText], test: Sequence[RelationText], table: EntityTable | None, *, strength: float = 10.0
) -> list[str]:
    """Returns the linear model's answers; without a table it reads words only.

    Args:
        strength: inverse regularization of the logistic regression.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    words = [vectorizer.fit_transform([without_mentions(example) for example in train])]
    words.append(vectorizer.transform([without_mentions(example) for example in test]))
    inputs: list[Any] = words
    if table is not None:
        scale = float(np.linalg.norm(table.vectors[:10_000], axis=1).mean()) or 1.0
        inputs = [
            hstack([some, csr_matrix(features(examples, table) / scale)]).tocsr()
            for some, examples in zip(words, (train, test), strict=True)
        ]
    model = LogisticRegression(C=strength, max_iter=500)
    model.fit(inputs[0], [example.relation for example in train])
    return [str(answer) for answer in model.predict(inputs[1])]
