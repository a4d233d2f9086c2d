"""The entity vectors of the batches before, as further negatives that cost no pass of the encoder.

    [ ......... oldest   |   batch n-2   |   batch n-1 ]   ← batch n        first in, first out; `size` vectors

They are detached and a little out of date, as the encoder has moved on since. A place that nothing fills has id -1. The
buffers are part of the weights of a checkpoint, so that a run goes on exactly.

Source: Wang et al., 2022 (SimKGC), section 3.3, pre-batch negatives; their queue is of whole batches of one size.
"""

from __future__ import annotations

import torch
from torch import nn

from kelm.typing import Bool, Float, Int, Tensor

__all__ = ["EarlierVectors"]


class EarlierVectors(nn.Module):
    """A queue of vectors with the ids of their entities.

    >>> queue = EarlierVectors(3, 2)
    >>> queue.push(torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.tensor([7, 9]))
    >>> queue.push(torch.tensor([[3.0, 3.0], [4.0, 4.0]]), torch.tensor([5, 6]))
    >>> queue.entities.tolist()
    [9, 5, 6]
    """

    vectors: Float[Tensor, "place width"]
    entities: Int[Tensor, "place"]
    offsets: Float[Tensor, "place"]

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("vectors", torch.zeros(size, width))
        self.register_buffer("entities", torch.full((size,), -1))
        self.register_buffer("offsets", torch.zeros(size))

    @torch.no_grad()
    def push(
        self,
        vectors: Float[Tensor, "entity width"],
        entities: Int[Tensor, "entity"],
        offsets: Float[Tensor, "entity"] | None = None,
    ) -> None:
        """Adds vectors at the end; the oldest leave. One that is not finite, which spoils its step only, has no id.

        Args:
            offsets: what is added to each one's scores; None: nothing.
        """
        finite = vectors.isfinite().all(1)
        kept = torch.where(finite[:, None], vectors, 0.0).to(self.vectors.dtype)
        ids = torch.where(finite, entities, -1)
        # in place: processes of a run share the buffers
        self.vectors.copy_(torch.cat((self.vectors, kept))[-self.size :])
        self.entities.copy_(torch.cat((self.entities, ids))[-self.size :])
        added = torch.zeros_like(ids, dtype=self.offsets.dtype) if offsets is None else offsets
        self.offsets.copy_(torch.cat((self.offsets, added))[-self.size :])

    def allowed(
        self, questions: int, question: Int[Tensor, "known"], entity: Int[Tensor, "known"]
    ) -> Bool[Tensor, "question place"]:
        """Returns which vectors are negatives of each question.

        Args:
            question, entity: the known answers.
        """
        span = 2**32  # beyond every id
        numbers = torch.arange(questions, device=self.entities.device)
        keys = numbers[:, None] * span + self.entities[None]
        return ~torch.isin(keys, question * span + entity) & (self.entities >= 0)[None]
