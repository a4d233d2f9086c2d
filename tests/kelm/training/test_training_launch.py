"""The launch files of the documentation, with two processes on CPUs: DDP and FSDP2 do what one process does."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from kelm.errors import RecipeError
from kelm.model import Encoder
from kelm.training import sharding
from tests.kelm.training.test_training_processes import assert_equal
from tests.kelm.training.tiny_text import recipe
from tests.kelm.training.two_processes import train
from tests.torchrun import launch_twice

pytestmark = pytest.mark.timeout(600)
CONFIGURATIONS = ("ddp.yaml", "fsdp2.yaml")


def checkpointed(folder: Path) -> Path:
    """Writes a recipe whose layers are computed twice, and which keeps its best model."""
    path = recipe(folder)
    path.write_text(path.read_text().replace("steps = 12", "steps = 6\ngradient_checkpointing = true"))
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in CONFIGURATIONS}
    data = tmp_path_factory.mktemp("data")
    for name, folder in folders.items():
        launch_twice(name, "tests.kelm.training.two_launched", folder, checkpointed(data))
    return folders


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("rates", [False, True], ids=["all objectives", "one objective a step"])
def test_launched_processes_equal_one_with_the_whole_batch(
    folders: dict[str, Path], tmp_path: Path, name: str, rates: bool
) -> None:
    train(tmp_path, rank=0, processes=1, size=8, accumulation=1, rates=rates)
    assert_equal(tmp_path, folders[name] / f"rates-{rates}", lines=8)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_launched_processes_that_were_stopped_go_on_bit_by_bit(folders: dict[str, Path], name: str) -> None:
    folder = folders[name]
    assert [json.loads((folder / f"told-{rank}.json").read_text())[:2] for rank in (0, 1)] == [[2, "signal"]] * 2
    for file in (
        "model/model.safetensors",
        "model/heads.safetensors",
        "checkpoints/step-00000006/optimizer.safetensors",
    ):
        assert (folder / "stopped" / file).read_bytes() == (folder / "rates-False" / file).read_bytes()


def test_each_process_holds_its_part_only_and_an_extension_may_call_the_parts_of_a_layer(
    folders: dict[str, Path],
) -> None:
    shares = {
        name: [json.loads((folder / f"told-{rank}.json").read_text())[2] for rank in (0, 1)]
        for name, folder in folders.items()
    }
    assert shares["ddp.yaml"] == [1.0, 1.0]
    assert shares["fsdp2.yaml"] == pytest.approx([0.5, 0.5], abs=0.01) and sum(shares["fsdp2.yaml"]) == pytest.approx(1)
    one, *others = [
        load_file(folders[name] / f"halves-{rank}.safetensors") for name in CONFIGURATIONS for rank in (0, 1)
    ]
    for other in others:
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize(("run", "apart"), [("recipe", 1e-6), ("bf16", 2e-3)])
def test_divided_weights_learn_what_whole_ones_do(folders: dict[str, Path], run: str, apart: float) -> None:
    whole, divided = (folders[name] / run for name in CONFIGURATIONS)
    for file in ("model.safetensors", "heads.safetensors"):
        ours, theirs = load_file(divided / "model" / file), load_file(whole / "model" / file)
        assert {name: value.shape for name, value in ours.items()} == {k: v.shape for k, v in theirs.items()}
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], atol=apart, rtol=0, msg=name)
    scores = [
        [
            line["scores"]["mlm/loss"]
            for line in map(json.loads, (one / "log.jsonl").read_text().splitlines())
            if "scores" in line
        ]
        for one in (whole, divided)
    ]
    assert len(scores[0]) == 2 and scores[1] == pytest.approx(scores[0], abs=apart)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_many_processes_trained_opens_in_one_and_exports(
    folders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    encoder = Encoder.from_pretrained(folders[name] / "recipe" / "model")
    encoder.to_hf(tmp_path / "plain")
    plain = AutoModel.from_pretrained(tmp_path / "plain").eval()
    tokens = torch.tensor([[2, 6, 7, 8, 3]])
    with torch.no_grad():
        torch.testing.assert_close(plain(tokens).last_hidden_state, encoder.eval()(tokens).last_hidden_state)


@pytest.mark.parametrize(
    ("given", "precision", "said"),
    [
        ({"FSDP_VERSION": "1"}, "fp32", "fsdp_version: only FSDP 2 is supported"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "fp32", "fsdp_offload_params: is not supported"),
        ({"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "fp32", "fsdp_cpu_ram_efficient_loading: false"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "fp32", "train.gradient_checkpointing"),
        ({}, "fp16", "Use bf16 or fp32"),
    ],
)
def test_what_is_not_to_be_had_of_sharding_is_refused(
    given: dict[str, str], precision: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for key, value in {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", **given}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(RecipeError, match=said):
        sharding.asked(precision)


def test_one_process_is_never_sharded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not sharding.asked("fp32")
