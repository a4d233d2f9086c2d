"""The encoder equals Hugging Face's BERT, RoBERTa, XLM-R and XLM-R XL: states, MLM loss and gradients."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedModel

from kelm.batch import Batch, Visibility
from kelm.errors import CannotExport, CheckpointError, TextTooLong, UnsafeFile
from kelm.model import Encoder, EncoderConfig, VocabularyHead, hub

FAMILIES = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "xlm-roberta-xl": "XLMRobertaXL"}
PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]


def small(family: str, head: str = "ForMaskedLM", **changes: Any) -> PreTrainedModel:
    name = FAMILIES[family]
    sizes: dict[str, Any] = {
        "vocab_size": 97,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
        "type_vocab_size": 2 if family == "bert" else 1,
        "pad_token_id": 0 if family == "bert" else 1,
        "initializer_range": 0.2,  # large, so that differences would show
    }
    config = getattr(transformers, f"{name}Config")(**(sizes | changes))
    torch.manual_seed(1)
    model: PreTrainedModel = getattr(transformers, f"{name}{head}")(config)
    return model.eval()


def saved(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def padded(family: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Three texts of 11, 7 and 1 tokens, padded; and their mask."""
    pad = 0 if family == "bert" else 1
    mask = torch.arange(11) < torch.tensor([[11], [7], [1]])
    tokens = torch.randint(5, 97, (3, 11), generator=torch.Generator().manual_seed(2))
    return torch.where(mask, tokens, pad), mask


def batch_of(tokens: torch.Tensor, mask: torch.Tensor, **changes: torch.Tensor) -> Batch:
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    given = {"positions": positions, "segments": torch.zeros_like(tokens), **changes}
    return Batch(tokens=tokens, visibility=Visibility(document=mask.long() - 1), **given)


