"""Started by torchrun in test_processes.py: embeds in each process and writes what came out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kelm.errors import InputError
from kg.embeddings import EmbeddingRecipe, KnowledgeGraphEmbedding, Progress, embed, train
from kg.embeddings.processes import Processes
from tests.kg.test_query_training import PLAIN, grid, small_graph

# 38 triples in steps of 37: the last one has a single triple, and one of two processes no question about it
_ALL = replace(PLAIN, width=8, epochs=6, batch_size=37, check_every=2, decay="plateau", decay_patience=1, n3=0.01)
_SAMPLED = replace(_ALL, training="sampled", loss="softmax", negatives=12, n3=0.0)

RECIPES: Mapping[str, EmbeddingRecipe] = {
    "1vsall": _ALL,
    "kvsall": replace(_ALL, training="kvsall", loss="bce", label_smoothing=0.1),
    "1vsall, both sides": replace(_ALL, reciprocal=False, optimizer="adam", rate=0.01),
    "sampled, rows alone": replace(_SAMPLED, normalize=True),
    "sampled, all rows": replace(_SAMPLED, optimizer="adam", rate=0.01, reciprocal=False, loss="self_adversarial"),
    "sampled, typed": replace(_SAMPLED, typed_negatives=0.5),
    "rescal": replace(_ALL, model="rescal", rate=0.05),
}
NOISY = replace(_ALL, model="tucker", optimizer="adam", rate=0.01, query_dropout=0.2, width=6, n3=0.0)


def learn(recipe: EmbeddingRecipe, **more: Any) -> KnowledgeGraphEmbedding:
    learned: KnowledgeGraphEmbedding = train(
        grid(), recipe, entity_count=24, relation_count=2, validation=grid()[:9], **more
    )
    return learned


def keep(learned: KnowledgeGraphEmbedding, path: Path) -> None:
    losses = [entry["loss"] for entry in learned.history]
    found = [entry["mrr"] for entry in learned.history if "mrr" in entry]
    parts = {"entities": learned.entities, "relations": learned.relations, **learned.shared}
    np.savez(path, losses=losses, mrr=found, **parts)


def kill(progress: Progress) -> None:
    if progress.epoch == 4:
        raise RuntimeError("killed")


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, processes = Path(sys.argv[1]), Processes.started()
    for name, recipe in RECIPES.items():
        keep(learn(recipe), folder / f"{name}-{processes.rank}.npz")
    keep(learn(NOISY), folder / f"noisy-{processes.rank}.npz")
    with suppress(RuntimeError):
        learn(NOISY, checkpoint=folder / "state.safetensors", progress=kill)
    resumed = learn(NOISY, checkpoint=folder / "state.safetensors", resume=True)
    keep(resumed, folder / f"resumed-{processes.rank}.npz")
    embed(small_graph(), folder / "vectors", RECIPES["1vsall"], validation=small_graph())
    try:
        learn(EmbeddingRecipe(width=8, epochs=1))
    except InputError as error:
        (folder / f"refused-{processes.rank}.txt").write_text(str(error))
    processes.leave()
