"""What a span may name, judged by its words, its neighbors and the candidates' vectors (KnowBert's entity linker).

    words   x  = W h + b                                       states, as wide as the entity vectors
    spans   s  = norm(Σ softmax(a · x_t) x_t)                  over the span's tokens; then one Transformer layer
    scores  ψ  = w · relu(V [s · e / √width ; prior])          e: the normed vector of a candidate
    vector  ẽ  = Σ softmax(ψ) e                                "softmax": "no entity" is one more candidate
                 the same over those with ψ ≥ δ                "margin": of a span with none, e is that of "no entity"

Differs from the original code: the vector of "no entity" is normed as others are, and a span's loss counts the same
however many candidates it has. Source: Peters et al., 2019, sections 3.2 and 3.3, equations 1 to 5.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn.functional import pad, scaled_dot_product_attention

from kelm.typing import Bool, Float, Int, Tensor
from kg.linking.candidate_spans import HIDDEN, NONE, NOTHING, Spans

__all__ = ["CandidateLinker", "Linked", "LinkerLoss", "SpanGrid", "SpanLayer"]

LinkerLoss = Literal["softmax", "margin"]
_NO_ONE = -2  # owner of a place in the grid that holds no span; real documents count from 0, padding is -1


class SpanGrid(NamedTuple):
    """Where spans lie in a grid [row, place], place 0 of each row being empty.

    Attributes:
        row, place: of each span.
        owner: the document of the span in each place of the grid.
    """

    row: Int[Tensor, "span"]
    place: Int[Tensor, "span"]
    owner: Int[Tensor, "row place"]

    @classmethod
    def of(cls, spans: Spans, document: Int[Tensor, "row token"]) -> SpanGrid:
        """Lays the spans of a batch out; `document` says whose each token is (see `Visibility`)."""
        places = spans.slot + 1
        empty = torch.full((document.shape[0], len(spans.width) + 1), _NO_ONE, device=document.device)
        return cls(spans.row, places, empty.index_put((spans.row, places), document[spans.row, spans.first].long()))

    def filled(self, vectors: Float[Tensor, "span width"]) -> Float[Tensor, "row place width"]:
        """Returns the grid with each span's vector in its place."""
        return vectors.new_zeros(*self.owner.shape, vectors.shape[-1]).index_put((self.row, self.place), vectors)


