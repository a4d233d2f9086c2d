"""Vectors of stretches of text: the mean or the maximum of their tokens' states, whoever shares the row."""

from __future__ import annotations

import torch

from kelm.typing import Bool, Float, Int, Tensor

__all__ = ["span_maxima", "span_means"]


def span_means(
    hidden: Float[Tensor, "row token width"],
    row: Int[Tensor, "span"],
    first: Int[Tensor, "span"],
    last: Int[Tensor, "span"],
    counted: Bool[Tensor, "row token"] | None = None,
) -> Float[Tensor, "span width"]:
    """Returns the mean state of the tokens from `first` to `last`, both included, of each span.

    Args:
        counted: the tokens that count, such as those of the trunk; None: all.

    >>> hidden = torch.tensor([[[1.0], [2.0], [6.0]], [[0.0], [4.0], [8.0]]])
    >>> span_means(hidden, torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([2, 1])).tolist()
    [[3.0], [4.0]]
    """
    within = _within(hidden, row, first, last, counted).to(hidden.dtype)
    summed: Tensor = (within.unsqueeze(1) @ hidden[row]).squeeze(1)
    return summed / within.sum(1, keepdim=True)


def span_maxima(
    hidden: Float[Tensor, "row token width"],
    row: Int[Tensor, "span"],
    first: Int[Tensor, "span"],
    last: Int[Tensor, "span"],
    counted: Bool[Tensor, "row token"] | None = None,
) -> Float[Tensor, "span width"]:
    """Returns the highest value of each feature among the tokens of each span; see `span_means`.

    >>> hidden = torch.tensor([[[1.0, 9.0], [2.0, -1.0], [6.0, -2.0]]])
    >>> span_maxima(hidden, torch.tensor([0]), torch.tensor([1]), torch.tensor([2])).tolist()
    [[6.0, -1.0]]
    """
    within = _within(hidden, row, first, last, counted)
    return hidden[row].masked_fill(~within.unsqueeze(-1), -torch.inf).amax(1)


def _within(
    hidden: Tensor, row: Tensor, first: Tensor, last: Tensor, counted: Tensor | None
) -> Bool[Tensor, "span token"]:
    """Returns which tokens of its row belong to each span, and count."""
    place = torch.arange(hidden.shape[1], device=hidden.device)
    within = (place >= first.unsqueeze(1)) & (place <= last.unsqueeze(1))
    return within if counted is None else within & counted[row]
