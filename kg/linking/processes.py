"""Linking a stream of texts, in one process or in several: the order stays, and little is in memory at a time.

texts --portions-->  worker 1   --lines-->  in the order of the texts
                     worker 2               at most two portions a worker are on their way
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

from kelm.errors import InputError, KelmError
from kg.linking.base import EntityLinker, Mention

__all__ = ["TOGETHER", "link_everywhere"]

TOGETHER = 1 << 16  # characters that are linked at once

Result = TypeVar("Result")

_here: list[Any] = []  # of a worker: its linker, language and `each`


def link_everywhere(
    linker: EntityLinker,
    texts: Iterable[str],
    each: Callable[[str, list[Mention]], Result],
    language: str | None = None,
    *,
    processes: int = 1,
    portion: int = TOGETHER,
) -> Iterator[Result]:
    """Yields ``each(text, mentions)`` for each text, in the order of the texts; the same with any number of processes.

    Args:
        linker: pickled once for each further process.
        each: runs where the linker runs. What it returns comes back through a pipe: a line of JSON comes cheaply, a
            thousand mentions as objects cost more than finding them. With several processes it is pickled, as the
            linker is: a function of a module, or a `functools.partial` of one.
        language: as for `EntityLinker.link`.
        processes: 1 works in this one. More are started anew ("spawn"), so a script that asks for them needs
            ``if __name__ == "__main__":``.
        portion: characters of text that are linked together, one text at least; 1 links each as soon as it is there.

    Raises:
        InputError: `processes` or `portion` is less than 1.
        KelmError: what the linker raises, or a process that ended by itself, as one that finds no memory does.

    Cost: a process needs about five seconds of a core to start; in these, one has linked twenty million characters and
        written them as JSON. The first one then has a twelfth of the work left. So, reckoned from processor time, two
        free cores gain nothing below forty million characters, and come near to half the time with many more. Where
        the cores are busy with other work, one process is faster (measured with 34 million characters).

    >>> from kg.linking.alias import AliasLinker
    >>> linker = AliasLinker([("Paris", "Q90")])
    >>> list(link_everywhere(linker, ["In Paris."], lambda text, mentions: [mention.entity for mention in mentions]))
    [['Q90']]
    """
    for field, value in (("processes", processes), ("portion", portion)):
        if value < 1:
            raise InputError(f"expected 1 or more, found {value}", field=field, remedy="Give 1 if in doubt.")
    failed: list[Exception] = []
    portions = _portions(texts, portion, failed)
    if processes == 1:
        for together in portions:
            yield from _linked(linker, language, each, together)
    else:
        yield from _shared(portions, processes, linker, language, each)
    if failed:
        raise failed[0]


def _shared(portions: Iterator[list[str]], processes: int, *given: Any) -> Iterator[Any]:
    """Yields what the processes return, in the order of the portions."""
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, given) as pool:
        waiting: deque[Future[list[Any]]] = deque()
        try:
            waiting.extend(pool.submit(_work, together) for together in islice(portions, 2 * processes))
            while waiting:
                yield from waiting.popleft().result()
                waiting.extend(pool.submit(_work, together) for together in islice(portions, 1))
        except BrokenProcessPool as error:
            raise KelmError(
                "a process that links texts ended by itself, perhaps for want of memory. Use fewer processes."
            ) from error
        finally:  # whatever happened, and also where nobody asks for the rest
            pool.shutdown(cancel_futures=True)  # waits: what is not waited for may never end


def _begin(*given: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    _here[:] = given


def _work(texts: Sequence[str]) -> list[Any]:
    linker, language, each = _here
    return _linked(linker, language, each, texts)


def _linked(
    linker: EntityLinker, language: str | None, each: Callable[[str, list[Mention]], Result], texts: Sequence[str]
) -> list[Result]:
    return [each(text, mentions) for text, mentions in zip(texts, linker.link_all(texts, language), strict=True)]


def _portions(texts: Iterable[str], size: int, failed: list[Exception]) -> Iterator[list[str]]:
    """Yields the texts in order, as many together as make `size` characters; a text counts one more than it has.

    Texts that cannot be read on are an error for `failed`, to be raised when those before it are done.
    """
    together: list[str] = []
    characters = 0
    try:
        for text in texts:
            together.append(text)
            characters += len(text) + 1
            if characters >= size:
                yield together
                together, characters = [], 0
    except Exception as error:
        failed.append(error)
    if together:
        yield together
