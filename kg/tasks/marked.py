"""What tasks on marked texts share: how texts become a batch, and the states that a classifier reads of each.

"pooled"     tanh(dense([CLS])), as BERT and ERNIE read it     one vector a text
"first"      [CLS] as it leaves the encoder                    one a text
"markers"    the marker before it                              one a mention (Baldini Soares et al., 2019)
"mentions"   its first token                                   one a mention
"mean"       the mean of all tokens                            one a text
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from kelm.batch import Batch, Encoded, Texts, pack
from kelm.errors import KelmError, UnknownName, closest
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder, Pooler
from kelm.model.extension import Stream
from kelm.model.pooling import span_means
from kelm.typing import Float, Int, Tensor
from kg.enrich.labels import Numbering, key_of

__all__ = ["MarkedCollate", "MarkedStates", "State"]

State = Literal["pooled", "first", "markers", "mentions", "mean"]
OF_MENTIONS: Mapping[State, bool] = {
    "pooled": False,
    "first": False,
    "markers": True,
    "mentions": True,
    "mean": False,
}


@dataclass(frozen=True)
class MarkedCollate:
    """Packs; nothing is corrupted.

    Attributes:
        labels: the task's; texts whose labels are numbered by another list are refused (KelmError).
    """

    pad: int
    objective: str
    labels: tuple[str, ...]
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        key = key_of(self.labels)
        for text in texts:
            if Numbering in text.parts and int(text[Numbering].key[0]) != key:
                raise KelmError(
                    f"{text.origin}: the corpus numbers its labels by another list than {self.objective}. "
                    "Give both the same names in the same order, or the same file."
                )
        units = {self.objective: len(texts)}
        return pack(texts, pad=self.pad, objective=self.objective, room=self.room, units=units)


class MarkedStates(nn.Module):
    """Reads the states of each text, one after another.

    The pooler is the classifier's own. It starts as a copy of the encoder's, which a BERT checkpoint brings along, and
    afresh where the encoder has none.

    Args:
        states: which, see above.
        mentions: how many are marked in a text.
        encoder: only asked for its pooler, not kept.

    Raises:
        UnknownName: there is no such state.
    """

    def __init__(
        self, config: EncoderConfig, states: Sequence[State], mentions: int, encoder: Encoder | None = None
    ) -> None:
        super().__init__()
        for state in states:
            if state not in OF_MENTIONS:
                raise UnknownName(f'no state is called "{state}"', field="states", remedy=closest(state, OF_MENTIONS))
        self.states = tuple(states)
        self.width = config.hidden_size * sum(mentions if OF_MENTIONS[state] else 1 for state in states)
        self.pooler = _pooler(config, encoder) if "pooled" in states else None

    def forward(
        self,
        batch: Batch,
        stream: Stream,
        text: Int[Tensor, "text"],
        mentions: Int[Tensor, "text mention"],
        markers: Int[Tensor, "text mention"],
    ) -> list[Float[Tensor, "text feature"]]:
        """Returns the vectors of each state.

        Args:
            text: numbers of the texts asked about.
            mentions, markers: places in the text's row.
        """
        texts, hidden = batch[Texts], stream.hidden
        row, first, last = texts.row[text], texts.first[text], texts.last[text]
        read: list[Tensor] = []
        for state in self.states:
            if state == "pooled":
                assert self.pooler is not None
                read.append(self.pooler(hidden[row, first]))
            elif state == "first":
                read.append(hidden[row, first])
            elif state == "mean":
                read.append(span_means(hidden, row, first, last))
            else:
                places = markers if state == "markers" else mentions
                read += [hidden[row, place] for place in places.unbind(1)]
        return read


def _pooler(config: EncoderConfig, encoder: Encoder | None) -> Pooler:
    if encoder is not None and encoder.pooler is not None:
        return copy.deepcopy(encoder.pooler)
    fresh = Pooler(config)
    nn.init.normal_(fresh.dense.weight, std=config.initializer_range)
    nn.init.zeros_(fresh.dense.bias)
    return fresh
