"""A tiny vocabulary, encoder and folder of files for fine-tuning tests: what a task learns by heart in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import kelm
from kelm.model import Encoder, EncoderConfig
from kelm.tasks.base import Task
from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kelm.training import construct
from kelm.training.recipe import CorpusChoice, Recipe

__all__ = ["QUICK", "RECIPES", "answers", "config_of", "encoder_of", "save_model"]

RECIPES = Path(kelm.__file__).parent / "recipes"
QUICK = ["model.hf=model", "optim.rate=1e-2", "train.passes=40", "batch.tokens=128", "evaluation.every=10"]
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}


def config_of(words: Tokenizer) -> EncoderConfig:
    return EncoderConfig(**SIZES, vocab_size=words.vocabulary_size, pad_token_id=words.pad)


def encoder_of(words: Tokenizer) -> Encoder:
    torch.manual_seed(0)
    return Encoder(config_of(words))


def save_model(texts: Sequence[str], folder: Path, size: int = 100) -> Tokenizer:
    """Saves a fresh encoder and the vocabulary of the texts as a checkpoint."""
    words = vocabulary.train(list(texts), size, "wordpiece", lower=True)
    encoder_of(words).to_hf(folder)
    words.save(folder)
    return words


def answers(recipe: Recipe, model: Path, corpus: CorpusChoice) -> tuple[Task[Any, Any], list[Any], list[Any]]:
    """Returns the task of a run's folder, the texts of a corpus and its answers to them."""
    encoder, words = Encoder.from_pretrained(model), tokenizers.open(model)
    parts = construct.Parts(encoder.config, words, encoder, 0)
    task = construct.objective(recipe.objectives[0], parts, str(model), 0).eval()
    assert isinstance(task, Task)
    texts = [text for text, _ in construct.corpus(corpus, parts, None, "corpus").stream()]
    batch = task.collate(texts, 0)
    with torch.inference_mode():
        return task, texts, task.predict(batch, encoder.eval().encode(batch))
