import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from kelm import cli
from kelm.model import Encoder

SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


@pytest.fixture(params=["bert", "roberta"])
def hf(request, tmp_path):
    torch.manual_seed(5)
    kind, config = {"bert": (BertForMaskedLM, BertConfig), "roberta": (RobertaForMaskedLM, RobertaConfig)}[
        request.param
    ]
    model = kind(config(**SIZES)).eval()
    path = tmp_path / "hf"
    model.save_pretrained(path)
    (path / "tokenizer.json").write_text("{}")
    (path / "vocab.txt").write_text("[PAD]\n")
    return path


def logits(path):
    model = AutoModelForMaskedLM.from_pretrained(path).eval()
    return model(torch.tensor([[5, 9, 11, 7]])).logits


def test_hf_to_kelm_and_back_changes_no_logit(hf, tmp_path, capsys):
    assert cli.run(["convert", str(hf), str(tmp_path / "ours")]) == 0
    assert "weights, vocabulary head, tokenizer, in kelm form" in capsys.readouterr().out
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["model_type"] == "kelm"
    assert cli.run(["convert", str(tmp_path / "ours"), str(tmp_path / "back")]) == 0
    assert torch.equal(logits(hf), logits(tmp_path / "back"))
    assert (tmp_path / "back" / "tokenizer.json").read_text() == "{}"
    assert (tmp_path / "back" / "vocab.txt").read_text() == "[PAD]\n"


def test_the_kelm_folder_opens_with_auto_model(hf, tmp_path):
    assert cli.run(["convert", str(hf), str(tmp_path / "ours"), "--to", "kelm"]) == 0
    tokens = torch.tensor([[5, 9, 11, 7]])
    ours = AutoModel.from_pretrained(tmp_path / "ours").eval()(tokens).last_hidden_state
    theirs = AutoModel.from_pretrained(hf, add_pooling_layer=False).eval()(tokens).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_kelm_to_kelm_keeps_every_head(hf, tmp_path):
    assert cli.run(["convert", str(hf), str(tmp_path / "ours")]) == 0
    assert cli.run(["convert", str(tmp_path / "ours"), str(tmp_path / "copy"), "--to", "kelm"]) == 0
    first, second = ((tmp_path / name / "heads.safetensors").read_bytes() for name in ("ours", "copy"))
    assert first == second


def test_a_model_without_head_becomes_one_that_auto_model_opens(hf, tmp_path):
    Encoder.from_hf(hf).save_pretrained(tmp_path / "bare")
    assert cli.run(["convert", str(tmp_path / "bare"), str(tmp_path / "plain")]) == 0
    assert AutoModel.from_pretrained(tmp_path / "plain", add_pooling_layer=False).config.hidden_size == 16


def test_a_vocabulary_head_inside_another_objective_is_found(hf, tmp_path):
    assert cli.run(["convert", str(hf), str(tmp_path / "ours")]) == 0
    heads = load_file(tmp_path / "ours" / "heads.safetensors")
    nested = {f"entity_alignment.{name}": value for name, value in heads.items()}
    save_file({**nested, "entity_alignment.dense.weight": torch.ones(2, 2)}, tmp_path / "ours" / "heads.safetensors")
    assert cli.run(["convert", str(tmp_path / "ours"), str(tmp_path / "back")]) == 0
    assert torch.equal(logits(hf), logits(tmp_path / "back"))


def test_what_a_plain_folder_cannot_hold_of_the_heads_is_told(hf, tmp_path, capsys):
    assert cli.run(["convert", str(hf), str(tmp_path / "ours")]) == 0
    heads = tmp_path / "ours" / "heads.safetensors"
    assert cli.run(["convert", str(tmp_path / "ours"), str(tmp_path / "whole")]) == 0
    assert "left out" not in capsys.readouterr().out
    save_file({**load_file(heads), "relations.classifier.weight": torch.ones(2, 2)}, heads)
    assert cli.run(["convert", str(tmp_path / "ours"), str(tmp_path / "back")]) == 0
    assert "no place for it: what relations learned" in capsys.readouterr().out
    assert cli.run(["convert", str(tmp_path / "ours"), str(tmp_path / "copy"), "--to", "kelm"]) == 0
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{hf}", "{hf}"], 2, "exists already. Give another folder, or --force"),
        (["{hf}", "{new}", "--to", "hf", "--drop", "ernie"], 2, "no extension ernie to drop. It has: none."),
        (["{empty}", "{new}"], 2, "config.json is missing or describes no model"),
        (["{pickled}", "{new}"], 1, "is a pickle"),
        (["{cut}", "{new}"], 1, "is damaged or cut"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing_behind(hf, tmp_path, capsys, arguments, code, message):
    names = ("empty", "pickled", "cut")
    for name in names:
        (tmp_path / name).mkdir()
    for name in names[1:]:
        (tmp_path / name / "config.json").write_bytes((hf / "config.json").read_bytes())
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x02")
    weights = (hf / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    places = {name: str(tmp_path / name) for name in ("hf", "new", *names)}
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cli.run(["convert", *(argument.format(**places) for argument in arguments)]) == code
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_force_replaces_what_is_there(hf, tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "old").write_text("old")
    assert cli.run(["convert", str(hf), str(tmp_path / "ours"), "--force"]) == 0
    assert not (tmp_path / "ours" / "old").exists()
