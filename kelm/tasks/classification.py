"""Text classification: one of several labels for a text, or for a pair of texts that are read together.

    [CLS] a fine film [SEP]                              ->   positive
    [CLS] a man sleeps [SEP] a man is awake [SEP]        ->   contradiction

    loss = (1 - ε) · -log p(gold) + ε/C · Σ_c -log p(c)           C: the number of labels, ε: `smoothing`

Source: Devlin et al., 2019, section 4.1; label smoothing: Szegedy et al., 2016, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Encoded, Texts
from kelm.data.labeled_text import Label
from kelm.data.labels import label_names
from kelm.errors import InputError
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.tasks.classifier import Classifier
from kelm.tasks.collate import LabelCollate
from kelm.tasks.measures import classification_scores
from kelm.tasks.states import TextState, TextStates
from kelm.typing import Float, Tensor

__all__ = ["TextClassification"]


class TextClassification(Task[Encoded, str]):
    """One of several labels for each text.

    Args:
        labels: their names, in the order of `Label.label`, or a file that holds them (see `kelm.data.labels`), in which
            their column is called "label".
        states: what the classifier reads: "pooled" (BERT), "first", "mean", or several of them; see `TextStates`.
        hidden: width of a tanh layer before the classifier; 0: none.
        norm: norm what the classifier reads, for a QRNN.
        smoothing: share ε of the probability that is given to all labels alike.
        smoothing_by_labels: ε is `smoothing` / C instead, as in the code of MultiFiT (Eisenschlos et al., 2019).
        encoder: only asked for the pooler to start with, not kept.
        room: tokens a row may hold; several short texts then share one.
    """

    main_score = "accuracy"

    def __init__(
        self,
        config: EncoderConfig,
        *,
        labels: Sequence[str] | str,
        states: Sequence[TextState] = ("pooled",),
        hidden: int = 0,
        dropout: float = 0.1,
        norm: bool = False,
        smoothing: float = 0.0,
        smoothing_by_labels: bool = False,
        encoder: Encoder | None = None,
        room: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise InputError(
                f"expected a share from 0 to below 1, found {smoothing}", field="smoothing", remedy="0.1 is usual."
            )
        self.name = "classification"
        self.labels = label_names(labels, "label")
        self.smoothing = smoothing / len(self.labels) if smoothing_by_labels else smoothing
        self.states = TextStates(config, states, encoder)
        self.classifier = Classifier(
            config, self.states.width, len(self.labels), hidden=hidden, dropout=dropout, norm=norm
        )
        self.collate = LabelCollate(config.pad_token_id, self.name, self.labels, room)

    def logits(self, batch: Batch, stream: Stream) -> Float[Tensor, "text label"]:
        every = torch.arange(len(batch[Texts].row), device=stream.hidden.device)
        scores: Tensor = self.classifier(torch.cat(self.states(batch, stream, every), dim=-1))
        return scores

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        asked = batch[Label]
        logits = self.logits(batch, stream)[asked.text]
        return {self.name: cross_entropy(logits, asked.label, reduction="sum", label_smoothing=self.smoothing)}

    def predict(self, batch: Batch, stream: Stream) -> list[str]:
        return [self.labels[number] for number in self.logits(batch, stream).argmax(-1).tolist()]

    def judged(self, batch: Batch, stream: Stream) -> list[tuple[str, float]]:
        """Returns the answer to each text with its probability."""
        probabilities, numbers = self.logits(batch, stream).softmax(-1).max(-1)
        return [
            (self.labels[number], sure) for number, sure in zip(numbers.tolist(), probabilities.tolist(), strict=True)
        ]

    def gold(self, texts: Sequence[Encoded]) -> list[str]:
        return [self.labels[int(text[Label].label[0])] for text in texts]

    def score(self, gold: Sequence[str], predicted: Sequence[str]) -> Scores:
        """Returns accuracy, macro F1, micro F1 and Matthews' correlation."""
        return classification_scores(gold, predicted)
