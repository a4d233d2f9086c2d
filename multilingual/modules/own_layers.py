"""Lower layers of its own for each language, below layers that all share: how much has to be shared for transfer?

    en   own 1 - own 2 \\
                        shared 3 - ... - shared 12           own = 2
    de   own 1 - own 2 /

A token goes through the layers of its language; one whose language has none, or that nobody tells, through those of the
encoder. A pair of sentences in two languages is read by both languages' layers, each token's state is that of its own.
Source: Conneau, Wu et al., 2020 (Emerging cross-lingual structure), section 4.3: embeddings and the lowest 3 or 6 of 12
layers apart. Embeddings of its own are a vocabulary of its own: see `multilingual.study.sharing`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from kelm.errors import InputError
from kelm.model import Encoder
from kelm.model.config import EncoderConfig
from kelm.model.extension import Extension, Step, Stream
from kelm.model.layers import Layer
from multilingual.languages import codes_of
from multilingual.modules.by_language import tokens_by_language

__all__ = ["OwnLayers"]


class OwnLayers(Extension):
    """Lowest layers for each language. Registered as ``own_layers``; reads the part `Languages`.

    All languages start from the same random weights; `start_from` takes those of the encoder.

    Args:
        languages: their codes.
        own: how many of the lowest layers are each language's own.

    Raises:
        InputError: no language, an unknown one, one twice, or more layers than the encoder has.

    Cost: of the lowest layers one pass for each language of a batch, and one more; batches of one language are cheap.
    """

    innermost = True

    def __init__(self, config: EncoderConfig, *, languages: Sequence[str] = ("en",), own: int = 1) -> None:
        super().__init__(config)
        if not 0 <= own <= config.num_hidden_layers:
            remedy = f"Give 0 to {config.num_hidden_layers}."
            raise InputError(f"own is {own}", field="own", remedy=remedy)
        self.codes = codes_of(languages)
        self.options = {"languages": self.codes, "own": own}
        first = nn.ModuleList(Layer(config) for _ in range(own))
        for module in first.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=config.initializer_range)
                nn.init.zeros_(module.bias)
        self.of = nn.ModuleDict({code: copy.deepcopy(first) for code in self.codes})

    @torch.no_grad()
    def start_from(self, encoder: Encoder) -> None:
        """Makes each language's layers a copy of the encoder's lowest, so that all is as before."""
        for stack in self.of.values():
            assert isinstance(stack, nn.ModuleList)
            for own, shared in zip(stack, encoder.encoder.layer, strict=False):
                own.load_state_dict(shared.state_dict())

    def layer(self, step: Step, index: int, stream: Stream) -> Stream:
        if self.muted or index >= int(self.options["own"]):
            return step(stream)
        made = step(stream)
        hidden = made.hidden
        for code, inside in tokens_by_language(stream.batch, self.codes):
            stack = self.of[code]
            assert isinstance(stack, nn.ModuleList)
            hidden = torch.where(inside[..., None], stack[index](stream).hidden, hidden)
        return made.having(hidden=hidden)