def segments_and_soft_positions(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two segments; the positions of a sentence tree, of which some come again."""
    soft = torch.tensor([0, 1, 2, 3, 3, 4, 4, 5, 6, 3, 4])
    return (torch.arange(11) > 4).long().expand_as(tokens), soft.expand_as(tokens)


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    assert float((ours - theirs).detach().abs().max()) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_equal_those_of_hugging_face(
    family: str, dtype: torch.dtype, tolerance: float, tmp_path: Path
) -> None:
    theirs = small(family, "Model").to(dtype)
    ours = Encoder.from_hf(saved(theirs, tmp_path)).to(dtype)
    tokens, mask = padded(family)
    expected = theirs(input_ids=tokens, attention_mask=mask.long(), output_hidden_states=True)
    stream = ours.encode(batch_of(tokens, mask), trail=True)
    assert len(stream.trail) == len(expected.hidden_states) == 4
    for mine, other in zip(stream.trail, expected.hidden_states, strict=True):
        close(mine[mask], other[mask], tolerance)
    output = ours(input_ids=tokens, attention_mask=mask.long())
    close(output.last_hidden_state[mask], expected.last_hidden_state[mask], tolerance)
    close(output.pooler_output, expected.pooler_output, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_hidden_states_of_segments_and_soft_positions_equal_berts(
    dtype: torch.dtype, tolerance: float, tmp_path: Path
) -> None:
    theirs = small("bert", "Model").to(dtype)
    ours = Encoder.from_hf(saved(theirs, tmp_path)).to(dtype)
    tokens, mask = padded("bert")
    segments, positions = segments_and_soft_positions(tokens)
    expected = theirs(
        input_ids=tokens, attention_mask=mask.long(), token_type_ids=segments, position_ids=positions
    ).last_hidden_state
    mine = ours.encode(batch_of(tokens, mask, segments=segments, positions=positions)).hidden
    close(mine[mask], expected[mask], tolerance)


@pytest.mark.parametrize("family", FAMILIES)
def test_branch_visibility_equals_hugging_face_with_a_four_dimensional_mask(family: str, tmp_path: Path) -> None:
    theirs = small(family, "Model").double()
    ours = Encoder.from_hf(saved(theirs, tmp_path)).double()
    tokens, _ = padded(family)
    codes = Visibility(
        document=torch.tensor([[0] * 11, [0] * 5 + [1] * 6, [0] * 9 + [-1] * 2]),
        branch=torch.tensor([[0, 0, 0, 1, 1, 2, 0, 0, 0, 3, 0]] * 3),
        anchor=torch.tensor([[-1, 4, 4, 4, 4, 4, -1, -1, 7, 7, -1]] * 3),
    )
    positions = torch.arange(11).expand_as(tokens)
    batch = Batch(tokens=tokens, positions=positions, segments=torch.zeros_like(tokens), visibility=codes)
    offset = ours.config.position_offset
    expected = theirs(input_ids=tokens, attention_mask=codes.mask(), position_ids=positions + offset).last_hidden_state
    close(ours.encode(batch).hidden, expected, 1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_masked_language_model_loss_and_gradients_equal_those_of_hugging_face(
    family: str, dtype: torch.dtype, tolerance: float, tmp_path: Path
) -> None:
    theirs = small(family).to(dtype)
    ours = Encoder.from_hf(saved(theirs, tmp_path)).to(dtype)
    head = VocabularyHead(ours.config).to(dtype)
    head.load_state_dict(hub.head_weights(tmp_path))
    tokens, mask = padded(family)
    chosen = mask & (torch.rand(mask.shape, generator=torch.Generator().manual_seed(3)) < 0.4)
    labels = torch.where(chosen, tokens, -100)
    asked, given = {}, {}
    if family == "bert":
        segments, positions = segments_and_soft_positions(tokens)
        asked = {"token_type_ids": segments, "position_ids": positions}
        given = {"segments": segments, "positions": positions}
    expected = theirs(input_ids=tokens, attention_mask=mask.long(), labels=labels, **asked).loss
    expected.backward()
    stream = ours.encode(batch_of(tokens, mask, **given))
    loss = head.loss(stream.hidden[chosen], tokens[chosen], stream.vocabulary) / chosen.sum()
    loss.backward()
    close(loss, expected, tolerance)
    gradients = {name: p.grad for name, p in theirs.named_parameters(remove_duplicate=False) if p.grad is not None}
    mine, theirs_head = hub._parted(gradients, family)
    for name, parameter in ours.named_parameters():
        if not name.startswith("pooler."):
            close(parameter.grad, mine[name], tolerance)
    for name, parameter in head.named_parameters():
        close(parameter.grad, theirs_head[name], tolerance)
    assert len(mine) == sum(not name.startswith("pooler.") for name, _ in ours.named_parameters())


@pytest.mark.parametrize("head", ["Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"])
@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoints_with_any_head_load_the_same_encoder(family: str, head: str, tmp_path: Path) -> None:
    theirs = small(family, head)
    ours = Encoder.from_hf(saved(theirs, tmp_path))
    tokens, mask = padded(family)
    base = theirs if head == "Model" else theirs.base_model
    expected = base(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    close(ours(tokens, mask.long()).last_hidden_state[mask], expected[mask], 1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_folders_open_in_transformers(family: str, tmp_path: Path) -> None:
    ours = Encoder.from_hf(saved(small(family, "Model"), tmp_path / "in"))
    head = VocabularyHead(ours.config)
    torch.nn.init.normal_(head.bias)
    tokens, mask = padded(family)
    stream = ours.encode(batch_of(tokens, mask))
    ours.to_hf(tmp_path / "plain")
    again = AutoModel.from_pretrained(tmp_path / "plain")
    assert type(again).__name__ == f"{FAMILIES[family]}Model"
    close(again(tokens, mask.long()).last_hidden_state[mask], stream.hidden[mask], 1e-5)
    ours.to_hf(tmp_path / "masked", head=head)
    masked, told = AutoModelForMaskedLM.from_pretrained(tmp_path / "masked", output_loading_info=True)
    assert not told["missing_keys"]
    logits = masked.eval()(tokens, mask.long()).logits
    close(logits[mask], head.logits(stream.hidden[mask], stream.vocabulary), 1e-4)
    again = AutoModel.from_pretrained(tmp_path / "masked").eval()
    close(again(tokens, mask.long()).last_hidden_state[mask], stream.hidden[mask], 1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_reexport_is_bit_equal(family: str, tmp_path: Path) -> None:
    Encoder.from_hf(saved(small(family, "Model"), tmp_path / "a")).to_hf(tmp_path / "b")
    before, after = (hub.read_weights(tmp_path / name) for name in "ab")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_auto_model_opens_our_own_folder(tmp_path: Path) -> None:
    ours = Encoder(EncoderConfig(**_tiny())).eval()
    ours.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert isinstance(again, Encoder)
    tokens, mask = padded("bert")
    assert torch.equal(again(tokens, mask.long()).last_hidden_state, ours(tokens, mask.long()).last_hidden_state)


def _tiny() -> dict[str, Any]:
    return {
        "vocab_size": 97,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }


def _without_a_weight(folder: Path) -> None:
    _rewrite(folder, lambda weights: weights.pop("encoder.layer.1.output.dense.bias"))


def _with_a_weight(folder: Path) -> None:
    _rewrite(folder, lambda weights: weights.update({"encoder.layer.9.output.dense.bias": torch.zeros(32)}))


def _with_a_shorter_vocabulary(folder: Path) -> None:
    name = "embeddings.word_embeddings.weight"
    _rewrite(folder, lambda weights: weights.update({name: weights[name][:50].clone()}))


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    from safetensors.torch import save_file

    weights = hub.read_weights(folder)
    change(weights)
    save_file(weights, folder / "model.safetensors")


def _cut_in_half(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _as_a_pickle(folder: Path) -> None:
    torch.save(hub.read_weights(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _of_another_kind(folder: Path) -> None:
    text = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text.replace('"bert"', '"gpt2"'), encoding="utf-8")


def _without_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def _as_a_decoder(folder: Path) -> None:
    described = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"is_decoder": True}
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "error", "told"),
    [
        (_without_a_weight, CheckpointError, "missing: encoder.layer.1.output.dense.bias"),
        (_with_a_weight, CheckpointError, "unknown: encoder.layer.9.output.dense.bias"),
        (_with_a_shorter_vocabulary, CheckpointError, "vocabulary's size is wrong"),
        (_cut_in_half, CheckpointError, "model.safetensors is damaged or cut"),
        (_as_a_pickle, UnsafeFile, "pytorch_model.bin is a pickle"),
        (_of_another_kind, CheckpointError, 'model type "gpt2" is not supported'),
        (_without_configuration, CheckpointError, "config.json is missing or no JSON"),
        (_as_a_decoder, CheckpointError, "only encoders are supported"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(
    damage: Callable[[Path], None], error: type[Exception], told: str, tmp_path: Path
) -> None:
    damage(saved(small("bert", "Model"), tmp_path))
    with pytest.raises(error, match=told):
        Encoder.from_hf(tmp_path)


@pytest.mark.parametrize(
    ("damage", "error", "told"),
    [
        (_cut_in_half, CheckpointError, "model.safetensors is damaged or cut"),
        (_as_a_pickle, UnsafeFile, "pytorch_model.bin is a pickle"),
    ],
)
def test_our_own_folders_are_as_well(
    damage: Callable[[Path], None], error: type[Exception], told: str, tmp_path: Path
) -> None:
    Encoder(EncoderConfig(**_tiny())).save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(error, match=told):
        AutoModel.from_pretrained(tmp_path)


def test_a_head_with_a_table_of_its_own_is_refused(tmp_path: Path) -> None:
    saved(small("bert"), tmp_path)
    described = json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) | {"tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(described), encoding="utf-8")
    Encoder.from_hf(tmp_path)  # the encoder is as good as ever
    with pytest.raises(CheckpointError, match="a table of its own"):
        hub.head_weights(tmp_path)


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no folder here"):
        Encoder.from_hf(tmp_path / "nowhere" / "deep")


def test_the_head_runs_in_chunks_with_the_same_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EncoderConfig(**_tiny())
    torch.manual_seed(0)
    head, table = VocabularyHead(config).double(), torch.randn(97, 32, dtype=torch.float64, requires_grad=True)
    states, labels = torch.randn(30, 32, dtype=torch.float64, requires_grad=True), torch.randint(97, (30,))
    whole = head.loss(states, labels, table)
    expected = torch.autograd.grad(whole, [states, table, *head.parameters()])
    close(whole, cross_entropy(head.logits(states, table), labels, reduction="sum"), 1e-10)
    monkeypatch.setattr("kelm.model.heads.LOGITS_AT_ONCE", 97 * 7)
    chunked = head.loss(states, labels, table)
    close(chunked, whole, 1e-10)
    for mine, other in zip(torch.autograd.grad(chunked, [states, table, *head.parameters()]), expected, strict=True):
        close(mine, other, 1e-10)


def test_extensions_that_a_plain_folder_cannot_express_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match="cannot express ernie"):
        hub.write(tmp_path / "out", EncoderConfig(**_tiny()), {}, None, ["ernie"])
    assert not (tmp_path / "out").exists()


def test_a_text_longer_than_the_model_is_named_with_its_origin() -> None:
    encoder = Encoder(EncoderConfig(**_tiny(), max_position_embeddings=8))
    tokens = torch.randint(5, 97, (2, 9))
    batch = replace(batch_of(tokens, torch.ones_like(tokens).bool()), origins=("texts.txt:7", "texts.txt:9"))
    with pytest.raises(TextTooLong, match=r"9 tokens does not fit this model of 8 positions .*texts.txt:7"):
        encoder.encode(batch)
    packed = replace(batch, positions=torch.arange(9).remainder(5).expand(2, 9))
    assert encoder.encode(packed).hidden.shape == (2, 9, 32)


def test_a_full_disk_leaves_a_saved_model_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(EncoderConfig(**_tiny()))
    encoder.save_pretrained(tmp_path / "out")
    (tmp_path / "out" / "tokenizer.json").write_text("{}")  # what else is there stays
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}

    def full(tensors: object, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("transformers.modeling_utils.safe_save_file", full)
        with pytest.raises(CheckpointError, match=r"No space left on device.*Free some space"):
            encoder.save_pretrained(tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    encoder.save_pretrained(tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == set(before)


def test_a_full_disk_leaves_an_exported_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(EncoderConfig(**_tiny()))
    encoder.to_hf(tmp_path / "out")
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*Free some space"):
        encoder.to_hf(tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
