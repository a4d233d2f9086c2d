"""Masking: rates within binomial bounds, whole words, contiguous spans, and randomness that belongs to the text."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.batch import Encoded, Targets
from kelm.errors import InputError, KelmError
from kelm.objectives.base import random_of
from kelm.objectives.masking import Kind, Masking, rarity
from kelm.objectives.mlm import MaskedLanguageModelCollate

VOCABULARY, SPECIAL = 500, (0, 1, 2, 3, 4, 250, 499)
PAD, CLS, SEP, MASK = 0, 2, 3, 4
KINDS: list[Kind] = ["token", "word", "span"]


def masking(**options: Any) -> Masking:
    return Masking(MASK, VOCABULARY, SPECIAL, **options)


def encoded(sizes: list[int], number: int = 0, second: int = 0) -> Encoded:
    """A text of words of the given sizes in tokens; with `second`, a [SEP] stands before the last so many words."""
    random = np.random.default_rng(number)
    words = np.repeat(np.arange(len(sizes)), sizes)
    tokens = random.integers(5, 250, len(words))
    border = sum(sizes[: len(sizes) - second]) if second else len(words)
    tokens = np.concatenate([[CLS], tokens[:border], [SEP] if second else [], tokens[border:], [SEP]]).astype(np.int64)
    words = np.concatenate([[-1], words[:border], [-1] if second else [], words[border:], [-1]]).astype(np.int64)
    nothing = np.full((len(tokens), 2), -1)
    return Encoded("", tokens, nothing, words, np.zeros_like(tokens), number=number)


def within(count: int, trials: int, share: float, deviations: float = 5) -> bool:
    """Whether a count lies within `deviations` standard deviations of a binomial's mean."""
    return abs(count - trials * share) <= deviations * math.sqrt(trials * share * (1 - share)) + 1e-9


TEXTS = [encoded([1 + (place * number) % 4 for place in range(20 + number % 30)], number) for number in range(1500)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_the_share_of_targets_is_the_rate(kind: Kind, rate: float) -> None:
    mask = masking(kind=kind, rate=rate)
    targets = sum(len(mask([text], 1)[0][1]) for text in TEXTS)
    maskable = sum(int((text.words >= 0).sum()) for text in TEXTS)
    if kind == "token":
        assert within(targets, maskable, rate)
    else:  # a last word that does not fit is left out
        assert rate - 0.025 < targets / maskable <= rate + 0.005


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shares", [(0.8, 0.1), (1.0, 0.0), (0.0, 1.0), (0.3, 0.3), (0.0, 0.0)])
def test_targets_are_seen_as_mask_random_or_themselves(kind: Kind, shares: tuple[float, float]) -> None:
    mask = masking(kind=kind, mask_share=shares[0], random_share=shares[1])
    masked = kept = total = 0
    for text in TEXTS:
        seen, targets = mask([text], 2)[0]
        masked += int((seen[targets] == MASK).sum())
        kept += int((seen[targets] == text.tokens[targets]).sum())
        total += len(targets)
    deviations = 5.0 if kind != "span" else 12.0  # the tokens of a span share a fate: their counts vary more
    assert within(masked, total, shares[0], deviations)
    by_chance = shares[1] / (VOCABULARY - len(SPECIAL))
    assert within(kept, total, 1 - sum(shares) + by_chance, deviations)


@pytest.mark.parametrize("kind", KINDS)
def test_only_targets_change_and_special_tokens_stay_out(kind: Kind) -> None:
    mask = masking(kind=kind, rate=0.5, mask_share=0.3, random_share=0.7)
    replacements = set()
    for text in TEXTS[:400]:
        original = text.tokens.copy()
        seen, targets = mask([text], 3)[0]
        assert np.array_equal(text.tokens, original)
        others = np.setdiff1d(np.arange(len(text)), targets)
        assert np.array_equal(seen[others], text.tokens[others])
        assert not np.isin(text.tokens[targets], SPECIAL).any()
        assert (text.words[targets] >= 0).all()
        replacements |= set(seen[targets].tolist()) - {MASK}
    assert not replacements & set(SPECIAL)
    assert replacements == set(range(VOCABULARY)) - set(SPECIAL)  # every other token occurs


def test_random_tokens_are_uniform_over_what_is_not_special() -> None:
    numbers = np.random.default_rng(0).integers(0, VOCABULARY - len(SPECIAL), 200_000)
    drawn = masking()._others(numbers, np.full(len(numbers), VOCABULARY - 1))
    counts = np.bincount(drawn, minlength=VOCABULARY)
    ordinary = np.setdiff1d(np.arange(VOCABULARY), SPECIAL)
    assert counts[list(SPECIAL)].sum() == 0
    assert all(within(int(count), 200_000, 1 / len(ordinary)) for count in counts[ordinary])


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_with_a_maskable_token_has_a_target(kind: Kind) -> None:
    for sizes in ([1], [7], [1, 1], [3, 3]):
        for seed in range(20):
            text = encoded(sizes)
            assert len(masking(kind=kind, rate=0.01)([text], seed)[0][1]) > 0
    unknown = encoded([1, 1]).having(tokens=np.array([CLS, 250, 250, SEP]))
    seen, targets = masking(kind=kind)([unknown], 0)[0]
    assert len(targets) == 0
    assert seen.tolist() == unknown.tokens.tolist()


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=30),
    kind=st.sampled_from(["word", "span"]),
    rate=st.floats(0.05, 1),
    seed=st.integers(0, 99),
)
def test_words_are_masked_whole(sizes: list[int], kind: Kind, rate: float, seed: int) -> None:
    text = encoded(sizes)
    _, targets = masking(kind=kind, rate=rate)([text], seed)[0]
    chosen = set(targets.tolist())
    for word in range(len(sizes)):
        places = set(np.flatnonzero(text.words == word).tolist())
        assert places <= chosen or not places & chosen


