"""The denoising entity auto-encoder: its corruption, its candidates and its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kelm.batch import Targets
from kelm.model.extension import Stream
from kg.linking.base import Mentions
from kg.objectives.entity_alignment import AlignmentTargets, Candidates, EntityAlignment, corrupt_entities
from tests.contracts.examples import ENTITIES, OBJECTIVES, WIDTH, objective_texts


def objective(**options: object) -> tuple[object, EntityAlignment]:
    encoder, made = OBJECTIVES["entity_alignment"]()
    assert isinstance(made, EntityAlignment)
    return encoder, made


def within(count: int, total: int, share: float) -> bool:
    """Whether a count is within five standard deviations of its expectation."""
    return abs(count - total * share) < 5 * math.sqrt(total * share * (1 - share))


def test_five_percent_are_replaced_fifteen_masked_and_the_rest_kept() -> None:
    gold = np.arange(40_000) % 500
    shown = corrupt_entities(gold, np.random.default_rng(0), count=500)
    replaced = int(((shown != gold) & (shown >= 0)).sum())
    assert within(replaced, len(gold), 0.05)
    assert within(int((shown < 0).sum()), len(gold), 0.15)
    assert within(int((shown == gold).sum()), len(gold), 0.80)


def test_a_replacement_is_never_the_entity_itself_and_may_be_any_other() -> None:
    gold = np.full(5_000, 3)
    shown = corrupt_entities(gold, np.random.default_rng(1), count=8, replaced=1.0, masked=0.0)
    counts = np.bincount(shown, minlength=8)
    assert counts[3] == 0
    assert all(within(int(count), 5_000, 1 / 7) for entity, count in enumerate(counts) if entity != 3)


def test_mentions_without_entity_stay_without() -> None:
    shown = corrupt_entities(np.full(1_000, -1), np.random.default_rng(2), count=8)
    assert (shown == -1).all()


def test_the_batch_shows_corrupted_entities_and_asks_for_the_right_ones() -> None:
    _, made = objective()
    texts = objective_texts("entity_alignment")
    batch = made.collate(texts, 5)
    targets, candidates = batch[AlignmentTargets], batch[Candidates]
    gold = [int(entity) for text in texts for entity in text[Mentions].entity if entity >= 0]
    assert candidates.entity[targets.candidate].tolist() == gold
    assert candidates.entity.tolist() == sorted(set(gold))
    assert batch.units == {"mlm": len(batch[Targets].label), "entity_alignment": len(gold)}
    assert len(batch[Mentions].entity) == sum(len(text[Mentions].entity) for text in texts)


@pytest.mark.parametrize("zero", [False, True])
def test_the_loss_equals_the_formula_written_out(zero: bool) -> None:
    _, made = objective()
    made.double()
    made.zero_candidate = zero
    batch = made.collate(objective_texts("entity_alignment"), 0)
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(*batch.tokens.shape, 16, dtype=torch.float64, generator=random)
    table = torch.randn(ENTITIES, WIDTH, dtype=torch.float64, generator=random)
    words = torch.randn(60, 16, dtype=torch.float64, generator=random)
    stream = Stream(hidden, batch, words, side={"table": table})
    targets, entities = batch[AlignmentTargets], batch[Candidates].entity.tolist()
    total = 0.0
    made.requires_grad_(False)
    for row, token, wanted in zip(targets.row, targets.token, targets.candidate, strict=True):
        dense = made.dense.weight @ hidden[row, token] + made.dense.bias
        active = dense * 0.5 * (1 + torch.erf(dense / math.sqrt(2)))
        centered = active - active.mean()
        normed = centered / torch.sqrt(centered.square().mean() + 1e-12) * made.norm.weight + made.norm.bias
        scores = [math.exp(float(normed @ table[entity])) for entity in entities] + [1.0] * zero
        total -= math.log(scores[int(wanted)] / sum(scores))
    assert float(made.loss(batch, stream)["entity_alignment"]) == pytest.approx(total, abs=1e-8)


def test_hidden_mentions_are_masked_whole_and_are_no_targets() -> None:
    _, made = objective()
    from dataclasses import replace

    collate = replace(made.collate, hide=1.0)
    texts = objective_texts("entity_alignment")
    batch = collate(texts, 0)
    mentions, targets = batch[Mentions], batch[Targets]
    assert (batch.tokens[mentions.row, mentions.first] == 4).all()
    asked = set(zip(targets.row.tolist(), targets.token.tolist(), strict=True))
    assert not asked & set(zip(mentions.row.tolist(), mentions.first.tolist(), strict=True))


def test_a_batch_without_any_linked_mention_has_a_loss_of_zero() -> None:
    encoder, made = objective()
    from dataclasses import replace

    texts = [
        text.having(replace(text[Mentions], entity=torch.full_like(text[Mentions].entity, -1)))
        for text in objective_texts("entity_alignment")
    ]
    batch = made.collate(texts, 0)
    losses = made.loss(batch, encoder.encode(batch))  # type: ignore[attr-defined]
    assert losses["entity_alignment"].item() == 0.0
    losses["entity_alignment"].backward()
