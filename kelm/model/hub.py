"""Hugging Face folders in and out: names, shapes and families; no network code of our own.

bert.embeddings...          ┐
roberta.encoder.layer.0...  ├─> embeddings..., encoder.layer.0..., pooler...      and the vocabulary head beside it
embeddings... (no prefix)   ┘
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kelm.data.folders import file_aside
from kelm.errors import CannotExport, CheckpointError, KelmError, UnsafeFile
from kelm.model.config import EncoderConfig
from kelm.typing import Tensor

__all__ = ["Source", "check", "folder", "head_weights", "read", "read_fields", "read_weights", "weight_files", "write"]

SHARED_FIELDS = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size"),
    *("initializer_range", "layer_norm_eps", "pad_token_id"),
)
PREFIXES = {"bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta.", "xlm-roberta-xl": "roberta."}
ARCHITECTURES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "xlm-roberta-xl": "XLMRobertaXL",
}
# our head's parameter -> HF's; the decoder's bias is the same tensor, which HF wants to find under both names
HEADS = {
    "bert": {
        "dense.weight": "cls.predictions.transform.dense.weight",
        "dense.bias": "cls.predictions.transform.dense.bias",
        "layer_norm.weight": "cls.predictions.transform.LayerNorm.weight",
        "layer_norm.bias": "cls.predictions.transform.LayerNorm.bias",
        "bias": "cls.predictions.bias",
    },
    "roberta": {
        "dense.weight": "lm_head.dense.weight",
        "dense.bias": "lm_head.dense.bias",
        "layer_norm.weight": "lm_head.layer_norm.weight",
        "layer_norm.bias": "lm_head.layer_norm.bias",
        "bias": "lm_head.bias",
    },
}
HEADS["xlm-roberta"] = HEADS["xlm-roberta-xl"] = HEADS["roberta"]


@dataclass(frozen=True, slots=True)
class Source:
    """A Hugging Face checkpoint, taken apart."""

    path: Path
    fields: Mapping[str, Any]
    encoder: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    tied: bool = True  # the head's decoder is the table of word embeddings


def folder(name_or_path: str | Path) -> Path:
    """Returns the local folder of a checkpoint, fetched by `huggingface_hub` if it is a name on the Hub.

    Raises:
        CheckpointError: it is neither.
    """
    path = Path(name_or_path)
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download

    try:
        wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.npy"]
        return Path(snapshot_download(str(name_or_path), allow_patterns=wanted))
    except Exception as error:  # the Hub's client raises many kinds; all mean the same to the user
        raise CheckpointError(
            f'"{name_or_path}" is no folder here and could not be had from the Hugging Face Hub '
            f"({type(error).__name__}). Check the spelling, or download it and give the folder."
        ) from error


def weight_files(path: Path) -> list[Path]:
    """Returns the safetensors file of a folder, or all that its index names; each can be opened.

    Raises:
        CheckpointError: missing or damaged.  UnsafeFile: only a pickle is there.
    """
    single, index = path / "model.safetensors", path / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            files = [path / name for name in sorted(set(named))]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{index} is no index of weights ({error!r}). Fetch or write it again.") from error
    elif single.is_file():
        files = [single]
    else:
        pickles = sorted(file.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in path.glob(kind))
        if pickles:
            raise UnsafeFile(
                f"{path / pickles[0]} is a pickle, which can run code when opened; only safetensors are read. Convert "
                'it where you trust it: AutoModel.from_pretrained("...").save_pretrained("...").'
            )
        raise CheckpointError(f"{path} holds no model.safetensors. Give the folder that save_pretrained wrote.")
    for file in files:
        _tensors(file, names=())
    return files


def read_weights(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of all `weight_files`."""
    return {name: tensor for file in weight_files(path) for name, tensor in _tensors(file).items()}


def _tensors(file: Path, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in (opened.keys() if names is None else names)}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or cut ({error}). Fetch or write it again.") from error


def read(name_or_path: str | Path) -> Source:
    """Returns a BERT, RoBERTa or XLM-R checkpoint taken apart into encoder and vocabulary head."""
    path = folder(name_or_path)
    described = _described(path)
    fields = _fields(path, described)
    encoder, head = _parted(read_weights(path), fields["family"])
    return Source(path, fields, encoder, head, tied=described.get("tie_word_embeddings", True))


def read_fields(name_or_path: str | Path) -> dict[str, Any]:
    """Returns what a checkpoint's config.json says of `EncoderConfig`'s fields; reads no weights.

    Raises:
        CheckpointError: it is missing, no JSON, or of a kind that is not supported.
    """
    path = folder(name_or_path)
    return _fields(path, _described(path))


def _described(path: Path) -> dict[str, Any]:
    try:
        described = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path / 'config.json'} is missing or no JSON. Give a Hugging Face model folder."
        ) from error
    if not isinstance(described, dict):
        raise CheckpointError(
            f"{path / 'config.json'}: expected an object, found {type(described).__name__}. Fetch it again."
        )
    return described


