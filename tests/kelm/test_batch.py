"""Packing, parts and visibility."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kelm.batch import Batch, Encoded, Part, Targets, Texts, Visibility, pack, place
from kelm.errors import MissingPart, TextTooLong
from kelm.typing import Int


@dataclass(frozen=True, slots=True)
class Names(Part):
    indices: ClassVar = {"row": "row", "token": "token", "text": "text"}
    row: Int[Tensor, "name"]
    token: Int[Tensor, "name"]
    text: Int[Tensor, "name"]
    entity: Int[Tensor, "name"]


def text_of(length: int, number: int = 0, **changes: object) -> Encoded:
    count = np.arange(length, dtype=np.int32)
    named = Names(torch.zeros(1).long(), torch.tensor([length - 1]), torch.zeros(1).long(), torch.tensor([number]))
    encoded = Encoded(
        text=f"text {number}",
        tokens=count + 10 * (number + 1),
        spans=np.stack([count, count + 1], axis=1),
        words=count,
        segments=np.zeros_like(count),
        number=number,
        origin=f"file:{number}",
    )
    return replace(encoded.having(named), **changes)  # type: ignore[arg-type]


lengths_of_texts = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(lengths=lengths_of_texts, room=st.none() | st.integers(9, 30))
def test_every_token_and_every_index_arrives_at_its_place(lengths: list[int], room: int | None) -> None:
    texts = [text_of(length, number) for number, length in enumerate(lengths)]
    batch = pack(texts, pad=-7, room=room)
    where, names = batch[Texts], batch[Names]
    assert int(batch.real.sum()) == sum(lengths)
    assert (batch.tokens[~batch.real] == -7).all()
    for number, text in enumerate(texts):
        row, first, last = int(where.row[number]), int(where.first[number]), int(where.last[number])
        assert batch.tokens[row, first : last + 1].tolist() == text.tokens.tolist()
        assert batch.positions[row, first : last + 1].tolist() == list(range(len(text)))
        assert (int(names.row[number]), int(names.token[number])) == (row, last)
        assert int(names.text[number]) == number == int(names.entity[number])
        seen = batch.visibility.mask()[row, 0, first].nonzero().flatten().tolist()
        assert seen == list(range(first, last + 1))
    if room is not None:
        assert batch.tokens.shape[1] <= room


@given(lengths=lengths_of_texts, room=st.integers(9, 30))
def test_first_fit_decreasing_puts_each_text_once_and_overfills_no_row(lengths: list[int], room: int) -> None:
    rows = place(lengths, room)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in row) <= room for row in rows)
    assert rows == slowly_placed(lengths, room)


def slowly_placed(lengths: list[int], room: int) -> list[list[int]]:
    """First-fit decreasing, as its name says it."""
    rows: list[list[int]] = []
    for text in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        fitting = (row for row in rows if sum(lengths[number] for number in row) + lengths[text] <= room)
        row = next(fitting, None)
        if row is None:
            rows.append([text])
        else:
            row.append(text)
    return rows


def test_a_text_longer_than_a_row_has_a_row_of_its_own() -> None:
    assert place([3, 12, 9, 3], 8) == slowly_placed([3, 12, 9, 3], 8) == [[1], [2], [0, 3]]
    assert place([], 8) == []


def test_an_index_of_minus_one_means_none_and_stays() -> None:
    nothing = Names(*(torch.tensor([-1]) for _ in range(4)))
    batch = pack([text_of(3), text_of(2, 1).having(nothing)], pad=0, room=8)
    assert [int(getattr(batch[Names], name)[1]) for name in ("row", "token", "text", "entity")] == [-1] * 4


def test_a_text_longer_than_the_row_names_its_origin() -> None:
    with pytest.raises(TextTooLong, match=r"file:3.*12 tokens do not fit a row of 8"):
        pack([text_of(12, 3)], pad=0, room=8)


def test_a_missing_part_says_what_is_there() -> None:
    with pytest.raises(MissingPart, match=r'batch of "mlm" has no Targets .it has: Names, Texts.'):
        pack([text_of(2)], pad=0, objective="mlm")[Targets]


def test_batches_and_texts_survive_pickling() -> None:
    batch: Batch = pickle.loads(pickle.dumps(pack([text_of(3), text_of(5, 1)], pad=0)))
    assert torch.equal(batch[Names].token, torch.tensor([2, 4]))


def test_only_a_batch_that_hides_nothing_goes_without_a_mask() -> None:
    assert pack([text_of(4), text_of(4, 1)], pad=0).visibility.full
    assert not pack([text_of(4), text_of(3, 1)], pad=0).visibility.full
    assert not pack([text_of(4), text_of(4, 1)], pad=0, room=8).visibility.full
    assert not pack([text_of(4)], pad=0, causal=True).visibility.full


def slow_mask(codes: Visibility) -> Tensor:
    """The rule of K-BERT's visible matrix, packing and causality, token by token."""
    rows, tokens = codes.document.shape
    mask = torch.zeros(rows, 1, tokens, tokens, dtype=torch.bool)
    for row in range(rows):
        for i in range(tokens):
            for j in range(tokens):
                sees = codes.document[row, i] == codes.document[row, j]
                if codes.branch is not None and codes.anchor is not None:
                    here, there = int(codes.branch[row, i]), int(codes.branch[row, j])
                    hangs = bool(codes.anchor[row, i] == codes.anchor[row, j])
                    one_on_the_trunk = (here == 0) != (there == 0)
                    sees &= here == there or (hangs and one_on_the_trunk)
                if codes.causal:
                    sees &= j <= i
                mask[row, 0, i, j] = sees
    return mask


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("branches", [False, True])
def test_the_mask_the_mask_function_and_the_slow_rule_agree(branches: bool, causal: bool) -> None:
    random = torch.Generator().manual_seed(4)
    document = torch.randint(-1, 2, (3, 14), generator=random)
    branch = torch.randint(0, 3, (3, 14), generator=random) if branches else None
    anchor = torch.randint(-1, 3, (3, 14), generator=random) if branches else None
    codes = Visibility(document, branch, anchor, causal=causal)
    expected = slow_mask(codes)
    assert torch.equal(codes.mask(), expected)
    row, query, key = torch.meshgrid(torch.arange(3), torch.arange(14), torch.arange(14), indexing="ij")
    assert torch.equal(codes.mask_mod()(row, torch.tensor(0), query, key), expected[:, 0])


