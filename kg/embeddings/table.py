"""Entity vectors by name, memory-mapped.

    table/manifest.json        model, recipe, the graph's fingerprint, sizes and checksums
    table/vectors.npy          float32, one row an entity
    table/names.blob.npy       the entities' names, as in the graph: UTF-8 bytes, offsets, and the sorted order
    table/relations.npy ...    the same for relations, where the table has them

Opening reads no vector; a text model that looks up a thousand entities touches a thousand rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float32, Int32, Int64

from kelm.errors import CheckpointError, InputError
from kg.storage import open_columns, save_columns
from kg.vocabulary import Vocabulary

__all__ = ["EntityTable"]

_KIND = "entity-table"
_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class EntityTable:
    """Vectors of named entities, and of relations where the model has them.

    Attributes:
        vectors: one row an entity; may be a read-only memory map.
        names: the entities' names; an id is a row of `vectors`.
        facts: where the vectors come from: model, recipe, graph fingerprint.
        relations, relation_names: the same for relations, or None.

    >>> table = EntityTable.from_vectors(["Q64", "Q183"], [[1.0, 0.0], [0.0, 1.0]])
    >>> len(table), table.width, table.ids(["Q183", "Q7"]).tolist()
    (2, 2, [1, -1])
    """

    vectors: Float32[np.ndarray, "entity width"]
    names: Vocabulary
    facts: Mapping[str, Any] = field(default_factory=dict)
    relations: Float32[np.ndarray, "relation width"] | None = None
    relation_names: Vocabulary | None = None

    def __post_init__(self) -> None:
        _check(self.vectors, self.names, "entities")
        if (self.relations is None) != (self.relation_names is None):
            raise InputError(
                "relation vectors and relation names come together", field="relations", remedy="Give both, or none."
            )
        if self.relations is not None and self.relation_names is not None:
            _check(self.relations, self.relation_names, "relations")

    @classmethod
    def from_vectors(
        cls,
        names: Vocabulary | Iterable[str],
        vectors: Any,
        *,
        facts: Mapping[str, Any] | None = None,
        relations: Any = None,
        relation_names: Vocabulary | Iterable[str] | None = None,
    ) -> Self:
        """Returns a table of vectors made elsewhere; a memory-mapped float32 matrix stays where it is.

        Raises:
            InputError: names and vectors differ in number, a name comes twice, or a number is not finite.
        """
        return cls(
            _matrix(vectors),
            _vocabulary(names),
            dict(facts or {}),
            None if relations is None else _matrix(relations),
            None if relation_names is None else _vocabulary(relation_names),
        )

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"EntityTable({len(self):,} entities, width {self.width})"

    def ids(self, names: Sequence[str]) -> Int32[np.ndarray, "name"]:
        """Returns the rows of `names`, -1 for the unknown."""
        return self.names.ids(names)

    def shuffled(self, seed: int) -> EntityTable:
        """Returns the same vectors permuted among the entities: a control that keeps their distribution, not their
        meaning. Being in the table remains a hint, hence the control. Cost: a copy in memory."""
        order = np.random.default_rng(seed).permutation(len(self))
        return replace(self, vectors=self.vectors[order], facts={**self.facts, "control": f"shuffled, seed {seed}"})

    def random(self, seed: int) -> EntityTable:
        """Returns normal random vectors with the mean and the deviation of each dimension: a control that keeps
        neither meaning nor shape. Cost: a new matrix in memory."""
        mean, deviation = self.vectors.mean(0, dtype=np.float64), self.vectors.std(0, dtype=np.float64)
        noise = np.random.default_rng(seed).standard_normal(self.vectors.shape, dtype=np.float32)
        vectors = noise * deviation.astype(np.float32) + mean.astype(np.float32)
        return replace(self, vectors=vectors, facts={**self.facts, "control": f"random, seed {seed}"})

    def nearest(
        self, vector: Float32[np.ndarray, "width"], count: int = 10
    ) -> tuple[Int64[np.ndarray, "entity"], Float32[np.ndarray, "entity"]]:
        """Returns the entities with the largest cosine to `vector`, and the cosines, in descending order.

        Cost: one pass over the table; a chunk of 65,536 rows in memory.
        """
        query = np.asarray(vector, np.float32)
        if query.shape != (self.width,):
            raise InputError(
                f"expected a vector of width {self.width}, found shape {query.shape}",
                field="vector",
                remedy="Pass a row of this table, or as many numbers.",
            )
        length = float(np.linalg.norm(query)) or 1.0
        cosines = np.empty(len(self), np.float32)
        for start in range(0, len(self), _CHUNK):
            rows = self.vectors[start : start + _CHUNK]
            lengths = np.maximum(np.linalg.norm(rows, axis=1), np.finfo(np.float32).tiny)
            cosines[start : start + _CHUNK] = rows @ query / (lengths * length)
        best = np.argsort(-cosines, kind="stable")[:count]
        return best, cosines[best]

    def save(self, folder: str | Path) -> None:
        """Writes the table to `folder`, aside and then renamed.

        Raises:
            CheckpointError: the folder holds something else, or cannot be written.
        """
        columns: dict[str, np.ndarray] = {"vectors": self.vectors, **_columns("names", self.names)}
        if self.relations is not None and self.relation_names is not None:
            columns |= {"relations": self.relations, **_columns("relation_names", self.relation_names)}
        save_columns(folder, columns, {"kind": _KIND, **self.facts})

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = True) -> Self:
        """Returns the table in `folder`; vectors and names stay on disk until they are used.

        Args:
            verify: compare checksums, which reads every file once; sizes are compared in any case.

        Raises:
            CheckpointError: no entity table is there, or it is damaged.
        """
        columns, facts = open_columns(folder, verify=verify)
        if facts.get("kind") != _KIND:
            raise CheckpointError(f"{folder}: expected an entity table, found another kind of folder. Check the path.")
        try:
            relations = columns.get("relations")
            return cls(
                columns["vectors"],
                _named(columns, "names"),
                {key: value for key, value in facts.items() if key != "kind"},
                relations,
                None if relations is None else _named(columns, "relation_names"),
            )
        except (KeyError, InputError) as error:
            raise CheckpointError(f"{folder}: the table is damaged: {error}. Embed the graph again.") from error


def _columns(name: str, names: Vocabulary) -> dict[str, np.ndarray]:
    return {f"{name}.blob": names.blob, f"{name}.offsets": names.offsets, f"{name}.order": names.order}


def _named(columns: Mapping[str, np.ndarray], name: str) -> Vocabulary:
    return Vocabulary(columns[f"{name}.blob"], columns[f"{name}.offsets"], columns[f"{name}.order"])


def _vocabulary(names: Vocabulary | Iterable[str]) -> Vocabulary:
    if isinstance(names, Vocabulary):
        return names
    listed = list(names)
    if len(set(listed)) < len(listed):
        twice = next(name for name in listed if listed.count(name) > 1)
        raise InputError(f'the name "{twice}" comes twice', field="names", remedy="Give each entity one row.")
    return Vocabulary.of(listed)


def _matrix(vectors: Any) -> Float32[np.ndarray, "row width"]:
    matrix = np.ascontiguousarray(vectors, dtype=np.float32)
    for start in range(0, len(matrix), _CHUNK):  # a matrix may be larger than the memory
        finite = np.isfinite(matrix[start : start + _CHUNK])
        if not finite.all():
            row = start + int(np.argmin(finite.reshape(len(finite), -1).all(1)))
            raise InputError(f"row {row} has a number that is not finite", field="vectors", remedy="Train again.")
    return matrix


def _check(vectors: np.ndarray, names: Vocabulary, what: str) -> None:
    if vectors.ndim != 2 or len(vectors) != len(names) or vectors.dtype != np.float32:
        raise InputError(
            f"expected one float32 row for each of {len(names)} {what}, found {vectors.dtype} of shape {vectors.shape}",
            field="vectors",
            remedy="Pass the vectors in the order of the names.",
        )