def test_spans_are_contiguous_share_a_fate_and_never_cross_a_special_token() -> None:
    text = encoded([2, 1, 3, 1, 1, 2, 1, 1, 4, 1, 1, 1], second=5)
    border = int(np.flatnonzero(text.tokens == SEP)[0])
    mask = masking(kind="span", rate=0.6)
    for seed in range(200):
        random = random_of(text, seed)
        units = mask._units(text, np.flatnonzero(text.words >= 0), 12, random)
        for unit in units:
            assert np.array_equal(unit, np.arange(unit[0], unit[-1] + 1))
            assert not unit[0] < border < unit[-1]
            words = np.unique(text.words[unit])
            assert np.array_equal(words, np.arange(words[0], words[-1] + 1))
        together = np.concatenate(units)
        assert len(np.unique(together)) == len(together) <= 12


def test_span_lengths_are_geometric_and_at_most_the_longest() -> None:
    mask, random = masking(kind="span"), np.random.default_rng(0)
    lengths = np.array([mask._length(random) for _ in range(20_000)])
    shares = 0.2 * 0.8 ** np.arange(10)
    shares /= shares.sum()
    assert lengths.max() == 10
    assert all(within(int((lengths == length).sum()), 20_000, shares[length - 1]) for length in range(1, 11))
    assert abs(lengths.mean() - 3.8) < 0.1  # the paper's mean


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("room", [None, 128])
def test_a_text_is_masked_alike_in_any_batch(kind: Kind, room: int | None) -> None:
    collate = MaskedLanguageModelCollate(masking(kind=kind), PAD, room=room)
    texts = TEXTS[:12]

    def found(batch_of: list[Encoded]) -> dict[int, tuple[list[int], list[int]]]:
        batch = collate(batch_of, 7)
        targets = batch[Targets]
        result = {}
        from kelm.batch import Texts

        where = batch[Texts]
        for place, text in enumerate(batch_of):
            row, start, end = int(where.row[place]), int(where.first[place]), int(where.last[place])
            mine = (targets.row == row) & (targets.token >= start) & (targets.token <= end)
            seen = batch.tokens[row, start : end + 1].tolist()
            assert targets.label[mine].tolist() == text.tokens[(targets.token[mine] - start).numpy()].tolist()
            result[text.number] = (seen, (targets.token[mine] - start).tolist())
        assert batch.units == {"mlm": len(targets.label)}
        return result

    together = found(texts)
    assert found(texts[::-1]) == together
    assert {number: value for text in texts for number, value in found([text]).items()} == together
    other = collate(texts, 8)
    assert not np.array_equal(other.tokens.numpy(), collate(texts, 7).tokens.numpy())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"kind": "words"}, "token, word, span"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": 1.5}, "rate is 1.5"),
        ({"mask_share": 0.8, "random_share": 0.3}, "shares of a whole"),
        ({"stop": 0.0}, "stop 0.0"),
        ({"longest": 0}, "longest 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(KelmError, match=word):
        masking(**options)


def test_tokens_are_chosen_as_often_as_their_weights_say(tmp_path: Path) -> None:
    counts = np.ones(VOCABULARY, np.int64)
    counts[10:20] = 100
    np.save(tmp_path / "counts.npy", counts)
    weights = rarity(tmp_path / "counts.npy", 0.5, VOCABULARY)
    mask = masking(weights=weights, rate=0.01)  # one of a text
    frequent, rare = np.tile(np.arange(10, 20), 5), np.arange(30, 40)
    tokens = np.concatenate([[CLS], frequent, rare, [SEP]])
    words = np.concatenate([[-1], np.arange(60), [-1]])
    text = Encoded("", tokens, np.full((62, 2), -1), words, np.zeros_like(tokens))
    chosen = [int(tokens[mask([text.having(number=number)], 3)[0][1][0]]) for number in range(4000)]
    share = 10 * 1.0 / (10 * 1.0 + 50 * 0.1)  # 100 ** -.5 is .1
    assert within(sum(one >= 30 for one in chosen), len(chosen), share)


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_counts_that_cannot_be_read_are_told_with_the_command_that_writes_them(
    content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "counts.npy").write_bytes(content)
    with pytest.raises(InputError, match="kelm vocab count"):
        rarity(tmp_path / "counts.npy", 0.5, VOCABULARY)


def test_counts_of_another_vocabulary_and_other_kinds_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "counts.npy", np.ones(7))
    with pytest.raises(InputError, match="Count with the vocabulary of this run"):
        rarity(tmp_path / "counts.npy", 0.5, VOCABULARY)
    with pytest.raises(KelmError, match="kind token"):
        masking(weights=np.ones(VOCABULARY), kind="word")


