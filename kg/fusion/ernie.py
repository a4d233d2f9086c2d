"""ERNIE: entity vectors fused into the encoder's upper layers (Zhang et al., 2019, section 3.3).

    words   w~ = attention, add & norm (w)                              the encoder's own
    names   e~ = norm(e + attention(e))          "norm"                 e~ = e          "mix", the first fusion
    inner   h  = activation(W_t w~ + W_e e~ + b)                        one entity : one token, the mention's first
    out     w' = norm(w~ + W_o h)      e' = norm(e~ + W_oe h)

Layers are of three kinds: "sim" (plain), "mix" and "norm". Entity states exist at mentions only, so nothing is computed
at other tokens; that changes no result, as the original multiplies them by zero before each use.

Differs from the original: any width, head count and layers; a mention has its entity once, on its first sub-token,
also when it starts within a word; the last layer has no entity output, which the original computes and never uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from kelm.batch import Batch, Texts
from kelm.errors import KelmError, closest
from kelm.model.config import EncoderConfig
from kelm.model.extension import Extension, Step, Stream
from kelm.model.layers import Layer
from kelm.typing import Bool, Float, Int, Tensor
from kg.embeddings.table import EntityTable
from kg.fusion.frozen_vectors import without_copy
from kg.linking.base import Mentions

__all__ = ["Ernie", "Kind", "layer_kinds"]

Kind = Literal["sim", "mix", "norm"]


def layer_kinds(layers: int) -> tuple[Kind, ...]:
    """Returns the published arrangement for any depth: of 12 layers 5 "sim", 1 "mix", 6 "norm"."""
    first = max(0, layers // 2 - 1)
    below: list[Kind] = ["sim"] * first
    above: list[Kind] = ["norm"] * (layers - first - 1)
    return (*below, "mix", *above)


class EntityAttention(nn.Module):
    """Self-attention among the entities of one text, with output projection, residual and norm."""

    def __init__(self, width: int, heads: int, config: EncoderConfig) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.weights_dropout = config.attention_probs_dropout_prob
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, entities: Float[Tensor, "mention width"], together: Bool[Tensor, "mention mention"]
    ) -> Float[Tensor, "mention width"]:
        queries, keys, values = (
            project(entities).view(len(entities), self.heads, self.size).transpose(0, 1)
            for project in (self.query, self.key, self.value)
        )
        dropout = self.weights_dropout if self.training else 0.0
        context = scaled_dot_product_attention(queries, keys, values, attn_mask=together, dropout_p=dropout)
        joined = context.transpose(0, 1).reshape(entities.shape)
        normed: Tensor = self.norm(entities + self.dropout(self.output(joined)))
        return normed


class Fusion(nn.Module):
    """One "mix" or "norm" layer around the encoder's own."""

    def __init__(self, width: int, heads: int, config: EncoderConfig, *, kind: Kind, last: bool) -> None:
        super().__init__()
        self.attention = EntityAttention(width, heads, config) if kind == "norm" else None
        self.up = nn.Linear(width, config.intermediate_size, bias=False)  # its bias is the layer's own b
        self.down = None if last else nn.Linear(config.intermediate_size, width)
        self.norm = None if last else nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, layer: Layer, stream: Stream) -> Stream:
        row, token, present, together = (stream.side[name] for name in ("row", "token", "present", "together"))
        entities = stream.side["entities"]
        words = layer.attend(stream)
        if self.attention is not None:
            entities = self.attention(entities, together)
        entities = entities * present
        inner = layer.expand(words)
        inner = inner.index_put((row, token), self.up(entities).to(inner.dtype), accumulate=True)
        active = layer.activation(inner)
        if self.down is not None and self.norm is not None:
            entities = self.norm(entities + self.dropout(self.down(active[row, token])))
        return stream.having(hidden=layer.contract(active, words), side={**stream.side, "entities": entities})


