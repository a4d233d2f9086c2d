"""Bi-encoder entity linking: find the text of the entity that a mention means among those of the batch.

    "[Paris] lies in Texas"   --encoder-->  m  ─┐
    Q830149: Paris (city): city in Texas     e₀ ├─  scale · m · eᵀ  --softmax-->  -log p(e₀)      summed over mentions
    Q90: Paris (city): capital of France     e₁ ┘

The candidates of every mention are all entities of the batch: the right ones of all mentions, and the other entities of
the same names, which are the hard negatives. Each entity is encoded once a step. An entity whose text is that of the
right one cannot be told from it and is no candidate.

Source: Gillick et al., 2019, sections 3.2 and 3.3; Wu et al., 2020, section 4.1 (in-batch and hard negatives). Differs:
hard negatives are first of all a name's other entities; those that an earlier model takes for near are an option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Encoded, Part, pack
from kelm.errors import KelmError
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.objectives.base import Losses, Objective
from kelm.typing import Float, Int, Tensor
from kg.linking.bi_encoder import Described, Places, mention_vectors, text_vectors

__all__ = ["DescribedCollate", "EntityRows", "MentionDescription", "RightEntities", "Twins"]


@dataclass(frozen=True, slots=True)
class EntityRows(Part):
    """The distinct entities of the batch, ascending: their ids, and the numbers of their texts."""

    entity: Int[Tensor, "entity"]
    text: Int[Tensor, "entity"]


@dataclass(frozen=True, slots=True)
class RightEntities(Part):
    """For each of the `Places`, which of `EntityRows` it means."""

    place: Int[Tensor, "mention"]


@dataclass(frozen=True, slots=True)
class Twins(Part):
    """Mentions and places in `EntityRows` that are no candidates of theirs: their text is the right one's."""

    mention: Int[Tensor, "twin"]
    place: Int[Tensor, "twin"]


@dataclass(frozen=True)
class DescribedCollate:
    """Puts the texts and then their entities' texts, each once, into the rows; nothing is drawn."""

    pad: int
    objective: str
    room: int | None = None

    def __call__(self, texts: Sequence[Described], seed: int) -> Batch:
        described: dict[int, Encoded] = {}
        for text in texts:
            described.update(text.entities)
        place_of = {entity: place for place, entity in enumerate(sorted(described))}
        read = [
            one.text.having(Places.of([(mention.first, mention.last) for mention in one.mentions])) for one in texts
        ]
        read += [described[entity] for entity in place_of]
        right = [place_of[mention.entity] for text in texts for mention in text.mentions]
        numbers = torch.arange(len(texts), len(texts) + len(place_of))
        return pack(
            read,
            pad=self.pad,
            objective=self.objective,
            room=self.room,
            units={self.objective: len(right)},
            parts=(
                EntityRows(torch.tensor(list(place_of), dtype=torch.long), numbers),
                RightEntities(torch.tensor(right, dtype=torch.long)),
                _twins([described[entity] for entity in place_of], right),
            ),
        )


def _twins(entities: Sequence[Encoded], right: Sequence[int]) -> Twins:
    same: dict[bytes, list[int]] = {}
    for place, entity in enumerate(entities):
        same.setdefault(entity.tokens.tobytes(), []).append(place)
    pairs = [
        (mention, place)
        for mention, answer in enumerate(right)
        for place in same[entities[answer].tokens.tobytes()]
        if place != answer
    ]
    return Twins(*torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1))


class MentionDescription(Objective[Described]):
    """Learns mentions and entity texts as vectors of the encoder, without parameters of its own.

    Args:
        scale: what cosines are multiplied by before the softmax; the inverse of its temperature.
        context: weight of the whole text in a mention's vector; see `kg.linking.bi_encoder`.

    Raises:
        KelmError: the scale is not positive, or the weight not between 0 and 1.
    """

    collate: DescribedCollate

    def __init__(self, config: EncoderConfig, *, scale: float = 20.0, context: float = 0.5) -> None:
        super().__init__()
        if not 0 < scale < float("inf"):
            raise KelmError(f"mention_description: scale is {scale}. Give a positive, finite number.")
        if not 0 <= context <= 1:
            raise KelmError(f"mention_description: context is {context}. Give 0 to 1.")
        self.name = "mention_description"
        self.scale, self.context = scale, context
        self.collate = DescribedCollate(config.pad_token_id, self.name)

    def scores(self, batch: Batch, stream: Stream) -> Float[Tensor, "mention entity"]:
        """Returns a logit for each mention and entity of the batch; minus infinity for the twins of the right one."""
        mentions = mention_vectors(batch, stream, self.context)
        entities = text_vectors(batch, stream, batch[EntityRows].text)
        scores = self.scale * (mentions @ entities.T)
        twins = batch[Twins]
        masked = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
        masked[twins.mention, twins.place] = True
        return scores.masked_fill(masked, float("-inf"))

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        scores, right = self.scores(batch, stream), batch[RightEntities].place
        # Texts without a mention: an empty sum, which cross_entropy does not take.
        summed = cross_entropy(scores, right, reduction="sum") if scores.numel() else scores.sum()
        return {self.name: summed}
