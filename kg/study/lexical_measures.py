"""What an encoder knows of words: how pairs are related, and how similar words are.

head, probe     macro F1 over held-out pairs and their negatives
similarity      Spearman's correlation of cosines with people's scores
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from kelm.batch import Batch, Texts, pack
from kelm.model import Encoder
from kelm.model.pooling import span_means
from kelm.tasks.measures import classification_scores
from kelm.text.tokenizer import Tokenizer
from kg.objectives.lexical_relation import LexicalRelation, LexicalRows

__all__ = ["head_score", "probe_score", "similarity", "word_states"]

_TOGETHER = 256  # words that are read at once


@torch.no_grad()
def head_score(task: LexicalRelation, encoder: Encoder, asked: Sequence[Batch]) -> float:
    """Returns macro F1 of what the task says of pairs and negatives."""
    gold, said = [], []
    for batch in asked:
        gold += batch[LexicalRows].label.tolist()
        said += task.logits(batch, encoder.encode(batch)).argmax(-1).tolist()
    return _macro_f1(task, gold, said)


def probe_score(task: LexicalRelation, encoder: Encoder, known: Sequence[Batch], asked: Sequence[Batch]) -> float:
    """Returns macro F1 of a linear model on the states that the task reads of the encoder as it is.

    Args:
        known: pairs that the model is fitted to.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    (read, labels), (test, gold) = (_features(task, encoder, batches) for batches in (known, asked))
    scaled = StandardScaler().fit(read)
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(scaled.transform(read), labels)
    return _macro_f1(task, gold.tolist(), fitted.predict(scaled.transform(test)).tolist())


def similarity(encoder: Encoder, tokenizer: Tokenizer, scored: Sequence[tuple[str, str, float]], layer: int) -> float:
    """Returns Spearman's correlation of the cosine between two words' states with the given scores."""
    from scipy.stats import spearmanr

    words = sorted({word for one, other, _ in scored for word in (one, other)})
    states = word_states(encoder, tokenizer, words, layer)
    vectors = dict(zip(words, states / np.linalg.norm(states, axis=1, keepdims=True), strict=True))
    cosines = [float(vectors[one] @ vectors[other]) for one, other, _ in scored]
    return float(spearmanr(cosines, [score for *_, score in scored]).statistic)


@torch.no_grad()
def word_states(
    encoder: Encoder, tokenizer: Tokenizer, words: Sequence[str], layer: int
) -> Float32[np.ndarray, "word width"]:
    """Returns the mean state after a layer of each word's pieces, each word alone between special tokens.

    Args:
        layer: from 1; 0: before the first.
    """
    read, template = tokenizer.encode(words), tokenizer.template
    found: list[Any] = []
    for first in range(0, len(read), _TOGETHER):
        batch = pack(read[first : first + _TOGETHER], pad=tokenizer.pad)
        texts, states = batch[Texts], encoder.encode(batch, trail=True).trail[layer]
        inside = (texts.first + len(template.before), texts.last - len(template.after))
        found.append(span_means(states, texts.row, *inside).numpy())
    return np.concatenate(found)


@torch.no_grad()
def _features(
    task: LexicalRelation, encoder: Encoder, batches: Sequence[Batch]
) -> tuple[Float32[np.ndarray, "asked feature"], Int64[np.ndarray, "asked"]]:
    read = [task.features(batch, encoder.encode(batch)).numpy() for batch in batches]
    return np.concatenate(read), np.concatenate([batch[LexicalRows].label.numpy() for batch in batches])


def _macro_f1(task: LexicalRelation, gold: Sequence[int], said: Sequence[int]) -> float:
    right, answers = ([task.classes[number] for number in some] for some in (gold, said))
    return float(classification_scores(right, answers)["macro_f1"])
