"""Batches without end, in the same order whatever happens: pools of texts, data workers, exact continuation.

    corpus -> pool of 4,096 texts -> shuffled, sorted by length -> batches, shuffled -> collate -> Batch
              position = (pass, pool, the corpus's cursor at its start, batches of it already given)

What a pool becomes is a function of the seed, the shard, the pass and the pool's number. To continue, the stream reads
the pool again and leaves out the batches that were given. Each data worker has a shard of its own, and they give
batches by turns.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Any, Generic, TypeVar
from weakref import finalize

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from kelm.batch import Batch
from kelm.data.bucketing import bucketed, packed, with_room
from kelm.data.corpus import Corpus, Cursor, Shard
from kelm.errors import FormatError, InputError, KelmError

__all__ = ["BatchStream"]

X = TypeVar("X")
Position = dict[str, Any]  # of one shard
_START: Position = {"pass": 0, "pool": 0, "cursor": None, "given": 0}


def _size(item: Any) -> int:
    return len(item)


class BatchStream(Generic[X]):
    """The batches of a corpus for one objective, resumable at any of them.

    An iteration starts at the beginning, or once at the place given to `restore`.

    >>> stream = BatchStream(corpus, objective.collate, tokens=8192, seed=1)     # doctest: +SKIP
    >>> batches = iter(stream); batch = next(batches); where = stream.state()    # doctest: +SKIP

    Args:
        collate: makes a batch of items; called in the data workers.
        tokens: real tokens of a batch aimed at.
        room: tokens of a row that several texts share. None: one text a row, texts of about the same length together.
        pool: items that are read, shuffled, sorted by length and divided into batches together. Items mix within a
            pool; of a corpus sorted by topic, shuffle the files first.
        shuffle: False keeps the corpus's order from pool to pool.
        workers: processes that read ahead; 0 reads in this one. The order depends on their number.
        shard: the part of this process among several.
        passes: passes over the corpus; None: without end.
        length: tokens of an item.
    """

    def __init__(
        self,
        corpus: Corpus[X],
        collate: Callable[[list[X], int], Batch],
        *,
        tokens: int,
        room: int | None = None,
        pool: int = 4096,
        seed: int = 0,
        shuffle: bool = True,
        workers: int = 0,
        shard: Shard = Shard(),  # noqa: B008
        passes: int | None = None,
        length: Callable[[X], int] = _size,
    ) -> None:
        for name, value in (("tokens", tokens), ("pool", pool), ("room", 1 if room is None else room)):
            if value < 1:
                raise KelmError(f"BatchStream: {name} is {value}; it must be at least 1.")
        self._feed = _Feed(
            corpus=corpus,
            collate=with_room(collate, room),
            tokens=tokens,
            room=room,
            pool=pool,
            seed=seed,
            shuffle=shuffle,
            shards=shard.split(max(workers, 1)),
            passes=passes,
            length=length,
        )
        self.workers = workers
        self._settings = {
            "corpus": corpus.fingerprint(),
            "tokens": tokens,
            "room": room,
            "pool": pool,
            "seed": seed,
            "shuffle": shuffle,
            "workers": max(workers, 1),
            "shard": [shard.index, shard.count],
        }
        self._fresh()

    def _fresh(self) -> None:
        self._positions: list[Position] = [_START] * len(self._feed.shards)
        self._turn = 0
        self._restored = False

    def __iter__(self) -> Iterator[Batch]:
        """Returns the batches from the beginning, or from the place just restored.

        Raises:
            FormatError: the corpus has no item (and what the corpus itself raises).
        """
        if not self._restored:
            self._fresh()
        self._restored = False
        return self._batches(replace(self._feed, positions=list(self._positions), turn=self._turn))

    def _batches(self, feed: _Feed[X]) -> Iterator[Batch]:
        empty = True
        with closing(_in_workers(feed, self.workers) if self.workers else feed.shard(0)) as source:
            for given in source:
                if given.error is not None:
                    raise given.error
                assert given.batch is not None
                self._positions[given.shard] = given.position
                self._turn = (given.shard + 1) % len(feed.shards)
                empty = False
                yield replace(given.batch, cursor=self.state())
        if empty and all(position is _START for position in feed.positions) and self._feed.passes != 0:
            raise FormatError("the corpus has no text", remedy="Give files with at least one line of text.")

    def state(self) -> dict[str, Any]:
        """Returns the place after the last batch that was given, as JSON values."""
        return {**self._settings, "turn": self._turn, "positions": list(self._positions)}

    def times_read(self) -> dict[str, float]:
        """Returns how often each part of a mixture was read so far, by its name; nothing of a plain corpus."""
        parts: dict[str, list[float]] = {}
        for position in self._positions:
            for name, times in self._feed.corpus.times_read(position["pass"], position["cursor"]).items():
                parts.setdefault(name, []).append(times)
        return {name: sum(times) / len(times) for name, times in parts.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Makes the next iteration start at `state`, with the very batches that would have followed.

        Raises:
            InputError: the state is of another corpus or of other settings, so that it means another place here.
        """
        for name, value in self._settings.items():
            if state.get(name) != value:
                raise InputError(
                    f"the data stream was saved with {name} {state.get(name)!r} and now has {value!r}",
                    field=name,
                    remedy="Continue with the same data and settings, or start anew.",
                )
        self._positions, self._turn, self._restored = list(state["positions"]), state["turn"], True


@dataclass(frozen=True, slots=True)
class _Given:
    """What crosses the queue: a shard's next batch and where the shard then stands, or the error that ended it."""

    shard: int
    batch: Batch | None
    position: Position
    error: KelmError | None = None


