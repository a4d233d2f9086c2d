"""The encoder that every arm of a study starts from: trained on text alone, from scratch or from a checkpoint on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, InMemory, Text
from kelm.data.files import lines
from kelm.data.sources import JsonLines, TextFiles
from kelm.data.stream import BatchStream
from kelm.model import Encoder, EncoderConfig, hub
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.tokenizer import Tokenizer
from kelm.training.learner import Learner
from kelm.training.recipe import Checkpoints, Optimization, Training
from kelm.training.trainer import Trainer

__all__ = ["Pretraining", "Room", "pretrain", "text_file", "uncompressed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """Masked language modelling of whole words.

    Attributes:
        hf: a checkpoint to go on from, a folder or a name on the Hugging Face Hub; None: from scratch.
        width, layers: of an encoder from scratch; a head for every 64 numbers of width, the inner layer four times as
            wide.
        steps: 0 takes the checkpoint as it is.
        tokens: of a batch.
        length: tokens of a text; longer ones are cut.
    """

    hf: str | None = None
    width: int = 128
    layers: int = 4
    steps: int = 4800
    tokens: int = 2048
    rate: float = 1.5e-3
    length: int = 128
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens a text may have: what a corpus asks a model's configuration for."""

    longest: int


def text_file(path: str | Path) -> Corpus[Text]:
    """Opens a file of texts: JSON lines if its name says so, else a text a line."""
    return JsonLines(str(path)) if ".jsonl" in Path(path).suffixes else TextFiles(str(path))


def pretrain(
    recipe: Pretraining, texts: Callable[[], Sequence[str]], tokenizer: Tokenizer, folder: Path, *, show: bool = False
) -> Path:
    """Returns ``folder/base``, a plain Hugging Face folder with head and tokenizer, trained unless it is there.

    An interrupted run goes on where it was.

    Args:
        texts: asked for only if there is something to train.
        show: show progress on standard error.
    """
    made = folder / "base"
    if (made / "model.safetensors").is_file():
        return made
    torch.manual_seed(recipe.seed)
    encoder = Encoder(EncoderConfig(**_sizes(recipe, tokenizer))) if recipe.hf is None else Encoder.from_hf(recipe.hf)
    mlm = MaskedLanguageModel(encoder.config, tokenizer=tokenizer, kind="word")
    if recipe.hf is not None and hub.read(recipe.hf).head:  # without one, it starts afresh
        mlm.head.load_state_dict(hub.head_weights(recipe.hf))
    if recipe.steps:
        _train(recipe, encoder, mlm, texts(), tokenizer, folder / "run", show)
    encoder.to_hf(made, head=mlm.head)
    tokenizer.save(made)
    return made


def _train(
    recipe: Pretraining,
    encoder: Encoder,
    mlm: MaskedLanguageModel,
    texts: Sequence[str],
    tokenizer: Tokenizer,
    folder: Path,
    show: bool,
) -> None:
    texts = random.Random(recipe.seed).sample(list(texts), len(texts))  # a stream mixes its texts within a pool only
    encoded: list[Encoded] = [text for text in tokenizer.encode(texts, length=recipe.length) if len(text) > 4]
    result = Trainer(
        Learner(encoder, [mlm]),
        {mlm.name: BatchStream(InMemory(encoded), mlm.collate, tokens=recipe.tokens, seed=recipe.seed)},
        train=Training(steps=recipe.steps, seed=recipe.seed),
        optim=Optimization(rate=recipe.rate, betas=(0.9, 0.98), warmup=0.05),
        checkpoints=Checkpoints(every=1000, keep=1),
        folder=folder,
        resume=True,
        show=show,
    ).run()
    if result.stopped == "signal":
        raise KeyboardInterrupt


def uncompressed(path: Path, to: Path) -> Path:
    """Returns a copy of a text file, perhaps compressed, as it is for libraries that read plain files only."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text("".join(f"{line}\n" for _, line in lines(path)), encoding="utf-8")
    return to


def _sizes(recipe: Pretraining, tokenizer: Tokenizer) -> Mapping[str, Any]:
    bert = tokenizer.pad == 0  # BERT's order of special tokens; RoBERTa's <pad> is 1
    return {
        "family": "bert" if bert else "xlm-roberta",
        "vocab_size": tokenizer.vocabulary_size,
        "pad_token_id": tokenizer.pad,
        "hidden_size": recipe.width,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": max(1, recipe.width // 64),
        "intermediate_size": 4 * recipe.width,
        "max_position_embeddings": recipe.length + (0 if bert else tokenizer.pad + 1),
        "type_vocab_size": 2 if bert else 1,
        "hidden_dropout_prob": 0.0,  # a pass or two over little text cannot overfit
        "attention_probs_dropout_prob": 0.0,
    }
