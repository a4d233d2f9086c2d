"""Vectors of words where texts use them: the mean over the places of a word, after each layer.

    "cat"   <-   the mean of    "the cat sat"    "a black cat"       each place: the mean of its pieces' states

A word is looked for between what is no letter or digit, case folded; in scripts without spaces anywhere. What has
several words is not looked for. Source: Schuster et al., 2019 (Cross-lingual alignment of contextual word embeddings),
whose anchors these are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from kelm.batch import Encoded, pack
from kelm.data.bucketing import bucketed
from kelm.model import Encoder
from kelm.model.pooling import span_means
from kelm.text.spans import locate, spaceless

__all__ = ["Place", "places", "vectors_in_context"]

_WORD = re.compile(r"\w+")


class Place(NamedTuple):
    """Where a text has a word: characters from `start` to before `end`."""

    text: int
    word: str
    start: int
    end: int


def places(texts: Sequence[str], words: Collection[str]) -> list[Place]:
    """Returns where texts have words, which are case folded.

    >>> [place.word for place in places(["The cat's hat", "a CAT"], {"cat", "at"})]
    ['cat', 'cat']
    """
    known, inside = set(words), [word for word in words if spaceless(word)]
    found = []
    for number, text in enumerate(texts):
        for match in _WORD.finditer(text):
            if (word := match.group().casefold()) in known and not spaceless(word):
                found.append(Place(number, word, match.start(), match.end()))
        for word in inside:
            found += [Place(number, word, at.start(), at.end()) for at in re.finditer(re.escape(word), text)]
    return found


@torch.no_grad()
def vectors_in_context(
    encoder: Encoder,
    texts: Sequence[Encoded],
    found: Sequence[Place],
    *,
    pad: int,
    layers: Sequence[int],
    tokens: int = 8192,
) -> tuple[list[str], dict[int, Float32[np.ndarray, "word width"]]]:
    """Returns the words in the order of their first places, and their vectors before (0) or after layers.

    Args:
        texts: those of `found`, tokenized; a place that was cut off does not count.
        tokens: that are read at once.
    """
    of_text: dict[int, list[Place]] = {}
    for place in found:
        of_text.setdefault(place.text, []).append(place)
    numbers = sorted(of_text)
    numbered: dict[str, int] = {}
    sums = {layer: np.zeros((len({place.word for place in found}), encoder.config.hidden_size)) for layer in layers}
    counts = np.zeros(len(sums[layers[0]]))
    encoder.eval()
    for some in bucketed([len(texts[number]) for number in numbers], tokens, None):
        batch, rows, firsts, ends, words = [texts[numbers[at]] for at in some], [], [], [], []
        for row, at in enumerate(some):
            here = of_text[numbers[at]]
            located = locate(batch[row], [place.start for place in here], [place.end for place in here])
            for place, (first, end) in zip(here, located.tolist(), strict=True):
                if first >= 0:
                    words.append(numbered.setdefault(place.word, len(numbered)))
                    rows.append(row)
                    firsts.append(first)
                    ends.append(end - 1)
        trail = encoder.encode(pack(batch, pad=pad).to(encoder.device), trail=True).trail
        at_tokens = [torch.tensor(values, dtype=torch.long, device=encoder.device) for values in (rows, firsts, ends)]
        for layer in layers:
            np.add.at(sums[layer], words, span_means(trail[layer].float(), *at_tokens).cpu().numpy())
        np.add.at(counts, words, 1)
    many = len(numbered)
    return list(numbered), {
        layer: (total[:many] / counts[:many, None]).astype(np.float32) for layer, total in sums.items()
    }
