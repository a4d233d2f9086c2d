"""Translation language modelling: guess hidden words of a sentence and of its translation, from both.

    <s> the [MASK] ran </s> </s> der Hund [MASK] </s>   -->   "dog" from "Hund", "lief" from "ran"
    0   1   2      3   4    0    1   2    3      4            restart: the second counts anew, as if it were alone
    0   1   2      3   4         5   6    7      8            running: one sequence, and one separator between

Masking is that of `kelm.objectives.masking`, over both sides at once. Languages are told by vectors if the model has
the extension `language_embedding`.
Source: Conneau and Lample, 2019 (XLM), section 3.3, and its code (restart); Chi et al., 2021 (InfoXLM), whose code
joins the sides in one running sequence. Padding has no language here, of which the original gives it the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from kelm.batch import Batch, Encoded
from kelm.errors import InputError, closest
from kelm.model.config import EncoderConfig
from kelm.objectives.base import Objective
from kelm.objectives.masking import Kind
from kelm.objectives.mlm import MaskedLanguageModel, MaskedLanguageModelCollate
from kelm.text.tokenizer import Tokenizer

__all__ = ["Layout", "TranslationLanguageModel", "TranslationLanguageModelCollate", "laid_out"]

Layout = Literal["restart", "running"]


def laid_out(text: Encoded, layout: Layout, before: int = 1) -> Encoded:
    """Returns a pair with the positions, and with "running" the one separator, of a layout.

    Args:
        before: special tokens before the first text; those before the second count as they do.

    Raises:
        InputError: it is no pair.
    """
    second = text.segments.nonzero()[0]
    if not len(second):
        raise InputError(
            f"{text.origin or text.text[:40]!r} has no translation beside it",
            field="corpus",
            remedy="Read pairs: the corpus parallel_text, or a corpus with `pair`.",
        )
    at = int(second[0])
    between = at - 1 - int(np.flatnonzero(text.words[:at] >= 0)[-1]) if (text.words[:at] >= 0).any() else at - before
    if layout == "running":
        return _without(text, at - 1) if between > 1 else text
    positions = np.arange(len(text))
    opened = max(0, min(between - 1, before))  # separators that open the second text; the first one closes the first
    positions[at - opened :] -= at - before
    return text.having(positions=positions)


def _without(text: Encoded, place: int) -> Encoded:
    """Returns the text without a special token."""
    kept = np.delete(np.arange(len(text)), place)
    moved = torch.arange(len(text)) - (torch.arange(len(text)) >= place).long()
    parts = [part.placed(moved.clamp(min=0)) for part in text.parts.values()]
    columns = {name: getattr(text, name)[kept] for name in ("tokens", "spans", "words", "segments")}
    return text.having(*parts, **columns)


@dataclass(frozen=True, slots=True)
class TranslationLanguageModelCollate:
    """Lays pairs out, masks and packs them.

    Attributes:
        before: special tokens before a text.
    """

    masked: MaskedLanguageModelCollate
    layout: Layout
    before: int

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        """Returns the batch.

        Raises:
            InputError: a text is no pair.
        """
        return self.masked([laid_out(text, self.layout, self.before) for text in texts], seed)


class TranslationLanguageModel(MaskedLanguageModel):
    """Masked language modelling over pairs. Its head is that of the objective `mlm`, where a run has both.

    Args:
        layout: "restart" (XLM) or "running" (InfoXLM, XLM-R).
        rate, kind, mask_share, random_share, stop, longest, rarity, counts: see `MaskedLanguageModel`.

    Raises:
        InputError: there is no such layout.
        VocabularyMismatch: the tokenizer and the model have different vocabularies.
    """

    collate: Any

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tokenizer: Tokenizer,
        layout: Layout = "restart",
        rate: float = 0.15,
        kind: Kind = "token",
        mask_share: float = 0.8,
        random_share: float = 0.1,
        stop: float = 0.2,
        longest: int = 10,
        rarity: float = 0.0,
        counts: str | None = None,
    ) -> None:
        if layout not in get_args(Layout):
            known = ", ".join(get_args(Layout))
            raise InputError(f'"{layout}" is none of {known}', field="layout", remedy=closest(layout, get_args(Layout)))
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
        self.name = "tlm"
        masked = MaskedLanguageModelCollate(self.collate.masking, self.collate.pad, self.name)
        self.collate = TranslationLanguageModelCollate(masked, layout, len(tokenizer.template.before))

    def join(self, others: Mapping[str, Objective[Any]]) -> None:
        if isinstance(other := others.get("mlm"), MaskedLanguageModel):
            self.head = other.head
