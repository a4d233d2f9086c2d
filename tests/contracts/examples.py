"""One small example of every plug-in, for the contract tests. A new plug-in adds a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch

from kelm.batch import Encoded
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.base import Objective
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.enrich.markers import Markers
from kg.fusion.ernie import Ernie
from kg.linking.base import Mentions
from kg.objectives.entity_alignment import EntityAlignment
from kg.tasks.entity_typing import EntityTyping, mark_mention
from kg.tasks.relations import RelationClassification, mark_pair

__all__ = ["EXTENSIONS", "OBJECTIVES", "objective_texts", "plain_encoder", "texts_of"]

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 48,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}
MASK, PAD, SPECIAL = 4, 0, (0, 1, 2, 3, 4)
ENTITIES, WIDTH = 7, 8


def plain_encoder(extensions: Mapping[str, Mapping[str, Any]]) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(**SIZES, extensions={name: dict(options) for name, options in extensions.items()}))


def entity_table() -> EntityTable:
    vectors = np.random.default_rng(0).normal(size=(ENTITIES, WIDTH)).astype(np.float32)
    return EntityTable.from_vectors([f"Q{number}" for number in range(ENTITIES)], vectors)


def _plain_text(number: int, length: int) -> Encoded:
    random = np.random.default_rng(number)
    count = np.arange(length)
    tokens = random.integers(5, 60, length)
    tokens[0], tokens[-1] = 2, 3  # [CLS], [SEP]
    words = np.where((count == 0) | (count == length - 1), -1, count - 1)
    spans = np.stack([count, count + 1], axis=1)
    return Encoded(f"text {number}", tokens, spans, words, np.zeros_like(count), number=number, origin=f"line {number}")


def _with_mentions(text: Encoded) -> Encoded:
    first = torch.tensor([1, 4, 6])
    zeros = torch.zeros_like(first)
    entity = torch.tensor([text.number % ENTITIES, -1, (text.number + 3) % ENTITIES])
    named = Mentions(row=zeros, first=first, last=first, text=zeros, slot=torch.arange(3), entity=entity)
    return text.having(named)


def texts_of(plugin: str) -> list[Encoded]:
    """Four texts of different lengths with the parts that the plug-in reads."""
    plain = [_plain_text(number, length) for number, length in enumerate((12, 9, 17, 8))]
    return [PARTS[plugin](text) for text in plain] if plugin in PARTS else plain


def _ernie() -> Encoder:
    made = plain_encoder({"ernie": {"width": WIDTH, "heads": 2}})
    ernie = made.extensions["ernie"]
    assert isinstance(ernie, Ernie)
    ernie.attach(entity_table())
    return made


def _typed(text: Encoded) -> Encoded:
    markers = Markers(head=55, tail=56, entity=57)
    return mark_mention(text, (2, 3), markers, types=[text.number % 2 == 0, text.number % 3 == 0, True])


def _related(text: Encoded) -> Encoded:
    markers = Markers(head=55, tail=56, entity=57)
    return mark_pair(_with_mentions(text), (1, 2), (4, 4), markers, relation=text.number % 3)


def objective_texts(plugin: str) -> list[Encoded]:
    """The same texts as an objective reads them."""
    return [OBJECTIVE_PARTS.get(plugin, lambda same: same)(text) for text in texts_of("")]


class WordList:
    """As much of a tokenizer as an objective asks for."""

    pad, cls, sep, unk, mask = PAD, 2, 3, 1, MASK
    special = frozenset(SPECIAL)
    vocabulary_size = SIZES["vocab_size"]


def _mlm() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    return encoder, MaskedLanguageModel(encoder.config, tokenizer=cast(Tokenizer, WordList()))


def _entity_alignment() -> tuple[Encoder, Objective[Any]]:
    encoder = _ernie()
    words = cast(Tokenizer, WordList())
    return encoder, EntityAlignment(encoder.config, tokenizer=words, entities=ENTITIES, width=WIDTH)


def _relations() -> tuple[Encoder, Objective[Any]]:
    encoder, states = _ernie(), ("first", "markers", "mentions", "mean")
    return encoder, RelationClassification(
        encoder.config, relations=["a", "b", "c"], states=states, entities=WIDTH, dropout=0.0
    )


def _entity_typing() -> tuple[Encoder, Objective[Any]]:
    encoder = plain_encoder({})
    return encoder, EntityTyping(encoder.config, types=["person", "place", "thing"], dropout=0.0)


PARTS: dict[str, Callable[[Encoded], Encoded]] = {"ernie": _with_mentions}
EXTENSIONS: dict[str, Callable[[], Encoder]] = {"ernie": _ernie}
OBJECTIVE_PARTS: dict[str, Callable[[Encoded], Encoded]] = {
    "entity_alignment": _with_mentions,
    "entity_typing": _typed,
    "relations": _related,
}
OBJECTIVES: dict[str, Callable[[], tuple[Encoder, Objective[Any]]]] = {
    "entity_alignment": _entity_alignment,
    "entity_typing": _entity_typing,
    "mlm": _mlm,
    "relations": _relations,
}
