"""Relation classification between two marked entities (Zhang et al., 2019, sections 3.5 and 4.3).

    [CLS] ... [HD] head [HD] ... [TL] tail [TL] ... [SEP]   ->   one of the relations

The classifier reads [CLS] as ERNIE does, the two markers (Baldini Soares et al., 2019), the mentions, the mean of the
sentence, or several of them. Where an extension keeps entities beside the tokens, it reads those of head and tail as
well: the vectors that were looked up (`Stream.side["linked"]`) and what the layers made of them (`["entities"]`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Encoded, Part, Texts, pack
from kelm.errors import UnknownName, closest
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.typing import Float, Int, Tensor
from kg.enrich.markers import Markers, Span, mark
from kg.linking.base import Mentions

__all__ = ["Pairs", "RelationClassification", "RelationCollate", "mark_pair"]


State = Literal["first", "markers", "mentions", "mean"]
PLACES: Mapping[State, int] = {"first": 1, "markers": 2, "mentions": 2, "mean": 1}  # vectors that each gives
SIDES = ("linked", "entities")


@dataclass(frozen=True, slots=True)
class Pairs(Part):
    """The two entities that each text is asked about.

    Attributes:
        head, tail: first token of each mention; `head_marker`, `tail_marker`: the marker before it.
        relation: the right answer's number; -1 where it is not known.
    """

    indices: ClassVar = {
        "row": "row",
        "text": "text",
        "head": "token",
        "tail": "token",
        "head_marker": "token",
        "tail_marker": "token",
    }
    row: Int[Tensor, "pair"]
    text: Int[Tensor, "pair"]
    head: Int[Tensor, "pair"]
    tail: Int[Tensor, "pair"]
    head_marker: Int[Tensor, "pair"]
    tail_marker: Int[Tensor, "pair"]
    relation: Int[Tensor, "pair"]


def mark_pair(
    text: Encoded, head: Span, tail: Span, markers: Markers, *, relation: int = -1, hidden: int | None = None
) -> Encoded:
    """Returns the text with [HD] and [TL] around its two mentions and the part `Pairs`.

    Args:
        head, tail: tokens of the mentions, first and last included.
        hidden: a token that replaces the words of both mentions (the mask), so that only context and graph can tell.
    """
    marked, (new_head, new_tail) = mark(text, [head, tail], [markers.head, markers.tail], hidden=hidden)
    numbers = (0, 0, new_head[0], new_tail[0], new_head[0] - 1, new_tail[0] - 1, relation)
    return marked.having(Pairs(*(torch.tensor([number]) for number in numbers)))


@dataclass(frozen=True)
class RelationCollate:
    """Packs; nothing is corrupted."""

    pad: int
    objective: str
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        units = {self.objective: len(texts)}
        return pack(texts, pad=self.pad, objective=self.objective, room=self.room, units=units)


class RelationClassification(Task[Encoded, str]):
    """One of several relations for each text.

    Args:
        relations: their names, in the order of `Pairs.relation`.
        states: what the classifier reads: "first" (paper), "markers", "mentions" (the mentions' first tokens), "mean".
        entities: width of the entities to read as well; 0: none.
        hidden: width of a tanh layer before the classifier; 0: none.
        negative: a relation that does not count in micro F1, such as TACRED's "no_relation".
        room: tokens a row may hold; several short texts then share one.
    """

    main_score = "accuracy"

    def __init__(
        self,
        config: EncoderConfig,
        *,
        relations: Sequence[str],
        states: Sequence[State] = ("first",),
        entities: int = 0,
        hidden: int = 0,
        dropout: float = 0.1,
        negative: str | None = None,
        room: int | None = None,
    ) -> None:
        super().__init__()
        self.name = "relations"
        self.relations, self.negative = tuple(relations), negative
        if negative is not None and negative not in self.relations:
            raise UnknownName(
                f'the negative relation "{negative}" is none of them', remedy=closest(negative, relations)
            )
        self.states, self.entities = tuple(states), entities
        width = sum(PLACES[state] for state in self.states) * config.hidden_size + 4 * entities
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, hidden) if hidden else None
        self.classifier = nn.Linear(hidden or width, len(self.relations))
        for layer in (self.dense, self.classifier):
            if layer is not None:
                nn.init.normal_(layer.weight, std=config.initializer_range)
                nn.init.zeros_(layer.bias)
        self.collate = RelationCollate(config.pad_token_id, self.name, room)

    def features(self, batch: Batch, stream: Stream) -> Float[Tensor, "pair feature"]:
        """Returns what the classifier reads of each pair."""
        pairs = batch[Pairs]
        read = [vectors for state in self.states for vectors in _read(state, batch, stream)]
        if self.entities:
            tokens = (pairs.head, pairs.tail)
            read += [_of_entities(batch, stream.side[name], pairs.row, token) for name in SIDES for token in tokens]
        return torch.cat(read, dim=-1)

    def logits(self, batch: Batch, stream: Stream) -> Float[Tensor, "pair relation"]:
        features = self.dropout(self.features(batch, stream))
        if self.dense is not None:
            features = self.dropout(torch.tanh(self.dense(features)))
        scores: Tensor = self.classifier(features)
        return scores

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        return {self.name: cross_entropy(self.logits(batch, stream), batch[Pairs].relation, reduction="sum")}

    def predict(self, batch: Batch, stream: Stream) -> list[str]:
        return [self.relations[number] for number in self.logits(batch, stream).argmax(-1).tolist()]

    def gold(self, texts: Sequence[Encoded]) -> list[str]:
        return [self.relations[int(text[Pairs].relation[0])] for text in texts]

    def score(self, gold: Sequence[str], predicted: Sequence[str]) -> Scores:
        """Returns accuracy, macro F1 over the gold relations, and micro precision, recall and F1 without `negative`."""
        right = [answer for answer, guess in zip(gold, predicted, strict=True) if answer == guess]
        by_relation = []
        for relation in sorted(set(gold)):
            hits = sum(answer == relation for answer in right)
            by_relation.append(_f1(hits, sum(g == relation for g in predicted), sum(g == relation for g in gold)))
        hits = sum(answer != self.negative for answer in right)
        said, asked = (sum(answer != self.negative for answer in some) for some in (predicted, gold))
        return {
            "accuracy": len(right) / len(gold) if gold else 0.0,
            "macro_f1": sum(by_relation) / len(by_relation) if by_relation else 0.0,
            "micro_precision": hits / said if said else 0.0,
            "micro_recall": hits / asked if asked else 0.0,
            "micro_f1": _f1(hits, said, asked),
        }


def _read(state: State, batch: Batch, stream: Stream) -> list[Float[Tensor, "pair width"]]:
    pairs, texts, hidden = batch[Pairs], batch[Texts], stream.hidden
    if state == "first":
        return [hidden[texts.row[pairs.text], texts.first[pairs.text]]]
    if state == "markers":
        return [hidden[pairs.row, pairs.head_marker], hidden[pairs.row, pairs.tail_marker]]
    if state == "mentions":
        return [hidden[pairs.row, pairs.head], hidden[pairs.row, pairs.tail]]
    # All places of each pair's row that lie within its text: several texts may share the row.
    place = torch.arange(hidden.shape[1], device=hidden.device)
    first, last = texts.first[pairs.text].unsqueeze(1), texts.last[pairs.text].unsqueeze(1)
    within = ((place >= first) & (place <= last)).to(hidden.dtype)
    return [(within.unsqueeze(1) @ hidden[pairs.row]).squeeze(1) / within.sum(1, keepdim=True)]


def _of_entities(
    batch: Batch, vectors: Float[Tensor, "mention width"], row: Int[Tensor, "pair"], token: Int[Tensor, "pair"]
) -> Float[Tensor, "pair width"]:
    """Those of the mention that begins at each place; zero where it is linked to nothing."""
    mentions = batch[Mentions]
    begins = (mentions.row == row.unsqueeze(1)) & (mentions.first == token.unsqueeze(1)) & (mentions.entity >= 0)
    return begins.to(vectors.dtype) @ vectors[: len(mentions)]


def _f1(hits: int, said: int, asked: int) -> float:
    return 2 * hits / (said + asked) if said + asked else 0.0
