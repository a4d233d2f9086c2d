"""What a model costs before it is trained: parameters by part, arithmetic a token, memory of a GPU, days.

    arithmetic      forward a token: 2 (4 d² + 2 d f) a layer, 4 d s a layer (attention over a row of s tokens),
                    2 t (d² + d V) (vocabulary head at the share t of the tokens); backward twice that
    memory          weights, gradients and AdamW's two moments in float32, divided by FSDP2 or not; what is kept from
                    forward to backward; the head's logits
    days            arithmetic a token x tokens / (GPUs x peak x utilization)

d: width, f: inner width, V: vocabulary. Counted are matrix products; norms, activations and lookups are a few percent.
Source: Kaplan et al., 2020, section 2.1 (arithmetic); Rajbhandari et al., 2020 (divided memory); Korthikanti et al.,
2022 (what is kept; here counted anew, tensor by tensor, for fused attention).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from kelm.errors import InputError, RecipeError, closest
from kelm.model import Encoder, EncoderConfig
from kelm.model.heads import LOGITS_AT_ONCE
from kelm.training.bounds import COUNT, POSITIVE, Bound

__all__ = ["GPUS", "Flops", "Gpu", "Load", "Sharding", "days", "fitting", "flops", "gpu", "memory", "parameters"]

Precision = Literal["fp32", "bf16", "fp16"]
Sharding = Literal["none", "grads", "full"]
_SHARE = Bound("more than 0 and at most 1", "Give a share, such as 0.4.", lambda value: 0 < value <= 1)


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a vendor's data sheet says: memory in bytes, peak arithmetic a second, dense (without sparsity).

    Attributes:
        half: in the formats that it computes fastest in of bf16 and fp16.
        source: of the numbers.
    """

    memory: float
    single: float
    half: float
    source: str
    bf16: bool = True


GPUS: dict[str, Gpu] = {
    "v100": Gpu(32e9, 15.7e12, 125e12, "NVIDIA V100 data sheet, SXM2", bf16=False),
    "a100-40": Gpu(40e9, 19.5e12, 312e12, "NVIDIA A100 data sheet"),
    "a100": Gpu(80e9, 19.5e12, 312e12, "NVIDIA A100 data sheet, SXM"),
    "l4": Gpu(24e9, 30.3e12, 121e12, "NVIDIA L4 data sheet"),
    "l40s": Gpu(48e9, 91.6e12, 362e12, "NVIDIA L40S data sheet"),
    "rtx4090": Gpu(24e9, 82.6e12, 165.2e12, "NVIDIA Ada architecture white paper, fp32 accumulation"),
    "h100": Gpu(80e9, 67e12, 989e12, "NVIDIA H100 data sheet, SXM"),
    "h200": Gpu(141e9, 67e12, 989e12, "NVIDIA H200 data sheet, SXM"),
    "b200": Gpu(180e9, 75e12, 2250e12, "NVIDIA HGX B200 data sheet, an eighth of it"),
    "mi300x": Gpu(192e9, 163.4e12, 1307e12, "AMD Instinct MI300X data sheet"),
}


def gpu(name: str) -> Gpu:
    """Returns a GPU's numbers.

    Raises:
        RecipeError: none has that name.
    """
    if name not in GPUS:
        raise RecipeError(f'no GPU is called "{name}"', field="gpu", remedy=closest(name, GPUS))
    return GPUS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What each GPU works on at once, and how.

    Attributes:
        tokens: of a batch, padding included.
        row: tokens of a row; attention costs as much as they are many.
        targets: share of the tokens at which the vocabulary head runs.
        masked: attention gets a mask, as it does unless each row is one whole text; "flex" attention needs none.
        checkpointing: layers are computed twice and keep what they read only.
        gpus: among which `sharding` divides: nothing (DDP), gradients and moments, or the weights too.
    """

    tokens: int = 8192
    row: int = 512
    targets: float = 0.15
    masked: bool = True
    precision: Precision = "bf16"
    checkpointing: bool = False
    gpus: int = 1
    sharding: Sharding = "none"

    def __post_init__(self) -> None:
        for name in ("tokens", "row", "gpus"):
            COUNT.check(getattr(self, name), name)
        _SHARE.check(self.targets, "targets")


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations a token.

    Attributes:
        layers, attention, head: of the pass forward; attention is what grows with the row.
        again: computed a second time, of layers that are checkpointed and logits that come in chunks.
    """

    layers: float
    attention: float
    head: float
    again: float

    @property
    def forward(self) -> float:
        return self.layers + self.attention + self.head

    @property
    def backward(self) -> float:
        return 2 * self.forward

    @property
    def total(self) -> float:
        return self.forward + self.backward + self.again


def parameters(encoder: Encoder, heads: Mapping[str, nn.Module]) -> dict[str, int]:
    """Returns the parameters by part, each counted once; also of modules on the meta device.

    Args:
        heads: objectives, or heads alone, by name; what several of them share counts for the first.
    """
    counts: dict[str, int] = {}
    seen: set[int] = set()
    named = [(_part(name), value) for name, value in encoder.named_parameters()]
    named += [(f"head of {name}", value) for name, head in heads.items() for value in head.parameters()]
    for part, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            counts[part] = counts.get(part, 0) + value.numel()
    return counts


