"""What every corpus keeps to, whoever wrote it."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kelm import plugins
from kelm.data.corpus import Corpus, Cursor, InMemory, Shard
from tests.contracts.examples import CORPORA, lacking

NAMES = sorted(CORPORA)


def made(name: str, folder: Path) -> Corpus[Any]:
    return CORPORA[name].make(CORPORA[name].write(folder))


def contents(items: Sequence[Any]) -> list[str]:
    """What each item holds, arrays and parts by their values, its number included."""
    return [f"{item.number} {InMemory([item]).fingerprint()}" for item in items]


def read(corpus: Corpus[Any], shard: Shard = Shard(), start: Cursor | None = None) -> list[str]:  # noqa: B008
    return contents([item for item, _ in corpus.stream(shard, start)])


def test_every_corpus_has_an_example() -> None:
    assert not (told := lacking("CORPORA", CORPORA, plugins.all("corpora"))), told


def test_a_plugin_without_an_example_is_told_where_to_add_it() -> None:
    told = lacking("CORPORA", {"old": 1, "both": 1}, {"new": 1, "both": 1})
    assert 'Add a line "new": ... to CORPORA in tests/contracts/examples.py.' in told
    assert 'Remove "old"' in told


@pytest.mark.parametrize("name", NAMES)
def test_every_pass_gives_the_same_texts_and_each_once(name: str, tmp_path: Path) -> None:
    corpus, example = made(name, tmp_path), CORPORA[name]
    items = [item for item, _ in corpus.stream()]
    assert len(set(contents(items))) == (example.texts or len(example.lines))
    assert all(item.origin.startswith(str(tmp_path)) for item in items)
    assert read(corpus) == contents(items)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shard", [Shard(), Shard(1, 2)], ids=str)
def test_it_goes_on_after_any_text_with_the_very_texts_that_follow(name: str, shard: Shard, tmp_path: Path) -> None:
    corpus = made(name, tmp_path)
    given = list(corpus.stream(shard))
    assert len(given) > 2
    for place, (_, cursor) in enumerate(given):
        kept: Cursor = json.loads(json.dumps(cursor))  # as in a checkpoint
        assert read(made(name, tmp_path), shard, kept) == contents([item for item, _ in given[place + 1 :]])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("processes", "workers"), [(1, 3), (2, 1), (2, 2)])
def test_processes_and_their_workers_read_each_text_exactly_once(
    name: str, processes: int, workers: int, tmp_path: Path
) -> None:
    corpus = made(name, tmp_path)
    shards = [part for process in range(processes) for part in Shard(process, processes).split(workers)]
    assert sorted(text for shard in shards for text in read(corpus, shard)) == sorted(read(corpus))


@pytest.mark.parametrize("name", NAMES)
def test_its_fingerprint_changes_with_the_file_and_only_then(name: str, tmp_path: Path) -> None:
    example = CORPORA[name]
    path = example.write(tmp_path)
    before = example.make(path).fingerprint()
    os.utime(path, (0, 0))
    list(example.make(path).stream())
    assert example.make(path).fingerprint() == before
    (tmp_path / "elsewhere").mkdir()
    assert example.make(example.write(tmp_path / "elsewhere")).fingerprint() == before
    for changed in (example.lines[1:], example.lines[:-1], example.lines[::-1]):
        assert example.make(example.write(tmp_path, changed)).fingerprint() != before


@pytest.mark.parametrize("name", NAMES)
def test_it_crosses_a_queue(name: str, tmp_path: Path) -> None:
    corpus = made(name, tmp_path)
    fresh = pickle.loads(pickle.dumps(corpus))
    texts = read(corpus)
    used = pickle.loads(pickle.dumps(corpus))  # whatever it opened stays behind
    assert read(fresh) == read(used) == texts
    assert fresh.fingerprint() == used.fingerprint() == corpus.fingerprint()
