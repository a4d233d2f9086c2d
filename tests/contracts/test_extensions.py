"""What every extension keeps to, whoever wrote it. A new plug-in is tested here before its author writes a test."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from kelm import plugins
from kelm.batch import Batch, Encoded, Texts, pack
from kelm.model import Encoder
from tests.contracts.examples import EXTENSIONS, lacking, plain_encoder, texts_of

NAMES = sorted(EXTENSIONS)


def fresh(name: str) -> Encoder:
    """An encoder with the extension as it is made; the base weights are the same in every test."""
    return EXTENSIONS[name]().eval()


def stirred(name: str) -> Encoder:
    """The same with every parameter away from its start, so that nothing hides behind a zero."""
    encoder = fresh(name)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random) * 0.1)
    return encoder


def states(encoder: Encoder, batch: Batch) -> list[Tensor]:
    """The states of each text, without padding."""
    hidden, where = encoder.encode(batch).hidden, batch[Texts]
    places = zip(where.row.tolist(), where.first.tolist(), where.last.tolist(), strict=True)
    return [hidden[row, first : last + 1] for row, first, last in places]


def farthest(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    return max(float((one - other).detach().abs().max()) for one, other in zip(some, others, strict=True))


def test_every_extension_has_an_example() -> None:
    assert not (told := lacking("EXTENSIONS", EXTENSIONS, plugins.all("extensions"))), told


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_extension_is_the_identity(name: str) -> None:
    batch = pack(texts_of(name), pad=0)
    encoder = fresh(name)
    bare = plain_encoder(extensions={}).eval()
    bare.load_state_dict(encoder.state_dict(), strict=False)
    assert farthest(states(encoder, batch), states(bare, batch)) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_stirred_extension_is_not_the_identity(name: str) -> None:
    batch = pack(texts_of(name), pad=0)
    encoder = stirred(name)
    bare = plain_encoder(extensions={}).eval()
    bare.load_state_dict(encoder.state_dict(), strict=False)
    assert farthest(states(encoder, batch), states(bare, batch)) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_padding_packing_and_row_order_do_not_change_a_text(name: str) -> None:
    encoder, texts = stirred(name), texts_of(name)
    alone = [state for text in texts for state in states(encoder, pack([text], pad=0))]
    assert farthest(states(encoder, pack(texts, pad=0)), alone) < 1e-5
    assert farthest(states(encoder, pack(texts, pad=0, room=40)), alone) < 1e-5
    assert farthest(states(encoder, pack(texts[::-1], pad=0, room=24)), alone[::-1]) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    encoder, batch = stirred(name), pack(texts_of(name), pad=0)
    encoder.pooler = None
    hidden = encoder.encode(batch).hidden
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
    (hidden * weights).sum().backward()
    without = [key for key, p in encoder.extensions.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_opened_again_it_is_equal(name: str, tmp_path: Path) -> None:
    encoder, batch = stirred(name), pack(texts_of(name), pad=0)
    encoder.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert isinstance(again, Encoder)
    assert farthest(states(again, batch), states(encoder, batch)) == 0
    assert again.config.extensions == encoder.config.extensions


@pytest.mark.parametrize("name", NAMES)
def test_it_compiles_in_one_graph_forward_and_backward_for_batches_of_any_shape(name: str) -> None:
    plain, texts = stirred(name), texts_of(name)
    encoder = copy.deepcopy(plain)
    torch._dynamo.reset()
    compiled = torch.compile(lambda given: encoder.encode(given).hidden, fullgraph=True, backend="aot_eager")
    for batch in (pack(texts, pad=0, room=40), pack(texts[:1], pad=0), pack([*texts, *texts], pad=0)):
        for states in (mine := compiled(batch), expected := plain.encode(batch).hidden):
            states.square().sum().backward()
        assert float((mine - expected).detach().abs().max()) < 1e-5
        for (key, ours), theirs in zip(encoder.named_parameters(), plain.parameters(), strict=True):
            assert (ours.grad is None) == (theirs.grad is None), key
            assert ours.grad is None or torch.allclose(ours.grad, theirs.grad, atol=1e-4), key


@pytest.mark.parametrize("name", NAMES)
def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    plain, batch = stirred(name), pack(texts_of(name), pad=0)
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing = True
    for encoder in (plain, checkpointed):
        encoder.train().encode(batch).hidden.square().sum().backward()
    for (key, ours), theirs in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        if ours.grad is not None:
            assert theirs.grad is not None, key
            assert torch.allclose(ours.grad, theirs.grad, atol=1e-5), key


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_under_bfloat16_autocast(name: str) -> None:
    encoder, batch = stirred(name), pack(texts_of(name), pad=0)
    exact = states(encoder, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = states(encoder, batch)
        sum(state.float().square().sum() for state in rounded).backward()
    assert all(bool(one.grad.isfinite().all()) for one in encoder.parameters() if one.grad is not None)
    assert all(bool(state.isfinite().all()) for state in rounded)
    assert farthest([state.float() for state in rounded], exact) < 0.3


@pytest.mark.parametrize("name", NAMES)
def test_a_text_without_anything_to_add_is_read_as_ever(name: str) -> None:
    """Parts may be empty: most sentences mention nothing."""
    encoder = stirred(name)
    text = texts_of(name)[0]
    empty = {kind: part.map(lambda values: values[:0]) for kind, part in text.parts.items()}
    bare: Encoded = text.having(*empty.values())
    assert bool(encoder.encode(pack([bare], pad=0)).hidden.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_muted_it_adds_nothing_until_it_may_speak_again(name: str) -> None:
    """What a trained model loses by this is what its knowledge is worth."""
    encoder, batch = stirred(name), pack(texts_of(name), pad=0)
    bare = plain_encoder(extensions={}).eval()
    bare.load_state_dict(encoder.state_dict(), strict=False)
    spoken = states(encoder, batch)
    encoder.mute(name)
    assert farthest(states(encoder, batch), states(bare, batch)) < 1e-6
    encoder.mute()
    assert farthest(states(encoder, batch), spoken) == 0
