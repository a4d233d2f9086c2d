"""The vocabulary head at the size of XLM-R's vocabulary: its memory is measured, not believed."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kelm.batch import Batch, Encoded, Targets
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.tokenizer import Tokenizer
from kelm.training.learner import Learner

WORDS, ROWS, TOKENS, WIDTH = 250_002, 4, 512, 4
CHUNK = 2**23 // WORDS  # targets


class Memory(TorchDispatchMode):
    """Counts what every operation creates: bytes alive at once, the largest tensor, rows of scores over the words."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = self.largest = self.scored = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        given = {tensor.untyped_storage().data_ptr() for tensor in tensors((arguments, options))}
        made = operation(*arguments, **(options or {}))
        for tensor in tensors(made):
            if tensor.untyped_storage().data_ptr() not in given:  # neither a view nor in place
                self._note(tensor)
        if operation in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default) and made.shape[-1] == WORDS:
            self.scored += made.shape[0]
        return made

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self.alive += storage.nbytes()
        self.peak, self.largest = max(self.peak, self.alive), max(self.largest, storage.nbytes())
        weakref.finalize(storage, self._gone, storage.nbytes())

    def _gone(self, size: int) -> None:
        self.alive -= size


def tensors(nested: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(nested) if isinstance(leaf, torch.Tensor)]


class WordList:
    """As much of a tokenizer as the objective asks for."""

    pad, mask, special, vocabulary_size = 0, 4, frozenset(range(5)), WORDS


@pytest.fixture(scope="module")
def learner() -> Learner:
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=TOKENS,
        pooler=False,
    )
    objective = MaskedLanguageModel(config, tokenizer=cast(Tokenizer, WordList()))
    return Learner(Encoder(config), [objective])


@pytest.fixture(scope="module")
def batch(learner: Learner) -> Batch:
    objective = learner.objectives["mlm"]
    assert isinstance(objective, MaskedLanguageModel)
    return objective.collate([text(number) for number in range(ROWS)], 0)


def text(number: int) -> Encoded:
    tokens = np.random.default_rng(number).integers(5, WORDS, TOKENS)
    count = np.arange(TOKENS)
    return Encoded("", tokens, np.stack([count, count + 1], 1), count, np.zeros_like(count), number=number)


def test_a_step_over_a_large_vocabulary_holds_three_chunks_of_logits_and_never_tokens_by_words(
    learner: Learner, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alive at once are a chunk's logits or its gradient, its log-softmax and that one's gradient."""
    monkeypatch.setattr("kelm.model.heads.LOGITS_AT_ONCE", 2**23)  # an eighth, as a test should be quick
    targets = len(batch[Targets].label)
    assert batch.tokens.shape == (ROWS, TOKENS)
    assert targets > 8 * CHUNK
    with Memory() as memory:
        loss = learner(batch)["mlm"]
        assert memory.scored == targets  # not one position more
        loss.backward()
    assert loss.item() / targets == pytest.approx(np.log(WORDS), rel=0.1)
    chunk = 4 * CHUNK * WORDS  # bytes
    assert memory.largest == chunk
    assert 3 * chunk < memory.peak < 3.8 * chunk  # the rest: the table's gradient, the encoder's states
    assert memory.peak < 4 * ROWS * TOKENS * WORDS / 15


def test_the_measure_sees_logits_that_are_computed_everywhere() -> None:
    """What the test above would say of a head that scores every position."""
    states, table = torch.zeros(2, 5, WIDTH, requires_grad=True), torch.zeros(WORDS, WIDTH)
    with Memory() as memory:
        torch.nn.functional.linear(states, table).sum().backward()
    assert memory.scored == 2 * 5
    assert memory.largest == 4 * 2 * 5 * WORDS
