"""Embedding in two processes: the same vectors as in one, written once, resumed with the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kg.embeddings import open_embedding
from kg.embeddings.processes import Processes
from tests.torchrun import run_twice

from .two_embedders import RECIPES, keep, learn

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote."""
    folder = tmp_path_factory.mktemp("processes")
    run_twice("tests.kg.two_embedders", folder)
    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_equal_one(folder: Path, tmp_path: Path, name: str) -> None:
    keep(learn(RECIPES[name]), tmp_path / "one.npz")
    one, first, second = (np.load(path) for path in (tmp_path / "one.npz", *sorted(folder.glob(f"{name}-?.npz"))))
    for part in one.files:
        np.testing.assert_array_equal(first[part], second[part], err_msg=part)
        np.testing.assert_allclose(first[part], one[part], atol=2e-5, err_msg=part)


def test_processes_with_noise_of_their_own_stay_together_and_resume(folder: Path) -> None:
    runs = [np.load(folder / f"{kind}-{rank}.npz") for kind in ("noisy", "resumed") for rank in (0, 1)]
    for part in runs[0].files:
        assert np.isfinite(runs[0][part]).all()
        for other in runs[1:]:
            np.testing.assert_array_equal(runs[0][part], other[part], err_msg=part)


def test_the_first_process_writes(folder: Path) -> None:
    opened = open_embedding(folder / "vectors")
    assert sorted(path.name for path in (folder / "vectors").iterdir()) == ["embedding.safetensors", "table"]
    assert len(opened.history) == RECIPES["1vsall"].epochs


def test_closed_gradients_are_for_one_process(folder: Path) -> None:
    for rank in (0, 1):
        assert "trains in one process, not 2" in (folder / f"refused-{rank}.txt").read_text()


def test_shares_are_disjoint_and_cover_the_rows() -> None:
    rows = np.arange(33).reshape(11, 3)
    shares = [Processes(rank, 3).share(rows) for rank in range(3)]
    assert sorted(np.concatenate(shares)[:, 0].tolist()) == rows[:, 0].tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_that_was_started_alone_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in ({}, {"WORLD_SIZE": "1"}):
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert Processes.started() == Processes(0, 1)
