"""Losses over the distances of a question's true answer (positive) and of corrupted answers (negative).

    softmax            -log( e^(-s d⁺) / (e^(-s d⁺) + Σ_j e^(-s d⁻_j)) )                       s = sharpness
    self-adversarial   -log σ(γ - d⁺) - Σ_j w_j log σ(d⁻_j - γ),   w = softmax(-s d⁻)          γ = margin
    softplus           the same with w = 1 / negatives
    margin             mean_j max(0, γ + d⁺ - d⁻_j)

Each gives its slopes in closed form: no autograd graph is kept of a matrix as large as rows × candidates.

Sources: margin: Bordes et al. (2013), equation 1. Self-adversarial: Sun et al. (2019), equations 4 and 5 (their weights
carry no gradient, as here). Softmax over sampled answers: Joulin et al. (2017); Ruffinelli et al. (2020), section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

__all__ = ["LOSSES", "Loss", "LossName", "Slopes", "margin", "self_adversarial", "softmax", "softplus"]

LossName = Literal["softmax", "self_adversarial", "softplus", "margin"]
Slopes = tuple[float, Float[Tensor, "row"], Float[Tensor, "row candidate"]]
Loss = Callable[[Tensor, Tensor, Tensor, float, float], Slopes]


def softmax(
    positive: Float[Tensor, "row"],
    negative: Float[Tensor, "row candidate"],
    allowed: Bool[Tensor, "row candidate"],
    gamma: float,
    sharpness: float,
) -> Slopes:
    """Returns the summed loss and its slope at each distance; `gamma` plays no part."""
    scores = negative.mul(-sharpness).masked_fill_(~allowed, -torch.inf)
    true = positive * -sharpness
    largest = torch.maximum(scores.amax(1), true)
    weights, weight = scores.sub_(largest[:, None]).exp_(), (true - largest).exp()
    total = weights.sum(1) + weight
    loss = float((total.log() - (true - largest)).sum())
    return loss, sharpness * (1 - weight / total), weights.mul_((-sharpness / total)[:, None])


def self_adversarial(
    positive: Float[Tensor, "row"],
    negative: Float[Tensor, "row candidate"],
    allowed: Bool[Tensor, "row candidate"],
    gamma: float,
    sharpness: float,
) -> Slopes:
    """Returns the summed loss and its slope at each distance."""
    weights = torch.softmax(negative.mul(-sharpness).masked_fill_(~allowed, torch.finfo(negative.dtype).min), 1)
    return _logistic(positive, negative, weights.masked_fill_(~allowed, 0.0), gamma)


def softplus(
    positive: Float[Tensor, "row"],
    negative: Float[Tensor, "row candidate"],
    allowed: Bool[Tensor, "row candidate"],
    gamma: float,
    sharpness: float,
) -> Slopes:
    """Returns the summed loss and its slope at each distance; `sharpness` plays no part."""
    return _logistic(positive, negative, allowed.to(negative.dtype) / negative.shape[1], gamma)


def _logistic(
    positive: Float[Tensor, "row"],
    negative: Float[Tensor, "row candidate"],
    weights: Float[Tensor, "row candidate"],
    gamma: float,
) -> Slopes:
    inside = gamma - negative
    loss = float(functional.softplus(positive - gamma).sum() + (weights * functional.softplus(inside)).sum())
    return loss, torch.sigmoid(positive - gamma), inside.sigmoid_().mul_(weights).neg_()


def margin(
    positive: Float[Tensor, "row"],
    negative: Float[Tensor, "row candidate"],
    allowed: Bool[Tensor, "row candidate"],
    gamma: float,
    sharpness: float,
) -> Slopes:
    """Returns the summed loss and its slope at each distance; `sharpness` plays no part."""
    violation = (gamma + positive[:, None] - negative).clamp_(min=0.0).mul_(allowed)
    share = 1.0 / negative.shape[1]
    slopes = (violation > 0).to(negative.dtype).mul_(-share)
    return float(violation.sum()) * share, -slopes.sum(1), slopes


LOSSES: Mapping[str, Loss] = {
    "margin": margin,
    "self_adversarial": self_adversarial,
    "softmax": softmax,
    "softplus": softplus,
}
