"""Small examples of what reads candidate spans, for `tests.contracts.examples`."""

from __future__ import annotations

from typing import Any

import torch

from kelm.batch import Encoded
from kelm.model import Encoder, EncoderConfig
from kg.embeddings.table import EntityTable
from kg.fusion.knowledge_attention import KnowledgeAttention
from kg.linking.base import Mentions
from kg.linking.candidate_spans import HIDDEN, NONE, NOTHING, KnowledgeSpans, Spans

__all__ = ["knowing_encoder", "linked", "with_spans"]

BASES: dict[str, dict[str, Any]] = {
    "facts": {"width": 8, "heads": 2, "inner": 12, "hidden": 5, "after": 1},
    "words": {"width": 8, "heads": 2, "inner": 12, "hidden": 5, "after": 2, "loss": "margin", "longest": 2},
}


def knowing_encoder(config: EncoderConfig, table: EntityTable) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(**{**config.to_dict(), "extensions": {"knowledge_attention": {"bases": BASES}}}))
    attention = encoder.extensions["knowledge_attention"]
    assert isinstance(attention, KnowledgeAttention)
    for base in BASES:
        attention.attach(base, table)
    return encoder


def spans(number: int) -> Spans:
    """Four spans, two of which overlap; of two somebody knows what they name, of one that it names nothing."""
    zeros = torch.zeros(4, dtype=torch.long)
    return Spans(
        row=zeros,
        first=torch.tensor([1, 1, 4, 6]),
        last=torch.tensor([1, 2, 4, 6]),
        text=zeros,
        slot=torch.arange(4),
        entity=torch.tensor([[number % 7, NONE, NONE], [1, 2, 3], [HIDDEN, HIDDEN, NONE], [5, number % 3, NONE]]),
        prior=torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.7, 0.3, 0.0]]),
        gold=torch.tensor([number % 7, NOTHING, NONE, number % 3]),
        width=torch.arange(4),
    )


def with_spans(text: Encoded) -> Encoded:
    return text.having(KnowledgeSpans({"facts": spans(text.number), "words": spans(text.number + 1)}))


def linked(text: Encoded) -> Encoded:
    """The same with what is known of the mentions."""
    first, zeros = torch.tensor([1, 6]), torch.zeros(2, dtype=torch.long)
    entity = torch.tensor([text.number % 7, text.number % 3])
    return with_spans(text).having(Mentions(zeros, first, first, zeros, torch.arange(2), entity))
