"""Which word of a sentence is which of its translation? Read off the states of an encoder, without training.

    sim     the Katze  sleeps schläft            argmax     the best of a row that is also the best of its column
    cat        .9        .2                      itermax    argmax, again among the words that are free: both free 1,
    sleeps     .1        .8                                 one free .9, none 0 times the similarity
    links   0-0 1-1                              transport  rows and columns made to sum alike, then itermax

Two words belong together if any of their pieces do. Sources: Jalili Sabet et al., 2020 (SimAlign), sections 3.1, 3.2;
transport: Chi et al., 2021 (XLM-Align), section 3.1. Error rate: Och and Ney, 2003, with sure and possible links.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32

from kelm.batch import Encoded, pack
from kelm.data.bucketing import bucketed
from kelm.errors import InputError, closest
from kelm.model import Encoder

__all__ = ["AlignmentScores", "Links", "Method", "alignment_scores", "links", "token_links", "token_states"]

Method = Literal["argmax", "itermax", "transport"]
Links = frozenset[tuple[int, int]]
_ONE_FREE = 0.9
_FEW = 2  # a side of so many pieces has no second round


@torch.no_grad()
def token_states(
    encoder: Encoder, texts: Sequence[Encoded], *, pad: int, layer: int, tokens: int = 8192
) -> list[Float32[np.ndarray, "token width"]]:
    """Returns the states of each text's tokens after a layer (0: before the first), special ones left out.

    Raises:
        InputError: the encoder has no such layer.
    """
    most = encoder.config.num_hidden_layers
    if not 0 <= layer <= most:
        raise InputError(f"there is no layer {layer}", field="layer", remedy=f"Give a number from 0 to {most}.")
    found: list[np.ndarray] = [np.zeros((0, encoder.config.hidden_size), np.float32)] * len(texts)
    encoder.eval()
    for numbers in bucketed([len(text) for text in texts], tokens, None):
        some = [texts[number] for number in numbers]
        states = encoder.encode(pack(some, pad=pad).to(encoder.device), trail=True).trail[layer].float().cpu().numpy()
        for row, (number, text) in enumerate(zip(numbers, some, strict=True)):
            found[number] = states[row, : len(text)][text.words >= 0]
    return found


def token_links(
    first: Float[np.ndarray, "token width"],
    second: Float[np.ndarray, "other width"],
    method: Method = "itermax",
    *,
    rounds: int = 2,
) -> Bool[np.ndarray, "token other"]:
    """Returns which pieces belong together.

    Args:
        rounds: of `itermax`, the first one included; of `transport` as many sweeps as well.

    Raises:
        InputError: there is no such method.
    """
    if method not in (known := get_args(Method)):
        raise InputError(f'"{method}" is none of {", ".join(known)}', field="method", remedy=closest(method, known))
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)), bool)
    if method == "transport":
        similarity = _transported(first @ second.T, rounds)
    else:
        similarity = (_unit(first) @ _unit(second).T + 1) / 2
    return _mutual(similarity) if method == "argmax" else _iterated(similarity, rounds)


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _mutual(similarity: Float[np.ndarray, "token other"]) -> Bool[np.ndarray, "token other"]:
    """Returns what is the first maximum of its row and of its column."""
    rows, best = np.arange(similarity.shape[0]), np.argmax(similarity, axis=1)
    found = np.zeros(similarity.shape, dtype=bool)
    found[rows, best] = np.argmax(similarity, axis=0)[best] == rows
    return found


def _iterated(similarity: Float[np.ndarray, "token other"], rounds: int) -> Bool[np.ndarray, "token other"]:
    found = _mutual(similarity)
    for _ in range(rounds - 1 if min(similarity.shape) > _FEW else 0):
        here, there = ~np.any(found, axis=1)[:, None], ~np.any(found, axis=0)[None]
        if not here.any() or not there.any():
            break
        weights = np.where(here & there, 1.0, np.where(here | there, _ONE_FREE, 0.0))
        more = _mutual(similarity * weights) & (here | there)
        if not (more & ~found).any():
            break
        found |= more
    return found


def _transported(scores: Float[np.ndarray, "token other"], sweeps: int) -> Float[np.ndarray, "token other"]:
    """Returns scores, those below zero nearly zero, divided by their columns' and rows' sums, again and again."""
    plan = np.where(scores > 0, scores, 1e-6)
    for _ in range(sweeps):
        plan = plan / plan.sum(0, keepdims=True)
        plan = plan / plan.sum(1, keepdims=True)
    return plan


def links(
    found: Bool[np.ndarray, "token other"], first: Encoded, second: Encoded, starts: tuple[Sequence[int], Sequence[int]]
) -> Links:
    """Returns the links of words, given those of pieces.

    Args:
        starts: the first characters of each side's words, ascending; a piece is of the word in which it begins.
    """
    owners = [
        np.searchsorted(np.asarray(start), text.spans[text.words >= 0, 0], side="right") - 1
        for text, start in zip((first, second), starts, strict=True)
    ]
    rows, columns = found.nonzero()
    pairs = zip(owners[0][rows].tolist(), owners[1][columns].tolist(), strict=True)
    return frozenset(pair for pair in pairs if min(pair) >= 0)


@dataclass(frozen=True, slots=True)
class AlignmentScores:
    """Of all sentences together: 1 - error = the mean of precision and recall, weighted by what they count."""

    error: float
    precision: float
    recall: float
    f1: float


def alignment_scores(found: Iterable[Links], sure: Iterable[Links], possible: Iterable[Links] = ()) -> AlignmentScores:
    """Returns the alignment error rate of links against sure and possible ones.

        precision = |A & P| / |A|     recall = |A & S| / |S|     error = 1 - (|A & S| + |A & P|) / (|A| + |S|)

    Args:
        possible: with the sure ones or without; nothing: the sure ones alone.

    Raises:
        InputError: different numbers of sentences, or no link at all.
    """
    told, gold = list(found), list(sure)
    wide = list(possible) or gold
    if not len(told) == len(gold) == len(wide):
        problem = f"found {len(told)} sentences, {len(gold)} with sure links, {len(wide)} with possible ones"
        raise InputError(problem, field="gold", remedy="Give a line for each sentence, an empty one for no link.")
    both = sum(len(one & (other | more)) for one, other, more in zip(told, gold, wide, strict=True))
    right = sum(len(one & other) for one, other in zip(told, gold, strict=True))
    ours, theirs = sum(map(len, told)), sum(map(len, gold))
    if not ours or not theirs:
        raise InputError(f"{ours} links were found, {theirs} are right", field="gold", remedy="Give some of both.")
    precision, recall = both / ours, right / theirs
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return AlignmentScores(1 - (both + right) / (ours + theirs), precision, recall, f1)
