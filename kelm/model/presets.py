"""Sizes of published encoders by name, so that a recipe or a plan need not spell them out.

    name           layers  width  heads  inner   vocabulary  parameters, encoder and vocabulary head
    bert-base          12    768     12    3,072     30,522      110 M
    bert-large         24  1,024     16    4,096     30,522      335 M
    mbert              12    768     12    3,072    119,547      178 M
    xlm-r-base         12    768     12    3,072    250,002      278 M     called 270 M
    xlm-r-large        24  1,024     16    4,096    250,002      560 M     called 550 M
    xlm-r-xl           36  2,560     32   10,240    250,880      3.48 B    called 3.5 B
    xlm-r-xxl          48  4,096     32   16,384    250,880     10.70 B    called 10.7 B
    multifit            4    400          1,552     15,000       27 M     a QRNN (`kelm.model.qrnn`)

Source: Devlin et al., 2019; Conneau et al., 2020; Goyal et al., 2021; Eisenschlos et al., 2019.
A fresh encoder has no pooler: nothing trains it.
"""

from __future__ import annotations

from typing import Any

from kelm.errors import RecipeError, closest

__all__ = ["PRESETS", "fields"]


def _size(family: str, layers: int, width: int, heads: int, vocabulary: int) -> dict[str, Any]:
    sizes: dict[str, Any] = {
        "family": family,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "vocab_size": vocabulary,
        "pooler": False,
    }
    if family == "bert":
        return sizes
    return {**sizes, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}


PRESETS: dict[str, dict[str, Any]] = {
    "bert-base": _size("bert", 12, 768, 12, 30_522),
    "bert-large": _size("bert", 24, 1024, 16, 30_522),
    "mbert": _size("bert", 12, 768, 12, 119_547),
    "xlm-r-base": _size("xlm-roberta", 12, 768, 12, 250_002),
    "xlm-r-large": _size("xlm-roberta", 24, 1024, 16, 250_002),
    "xlm-r-xl": _size("xlm-roberta-xl", 36, 2560, 32, 250_880),
    "xlm-r-xxl": _size("xlm-roberta-xl", 48, 4096, 32, 250_880),
    "multifit": {
        **{"family": "qrnn", "num_hidden_layers": 4, "hidden_size": 400, "intermediate_size": 1552},
        **{"vocab_size": 15_000, "pooler": False},
    },
}


def fields(name: str, field: str = "preset") -> dict[str, Any]:
    """Returns the fields of `EncoderConfig` that a preset sets.

    Raises:
        RecipeError: no preset has that name; names `field`.

    >>> fields("xlm-r-large")["hidden_size"]
    1024
    """
    if name not in PRESETS:
        raise RecipeError(f'no size is called "{name}"', field=field, remedy=closest(name, PRESETS))
    return dict(PRESETS[name])
