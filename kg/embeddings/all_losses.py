"""Losses over the scores of all entities as answers to a question ("1vsall" and "kvsall").

    target p over N entities: 1/n for each of n true answers (cross-entropy), 1 for each (BCE), else 0
    smoothed: p ← (1 - ε) p + ε/N
    cross-entropy   -Σ_e p_e log softmax(s)_e
    BCE             -(1/N) Σ_e p_e log σ(s_e) + (1 - p_e) log σ(-s_e)

Sources: cross-entropy over all entities: Lacroix et al. (2018), section 2; Kadlec et al. (2017). BCE with smoothing:
Dettmers et al. (2018), equation 2 and their code.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

__all__ = ["binary_cross_entropy", "cross_entropy"]


def cross_entropy(
    scores: Float[Tensor, "question entity"],
    rows: Int64[Tensor, "answer"],
    answers: Int64[Tensor, "answer"],
    times: Float[Tensor, "question"],
    smoothing: float,
) -> Float[Tensor, ""]:
    """Returns the loss summed over questions.

    Args:
        rows, answers: the true answers: which question's, which entity. Each question has one at least.
        times: how often each question counts.
    """
    shares = (times / torch.bincount(rows, minlength=len(scores)).to(scores.dtype))[rows]
    loss = times @ scores.logsumexp(1) - (shares * scores[rows, answers]).sum() * (1 - smoothing)
    return loss - times @ scores.mean(1) * smoothing if smoothing else loss


def binary_cross_entropy(
    scores: Float[Tensor, "question entity"],
    rows: Int64[Tensor, "answer"],
    answers: Int64[Tensor, "answer"],
    times: Float[Tensor, "question"],
    smoothing: float,
) -> Float[Tensor, ""]:
    """Returns the loss summed over questions; arguments as `cross_entropy`, but each question counts once."""
    entities = scores.shape[1]
    total = functional.softplus(scores).sum() - (1 - smoothing) * scores[rows, answers].sum()
    return (total - smoothing / entities * scores.sum() if smoothing else total) / entities
