"""Lexical relation classification: tell pairs of words that a lexicon relates from near ones (LIBERT).

    (w1, w2) related       negatives (v1, w2) and (w1, v2)      v1: the batch's word nearest to w2, other than w1
                                                                v2: the batch's word nearest to w1, other than w2
    [CLS] w1 [SEP] w2 [SEP]  --encoder-->  x_CLS      L = -log softmax(W x_CLS + b)[class]      summed over all three

Near is the cosine in a space of static word vectors. The paper's negatives may be true pairs; here they never are one
that the lexicon has, unless `filtered` is False. Its classes are two; with `relations` they are "none" and these.

Source: Lauscher et al., 2020 (LIBERT), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool as BoolArray
from jaxtyping import Float32
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Encoded, Part, pack
from kelm.errors import InputError, UnknownName, closest
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.tasks.classifier import Classifier
from kelm.tasks.measures import classification_scores
from kelm.tasks.states import TextState, TextStates
from kelm.typing import Float, Int, Tensor
from kg.embeddings.word_vectors import WordVectors
from kg.linking.word_pairs import Word, WordPair, read_together

__all__ = ["NONE", "RELATED", "Answers", "LexicalCollate", "LexicalRelation", "LexicalRows"]

NONE, RELATED = "none", "related"
Answers = tuple[str | None, ...]  # of the pair and of its two negatives; None where there was no negative


@dataclass(frozen=True, slots=True)
class LexicalRows(Part):
    """What each text of the batch is.

    Attributes:
        text: its number.
        pair: the pair that it is made of, as numbered in the batch.
        place: 0 for the pair itself, 1 for (v1, w2), 2 for (w1, v2).
        label: its class.
    """

    indices: ClassVar = {"text": "text"}
    text: Int[Tensor, "asked"]
    pair: Int[Tensor, "asked"]
    place: Int[Tensor, "asked"]
    label: Int[Tensor, "asked"]


@dataclass(frozen=True)
class LexicalCollate:
    """Finds the negatives among the batch's words and puts all pairs into rows.

    Attributes:
        classes: names, that of negatives first.
        near: the space in which words are near; None: any other word is as near, and one is drawn.
        filtered: no negative is a pair of the lexicon.
    """

    pad: int
    objective: str
    classes: tuple[str, ...]
    near: WordVectors | None = None
    filtered: bool = True
    room: int | None = None

    def __call__(self, texts: Sequence[WordPair], seed: int) -> Batch:
        """Returns the batch; a pair for which no word is left has fewer negatives.

        Raises:
            UnknownName: a pair has a relation that is none of the classes.
        """
        among = _Among.of(texts, self.near, self.filtered)
        rows: list[Encoded] = []
        asked: list[tuple[int, int, int]] = []
        for number, pair in enumerate(texts):
            read = [(0, pair.first, pair.second)]
            if (other := among.negative(pair.second, pair.first, (seed, pair.number, 1))) is not None:
                read.append((1, other, pair.second))
            if (other := among.negative(pair.first, pair.second, (seed, pair.number, 2))) is not None:
                read.append((2, pair.first, other))
            for place, first, second in read:
                both = read_together(first.pieces, second.pieces, pair.template)
                rows.append(both.having(number=pair.number, origin=pair.origin))
                asked.append((number, place, 0 if place else self._class(pair)))
        columns = torch.tensor(asked, dtype=torch.long).reshape(-1, 3).unbind(1)
        part = LexicalRows(torch.arange(len(rows)), *(column.contiguous() for column in columns))
        units = {self.objective: len(rows)}
        return pack(rows, pad=self.pad, objective=self.objective, room=self.room, units=units, parts=(part,))

    def _class(self, pair: WordPair) -> int:
        if self.classes == (NONE, RELATED):
            return 1
        if pair.relation not in self.classes[1:]:
            raise UnknownName(
                f'{pair.origin}: no relation of the task is called "{pair.relation}"',
                field="relations",
                remedy=closest(pair.relation, self.classes[1:]),
            )
        return self.classes.index(pair.relation)


@dataclass(frozen=True, eq=False)
class _Among:
    """The words of a batch, by key, and who may be whose negative."""

    words: Sequence[Word]
    number: dict[int, int]
    allowed: BoolArray[np.ndarray, "word word"]
    vectors: Float32[np.ndarray, "word width"]

    @classmethod
    def of(cls, pairs: Sequence[WordPair], near: WordVectors | None, filtered: bool) -> _Among:
        by_key = {word.key: word for pair in pairs for word in (pair.first, pair.second)}
        words = [by_key[key] for key in sorted(by_key)]  # in an order that does not depend on the batch's
        keys = np.array(sorted(by_key))
        allowed = ~np.eye(len(words), dtype=bool)
        if filtered:
            for row, word in enumerate(words):
                allowed[row] &= ~np.isin(keys, word.partners)
        vectors = np.zeros((len(words), 0), np.float32) if near is None else near([word.text for word in words])
        return cls(words, {key: number for number, key in enumerate(keys.tolist())}, allowed, vectors)

    def negative(self, given: Word, replaced: Word, drawn_by: tuple[int, ...]) -> Word | None:
        """Returns the word that takes the place of `replaced` beside `given`; None if there is none.

        Where one of both has no vector, it is drawn.
        """
        row = self.number[given.key]
        allowed = self.allowed[row].copy()
        allowed[self.number[replaced.key]] = False
        candidates = np.flatnonzero(allowed)
        if not len(candidates):
            return None
        known = candidates[self.vectors[candidates].any(axis=1)]
        if len(known) and self.vectors[row].any():
            return self.words[int(known[np.argmax(self.vectors[known] @ self.vectors[row])])]
        return self.words[int(np.random.default_rng(drawn_by).choice(candidates))]


class LexicalRelation(Task[WordPair, Answers]):
    """Tells whether, or how, two words are related.

    The answers to a text are three: to the pair and to its two negatives, so that saying yes to all scores low.

    Args:
        relations: names of what is told apart beside "none"; None: only whether they are related, as in the paper.
        vectors: folder of a table of word vectors (`kelm graph word-vectors`), in which negatives are near; the
            paper's are fastText's. None: negatives are any words of the batch, which is easier.
        filtered: no negative is a pair that the lexicon has, in any relation or direction (the paper: False).
        states: what the classifier reads of a pair: "first" (paper), "pooled", "mean", or several of them.
        hidden: width of a tanh layer before the classifier; 0: none.
        encoder: only asked for the pooler to start with, not kept.
        room: tokens a row may hold; several pairs then share one.
    """

    main_score = "macro_f1"
    collate: LexicalCollate

    def __init__(
        self,
        config: EncoderConfig,
        *,
        relations: Sequence[str] | None = None,
        vectors: str | None = None,
        filtered: bool = True,
        states: Sequence[TextState] = ("first",),
        hidden: int = 0,
        dropout: float = 0.0,
        encoder: Encoder | None = None,
        room: int | None = None,
    ) -> None:
        super().__init__()
        self.name = "lexical_relation"
        self.classes = (NONE, RELATED) if relations is None else (NONE, *_checked(relations))
        self.states = TextStates(config, states, encoder)
        self.classifier = Classifier(config, self.states.width, len(self.classes), hidden=hidden, dropout=dropout)
        near = None if vectors is None else WordVectors(vectors)
        self.collate = LexicalCollate(config.pad_token_id, self.name, self.classes, near, filtered, room)

    def features(self, batch: Batch, stream: Stream) -> Float[Tensor, "asked feature"]:
        """Returns what the classifier reads of each row of `LexicalRows`."""
        return torch.cat(self.states(batch, stream, batch[LexicalRows].text), dim=-1)

    def logits(self, batch: Batch, stream: Stream) -> Float[Tensor, "asked class"]:
        scores: Tensor = self.classifier(self.features(batch, stream))
        return scores

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        return {self.name: cross_entropy(self.logits(batch, stream), batch[LexicalRows].label, reduction="sum")}

    def predict(self, batch: Batch, stream: Stream) -> list[Answers]:
        rows = batch[LexicalRows]
        answers: list[list[str | None]] = [[None] * 3 for _ in range(int(rows.pair.max()) + 1 if len(rows.pair) else 0)]
        said = self.logits(batch, stream).argmax(-1).tolist()
        for pair, place, number in zip(rows.pair.tolist(), rows.place.tolist(), said, strict=True):
            answers[pair][place] = self.classes[number]
        return [tuple(some) for some in answers]

    def gold(self, texts: Sequence[WordPair]) -> list[Answers]:
        binary = self.classes == (NONE, RELATED)
        return [(RELATED if binary else text.relation, NONE, NONE) for text in texts]

    def score(self, gold: Sequence[Answers], predicted: Sequence[Answers]) -> Scores:
        """Returns accuracy, macro F1, micro F1 and Matthews' correlation over pairs and negatives alike."""
        asked = list(_asked(gold, predicted))
        return classification_scores([right for right, _ in asked], [said for _, said in asked])


def _asked(gold: Sequence[Answers], predicted: Sequence[Answers]) -> Iterator[tuple[str, str]]:
    for right, said in zip(gold, predicted, strict=True):
        yield from (
            (one, other) for one, other in zip(right, said, strict=True) if one is not None and other is not None
        )


def _checked(relations: Sequence[str]) -> tuple[str, ...]:
    names = tuple(relations)
    if isinstance(relations, str) or not names or len(set(names)) < len(names) or NONE in names:
        raise InputError(
            f"relations is {relations!r}", field="relations", remedy=f'Give a list of distinct names, without "{NONE}".'
        )
    return names
