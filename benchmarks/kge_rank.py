"""`kge-rank`: filtered both-side ranking of TransE, ComplEx and RotatE on CoDEx-M, against PyKEEN's evaluator.

Ours and the peer rank the same sample of test triples of the same model; the ranks are compared one by one. Those of
TransE have to be equal, all of them. ComplEx's scores come from a matrix product at PyKEEN and are rounded otherwise
than ours (RotatE's distances are not, but are checked likewise): a rank may lie anywhere among the candidates that both
numbers cannot tell apart, within 1e-5 of the score's size, and the row says how many ranks are equal. A sample is
unkind to ours: on the whole test split equal questions repeat more often. Without the data a graph of CoDEx-M's size
and skew is generated.
"""

from __future__ import annotations

import gzip
import logging
import os
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Row, compare
from kg.embeddings import EmbeddingRecipe, KnowledgeGraphEmbedding, ranks, train

NAME = "kge-rank"
ENTITIES, RELATIONS, TRAINING, HELD_OUT = 17_050, 51, 185_584, 10_310  # CoDEx-M
BATCH = 32  # PyKEEN's best of 8, 16, 32, 64, 128 on two cores, for TransE of either norm
MODELS = (("transe", 1), ("transe", 2), ("complex", 2), ("rotate", 2))


def rows(*, quick: bool = False) -> list[Row]:
    """Returns one row for each model.

    Args:
        quick: a smaller sample and one repetition, to see that it runs.
    """
    logging.getLogger("pykeen").setLevel(logging.ERROR)
    origin, (training, valid, test) = _graph()
    known = np.concatenate((training, valid, test))
    counts = int(known[:, [0, 2]].max()) + 1, int(known[:, 1].max()) + 1
    count = 64 if quick else 1000
    sample = test[np.random.default_rng(0).permutation(len(test))[:count]]
    found = []
    for model, norm in MODELS:
        recipe = EmbeddingRecipe(model=model, norm=norm, epochs=1, negatives=64)
        embedding = train(training, recipe, entity_count=counts[0], relation_count=counts[1])
        peer = _Peer(embedding, training, sample, known)
        equal = _check_equal(embedding, sample, known, peer.ranks())
        measured = compare(
            lambda embedding=embedding: _ours(embedding, sample, known),
            peer.work,
            repeats=1 if quick else 5,
            warmup=0 if quick else 1,
        )
        name = f"TransE L{norm}" if model == "transe" else type(embedding.interaction).__name__
        setting = (
            f"{name}, width 100, {origin}, {count} test triples, both sides, filtered, {equal}; "
            f"{torch.get_num_threads()} threads, PyKEEN's batch size {BATCH}"
        )
        found.append(measured.row(NAME, "PyKEEN RankBasedEvaluator", unit="triples/s", setting=setting))
    return found


def _ours(embedding: KnowledgeGraphEmbedding, sample: np.ndarray, known: np.ndarray) -> float:
    ranks(embedding, sample, filter=known)
    return len(sample)


