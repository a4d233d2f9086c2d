"""How knowledge and languages plug into the encoder: `Stream` flows, an `Extension` may touch it at three places.

    tokens -> word vectors -(embed)-> + positions, types, norm -> Stream -(layer 0 .. n-1)-> Stream -(finish)-> Stream

Override what you need; the rest is the identity. Extensions apply in list order, the first is innermost.
Output projections of additions start at zero, so that a fresh extension leaves the encoder's output as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from kelm.batch import Batch
from kelm.typing import Float, Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

    from kelm.model.config import EncoderConfig

__all__ = ["Extension", "Step", "Stream"]


@dataclass(frozen=True, slots=True)
class Stream:
    """The one thing that flows between layers.

    Attributes:
        hidden: the token states; between the layers of a QRNN wider than its words and what comes out.
        batch: what is being read.
        vocabulary: the word embedding table, for tied output layers.
        mask: `batch.visibility` expanded once for all layers; None hides nothing.
        side: further streams by name, such as ERNIE's entity states.
        losses: sums that extensions add to the loss, by name; `batch.units` says over how many.
        trail: the states before the first and after every layer, if the caller asked to keep them.
    """

    hidden: Float[Tensor, "row token width"]
    batch: Batch
    vocabulary: Float[Tensor, "word output"]
    mask: Tensor | BlockMask | None = None
    side: Mapping[str, Tensor] = field(default_factory=dict)
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    trail: tuple[Tensor, ...] = ()

    def having(self, **changes: Any) -> Stream:
        """Returns the stream with fields changed."""
        return dataclasses.replace(self, **changes)


Step = Callable[[Stream], Stream]


class Extension(nn.Module):
    """A part that plugs into the encoder. Registered by entry point in the group ``kelm.extensions``.

    A subclass takes the encoder's configuration and its own options, all of them JSON values with defaults:
    ``def __init__(self, config: EncoderConfig, *, width: int = 100)``. The options are stored in the checkpoint.

    Attributes:
        options: what the checkpoint stores to build the extension again; as given, unless a subclass resolves them.
        innermost: it needs a layer's halves (`step.attend`, `step.expand`, `step.contract`), so `step` must be the
            `Layer` itself: no other extension may stand between. The encoder checks that.
        muted: it adds nothing, as if what it knows were not there; what a model loses by that is the knowledge's share.
            Not stored; see `Encoder.mute`.
    """

    innermost: ClassVar[bool] = False
    muted: bool = False

    def __init__(self, config: EncoderConfig, **options: Any) -> None:
        super().__init__()
        self.options: dict[str, Any] = options

    def embed(self, vectors: Float[Tensor, "row token width"], batch: Batch) -> Float[Tensor, "row token width"]:
        """Changes the word vectors, before position, type and norm."""
        return vectors

    def layer(self, step: Step, index: int, stream: Stream) -> Stream:
        """Acts before, after or instead of layer `index` (counted from 0), which is `step`."""
        return step(stream)

    def finish(self, stream: Stream) -> Stream:
        """Changes what the encoder returns."""
        return stream

    def save(self, folder: Path) -> None:
        """Writes what is not a weight (a memory-mapped table, a word list) into the model's folder."""

    def restore(self, folder: Path) -> None:
        """Reads back what `save` wrote."""
