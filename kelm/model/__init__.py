"""The encoder, its extensions and its heads. Importing it makes `AutoModel` open kelm's folders."""

from kelm.model import auto as auto
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Extension, Step, Stream
from kelm.model.heads import VocabularyHead

__all__ = ["Encoder", "EncoderConfig", "Extension", "Step", "Stream", "VocabularyHead"]
