"""Who may see whom, as three small integers a token and never a stored square.

    document  0 0 0 0 0 0 1 1 -1        which text of the row; -1 is padding
    branch    0 0 1 1 0 0 0 0           0 is the trunk, k > 0 what hangs on it (K-BERT)
    anchor   -1 0 0 0 -1 -1 -1 -1       the mention that a token belongs to or hangs on

They are expanded where attention runs: to a boolean mask, or to FlexAttention's block mask.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from kelm.typing import Bool, Int, Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

__all__ = ["Visibility"]


class _Codes(NamedTuple):
    """What decides whom a token sees and who sees it."""

    document: Any
    place: Any
    branch: Any
    anchor: Any


@dataclass(frozen=True, slots=True)
class Visibility:
    """Who may see whom, as integer codes a token (K-BERT's visible matrix, packing and causality in one rule).

    i sees j  <=>  document equal, and (branch equal, or anchor equal and exactly one of them on the trunk),
                   and (not causal, or j <= i)

    Attributes:
        document: which text of the row; -1 is padding. Padding sees padding, so that no softmax is ever empty.
        branch: 0 = the sentence's trunk, k > 0 = injected branch k; None where there are no branches.
        anchor: on the trunk the id of the mention that a token belongs to, or -1; on a branch the mention it hangs on.
        causal: a token sees only what stands before it in the row, and itself.
        full: known to hide nothing: one text a row, no padding, no branches, not causal. Then no mask is needed.
    """

    document: Int[Tensor, "row token"]
    branch: Int[Tensor, "row token"] | None = None
    anchor: Int[Tensor, "row token"] | None = None
    causal: bool = False
    full: bool = False

    def __post_init__(self) -> None:
        if (self.branch is None) != (self.anchor is None):
            raise ValueError("Visibility: branch and anchor go together; give both or neither.")

    def _sees(self, here: _Codes, there: _Codes) -> Bool[Tensor, "..."]:
        """The rule itself, over codes that broadcast; `mask` and `mask_mod` both come from it."""
        sees: Tensor = here.document == there.document
        if here.branch is not None and there.branch is not None:
            hangs = (here.anchor == there.anchor) & ((here.branch == 0) != (there.branch == 0))
            sees = sees & ((here.branch == there.branch) | hangs)
        if self.causal:
            sees = sees & (there.place <= here.place)
        return sees

    def mask(self) -> Bool[Tensor, "row 1 token token"]:
        """Returns the expanded mask for `scaled_dot_product_attention`: True = seen.

        Cost: rows x tokens² booleans, on the device of the codes.
        """
        place = torch.arange(self.document.shape[1], device=self.document.device).expand_as(self.document)
        codes = (self.document, place, self.branch, self.anchor)
        small = [None if code is None else code.to(torch.int32) for code in codes]
        here, there = (_Codes(*(None if code is None else code.unsqueeze(axis) for code in small)) for axis in (2, 1))
        return self._sees(here, there).unsqueeze(1)

    def mask_mod(self) -> Any:
        """Returns FlexAttention's `mask_mod(row, head, query, key)` for the same rule."""

        def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            here, there = (
                _Codes(
                    self.document[row, place],
                    place,
                    None if self.branch is None else self.branch[row, place],
                    None if self.anchor is None else self.anchor[row, place],
                )
                for place in (query, key)
            )
            return self._sees(here, there)

        return sees

    def block_mask(self) -> BlockMask:
        """Returns the sparse block mask for FlexAttention (CUDA; FlexAttention has no backward pass on a CPU)."""
        from torch.nn.attention.flex_attention import create_block_mask

        rows, tokens = self.document.shape
        return create_block_mask(self.mask_mod(), rows, None, tokens, tokens, device=str(self.document.device))

    def map(self, change: Any) -> Visibility:
        """Returns the codes with `change` applied to each tensor."""
        return dataclasses.replace(
            self,
            document=change(self.document),
            branch=None if self.branch is None else change(self.branch),
            anchor=None if self.anchor is None else change(self.anchor),
        )
