"""The quasi-recurrent network: the papers' formulas in plain loops, who sees whom, what is dropped, what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from kelm.batch import Batch, Encoded, Texts, Visibility, pack
from kelm.errors import CannotExport, KelmError
from kelm.model import Encoder, EncoderConfig, VocabularyHead, presets
from kelm.model.qrnn import QRNNLayer, QRNNWords, forget_mult, locked_dropout
from kelm.training import construct

SMALL: dict[str, Any] = {"vocab_size": 50, "hidden_size": 6, "intermediate_size": 10, "num_hidden_layers": 3}
DROPOUTS = ("output_dropout", "hidden_dropout", "input_dropout", "embedding_dropout", "weight_dropout")
SILENT = dict.fromkeys(DROPOUTS, 0.0)


def text(*tokens: int) -> Encoded:
    count = np.arange(len(tokens))
    return Encoded("", np.array(tokens, dtype=int), np.stack([count, count + 1], 1), count, np.zeros_like(count))


TEXTS = [text(2, 11, 12, 3), text(2, 13, 3), text(2, 14, 15, 16, 17, 3), text(7)]


def packed(texts: list[Encoded] = TEXTS, room: int | None = 8) -> Batch:
    return pack(texts, pad=0, room=room, causal=True)


def made(sizes: Mapping[str, Any] = SMALL, **options: Any) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(family="qrnn", **{**SMALL, **sizes}, qrnn=options))


def layer_of(inputs: int, hidden: int, **options: Any) -> QRNNLayer:
    """Returns a first layer of two."""
    torch.manual_seed(0)
    sizes = {"hidden_size": inputs, "intermediate_size": hidden, "num_hidden_layers": 2}
    return QRNNLayer(EncoderConfig(family="qrnn", **sizes, qrnn=options), 0)


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
    layer = layer_of(2, 3).bfloat16()
    assert layer.step(z, torch.zeros(1, 200, dtype=torch.bool)).dtype == torch.bfloat16


def test_no_token_gives_no_state() -> None:
    assert forget_mult(torch.zeros(2, 0, 3), torch.zeros(2, 0, 3)).shape == (2, 0, 3)
    assert layer_of(3, 4).step(torch.zeros(2, 0, 3), torch.zeros(2, 0, dtype=torch.bool)).shape == (2, 0, 4)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_layer_is_the_papers_formula_in_plain_loops(window: int) -> None:
    layer = layer_of(5, 4, window=window).eval()
    inputs = noise(1, 7, 5)
    opens = torch.tensor([[True, False, False, False, True, False, False]])
    states = layer.step(inputs, opens)
    weights, bias, began = layer.gates.weight, layer.gates.bias, 0
    state = torch.zeros(4)
    for token in range(7):
        if opens[0, token]:
            began, state = token, torch.zeros(4)
        seen = [inputs[0, at] if at >= began else torch.zeros(5) for at in range(token, token - window, -1)]
        z, f, o = (weights @ torch.cat(seen) + bias).split(4)
        state = f.sigmoid() * state + (1 - f.sigmoid()) * z.tanh()
        torch.testing.assert_close(states[0, token], o.sigmoid() * state)


def test_multifits_sizes_have_its_shapes_and_the_softmax_is_the_table_of_words() -> None:
    config = EncoderConfig(**presets.fields("multifit"))
    with torch.device("meta"):
        encoder, head = Encoder(config), VocabularyHead(config)
    shapes = [tuple(layer.gates.weight.shape) for layer in encoder.encoder.layer]  # type: ignore[union-attr]
    assert shapes == [(4656, 800), (4656, 1552), (4656, 1552), (1200, 1552)]
    assert [name for name, _ in head.named_parameters()] == ["bias"]
    states, vocabulary = noise(4, 6), noise(50, 6, seed=1)
    small = VocabularyHead(made().config)
    torch.testing.assert_close(small.logits(states, vocabulary), states @ vocabulary.T)


def test_the_weights_start_as_those_of_awd_lstm_and_not_as_berts() -> None:
    encoder = made({"vocab_size": 4000, "hidden_size": 30})
    words = encoder.embeddings.word_embeddings.weight.detach()
    assert words.abs().max() <= 0.1 and words.std() == pytest.approx(0.2 / 12**0.5, rel=0.02)
    gates = encoder.encoder.layer[0].gates.weight.detach()  # type: ignore[union-attr]
    assert gates.abs().max() == pytest.approx(60**-0.5, rel=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(
            ({name: value}, f"qrnn.{name}")
            for name in ("zoneout", *DROPOUTS)
            for value in (1.0, -0.1, float("nan"), "1")
        ),
        *(({"window": value}, "qrnn.window") for value in (0, 1.5, True)),
        *(({"scale": value}, "qrnn.scale") for value in (-1, float("inf"), "1")),
        ({"scale": 4.0}, "qrnn.output_dropout"),
        ({"windows": 2}, 'no option is called "windows". Did you mean .window'),
    ],
)
def test_impossible_options_are_refused(options: Mapping[str, Any], said: str) -> None:
    with pytest.raises(KelmError, match=said):
        EncoderConfig(family="qrnn", **SMALL, qrnn=dict(options))


def test_a_transformer_has_no_such_options_and_a_qrnn_no_layers_to_enter() -> None:
    with pytest.raises(KelmError, match='Set family = "qrnn"'):
        EncoderConfig(qrnn={"window": 1})
    with pytest.raises(KelmError, match='"adapters" enters a Transformer'):
        made({"extensions": {"adapters": {"languages": ["en"]}}})
    told = made({"extensions": {"language_embedding": {"languages": ["en"]}}})  # acts on words
    assert told.encode(packed()).hidden.isfinite().all()


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_text_is_read_the_same_alone_packed_and_padded(window: int) -> None:
    encoder = made(window=window).eval()
    for room in (None, 8, 20):
        batch = packed(room=room)
        states, texts = encoder.encode(batch).hidden, batch[Texts]
        assert states.shape == (*batch.tokens.shape, SMALL["hidden_size"])
        assert (states[~batch.real] == 0).all()
        for number, one in enumerate(TEXTS):
            here = states[texts.row[number], texts.first[number] : texts.last[number] + 1]
            torch.testing.assert_close(here, encoder.encode(packed([one])).hidden[0])


class Given(QRNNWords):
    """Word vectors from outside."""

    def forward(self, vectors: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self.given  # type: ignore[return-value]


def test_no_gradient_crosses_from_one_text_to_another_or_back_in_time() -> None:
    encoder, batch = made().eval(), packed(room=20)
    vectors = encoder.embeddings.word_embeddings(batch.tokens).detach().requires_grad_()
    encoder.embeddings.__class__ = Given
    encoder.embeddings.given = vectors
    states, mask = encoder.encode(batch).hidden, batch.visibility.mask()[0, 0]  # causal: a Transformer's rule
    for token in range(int(batch.real.sum())):
        (gradient,) = torch.autograd.grad(states[0, token].sum(), vectors, retain_graph=True)
        assert ((gradient[0] != 0).any(-1) == mask[token]).all()


def test_hugging_faces_call_gives_the_same_with_padding_before_or_after_a_text() -> None:
    encoder, batch = made().eval(), packed([TEXTS[0]])
    wanted = encoder.encode(batch).hidden
    for before, after in ((2, 0), (0, 2)):
        tokens = torch.nn.functional.pad(batch.tokens, (before, after))
        shown = torch.nn.functional.pad(torch.ones_like(batch.tokens), (before, after))
        states = encoder(tokens, shown).last_hidden_state  # type: ignore[union-attr]
        torch.testing.assert_close(states[:, before : before + wanted.shape[1]], wanted)


def test_injected_branches_are_refused() -> None:
    batch = packed([replace(TEXTS[1], branch=np.array([0, 1, 0]), anchor=np.array([-1, 0, -1]))])
    with pytest.raises(KelmError, match="injected branches"):
        made().encode(batch)


def test_a_saved_network_is_opened_with_other_dropouts_and_is_no_plain_hugging_face_model(tmp_path: Path) -> None:
    encoder, batch = made(zoneout=0.1).eval(), packed()
    encoder.save_pretrained(tmp_path)
    opened = AutoModel.from_pretrained(tmp_path)
    assert opened.config.qrnn == {"zoneout": 0.1}
    torch.testing.assert_close(opened.encode(batch).hidden, encoder.encode(batch).hidden)
    changed = construct.open_encoder(str(tmp_path), {"qrnn": {"scale": 0.5}})
    assert changed.encoder.layer[0].read_dropout == 0.1  # type: ignore[union-attr]
    torch.testing.assert_close(changed.eval().encode(batch).hidden, encoder.encode(batch).hidden)
    with pytest.raises(CannotExport, match="Hugging Face has no qrnn"):
        encoder.to_hf(tmp_path / "plain")


def test_gradients_reach_every_parameter_and_the_seed_decides_what_is_dropped() -> None:
    encoder, batch = made(zoneout=0.1).train(), packed()
    torch.manual_seed(1)
    states = encoder.encode(batch).hidden
    states.square().sum().backward()
    assert all(weights.grad is not None and (weights.grad != 0).any() for weights in encoder.parameters())
    torch.manual_seed(1)
    assert torch.equal(encoder.encode(batch).hidden, states)
    assert not torch.equal(encoder.encode(batch).hidden, states)


def test_nothing_is_dropped_in_evaluation_or_with_all_shares_or_their_factor_at_zero() -> None:
    batch = packed()
    wanted = made(zoneout=0.5).eval().encode(batch).hidden
    assert torch.equal(made(**SILENT).train().encode(batch).hidden, wanted)
    assert torch.equal(made(scale=0.0).train().encode(batch).hidden, wanted)


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
    words = made({"vocab_size": 4000}, embedding_dropout=0.25).embeddings.train()
    tokens = torch.arange(4000).repeat(1, 2)
    nothing = torch.zeros_like(tokens)
    batch = Batch(tokens, positions=nothing, segments=nothing, visibility=Visibility(document=nothing))
    torch.manual_seed(0)
    share = words(torch.ones(1, 8000, 6), batch)
    assert torch.equal(share[:, :4000], share[:, 4000:])
    assert ((share == 0).all(-1) | (share > 1.3).all(-1)).all()
    assert (share == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert share.max() == pytest.approx(4 / 3, rel=1e-4)


def test_weight_dropout_drops_weights_of_the_gates_for_all_tokens_and_keeps_the_bias() -> None:
    layer = layer_of(100, 100, weight_dropout=0.15, window=1)
    torch.manual_seed(0)
    share = (layer._weights() / layer.gates.weight).detach()
    assert (share == 0).float().mean() == pytest.approx(0.15, abs=0.01)
    assert share.max() == pytest.approx(1 / 0.85, rel=1e-4)
    opens, same = torch.ones(1, 5, dtype=torch.bool), noise(1, 1, 100).expand(1, 5, 100)  # each token is a text
    states = layer.step(same, opens)
    torch.testing.assert_close(states, states[:, :1].expand_as(states))


def test_zoneout_keeps_the_state_of_the_token_before() -> None:
    layer = layer_of(3, 4000, zoneout=0.25, weight_dropout=0.0)
    with torch.no_grad():
        layer.gates.bias[8000:] = 100.0  # o = 1, so that h is c
    opens = torch.tensor([[True, False, False]])
    torch.manual_seed(0)
    states = layer.step(noise(1, 3, 3), opens)
    assert (states[0, 0] == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (states[0, 1] == states[0, 0]).float().mean() == pytest.approx(0.25, abs=0.03)
