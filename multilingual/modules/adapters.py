"""A small layer behind each of an encoder's, for a language, trained while everything else stays as it is.

    hidden -> layer -> hidden + up(relu(down(hidden)))        down: width / reduction, up: starts at zero

Each token goes through the adapter of its language; one whose language has none, or that nobody tells, through none. To
train nothing else: ``optim.factors = {"encoder.extensions.adapters.*" = 1.0, "*" = 0.0}``.
Source: Houlsby et al., 2019, section 2.1; for languages Pfeiffer et al., 2020 (MAD-X), section 3.2.1, reduction 2
there, and without the last layer Pfeiffer et al., 2021 (MAD-X 2.0). Differs: the residual is the layer's output, in
MAD-X the one before its last norm; invertible adapters of embeddings are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from kelm.data.folders import file_aside
from kelm.errors import CheckpointError, InputError
from kelm.model import Encoder
from kelm.model.config import EncoderConfig
from kelm.model.extension import Extension, Step, Stream
from kelm.typing import Float, Tensor
from multilingual.languages import codes_of
from multilingual.modules.by_language import tokens_by_language

__all__ = ["Adapters", "load_adapters", "save_adapters"]


class Adapter(nn.Module):
    """Down, relu, up; adds nothing at first."""

    def __init__(self, config: EncoderConfig, reduction: int) -> None:
        super().__init__()
        self.down = nn.Linear(config.hidden_size, max(1, config.hidden_size // reduction))
        self.up = nn.Linear(self.down.out_features, config.hidden_size)
        nn.init.normal_(self.down.weight, std=config.initializer_range)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Float[Tensor, "*row width"]) -> Float[Tensor, "*row width"]:
        added: Tensor = self.up(torch.relu(self.down(hidden)))
        return added


class Adapters(Extension):
    """An adapter for each language and layer. Registered as ``adapters``; reads the part `Languages`.

    Args:
        languages: their codes.
        reduction: the encoder's width over that of an adapter.
        skip_last: the last layer has none (MAD-X 2.0).

    Raises:
        InputError: no language, an unknown one, one twice, or a reduction below 1.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        languages: Sequence[str] = ("en",),
        reduction: int = 2,
        skip_last: bool = False,
    ) -> None:
        super().__init__(config)
        if reduction < 1:
            raise InputError(f"reduction is {reduction}", field="reduction", remedy="Give 1 or more; 2 is usual.")
        self.codes = codes_of(languages)
        self.options = {"languages": self.codes, "reduction": reduction, "skip_last": skip_last}
        count = config.num_hidden_layers - int(skip_last)
        self.of = nn.ModuleDict(
            {code: nn.ModuleList(Adapter(config, reduction) for _ in range(count)) for code in self.codes}
        )

    def layer(self, step: Step, index: int, stream: Stream) -> Stream:
        stream = step(stream)
        for code, inside in () if self.muted else tokens_by_language(stream.batch, self.codes):
            stack = self.of[code]
            assert isinstance(stack, nn.ModuleList)
            if index < len(stack):
                hidden = stream.hidden
                stream = stream.having(hidden=torch.where(inside[..., None], hidden + stack[index](hidden), hidden))
        return stream


def save_adapters(encoder: Encoder, path: str | Path) -> None:
    """Writes an encoder's adapters alone, with their options and a digest of the weights that they belong to.

    Raises:
        InputError: the encoder has none.
        CheckpointError: the file cannot be written.
    """
    adapters = _of(encoder)
    told = {"kelm": json.dumps({"options": adapters.options, "base": _digest(encoder)})}
    with file_aside(Path(path)) as new:
        save_file({name: value.contiguous() for name, value in adapters.state_dict().items()}, new, metadata=told)


def load_adapters(encoder: Encoder, path: str | Path) -> None:
    """Gives an encoder whose extension `adapters` is fresh the adapters of a file; see `adapter_options`.

    Raises:
        InputError: the encoder has no adapters, or others than the file's.
        CheckpointError: the file is damaged, or its adapters belong to other weights.
    """
    adapters = _of(encoder)
    told, weights = _read(path)
    if told["options"] != adapters.options:
        problem = f"{path} has adapters {told['options']}, the encoder {adapters.options}"
        raise InputError(problem, field="adapters", remedy="Open the encoder with the file's options.")
    if told["base"] != _digest(encoder):
        raise CheckpointError(f"{path} belongs to an encoder with other weights. Open the one that it was trained on.")
    adapters.load_state_dict(weights)


def _read(path: str | Path) -> tuple[dict[str, object], dict[str, Tensor]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            told = json.loads((file.metadata() or {})["kelm"])
            return told, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} holds no adapters ({error}). Write it again.") from error


def _of(encoder: Encoder) -> Adapters:
    found = dict(encoder.extensions.items()).get("adapters")
    if not isinstance(found, Adapters):
        remedy = 'Open it with them: Encoder.from_hf(path, extensions={"adapters": {"languages": ["wo"]}})'
        raise InputError("the encoder has no adapters", field="encoder", remedy=remedy)
    return found


def _digest(encoder: Encoder) -> str:
    """Returns a digest of all weights but the adapters'."""
    hashed = hashlib.blake2b(digest_size=16)
    for name, value in sorted(encoder.state_dict().items()):
        if not name.startswith("extensions.adapters."):
            hashed.update(name.encode())
            hashed.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()
