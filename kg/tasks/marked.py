"""The states that a classifier reads of a text with marked mentions, beside those of any text (`kelm.tasks.states`).

"markers"    the marker before it     one vector a mention (Baldini Soares et al., 2019)
"mentions"   its first token          one a mention
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.tasks.states import TextState, TextStates

__all__ = ["State", "marked_states"]

State = TextState | Literal["markers", "mentions"]


def marked_states(
    config: EncoderConfig, states: Sequence[State], mentions: int, encoder: Encoder | None = None
) -> TextStates:
    """Returns what reads the states; its `places` are "markers" and "mentions".

    Args:
        mentions: how many are marked in a text.
        encoder: only asked for its pooler, not kept.

    Raises:
        UnknownName: there is no such state.
    """
    return TextStates(config, states, encoder, {"markers": mentions, "mentions": mentions})
