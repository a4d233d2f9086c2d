"""Masked language modelling of documents that change language from sentence to sentence (Unicoder).

    <s> a [MASK] c </s> D E </s> [MASK] g </s>      --encoder-->   -log p("b"), -log p("f")      summed over targets

It is `mlm` under a name of its own, so that a run can have both; the corpus is `translated_documents`.
Source: Huang et al., 2019 (Unicoder), section 3.2, cross-lingual masked language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kelm.model.config import EncoderConfig
from kelm.objectives.base import Objective
from kelm.objectives.masking import Kind
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.tokenizer import Tokenizer

__all__ = ["DocumentLanguageModel"]


class DocumentLanguageModel(MaskedLanguageModel):
    """Masked language modelling with the head of the objective `mlm`, where a run has both.

    Args:
        rate, kind, mask_share, random_share, stop, longest, rarity, counts: see `MaskedLanguageModel`.

    Raises:
        VocabularyMismatch: the tokenizer and the model have different vocabularies.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tokenizer: Tokenizer,
        rate: float = 0.15,
        kind: Kind = "token",
        mask_share: float = 0.8,
        random_share: float = 0.1,
        stop: float = 0.2,
        longest: int = 10,
        rarity: float = 0.0,
        counts: str | None = None,
    ) -> None:
        super().__init__(
            config,
            tokenizer=tokenizer,
            rate=rate,
            kind=kind,
            mask_share=mask_share,
            random_share=random_share,
            stop=stop,
            longest=longest,
            rarity=rarity,
            counts=counts,
        )
        self.name = "document_lm"
        self.collate = replace(self.collate, objective=self.name)

    def join(self, others: Mapping[str, Objective[Any]]) -> None:
        if isinstance(other := others.get("mlm"), MaskedLanguageModel):
            self.head = other.head
