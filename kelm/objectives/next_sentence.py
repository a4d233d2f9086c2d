"""Next sentence prediction: does the second sentence follow the first?

[CLS] state -> tanh(dense) -> classifier -> follows, or does not

Source: Devlin et al., 2019, section 3.1, task 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Encoded, Part, Texts
from kelm.data.corpus import Text
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.typing import Float, Int, Tensor

__all__ = ["NextSentence", "NextSentenceHead", "attach_next_sentence"]


@dataclass(frozen=True, slots=True)
class NextSentence(Part):
    """Of which texts it is asked, and the answer: 1 if the second sentence follows the first, else 0."""

    indices: ClassVar = {"text": "text"}
    text: Int[Tensor, "pair"]
    follows: Int[Tensor, "pair"]


def attach_next_sentence(encoded: Encoded, text: Text) -> Encoded:
    """Returns the pair with the part `NextSentence`; `text` comes from `SentencePairs`."""
    return encoded.having(NextSentence(torch.zeros(1).long(), torch.tensor([int(text.fields["follows"])])))


class NextSentenceHead(nn.Module):
    """Two scores for each pair of sentences."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, 2)
        for layer in (self.dense, self.classifier):
            nn.init.normal_(layer.weight, std=config.initializer_range)
            nn.init.zeros_(layer.bias)

    def scores(self, batch: Batch, stream: Stream) -> Float[Tensor, "pair answer"]:
        texts, asked = batch[Texts], batch[NextSentence].text
        first = stream.hidden[texts.row[asked], texts.first[asked]]
        scores: Tensor = self.classifier(torch.tanh(self.dense(first)))
        return scores

    def loss(self, batch: Batch, stream: Stream) -> Float[Tensor, ""]:
        """Returns the summed cross-entropy."""
        return cross_entropy(self.scores(batch, stream), batch[NextSentence].follows, reduction="sum")
