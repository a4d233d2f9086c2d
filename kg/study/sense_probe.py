"""What a frozen encoder's states tell of a word's meaning: probes of its supersense, and of whether two uses agree.

    words with one supersense, none of which the encoder was taught      states --logistic regression--> supersense
    a word in two sentences (WiC)        [state 1; state 2; |state 1 - state 2|] --logistic regression--> same meaning?

Source: Levine et al., 2020, sections 5.1 and 5.2; the sets of words that were not taught are ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kelm.batch import Encoded, pack
from kelm.data.files import lines
from kelm.model import Encoder
from kelm.objectives.masking import whole_words
from kelm.text.spans import locate
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Float, Int
from kg.linking.supersenses import SenseLexicon, spelled

__all__ = ["Use", "Uses", "answered", "fitted", "pairs", "share_of", "states", "untaught", "uses_of", "wic"]

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Use:
    """A word at its place: the number of its text, its tokens there, its word in the lexicon, its only supersense."""

    text: int
    tokens: tuple[int, ...]
    lemma: str
    sense: int


@dataclass(frozen=True, slots=True)
class Uses:
    """Texts, and the words in them that are asked about."""

    texts: Sequence[Encoded]
    uses: Sequence[Use]


def share_of(lemma: str) -> float:
    """Returns a number from 0 to 1 that a word always has: by it words are dealt to training and test."""
    return int.from_bytes(hashlib.blake2b(lemma.encode(), digest_size=6).digest()) / 2**48


def untaught(lexicon: SenseLexicon, share: float) -> set[str]:
    """Returns the words with a single supersense, of nouns or verbs, that are left out of what an encoder is taught."""
    kept = ("noun.", "verb.")
    return {
        word
        for table in lexicon.tables.values()
        for word, of in table.items()
        if len(of) == 1 and lexicon.senses[of[0]].startswith(kept) and share_of(word) < share
    }


def uses_of(texts: Sequence[Encoded], lexicon: SenseLexicon, words: set[str], most: int) -> Uses:
    """Returns where texts use these words, each at most `most` times, if the word can only be meant in one sense."""
    found: list[Use] = []
    seen: dict[str, int] = {}
    for number, text in enumerate(texts):
        for places in whole_words(text, np.flatnonzero(text.words >= 0)):
            name, tokens = spelled(text, places)
            if len(lexicon.of(name)) != 1:
                continue
            lemmas = {lemma for _, lemma, _ in lexicon.lemmas(name)}
            lemma = min(lemmas)
            if lemmas <= words and seen.get(lemma, 0) < most:
                seen[lemma] = seen.get(lemma, 0) + 1
                found.append(Use(number, tuple(tokens.tolist()), lemma, lexicon.of(name)[0]))
    return Uses(texts, found)


def states(encoder: Encoder, uses: Uses, *, pad: int, mask: int | None = None) -> Float[np.ndarray, "use width"]:
    """Returns the mean state of each word's tokens.

    Args:
        mask: the token that the word is hidden behind; None: it is shown.
    """
    encoder.eval()
    asked = sorted(range(len(uses.uses)), key=lambda number: len(uses.texts[uses.uses[number].text]))
    found: list[np.ndarray] = [np.empty(0)] * len(asked)
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        texts = []
        for number in some:
            use = uses.uses[number]
            tokens = uses.texts[use.text].tokens.copy()
            if mask is not None:
                tokens[list(use.tokens)] = mask
            texts.append(uses.texts[use.text].having(tokens=tokens))
        batch = pack(texts, pad=pad)
        with torch.no_grad():
            stream = encoder.encode(batch)
            means = torch.stack([stream.hidden[row, list(uses.uses[n].tokens)].mean(0) for row, n in enumerate(some)])
        for number, mean in zip(some, means.numpy(), strict=True):
            found[number] = mean
    return np.stack(found)


def fitted(
    features: Float[np.ndarray, "train width"], answers: Int[np.ndarray, "train"], strength: float
) -> Callable[[Float[np.ndarray, "test width"]], Int[np.ndarray, "test"]]:
    """Returns what a logistic regression on standardized features answers.

    Args:
        strength: inverse regularization (scikit-learn's C).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(features, answers)
    return lambda asked: np.asarray(model.predict(asked))


def answered(right: Int[np.ndarray, "use"], given: Int[np.ndarray, "use"]) -> float:
    """Returns the share of right answers."""
    return float(np.mean(right == given))


def wic(path: Path, tokenizer: Tokenizer, length: int, most: int) -> tuple[Uses, Int[np.ndarray, "pair"]]:
    """Returns the uses of the first `most` pairs of a WiC file, two a pair, and whether the meaning is the same.

    Pairs with a word beyond `length` tokens are left out.
    """
    rows: list[Mapping[str, str]] = []
    for _, line in lines(path):
        rows.append(json.loads(line))
        if len(rows) == most:
            break
    texts = tokenizer.encode([row[f"sentence{side}"] for row in rows for side in (1, 2)], length=length)
    uses: list[Use] = []
    same: list[int] = []
    for number, row in enumerate(rows):
        pair = []
        for side in (1, 2):
            place = 2 * number + side - 1
            [[first, end]] = locate(texts[place], [int(row[f"start{side}"])], [int(row[f"end{side}"])]).tolist()
            if first >= 0:
                pair.append(Use(place, tuple(range(first, end)), row["lemma"], -1))
        if len(pair) == 2:
            uses += pair
            same.append(int(row["tag"] == "T"))
    return Uses(texts, uses), np.array(same)


def pairs(found: Float[np.ndarray, "use width"]) -> Float[np.ndarray, "pair feature"]:
    """Returns the features of pairs, of the states of their two uses."""
    first, second = found[::2], found[1::2]
    return np.concatenate([first, second, np.abs(first - second)], axis=1)
