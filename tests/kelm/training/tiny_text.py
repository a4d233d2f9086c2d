"""A tiny vocabulary and sentences of it, as files: what recipes in tests train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WORDS = [f"{first}{last}" for first in "bdfgk" for last in ("a", "e", "i", "o", "u")]


def vocabulary(folder: Path) -> Path:
    """Writes BERT's vocab.txt."""
    path = folder / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    return path


def sentence(number: int, words: int) -> str:
    """Returns some successive words of a circle, so that a hidden one can be told from its neighbors."""
    start = int(np.random.default_rng(number).integers(len(WORDS)))
    return " ".join(WORDS[(start + place) % len(WORDS)] for place in range(words))


def sentences(folder: Path, name: str = "text.txt", *, count: int = 120, words: int | None = None) -> Path:
    """Writes sentences of 4 to 11 words, or all of as many as `words`."""
    path = folder / name
    path.write_text("".join(f"{sentence(number, words or 4 + number % 8)}\n" for number in range(count)))
    return path


def recipe(folder: Path) -> Path:
    """Writes a recipe with its data: masked words, a tiny fresh encoder, held-out texts."""
    path = folder / "tiny.toml"
    path.write_text(f"""\
name = "tiny"

[model.config]
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 32

[tokenizer]
path = "{vocabulary(folder)}"

[[objectives]]
name = "mlm"
options = {{ rate = 0.2 }}
[objectives.corpus]
name = "text"
options = {{ paths = "{sentences(folder)}" }}
[objectives.held_out]
name = "text"
options = {{ paths = "{sentences(folder, "held_out.txt", count=20)}" }}

[batch]
tokens = 100
pool = 50

[optim]
rate = 3e-3

[train]
steps = 12

[evaluation]
every = 5
metric = "mlm/loss"
better = "lower"

[checkpoint]
every = 4

[log]
every = 1
tensorboard = false
""")
    return path
