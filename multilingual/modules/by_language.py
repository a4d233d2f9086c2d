"""What extensions with a part for each language share: which tokens are whose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from kelm.batch import Batch
from kelm.errors import InputError
from kelm.typing import Bool, Tensor
from multilingual.languages import Languages, language, number_of

__all__ = ["codes_of", "tokens_by_language"]


def codes_of(languages: Sequence[str]) -> list[str]:
    """Returns the codes of languages, each named once.

    Raises:
        InputError: no language, an unknown one, or one twice.
    """
    codes = [language(tag, "languages") for tag in languages]
    if not codes or len(set(codes)) < len(codes):
        raise InputError(f"languages are {list(languages)}", field="languages", remedy="Name each once.")
    return codes


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