def _fields(path: Path, described: Mapping[str, Any]) -> dict[str, Any]:
    family = described.get("model_type")
    if family not in ARCHITECTURES:
        raise CheckpointError(
            f'{path}: model type "{family}" is not supported; known: {", ".join(ARCHITECTURES)}. '
            + ("Open a kelm folder with Encoder.from_pretrained." if family == "kelm" else "Give one of those.")
        )
    kind = described.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise CheckpointError(
            f'{path}: position embeddings of type "{kind}" are not supported; only "absolute" are. Give another.'
        )
    if described.get("is_decoder") or described.get("add_cross_attention"):
        raise CheckpointError(
            f"{path} is a decoder (is_decoder, add_cross_attention); only encoders are supported. Give one."
        )
    fields = {"pad_token_id": 0 if family == "bert" else 1, "family": family}
    fields.update({name: described[name] for name in SHARED_FIELDS if described.get(name) is not None})
    try:
        EncoderConfig(**fields)
    except (KelmError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path / 'config.json'}: {error} Correct config.json or fetch it again.") from error
    return fields


def _parted(weights: Mapping[str, Tensor], family: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    prefix = PREFIXES[family]
    renamed = {key.replace(".gamma", ".weight").replace(".beta", ".bias"): value for key, value in weights.items()}
    wrapped = any(key.startswith(prefix) for key in renamed)
    encoder = {
        key.removeprefix(prefix): value
        for key, value in renamed.items()
        if (key.startswith(prefix) or not wrapped) and not key.endswith((".position_ids", ".token_type_ids"))
    }
    head = {ours: renamed[theirs] for ours, theirs in HEADS[family].items() if theirs in renamed}
    return encoder, head


def check(source: Source, expected: set[str], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointError unless the checkpoint has exactly the expected weights, in the expected shapes."""
    missing, surplus = sorted(expected - set(source.encoder)), sorted(set(source.encoder) - expected)
    if missing or surplus:
        told = "; ".join(
            f"{word}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
            for word, names in (("missing", missing), ("unknown", surplus))
            if names
        )
        raise CheckpointError(f"{source.path} does not fit its own config.json ({told}). Fetch or write it again.")
    for name, value in source.encoder.items():
        if tuple(value.shape) != shapes[name]:
            hint = " The vocabulary's size is wrong." if name == "embeddings.word_embeddings.weight" else ""
            raise CheckpointError(
                f"{source.path}: {name} is {tuple(value.shape)}, config.json says {shapes[name]}.{hint} "
                "Correct config.json or fetch the checkpoint again."
            )


def head_weights(name_or_path: str | Path) -> dict[str, Tensor]:
    """Returns the vocabulary head of a checkpoint under `VocabularyHead`'s names.

    Raises:
        CheckpointError: it has none, or only a part of one.
    """
    source = read(name_or_path)
    wanted = HEADS[source.fields["family"]]
    if set(source.head) != set(wanted):
        lacking = ", ".join(theirs for ours, theirs in wanted.items() if ours not in source.head)
        raise CheckpointError(f"{source.path} has no vocabulary head (lacks {lacking}). Start with a fresh one.")
    if not source.tied:
        raise CheckpointError(
            f"{source.path} has a vocabulary head with a table of its own (tie_word_embeddings = false), which is not "
            "supported. Start with a fresh head."
        )
    return dict(source.head)


def write(
    path: Path,
    config: EncoderConfig,
    weights: Mapping[str, Tensor],
    head: Mapping[str, Tensor] | None,
    extensions: Sequence[str],
) -> None:
    """Writes a plain Hugging Face folder.

    Raises:
        CannotExport: `extensions`, which such a folder cannot express, is not empty.
        CheckpointError: the disk is full or the folder cannot be written; nothing half-written remains.
    """
    if extensions:
        raise CannotExport(
            f"a plain {ARCHITECTURES[config.family]} folder cannot express {', '.join(extensions)}. "
            f"Leave them out by name (--drop, in Python drop=[...]), or keep kelm's form (save_pretrained)."
        )
    if config.family not in ARCHITECTURES:
        raise CannotExport(f"Hugging Face has no {config.family}. Keep kelm's form (save_pretrained).")
    name = ARCHITECTURES[config.family]
    described = {field: getattr(config, field) for field in SHARED_FIELDS}
    described |= {"model_type": config.family, "architectures": [f"{name}{'Model' if head is None else 'ForMaskedLM'}"]}
    described |= {"position_embedding_type": "absolute", "tie_word_embeddings": True}
    prefix = "" if head is None else PREFIXES[config.family]
    tensors = {prefix + key: value.detach().contiguous() for key, value in weights.items()}
    tensors |= {HEADS[config.family][key]: value.detach().contiguous() for key, value in (head or {}).items()}
    text = json.dumps(described, indent=2, sort_keys=True) + "\n"
    with file_aside(path / "config.json") as config_file:
        config_file.write_text(text, encoding="utf-8")
        with file_aside(path / "model.safetensors") as weights_file:
            save_file(tensors, weights_file, metadata={"format": "pt"})
