"""Makes `AutoConfig` and `AutoModel` know kelm's folders; importing `kelm.model` is enough."""

from transformers import AutoConfig, AutoModel

from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder

__all__: list[str] = []

AutoConfig.register(EncoderConfig.model_type, EncoderConfig, exist_ok=True)
AutoModel.register(EncoderConfig, Encoder, exist_ok=True)