def _part(name: str) -> str:
    first, second, *_ = name.split(".")
    if first == "extensions":
        return f"extension {second}"
    if first == "embeddings":
        return "vocabulary" if second == "word_embeddings" else "positions and types"
    return {"encoder": "layers"}.get(first, first)


def flops(config: EncoderConfig, load: Load) -> Flops:
    """Returns the arithmetic of a token; extensions and heads other than the vocabulary's are left out.

    Raises:
        InputError: it is no Transformer.
    """
    if config.recurrent:
        raise InputError("a plan counts what a Transformer does, and this is a QRNN", remedy="Measure a short run.")
    width, inner, count = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    layers = 2.0 * count * (4 * width**2 + 2 * width * inner)
    attention = 4.0 * count * width * load.row
    logits = 2.0 * load.targets * width * config.vocab_size
    again = (layers + attention) * load.checkpointing + logits * (_logits(config, load) > LOGITS_AT_ONCE)
    return Flops(layers, attention, 2.0 * load.targets * width**2 + logits, again)


def _logits(config: EncoderConfig, load: Load) -> float:
    return load.targets * load.tokens * config.vocab_size


def memory(config: EncoderConfig, counts: Mapping[str, int], load: Load) -> dict[str, float]:
    """Returns the bytes of a GPU by what they hold, at the highest point of a step; `counts` from `parameters`."""
    everything, count = sum(counts.values()), config.num_hidden_layers
    layer = counts.get("layers", 0) / count
    rest = everything - layer * count  # of no layer: gathered together, from forward to backward
    divided = load.sharding != "none" and load.gpus > 1
    share = load.gpus if divided else 1
    found = {"weights": 4.0 * everything / share, "gradients": 4.0 * everything / share}
    found["moments"] = 8.0 * everything / share
    if divided:
        at_once = count if load.sharding == "grads" else min(2, count)  # a layer and the next
        found["gathered weights"] = 4.0 * (rest + at_once * layer)
        found["gradients before they are divided"] = 4.0 * (rest + layer)
    elif load.gpus > 1:
        found["DDP's buckets"] = 4.0 * everything
    if load.precision != "fp32":
        matrices = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
        kept = 1 if load.checkpointing else count  # autocast's copies live until backward
        found["half-precision copies"] = 2.0 * (kept * matrices + config.hidden_size * config.vocab_size)
    found["activations"] = _activations(config, load)
    found["logits"] = 3 * 4.0 * min(_logits(config, load), max(LOGITS_AT_ONCE, config.vocab_size))
    return found


def _activations(config: EncoderConfig, load: Load) -> float:
    """Returns the bytes that are kept from forward to backward.

    A layer keeps, of each token: what its projections read, queries, keys, values, what comes of them, what both norms
    read, what the feed-forward network reads, its inner values before and after the activation; a byte for each number
    that dropout may drop; of attention a number a head, and the mask as numbers. In half precision each of the three
    projections keeps a copy of what it reads.
    """
    width, inner, count = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    half = load.precision != "fp32"
    dropped = width if config.hidden_dropout_prob else 0
    layer = (24 * width + 4 * inner if half else 32 * width + 8 * inner) + 2 * dropped + 4 * config.num_attention_heads
    if load.masked and config.attention == "sdpa":
        layer += (2 if half else 4) * load.row
    kept = 4 * width * count + layer if load.checkpointing else layer * count
    embeddings = 4 * width + dropped + 3 * 8
    head = load.targets * (4 * 3 * width + (2 if half else 4) * width)
    return load.tokens * float(kept + embeddings + head)


def days(total: float, tokens: float, kind: Gpu, load: Load, utilization: float = 0.4) -> float:
    """Returns how long the GPUs take.

    Args:
        total: operations a token.
        utilization: share of the peak that is reached; 0.3 to 0.5 is usual for encoders of this size.

    Raises:
        RecipeError: an impossible number, or a GPU that does not compute in bf16.
    """
    POSITIVE.check(tokens, "tokens")
    _SHARE.check(utilization, "utilization")
    if load.precision == "bf16" and not kind.bf16:
        raise RecipeError("this GPU has no bf16", field="precision", remedy="Give fp16 or fp32, or another GPU.")
    peak = kind.single if load.precision == "fp32" else kind.half
    return total * tokens / (load.gpus * peak * utilization) / 86_400


def fitting(config: EncoderConfig, counts: Mapping[str, int], load: Load, room: float) -> Load | None:
    """Returns the least change of a load with which it needs at most `room` bytes, None if nothing of the kind does.

    Tried are layers computed twice, a division among the GPUs, both, and both with a smaller batch.
    """
    twice, divided = replace(load, checkpointing=True), replace(load, sharding="full")
    both = replace(twice, sharding="full")
    smaller = [replace(both, tokens=max(load.row, load.tokens >> times)) for times in range(1, 12)]
    tried = [load, twice, divided, both, *smaller]
    return next((one for one in tried if sum(memory(config, counts, one).values()) <= room), None)