@dataclass(frozen=True)
class _Feed(IterableDataset[_Given], Generic[X]):
    """What a data worker runs; `turn` is the shard whose batch comes next."""

    corpus: Corpus[X]
    collate: Callable[[list[X], int], Batch]
    tokens: int
    room: int | None
    pool: int
    seed: int
    shuffle: bool
    shards: list[Shard]
    passes: int | None
    length: Callable[[X], int]
    positions: list[Position] = field(default_factory=list)
    turn: int = 0

    def __iter__(self) -> Iterator[_Given]:
        worker = get_worker_info()
        assert worker is not None
        # The loader asks its workers by turns from worker 0 on; after a restore worker 0 has the shard that is next.
        return self.shard((self.turn + worker.id) % len(self.shards))

    def shard(self, number: int) -> Generator[_Given, None, None]:
        """Yields the batches of a shard from its position on."""
        position = self.positions[number]
        try:
            for passing in count(position["pass"]):
                if passing == self.passes:
                    return
                nothing = position["cursor"] is None
                for batch, then in self._passed(number, {**position, "pass": passing}):
                    nothing = False
                    yield _Given(number, batch, then)
                if nothing:
                    return  # an empty shard would be read for ever
                position = _START
        except KelmError as error:
            yield _Given(number, None, position, error)

    def _passed(self, number: int, position: Position) -> Iterator[tuple[Batch, Position]]:
        passing, cursor, given = position["pass"], position["cursor"], position["given"]
        shard, source = self.shards[number], self.corpus.stream(self.shards[number], cursor)
        corruption = int(np.random.SeedSequence([self.seed, passing]).generate_state(1, np.uint64)[0])
        for pool in count(position["pool"]):
            random = np.random.default_rng((self.seed, shard.index, passing, pool))
            items, after = self._read(source, pool, random)
            if not items:
                return
            plan = self._plan(items, random if self.shuffle else None)
            for batch in range(given, len(plan)):
                made = self.collate([items[item] for item in plan[batch]], corruption)
                last = batch + 1 == len(plan)
                yield (
                    made,
                    {
                        "pass": passing,
                        "pool": pool + 1 if last else pool,
                        "cursor": after if last else cursor,
                        "given": 0 if last else batch + 1,
                    },
                )
            cursor, given = after, 0

    def _read(
        self, source: Iterator[tuple[X, Cursor]], pool: int, random: np.random.Generator
    ) -> tuple[list[X], Cursor | None]:
        size = self.pool
        if self.shuffle and pool == 0:  # another first pool in each pass, so that other texts meet
            size = int(random.integers(self.pool // 2, self.pool, endpoint=True)) or 1
        read = list(islice(source, size))
        return [item for item, _ in read], read[-1][1] if read else None

    def _plan(self, items: list[X], random: np.random.Generator | None) -> list[list[int]]:
        groups: dict[Any, list[int]] = {}
        for number, item in enumerate(items):
            groups.setdefault(self.corpus.together(item), []).append(number)
        plan = [
            [some[one] for one in batch] for some in groups.values() for batch in self._planned(some, items, random)
        ]
        return plan if random is None or len(groups) == 1 else [plan[one] for one in random.permutation(len(plan))]

    def _planned(self, numbers: list[int], items: list[X], random: np.random.Generator | None) -> list[list[int]]:
        """Returns the batches of some items, as places among them."""
        lengths = [self.length(items[number]) for number in numbers]
        if self.room is None:
            return bucketed(lengths, self.tokens, random)
        return packed(lengths, self.tokens, self.room, random)


def _in_workers(feed: _Feed[Any], workers: int) -> Generator[_Given, None, None]:
    """Yields what the workers give, by turns; ends them when it is closed, or at the latest when Python ends."""
    loader = DataLoader(
        feed,
        batch_size=None,
        num_workers=workers,
        collate_fn=_sent,
        worker_init_fn=_started,
        generator=torch.Generator().manual_seed(feed.seed),  # the global one is left as it was, for exact continuation
    )
    with _serial_tokenizers(), _signals_held():
        given: Any = iter(loader)
    # Dropping the iterator is not enough while an error is handled; and a program may end with the stream open.
    end, finalizing = finalize(loader, given._shutdown_workers), sys.is_finalizing
    try:
        yield from map(pickle.loads, given)
    finally:
        if not finalizing():  # by then `finalize` has done it
            end()


class _Sender(pickle.Pickler):
    """Writes tensors as plain bytes.

    PyTorch would send them as handles of shared memory, which small containers run out of and which cannot be taken
    over when one side is interrupted. A batch is a few hundred kilobytes; copying it costs nothing beside a step.
    """

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dtype != torch.bfloat16:  # NumPy has no bfloat16
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


def _sent(given: Any) -> bytes:
    """Called in the worker."""
    file = io.BytesIO()
    _Sender(file, protocol=pickle.HIGHEST_PROTOCOL).dump(given)
    return file.getvalue()


_SIGNALS = {signal.SIGINT, signal.SIGTERM}  # a terminal or a scheduler sends them to the whole process group


def _started(worker: int) -> None:
    """Leaves it to the main process to react to signals: it finishes its step, saves, and ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _obey_next)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _obey_next(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _signals_held() -> Iterator[None]:
    """While workers start, holds signals back, so that none hits a worker that cannot ignore it yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _serial_tokenizers() -> Iterator[None]:
    """While workers start, tells them that Hugging Face's tokenizers shall not use threads, which a fork breaks."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