def test_which_tokens_are_chosen_is_uniform_over_sets_and_independent_of_the_number_and_seed() -> None:
    text = encoded([1] * 5)
    mask = masking(rate=0.4)  # two of five: ten sets
    sets: Counter[tuple[int, ...]] = Counter()
    for number in range(3000):
        for seed in (0, 1):
            sets[tuple(mask([text.having(number=number)], seed)[0][1].tolist())] += 1
    assert len(sets) == 10
    assert all(within(count, 6000, 0.1) for count in sets.values())
    pairs = Counter(
        (tuple(one[1].tolist()), tuple(other[1].tolist()))
        for number in range(0, 6000, 2)
        for one, other in [mask([text.having(number=number), text.having(number=number + 1)], 5)]
    )
    assert len(pairs) == 100 and all(within(count, 3000, 0.01) for count in pairs.values())


def test_no_texts_and_empty_ones_are_masked_as_they_are() -> None:
    assert masking()([], 0) == []
    nothing = encoded([]).having(tokens=np.array([CLS, SEP]), words=np.array([-1, -1]))
    (seen, targets), (_, some), (_, none) = masking()([nothing, encoded([1, 1]), nothing], 0)
    assert seen.tolist() == [CLS, SEP] and len(targets) == len(none) == 0 and len(some) == 1
