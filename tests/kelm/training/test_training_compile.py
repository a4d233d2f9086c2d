"""`train.compile` with the real compiler: a recipe trains as it does without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters
from torch._inductor import config as inductor
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

from kelm.training.recipe_file import read
from kelm.training.run import train
from tests.kelm.training.tiny_text import recipe

# torch's own, while it imports its compiler
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"),
    pytest.mark.timeout(900),
]


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    try:
        found = get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("torch.compile needs a C++ compiler for a CPU, and there is none: install g++ or clang++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))  # nothing from an earlier test
    return found


def test_a_compiled_recipe_trains_the_same_weights_in_two_graphs(compiler: str, tmp_path: Path) -> None:
    """Batches of all shapes share the second graph. Takes half a minute of one core, most of it in the C++ compiler."""
    path = recipe(tmp_path)
    shape = ["num_hidden_layers=1", "hidden_dropout_prob=0.0", "attention_probs_dropout_prob=0.0"]
    changes = ["train.steps=5", *(f"model.config.{field}" for field in shape)]
    plain = train(read(path, changes), tmp_path / "plain", show=False)
    torch._dynamo.reset()
    counters.clear()
    with inductor.patch(compile_threads=1):
        compiled = train(read(path, [*changes, "train.compile=true"]), tmp_path / "fast", show=False)
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]
    assert list((tmp_path / "compiled").rglob("*.so"))  # it was compiled indeed
    assert compiled.progress.losses == pytest.approx(plain.progress.losses, abs=1e-5)
    for file in ("model.safetensors", "heads.safetensors"):
        ours, theirs = (load_file(tmp_path / run / "model" / file) for run in ("fast", "plain"))
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=0, msg=name)
