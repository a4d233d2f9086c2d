"""Adapters and layers of one's own: each language's tokens pass through its own, checked token by token."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from kelm.batch import Encoded, pack
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.errors import CheckpointError, InputError
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import vocabulary
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization, Training
from kelm.training.trainer import Trainer
from multilingual.languages import with_languages
from multilingual.modules.adapters import Adapters, load_adapters, save_adapters
from multilingual.modules.own_layers import OwnLayers

LINES = {"en": ["a cat sat here", "a dog ran"], "de": ["eine katze sass hier", "ein hund lief weg"], "fr": ["un chat"]}
WORDS = vocabulary.train([line for lines in LINES.values() for line in lines] * 9, 90, "wordpiece", lower=True)
SIZES: dict[str, Any] = {
    "vocab_size": WORDS.vocabulary_size,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}


def made(seed: int = 0, **extensions: dict[str, Any]) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(EncoderConfig(**SIZES, extensions=extensions))


def read(*codes: str) -> list[Encoded]:
    texts = [(code, line) for code in codes for line in LINES[code]]
    encoded = WORDS.encode([line for _, line in texts])
    return [
        with_languages(one, code).having(number=number)
        for number, (one, (code, _)) in enumerate(zip(encoded, texts, strict=True))
    ]


def pairs() -> list[Encoded]:
    return [with_languages(one, "en", "de") for one in WORDS.encode(LINES["en"], LINES["de"])]


def stirred(encoder: Encoder) -> Encoder:
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in encoder.extensions.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder.eval()


# adapters


def test_each_token_passes_through_the_adapter_of_its_language() -> None:
    encoder = stirred(made(adapters={"languages": ["en", "de"]}))
    adapters = encoder.extensions["adapters"]
    assert isinstance(adapters, Adapters)
    for text, code in [(read("en")[0], "en"), (read("de")[1], "de"), (read("fr")[0], None)]:
        batch = pack([text], pad=WORDS.pad)
        stream = encoder.encode(pack([text], pad=WORDS.pad), trail=True)
        hidden = stream.trail[0]
        for index in range(3):
            start = encoder.encode(batch).having(hidden=hidden)
            hidden = encoder.encoder.layer[index](start).hidden
            if code is not None:
                one: Any = adapters.of[code][index]  # type: ignore[index]
                inner = torch.relu(hidden @ one.down.weight.T + one.down.bias)
                hidden = hidden + inner @ one.up.weight.T + one.up.bias
            torch.testing.assert_close(stream.trail[index + 1], hidden)


def test_the_last_layer_can_go_without() -> None:
    adapters = made(adapters={"languages": ["en"], "skip_last": True, "reduction": 4}).extensions["adapters"]
    assert isinstance(adapters, Adapters)
    shapes = {name: tuple(value.shape) for name, value in adapters.named_parameters()}
    assert shapes["of.en.1.down.weight"] == (4, 16) and "of.en.2.down.weight" not in shapes


def test_languages_packed_in_one_row_keep_to_their_own() -> None:
    encoder = stirred(made(adapters={"languages": ["en", "de"]}))
    texts = [*read("en"), *read("de"), *read("fr")]
    together = encoder.encode(pack(texts, pad=WORDS.pad, room=40))
    from kelm.batch import Texts

    where = together.batch[Texts]
    for number, text in enumerate(texts):
        alone = encoder.encode(pack([text], pad=WORDS.pad)).hidden[0]
        row, first, last = (int(getattr(where, name)[number]) for name in ("row", "first", "last"))
        torch.testing.assert_close(together.hidden[row, first : last + 1], alone, atol=1e-5, rtol=1e-5)


def test_adapters_learn_alone() -> None:
    encoder = made(adapters={"languages": ["en", "de"]})
    mlm = MaskedLanguageModel(encoder.config, tokenizer=WORDS)
    learner = Learner(encoder, [mlm])
    before = copy.deepcopy(learner.state_dict())
    stream = BatchStream(InMemory(read("en", "de")), mlm.collate, tokens=60, seed=0)
    factors = {"encoder.extensions.adapters.*": 1.0, "*": 0.0}
    trainer = Trainer(learner, {"mlm": stream}, train=Training(steps=5), optim=Optimization(rate=1e-2, factors=factors))
    held = {id(one) for group in trainer.optimizer.param_groups for one in group["params"]}
    assert held == {id(parameter) for parameter in encoder.extensions.parameters()}
    trainer.run()
    changed = {name for name, value in learner.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("encoder.extensions.adapters.") for name in changed)


def test_adapters_are_a_file_of_their_own_that_fits_its_encoder_only(tmp_path: Path) -> None:
    options = {"languages": ["en", "de"]}
    encoder = stirred(made(adapters=options))
    save_adapters(encoder, tmp_path / "adapters.safetensors")
    fresh = made(adapters=options).eval()
    batch = pack(read("en", "de"), pad=WORDS.pad)
    assert not torch.equal(fresh.encode(batch).hidden, encoder.encode(batch).hidden)
    load_adapters(fresh, tmp_path / "adapters.safetensors")
    assert torch.equal(fresh.encode(batch).hidden, encoder.encode(batch).hidden)
    with pytest.raises(CheckpointError, match="other weights"):
        load_adapters(made(1, adapters=options), tmp_path / "adapters.safetensors")
    with pytest.raises(InputError, match="Open the encoder with the file's options"):
        load_adapters(made(adapters={"languages": ["en"]}), tmp_path / "adapters.safetensors")
    with pytest.raises(InputError, match="no adapters"):
        save_adapters(made(), tmp_path / "none")
    (tmp_path / "damaged").write_bytes(b"x" * 20)
    with pytest.raises(CheckpointError, match="holds no adapters"):
        load_adapters(fresh, tmp_path / "damaged")


# layers of one's own


def assembled(encoder: Encoder, code: str) -> Encoder:
    """A plain encoder with a language's own layers below."""
    plain = made()
    plain.load_state_dict({name: value for name, value in encoder.state_dict().items() if "extensions" not in name})
    extension = encoder.extensions["own_layers"]
    assert isinstance(extension, OwnLayers)
    for index, layer in enumerate(extension.of[code]):  # type: ignore[arg-type, var-annotated]
        plain.encoder.layer[index].load_state_dict(layer.state_dict())
    return plain.eval()


