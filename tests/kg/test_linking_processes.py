"""Linking in several processes: the same as in one, in order, and with an end, however it ends."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from functools import partial

import pytest

from kelm.errors import FormatError, InputError, KelmError
from kg.linking.alias import AliasLinker
from kg.linking.base import Mention
from kg.linking.linked_text import line_of
from kg.linking.processes import link_everywhere

TEXTS = [f"{'x' * (number % 7)} Paris, and {number} times 北京" for number in range(200)]


@pytest.fixture
def linker() -> AliasLinker:
    return AliasLinker([("Paris", "Q90", 3.0), ("Paris", "Q167646"), ("北京", "Q956")])


def pair(text: str, mentions: list[Mention]) -> tuple[str, list[Mention]]:
    return text, mentions


def failing(text: str, mentions: list[Mention]) -> str:
    if "100 times" in text:
        raise FormatError("a bad text", path="texts.txt", line=101)
    return text


def ending(text: str, mentions: list[Mention]) -> str:
    os._exit(3)


def nobody_is_left() -> bool:
    for process in multiprocessing.active_children():
        process.join(30)
    return not multiprocessing.active_children()


def test_two_processes_find_what_one_finds_in_the_same_order(linker: AliasLinker) -> None:
    expected = [line_of(text, linker.link(text), candidates=5) for text in TEXTS]
    each = partial(line_of, candidates=5)
    assert list(link_everywhere(linker, iter(TEXTS), each)) == expected
    assert list(link_everywhere(linker, iter(TEXTS), each, portion=1)) == expected
    assert list(link_everywhere(linker, iter(TEXTS), each, processes=2, portion=300)) == expected
    assert nobody_is_left()
    assert json.loads(expected[0])["mentions"] == [[1, 6, "Q90"], [20, 22, "Q956"]]


def test_texts_are_read_as_they_are_needed(linker: AliasLinker) -> None:
    read: list[int] = []

    def counted() -> Iterator[str]:
        for number, text in enumerate(TEXTS):
            read.append(number)
            yield text

    stream = link_everywhere(linker, counted(), pair, processes=2, portion=1)
    assert next(stream) == (TEXTS[0], linker.link(TEXTS[0]))
    assert len(read) <= 2 * 2 + 1
    stream.close()  # nobody wants the rest
    assert len(read) <= 2 * 2 + 1
    assert nobody_is_left()
    assert next(link_everywhere(linker, iter(["Paris", "x"]), pair, portion=1))[0] == "Paris"


def test_what_fails_in_a_process_is_told_as_in_one_and_what_came_before_is_there(linker: AliasLinker) -> None:
    for processes in (1, 2):
        done: list[str] = []
        with pytest.raises(FormatError, match=r"texts\.txt, line 101: a bad text"):
            done.extend(link_everywhere(linker, TEXTS, failing, processes=processes, portion=1))
        assert done == TEXTS[:100]
    assert nobody_is_left()


def test_texts_that_cannot_be_read_on_end_the_processes(linker: AliasLinker) -> None:
    def stopped() -> Iterator[str]:
        yield from TEXTS
        raise KeyboardInterrupt

    def unreadable() -> Iterator[str]:
        yield from TEXTS[:5]
        raise FormatError("no text", path="texts.txt", line=6)

    for processes in (1, 2):
        read: list[tuple[str, list[Mention]]] = []
        with pytest.raises(FormatError, match=r"texts\.txt, line 6"):
            read.extend(link_everywhere(linker, unreadable(), pair, processes=processes))
        assert [text for text, _ in read] == TEXTS[:5]
    with pytest.raises(KeyboardInterrupt):
        list(link_everywhere(linker, stopped(), pair, processes=2, portion=300))
    assert nobody_is_left()


def test_a_process_that_ends_by_itself_is_told(linker: AliasLinker) -> None:
    with pytest.raises(KelmError, match=r"ended by itself.*fewer processes"):
        list(link_everywhere(linker, TEXTS, ending, processes=2))
    assert nobody_is_left()


@pytest.mark.parametrize("field", ["processes", "portion"])
def test_less_than_one_is_refused(linker: AliasLinker, field: str) -> None:
    with pytest.raises(InputError, match=f"field {field}: expected 1 or more, found 0"):
        next(link_everywhere(linker, TEXTS, pair, **{field: 0}))
