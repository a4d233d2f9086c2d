"""The quasi-recurrent network: the papers' formulas in plain loops, who sees whom, what is dropped, what is pooled."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, linear

from kelm.batch import Batch, Encoded, Texts, pack
from kelm.errors import InputError, MissingPart
from multilingual.multifit.qrnn import QRNN, QRNNConfig, QRNNLayer, forget_mult, locked_dropout
from multilingual.multifit.smoothing import concat_pool, label_smoothed

SMALL: dict[str, Any] = {"vocab_size": 50, "embedding": 6, "hidden": 10, "layers": 3}
SILENT = dict.fromkeys(
    ("output_dropout", "hidden_dropout", "input_dropout", "embedding_dropout", "weight_dropout"), 0.0
)


def text(*tokens: int) -> Encoded:
    count = np.arange(len(tokens))
    return Encoded("", np.array(tokens, dtype=int), np.stack([count, count + 1], 1), count, np.zeros_like(count))


TEXTS = [text(2, 11, 12, 3), text(2, 13, 3), text(2, 14, 15, 16, 17, 3), text(7)]


def packed(texts: list[Encoded] = TEXTS, room: int | None = 8) -> Batch:
    return pack(texts, pad=0, room=room, causal=True)


def made(**options: Any) -> QRNN:
    torch.manual_seed(0)
    return QRNN(QRNNConfig(**{**SMALL, **options}))


def noise(*shape: int, seed: int = 0, **options: Any) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


def slow(z: torch.Tensor, f: torch.Tensor, start: torch.Tensor | None, opens: torch.Tensor) -> torch.Tensor:
    state = torch.zeros_like(z[:, 0]) if start is None else start
    states = []
    for token in range(z.shape[1]):
        state = torch.where(opens[:, token, None], 0.0, state)
        state = f[:, token] * state + (1 - f[:, token]) * z[:, token]
        states.append(state)
    return torch.stack(states, 1)


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(1, 40), started=st.booleans(), seed=st.integers(0, 99))
def test_the_state_and_its_gradients_are_the_formulas_one_token_after_another(
    tokens: int, started: bool, seed: int
) -> None:
    z, f = noise(3, tokens, 4, seed=seed, dtype=torch.double), noise(3, tokens, 4, seed=seed + 100).double().sigmoid()
    start = noise(3, 4, seed=seed + 200).double() if started else None
    opens = noise(3, tokens, seed=seed + 300) > 1
    given = [one.requires_grad_() for one in (z, f, start) if one is not None]
    ours, wanted = forget_mult(z, f, start, opens), slow(z, f, start, opens)
    torch.testing.assert_close(ours, wanted)
    weights = noise(3, tokens, 4, seed=seed + 400).double()
    for mine, true in zip(
        torch.autograd.grad((ours * weights).sum(), given),
        torch.autograd.grad((wanted * weights).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(mine, true)


def test_first_and_second_derivatives_are_those_of_finite_differences() -> None:
    z, start = noise(2, 7, 3).double().requires_grad_(), noise(2, 3, seed=1).double().requires_grad_()
    f = noise(2, 7, 3, seed=2).double().sigmoid().requires_grad_()
    opens = torch.zeros(2, 7, dtype=torch.bool)
    opens[0, 4] = opens[1, 0] = True
    run = lambda z, f, start: forget_mult(z, f, start, opens)  # noqa: E731
    assert torch.autograd.gradcheck(run, (z, f, start))
    assert torch.autograd.gradgradcheck(run, (z, f, start))


@pytest.mark.parametrize("gate", [0.0, 1e-30, 0.5, 1 - 1e-7, 1.0])
def test_closed_and_open_gates_over_thousands_of_tokens_stay_numbers(gate: float) -> None:
    z, f = noise(1, 3000, 2).requires_grad_(), torch.full((1, 3000, 2), gate, requires_grad=True)
    states = forget_mult(z, f, torch.ones(1, 2))
    states.sum().backward()
    exact = slow(z.double(), f.double(), torch.ones(1, 2).double(), torch.zeros(1, 3000, dtype=torch.bool))
    torch.testing.assert_close(states.double(), exact, atol=1e-5, rtol=1e-4)
    assert z.grad is not None and z.grad.isfinite().all()
    assert f.grad is not None and f.grad.isfinite().all()


def test_half_numbers_are_added_up_in_float32() -> None:
    z, f = noise(1, 200, 2).bfloat16(), torch.full((1, 200, 2), 0.99).bfloat16()
    states = forget_mult(z, f)
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, forget_mult(z.float(), f.float()))
    layer = QRNNLayer(2, 3).bfloat16()
    assert layer(z, torch.zeros(1, 200, dtype=torch.bool)).dtype == torch.bfloat16


def test_no_token_gives_no_state() -> None:
    assert forget_mult(torch.zeros(2, 0, 3), torch.zeros(2, 0, 3)).shape == (2, 0, 3)
    assert QRNNLayer(3, 4, window=2)(torch.zeros(2, 0, 3), torch.zeros(2, 0, dtype=torch.bool)).shape == (2, 0, 4)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_layer_is_the_papers_formula_in_plain_loops(window: int) -> None:
    layer = QRNNLayer(5, 4, window)
    inputs = noise(1, 7, 5)
    opens = torch.tensor([[True, False, False, False, True, False, False]])
    states = layer(inputs, opens)
    weights, bias, began = layer.gates.weight, layer.gates.bias, 0
    state = torch.zeros(4)
    for token in range(7):
        if opens[0, token]:
            began, state = token, torch.zeros(4)
        seen = [inputs[0, at] if at >= began else torch.zeros(5) for at in range(token, token - window, -1)]
        z, f, o = (weights @ torch.cat(seen) + bias).split(4)
        state = f.sigmoid() * state + (1 - f.sigmoid()) * z.tanh()
        torch.testing.assert_close(states[0, token], o.sigmoid() * state)


def test_the_papers_sizes_are_the_default_and_the_last_layer_is_as_wide_as_the_words() -> None:
    config = QRNNConfig(vocab_size=15_000)
    assert config.widths == (400, 1552, 1552, 1552, 400)
    with torch.device("meta"):
        qrnn = QRNN(config)
    shapes = [tuple(layer.gates.weight.shape) for layer in qrnn.layers]  # type: ignore[union-attr]
    assert shapes == [(4656, 800), (4656, 1552), (4656, 1552), (1200, 1552)]
    assert tuple(qrnn.vocabulary.shape) == (15_000, 400)


def test_dropouts_are_multiplied_together() -> None:
    config = QRNNConfig(vocab_size=9, zoneout=0.1)
    assert config.scaled(0) == replace(config, **SILENT)
    half = config.scaled(0.5)
    assert (half.output_dropout, half.hidden_dropout, half.input_dropout) == (0.125, 0.05, 0.1)
    assert (half.embedding_dropout, half.weight_dropout, half.zoneout) == (0.01, 0.075, 0.1)


@pytest.mark.parametrize("name", ["vocab_size", "embedding", "hidden", "layers", "window"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_size_is_a_whole_number_from_one(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"field {name}: expected a whole number"):
        QRNNConfig(**{**SMALL, name: value})


@pytest.mark.parametrize("name", ["zoneout", *SILENT])
@pytest.mark.parametrize("value", [1.0, -0.1, float("nan"), "0.1"])
def test_a_share_is_below_one(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"field {name}: expected a share"):
        QRNNConfig(**{**SMALL, name: value})


def test_a_layer_checks_its_own_numbers() -> None:
    with pytest.raises(InputError, match="field window"):
        QRNNLayer(2, 3, window=0)
    with pytest.raises(InputError, match="field zoneout"):
        QRNNLayer(2, 3, zoneout=1)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_text_is_read_the_same_alone_packed_and_padded(window: int) -> None:
    qrnn = made(window=window).eval()
    for room in (None, 8, 20):
        batch = packed(room=room)
        states, texts = qrnn(batch), batch[Texts]
        assert states.shape == (*batch.tokens.shape, SMALL["embedding"])
        assert (states[~batch.real] == 0).all()
        for number, one in enumerate(TEXTS):
            here = states[texts.row[number], texts.first[number] : texts.last[number] + 1]
            torch.testing.assert_close(here, qrnn(packed([one]))[0])


def test_no_gradient_crosses_from_one_text_to_another_or_back_in_time() -> None:
    qrnn, batch = made().eval(), packed(room=20)
    vectors = qrnn.words(batch.tokens).detach().requires_grad_()
    qrnn._embed = lambda tokens: vectors  # type: ignore[method-assign]
    states, mask = qrnn(batch), batch.visibility.mask()[0, 0]  # causal: the same rule as a Transformer's
    for token in range(int(batch.real.sum())):
        (gradient,) = torch.autograd.grad(states[0, token].sum(), vectors, retain_graph=True)
        assert ((gradient[0] != 0).any(-1) == mask[token]).all()


def test_padding_may_stand_before_a_text() -> None:
    qrnn, batch = made().eval(), packed([TEXTS[0]])
    codes = ("tokens", "positions", "segments")
    late = replace(
        batch,
        **{name: torch.cat([torch.zeros(1, 2).long(), getattr(batch, name)], 1) for name in codes},
        visibility=replace(batch.visibility, document=torch.tensor([[-1, -1, 0, 0, 0, 0]])),
    )
    states = qrnn(late)
    assert (states[:, :2] == 0).all()
    torch.testing.assert_close(states[:, 2:], qrnn(batch))


def test_injected_branches_are_refused() -> None:
    batch = packed([replace(TEXTS[1], branch=np.array([0, 1, 0]), anchor=np.array([-1, 0, -1]))])
    with pytest.raises(InputError, match="injected branches"):
        made()(batch)


def test_gradients_reach_every_parameter_and_the_seed_decides_what_is_dropped() -> None:
    qrnn, batch = made(zoneout=0.1), packed()
    torch.manual_seed(1)
    states = qrnn.drop_output(qrnn(batch), batch)
    states.square().sum().backward()
    assert all(weights.grad is not None and (weights.grad != 0).any() for weights in qrnn.parameters())
    torch.manual_seed(1)
    assert torch.equal(qrnn.drop_output(qrnn(batch), batch), states)
    assert not torch.equal(qrnn.drop_output(qrnn(batch), batch), states)


def test_nothing_is_dropped_in_evaluation_or_with_all_shares_at_zero() -> None:
    batch = packed()
    loud, silent = made(zoneout=0.5).eval(), made(**SILENT).train()
    assert torch.equal(loud(batch), silent(batch))
    states = silent(batch)
    assert torch.equal(loud.drop_output(states, batch), states)
    assert torch.equal(silent.drop_output(states, batch), states)


def test_locked_dropout_drops_the_same_features_at_all_tokens_of_a_text_and_others_in_the_next() -> None:
    document = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 0, 1, 1, -1, -1]])
    torch.manual_seed(0)
    dropped = locked_dropout(torch.ones(2, 6, 4000), document, 0.25)
    assert dropped.unique().tolist() == [0, pytest.approx(4 / 3)]
    masks = []
    for row in range(2):
        for number in range(int(document[row].max()) + 1):
            own = dropped[row, document[row] == number]
            assert (own == own[0]).all()
            masks.append(own[0])
    for mask in masks:
        assert (mask == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    for one, other in pairwise(masks):
        assert (one == other).float().mean() == pytest.approx(0.25**2 + 0.75**2, abs=0.03)


def test_a_dropped_word_is_dropped_wherever_it_stands() -> None:
    qrnn = made(vocab_size=4000, embedding_dropout=0.25)
    tokens = torch.arange(4000).repeat(1, 2)
    torch.manual_seed(0)
    share = (qrnn._embed(tokens) / qrnn.words(tokens)).detach()
    assert torch.equal(share[:, :4000], share[:, 4000:])
    assert ((share == 0).all(-1) | (share > 1.3).all(-1)).all()
    assert (share == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert share.max() == pytest.approx(4 / 3, rel=1e-4)


def test_weight_dropout_drops_weights_of_the_gates_for_all_tokens_and_keeps_the_bias() -> None:
    layer = QRNNLayer(100, 100, weight_dropout=0.15)
    torch.manual_seed(0)
    share = (layer._weights() / layer.gates.weight).detach()
    assert (share == 0).float().mean() == pytest.approx(0.15, abs=0.01)
    assert share.max() == pytest.approx(1 / 0.85, rel=1e-4)
    opens, same = torch.zeros(1, 5, dtype=torch.bool), noise(1, 1, 100).expand(1, 5, 100)
    opens[:] = True  # each token a text of its own
    states = layer(same, opens)
    torch.testing.assert_close(states, states[:, :1].expand_as(states))


def test_zoneout_keeps_the_state_of_the_token_before() -> None:
    layer = QRNNLayer(3, 4000, zoneout=0.25)
    with torch.no_grad():
        layer.gates.bias[8000:] = 100.0  # o = 1, so that h is c
    opens = torch.tensor([[True, False, False]])
    torch.manual_seed(0)
    states = layer(noise(1, 3, 3), opens)
    assert (states[0, 0] == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (states[0, 1] == states[0, 0]).float().mean() == pytest.approx(0.25, abs=0.03)


def test_it_learns_texts_by_heart_with_a_tied_softmax() -> None:
    qrnn = made(embedding=16, hidden=32, layers=2, **SILENT)
    batch = packed(TEXTS[:3], room=None)
    labels = torch.where(batch.real.roll(-1, 1), batch.tokens.roll(-1, 1), -100)
    labels[:, -1] = -100
    labels[:, 0] = -100  # nothing tells what a text begins with
    optimizer = torch.optim.Adam(qrnn.parameters(), 0.01)
    for _ in range(500):
        logits = linear(qrnn.drop_output(qrnn(batch), batch), qrnn.vocabulary)
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("norm_by_classes", [False, True])
def test_label_smoothing_is_the_formula_and_torchs(epsilon: float, norm_by_classes: bool) -> None:
    logits, gold = noise(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    share = epsilon / 4 if norm_by_classes else epsilon
    wanted = torch.tensor(0.0)
    for scores, label in zip(logits, gold, strict=True):
        surprise = -torch.log(scores.exp() / scores.exp().sum())
        wanted += (1 - share) * surprise[label] + share / 4 * surprise.sum()
    ours = label_smoothed(logits, gold, epsilon, norm_by_classes)
    torch.testing.assert_close(ours, wanted)
    torch.testing.assert_close(ours, 6 * cross_entropy(logits, gold, label_smoothing=share))


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan")])
def test_a_smoothing_that_is_no_share_is_refused(epsilon: float) -> None:
    with pytest.raises(InputError, match="field epsilon"):
        label_smoothed(noise(1, 2), torch.tensor([0]), epsilon)


@pytest.mark.parametrize("room", [None, 8, 20])
def test_pooling_is_the_last_state_the_maximum_and_the_mean_of_each_texts_own_tokens(room: int | None) -> None:
    batch = packed(room=room)
    states = (noise(*batch.tokens.shape, 5) - 3).double()  # below zero: a zero at padding must not be the maximum
    pooled, texts = concat_pool(states, batch), batch[Texts]
    assert pooled.shape == (len(TEXTS), 15)
    for number, one in enumerate(TEXTS):
        own = [states[texts.row[number], texts.first[number] + place] for place in range(len(one))]
        highest = [max(float(state[feature]) for state in own) for feature in range(5)]
        wanted = [*own[-1].tolist(), *highest, *(sum(own) / len(own)).tolist()]  # type: ignore[union-attr]
        assert pooled[number].tolist() == pytest.approx(wanted)
    states.requires_grad_()
    assert torch.autograd.gradcheck(lambda states: concat_pool(states, batch), (states,))
    (gradient,) = torch.autograd.grad(concat_pool(states, batch).sum(), states)
    assert (gradient[~batch.real] == 0).all() and float(gradient.sum()) == pytest.approx(15 * len(TEXTS))


def test_pooling_says_what_is_missing() -> None:
    batch = packed()
    with pytest.raises(MissingPart, match="Texts"):
        concat_pool(noise(*batch.tokens.shape, 2), replace(batch, parts={}))
    empty = packed([TEXTS[0], text()])
    with pytest.raises(InputError, match="text 1 of the batch has no token"):
        concat_pool(noise(*empty.tokens.shape, 2), empty)
