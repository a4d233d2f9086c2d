"""The plan says what is measured: parameters exactly, arithmetic and memory of small steps within 0.1 and 3 percent."""

import gc
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kelm import cli
from kelm.batch import Batch, Visibility
from kelm.errors import InputError, KelmError, RecipeError
from kelm.model import Encoder, EncoderConfig, VocabularyHead, presets
from kelm.training import construct, plan, planned, recipe_file
from kelm.training.plan import GPUS, Load
from tests.kelm.training.tiny_text import recipe

ROWS, ROW = 4, 128


def live() -> dict[int, torch.Tensor]:
    """The tensors that Python holds, by where their numbers lie."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter)]
    tensors = [one for one in tensors if one.device.type == "cpu"]
    return {one.untyped_storage().data_ptr(): one for one in tensors}


class Step:
    """A forward pass with a vocabulary head, and what is kept of it."""

    def __init__(self, family: str, precision: str, *, checkpointing: bool = False, layers: int = 3) -> None:
        torch.manual_seed(0)
        self.config = EncoderConfig(
            family=family,  # type: ignore[arg-type]
            vocab_size=5000,
            hidden_size=64,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=200,
            max_position_embeddings=ROW + 2,
            type_vocab_size=1,
            pad_token_id=1,
            pooler=False,
            hidden_dropout_prob=0.0,  # on CPUs what is dropped is kept as numbers, on GPUs as bytes
            attention_probs_dropout_prob=0.0,
        )
        self.encoder, self.head = Encoder(self.config).train(), VocabularyHead(self.config)
        self.encoder.gradient_checkpointing = checkpointing
        tokens = torch.randint(5, 5000, (ROWS, ROW))
        document = (torch.arange(ROW) >= 50).long().expand_as(tokens)
        self.batch = Batch(tokens, torch.arange(ROW).expand_as(tokens), torch.zeros_like(tokens), Visibility(document))
        self.targets = torch.randint(ROWS, (80,)), torch.randint(ROW, (80,))
        self.half = precision == "bf16"
        self.load = Load(
            tokens=ROWS * ROW, row=ROW, targets=80 / (ROWS * ROW), precision=precision, checkpointing=checkpointing
        )  # type: ignore[arg-type]
        self.counts = plan.parameters(self.encoder, {"mlm": self.head})

    def forward(self) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.half):
            stream = self.encoder.encode(self.batch)
            labels = self.batch.tokens[self.targets]
            return self.head.loss(stream.hidden[self.targets], labels, stream.vocabulary)

    def kept(self) -> int:
        """The bytes that live until backward, parameters left out: what autograd and checkpointing hold."""
        before = set(live())
        found: dict[int, torch.Tensor] = {}

        def keep(value: torch.Tensor) -> torch.Tensor:
            found[value.untyped_storage().data_ptr()] = value
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            loss = self.forward()
        found |= live()
        assert loss.requires_grad
        return sum(value.untyped_storage().nbytes() for place, value in found.items() if place not in before)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta-xl"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_is_what_a_step_keeps(family: str, precision: str) -> None:
    step = Step(family, precision)
    told = plan.memory(step.config, step.counts, step.load)
    # of the three arrays of logits one is kept from forward to backward
    planned_bytes = told["activations"] + told["logits"] / 3 + told.get("half-precision copies", 0)
    assert step.kept() == pytest.approx(planned_bytes, rel=0.01)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_layers_that_are_computed_twice_keep_what_they_read_and_one_of_them_the_rest(precision: str) -> None:
    step = Step("bert", precision, checkpointing=True)
    whole, shorter = (Step("bert", precision, layers=layers) for layers in (2, 1))
    one = whole.kept() - shorter.kept()  # a layer and its half-precision copies
    told = plan.memory(step.config, step.counts, step.load)
    planned_bytes = told["activations"] + told["logits"] / 3 + told.get("half-precision copies", 0)
    assert step.kept() + one == pytest.approx(planned_bytes, rel=0.03)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta-xl"])
def test_arithmetic_is_what_torch_counts(family: str) -> None:
    step = Step(family, "fp32")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = step.forward()
        forward = counter.get_total_flops()
        loss.backward()
    told = plan.flops(step.config, step.load)
    assert forward == pytest.approx(told.forward * ROWS * ROW, rel=0.001)
    assert counter.get_total_flops() == pytest.approx(told.total * ROWS * ROW, rel=0.001)


def test_arithmetic_of_what_is_computed_twice_is_what_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("kelm.model.heads", "kelm.training.plan"):
        monkeypatch.setattr(f"{module}.LOGITS_AT_ONCE", 5000 * 30)
    step = Step("bert", "fp32", checkpointing=True)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step.forward().backward()
    told = plan.flops(step.config, step.load)
    assert told.again > told.layers
    assert counter.get_total_flops() == pytest.approx(told.total * ROWS * ROW, rel=0.001)


def test_parameters_are_counted_once_and_by_part() -> None:
    step = Step("xlm-roberta-xl", "fp32")
    counts = plan.parameters(step.encoder, {"mlm": step.head, "tlm": step.head})
    assert set(counts) == {"vocabulary", "positions and types", "layers", "head of mlm"}
    assert sum(counts.values()) == sum(value.numel() for m in (step.encoder, step.head) for value in m.parameters())
    assert counts["vocabulary"] == 5000 * 64


def test_dividing_among_many_leaves_what_is_gathered_and_what_is_kept() -> None:
    config = EncoderConfig(**presets.fields("xlm-r-xl"))
    with torch.device("meta"):
        counts = plan.parameters(Encoder(config), {"mlm": VocabularyHead(config)})
    everything, layer = sum(counts.values()), counts["layers"] / 36
    rest = everything - 36 * layer
    load = Load(gpus=64, checkpointing=True)
    none, grads, full = (plan.memory(config, counts, replace(load, sharding=way)) for way in ("none", "grads", "full"))  # type: ignore[arg-type]
    assert none["weights"] == none["gradients"] == none["DDP's buckets"] == 4 * everything
    for divided in (grads, full):
        assert divided["moments"] == pytest.approx(8 * everything / 64)
    assert full["gathered weights"] == pytest.approx(4 * (rest + 2 * layer))
    assert grads["gathered weights"] == pytest.approx(4 * everything)
    assert sum(full.values()) < sum(grads.values()) < sum(none.values())
    assert plan.memory(config, counts, replace(load, gpus=1, sharding="full")) == plan.memory(
        config, counts, replace(load, gpus=1)
    )


def test_the_days_of_xlm_r_base_worked_by_hand() -> None:
    config, load = EncoderConfig(**presets.fields("xlm-r-base")), Load(tokens=8192, gpus=500, precision="fp16")
    layers, attention = 2 * 12 * 12 * 768**2, 4 * 12 * 768 * 512
    head = 2 * 0.15 * (768**2 + 768 * 250_002)
    again = 2 * 0.15 * 768 * 250_002  # 1,229 targets are more logits than are held at once
    told = plan.flops(config, load)
    assert told.total == pytest.approx(3 * (layers + attention + head) + again)
    tokens = 1.5e6 * 8192 * 512
    days = plan.days(told.total, tokens, GPUS["v100"], load, 0.4)
    assert days == pytest.approx(told.total * tokens / (500 * 125e12 * 0.4) / 86_400)


def test_the_least_change_that_fits_is_found() -> None:
    config = EncoderConfig(**presets.fields("xlm-r-xxl"))
    with torch.device("meta"):
        counts = plan.parameters(Encoder(config), {})
    found = plan.fitting(config, counts, Load(gpus=64), 80e9)
    assert found is not None and found.sharding == "full" and found.checkpointing and found.tokens == 8192
    assert sum(plan.memory(config, counts, found).values()) <= 80e9
    assert plan.fitting(config, counts, Load(gpus=1), 80e9) is None


def test_a_recipes_plan_has_the_parameters_of_its_run(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    made = recipe_file.read(path)
    words = construct.tokenizer(made)
    encoder = construct.encoder(made, words)
    parts = construct.Parts(encoder.config, words, encoder, 0)
    head = construct.objective(made.objectives[0], parts, None, 0)
    found = planned.opened(str(path))
    assert sum(found.parameters.values()) == sum(v.numel() for m in (encoder, head) for v in m.parameters())
    assert (found.load.tokens, found.load.row, found.load.targets) == (100, 32, 0.2) and found.tokens == 1200
    encoder.save_pretrained(tmp_path / "ours")
    encoder.to_hf(tmp_path / "plain")
    for name in ("ours", "plain"):
        counts = dict(planned.opened(str(tmp_path / name)).parameters)
        del counts["head of mlm"]
        assert sum(counts.values()) == sum(v.numel() for v in encoder.parameters()) - (name == "plain") * 16 * 17
    again = planned.opened(str(path), [f"model.hf={tmp_path / 'ours'}", "model.config.hidden_dropout_prob=0"])
    assert sum(again.parameters.values()) == sum(found.parameters.values())


def test_a_recipe_without_its_vocabulary_is_planned_by_the_size_it_states(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    gone = f"tokenizer.path={tmp_path / 'gone'}"
    found = planned.opened(str(path), [gone, "model.config.vocab_size=77"])
    assert found.parameters["vocabulary"] == 77 * 16 and "77 pieces" in found.notes[0]
    found = planned.opened(str(path), [gone, "model.preset=xlm-r-base"])
    assert found.parameters["vocabulary"] == 250_002 * 16


def test_the_command_tells_what_is_too_large_and_what_would_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", "xlm-r-xl", "--gpu", "a100", "--gpus", "32", "--tokens", "6e12"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3,482,741,760 all" in said and "does not fit into 80 GB" in said
    assert "it does with all of it divided (--sharding full)" in said or "train.gradient_checkpointing" in said
    assert cli.run(["plan", "xlm-r-base", "--json", "--gpus", "4", "--precision", "fp32", "--batch", "4096"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"]["all"] == 278_295_186 and told["fits"] is True
    assert told["load"]["tokens"] == 4096 and "days" not in told
    assert any("69% of the parameters are the vocabulary" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["xlm-r-bsae"], 'Did you mean "xlm-r-base"'),
        (["xlm-r-base", "--gpu", "h10"], 'no GPU is called "h10". Did you mean "h100"'),
        (["xlm-r-base", "--sharding", "ful"], 'Did you mean "full"'),
        (["xlm-r-base", "--gpu", "v100", "--tokens", "1e9"], "this GPU has no bf16"),
        (["xlm-r-base", "--gpus", "0"], "gpus: expected at least 1"),
        (["xlm-r-base", "--tokens", "1e9", "--utilization", "2"], "utilization: expected more than 0 and at most 1"),
        (["xlm-r-base", "--set", "a=1"], "is no recipe"),
    ],
)
def test_what_cannot_be_planned_is_told(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", *given]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_gpus_memory_and_speed_are_positive_and_have_a_source() -> None:
    for name, kind in GPUS.items():
        assert kind.memory >= 24e9 and kind.half >= kind.single > 0, name
        assert re.search("data sheet|white paper", kind.source), name
    with pytest.raises(RecipeError, match="no GPU"):
        plan.gpu("tpu")
    assert issubclass(RecipeError, InputError) and issubclass(InputError, KelmError)
