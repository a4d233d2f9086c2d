"""The vectors of entities' texts, computed once: in a folder, memory-mapped, under a key of all that decides on them.

    cache/3f9c.../manifest.json, vectors.npy, names ...     3f9c...: digest of encoder, tokenizer, texts and entities

A changed encoder, graph or option has another key, so that vectors are never out of date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from kelm.batch import Encoded, pack
from kelm.data.bucketing import bucketed
from kelm.data.corpus import digest
from kelm.model import Encoder
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.linking.bi_encoder import MEAN, Reading, text_vectors
from kg.linking.entity_text import EntityText

__all__ = ["encoder_digest", "entity_vectors", "read_texts"]

_TOKENS = 4096  # of a batch
_TOGETHER = 4096  # entities that are tokenized at once


def entity_vectors(
    texts: EntityText,
    encoder: Encoder,
    tokenizer: Tokenizer,
    *,
    length: int = 32,
    only: Collection[str] | None = None,
    cache: str | Path | None = None,
    reading: Reading = MEAN,
) -> EntityTable:
    """Returns a vector for each entity of the graph: by default the mean state of its text, of length 1.

    Args:
        encoder: is set to evaluation mode, as `ContextualLinker` does.
        length: tokens of an entity's text; longer ones are cut.
        only: the entities that are asked for, such as the candidates of what shall be linked; None: all.
        cache: folder of tables; one that is there under the key is opened, else the table is written. None: in memory.
        reading: how a text becomes a vector.

    Raises:
        CheckpointError: the table under the key is damaged, or cannot be written.

    Cost: one pass of the encoder over the texts, about a second for a hundred of them on one core and an encoder of
    six layers and 384 numbers; to open a table, nothing.
    """
    graph = texts.graph
    entities = list(graph.entities) if only is None else sorted(name for name in only if name in graph.entities)
    key = digest(
        "entity vectors 2",
        encoder_digest(encoder),
        tokenizer.fingerprint(),
        texts.fingerprint(),
        length,
        None if only is None else entities,
        [reading.state, reading.unit],
    )
    place = None if cache is None else Path(cache) / key
    if place is not None and place.is_dir():
        return EntityTable.open(place)
    vectors = np.zeros((len(entities), encoder.config.hidden_size), np.float32)
    for first in range(0, len(entities), _TOGETHER):
        said = [texts(graph.entities.id(name)) for name in entities[first : first + _TOGETHER]]
        encoded = tokenizer.encode(said, length=min(length, encoder.config.longest))
        vectors[first : first + len(said)] = read_texts(encoder, encoded, reading)
    table = EntityTable.from_vectors(entities, vectors, facts={"key": key, "graph": graph.fingerprint()})
    if place is None:
        return table
    table.save(place)
    return EntityTable.open(place, verify=False)


def read_texts(
    encoder: Encoder,
    texts: Sequence[Encoded],
    reading: Reading = MEAN,
) -> Float32[np.ndarray, "text width"]:
    """Returns the vectors of texts, without dropout; the encoder is set to evaluation mode."""
    encoder.eval()
    device = next(encoder.parameters()).device
    vectors = np.zeros((len(texts), encoder.config.hidden_size), np.float32)
    for numbers in bucketed([len(text) for text in texts], _TOKENS, None):
        batch = pack([texts[number] for number in numbers], pad=encoder.config.pad_token_id).to(device)
        with torch.no_grad():
            some = text_vectors(batch, encoder.encode(batch), torch.arange(len(numbers), device=device), reading)
        vectors[numbers] = some.float().cpu().numpy()
    return vectors


def encoder_digest(encoder: Encoder) -> str:
    """Returns a digest of an encoder's weights and configuration: equal digests, equal vectors.

    Cost: reads all weights, 0.1 seconds for 90 megabytes.
    """
    hashed = hashlib.blake2b(digest_size=16)
    config = encoder.config
    sizes = [config.family, config.num_attention_heads, config.layer_norm_eps, config.hidden_act]
    hashed.update(digest(sizes, dict(config.extensions or {})).encode())
    for name, value in sorted(encoder.state_dict().items()):
        hashed.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        hashed.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()
