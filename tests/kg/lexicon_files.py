"""A small lexicon and its vocabulary, for the tests of lexical pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kg.graph import KnowledgeGraph

__all__ = ["GRAPH", "SIZES", "encoder_of", "tokenizer_of", "write"]

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}
LABELS = {
    "car": ["car", "automobile", "auto"],
    "vehicle": ["vehicle"],
    "cat": ["cat", "house cat"],
    "beast": ["animal", "beast"],
    "felix": ["Felix"],
}
TRIPLES = [
    ("car", "hypernym", "vehicle"),
    ("cat", "hypernym", "beast"),
    ("felix", "instance_hypernym", "cat"),
    ("cat", "mero_part", "car"),
]
GRAPH = KnowledgeGraph.from_triples(TRIPLES, labels={"en": LABELS, "de": {"car": ["Auto", "Wagen"]}})
WORDS = sorted({word for names in LABELS.values() for word in names} | {"medieval", "mediaeval", "Turkey", "turkey"})


def tokenizer_of(kind: Any = "wordpiece") -> Tokenizer:
    texts = [*WORDS, " ".join(WORDS)] * 3
    return vocabulary.train(texts, 60 if kind == "wordpiece" else 40, kind, lower=kind == "wordpiece", coverage=1.0)


def encoder_of(words: Tokenizer) -> Encoder:
    import torch

    torch.manual_seed(0)
    return Encoder(EncoderConfig(**SIZES, vocab_size=words.vocabulary_size, pad_token_id=words.pad))


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)
