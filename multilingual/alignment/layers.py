"""How near a language's sentences and words are to those of another, after each layer of an encoder.

    layer   found ->   found <-   CSLS    CKA    half   mapped (Procrustes)    words   by CSLS   in text   in context
    0       .12        .10        .13     .41    .14    .15                    .30     .33       .35       .31
    ...

A sentence is the mean state of its tokens. `mapped` is what is found of the second half of the pairs once the first
half has said how to rotate one side onto the other: languages that are alike but turned are found only then; `half` is
what is found of that half as it is, among as many. A word of the dictionary is read by itself; it is found if the
nearest word of the other side is one of its translations. `in text`: the same of those words of the dictionary that the
sentences have, and one of their translations; `in context`: these by the mean of their states there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from kelm.batch import Encoded
from kelm.errors import InputError
from kelm.evaluation import drawing
from kelm.evaluation.drawing import Line, Panel
from kelm.evaluation.intervals import Mean
from kelm.model import Encoder
from kelm.text.tokenizer import Tokenizer
from multilingual.alignment.similarity import linear_cka, procrustes
from multilingual.alignment.word_vectors import places, vectors_in_context
from multilingual.evaluation.retrieval import retrieval, sentence_vectors
from multilingual.languages import with_languages

__all__ = ["SENTENCES", "WORDS", "LayerScores", "draw", "layer_scores", "table", "words_found"]

_NEAREST = 10  # of CSLS
Vectors = Mapping[int, np.ndarray]  # after each layer


@dataclass(frozen=True, slots=True)
class LayerScores:
    """What is found after a layer; shares from 0 to 1.

    Attributes:
        forward, backward: of the first side's sentences whose translation is the nearest, and of the second's.
        csls: the mean of both directions, hubs taken into account.
        cka: linear CKA of both sides.
        half: the mean of both directions of the second half, among themselves.
        mapped: the same, rotated as the first half says.
        words, words_csls: of the dictionary, by the cosine and by CSLS; None without one.
        in_text: of those words, by the cosine, that the sentences have; None where they have none.
        in_context: the same words, read there.
        asked: how many words `in_text` is of, of both sides.
    """

    layer: int
    forward: float
    backward: float
    csls: float
    cka: float
    half: float
    mapped: float
    words: float | None = None
    words_csls: float | None = None
    in_text: float | None = None
    in_context: float | None = None
    asked: int = 0


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

    def read(texts: Sequence[str], side: int) -> list[Encoded]:
        encoded = words.encode(texts, length=most)
        return encoded if languages is None else [with_languages(one, languages[side]) for one in encoded]

    def vectors(texts: Sequence[str], side: int) -> Vectors:
        return dict(sentence_vectors(encoder, read(texts, side), pad=words.pad, layers=layers))

    sides = [vectors([pair[side] for pair in pairs], side) for side in (0, 1)]
    asked = None
    if dictionary:
        known = [list(dict.fromkeys(pair[side] for pair in dictionary)) for side in (0, 1)]
        alone = [vectors(known[side], side) for side in (0, 1)]
        context = []
        for side in (0, 1):
            texts = [pair[side] for pair in pairs]
            found = places(texts, {word.casefold() for word in known[side]})
            context.append(vectors_in_context(encoder, read(texts, side), found, pad=words.pad, layers=layers))
        asked = _Asked(list(dictionary), known, alone, context)
    half, scores = len(pairs) // 2, []
    for layer in layers:
        first, second = sides[0][layer], sides[1][layer]
        turned = first[half:] @ procrustes(first[:half], second[:half])
        one = LayerScores(
            layer,
            *retrieval(first, second),
            csls=retrieval(first, second, csls=min(_NEAREST, len(pairs))).mean,
            cka=linear_cka(first, second),
            half=retrieval(first[half:], second[half:]).mean,
            mapped=retrieval(turned, second[half:]).mean,
        )
        scores.append(one if asked is None else replace(one, **asked.scores(layer)))
    return scores


@dataclass(frozen=True, slots=True)
class _Asked:
    """A dictionary, its words of both sides, and their vectors after each layer.

    Attributes:
        context: of each side the words, case folded, that the sentences have, and their vectors there.
    """

    dictionary: Sequence[tuple[str, str]]
    known: Sequence[Sequence[str]]
    alone: Sequence[Vectors]
    context: Sequence[tuple[Sequence[str], Vectors]]

    def scores(self, layer: int) -> dict[str, Any]:
        """Returns the fields of `LayerScores` about words."""
        alone = [side[layer] for side in self.alone]
        among = min(_NEAREST, *(len(side) for side in self.known))
        found = {
            "words": words_found(alone[0], alone[1], self.known, self.dictionary),
            "words_csls": words_found(alone[0], alone[1], self.known, self.dictionary, csls=among),
        }
        rows = [{word: row for row, word in enumerate(words)} for words, _ in self.context]
        held = [pair for pair in self.dictionary if all(pair[at].casefold() in rows[at] for at in (0, 1))]
        if not held:
            return found
        known = [list(dict.fromkeys(pair[side] for pair in held)) for side in (0, 1)]
        place = [{word: number for number, word in enumerate(words)} for words in self.known]
        own = [alone[at][[place[at][word] for word in known[at]]] for at in (0, 1)]
        used = [self.context[at][1][layer][[rows[at][word.casefold()] for word in known[at]]] for at in (0, 1)]
        return {
            **found,
            "in_text": words_found(own[0], own[1], known, held),
            "in_context": words_found(used[0], used[1], known, held),
            "asked": len(known[0]) + len(known[1]),
        }


def words_found(
    first: Float[np.ndarray, "word width"],
    second: Float[np.ndarray, "other width"],
    known: Sequence[Sequence[str]],
    dictionary: Sequence[tuple[str, str]],
    *,
    csls: int | None = None,
) -> float:
    """Returns the share of words whose nearest word is one of their translations, the mean of both directions.

    Args:
        csls: k of CSLS; None: the nearest by the cosine.

    Cost: a number for every two words.
    """
    unit = [side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12) for side in (first, second)]
    scores, gold = unit[0] @ unit[1].T, frozenset(dictionary)
    if csls is not None:
        near = [np.partition(table, -csls, axis=1)[:, -csls:].mean(1) for table in (scores, scores.T)]
        scores = 2 * scores - near[0][:, None] - near[1]
    nearest = scores.argmax(1), scores.argmax(0)
    forward = [(one, known[1][place]) in gold for one, place in zip(known[0], nearest[0].tolist(), strict=True)]
    backward = [(known[0][place], one) in gold for one, place in zip(known[1], nearest[1].tolist(), strict=True)]
    return float((np.mean(forward) + np.mean(backward)) / 2)


SENTENCES = {
    "forward": "found ->",
    "backward": "found <-",
    "csls": "CSLS",
    "cka": "CKA",
    "half": "half",
    "mapped": "mapped",
}
WORDS = {"words": "words", "words_csls": "by CSLS", "in_text": "in text", "in_context": "in context"}


def table(scores: Sequence[LayerScores], columns: Mapping[str, str] = SENTENCES) -> list[list[str]]:
    """Returns a row for each layer; a column that no layer has is left out.

    Args:
        columns: titles by the fields' names: `SENTENCES` or `WORDS`.
    """
    names = [name for name in columns if any(getattr(one, name) is not None for one in scores)]
    rows = [["layer", *(columns[name] for name in names)]]
    for one in scores:
        values = [getattr(one, name) for name in names]
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
    panels, told = [], []
    for columns, title in ((SENTENCES, "sentences found, or CKA"), (WORDS, "words found")):
        head, *rows = table(scores, columns)
        if len(head) == 1:
            continue
        places = [row[0] for row in rows]
        lines = [
            Line(label, {row[0]: Mean(float(row[column]), float("nan"), 1) for row in rows}, column - 1)
            for column, label in enumerate(head[1:], 1)
        ]
        panels.append(Panel("layer", title, places, lines))
        told += [f"{line.label}: " + ", ".join(f"{line.means[at].value:.2f}" for at in places) for line in lines]
    drawing.draw(Path(path), f"{name} by layer", "; ".join(told), panels)
