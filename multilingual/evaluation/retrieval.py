"""Is a sentence's translation the nearest of many? Retrieval as on Tatoeba, in both directions.

    vectors of both sides  -->  score of every two  -->  the nearest  -->  share of sentences whose translation it is

The score is the cosine, or its ratio to the mean cosine of both sentences' k nearest ones: a hub, which is near to all,
is no translation of any ("margin").
Source: Artetxe and Schwenk, 2019, sections 3 and 4.3 (equation 2, ratio). Which layer, which tokens and which direction
make other numbers of the same model; XTREME asks in one direction, with special tokens, after layer 8 of 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32

from kelm.batch import Encoded, pack
from kelm.data.bucketing import bucketed
from kelm.errors import InputError
from kelm.model import Encoder
from multilingual.alignment.neighbors import Measure, crowding, nearest, unit

__all__ = ["Retrieval", "retrieval", "sentence_vectors"]


class Retrieval(NamedTuple):
    """Shares of the sentences whose translation was found.

    Attributes:
        forward, backward: asked by the first side among the second, and the other way round.
    """

    forward: float
    backward: float

    @property
    def mean(self) -> float:
        return (self.forward + self.backward) / 2


@torch.no_grad()
def sentence_vectors(
    encoder: Encoder, texts: Sequence[Encoded], *, pad: int, layers: Sequence[int], tokens: int = 8192
) -> dict[int, Float32[np.ndarray, "text width"]]:
    """Returns the mean state of each text's tokens, special ones left out, after each of some layers.

    Args:
        layers: from 1; 0: before the first.
        tokens: that are read at once.

    Raises:
        InputError: the encoder has no such layer.
    """
    for layer in layers:
        if not 0 <= layer <= encoder.config.num_hidden_layers:
            most = encoder.config.num_hidden_layers
            raise InputError(f"there is no layer {layer}", field="layers", remedy=f"Give numbers from 0 to {most}.")
    found = {layer: np.empty((len(texts), encoder.config.hidden_size), np.float32) for layer in layers}
    encoder.eval()
    for numbers in bucketed([len(text) for text in texts], tokens, None):
        some = [texts[number] for number in numbers]
        batch = pack(some, pad=pad).to(encoder.device)
        counted = torch.zeros(batch.tokens.shape)
        for row, text in enumerate(some):
            counted[row, : len(text)] = torch.from_numpy(text.words >= 0).float()
        share = (counted / counted.sum(1, keepdim=True).clamp(min=1)).to(encoder.device)
        trail = encoder.encode(batch, trail=True).trail
        for layer in layers:
            found[layer][numbers] = (share[:, None] @ trail[layer].float()).squeeze(1).cpu().numpy()
    return found


def retrieval(
    first: Float[np.ndarray, "sentence width"],
    second: Float[np.ndarray, "other width"],
    *,
    margin: int | None = None,
) -> Retrieval:
    """Returns how often the nearest sentence is the translation: row i of one side is that of row i of the other.

    Args:
        margin: k of the ratio; None: the cosine alone.

    Raises:
        InputError: the sides have different numbers of sentences, or fewer than `margin`.

    Cost: time as the square of the sentences, memory in proportion to them.
    """
    if first.shape != second.shape or not len(first):
        raise InputError(f"found {first.shape} and {second.shape}", field="vectors", remedy="Give a pair in each row.")
    if margin is not None and not 1 <= margin <= len(first):
        raise InputError(f"margin is {margin}", field="margin", remedy=f"Give 1 to {len(first)}, 4 is usual, or None.")
    sides = [unit(side) for side in (first, second)]
    crowded = None if margin is None else crowding(sides[0], sides[1], margin)
    measure: Measure = "cosine" if crowded is None else "ratio"
    forward = nearest(sides[0], sides[1], measure=measure, crowded=crowded)
    backward = nearest(sides[1], sides[0], measure=measure, crowded=None if crowded is None else crowded.turned)
    right = np.arange(len(first))
    return Retrieval(*(float((found[:, 0] == right).mean()) for found in (forward, backward)))
