"""Pairs of sentences for next sentence prediction: half of them follow each other, half do not.

    a, b, c, d, ...  ->  (a, b) follows    (b, d) does not    (c, d) follows    ...

Source: Devlin et al., 2019, section 3.1, task 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np

from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.errors import KelmError

__all__ = ["SentencePairs"]


class SentencePairs(Corpus[Text]):
    """Each text of a corpus in document order, paired with the next one or with another.

    `Text.fields["follows"]` says which, and `fields["pair"]` holds what the source said of the second text. A text that
    does not follow comes from the same chunk of texts and is never the true next one.

    Args:
        corpus: sentences in the order of their documents.
        share: of the pairs that follow each other (BERT: .5).
        seed: draws the pairs; they are the same in every pass and for every shard.
        chunk: texts that are read and paired together.
    """

    def __init__(self, corpus: Corpus[Text], *, share: float = 0.5, seed: int = 0, chunk: int = 512) -> None:
        if not 0 <= share <= 1 or chunk < 3:
            raise KelmError(
                f"SentencePairs: expected a share in [0, 1] and chunks of 3 or more, found {share}, {chunk}."
            )
        self.corpus, self.share, self.seed, self.chunk = corpus, share, seed, chunk

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        # Neighbors lie in other shards, so every shard reads all texts and gives the pairs that are its own.
        before, given = (None, 0) if start is None else (start["chunk"], start["given"])
        source = self.corpus.stream(Shard(), before)
        while chunk := list(islice(source, self.chunk)):
            texts, after = [text for text, _ in chunk], chunk[-1][1]
            for place, pair in list(enumerate(self._pairs(texts)))[given:]:
                if shard.owns(pair.number):
                    yield pair, {"chunk": before, "given": place + 1}
            before, given = after, 0

    def _pairs(self, texts: list[Text]) -> Iterator[Text]:
        random = np.random.default_rng((self.seed, texts[0].number))
        for place, (text, following) in enumerate(pairwise(texts)):
            follows = len(texts) < 3 or bool(random.random() < self.share)
            # One of all texts but this one and the next: as many places as remain, counted past the two.
            other = int(random.integers(max(len(texts) - 2, 1)))
            second = following if follows else texts[other if other < place else other + 2]
            fields = {**text.fields, "follows": follows, "pair": second.fields}
            yield replace(text, pair=second.text, fields=fields)

    def fingerprint(self) -> str:
        return digest(self.corpus.fingerprint(), self.share, self.seed, self.chunk)
