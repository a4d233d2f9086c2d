"""The shape of an encoder, in Hugging Face's words, and the extensions that it carries."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Literal

from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

from kelm.errors import KelmError, closest

__all__ = ["FAMILIES", "EncoderConfig", "Family", "QRNNOptions"]

Family = Literal["bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "qrnn"]
FAMILIES: tuple[Family, ...] = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "qrnn")

_COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_SHARES = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass(frozen=True, slots=True, kw_only=True)
class QRNNOptions:
    """What a quasi-recurrent network has and a Transformer has not; the defaults are MultiFiT's.

    Attributes:
        window: tokens that the first layer sees at once; the others see one.
        zoneout: share of the forget gates that stay open in training, by token.
        output_dropout: share of the last states' features that are dropped, by text.
        hidden_dropout, input_dropout: the same between the layers and before the first.
        embedding_dropout: share of the vocabulary's words that are dropped wherever they stand.
        weight_dropout: share of each gate matrix's weights.
        scale: factor of all five dropouts (fastai's `drop_mult`): MultiFiT's are 0 for pretraining, 0.3 for
            fine-tuning and 0.5 for classification.

    Raises:
        KelmError: a window below 1, a negative scale, or a share that is not from 0 to below 1.
    """

    window: int = 2
    zoneout: float = 0.0
    output_dropout: float = 0.25
    hidden_dropout: float = 0.1
    input_dropout: float = 0.2
    embedding_dropout: float = 0.02
    weight_dropout: float = 0.15
    scale: float = 1.0

    def __post_init__(self) -> None:
        if type(self.window) is not int or self.window < 1:
            raise _wrong("qrnn.window", self.window, "a whole number from 1", "MultiFiT's is 2.")
        if type(self.scale) not in (int, float) or not (self.scale >= 0 and isfinite(self.scale)):
            raise _wrong("qrnn.scale", self.scale, "a number from 0", "MultiFiT's are 0 to 0.5.")
        for name in ("zoneout", *(one.name for one in fields(self) if one.name.endswith("_dropout"))):
            value = getattr(self, name)
            scale = 1.0 if name == "zoneout" else self.scale
            if type(value) not in (int, float) or not 0 <= value * scale < 1:
                raise _wrong(f"qrnn.{name}", value, "a share from 0 to below 1", "MultiFiT's are 0 to 0.25.")


def _wrong(name: str, value: Any, expected: str, remedy: str) -> KelmError:
    return KelmError(f"EncoderConfig: {name}: expected {expected}, found {value!r}. {remedy}")


class EncoderConfig(PreTrainedConfig):
    """The shape of an `Encoder`; field names and defaults are Hugging Face BERT's.

    Attributes:
        family: whose checkpoints it reads and writes, and whose conventions it follows. "qrnn" is MultiFiT's network:
            `hidden_size` is the width of the words and of what comes out, `intermediate_size` that in between;
            `max_position_embeddings` says how long a text may be; there are no heads, positions and types.
        extensions: options of each extension by its plug-in name, in the order in which they apply.
        pooler: the checkpoint has BERT's pooler (dense and tanh on the first token).
        attention: the kernel; "sdpa" runs everywhere, "flex" is sparse and runs on CUDA without attention dropout.
        qrnn: fields of `QRNNOptions`, for that family.
    """

    model_type = "kelm"
    __no_type_check__ = True  # HF writes the constructor, which also takes fields of other models

    family: Family = "bert"
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    pooler: bool = True
    attention: Literal["sdpa", "flex"] = "sdpa"
    extensions: dict[str, dict[str, Any]] | None = None
    qrnn: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.family not in FAMILIES:
            raise KelmError(f'EncoderConfig: family "{self.family}" is unknown. {closest(str(self.family), FAMILIES)}')
        if self.hidden_act not in ACT2FN:
            raise KelmError(
                f'EncoderConfig: hidden_act "{self.hidden_act}" is unknown. {closest(str(self.hidden_act), ACT2FN)}'
            )
        if self.attention not in ("sdpa", "flex"):
            raise KelmError(f'EncoderConfig: attention "{self.attention}" is unknown. Choose sdpa or flex.')
        self._check_sizes()
        self._check_qrnn()
        if self.hidden_size % self.num_attention_heads and not self.recurrent:
            raise KelmError(
                f"EncoderConfig: hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}. Give a multiple, or other heads."
            )
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise KelmError(
                f"EncoderConfig: pad_token_id: expected an id from 0 to {self.vocab_size - 1}, found "
                f"{self.pad_token_id}. Give the tokenizer's."
            )
        if self.longest < 1:
            raise KelmError(
                f"EncoderConfig: max_position_embeddings: {self.family} leaves out {self.position_offset}, so that "
                f"{self.max_position_embeddings} leave none. Give more."
            )
        if self.attention == "flex" and self.attention_probs_dropout_prob:
            raise KelmError('EncoderConfig: attention "flex" has no dropout; set attention_probs_dropout_prob to 0.')

    def _check_qrnn(self) -> None:
        if not self.recurrent:
            if self.qrnn:
                raise KelmError(f'EncoderConfig: qrnn: a {self.family} has no such options. Set family = "qrnn".')
            return
        known = [one.name for one in fields(QRNNOptions)]
        for name in self.qrnn or {}:
            if name not in known:
                raise KelmError(f'EncoderConfig: qrnn: no option is called "{name}". {closest(name, known)}')
        QRNNOptions(**self.qrnn or {})
        self.pooler = False  # the first token's state has read nothing else

    @property
    def recurrent(self) -> bool:
        """Whether it is a quasi-recurrent network, which reads one way and has no attention."""
        return self.family == "qrnn"

    @property
    def qrnn_options(self) -> QRNNOptions:
        """The options of a quasi-recurrent network."""
        return QRNNOptions(**self.qrnn or {})

    def _check_sizes(self) -> None:
        if type(self.pooler) is not bool:
            raise KelmError(f"EncoderConfig: pooler: expected true or false, found {self.pooler!r}. Give one of them.")
        for name in _COUNTS:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise KelmError(f"EncoderConfig: {name}: expected a whole number from 1, found {value!r}. Give one.")
        for name in _SHARES:
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < 1:
                raise KelmError(
                    f"EncoderConfig: {name}: expected a number from 0 to below 1, found {value!r}. 0.1 is usual."
                )
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not (value > 0 and isfinite(value)):
                raise KelmError(
                    f"EncoderConfig: {name}: expected a positive number, found {value!r}. "
                    f"{getattr(type(self), name)} is usual."
                )

    @property
    def norms_first(self) -> bool:
        """Whether a layer's halves norm what they read and not what they give (XLM-R XL and XXL)."""
        return self.family == "xlm-roberta-xl"

    @property
    def position_offset(self) -> int:
        """What is added to `Batch.positions`: RoBERTa and XLM-R count from the padding id + 1."""
        return 0 if self.family in ("bert", "qrnn") else self.pad_token_id + 1

    @property
    def longest(self) -> int:
        """The number of positions a text may have."""
        return self.max_position_embeddings - self.position_offset
