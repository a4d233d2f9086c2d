"""Entity typing: which of many types does the marked mention have in this sentence?

[CLS] ... [ENT] mention [ENT] ... [SEP]   ->   {person, artist}

Source: Zhang et al., 2019, sections 3.5 and 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from kelm.batch import Batch, Encoded
from kelm.data.labels import label_names
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.tasks.collate import LabelCollate
from kelm.tasks.measures import share
from kelm.typing import Float, Tensor
from kg.enrich.marked import TypedMentions, mark_mention
from kg.tasks.marked import State, marked_states

__all__ = ["EntityTyping", "TypedMentions", "mark_mention"]


class EntityTyping(Task[Encoded, frozenset[str]]):
    """Any number of types for each marked mention; a type holds if its logit is above `threshold`.

    Args:
        types: their names, in the order of `TypedMentions.types`, or a file that holds them (see `kelm.data.labels`).
        states: what the classifier reads: "pooled" (paper), "first", "markers", "mentions", "mean".
        encoder: only asked for the pooler to start with, not kept.
        room: tokens a row may hold; several short texts then share one.
    """

    main_score = "micro_f1"

    def __init__(
        self,
        config: EncoderConfig,
        *,
        types: Sequence[str] | str,
        states: Sequence[State] = ("pooled",),
        dropout: float = 0.1,
        threshold: float = 0.0,
        encoder: Encoder | None = None,
        room: int | None = None,
    ) -> None:
        super().__init__()
        self.name = "entity_typing"
        self.types, self.threshold = label_names(types, "types"), threshold
        self.states = marked_states(config, states, 1, encoder)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.states.width, len(self.types))
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)
        self.collate = LabelCollate(config.pad_token_id, self.name, self.types, room)

    def logits(self, batch: Batch, stream: Stream) -> Float[Tensor, "text type"]:
        asked = batch[TypedMentions]
        places = {"mentions": asked.mention.unsqueeze(1), "markers": asked.marker.unsqueeze(1)}
        read = self.states(batch, stream, asked.text, places)
        scores: Tensor = self.classifier(self.dropout(torch.cat(read, dim=-1)))
        return scores

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        logits = self.logits(batch, stream)
        wanted = batch[TypedMentions].types.to(logits.dtype)
        return {self.name: binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1).sum()}

    def predict(self, batch: Batch, stream: Stream) -> list[frozenset[str]]:
        return [self._named(row) for row in (self.logits(batch, stream) > self.threshold).tolist()]

    def gold(self, texts: Sequence[Encoded]) -> list[frozenset[str]]:
        return [self._named(text[TypedMentions].types[0].tolist()) for text in texts]

    def _named(self, holds: Sequence[bool]) -> frozenset[str]:
        return frozenset(name for name, held in zip(self.types, holds, strict=True) if held)

    def score(self, gold: Sequence[frozenset[str]], predicted: Sequence[frozenset[str]]) -> Scores:
        """Returns strict accuracy, loose macro and loose micro scores (Ling and Weld, 2012)."""
        pairs = list(zip(gold, predicted, strict=True))
        hits = [len(right & said) for right, said in pairs]
        precisions = [hit / len(said) for hit, (_, said) in zip(hits, pairs, strict=True) if said]
        recalls = [hit / len(right) for hit, (right, _) in zip(hits, pairs, strict=True) if right]
        macro = _mean(precisions), _mean(recalls)
        micro = share(sum(hits), sum(len(said) for _, said in pairs)), share(sum(hits), sum(map(len, gold)))
        return {
            "accuracy": _mean([float(right == said) for right, said in pairs]),
            **{
                f"macro_{name}": value
                for name, value in zip(("precision", "recall", "f1"), _with_f1(*macro), strict=True)
            },
            **{
                f"micro_{name}": value
                for name, value in zip(("precision", "recall", "f1"), _with_f1(*micro), strict=True)
            },
        }


def _mean(values: Sequence[float]) -> float:
    return share(sum(values), len(values))


def _with_f1(precision: float, recall: float) -> tuple[float, float, float]:
    total = precision + recall
    return precision, recall, share(2 * precision * recall, total)
