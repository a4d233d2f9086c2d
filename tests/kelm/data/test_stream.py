"""Batches: hardly any padding, every text once a pass, and exact continuation at every batch."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.batch import Batch, Encoded, Targets, pack
from kelm.data import bucketing
from kelm.data.corpus import InMemory, Shard
from kelm.data.reader import Reader
from kelm.data.sources import TextFiles
from kelm.data.stream import BatchStream
from kelm.errors import KelmError, TextTooLong
from kelm.objectives.masking import Masking
from kelm.objectives.mlm import MaskedLanguageModelCollate
from kelm.text import vocabulary

MASK = Masking(mask=4, vocabulary=1000, special=(0, 1, 2, 3, 4))
COLLATE = MaskedLanguageModelCollate(MASK, pad=0)


def texts(count: int, seed: int = 0, longest: int = 60) -> list[Encoded]:
    """Random texts with log-normal lengths, as sentences have them; each starts with its number."""
    random = np.random.default_rng(seed)
    lengths = np.exp(random.normal(3.3, 0.6, count)).astype(int).clip(4, longest)
    return [encoded(number, int(length), random) for number, length in enumerate(lengths)]


def encoded(number: int, length: int, random: np.random.Generator) -> Encoded:
    tokens = random.integers(5, 1000, length)
    words = np.arange(length) - 1
    words[-1] = -1
    tokens[0], tokens[-1] = 2, 3
    nothing = np.full((length, 2), -1)
    return Encoded("", tokens, nothing, words, np.zeros(length, dtype=np.int64), number=number, origin=f"text {number}")


CORPUS = InMemory(texts(300))


def stream(**options: Any) -> BatchStream[Encoded]:
    settings: dict[str, Any] = {"tokens": 200, "pool": 64, "seed": 5, **options}
    return BatchStream(CORPUS, COLLATE, **settings)


def equal(a: Batch, b: Batch) -> bool:
    return (
        torch.equal(a.tokens, b.tokens)
        and torch.equal(a.visibility.document, b.visibility.document)
        and torch.equal(a[Targets].token, b[Targets].token)
        and torch.equal(a[Targets].row, b[Targets].row)
        and torch.equal(a[Targets].label, b[Targets].label)
        and (a.origins, a.units, a.cursor) == (b.origins, b.units, b.cursor)
    )


def first(batches: Any, count: int) -> list[Batch]:
    iterator = iter(batches)
    found = [next(iterator) for _ in range(count)]
    iterator.close()
    return found


# padding


@pytest.mark.parametrize("room", [None, 128, 512])
@pytest.mark.parametrize("seed", range(2))
def test_less_than_five_percent_is_padding_on_sentence_lengths(room: int | None, seed: int) -> None:
    batches = list(BatchStream(InMemory(texts(2048, seed, 128)), COLLATE, tokens=2048, room=room, passes=1, seed=seed))
    positions, real = sum(b.tokens.numel() for b in batches), sum(int(b.real.sum()) for b in batches)
    assert 1 - real / positions < 0.05
    assert sum(len(b.origins) for b in batches) == 2048


@pytest.mark.parametrize("room", [None, 128, 512])
@pytest.mark.parametrize("file", ["parallel/ntrex/newstest2019-src.eng.txt.gz", "parallel/ntrex/ref.fin.txt.gz"])
def test_less_than_five_percent_is_padding_on_real_text(data: Path, file: str, room: int | None) -> None:
    lines = [text.text for text, _ in TextFiles(data / file).stream()]
    tokenizer = vocabulary.train(lines, 4000, "bpe")
    reader = Reader(TextFiles(data / file), tokenizer, 128)
    collate = MaskedLanguageModelCollate(Masking(tokenizer.mask, 4000, tuple(sorted(tokenizer.special))), tokenizer.pad)
    batches = list(BatchStream(reader, collate, tokens=2048, room=room, passes=1))
    positions, real = sum(b.tokens.numel() for b in batches), sum(int(b.real.sum()) for b in batches)
    assert sum(len(b.origins) for b in batches) == len(lines)
    assert 1 - real / positions < 0.05


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 64), min_size=1, max_size=80),
    tokens=st.integers(1, 400),
    room=st.sampled_from([None, 64, 100]),
    seed=st.one_of(st.none(), st.integers(0, 3)),
)
def test_every_text_is_in_one_batch(lengths: list[int], tokens: int, room: int | None, seed: int | None) -> None:
    random = None if seed is None else np.random.default_rng(seed)
    if room is None:
        batches = bucketing.bucketed(lengths, tokens, random)
    else:
        batches = bucketing.packed(lengths, tokens, room, random)
    assert sorted(text for batch in batches for text in batch) == list(range(len(lengths)))
    assert all(batches)


def test_batches_have_about_the_tokens_asked_for() -> None:
    for room in (None, 128):
        counts = [int(batch.real.sum()) for batch in stream(tokens=500, pool=300, room=room, passes=1, shuffle=False)]
        assert max(counts) < 800
        assert 350 < np.mean(counts) < 650


def test_room_reaches_a_collate_inside_a_collate() -> None:
    @dataclass(frozen=True)
    class Outer:
        words: MaskedLanguageModelCollate

    changed = bucketing.with_room(Outer(COLLATE), 99)
    assert changed.words.room == 99
    assert bucketing.with_room(COLLATE, None) is COLLATE
    with pytest.raises(KelmError, match="does not pack"):
        bucketing.with_room(lambda texts, seed: pack(texts, pad=0), 99)


def test_a_text_longer_than_a_row_is_refused_by_name() -> None:
    with pytest.raises(TextTooLong, match="do not fit a row of 16"):
        first(stream(room=16), 1)


# passes, order, randomness


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_gives_every_text_once(workers: int) -> None:
    seen = Counter(origin for batch in stream(passes=2, workers=workers) for origin in batch.origins)
    assert seen == {f"text {number}": 2 for number in range(300)}


def test_processes_divide_the_texts_among_them() -> None:
    seen = [{o for batch in stream(passes=1, shard=Shard(index, 3)) for o in batch.origins} for index in range(3)]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 300


def test_passes_differ_in_order_and_in_masking() -> None:
    batches = list(stream(passes=2))
    half = len(batches) // 2
    assert [batch.origins for batch in batches[:half]] != [batch.origins for batch in batches[half : 2 * half]]
    masked = [
        {origin: tuple(sorted(masked_of(batch, place))) for batch in some for place, origin in enumerate(batch.origins)}
        for some in (batches[:half], batches[-half:])
    ]
    both = masked[0].keys() & masked[1].keys()
    assert np.mean([masked[0][origin] != masked[1][origin] for origin in both]) > 0.9


def masked_of(batch: Batch, row: int) -> list[int]:
    targets = batch[Targets]
    return [int(token) for token in targets.token[targets.row == row]]


def test_without_shuffling_pools_keep_the_corpus_s_order() -> None:
    numbers = [[int(o.split()[1]) for o in batch.origins] for batch in stream(passes=1, shuffle=False)]
    pools = [number // 64 for batch in numbers for number in batch]
    assert pools == sorted(pools)


def test_another_seed_gives_other_batches_and_the_same_seed_the_same() -> None:
    one, same, other = (first(stream(seed=seed), 8) for seed in (1, 1, 2))
    assert all(map(equal, one, same))
    assert not any(torch.equal(a.tokens, b.tokens) for a, b in zip(one, other, strict=True))


def test_iterating_again_starts_again() -> None:
    stream_ = stream(passes=1)
    assert all(map(equal, list(stream_), list(stream_)))


def test_the_global_randomness_is_left_alone() -> None:
    before = torch.get_rng_state()
    first(stream(workers=2), 3)
    assert torch.equal(torch.get_rng_state(), before)


# exact continuation


@pytest.mark.parametrize("room", [None, 128])
def test_any_batch_can_be_continued_from(room: int | None) -> None:
    whole = first(stream(room=room), 90)  # more than two passes of about 41 batches
    for place in range(0, 75, 5):
        again = stream(room=room)
        again.restore(json.loads(json.dumps(whole[place].cursor)))
        assert all(map(equal, first(again, 4), whole[place + 1 :]))


def test_continuing_works_with_data_workers_at_every_turn() -> None:
    whole = first(stream(workers=2), 60)
    for place in (0, 1, 20, 43):
        again = stream(workers=2)
        again.restore(json.loads(json.dumps(whole[place].cursor)))
        assert all(map(equal, first(again, 15), whole[place + 1 :]))


def test_continuing_reaches_the_same_end_of_finite_passes() -> None:
    for workers in (0, 2):
        whole = list(stream(workers=workers, passes=1, shard=Shard(1, 2)))
        for place in (5, len(whole) - 2, len(whole) - 1):
            again = stream(workers=workers, passes=1, shard=Shard(1, 2))
            again.restore(whole[place].cursor)
            rest = list(again)
            assert len(rest) == len(whole) - 1 - place
            assert all(map(equal, rest, whole[place + 1 :]))


def test_the_state_is_of_the_last_batch_given_and_not_of_what_was_read_ahead() -> None:
    running = stream(workers=2)
    fresh = running.state()
    iterator = iter(running)
    assert running.state() == fresh
    for batch, _ in zip(iterator, range(5), strict=False):
        assert running.state() == batch.cursor
    iterator.close()  # type: ignore[attr-defined]


def test_a_restored_place_holds_for_one_iteration() -> None:
    whole = list(stream(passes=1))
    again = stream(passes=1)
    again.restore(whole[3].cursor)
    assert again.state() == whole[3].cursor
    assert len(list(again)) == len(whole) - 4
    assert len(list(again)) == len(whole)


def test_one_worker_gives_what_none_gives() -> None:
    assert all(map(equal, first(stream(workers=0), 20), first(stream(workers=1), 20)))


# processes


def test_workers_end_with_the_iteration() -> None:
    iterator = iter(stream(workers=2))
    next(iterator)
    assert len(multiprocessing.active_children()) == 2
    iterator.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_what_a_worker_needs_can_be_pickled(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the quick brown fox\n" * 9)
    reader = Reader(TextFiles(tmp_path / "a.txt"), vocabulary.train(["the quick brown fox"] * 9, 48, "wordpiece"), 16)
    copied = pickle.loads(pickle.dumps(BatchStream(reader, COLLATE, tokens=50, passes=1)))
    assert sum(len(batch.origins) for batch in copied) == 9


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell would ignore it
import multiprocessing
from tests.kelm.data.test_stream import stream
batches = iter(stream(workers=2))
next(batches)
try:
    print("ready", flush=True)
    for batch in batches:
        pass
except KeyboardInterrupt:
    batches.close()
    print("left", len(multiprocessing.active_children()), flush=True)
"""
UNCLOSED = """
from tests.kelm.data.test_stream import stream
batches = iter(stream(workers=2))
next(batches)
print("ready", flush=True)
"""


def script(code: str) -> subprocess.Popen[str]:
    """A Python process of a group of its own, which has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_ctrl_c_reaches_the_main_process_only_and_leaves_no_worker() -> None:
    process = script(INTERRUPTED)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    assert process.communicate(timeout=120) == ("left 0\n", "")
    assert process.returncode == 0


def test_workers_end_with_a_program_that_left_its_stream_open() -> None:
    process = script(UNCLOSED)
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nobody of its group is left
