"""What stands on MultiFiT's network to classify a text: its states as one vector, and a loss that is never certain.

    pooled = [h_last; max_t h_t; mean_t h_t]                       over the text's own tokens
    loss   = (1 - ε) · -log p(gold) + ε/C · Σ_c -log p(c)          C: the number of labels

Source: Howard and Ruder, 2018 (ULMFiT), section 3.3 (concat pooling); Szegedy et al., 2016, section 7 (label
smoothing); Eisenschlos et al., 2019 (MultiFiT): ε = 0.1, which its code divides by C once more.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Texts
from kelm.errors import InputError
from kelm.typing import Float, Int, Tensor

__all__ = ["concat_pool", "label_smoothed"]


def label_smoothed(
    logits: Float[Tensor, "text label"],
    gold: Int[Tensor, "text"],
    epsilon: float = 0.1,
    norm_by_classes: bool = False,
) -> Float[Tensor, ""]:
    """Returns the summed cross-entropy with a share of the probability given to all labels alike.

    Args:
        epsilon: that share.
        norm_by_classes: it is `epsilon` / C instead, as in MultiFiT's code (`label_smoothing_eps_norm_by_classes`).

    Raises:
        InputError: `epsilon` is not from 0 to 1.
    """
    if not 0 <= epsilon <= 1:
        raise InputError(f"expected a share from 0 to 1, found {epsilon}", field="epsilon", remedy="0.1 is usual.")
    share = epsilon / logits.shape[1] if norm_by_classes else epsilon
    return cross_entropy(logits, gold, reduction="sum", label_smoothing=share)


def concat_pool(states: Float[Tensor, "row token width"], batch: Batch) -> Float[Tensor, "text pooled"]:
    """Returns for each text its last state, the maximum and the mean of its states, side by side: 3 x width.

    Raises:
        MissingPart: the batch does not say where its texts lie.
        InputError: a text has no token.

    Cost: texts x tokens of the longest x width floats.
    """
    texts = batch[Texts]
    counts = texts.last - texts.first + 1
    shortest, longest = counts.aminmax()
    if shortest < 1:
        raise InputError(f"text {int(counts.argmin())} of the batch has no token", remedy="Leave empty texts out.")
    places = torch.arange(int(longest), device=states.device)
    tokens = torch.minimum(texts.first[:, None] + places, texts.last[:, None])  # a short text's last, again and again
    own = states[texts.row[:, None], tokens]
    inside = (places < counts[:, None])[..., None]
    mean = own.masked_fill(~inside, 0).sum(1) / counts[:, None]
    return torch.cat([own[:, -1], own.amax(1), mean], 1)