class Ernie(Extension):
    """Fuses the vectors of linked entities into the upper layers. Reads `batch[Mentions]`.

    The entity table is frozen and memory-mapped unless `trainable`; it lies beside the model, not among its weights.
    `Stream.side["entities"]` holds the mentions' entity states, `["linked"]` the vectors that were looked up,
    `["table"]` all of them (row = entity id).

    Args:
        table: folder of an `EntityTable` to start with; or give it later to `attach`.
        width: of the entity vectors; the table's if one is given.
        heads: of the entity attention (paper: 4); must divide `width`.
        kinds: of every layer; default: the published arrangement (see `layer_kinds`).
        entities: rows of the table; known once a table is attached.
        trainable: the vectors are weights and are trained and saved like others.
        first_token: as in the original code, [CLS] takes part in the entity attention with a zero vector.

    Raises:
        KelmError: `kinds` does not fit the encoder's depth, or `heads` the width.
    """

    innermost: ClassVar[bool] = True
    vectors: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        *,
        table: str | None = None,
        width: int = 100,
        heads: int = 4,
        kinds: Sequence[Kind] | None = None,
        entities: int = 0,
        trainable: bool = False,
        first_token: bool = False,
    ) -> None:
        opened = None if table is None else EntityTable.open(table)
        width, entities = (width, entities) if opened is None else (opened.width, len(opened))
        kinds = tuple(kinds or layer_kinds(config.num_hidden_layers))
        _check(kinds, width, heads, entities, config)
        options = {"width": width, "heads": heads, "kinds": list(kinds), "entities": entities}
        super().__init__(config, **options, trainable=trainable, first_token=first_token)
        self.width, self.trainable, self.first_token = width, trainable, first_token
        self.table: EntityTable | None = None
        self.fusions = nn.ModuleDict(
            {
                str(index): Fusion(width, heads, config, kind=kind, last=index == len(kinds) - 1)
                for index, kind in enumerate(kinds)
                if kind != "sim"
            }
        )
        empty = torch.zeros(entities if trainable else 0, width)
        if trainable:
            self.vectors = nn.Parameter(empty)
        else:
            self.register_buffer("vectors", empty, persistent=False)
        self._start(config)
        if opened is not None:
            self.attach(opened)

    def _start(self, config: EncoderConfig) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=config.initializer_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for fusion in self.fusions.values():
            assert isinstance(fusion, Fusion)
            nn.init.zeros_(fusion.up.weight)  # a fresh extension leaves the encoder's output as it was

    def attach(self, table: EntityTable) -> None:
        """Takes the vectors of a table; mentions' `entity` then counts its rows.

        Raises:
            KelmError: its width is not the extension's.
        """
        if table.width != self.width:
            raise KelmError(
                f"ernie: the table's vectors have {table.width} numbers, the extension expects {self.width}. "
                "Build the encoder with this table (extension option `table`) or with its width."
            )
        vectors = without_copy(table)
        device = self.vectors.device
        self.vectors = nn.Parameter(vectors.clone().to(device)) if self.trainable else vectors.to(device)
        self.table, self.options["entities"] = table, len(table)

    def save(self, folder: Path) -> None:
        if self.table is not None:
            self.table.save(folder / "ernie")

    def restore(self, folder: Path) -> None:
        if not (folder / "ernie").is_dir():
            return
        self.table = EntityTable.open(folder / "ernie")
        if not self.trainable:
            self.vectors = without_copy(self.table).to(next(self.fusions.parameters()).device)

    def layer(self, step: Step, index: int, stream: Stream) -> Stream:
        name = str(index)
        if name not in self.fusions:
            return step(stream)
        assert isinstance(step, Layer)  # the encoder keeps innermost extensions first
        entered = stream if "entities" in stream.side else self._enter(stream)
        fused: Stream = self.fusions[name](step, entered)
        return fused

    def _enter(self, stream: Stream) -> Stream:
        """Looks the entities up; what the fusions need of the batch is worked out once."""
        batch, mentions = stream.batch, stream.batch[Mentions]
        row, token, text, entity = mentions.row, mentions.first, mentions.text, mentions.entity
        if self.muted:
            entity = torch.full_like(entity, -1)
        present = entity >= 0
        if self.first_token:
            row, token, text, entity, present = _with_first_tokens(batch, row, token, text, entity, present)
        linked = entity >= 0
        found = self.vectors[entity.clamp(min=0)] if len(self.vectors) else self._nothing_attached(linked)
        entities = torch.where(linked.unsqueeze(-1), found, 0.0).to(stream.hidden.dtype)
        each = torch.eye(len(text), dtype=torch.bool, device=text.device)  # no softmax is ever empty
        side = {
            "entities": entities,
            "linked": entities,
            "table": self.vectors,
            "row": row,
            "token": token,
            "present": present.unsqueeze(-1).to(entities.dtype),
            "together": ((text.unsqueeze(0) == text.unsqueeze(1)) & present) | each,
        }
        return stream.having(side={**stream.side, **side})

    def _nothing_attached(self, linked: Bool[Tensor, "mention"]) -> Float[Tensor, "mention width"]:
        if self.table is None and not torch.compiler.is_compiling() and bool(linked.any()):
            raise KelmError("ernie: mentions are linked, but no entity table is attached. Call attach(table) first.")
        return torch.zeros(len(linked), self.width, device=linked.device)


def _with_first_tokens(
    batch: Batch,
    row: Int[Tensor, "mention"],
    token: Int[Tensor, "mention"],
    text: Int[Tensor, "mention"],
    entity: Int[Tensor, "mention"],
    present: Bool[Tensor, "mention"],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Adds every text's first token as a mention without an entity that is present all the same."""
    texts = batch[Texts]
    number = torch.arange(len(texts.row), device=row.device)
    return (
        torch.cat([row, texts.row]),
        torch.cat([token, texts.first]),
        torch.cat([text, number]),
        torch.cat([entity, torch.full_like(number, -1)]),
        torch.cat([present, torch.ones_like(number, dtype=torch.bool)]),
    )


def _check(kinds: Sequence[Any], width: int, heads: int, entities: int, config: EncoderConfig) -> None:
    unknown = [kind for kind in kinds if kind not in ("sim", "mix", "norm")]
    if unknown:
        raise KelmError(f"ernie: kinds: {unknown[0]!r} is unknown. {closest(str(unknown[0]), ('sim', 'mix', 'norm'))}")
    if len(kinds) != config.num_hidden_layers:
        raise KelmError(
            f"ernie: kinds: {len(kinds)} for an encoder of {config.num_hidden_layers} layers. Give one for each."
        )
    if width < 1:
        raise KelmError(f"ernie: width: expected at least 1, found {width}. Give the table's, or leave it out.")
    if entities < 0:
        raise KelmError(f"ernie: entities: expected at least 0, found {entities}. Leave it out where there is a table.")
    if heads < 1:
        raise KelmError(f"ernie: heads: expected at least 1, found {heads}. Choose heads that divide width {width}.")
    if width % heads:
        raise KelmError(f"ernie: heads: width {width} is not a multiple of {heads} heads. Choose heads that divide it.")
