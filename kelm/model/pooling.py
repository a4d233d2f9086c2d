"""Vectors of stretches of text: the mean of their tokens' states, whoever shares the row."""

from __future__ import annotations

import torch

from kelm.typing import Bool, Float, Int, Tensor

__all__ = ["span_means"]


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
    place = torch.arange(hidden.shape[1], device=hidden.device)
    within = ((place >= first.unsqueeze(1)) & (place <= last.unsqueeze(1))).to(hidden.dtype)
    if counted is not None:
        within = within * counted[row]
    summed: Tensor = (within.unsqueeze(1) @ hidden[row]).squeeze(1)
    return summed / within.sum(1, keepdim=True)
