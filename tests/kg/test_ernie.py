"""ERNIE's fusion against the paper's formulas, written out text by text and mention by mention."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm
from transformers import AutoModel

from kelm.batch import Batch, Encoded, Texts, pack
from kelm.errors import CannotExport, KelmError
from kelm.model import Encoder, EncoderConfig
from kg.embeddings.table import EntityTable
from kg.fusion.ernie import Ernie, layer_kinds
from kg.linking.base import Mentions

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
ENTITIES, WIDTH = 9, 12


def table_of(seed: int = 0) -> EntityTable:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(ENTITIES, WIDTH)).astype(np.float32)
    return EntityTable.from_vectors([f"Q{number}" for number in range(ENTITIES)], vectors)


def encoder_of(seed: int = 0, **options: Any) -> Encoder:
    """An encoder with ERNIE whose every weight is random, the projections that start at zero included."""
    torch.manual_seed(seed)
    given = {"width": WIDTH, "heads": 4, **options}
    encoder = Encoder(EncoderConfig(**SIZES, extensions={"ernie": given})).double().eval()
    ernie = ernie_of(encoder)
    ernie.attach(table_of())
    ernie.double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return encoder


def ernie_of(encoder: Encoder) -> Ernie:
    ernie = encoder.extensions["ernie"]
    assert isinstance(ernie, Ernie)
    return ernie


def text_of(length: int, mentions: dict[int, int], number: int = 0) -> Encoded:
    """A text with mentions: first sub-token -> entity (-1: no entity)."""
    count = np.arange(length, dtype=np.int32)
    tokens = np.random.default_rng(number).integers(5, 60, length)
    first = torch.tensor(list(mentions), dtype=torch.long)
    zeros = torch.zeros_like(first)
    named = Mentions(
        row=zeros,
        first=first,
        last=first,
        text=zeros,
        slot=torch.arange(len(first)),
        entity=torch.tensor(list(mentions.values()), dtype=torch.long),
    )
    encoded = Encoded("", tokens, np.stack([count, count + 1], 1), count, np.zeros_like(count), number=number)
    return encoded.having(named)


TEXTS = [
    text_of(9, {1: 3, 4: 0, 7: 8}, 0),
    text_of(6, {2: -1}, 1),
    text_of(4, {}, 2),
    text_of(7, {1: 5, 3: -1, 5: 5}, 3),
]


def slow_ernie(encoder: Encoder, text: Encoded, *, first_token: bool = False) -> Tensor:
    """Equations 1 to 7 of the paper for one text, on its own, entity by entity, with a dense entity row per token."""
    weights = encoder.state_dict()
    ernie = ernie_of(encoder)
    length, width = len(text), WIDTH

    def dense(name: str, x: Tensor) -> Tensor:
        bias = weights.get(f"{name}.bias")
        return x @ weights[f"{name}.weight"].T + (0 if bias is None else bias)

    def norm(name: str, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def attend(names: tuple[str, str, str], x: Tensor, heads: int, seen: list[int]) -> Tensor:
        queries, keys, values = (dense(name, x) for name in names)
        size = x.shape[-1] // heads
        out = torch.zeros_like(x)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(len(x)):
                scores = torch.stack([queries[i, part] @ keys[j, part] for j in seen]) / math.sqrt(size)
                for weight, j in zip(torch.softmax(scores, 0), seen, strict=True):
                    out[i, part] += weight * values[j, part]
        return out

    entities, mask = torch.zeros(length, width, dtype=torch.float64), torch.zeros(length, dtype=torch.bool)
    for first, entity in zip(text[Mentions].first.tolist(), text[Mentions].entity.tolist(), strict=True):
        if entity >= 0:
            entities[first], mask[first] = ernie.vectors[entity].double(), True
    if first_token:
        mask[0] = True

    tokens = torch.tensor(text.tokens)
    e = "embeddings"
    hidden = weights[f"{e}.word_embeddings.weight"][tokens] + weights[f"{e}.token_type_embeddings.weight"][0]
    hidden = norm(f"{e}.LayerNorm", hidden + weights[f"{e}.position_embeddings.weight"][:length])
    for index, kind in enumerate(ernie.options["kinds"]):
        at, fused = f"encoder.layer.{index}", f"extensions.ernie.fusions.{index}"
        projections = tuple(f"{at}.attention.self.{name}" for name in ("query", "key", "value"))
        attended = attend(projections, hidden, 3, list(range(length)))
        words = norm(f"{at}.attention.output.LayerNorm", hidden + dense(f"{at}.attention.output.dense", attended))
        inner = dense(f"{at}.intermediate.dense", words)
        if kind == "norm" and mask.any():
            projections = tuple(f"{fused}.attention.{name}" for name in ("query", "key", "value"))
            attended = attend(projections, entities, 4, mask.nonzero().flatten().tolist())
            entities = norm(f"{fused}.attention.norm", entities + dense(f"{fused}.attention.output", attended))
        if kind != "sim":
            entities = entities * mask.unsqueeze(-1)
            inner = inner + dense(f"{fused}.up", entities)
        active = gelu(inner)
        hidden = norm(f"{at}.output.LayerNorm", words + dense(f"{at}.output.dense", active))
        if kind != "sim" and index < len(ernie.options["kinds"]) - 1:
            entities = norm(f"{fused}.norm", entities + dense(f"{fused}.down", active))
    return hidden


@pytest.mark.parametrize("first_token", [False, True])
@pytest.mark.parametrize("kinds", [None, ["mix", "norm", "norm", "norm"], ["sim", "norm", "sim", "mix"]])
def test_fusion_equals_the_papers_formulas(kinds: list[str] | None, first_token: bool) -> None:
    encoder = encoder_of(kinds=kinds, first_token=first_token)
    batch = pack(TEXTS, pad=0, room=12)
    hidden = encoder.encode(batch).hidden
    where = batch[Texts]
    for number, text in enumerate(TEXTS):
        here = hidden[where.row[number], where.first[number] : where.last[number] + 1]
        assert torch.allclose(here, slow_ernie(encoder, text, first_token=first_token), atol=1e-8, rtol=0)


def test_the_published_arrangement_is_five_plain_one_mixing_and_six_more() -> None:
    assert layer_kinds(12) == ("sim",) * 5 + ("mix",) + ("norm",) * 6
    assert layer_kinds(1) == ("mix",)


def changed_at(batch: Batch, encoder: Encoder, entity: Tensor) -> Tensor:
    from dataclasses import replace

    other = batch.having(replace(batch[Mentions], entity=entity))
    return (encoder.encode(batch).hidden - encoder.encode(other).hidden).abs().amax(-1) > 1e-9


def test_an_entity_changes_its_own_text_and_no_other() -> None:
    encoder, batch = encoder_of(), pack(TEXTS, pad=0, room=12)
    mentions = batch[Mentions]
    changed = changed_at(batch, encoder, torch.where(mentions.text == 0, 7, mentions.entity))
    for number in range(4):
        where = batch[Texts]
        here = changed[where.row[number], where.first[number] : where.last[number] + 1]
        assert bool(here.any()) == (number == 0)


def test_mentions_without_entity_are_as_no_mentions_at_all() -> None:
    encoder = encoder_of()
    nothing, none = text_of(8, {}, 5), text_of(8, {2: -1, 5: -1}, 5)
    plain, marked = (encoder.encode(pack([text], pad=0)).hidden for text in (nothing, none))
    assert torch.equal(plain, marked)


def test_the_frozen_table_is_no_weight_and_lies_beside_the_model(tmp_path: Path) -> None:
    encoder = encoder_of().float()
    assert not any("vectors" in name for name in encoder.state_dict())
    encoder.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    batch = pack(TEXTS, pad=0)
    assert torch.equal(again.encode(batch).hidden, encoder.encode(batch).hidden)
    assert list(ernie_of(again).table.names) == list(table_of().names)  # type: ignore[union-attr]
    assert ernie_of(again).options["entities"] == ENTITIES


def test_a_trainable_table_learns_and_is_saved_with_the_weights(tmp_path: Path) -> None:
    encoder = encoder_of(trainable=True, entities=ENTITIES).float()
    batch = pack(TEXTS, pad=0)
    encoder.encode(batch).hidden.square().sum().backward()
    gradient = ernie_of(encoder).vectors.grad
    assert gradient is not None
    used = gradient.abs().sum(1) > 0
    assert used.nonzero().flatten().tolist() == [0, 3, 5, 8]
    with torch.no_grad():
        ernie_of(encoder).vectors.add_(1.0)
    encoder.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(again.encode(batch).hidden, encoder.encode(batch).hidden)


def test_linked_mentions_without_a_table_are_refused() -> None:
    encoder = Encoder(EncoderConfig(**SIZES, extensions={"ernie": {"width": WIDTH}}))
    with pytest.raises(KelmError, match="no entity table is attached"):
        encoder.encode(pack(TEXTS, pad=0))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kinds": ["sim", "fuse", "norm", "norm"]}, "kinds: 'fuse' is unknown. Known: mix, norm, sim"),
        ({"kinds": ["mix"]}, "kinds: 1 for an encoder of 4 layers"),
        ({"width": 10, "heads": 4}, "width 10 is not a multiple of 4 heads"),
        ({"depth": 3}, "does not take these options"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(KelmError, match=told):
        Encoder(EncoderConfig(**SIZES, extensions={"ernie": options}))


def test_a_table_of_another_width_is_refused() -> None:
    encoder = Encoder(EncoderConfig(**SIZES, extensions={"ernie": {"width": 8}}))
    with pytest.raises(KelmError, match="12 numbers, the extension expects 8"):
        ernie_of(encoder).attach(table_of())


def test_export_drops_the_fusion_only_when_told(tmp_path: Path) -> None:
    encoder = encoder_of().float()
    with pytest.raises(CannotExport, match="cannot express ernie"):
        encoder.to_hf(tmp_path / "plain")
    encoder.to_hf(tmp_path / "plain", drop=["ernie"])
    assert type(AutoModel.from_pretrained(tmp_path / "plain")).__name__ == "BertModel"
