"""Triples of a question in one step: the same gradients as one by one, and every triple once an epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kg.embeddings.query_training import QueryTraining
from tests.kg.test_query_training import PLAIN, grid


@pytest.mark.parametrize("reciprocal", [True, False])
@pytest.mark.parametrize("model", ["complex", "rescal", "tucker"])
def test_questions_asked_once_have_the_gradient_of_each_triple_against_all(model: str, reciprocal: bool) -> None:
    more = {"n3": 0.1, "regularization": 0.2, "duality": 0.3, "label_smoothing": 0.1, "batch_norm": False}
    graph = np.concatenate([grid(), [[0, 0, 7], [0, 0, 13], [3, 1, 1]]])  # some questions have several answers
    found = []
    for together in (1, 2, 99):
        recipe = replace(PLAIN, model=model, together=together, batch_size=99, reciprocal=reciprocal, **more)
        run = QueryTraining(graph, 24, 2, recipe)
        [batch] = run._batches()
        assert sum(len(rows) for _, rows in batch) == 2 * len(graph)
        found.append((run._step(batch), {name: value.grad for name, value in run.values.items()}))
    (loss, slopes), *others = found
    for other, gained in others:
        assert other == pytest.approx(loss, rel=1e-5)
        for name, slope in slopes.items():
            torch.testing.assert_close(gained[name], slope, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("reciprocal", [True, False])
def test_triples_of_a_question_come_together_and_each_comes_once_an_epoch(reciprocal: bool) -> None:
    graph = np.array([(head, 0, 4 + tail) for head in range(4) for tail in range(20)])
    recipe = replace(PLAIN, together=5, batch_size=10, reciprocal=reciprocal)
    run = QueryTraining(graph, 24, 1, recipe)
    first, second = ([[*batch] for batch in run._batches()] for _ in range(2))
    for steps in (first, second):
        asked = sorted((side, *row) for batch in steps for side, rows in batch for row in rows.tolist())
        assert asked == sorted((side, *row) for side, rows in run.asked for row in rows.tolist())
        assert [sum(len(rows) for _, rows in batch) for batch in steps] == [20] * 8
    if not reciprocal:  # two heads with five tails each
        assert {len(np.unique(batch[0][1][:, 0])) for batch in first} <= {1, 2}
    assert not all(np.array_equal(one[0][1], other[0][1]) for one, other in zip(first, second, strict=True))
