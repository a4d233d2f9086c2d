"""Knowledge embedding over texts: entities are what the encoder makes of their descriptions (KEPLER, SimKGC).

    query  q = h + r  for (h, r, ?)     q = t - r  for (?, r, t)        h, t, r: states of texts; r may be a table's

    kepler    s(q, c) = γ - ‖q - c‖ₚ
              L = ½ (-log σ(½ (s(h + r, t) + s(t - r, h))) - mean over corrupted c of log σ(-s(q, c)))
    infonce   s(q, c) = cos(q, c)
              L = ½ Σ over both questions of -log exp((s(q, a) - m)/τ) / (exp((s(q, a) - m)/τ) + Σ_c exp(s(q, c)/τ))

With popularity = true, infonce takes log P(c) from every exponent, P(c) being the chance that a batch has c. A batch
has frequent entities more often, and so, without it, s(q, c) learns how much likelier than usual c is as an answer;
with it, how likely.

a is the right answer, m the margin, τ the temperature (learned as log τ). Corrupted are the entities that the corpus
drew for the triple, or all of the batch, and beside them those of the batches before; never a known answer. With
relation = "condition", the given entity of a question is read together with the relation, in one text.

Source: Wang et al., 2021 (KEPLER), sections 3.2 and 3.3; Wang et al., 2022 (SimKGC), sections 3.2 to 3.4. The
popularity is that of Yi et al., 2019 (Sampling-bias-corrected neural modeling), section 3.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from kelm.batch import Batch
from kelm.errors import InputError, KelmError
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.objectives.base import Losses, Objective
from kelm.typing import Bool, Float, Int, Tensor
from kg.graph import KnowledgeGraph
from kg.linking.bi_encoder import Reading, text_vectors
from kg.linking.triple_text import DescribedTriple
from kg.objectives.earlier_vectors import EarlierVectors
from kg.objectives.mention_description import EntityRows
from kg.objectives.triple_batch import Asked, Chances, Corrupted, Excluded, Known, RelationUse, TripleCollate

__all__ = ["KnowledgeEmbedding"]


class KnowledgeEmbedding(Objective[DescribedTriple]):
    """Learns to answer a graph's questions by the texts of its entities.

    Args:
        loss: "infonce" (SimKGC) or "kepler".
        relation: a relation is a vector of a "table", its "text", or part of the question's text ("condition"; KEPLER
            then adds a table's vector, SimKGC none).
        relations: how many relations the table has; those of `graph` if not given.
        graph: folder of the graph, only asked for the number of its relations.
        state: of a text: the "mean" of its tokens (SimKGC), or the "first" (KEPLER).
        gamma: γ of "kepler" (paper: 4 for language tasks, 9 for link prediction), and the table's range ±(γ + 2)/width.
        norm: p of "kepler" (paper: 1; its code: 2).
        in_batch: all entities of the batch are negatives of each question, not only those drawn for its triple.
        self_negatives: with `in_batch`, so is the entity that the question gives.
        popularity: of "infonce": correct for how often entities are in a batch, so that frequent answers stay likely.
        margin, temperature: m and the first τ of "infonce" (SimKGC: .02, .05).
        earlier: so many entity vectors of the batches before are negatives too, in training.

    Raises:
        KelmError: an option is impossible.
    """

    collate: TripleCollate

    def __init__(
        self,
        config: EncoderConfig,
        *,
        loss: Literal["infonce", "kepler"] = "infonce",
        relation: RelationUse = "table",
        relations: int | None = None,
        graph: str | None = None,
        state: Literal["mean", "first"] = "mean",
        gamma: float = 4.0,
        norm: int = 1,
        in_batch: bool = True,
        self_negatives: bool = True,
        popularity: bool = False,
        margin: float = 0.02,
        temperature: float = 0.05,
        earlier: int = 0,
    ) -> None:
        super().__init__()
        _check(gamma=gamma, norm=norm, margin=margin, temperature=temperature, earlier=earlier)
        self.name = "knowledge_embedding"
        self.kind, self.relation, self.norm, self.gamma, self.margin = loss, relation, norm, gamma, margin
        self.in_batch, self.self_negatives, self.popularity = in_batch, self_negatives, popularity
        if popularity and (loss != "infonce" or not in_batch):
            raise KelmError('popularity = true corrects loss = "infonce" with in_batch = true only. Leave it out.')
        self.reading = Reading(state, unit=loss == "infonce")
        width = config.hidden_size
        count = None
        if relation == "table" or (relation == "condition" and loss == "kepler"):
            count = _relation_count(relations, graph)
            self.relation_vectors = nn.Embedding(count, width)
            nn.init.uniform_(self.relation_vectors.weight, -(gamma + 2) / width, (gamma + 2) / width)
        if loss == "infonce":
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.earlier = EarlierVectors(earlier, width) if earlier else None
        self.collate = TripleCollate(config.pad_token_id, self.name, relation, count, earlier > 0, popularity)

    @property
    def has_table(self) -> bool:
        """Whether relations have vectors of their own."""
        return hasattr(self, "relation_vectors")

    def queries(
        self, batch: Batch, stream: Stream, entities: Float[Tensor, "entity width"]
    ) -> Float[Tensor, "question width"]:
        """Returns what the answers to the batch's questions should be near to: first for tails, then for heads."""
        asked = batch[Asked]
        given = entities[asked.given]
        if self.relation == "condition":
            given = self._read(batch, stream, asked.text)
        if self.has_table:
            moves = self.relation_vectors(asked.relation)
        elif self.relation == "text":
            moves = self._read(batch, stream, asked.text)
        else:
            return given
        back = torch.arange(len(given), device=given.device) >= len(given) // 2
        return given + torch.where(back[:, None], -moves, moves)

    def scores(
        self, queries: Float[Tensor, "question width"], candidates: Float[Tensor, "candidate width"]
    ) -> Float[Tensor, "question candidate"]:
        """Returns s(q, c), before margin and temperature."""
        if self.kind == "infonce":
            return normalize(queries, dim=-1) @ candidates.T
        # exact where a distance is small: a matrix product would cancel there
        distances = torch.cdist(queries, candidates, p=float(self.norm), compute_mode="donot_use_mm_for_euclid_dist")
        return self.gamma - distances

    def negatives(self, batch: Batch) -> Bool[Tensor, "question candidate"]:
        """Returns which entities of the batch each question is learned against."""
        asked, excluded = batch[Asked], batch[Excluded]
        shape, device = (len(asked.given), len(batch[EntityRows].entity)), asked.given.device
        allowed = torch.full(shape, self.in_batch, device=device)
        if not self.in_batch:
            allowed[batch[Corrupted].question, batch[Corrupted].place] = True
        elif not self.self_negatives:
            allowed[torch.arange(shape[0], device=device), asked.given] = False
        allowed[excluded.question, excluded.place] = False
        return allowed

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        asked, rows = batch[Asked], batch[EntityRows]
        with torch.autocast(stream.hidden.device.type, enabled=False):  # half precision is too coarse for τ = .05
            entities = self._read(batch, stream, rows.text)
            queries = self.queries(batch, stream, entities)
            scores, allowed = self.scores(queries, entities), self.negatives(batch)
            right = scores[torch.arange(len(scores), device=scores.device), asked.right]
            offsets = -batch[Chances].chance.log() if self.popularity else scores.new_zeros(len(entities))
            right_offset = offsets[asked.right]
            if self.earlier is not None and self.training:
                known = batch[Known]
                before = self.earlier.vectors.clone()  # its own copy, as the queue moves on before the backward pass
                scores = torch.cat((scores, self.scores(queries, before)), 1)
                allowed = torch.cat((allowed, self.earlier.allowed(len(queries), known.question, known.entity)), 1)
                before_offsets = self.earlier.offsets.clone()
                self.earlier.push(entities.detach(), rows.entity, offsets)
                offsets = torch.cat((offsets, before_offsets))
            if self.kind == "kepler":
                return {self.name: self._kepler(right, scores, allowed)}
            sharpness = (-self.log_temperature).exp()
            right = sharpness * (right - self.margin) + right_offset
            return {self.name: _cross_entropy(right, sharpness * scores + offsets, allowed)}

    def _read(self, batch: Batch, stream: Stream, text: Int[Tensor, "text"]) -> Float[Tensor, "text width"]:
        vectors = text_vectors(batch, stream, text, self.reading)
        return vectors.to(torch.promote_types(vectors.dtype, torch.float32))

    def _kepler(
        self,
        right: Float[Tensor, "question"],
        scores: Float[Tensor, "question candidate"],
        allowed: Bool[Tensor, "question candidate"],
    ) -> Float[Tensor, ""]:
        positive = right.view(2, -1).mean(0)
        logs = torch.where(allowed, logsigmoid(-scores), 0.0).sum(1).view(2, -1).sum(0)
        counts = allowed.sum(1).view(2, -1).sum(0).clamp(min=1)
        return -(logsigmoid(positive) + logs / counts).sum() / 2