class SpanLayer(nn.Module):
    """A Transformer layer whose queries look at other vectors than themselves: attention, add & norm, feed-forward."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, epsilon: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm, self.norm = (nn.LayerNorm(width, eps=epsilon) for _ in range(2))
        self.expand, self.contract = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(
        self,
        asking: Float[Tensor, "row query width"],
        asked: Float[Tensor, "row key width"],
        seen: Bool[Tensor, "row query key"],
    ) -> Float[Tensor, "row query width"]:
        queries, keys, values = (
            project(given).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project, given in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        rate = self.dropout.p if self.training else 0.0
        context = scaled_dot_product_attention(queries, keys, values, attn_mask=seen.unsqueeze(1), dropout_p=rate)
        attended = self.attention_norm(asking + self.dropout(self.output(context.transpose(1, 2).flatten(2))))
        inner = torch.nn.functional.gelu(self.expand(attended))
        normed: Tensor = self.norm(attended + self.dropout(self.contract(inner)))
        return normed


class Linked(NamedTuple):
    """What the linker found.

    Attributes:
        spans: their vectors in context.
        entities: ẽ of each span.
        scores: ψ of each candidate, "no entity" last; the lowest number where there is no candidate.
        loss: the sum over the spans whose entity is known.
    """

    spans: Float[Tensor, "span width"]
    entities: Float[Tensor, "span width"]
    scores: Float[Tensor, "span answer"]
    loss: Float[Tensor, ""]


class CandidateLinker(nn.Module):
    """Chooses among candidates softly.

    Args:
        hidden_size: of the encoder's states; `width`: of the entity vectors.
        heads, inner: of the layer over spans.
        hidden: units that weigh fit and prior.
        loss: "softmax" (WordNet's in the paper) or "margin" (Wikipedia's).
        margin, threshold: γ and δ of "margin".
        longest: tokens of a span that are read.
    """

    def __init__(
        self,
        hidden_size: int,
        width: int,
        *,
        heads: int,
        inner: int,
        hidden: int,
        loss: LinkerLoss,
        margin: float,
        threshold: float,
        longest: int,
        dropout: float,
        epsilon: float,
    ) -> None:
        super().__init__()
        self.width, self.loss, self.margin, self.threshold, self.longest = width, loss, margin, threshold, longest
        self.down = nn.Linear(hidden_size, width)
        self.pooling = nn.Linear(width, 1, bias=False)  # softmax takes no notice of a bias
        self.span_norm, self.entity_norm = (nn.LayerNorm(width, eps=1e-5) for _ in range(2))
        self.span_layer = SpanLayer(width, heads, inner, dropout, epsilon)
        self.weigh, self.score = nn.Linear(2, hidden), nn.Linear(hidden, 1)
        self.special = nn.Parameter(torch.empty(2, width))  # "no entity", masked

    def forward(
        self,
        words: Float[Tensor, "row token width"],
        spans: Spans,
        grid: SpanGrid,
        table: Float[Tensor, "entity width"],
    ) -> Linked:
        """Returns what the spans name; `words` are the states after `down`, `table` the knowledge base's vectors."""
        alone = grid.filled(self.pooled(words, spans))
        together = self.span_layer(alone, alone, grid.owner.unsqueeze(2) == grid.owner.unsqueeze(1))
        vectors = together[grid.row, grid.place]
        answers = self.answers(spans.entity, table).to(vectors.dtype)
        priors = pad(spans.prior, (0, 1)).to(vectors.dtype)  # nothing is known of "no entity"
        fits = (vectors.unsqueeze(1) * answers).sum(-1) / self.width**0.5
        scores = self.score(torch.relu(self.weigh(torch.stack([fits, priors], dim=-1)))).squeeze(-1)
        there = pad(spans.entity != NONE, (0, 1), value=True)
        lowest = torch.finfo(scores.dtype).min
        if self.loss == "margin":  # "no entity" has no score of its own: it is what the threshold says
            scores = torch.cat([scores[:, :-1], torch.full_like(scores[:, -1:], self.threshold)], dim=1)
            taken = there & pad(scores[:, :-1] >= self.threshold, (0, 1))
            taken = torch.cat([taken[:, :-1], ~taken.any(1, keepdim=True)], dim=1)
        else:
            taken = there
        shares = scores.masked_fill(~taken, lowest).softmax(-1)
        entities = (shares.unsqueeze(-1) * answers).sum(1)
        scores = scores.masked_fill(~there, lowest)
        return Linked(vectors, entities, scores, self.loss_of(scores, spans.right, there))

    def pooled(self, words: Float[Tensor, "row token width"], spans: Spans) -> Float[Tensor, "span width"]:
        """Returns the self-attentive mean of each span's words, normed (Lee et al., 2017)."""
        steps = torch.arange(self.longest, device=words.device)
        within = spans.first.unsqueeze(1) + steps
        read = words[spans.row.unsqueeze(1), within.clamp(max=words.shape[1] - 1)]
        weights = self.pooling(read).squeeze(-1)
        outside = within > spans.last.unsqueeze(1)
        shares = weights.masked_fill(outside, torch.finfo(weights.dtype).min).softmax(-1)
        normed: Tensor = self.span_norm((shares.unsqueeze(-1) * read).sum(1))
        return normed

    def answers(
        self, entity: Int[Tensor, "span candidate"], table: Float[Tensor, "entity width"]
    ) -> Float[Tensor, "span answer width"]:
        """Returns the normed vectors of the candidates and of "no entity"."""
        asked = pad(entity, (0, 1), value=NOTHING)
        found = table[asked.clamp(min=0)] if len(table) else self.special[0].expand(*asked.shape, -1)
        special = self.special[(asked == HIDDEN).long()]
        known = (asked >= 0).unsqueeze(-1)
        normed: Tensor = self.entity_norm(torch.where(known, found.to(special.dtype), special))
        return normed

    def loss_of(
        self,
        scores: Float[Tensor, "span answer"],
        right: Bool[Tensor, "span answer"],
        there: Bool[Tensor, "span answer"],
    ) -> Float[Tensor, ""]:
        """Returns the sum over spans with a right answer: -log p(right), or the mean over candidates of the hinge."""
        scores = scores.float()
        lowest = torch.finfo(scores.dtype).min
        judged = right.any(1)
        if self.loss == "softmax":
            every = scores.masked_fill(~there, lowest).logsumexp(1)
            good = scores.masked_fill(~right, lowest).logsumexp(1)
            each = every - good
        else:
            candidates, good = there[:, :-1], right[:, :-1]
            hinge = torch.relu(self.margin + torch.where(good, -scores[:, :-1], scores[:, :-1]))
            each = hinge.masked_fill(~candidates, 0.0).sum(1) / candidates.sum(1).clamp(min=1)
        return torch.where(judged, each, 0.0).sum()
