"""How well a model knows a text, in bits a character, so that models with different vocabularies can be compared.

    reading 0    ░░░ cat sat on ░░░ mat .          every word is hidden in one of `turns` readings, whole
    reading 1    the ░░░ sat on the ░░░ .          bits = -sum of log2 p(piece) over all pieces of the text
    ...                                            bits a character = bits / characters, spaces included

Words end at spaces, whatever the pieces. The number of a word's pieces is told by that of its masks, which favors small
pieces, and they are guessed apart, which favors large ones.
Source: pseudo-log-likelihood, Salazar et al., 2020, section 2.1; whole words: Kauf and Ivanova, 2023.
Differs from them: several words, far apart, are hidden in a reading, to save readings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from kelm.batch import Batch, Encoded, Targets, pack
from kelm.data.bucketing import bucketed
from kelm.errors import InputError
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.training.learner import Learner

__all__ = ["bits_per_character", "readings"]


def readings(text: Encoded, mask: int, turns: int) -> Iterator[Encoded]:
    """Yields the text once for each turn in which a word of it is hidden, with its `Targets`."""
    own = text.words >= 0
    for turn in range(turns):
        hidden = (own & (text.words % turns == turn)).nonzero()[0]
        if len(hidden):
            seen = text.tokens.copy()
            seen[hidden] = mask
            places, labels = torch.from_numpy(hidden), torch.from_numpy(text.tokens[hidden])
            yield text.having(Targets(torch.zeros_like(places), places, labels), tokens=seen)


@torch.no_grad()
def bits_per_character(
    learner: Learner, texts: Sequence[Encoded], *, mask: int, pad: int, turns: int = 8, tokens: int = 8192
) -> float:
    """Returns the bits of a character; the learner has the objective `mlm` and should be in evaluation mode.

    Args:
        turns: readings of a text; every so many-th word is hidden.
        tokens: that are read at once.

    Raises:
        InputError: there is no character.

    Cost: `turns` readings of each text.
    """
    characters = sum(len(text.text) for text in texts)
    if not characters:
        raise InputError("there is no text to judge by", field="texts", remedy="Give at least one that is not empty.")
    objective = learner.objectives["mlm"]
    assert isinstance(objective, MaskedLanguageModel)
    shown = [reading for text in texts for reading in readings(text, mask, turns)]
    device = next(learner.parameters()).device
    nats = 0.0
    for numbers in bucketed([len(text) for text in shown], tokens, None):
        batch: Batch = pack([shown[number] for number in numbers], pad=pad, objective="mlm").to(device)
        nats += float(objective.loss(batch, learner.read(batch))["mlm"].double())
    return nats / math.log(2) / characters
