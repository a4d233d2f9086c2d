"""Knowledge attention and recontextualization (KnowBert; Peters et al., 2019, section 3.3).

    h -> x = W h + b -> spans s, their entities ẽ (`kg.fusion.candidate_linker`)            after layer `after`
    s' = norm(s + ẽ)                            a span that knows what it may name
    x' = layer(queries x, keys and values s')   every word looks at the spans of its text
    h' = norm(h + U x' + c)                     U, c begin as the pseudo-inverse of W, b:  U = W⁺, c = -W⁺ b
    out  h + gate (h' - h)                      the gate begins at 0, so that a fresh extension changes nothing

Differs from the paper: candidates arrive in `batch[KnowledgeSpans]`, so linking can be cached and is anybody's; the
gate (1 is the paper's, which changes what the encoder says before it has learned anything); the words of a text without
a span are left as they are, where the original code attends to padding. The original's inverse was of a matrix that has
none, and was taken again after the weights were loaded. Equations 6 to 8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from kelm.errors import KelmError, closest
from kelm.model.config import EncoderConfig
from kelm.model.extension import Extension, Step, Stream
from kelm.typing import Float, Tensor
from kg.embeddings.table import EntityTable
from kg.fusion.candidate_linker import CandidateLinker, LinkerLoss, SpanGrid, SpanLayer
from kg.fusion.frozen_vectors import without_copy
from kg.linking.candidate_spans import KnowledgeSpans, Spans, loss_name

__all__ = ["KnowledgeAttention", "KnowledgeBase"]

NAME = "knowledge_attention"
Looking = Literal["like", "random"]
_KEEN = 4.0  # how much a span's likeness counts in the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeBase:
    """One knowledge base and the layer after which it is asked; the defaults are the paper's.

    Attributes:
        table: folder of an `EntityTable` to start with; or give it later to `attach`.
        after: index of the layer, counted from 0; -1: the published place, 9 of 12, or as far up in other depths.
        width: of the entity vectors; `entities`: their number. The table's if one is given.
        heads, inner: of the layer over spans and of the words' attention to them.
        hidden, loss, margin, threshold, longest: see `CandidateLinker`.
        linking: weight of the linking loss.
        gate: where it begins; 1 for the paper's equation.
        looking: how words look at spans in the beginning: at those "like" themselves, their own above all, and they
            take over what they see; or at "random" ones (paper), so that which span is whose is to be learned first.
        trainable: the vectors are weights and are trained and saved like others.
    """

    table: str | None = None
    after: int = -1
    width: int = 100
    entities: int = 0
    heads: int = 4
    inner: int = 1024
    hidden: int = 100
    loss: LinkerLoss = "softmax"
    margin: float = 0.2
    threshold: float = 0.0
    longest: int = 16
    linking: float = 1.0
    gate: float = 0.0
    looking: Looking = "like"
    trainable: bool = False

    def settled(self, layers: int) -> KnowledgeBase:
        """Returns the same with the place among `layers` layers, sized for the table."""
        after = max(0, 10 * layers // 12 - 1) if self.after == -1 else self.after
        if self.table is None:
            return replace(self, after=after)
        opened = EntityTable.open(self.table)
        return replace(self, after=after, width=opened.width, entities=len(opened))


class Recontextualization(nn.Module):
    """What one knowledge base does to the states."""

    vectors: Tensor

    def __init__(self, base: KnowledgeBase, config: EncoderConfig) -> None:
        super().__init__()
        self.base = base
        dropout, epsilon = config.hidden_dropout_prob, config.layer_norm_eps
        self.linker = CandidateLinker(
            config.hidden_size,
            base.width,
            heads=base.heads,
            inner=base.inner,
            hidden=base.hidden,
            loss=base.loss,
            margin=base.margin,
            threshold=base.threshold,
            longest=base.longest,
            dropout=dropout,
            epsilon=epsilon,
        )
        self.known_norm = nn.LayerNorm(base.width, eps=1e-5)
        self.word_layer = SpanLayer(base.width, base.heads, base.inner, dropout, epsilon)
        self.up = nn.Linear(base.width, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=epsilon)
        self.gate = nn.Parameter(torch.full((config.hidden_size,), base.gate))
        self.dropout = nn.Dropout(dropout)
        empty = torch.zeros(base.entities if base.trainable else 0, base.width)
        if base.trainable:
            self.vectors = nn.Parameter(empty)
        else:
            self.register_buffer("vectors", empty, persistent=False)
        self._start(config.initializer_range)

    def _start(self, spread: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=spread)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.linker.special)
        if self.base.looking == "like":
            layer = self.word_layer
            for project in (layer.query, layer.key, layer.value, layer.output):
                nn.init.eye_(project.weight)
            with torch.no_grad():
                layer.query.weight.mul_(_KEEN)
        down = self.linker.down
        with torch.no_grad():
            back = torch.linalg.pinv(down.weight)
            self.up.weight.copy_(back)
            self.up.bias.copy_(-back @ down.bias)

    def forward(self, stream: Stream, spans: Spans, name: str) -> Stream:
        document, hidden = stream.batch.visibility.document, stream.hidden
        words: Float[Tensor, "row token width"] = self.linker.down(hidden)
        grid = SpanGrid.of(spans, document)
        linked = self.linker(words, spans, grid, self.vectors)
        known = grid.filled(self.known_norm(linked.spans + self.dropout(linked.entities)))
        seen = (document.unsqueeze(2) == grid.owner.unsqueeze(1))[:, :, 1:]
        some = seen.any(2, keepdim=True)
        seen = torch.cat(
            [~some, seen], dim=2
        )  # who sees no span looks at the empty place, and what comes of it is left
        told = self.word_layer(words, known.to(words.dtype), seen)
        changed = self.norm(hidden + self.dropout(self.up(told)))
        hidden = torch.where(some, hidden + self.gate * (changed - hidden), hidden).to(hidden.dtype)
        losses = {**stream.losses, loss_name(name): self.base.linking * linked.loss}
        return stream.having(hidden=hidden, losses=losses, side={**stream.side, loss_name(name): linked.scores})


class KnowledgeAttention(Extension):
    """Lets the words of a text look at what its spans may name, in one or several knowledge bases.

    Reads `batch[KnowledgeSpans]`. Adds "<base>_linking" to the losses: how wrong the linker is about spans whose entity
    is known (see `Spans.gold`). `Stream.side["<base>_linking"]` holds the scores of the candidates, "no entity" last.

    Args:
        bases: options of each knowledge base by its name, see `KnowledgeBase`.

    Raises:
        KelmError: an option is unknown or does not fit the encoder or the table.
    """

    def __init__(self, config: EncoderConfig, *, bases: Mapping[str, Mapping[str, Any]]) -> None:
        settled = {name: _settled(name, options, config) for name, options in bases.items()}
        kept = {name: {**dataclasses.asdict(base), "table": None} for name, base in settled.items()}
        super().__init__(config, bases=kept)
        self.bases = nn.ModuleDict({name: Recontextualization(base, config) for name, base in settled.items()})
        self.tables: dict[str, EntityTable] = {}
        for name, base in settled.items():
            if base.table is not None:
                self.attach(name, EntityTable.open(base.table))

    def attach(self, name: str, table: EntityTable) -> None:
        """Takes the vectors of a knowledge base's table; candidates then count its rows.

        Raises:
            KelmError: there is no such base, or the table's width is not its.
        """
        if name not in self.bases:
            raise KelmError(f"{NAME}: bases: there is none called {name!r}. {closest(name, list(self.bases))}")
        part = self._part(name)
        if table.width != part.base.width:
            raise KelmError(
                f"{NAME}: bases: the table of {name} has {table.width} numbers a vector, the base {part.base.width}. "
                "Build the encoder with this table or with its width."
            )
        vectors = without_copy(table)
        device = part.vectors.device
        part.vectors = nn.Parameter(vectors.clone().to(device)) if part.base.trainable else vectors.to(device)
        self.tables[name] = table
        self.options["bases"][name]["entities"] = len(table)

    def layer(self, step: Step, index: int, stream: Stream) -> Stream:
        stream = step(stream)
        for name in () if self.muted else self.bases:
            part = self._part(name)
            if part.base.after == index:
                stream = part(stream, self._spans(name, stream), name)
        return stream

    def _spans(self, name: str, stream: Stream) -> Spans:
        spans = stream.batch[KnowledgeSpans][name]
        attached = name in self.tables or len(self._part(name).vectors)
        if not attached and not torch.compiler.is_compiling() and bool((spans.entity >= 0).any()):
            raise KelmError(f"{NAME}: {name} has candidates but no entity table. Call attach({name!r}, table) first.")
        return spans

    def _part(self, name: str) -> Recontextualization:
        part = self.bases[name]
        assert isinstance(part, Recontextualization)
        return part

    def save(self, folder: Path) -> None:
        for name, table in self.tables.items():
            table.save(folder / NAME / name)

    def restore(self, folder: Path) -> None:
        for name in self.bases:
            place, part = folder / NAME / name, self._part(name)
            if place.is_dir():
                self.tables[name] = EntityTable.open(place)
                if not part.base.trainable:
                    part.vectors = without_copy(self.tables[name]).to(part.up.weight.device)


def _settled(name: str, options: Mapping[str, Any], config: EncoderConfig) -> KnowledgeBase:
    known = [one.name for one in dataclasses.fields(KnowledgeBase)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise KelmError(f"{NAME}: bases: {name} has an unknown option {unknown[0]!r}. {closest(unknown[0], known)}")
    base = KnowledgeBase(**options).settled(config.num_hidden_layers)
    if not 0 <= base.after < config.num_hidden_layers:
        raise KelmError(
            f"{NAME}: bases: {name} is asked after layer {base.after}, the encoder's last is "
            f"{config.num_hidden_layers - 1}. Choose one, counted from 0."
        )
    about = f"{NAME}: bases: {name}"
    if base.loss not in get_args(LinkerLoss):
        raise KelmError(f"{about}: loss: {base.loss!r} is none. {closest(str(base.loss), get_args(LinkerLoss))}")
    if base.looking not in get_args(Looking):
        remedy = closest(str(base.looking), get_args(Looking))
        raise KelmError(f"{about}: looking: {base.looking!r} is none. {remedy}")
    if base.heads < 1 or base.width % base.heads:
        raise KelmError(
            f"{about}: width {base.width} is no multiple of {base.heads} heads. Choose heads that divide it."
        )
    return base
