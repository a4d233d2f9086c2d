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

__all__ = ["Retrieval", "retrieval", "sentence_vectors"]

_BLOCK = 1024  # sentences whose scores are held at once


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
    csls: int | None = None,
) -> Retrieval:
    """Returns how often the nearest sentence is the translation: row i of one side is that of row i of the other.

    Args:
        margin: k of the ratio; None: the cosine alone.
        csls: k of the difference, 2 cos - mean of x's nearest - mean of y's (Lample et al., 2018, equation 3).

    Raises:
        InputError: the sides have different numbers of sentences, fewer than k, or both scores are asked for.

    Cost: time as the square of the sentences, memory in proportion to them.
    """
    if first.shape != second.shape or not len(first):
        raise InputError(f"found {first.shape} and {second.shape}", field="vectors", remedy="Give a pair in each row.")
    if margin is not None and csls is not None:
        raise InputError("margin and csls are two scores", field="margin", remedy="Give one of them.")
    name, k = ("margin", margin) if csls is None else ("csls", csls)
    if k is not None and not 1 <= k <= len(first):
        raise InputError(f"{name} is {k}", field=name, remedy=f"Give 1 to {len(first)}, 4 or 10 is usual, or None.")
    sides = [_unit(side) for side in (first, second)]
    near = None if k is None else [_neighborhoods(sides[at], sides[1 - at], k) for at in (0, 1)]
    found = []
    for at in (0, 1):
        around = None if near is None else (near[at], near[1 - at])
        found.append(_found(sides[at], sides[1 - at], around, ratio=csls is None))
    return Retrieval(*found)


def _unit(vectors: Float[np.ndarray, "sentence width"]) -> Float32[np.ndarray, "sentence width"]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Float32[np.ndarray, "sentence width"] = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


def _neighborhoods(
    asked: Float32[np.ndarray, "sentence width"], others: Float32[np.ndarray, "sentence width"], k: int
) -> Float32[np.ndarray, "sentence"]:
    """Returns half the mean cosine of each sentence with its k nearest of the other side."""
    means = []
    for start in range(0, len(asked), _BLOCK):
        cosines = asked[start : start + _BLOCK] @ others.T
        means.append(np.partition(cosines, -k, axis=1)[:, -k:].mean(1) / 2)
    found: Float32[np.ndarray, "sentence"] = np.concatenate(means)
    return found


def _found(
    asked: Float32[np.ndarray, "sentence width"],
    others: Float32[np.ndarray, "sentence width"],
    near: tuple[np.ndarray, np.ndarray] | None,
    ratio: bool,
) -> float:
    right = 0
    for start in range(0, len(asked), _BLOCK):
        scores = asked[start : start + _BLOCK] @ others.T
        if near is not None:
            around = near[0][start : start + _BLOCK, None] + near[1]
            scores = scores / around if ratio else scores - around
        right += int((scores.argmax(1) == np.arange(start, start + len(scores))).sum())
    return right / len(asked)
