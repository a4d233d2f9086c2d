"""Pairs for next sentence prediction."""

from __future__ import annotations

import pytest

from kelm.data.corpus import InMemory, Shard, Text
from kelm.data.sentence_pairs import SentencePairs
from kelm.errors import KelmError


def corpus(count: int = 900) -> InMemory[Text]:
    return InMemory([f"sentence {number}" for number in range(count)])


def pairs(source: SentencePairs, shard: Shard = Shard()) -> list[Text]:  # noqa: B008
    return [pair for pair, _ in source.stream(shard)]


def number(text: str | None) -> int:
    assert text is not None
    return int(text.split()[1])


def test_half_of_the_pairs_follow_and_the_others_are_neither_next_nor_same() -> None:
    found = pairs(SentencePairs(corpus(), chunk=300))
    assert len(found) == 900 - 3  # the last of each chunk has no next
    for pair in found:
        apart = number(pair.pair) - number(pair.text)
        assert (apart == 1) == pair.fields["follows"]
        assert apart != 0
    share = sum(pair.fields["follows"] for pair in found) / len(found)
    assert abs(share - 0.5) < 5 * 0.5 / len(found) ** 0.5


def test_a_text_that_does_not_follow_may_be_any_other() -> None:
    seen = {
        number(pair.pair) for seed in range(60) for pair in pairs(SentencePairs(corpus(6), seed=seed, share=0.0))[2:3]
    }
    assert seen == {0, 1, 4, 5}


def test_every_shard_gives_its_own_of_the_same_pairs() -> None:
    whole = pairs(SentencePairs(corpus(), chunk=64))
    parts = [pairs(SentencePairs(corpus(), chunk=64), Shard(index, 3)) for index in range(3)]
    assert sorted((p.number, p.pair) for part in parts for p in part) == sorted((p.number, p.pair) for p in whole)


def test_it_continues_after_any_pair() -> None:
    source = SentencePairs(corpus(100), chunk=32)
    whole = list(source.stream(Shard(1, 2)))
    for place in (0, 7, 15, 16, 30):
        again = [pair for pair, _ in source.stream(Shard(1, 2), whole[place][1])]
        assert again == [pair for pair, _ in whole[place + 1 :]]


def test_an_impossible_share_is_refused() -> None:
    with pytest.raises(KelmError, match="expected a share in"):
        SentencePairs(corpus(), share=1.5)
