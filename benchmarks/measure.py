"""Fair comparison: ours and the peer by turns in one warm process; the median of at least five runs.

    warm-up   ours peer
    round 1   ours peer        the first of a round changes, so that neither profits from the other's caches
    round 2   peer ours
    ...                        value = seconds, or work / seconds
    memory    ours, then peer, each once more: the highest resident memory above what was resident before the call

The interval is the distribution-free one of a median, of the rounds' ratios: from five rounds it is their whole range
and covers the true median in 15 of 16 cases (Source: order statistics of the binomial; Conover, 1999, section 3.2).
"""

from __future__ import annotations

import ctypes
import gc
import math
import mmap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Generic, TypeVar

import psutil
import torch

__all__ = ["Built", "Comparison", "Row", "Work", "build", "compare", "interval", "peak_memory_mb", "threads"]

Row = dict[str, object]
Made = TypeVar("Made")
Work = Callable[[], float | None]  # returns how many units it worked through, or None where the seconds are the result


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` measured.

    Attributes:
        ours, peer: one value a round, in the order of the rounds.
        higher_is_better: True for rates (units a second), False for seconds.
        ours_memory_mb, peer_memory_mb: memory that one call needed beyond what was resident before it; None if not
            measured.
    """

    ours: tuple[float, ...]
    peer: tuple[float, ...]
    higher_is_better: bool
    ours_memory_mb: float | None = None
    peer_memory_mb: float | None = None

    @property
    def ratio(self) -> float:
        """Ratio of the medians; above 1 ours is better."""
        ours, peer = median(self.ours), median(self.peer)
        return ours / peer if self.higher_is_better else peer / ours

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """Interval of the median of the rounds' ratios, see `interval`."""
        pairs = zip(self.ours, self.peer, strict=True)
        return interval([ours / peer if self.higher_is_better else peer / ours for ours, peer in pairs])

    def row(self, benchmark: str, peer_name: str, *, unit: str | None = None, **more: object) -> Row:
        """Returns the row that `kelm bench` prints.

        Args:
            unit: of the values; "s" if the values are seconds and nothing is given.
            more: further columns, such as ``setting="random batches"``.
        """
        memory = {"ours_memory_mb": self.ours_memory_mb, "peer_memory_mb": self.peer_memory_mb}
        return {
            "benchmark": benchmark,
            "ours": _short(median(self.ours)),
            "peer": _short(median(self.peer)),
            "peer_name": peer_name,
            "unit": unit or ("units/s" if self.higher_is_better else "s"),
            "ratio": _short(self.ratio),
            "ratio_interval": [_short(bound) for bound in self.ratio_interval],
            **{name: _short(value) for name, value in memory.items() if value is not None},
            "runs": {"ours": [_short(value) for value in self.ours], "peer": [_short(value) for value in self.peer]},
            **more,
        }


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Lets PyTorch work with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(ours: Work, peer: Work, *, repeats: int = 5, warmup: int = 1, memory: bool = True) -> Comparison:
    """Runs `ours` and `peer` by turns and times each call.

    Both return the number of units they worked through (tokens, triples, mentions: then the values are units a
    second), or both return None (then the values are seconds). Set-up that is not to be timed happens before.

    Args:
        repeats: rounds that count; each runs both.
        warmup: rounds before them that do not count.
        memory: measure the peak memory of one more call of each.

    Raises:
        ValueError: fewer than one round, or one side returns units and the other does not.

    Example:
        ``compare(lambda: load(path), lambda: rdflib_load(path)).row("graph-load", "rdflib 7.1")``
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(f"expected repeats >= 1 and warmup >= 0, found {repeats} and {warmup}.")
    for _ in range(warmup):
        _timed(ours), _timed(peer)
    runs: tuple[list[tuple[float, float | None]], ...] = ([], [])
    for number in range(repeats):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            runs[side].append(_timed((ours, peer)[side]))
    rates = {units is not None for side in runs for _, units in side}
    if len(rates) > 1:
        raise ValueError("one call returned units and another None; return units from all of them or from none.")
    our_values, peer_values = (
        tuple(seconds if units is None else units / seconds for seconds, units in side) for side in runs
    )
    return Comparison(
        our_values,
        peer_values,
        higher_is_better=rates.pop(),
        ours_memory_mb=peak_memory_mb(ours) if memory else None,
        peer_memory_mb=peak_memory_mb(peer) if memory else None,
    )


def _timed(work: Work) -> tuple[float, float | None]:
    gc.collect()  # the garbage of the other side is not ours to collect
    start = time.perf_counter()
    units = work()
    return time.perf_counter() - start, units


def interval(values: Sequence[float], *, coverage: float = 0.9) -> tuple[float, float]:
    """Returns the narrowest pair of order statistics that covers the median with at least `coverage`.

    Below five values at 0.9 none does; the whole range is returned then.

    >>> interval([1.0, 5.0, 2.0, 3.0, 4.0])
    (1.0, 5.0)
    """
    ordered, count = sorted(values), len(values)
    outside, dropped = 2.0 * 0.5**count, 0  # probability that the median lies outside the whole range
    while True:
        outside += 2.0 * math.comb(count, dropped + 1) * 0.5**count
        if 1.0 - outside < coverage or 2 * (dropped + 1) >= count:
            return ordered[dropped], ordered[count - 1 - dropped]
        dropped += 1


def peak_memory_mb(work: Work) -> float:
    """Returns how many MiB the resident memory of this process rose above its start while `work` ran.

    Freed heap is handed back to the system first, so that memory kept from earlier calls is not free of charge.
    Linux's own high-water mark is read where it can be reset; elsewhere a thread samples every millisecond.
    """
    before = _settled()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM; man 5 proc
    except OSError:
        peak = _sampled_peak(work)
    else:
        work()
        status = Path("/proc/self/status").read_text().splitlines()
        peak = 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return max(0, peak - before) / 2**20


@dataclass(frozen=True, slots=True)
class Built(Generic[Made]):
    """Something that `build` made, the seconds it took, and MiB: at the highest, and while it is kept."""

    made: Made
    seconds: float
    peak_mb: float
    kept_mb: float


def build(make: Callable[[], Made]) -> Built[Made]:
    """Makes something once, and measures time and memory.

    >>> build(lambda: bytes(50_000_000)).kept_mb > 40
    True
    """
    made: list[Made] = []
    before, start = _settled(), time.perf_counter()
    peak = peak_memory_mb(lambda: made.append(make()))
    seconds = time.perf_counter() - start
    kept = max(mmap.PAGESIZE, _settled() - before)  # what fits into memory that was freed before does not show
    return Built(made[0], seconds, peak, kept / 2**20)


def _settled() -> int:
    """Returns the resident memory after freed heap is handed back to the system."""
    gc.collect()
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _resident()


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _sampled_peak(work: Work, *, pause: float = 0.001) -> int:
    done, highest = threading.Event(), [0]

    def sample() -> None:
        while not done.is_set():
            highest[0] = max(highest[0], _resident())
            done.wait(pause)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return max(highest[0], _resident())


def _short(value: float) -> float:
    return float(f"{value:.5g}")