def _cross_entropy(
    right: Float[Tensor, "question"],
    others: Float[Tensor, "question candidate"],
    allowed: Bool[Tensor, "question candidate"],
) -> Float[Tensor, ""]:
    logits = torch.cat((right[:, None], others.masked_fill(~allowed, float("-inf"))), 1)
    first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return cross_entropy(logits, first, reduction="sum") / 2


def _check(*, gamma: float, norm: int, margin: float, temperature: float, earlier: int) -> None:
    wrong = {
        "gamma": (gamma, not 0 < gamma < math.inf, "a positive, finite number"),
        "norm": (norm, norm not in (1, 2), "1 or 2"),
        "margin": (margin, not 0 <= margin < math.inf, "0 or more"),
        "temperature": (temperature, not 0 < temperature < math.inf, "a positive, finite number"),
        "earlier": (earlier, earlier < 0, "0 for none, or a number of vectors"),
    }
    for name, (value, is_wrong, expected) in wrong.items():
        if is_wrong:
            raise InputError(f"{name} is {value}", field=name, remedy=f"Give {expected}.")


def _relation_count(relations: int | None, graph: str | None) -> int:
    if relations is None and graph is None:
        raise KelmError(
            "knowledge_embedding: nothing tells how many relations there are. Give `graph`, the folder that the corpus "
            'reads, or `relations`, their number; or set relation = "text".'
        )
    count = KnowledgeGraph.open(graph, verify=False).relation_count if relations is None and graph else relations
    if not count or count < 1:
        raise InputError(f"relations is {count}", field="relations", remedy="Give 1 or more.")
    return count
