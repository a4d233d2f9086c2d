"""A whole training step over pairs of sentences (TLM) against Hugging Face's masked LM on the same concatenations.

    ours   pairs -> BatchStream (bucketed) -> laid out, masked, packed -> encoder -> head at targets -> backward, AdamW
    peer   <s> a </s> </s> b </s> -> random | grouped by length -> padding collator -> ForMaskedLM -> backward, AdamW

Batches, shapes, optimizer and counting are those of `mlm-step`. Texts: English-Spanish verses and English-German
captions where the data folder (KELM_DATA) is set; a word is a token of its own here, spread over the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.many_languages import pairs
from benchmarks.measure import Row
from benchmarks.mlm_step import CLS, LONGEST, SEP, SHAPE, Size, measured, stepped
from kelm.batch import Encoded
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.model import Encoder, EncoderConfig
from kelm.text.tokenizer import HuggingFace
from kelm.training.learner import Learner
from multilingual.languages import with_languages
from multilingual.objectives.translation_lm import TranslationLanguageModel

__all__ = ["NAMES", "rows"]

NAMES = ("tlm-step-32k", "tlm-step-250k")
SIZES = {"tlm-step-32k": Size(30_522, 12, 32), "tlm-step-250k": Size(250_002, 4, 16)}


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns two rows a vocabulary: against random batches and against grouping by length."""
    found = []
    for known in NAMES:
        if name in (None, known):
            size = SIZES[known] if not quick else Size(2_000, 4, 16)
            found += measured(known, size, *_concatenated(size), _ours, "pairs", quick=quick)
    return found


def _concatenated(size: Size) -> tuple[list[np.ndarray], str]:
    """Returns the tokens of each pair, <s> a </s> </s> b </s>, and where the sentences are from."""
    sentences, origin = pairs(size.corpus)
    known: dict[str, int] = {}
    spread = max((size.vocabulary - 5) // 30_000, 1)

    def numbered(text: str) -> list[int]:
        words = [known.setdefault(word, len(known)) for word in text.split()[: LONGEST // 2 - 3]]
        return [5 + (word % 30_000) * spread % (size.vocabulary - 5) for word in words]

    laid = [np.array([CLS, *numbered(one), SEP, SEP, *numbered(other), SEP]) for one, other in sentences]
    return [laid[number % len(laid)] for number in range(size.corpus)], origin


def _ours(tokens: list[np.ndarray], size: Size, words: HuggingFace) -> Callable[[], float]:
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=size.vocabulary, max_position_embeddings=LONGEST, pooler=False, **SHAPE)
    tlm = TranslationLanguageModel(config, tokenizer=words)
    learner = Learner(Encoder(config), [tlm])
    mean = sum(map(len, tokens)) / len(tokens)
    texts = InMemory([_encoded(text) for text in tokens])
    stream = BatchStream(texts, tlm.collate, tokens=round(size.batch * mean), pool=2 * len(tokens), passes=1)
    step = stepped(learner)

    def run() -> float:
        count = 0
        for batch in stream:
            step(learner(batch)["tlm"] / batch.units["tlm"])
            count += int(batch.real.sum())
        return count

    return run


def _encoded(tokens: np.ndarray) -> Encoded:
    second = int(np.flatnonzero(tokens == SEP)[1]) + 1
    words = np.where(np.isin(tokens, (CLS, SEP)), -1, np.arange(len(tokens)))
    segments = (np.arange(len(tokens)) >= second).astype(np.int64)
    return with_languages(Encoded("", tokens, np.full((len(tokens), 2), -1), words, segments), "en", "de")
