"""How near a language's sentences and words are to those of another, after each layer of an encoder.

    layer   found ->   found <-   CSLS    CKA    mapped (Procrustes)    words
    0       .12        .10        .13     .41    .15                    .30
    ...

A sentence is the mean state of its tokens. `mapped` is what is found of the second half of the pairs once the first
half has said how to rotate one side onto the other: languages that are alike but turned are found only then. A word of
the dictionary is read by itself; it is found if the nearest word of the other side is one of its translations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from kelm.errors import InputError
from kelm.evaluation import drawing
from kelm.evaluation.drawing import Line, Panel
from kelm.evaluation.intervals import Mean
from kelm.model import Encoder
from kelm.text.tokenizer import Tokenizer
from multilingual.alignment.similarity import linear_cka, procrustes
from multilingual.evaluation.retrieval import retrieval, sentence_vectors
from multilingual.languages import with_languages

__all__ = ["LayerScores", "draw", "layer_scores", "table", "words_found"]

_NEAREST = 10  # of CSLS


@dataclass(frozen=True, slots=True)
class LayerScores:
    """What is found after a layer; shares from 0 to 1.

    Attributes:
        forward, backward: of the first side's sentences whose translation is the nearest, and of the second's.
        csls: the mean of both directions, hubs taken into account.
        cka: linear CKA of both sides.
        mapped: the mean of both directions of the second half, rotated as the first half says.
        words: of the dictionary; None without one.
    """

    layer: int
    forward: float
    backward: float
    csls: float
    cka: float
    mapped: float
    words: float | None = None


def layer_scores(
    encoder: Encoder,
    words: Tokenizer,
    pairs: Sequence[tuple[str, str]],
    *,
    languages: tuple[str, str] | None = None,
    dictionary: Sequence[tuple[str, str]] = (),
    length: int | None = None,
) -> list[LayerScores]:
    """Returns the scores before the first layer and after each.

    Args:
        languages: codes of both sides, for encoders that are told.
        length: tokens of a sentence at most; None: as many as the model reads.

    Raises:
        InputError: fewer than four pairs.
    """
    if len(pairs) < 4:
        raise InputError(f"found {len(pairs)} pairs", field="pairs", remedy="Give four or more, better hundreds.")
    layers = range(encoder.config.num_hidden_layers + 1)
    most = min(length or encoder.config.longest, encoder.config.longest)

    def vectors(texts: Sequence[str], side: int) -> dict[int, np.ndarray]:
        read = words.encode(texts, length=most)
        if languages is not None:
            read = [with_languages(one, languages[side]) for one in read]
        return dict(sentence_vectors(encoder, read, pad=words.pad, layers=layers))

    sides = [vectors([pair[side] for pair in pairs], side) for side in (0, 1)]
    known = [list(dict.fromkeys(pair[side] for pair in dictionary)) for side in (0, 1)]
    alone = [vectors(known[side], side) if dictionary else {} for side in (0, 1)]
    scores = []
    for layer in layers:
        first, second = sides[0][layer], sides[1][layer]
        found = retrieval(first, second)
        near = retrieval(first, second, csls=min(_NEAREST, len(pairs)))
        half = len(pairs) // 2
        turned = first[half:] @ procrustes(first[:half], second[:half])
        translated = words_found(alone[0][layer], alone[1][layer], known, dictionary) if dictionary else None
        mapped = retrieval(turned, second[half:]).mean
        scores.append(LayerScores(layer, *found, near.mean, linear_cka(first, second), mapped, translated))
    return scores


def words_found(
    first: Float[np.ndarray, "word width"],
    second: Float[np.ndarray, "other width"],
    known: Sequence[Sequence[str]],
    dictionary: Sequence[tuple[str, str]],
) -> float:
    """Returns the share of words whose nearest word is one of their translations, the mean of both directions."""
    unit = [side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12) for side in (first, second)]
    cosines, gold = unit[0] @ unit[1].T, frozenset(dictionary)
    nearest = cosines.argmax(1), cosines.argmax(0)
    forward = [(one, known[1][place]) in gold for one, place in zip(known[0], nearest[0].tolist(), strict=True)]
    backward = [(known[0][place], one) in gold for one, place in zip(known[1], nearest[1].tolist(), strict=True)]
    return float((np.mean(forward) + np.mean(backward)) / 2)


def table(scores: Sequence[LayerScores]) -> list[list[str]]:
    """Returns a row for each layer."""
    head = ["layer", "found ->", "found <-", "CSLS", "CKA", "mapped"]
    words = any(one.words is not None for one in scores)
    rows = [[*head, "words"] if words else head]
    for one in scores:
        values = [one.forward, one.backward, one.csls, one.cka, one.mapped, *([one.words] if words else [])]
        rows.append([str(one.layer), *("" if value is None else f"{value:.3f}" for value in values)])
    return rows


def draw(scores: Sequence[LayerScores], path: str | Path, name: str) -> None:
    """Draws the scores over the layers as an SVG.

    Args:
        name: of the pair, for the title.

    Raises:
        InputError: the path ends otherwise than in ".svg".
        CheckpointError: the file cannot be written.
    """
    if Path(path).suffix != ".svg":
        raise InputError(f'"{path}" is no .svg', field="--plot", remedy="Name it layers.svg, say.")
    head, *rows = table(scores)
    places = [row[0] for row in rows]
    lines = [
        Line(title, {row[0]: Mean(float(row[column]), float("nan"), 1) for row in rows if row[column]}, column - 1)
        for column, title in enumerate(head[1:], 1)
    ]
    told = "; ".join(f"{line.label}: " + ", ".join(f"{line.means[at].value:.2f}" for at in places) for line in lines)
    drawing.draw(Path(path), f"{name} by layer", told, [Panel("layer", "share found, or CKA", places, lines)])
