"""Zero-shot tagging: a copy of an encoder learns to tag one language, and tags others whose tags it never saw."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kelm.batch import Encoded
from kelm.data.corpus import InMemory
from kelm.data.files import required
from kelm.data.stream import BatchStream
from kelm.data.tagged_words import tagged_words
from kelm.model import Encoder
from kelm.tasks.tagging import Tagging
from kelm.text.tokenizer import Tokenizer
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kelm.training.trainer import train_unsaved

__all__ = ["ZeroShot"]

_OPEN = ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB")  # of Universal Dependencies
Seen = Callable[[Sequence[Encoded], str], list[Encoded]]
UPOS = (*_OPEN, "ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ", "PUNCT", "SYM", "X")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShot:
    """What is learned and asked. Paths lie in the folder of data; files are CoNLL-U's.

    Attributes:
        source: the language that is learned.
        train: its sentences.
        test: files by language; the source's own tell what was learned.
        sentences: of `train` at most, and of each of `test`.
        steps, tokens, rate: of fine-tuning.
    """

    source: str = "en"
    train: str = "ud/en_ewt-train.conllu"
    test: Mapping[str, str]
    sentences: int = 4000
    steps: int = 400
    tokens: int = 1024
    rate: float = 1e-3

    def accuracies(
        self, encoder: Encoder, words: Tokenizer, data: Path, seed: int, seen: Seen = lambda texts, _: list(texts)
    ) -> dict[str, float]:
        """Returns the share of words with the right tag in each test; the encoder stays as it is.

        Args:
            seen: makes of texts and their language what the encoder reads.
        """
        tagging = Tagging(encoder.config, tags=UPOS)
        learner = Learner(copy.deepcopy(encoder), [tagging])
        texts = InMemory(seen(self._read(self.train, encoder, words, data), self.source))
        stream = BatchStream(texts, tagging.collate, tokens=self.tokens, seed=seed)
        train_unsaved(learner, {tagging.name: stream}, self.steps, Optimization(rate=self.rate, warmup=0.1), seed)
        learner.eval()
        return {
            code: HeldOut({tagging.name: seen(self._read(path, encoder, words, data), code)})(learner)[
                "tagging/accuracy"
            ]
            for code, path in self.test.items()
        }

    def _read(self, path: str, encoder: Encoder, words: Tokenizer, data: Path) -> list[Encoded]:
        found = str(required(data, path))
        corpus = tagged_words(found, tags=UPOS, tokenizer=words, config=encoder.config, word=1, tag=3)
        return [text for (text, _), _ in zip(corpus.stream(), range(self.sentences), strict=False)]