def test_no_position_sees_nothing() -> None:
    codes = Visibility(torch.tensor([[0, 0, -1, -1], [-1, -1, -1, -1]]), causal=True)
    assert codes.mask().any(-1).all()


def test_the_papers_sentence_tree_is_visible_as_drawn() -> None:
    """K-BERT, figure 2: [CLS] Tim Cook (CEO Apple) is visiting Beijing (capital China) (is_a City) now."""
    branch = torch.tensor([[0, 0, 0, 1, 1, 0, 0, 0, 2, 2, 3, 3, 0]])
    anchor = torch.tensor([[-1, 0, 0, 0, 0, -1, -1, 1, 1, 1, 1, 1, -1]])
    sees = Visibility(torch.zeros_like(branch), branch, anchor).mask()[0, 0]
    cls, cook, ceo, apple, beijing, capital, china, is_a, now = 0, 2, 3, 4, 7, 8, 9, 10, 12
    assert sees[apple, cook] and sees[cook, apple] and sees[apple, ceo]
    assert not sees[cls, apple] and not sees[apple, cls] and not sees[apple, now]
    assert sees[beijing, china] and sees[beijing, is_a] and not sees[capital, is_a] and not sees[apple, china]
    assert sees[cls, cook] and sees[now, beijing]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_sees_what_the_mask_shows() -> None:
    from kelm.model.layers import attention

    random = torch.Generator().manual_seed(0)
    document = torch.cat([torch.zeros(2, 80), torch.ones(2, 30), -torch.ones(2, 18)], dim=1).long()
    branch, anchor = torch.zeros_like(document), torch.full_like(document, -1)
    branch[:, 20:24], anchor[:, 18:24] = 1, 5
    codes = Visibility(document, branch, anchor)
    queries, keys, values = (torch.randn(2, 2, 128, 16, generator=random) for _ in range(3))
    sparse = attention(queries, keys, values, codes.block_mask())
    dense = attention(queries, keys, values, codes.mask())
    assert torch.allclose(sparse, dense, atol=1e-5)
