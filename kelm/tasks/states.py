"""The states that a classifier reads of each text.

"pooled"     tanh(dense([CLS])), as BERT reads it     one vector a text
"first"      [CLS] as it leaves the encoder           one a text
"mean"       the mean of its tokens, branches aside                   one a text
"max"        the highest value of each feature, likewise              one a text
"last"       the last token as it leaves the encoder                  one a text

["last", "max", "mean"] is ULMFiT's and MultiFiT's concat pooling (Howard and Ruder, 2018, section 3.3).
A task may name more: states of tokens that a part points at, such as markers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from torch import nn

from kelm.batch import Batch, Texts
from kelm.errors import InputError, UnknownName, closest
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder, Pooler
from kelm.model.extension import Stream
from kelm.model.pooling import span_maxima, span_means
from kelm.typing import Float, Int, Tensor

__all__ = ["TextState", "TextStates"]

TextState = Literal["pooled", "first", "mean", "max", "last"]
OF_TEXTS: Sequence[TextState] = get_args(TextState)


class TextStates(nn.Module):
    """Reads the states of each text, one after another.

    The pooler is the classifier's own. It starts as a copy of the encoder's, which a BERT checkpoint brings along, and
    afresh where the encoder has none.

    Args:
        states: which, see above.
        encoder: only asked for its pooler, not kept.
        tokens: further states by name, and of how many tokens of a text each is read.

    Raises:
        UnknownName: there is no such state.
        InputError: a recurrent network's first state is asked for, which has read nothing but the first token.
    """

    def __init__(
        self,
        config: EncoderConfig,
        states: Sequence[str],
        encoder: Encoder | None = None,
        tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        counts: dict[str, int] = {**dict.fromkeys(OF_TEXTS, 1), **(tokens or {})}
        for state in states:
            if state not in counts:
                raise UnknownName(f'no state is called "{state}"', field="states", remedy=closest(state, counts))
        if config.recurrent and {"pooled", "first"} & set(states):
            raise InputError(
                "the first state of a recurrent network has read the first token only",
                field="states",
                remedy='Set states = ["last", "max", "mean"].',
            )
        self.states = tuple(states)
        self.width = config.hidden_size * sum(counts[state] for state in states)
        self.pooler = _pooler(config, encoder) if "pooled" in states else None

    def forward(
        self,
        batch: Batch,
        stream: Stream,
        text: Int[Tensor, "text"],
        places: Mapping[str, Int[Tensor, "text place"]] | None = None,
    ) -> list[Float[Tensor, "text feature"]]:
        """Returns the vectors of each state.

        Args:
            text: numbers of the texts asked about.
            places: of each further state, the tokens of each text's row at which it is read.
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
            elif state == "last":
                read.append(hidden[row, last])
            elif state in ("mean", "max"):
                branch = batch.visibility.branch  # what hangs on a mention is no word of the text
                pool = span_means if state == "mean" else span_maxima
                read.append(pool(hidden, row, first, last, None if branch is None else branch == 0))
            else:
                read += [hidden[row, place] for place in (places or {})[state].unbind(1)]
        return read


def _pooler(config: EncoderConfig, encoder: Encoder | None) -> Pooler:
    if encoder is not None and encoder.pooler is not None:
        return copy.deepcopy(encoder.pooler)
    fresh = Pooler(config)
    nn.init.normal_(fresh.dense.weight, std=config.initializer_range)
    nn.init.zeros_(fresh.dense.bias)
    return fresh