def test_each_language_is_read_as_by_an_encoder_of_its_own_layers_and_the_shared_ones() -> None:
    encoder = stirred(made(own_layers={"languages": ["en", "de"], "own": 2}))
    for room in (None, 40):
        texts = [*read("en"), *read("de")]
        stream = encoder.encode(pack(texts, pad=WORDS.pad, room=room))
        from kelm.batch import Texts

        where = stream.batch[Texts]
        for number, text in enumerate(texts):
            code = "en" if number < len(LINES["en"]) else "de"
            alone = assembled(encoder, code).encode(pack([text], pad=WORDS.pad)).hidden[0]
            row, first, last = (int(getattr(where, name)[number]) for name in ("row", "first", "last"))
            torch.testing.assert_close(stream.hidden[row, first : last + 1], alone, atol=1e-5, rtol=1e-5)


def test_a_pair_is_read_by_both_languages_layers_and_each_token_keeps_its_own() -> None:
    encoder = stirred(made(own_layers={"languages": ["en", "de"], "own": 1}))
    [pair, *_] = pairs()
    batch = pack([pair], pad=WORDS.pad)
    first = encoder.encode(batch, trail=True).trail[1][0]
    for code, side in (("en", pair.segments == 0), ("de", pair.segments == 1)):
        own = assembled(encoder, code).encode(batch, trail=True).trail[1][0]
        inner = torch.from_numpy(side & (pair.words >= 0))
        torch.testing.assert_close(first[inner], own[inner], atol=1e-5, rtol=1e-5)


def test_a_language_without_layers_of_its_own_is_read_by_the_encoders() -> None:
    encoder = stirred(made(own_layers={"languages": ["en"], "own": 2}))
    plain = made()
    plain.load_state_dict({name: value for name, value in encoder.state_dict().items() if "extensions" not in name})
    batch = pack(read("fr"), pad=WORDS.pad)
    torch.testing.assert_close(encoder.encode(batch).hidden, plain.eval().encode(batch).hidden)


@pytest.mark.parametrize(
    ("extensions", "field"),
    [
        ({"adapters": {"languages": []}}, "languages"),
        ({"adapters": {"languages": ["en", "eng"]}}, "languages"),
        ({"adapters": {"reduction": 0}}, "reduction"),
        ({"own_layers": {"own": 4}}, "own"),
        ({"own_layers": {"languages": ["englsh"]}}, "languages"),
    ],
)
def test_options_that_make_no_sense_are_named(extensions: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as told:
        made(**extensions)
    assert told.value.field == field
