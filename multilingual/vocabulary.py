"""One vocabulary for many languages: pieces learned from a sample in which rare languages have more than their share.

    en 1,000,000 texts, p .639   every 157th of 6,390 texts
    sw   100,000 texts, p .320   every 31st of 3,200                 --SentencePiece-->  32,000 pieces  -->  table
    yo       100 texts, p .040   400: all, four times

The sample is drawn evenly over each language's texts, which are read twice (to count, and to draw) and never held: of
all the text only the sample is in memory. With unit = "bytes", p and the sample count bytes.
Source: Conneau and Lample, 2019, section 3.1 (alpha = .5); Conneau et al., 2020 (XLM-R; .3, unigram, 250,000 pieces).
Fertility: pieces a word, as in Rust et al., 2021, section 3; of scripts without spaces, pieces a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Int64

from kelm.data.corpus import Corpus, Text
from kelm.errors import InputError
from kelm.text import vocabulary
from kelm.text.hugging_face import HuggingFace
from kelm.text.sentence_piece import SentencePiece
from kelm.text.spans import spaceless
from kelm.text.tokenizer import Tokenizer
from kelm.text.vocabulary import Kind
from multilingual.corpora.sampling import Sampled, Unit

__all__ = ["Coverage", "count", "coverage", "sample", "shown", "train"]

_JUDGED = 2000  # texts of a language that are looked at


@dataclass(frozen=True, slots=True)
class Coverage:
    """How well a vocabulary serves a language.

    Attributes:
        texts: that were looked at.
        unknown: share of the characters that no piece spells.
        fertility: pieces a word; of scripts without spaces None.
        characters: of a piece, on average.
    """

    language: str
    texts: int
    unknown: float
    fertility: float | None
    characters: float


def sample(sampled: Sampled, most: int) -> Iterator[str]:
    """Yields about `most` texts, of each part as many as its probability says, evenly from its beginning to its end.

    A part with too few texts is repeated. With unit "bytes" so many bytes of each part are drawn as the probability
    says of what `most` texts have on average.
    """
    place = 0 if sampled.unit == "texts" else 1
    total = most if place == 0 else most * sum(size for _, size in sampled.counts.values()) / _texts(sampled)
    for name, part in sampled.parts.items():
        times = sampled.probabilities[name] * total / sampled.counts[name][place]  # how often each of its texts comes
        for number, (text, _) in enumerate(part.stream()):
            for _ in range(int((number + 1) * times + 0.5) - int(number * times + 0.5)):
                yield text.text


def _texts(sampled: Sampled) -> int:
    return sum(texts for texts, _ in sampled.counts.values())


def train(
    parts: Mapping[str, Corpus[Text]],
    size: int,
    kind: Kind = "unigram",
    *,
    alpha: float = 0.3,
    unit: Unit = "texts",
    most: int = 1_000_000,
    coverage: float = 0.9995,
    lower: bool = False,
    byte_fallback: bool = False,
) -> HuggingFace | SentencePiece:
    """Returns a tokenizer whose pieces are learned from a sample of many languages.

    Args:
        parts: texts by language.
        size, kind, coverage, lower, byte_fallback: see `kelm.text.vocabulary.train`.
        alpha, unit: of the sample, see `Sampled`.
        most: texts of the sample; fewer if there are fewer.

    Raises:
        InputError: no text in a language, or a size that the texts cannot fill.

    Cost: memory for the sample, at most 16 KiB a text; for unigram about a minute per million texts.
    """
    if most < 1:
        raise InputError(f"the sample is {most}", field="most", remedy="Give 1 or more texts.")
    sampled = Sampled(parts, alpha=alpha, unit=unit)
    texts = sample(sampled, min(most, _texts(sampled)))
    return vocabulary.train(
        texts, size, kind, coverage=coverage, lower=lower, byte_fallback=byte_fallback, sample=2 * most
    )


def count(words: Tokenizer, texts: Iterable[Text]) -> Int64[np.ndarray, "vocabulary"]:
    """Returns how often texts have each token of a vocabulary, special ones not counted."""
    counts = np.zeros(words.vocabulary_size, np.int64)
    rest = iter(texts)
    while some := [text.text for text in islice(rest, 1024)]:
        for read in words.encode(some):
            np.add.at(counts, read.tokens[read.words >= 0], 1)
    return counts


def coverage(words: Tokenizer, parts: Mapping[str, Corpus[Text]], most: int = _JUDGED) -> list[Coverage]:
    """Returns how well a vocabulary serves each language, from its first `most` texts."""
    heads = {name: [text.text for text, _ in islice(part.stream(), most)] for name, part in parts.items()}
    return [_of_language(words, name, texts) for name, texts in heads.items()]


def _of_language(words: Tokenizer, name: str, texts: Sequence[str]) -> Coverage:
    pieces = unknown = characters = counted = 0
    spaced = True
    for text, read in zip(texts, words.encode(texts), strict=True):
        own = read.words >= 0
        pieces += int(own.sum())
        lost = own & (read.tokens == words.unk)
        spans = read.spans[lost]
        unknown += int((spans[:, 1] - spans[:, 0]).sum())
        characters += len(re.sub(r"\s", "", text))
        counted += len(text.split())
        spaced &= not any(spaceless(word) for word in text.split()[:3])
    if not texts:
        return Coverage(name, 0, 0.0, None, 0.0)
    fertility = pieces / counted if spaced and counted else None
    return Coverage(name, len(texts), unknown / max(characters, 1), fertility, characters / max(pieces, 1))


def shown(found: Sequence[Coverage]) -> list[list[str]]:
    """Returns coverages as rows of a table, those served worst first."""
    rows = [["language", "texts", "unknown", "pieces a word", "characters a piece"]]
    for one in sorted(found, key=lambda one: one.characters):
        fertility = "" if one.fertility is None else f"{one.fertility:.2f}"
        rows.append([one.language, f"{one.texts:,}", f"{one.unknown:.2%}", fertility, f"{one.characters:.2f}"])
    return rows
