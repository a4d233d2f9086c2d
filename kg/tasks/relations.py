"""Relation classification between two marked entities (Zhang et al., 2019, sections 3.5 and 4.3).

    [CLS] ... [HD] head [HD] ... [TL] tail [TL] ... [SEP]   ->   one of the relations

The classifier reads the pooled [CLS] as ERNIE does, or other states of the text (`kg.tasks.marked`). Where an extension
keeps entities beside the tokens, it can read those of head and tail as well: the vectors that were looked up
(`Stream.side["linked"]`) and what the layers made of them (`["entities"]`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from kelm.batch import Batch, Encoded
from kelm.data.labels import label_names
from kelm.errors import UnknownName, closest
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.tasks.collate import LabelCollate
from kelm.tasks.measures import f1
from kelm.typing import Float, Int, Tensor
from kg.enrich.marked import Pairs, mark_pair
from kg.linking.base import Mentions
from kg.tasks.marked import State, marked_states

__all__ = ["Pairs", "RelationClassification", "mark_pair"]

SIDES = ("linked", "entities")


class RelationClassification(Task[Encoded, str]):
    """One of several relations for each text.

    Args:
        relations: their names, in the order of `Pairs.relation`, or a file that holds them (see `kelm.data.labels`).
        states: what the classifier reads: "pooled" (paper), "first", "markers", "mentions", "mean".
        entities: width of the entities to read as well; 0: none.
        unit: scale every vector that is read to length 1, so that states and entities of any width count alike.
        hidden: width of a tanh layer before the classifier; 0: none.
        negative: a relation that does not count in micro F1, such as TACRED's "no_relation".
        encoder: only asked for the pooler to start with, not kept.
        room: tokens a row may hold; several short texts then share one.
    """

    main_score = "accuracy"

    def __init__(
        self,
        config: EncoderConfig,
        *,
        relations: Sequence[str] | str,
        states: Sequence[State] = ("pooled",),
        entities: int = 0,
        unit: bool = False,
        hidden: int = 0,
        dropout: float = 0.1,
        negative: str | None = None,
        encoder: Encoder | None = None,
        room: int | None = None,
    ) -> None:
        super().__init__()
        self.name = "relations"
        self.relations, self.negative = label_names(relations, "relation"), negative
        if negative is not None and negative not in self.relations:
            raise UnknownName(
                f'the negative relation "{negative}" is none of them', remedy=closest(negative, self.relations)
            )
        self.states, self.entities, self.unit = marked_states(config, states, 2, encoder), entities, unit
        width = self.states.width + 4 * entities
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, hidden) if hidden else None
        self.classifier = nn.Linear(hidden or width, len(self.relations))
        for layer in (self.dense, self.classifier):
            if layer is not None:
                nn.init.normal_(layer.weight, std=config.initializer_range)
                nn.init.zeros_(layer.bias)
        self.collate = LabelCollate(config.pad_token_id, self.name, self.relations, room)

    def features(self, batch: Batch, stream: Stream) -> Float[Tensor, "pair feature"]:
        """Returns what the classifier reads of each pair."""
        pairs = batch[Pairs]
        mentions = torch.stack((pairs.head, pairs.tail), 1)
        markers = torch.stack((pairs.head_marker, pairs.tail_marker), 1)
        read = self.states(batch, stream, pairs.text, {"mentions": mentions, "markers": markers})
        if self.entities:
            tokens = (pairs.head, pairs.tail)
            read += [_of_entities(batch, stream.side[name], pairs.row, token) for name in SIDES for token in tokens]
        return torch.cat([normalize(vectors, dim=-1) for vectors in read] if self.unit else read, dim=-1)

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
            by_relation.append(f1(hits, sum(g == relation for g in predicted), sum(g == relation for g in gold)))
        hits = sum(answer != self.negative for answer in right)
        said, asked = (sum(answer != self.negative for answer in some) for some in (predicted, gold))
        return {
            "accuracy": len(right) / len(gold) if gold else 0.0,
            "macro_f1": sum(by_relation) / len(by_relation) if by_relation else 0.0,
            "micro_precision": hits / said if said else 0.0,
            "micro_recall": hits / asked if asked else 0.0,
            "micro_f1": f1(hits, said, asked),
        }


def _of_entities(
    batch: Batch, vectors: Float[Tensor, "mention width"], row: Int[Tensor, "pair"], token: Int[Tensor, "pair"]
) -> Float[Tensor, "pair width"]:
    """Those of the mention that begins at each place; zero where it is linked to nothing."""
    mentions = batch[Mentions]
    begins = (mentions.row == row.unsqueeze(1)) & (mentions.first == token.unsqueeze(1)) & (mentions.entity >= 0)
    return begins.to(vectors.dtype) @ vectors[: len(mentions)]
