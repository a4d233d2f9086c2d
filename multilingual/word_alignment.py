"""Which word of a sentence is which of its translation? Read off the states of an encoder, without training.

    sim     the Katze  sleeps schläft            argmax     the best of a row that is also the best of its column
    cat        .9        .2                      itermax    argmax, again among the words that are free: both free 1,
    sleeps     .1        .8                                 one free .9, none 0 times the similarity
    links   0-0 1-1                              transport  rows and columns made to sum alike, then itermax

Two words belong together if any of their pieces do. Sources: Jalili Sabet et al., 2020 (SimAlign), sections 3.1, 3.2;
transport: Chi et al., 2021 (XLM-Align), section 3.1. Error rate: Och and Ney, 2003, with sure and possible links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch.nn.functional import normalize

from kelm.batch import Encoded, pack
from kelm.data.bucketing import bucketed
from kelm.errors import InputError, closest
from kelm.model import Encoder
from kelm.typing import Bool, Float, Tensor

__all__ = [
    "AlignmentScores",
    "Links",
    "Method",
    "alignment_scores",
    "links",
    "token_links",
    "token_states",
    "word_links",
]

Method = Literal["argmax", "itermax", "transport"]
Links = frozenset[tuple[int, int]]
_WORD = re.compile(r"\S+")
_ONE_FREE = 0.9
_FEW = 2  # a side of so many pieces has no second round


@torch.no_grad()
def token_states(
    encoder: Encoder, texts: Sequence[Encoded], *, pad: int, layer: int, tokens: int = 8192
) -> list[Float[Tensor, "token width"]]:
    """Returns the states of each text's tokens after a layer (0: before the first), special ones left out.

    Raises:
        InputError: the encoder has no such layer.
    """
    most = encoder.config.num_hidden_layers
    if not 0 <= layer <= most:
        raise InputError(f"there is no layer {layer}", field="layer", remedy=f"Give a number from 0 to {most}.")
    found: list[Tensor] = [torch.zeros(0, encoder.config.hidden_size)] * len(texts)
    encoder.eval()
    for numbers in bucketed([len(text) for text in texts], tokens, None):
        some = [texts[number] for number in numbers]
        states = encoder.encode(pack(some, pad=pad).to(encoder.device), layers=layer).hidden.float().cpu()
        for row, (number, text) in enumerate(zip(numbers, some, strict=True)):
            found[number] = states[row, : len(text)][torch.from_numpy(text.words >= 0)]
    return found


@torch.no_grad()
def token_links(
    first: Float[Tensor, "*pair token width"],
    second: Float[Tensor, "*pair other width"],
    method: Method = "itermax",
    *,
    seen: Bool[Tensor, "*pair token other"] | None = None,
    rounds: int = 2,
) -> Bool[Tensor, "*pair token other"]:
    """Returns which pieces belong together, of one pair or of many at once.

    Args:
        seen: where both sides have a piece; None: everywhere.
        rounds: of `itermax`, the first one included; of `transport` as many sweeps as well.

    Raises:
        InputError: there is no such method.
    """
    if method not in (known := get_args(Method)):
        raise InputError(f'"{method}" is none of {", ".join(known)}', field="method", remedy=closest(method, known))
    with torch.autocast(first.device.type, enabled=False):  # bfloat16 would make equal what is not
        first, second = (side if side.dtype == torch.float64 else side.float() for side in (first, second))
        if method == "transport":
            scores = first @ second.mT
        else:
            scores = (normalize(first, dim=-1) @ normalize(second, dim=-1).mT + 1) / 2
    seen = torch.ones_like(scores, dtype=torch.bool) if seen is None else seen
    if not scores.numel():
        return seen
    if method == "argmax":
        return _mutual(scores, seen)
    return _iterated(_transported(scores, seen, rounds) if method == "transport" else scores, seen, rounds)


def _mutual(
    scores: Float[Tensor, "*pair token other"], seen: Bool[Tensor, "*pair token other"]
) -> Bool[Tensor, "*pair token other"]:
    """Returns what is the first maximum of its row and of its column."""
    known = scores.masked_fill(~seen, -torch.inf)
    rows, columns = (torch.zeros_like(seen).scatter_(at, known.argmax(at, keepdim=True), True) for at in (-1, -2))
    return rows & columns & seen


def _iterated(
    scores: Float[Tensor, "*pair token other"], seen: Bool[Tensor, "*pair token other"], rounds: int
) -> Bool[Tensor, "*pair token other"]:
    found, first, second = _mutual(scores, seen), seen.any(-1, keepdim=True), seen.any(-2, keepdim=True)
    long = (first.sum(-2, keepdim=True) > _FEW) & (second.sum(-1, keepdim=True) > _FEW)
    for _ in range(rounds - 1):
        here, there = first & ~found.any(-1, keepdim=True), second & ~found.any(-2, keepdim=True)
        going = long & here.any(-2, keepdim=True) & there.any(-1, keepdim=True)
        weights = torch.where(here & there, 1.0, _ONE_FREE) * (here | there)
        found = found | (_mutual(scores * weights, seen) & (here | there) & going)
    return found


def _transported(
    scores: Float[Tensor, "*pair token other"], seen: Bool[Tensor, "*pair token other"], sweeps: int
) -> Float[Tensor, "*pair token other"]:
    """Returns scores, those below zero nearly zero, divided by their columns' and rows' sums, again and again."""
    plan = torch.where(scores > 0, scores, 1e-6) * seen
    for _ in range(sweeps):
        for side in (-2, -1):
            sums = plan.sum(side, keepdim=True)
            plan = plan / sums.where(sums > 0, 1.0)
    return plan


def word_links(
    encoder: Encoder, first: Sequence[Encoded], second: Sequence[Encoded], *, pad: int, layer: int, method: Method
) -> list[Links]:
    """Returns the links of each pair of sentences; words are what stands between blanks.

    Raises:
        InputError: see `token_states` and `token_links`.
    """
    ours, theirs = (token_states(encoder, side, pad=pad, layer=layer) for side in (first, second))
    starts = [[[match.start() for match in _WORD.finditer(text.text)] for text in side] for side in (first, second)]
    pairs = zip(first, second, ours, theirs, *starts, strict=True)
    return [
        links(token_links(here, there, method), one, other, (begin, start))
        for one, other, here, there, begin, start in pairs
    ]


def links(
    found: Bool[Tensor, "token other"], first: Encoded, second: Encoded, starts: tuple[Sequence[int], Sequence[int]]
) -> Links:
    """Returns the links of words, given those of pieces.

    Args:
        starts: the first characters of each side's words, ascending; a piece is of the word in which it begins.
    """
    owners = [
        np.searchsorted(np.asarray(start), text.spans[text.words >= 0, 0], side="right") - 1
        for text, start in zip((first, second), starts, strict=True)
    ]
    rows, columns = found.numpy().nonzero()
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
