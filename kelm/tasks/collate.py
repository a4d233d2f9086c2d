"""How labeled texts become a batch: packed, nothing corrupted, their labels numbered as the task numbers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kelm.batch import Batch, Encoded, pack
from kelm.data.labels import Numbering, key_of
from kelm.errors import KelmError

__all__ = ["LabelCollate"]


@dataclass(frozen=True)
class LabelCollate:
    """Packs; the loss counts by text.

    Attributes:
        labels: the task's; texts whose labels are numbered by another list are refused (KelmError).
    """

    pad: int
    objective: str
    labels: tuple[str, ...]
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        key = key_of(self.labels)
        for text in texts:
            if Numbering in text.parts and int(text[Numbering].key[0]) != key:
                raise KelmError(
                    f"{text.origin}: the corpus numbers its labels by another list than {self.objective}. "
                    "Give both the same names in the same order, or the same file."
                )
        units = {self.objective: self.units(texts)}
        return pack(texts, pad=self.pad, objective=self.objective, room=self.room, units=units)

    def units(self, texts: Sequence[Encoded]) -> int:
        """Returns how many things the loss is a sum over."""
        return len(texts)
