"""A vector for each language, added to the words in it, so that the model is told what it reads.

    word vector + language vector (+ position, type)  -->  norm  -->  layers      by token, as a pair has two languages

A language that the table does not hold adds nothing, nor does a text whose languages nobody tells. Muted, none does.
Source: Conneau and Lample, 2019 (XLM), section 3.1 and the original code; XLM-R leaves them out. The vectors start at
zero, those of a fresh model at random if `std` says so (the original: width ** -.5).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from kelm.batch import Batch
from kelm.errors import InputError
from kelm.model.config import EncoderConfig
from kelm.model.extension import Extension
from kelm.typing import Float, Tensor
from multilingual.languages import Languages, codes_of, number_of

__all__ = ["LanguageEmbedding"]


class LanguageEmbedding(Extension):
    """Adds language vectors. Registered as ``language_embedding``; reads the part `Languages`.

    Args:
        languages: their codes.
        std: standard deviation of the vectors at the start.

    Raises:
        InputError: no language, an unknown one, one twice, or a negative `std`.
    """

    numbers: Tensor

    def __init__(self, config: EncoderConfig, *, languages: Sequence[str] = ("en",), std: float = 0.0) -> None:
        super().__init__(config)
        if std < 0:
            raise InputError(f"std is {std}", field="std", remedy="Give 0 or more.")
        codes = codes_of(languages)
        self.options = {"languages": codes, "std": std}
        self.languages = tuple(sorted(codes, key=number_of))
        self.register_buffer("numbers", torch.tensor([number_of(code) for code in self.languages]))
        self.vectors = nn.Embedding(len(codes), config.hidden_size)
        nn.init.normal_(self.vectors.weight, std=std)

    def embed(self, vectors: Float[Tensor, "row token width"], batch: Batch) -> Float[Tensor, "row token width"]:
        if self.muted or Languages not in batch:
            return vectors
        told = batch[Languages].per_token(batch.tokens.shape)
        place = torch.searchsorted(self.numbers, told).clamp(max=len(self.numbers) - 1)
        known = (self.numbers[place] == told)[..., None]
        return vectors + torch.where(known, self.vectors(place), 0.0)