class _Peer:
    """PyKEEN's evaluator over its own model with our vectors."""

    def __init__(
        self, embedding: KnowledgeGraphEmbedding, training: np.ndarray, sample: np.ndarray, known: np.ndarray
    ) -> None:
        from pykeen.models import model_resolver
        from pykeen.triples import CoreTriplesFactory

        factory = CoreTriplesFactory(
            torch.from_numpy(training), num_entities=len(embedding.entities), num_relations=len(embedding.relations)
        )
        width, name = embedding.entities.shape[1], embedding.recipe.model
        options = {"scoring_fct_norm": embedding.recipe.norm} if name == "transe" else {}
        width = width // 2 if embedding.interaction.complex else width
        self.model = model_resolver.make(
            name, triples_factory=factory, embedding_dim=width, random_seed=0, **options
        ).eval()
        links = torch.from_numpy(embedding.relations)
        if name == "rotate":  # PyKEEN has the numbers whose angles these are
            links = torch.view_as_real(torch.complex(links.cos(), links.sin())).flatten(1)
        with torch.no_grad():
            for kind, vectors in (("entity", torch.from_numpy(embedding.entities)), ("relation", links)):
                getattr(self.model, f"{kind}_representations")[0]._embeddings.weight.copy_(vectors)
        self.sample, self.known = torch.from_numpy(sample), torch.from_numpy(known)

    def work(self) -> float:
        """Evaluates the sample as PyKEEN's users do; returns the number of triples."""
        from pykeen.evaluation import RankBasedEvaluator

        self._evaluate(RankBasedEvaluator(filtered=True))
        return len(self.sample)

    def ranks(self) -> dict[str, np.ndarray]:
        """Returns the realistic ranks by side, which the evaluator otherwise only averages."""
        from pykeen.evaluation import RankBasedEvaluator

        class Keeper(RankBasedEvaluator):  # type: ignore[misc]
            kept: dict[str, np.ndarray]

            def finalize(self) -> object:
                self.kept = {
                    side: np.concatenate(parts) for (side, rule), parts in self.ranks.items() if rule == "realistic"
                }
                return super().finalize()

        keeper = Keeper(filtered=True)
        self._evaluate(keeper)
        return keeper.kept

    def _evaluate(self, evaluator: object) -> None:
        evaluator.evaluate(  # type: ignore[attr-defined]
            model=self.model,
            mapped_triples=self.sample,
            additional_filter_triples=[self.known],
            batch_size=BATCH,
            use_tqdm=False,
        )


def _check_equal(
    embedding: KnowledgeGraphEmbedding, sample: np.ndarray, known: np.ndarray, theirs: dict[str, np.ndarray]
) -> str:
    """Raises if ranks differ by more than rounding explains; returns how many are equal, in words."""
    ours, equal = ranks(embedding, sample, filter=known), 0
    rounding = 1e-5 * float(np.linalg.norm(embedding.entities, axis=1).max()) ** 2
    wide = ranks(embedding, sample, filter=known, tolerance=rounding)
    for side in ("head", "tail"):
        near, same = wide.sides[side], ours[side] == theirs[side]
        allowed = (theirs[side] > near.better) & (theirs[side] <= 1 + near.better + near.tied)
        wrong = int((~(same if embedding.recipe.model == "transe" else same | allowed)).sum())
        if wrong:
            raise AssertionError(f"{wrong} of {len(same)} {side} ranks differ from PyKEEN's")
        equal += int(same.sum())
    return (
        "ranks equal" if equal == 2 * len(sample) else f"{equal} of {2 * len(sample)} ranks equal, the rest near ties"
    )


def _graph() -> tuple[str, list[np.ndarray]]:
    root = os.environ.get("KELM_DATA")
    folder = Path(root) / "kg" / "codex" / "codex-m" if root else None
    if folder is None or not folder.is_dir():
        return "generated graph of CoDEx-M's size", _generated()
    names: tuple[dict[str, int], ...] = ({}, {}, {})
    kinds = (names[0], names[1], names[0])
    splits = []
    for split in ("train", "valid", "test"):
        with gzip.open(folder / f"{split}.txt.gz", "rt", encoding="utf-8") as lines:
            parts = (line.rstrip("\n").split("\t") for line in lines)
            ids = [[kind.setdefault(name, len(kind)) for kind, name in zip(kinds, row, strict=True)] for row in parts]
        splits.append(np.array(ids, np.int64))
    return "CoDEx-M", splits


def _generated() -> list[np.ndarray]:
    """A few relations and a few tails take most triples, as in CoDEx-M, where 'citizen of the United States' is the
    question of thousands."""
    random = np.random.default_rng(0)
    wanted = TRAINING + 2 * HELD_OUT
    rows = np.empty((0, 3), np.int64)
    while len(rows) < wanted:
        heads = random.integers(0, ENTITIES, wanted)
        relations = np.minimum(random.zipf(1.6, wanted) - 1, RELATIONS - 1)
        tails = np.minimum(random.zipf(1.3, wanted) - 1 + 37 * relations, ENTITIES - 1)
        rows = np.unique(np.concatenate((rows, np.stack((heads, relations, tails), axis=1))), axis=0)
    rows = random.permutation(rows)[:wanted]
    return [np.ascontiguousarray(part) for part in np.split(rows, [TRAINING, TRAINING + HELD_OUT])]
