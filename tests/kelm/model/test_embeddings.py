"""The word embeddings' gradient: of lookups, of a tied head, and of both, the one that autograd gives a plain table."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kelm.model.embeddings import look_up

WORDS, WIDTH, PAD = 11, 6, 0


def table() -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(WORDS, WIDTH, padding_idx=PAD, dtype=torch.float64)


def loss(vectors: torch.Tensor, vocabulary: torch.Tensor, used: str) -> torch.Tensor:
    states = vectors.tanh().mean(1)
    lookup = states.square().sum()
    head = nn.functional.cross_entropy(states @ vocabulary.T, torch.tensor([3, 5]), reduction="sum")
    return {"lookup": lookup, "head": head.detach() + 0 * lookup + head - head.detach(), "both": lookup + head}[used]


@pytest.mark.parametrize("used", ["lookup", "head", "both"])
def test_the_gradient_is_that_of_a_plain_lookup(used: str) -> None:
    plain, tokens = table(), torch.tensor([[1, 3, 3, PAD], [10, 1, 5, PAD]])
    ours = copy.deepcopy(plain)
    for _ in range(2):  # the second batch adds to the first's gradient
        loss(plain(tokens), plain.weight, used).backward()
        loss(*look_up(ours, tokens), used).backward()
    assert ours.weight.grad is not None and plain.weight.grad is not None
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)


def test_without_gradients_and_for_another_kind_of_table_it_is_a_plain_lookup() -> None:
    class Doubled(nn.Embedding):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    tokens = torch.tensor([[1, 3]])
    other = Doubled(WORDS, WIDTH)
    vectors, vocabulary = look_up(other, tokens)
    assert torch.equal(vectors, 2 * other.weight[tokens])
    assert vocabulary is other.weight
    with torch.no_grad():
        assert look_up(table(), tokens)[1].requires_grad is True
    frozen = table().requires_grad_(False)
    assert look_up(frozen, tokens)[1] is frozen.weight
