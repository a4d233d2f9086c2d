"""kelm: knowledge-enhanced and cross-lingual language models on one Transformer encoder.

What is used most can be had from here; a module is loaded when something of it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kelm.batch import Batch, Encoded, Visibility, pack
    from kelm.errors import KelmError
    from kelm.model import Encoder, EncoderConfig, Extension, Stream

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Encoded",
    "Encoder",
    "EncoderConfig",
    "Extension",
    "KelmError",
    "Stream",
    "Visibility",
    "pack",
]

_PLACES = {
    **dict.fromkeys(("Batch", "Encoded", "Visibility", "pack"), "kelm.batch"),
    **dict.fromkeys(("Encoder", "EncoderConfig", "Extension", "Stream"), "kelm.model"),
    "KelmError": "kelm.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
