"""Entity vectors as a tensor that stays where the table is: in a file, mapped into memory."""

from __future__ import annotations

import warnings

import torch

from kelm.typing import Float, Tensor
from kg.embeddings.table import EntityTable

__all__ = ["without_copy"]


def without_copy(table: EntityTable) -> Float[Tensor, "entity width"]:
    """Returns the vectors of a table; they are for reading only."""
    with warnings.catch_warnings():  # the mapped file is read-only, and so is what we do with it
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(table.vectors)
