"""Masked language modelling of documents that change language from sentence to sentence (Unicoder).

    <s> a [MASK] c </s> D E </s> [MASK] g </s>      --encoder-->   -log p("b"), -log p("f")      summed over targets

It is `mlm` under a name of its own, so that a run can have both; the corpus is `translated_documents`.
Source: Huang et al., 2019 (Unicoder), section 3.2, cross-lingual masked language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kelm.objectives.base import Objective
from kelm.objectives.mlm import MaskedLanguageModel

__all__ = ["DocumentLanguageModel"]


class DocumentLanguageModel(MaskedLanguageModel):
    """Masked language modelling with the head of the objective `mlm`, where a run has both; options are the same."""

    NAME: ClassVar = "document_lm"

    def join(self, others: Mapping[str, Objective[Any]]) -> None:
        if isinstance(other := others.get("mlm"), MaskedLanguageModel):
            self.head = other.head
