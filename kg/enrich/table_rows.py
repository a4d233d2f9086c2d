"""The rows of an entity table by the entities' names, for data workers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kelm.errors import CheckpointError
from kg.embeddings.table import EntityTable

__all__ = ["TableRows"]


@dataclass(frozen=True)
class TableRows:
    """Tells the row of an entity, below 0 if it has none.

    Crosses a queue as a path; the table is opened where it is used.

    Attributes:
        folder: of the entity table.
    """

    folder: str

    def __call__(self, entity: str) -> int:
        return self._table.names.find(entity)

    def fingerprint(self) -> str:
        """Returns what the table's manifest says: sizes, checksums and where the vectors come from.

        Raises:
            CheckpointError: no table is there.
        """
        try:
            return (Path(self.folder) / "manifest.json").read_text(encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"{self.folder}: no entity table is there. Check the path.") from error

    @cached_property
    def _table(self) -> EntityTable:
        return EntityTable.open(self.folder)

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder}
