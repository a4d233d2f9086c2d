"""An encoder that is asked for its first layers only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kelm.batch import Encoded, pack
from kelm.model import Encoder, EncoderConfig, Extension, Stream


class Doubled(Extension):
    """Ends the encoder with twice its states."""

    def finish(self, stream: Stream) -> Stream:
        return stream.having(hidden=2 * stream.hidden)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta-xl"])
def test_the_first_layers_give_what_all_of_them_pass_by(family: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
    encoder = Encoder(EncoderConfig(family=family, vocab_size=20, **sizes)).eval()
    encoder.extensions["doubled"] = Doubled(encoder.config)
    place = np.arange(6)
    text = Encoded("", place + 5, np.stack([place, place + 1], 1), place, np.zeros_like(place))
    batch = pack([text], pad=0)
    trail = encoder.encode(batch, trail=True).trail
    for layers in range(3):
        some = encoder.encode(batch, layers=layers, trail=True)
        assert torch.equal(some.hidden, trail[layers]) and len(some.trail) == layers + 1
    assert torch.equal(encoder.encode(batch, layers=3).hidden, trail[3])
    assert not torch.equal(some.hidden, trail[3])
