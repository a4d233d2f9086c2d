"""What one step works on: which objectives, which batches, and what their losses are divided by.

    loss = sum over objectives o, losses l:  weight(o) * sum(o, l) / units(o, l)

The units are counted over all accumulated batches of all processes before anything is computed. So the result does
not depend on how a step is divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch

from kelm.batch import PARTS, Batch, Texts
from kelm.training.device import everyone

__all__ = ["Batches", "Work", "draw", "turn"]

TEXTS, TOKENS = "/texts", "/tokens"  # no loss has a name with a slash


class Batches(Protocol):
    """A resumable stream of batches, such as `kelm.data`'s `BatchStream`."""

    def __iter__(self) -> Iterator[Batch]: ...

    def state(self) -> Any:
        """Returns the position after the last batch, as JSON values."""

    def restore(self, state: Any) -> None:
        """Makes the next iteration start at a position."""

    def times_read(self) -> Mapping[str, float]:
        """Returns how often each part of a mixture was read so far, by its name."""


@dataclass(frozen=True, slots=True)
class Work:
    """One step of this process.

    Attributes:
        batches: of this process.
        counts: by objective, over all processes: units of each loss, texts, tokens.
    """

    batches: tuple[Batch, ...]
    counts: Mapping[str, Counter[str]]

    def units(self, objective: str, loss: str) -> int:
        """Returns over how many things a loss is the sum; the texts if the objective does not say."""
        counts = self.counts[objective]
        return max(counts[loss] if loss in counts else counts[TEXTS], 1)

    @property
    def tokens(self) -> int:
        """Real tokens in all processes."""
        return sum(counts[TOKENS] for counts in self.counts.values())

    @property
    def parts(self) -> Counter[str]:
        """Tokens of each part of the data that says which it is, such as a language, in all processes."""
        named = ((name, count) for counts in self.counts.values() for name, count in counts.items())
        return _total(Counter({name.removeprefix(PARTS): count}) for name, count in named if name.startswith(PARTS))


def turn(names: Sequence[str], rates: Mapping[str, float] | None, seed: int, step: int) -> list[str]:
    """Returns the objectives of a step: all, or with `rates` one that is drawn, the same in every process."""
    if rates is None:
        return list(names)
    share = np.array([rates[name] for name in names])
    return [names[np.random.default_rng((seed, step)).choice(len(names), p=share / share.sum())]]


def draw(iterators: Mapping[str, Iterator[Batch]], names: Sequence[str], accumulation: int) -> Work | None:
    """Returns the next step's work, or None when the data of an objective has ended in some process.

    The last step before the end may have fewer batches; every process then takes as many as the one with the fewest.
    """
    with torch.random.fork_rng(devices=[]):  # reading data never moves the randomness of dropout
        drawn = {name: list(islice(iterators[name], accumulation)) for name in names}
    counted = everyone({name: [_counts(batch) for batch in batches] for name, batches in drawn.items()})
    common = {name: min(len(counts[name]) for counts in counted) for name in names}
    if not all(common.values()):
        return None
    return Work(
        batches=tuple(batch for name in names for batch in drawn[name][: common[name]]),
        counts={name: _total(count for counts in counted for count in counts[name][: common[name]]) for name in names},
    )


def _total(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)  # unlike +, keeps a loss that counts nothing
    return total


def _counts(batch: Batch) -> Counter[str]:
    texts = len(batch[Texts].row) if Texts in batch else len(batch.tokens)
    return Counter({**batch.units, TEXTS: texts, TOKENS: int(batch.real.sum())})
