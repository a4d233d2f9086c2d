"""What extensions with a part for each language share: which tokens are whose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from kelm.batch import Batch
from kelm.typing import Bool, Tensor
from multilingual.languages import Languages, number_of

__all__ = ["tokens_by_language"]


def tokens_by_language(batch: Batch, codes: Sequence[str]) -> Iterator[tuple[str, Bool[Tensor, "row token"]]]:
    """Yields languages with which tokens are in them; those that the batch lacks are left out, except in a graph."""
    if Languages not in batch:
        return
    told = batch[Languages].per_token(batch.tokens.shape)
    numbers = {code: number_of(code) for code in codes}
    if not torch.compiler.is_compiling():  # a graph may not depend on what is in the batch
        present = set(batch[Languages].language.tolist())
        numbers = {code: number for code, number in numbers.items() if number in present}
    for code, number in numbers.items():
        yield code, told == number
