"""How well a knowledge-attention encoder links: its choice among candidates, as an output like any other.

    Batch with KnowledgeSpans --encoder--> Stream.side["<base>_linking"] --best first--> SpanAnswer(first, last, rows)

    precision, recall, f1   of the spans that are linked (of overlapping ones the surest), same tokens and same entity
    hits_at_1, hits_at_10   share of the known mentions whose entity is among the first 1, 10 candidates
    mrr                     mean of 1 / its place, 0 where it is no candidate

Places count from 1, and "no entity" has none: the original's Hits@1 was Hits@2. Where not all mentions of a text are
known, what is linked elsewhere is not judged. Source: Peters et al., 2019, section 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from kelm.batch import Batch, Encoded, Texts, pack
from kelm.errors import KelmError, closest
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.tasks.measures import f1, share
from kg.linking.base import Mentions
from kg.linking.candidate_spans import NONE, NOTHING, KnowledgeSpans, loss_name

__all__ = ["EntityLinking", "EntityLinkingCollate", "SpanAnswer", "known_mentions", "linking_scores"]


@dataclass(frozen=True, slots=True)
class SpanAnswer:
    """What a span names.

    Attributes:
        first, last: its tokens in the text.
        entities: rows of the entity table, the best first; `NOTHING` for "no entity".
        score: of the best; the same answer may have another by a rounding.
    """

    first: int
    last: int
    entities: tuple[int, ...]
    score: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class EntityLinkingCollate:
    """Packs, nothing corrupted."""

    pad: int
    objective: str
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        return pack(texts, pad=self.pad, objective=self.objective, room=self.room)


class EntityLinking(Task[Encoded, list[SpanAnswer]]):
    """Trains and judges the linker of an encoder's extension `knowledge_attention`; its loss is that extension's.

    Args:
        base: the knowledge base; the encoder's only one if not given.
        encoder: tells the knowledge bases; not kept.

    Raises:
        KelmError: the encoder has no such knowledge base.
    """

    main_score = "f1"

    def __init__(
        self, config: EncoderConfig, *, encoder: Encoder, base: str | None = None, room: int | None = None
    ) -> None:
        super().__init__()
        known = list((encoder.config.extensions or {}).get("knowledge_attention", {}).get("bases", {}))
        self.base = known[0] if base is None and len(known) == 1 else str(base)
        if self.base not in known:
            raise KelmError(f"entity_linking: base: the encoder has no {base!r}. {closest(self.base, known)}")
        self.name = "entity_linking"
        self.collate = EntityLinkingCollate(config.pad_token_id, self.name, room)

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        return {self.name: stream.hidden.new_zeros(())}  # "<base>_linking" is among the stream's own

    def predict(self, batch: Batch, stream: Stream) -> list[list[SpanAnswer]]:
        spans, texts = batch[KnowledgeSpans][self.base], batch[Texts]
        answers: list[list[SpanAnswer]] = [[] for _ in range(len(texts.row))]
        scores = stream.side.get(loss_name(self.base))
        if scores is None:  # muted: nothing is known
            scores = torch.full((len(spans), spans.entity.shape[1] + 1), float("-inf"))
            scores[:, -1] = 0.0
        ranked = scores.detach().float().cpu().numpy()
        rows = np.concatenate([spans.entity.cpu().numpy(), np.full((len(spans), 1), NOTHING)], axis=1)
        order = np.argsort(-ranked, axis=1, kind="stable")
        begins = texts.first[spans.text].tolist()
        places = zip(spans.text.tolist(), spans.first.tolist(), spans.last.tolist(), begins, strict=True)
        for number, (text, first, last, begin) in enumerate(places):
            entities = tuple(row for row in rows[number, order[number]].tolist() if row != NONE)
            best = float(ranked[number, order[number, 0]])
            answers[text].append(SpanAnswer(first - begin, last - begin, entities, best))
        return answers

    def gold(self, texts: Sequence[Encoded]) -> list[list[SpanAnswer]]:
        return [list(known_mentions(text, self.base)) for text in texts]

    def score(self, gold: Sequence[list[SpanAnswer]], predicted: Sequence[list[SpanAnswer]]) -> Scores:
        return linking_scores(gold, predicted)


def known_mentions(text: Encoded, base: str) -> Iterator[SpanAnswer]:
    """Yields the known mentions, and the spans that are known to name nothing."""
    known = text[Mentions]
    for first, last, row in zip(known.first.tolist(), known.last.tolist(), known.entity.tolist(), strict=True):
        if row >= 0:
            yield SpanAnswer(first, last, (row,))
    spans = text[KnowledgeSpans][base]
    for first, last, row in zip(spans.first.tolist(), spans.last.tolist(), spans.gold.tolist(), strict=True):
        if row == NOTHING:
            yield SpanAnswer(first, last, (NOTHING,))


def linking_scores(gold: Sequence[Sequence[SpanAnswer]], predicted: Sequence[Sequence[SpanAnswer]]) -> Scores:
    """Returns the scores that stand at the head of this file.

    >>> gold, told = [[SpanAnswer(1, 1, (7,))]], [[SpanAnswer(1, 1, (3, 7), 0.9)]]
    >>> linking_scores(gold, told)["hits_at_1"], linking_scores(gold, told)["mrr"]
    (0.0, 0.5)
    """
    hits = said = asked = 0
    ranks: list[int] = []  # 0: no candidate
    for known, answers in zip(gold, predicted, strict=True):
        wanted = {(one.first, one.last): one.entities[0] for one in known}
        asked += sum(row >= 0 for row in wanted.values())
        for one in _apart(answers):
            if any(one.first <= last and first <= one.last for first, last in wanted):
                said += 1
                hits += wanted.get((one.first, one.last)) == one.entities[0]
        told = {(one.first, one.last): [row for row in one.entities if row >= 0] for one in answers}
        for place, row in wanted.items():
            if row >= 0:
                ranks.append(told[place].index(row) + 1 if row in told.get(place, ()) else 0)
    return {
        "precision": share(hits, said),
        "recall": share(hits, asked),
        "f1": f1(hits, said, asked),
        **{f"hits_at_{k}": share(sum(0 < rank <= k for rank in ranks), len(ranks)) for k in (1, 10)},
        "mrr": share(sum(1 / rank for rank in ranks if rank), len(ranks)),
    }


def _apart(answers: Sequence[SpanAnswer]) -> list[SpanAnswer]:
    """Returns the spans that are linked to something; of those that overlap, the surest, of equally sure ones the
    longest."""
    linked = [one for one in answers if one.entities and one.entities[0] >= 0]
    taken: list[SpanAnswer] = []
    for one in sorted(linked, key=lambda one: (-one.score, one.first - one.last, one.first)):
        if all(one.last < other.first or other.last < one.first for other in taken):
            taken.append(one)
    return taken
