import errno
import json
import random
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from kelm.data import folders
from kelm.errors import CheckpointError, UnsafeFile
from kelm.model import Encoder
from kelm.training import checkpoint
from kelm.training.optim import optimizer
from kelm.training.recipe import Checkpoints, Logging, Optimization, Training
from kelm.training.trainer import Trainer
from tests.kelm.training.forks import exit_code
from tests.kelm.training.tiny_run import Texts, learner, weights


def train(folder: Path, steps: int = 4, *, resume: bool = False, keep: int = 2) -> None:
    Trainer(
        learner(),
        {"guess": Texts()},
        train=Training(steps=steps),
        checkpoints=Checkpoints(every=2, keep=keep),
        log=Logging(tensorboard=False),
        folder=folder,
        resume=resume,
    ).run()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train(folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run of 4 steps, the last checkpoint of which a test may spoil."""
    import shutil

    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_saved_model_opens_equal_with_its_heads(run: Path) -> None:
    some = learner(seed=99)
    checkpoint.load_weights(run / "model", some)
    opened = Encoder.from_pretrained(run / "model")
    for name, value in opened.state_dict().items():
        torch.testing.assert_close(value, some.encoder.state_dict()[name], atol=0, rtol=0)
    heads = checkpoint.read_tensors(run / "model" / "heads.safetensors")
    assert heads.keys() == some.objectives.state_dict().keys()
    assert not torch.equal(heads["guess.head.dense.weight"], weights(learner())["objectives.guess.head.dense.weight"])


def test_random_states_come_back() -> None:
    state = json.loads(json.dumps(checkpoint.random_state()))
    drawn = [random.gauss(0, 1), np.random.rand(), float(torch.rand(1))]
    checkpoint.restore_random_state(state)
    assert [random.gauss(0, 1), np.random.rand(), float(torch.rand(1))] == drawn


@pytest.mark.parametrize(
    "file", ["model/model.safetensors", "model/heads.safetensors", "optimizer.safetensors", "state.json"]
)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_named(run: Path, file: str, share: float) -> None:
    last = run / "checkpoints" / "step-00000004" / file
    whole = last.read_bytes()
    last.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError) as raised:
        train(run, resume=True)
    assert str(last) in str(raised.value)
    assert not isinstance(raised.value, UnsafeFile)


def test_a_missing_file_is_named_and_removing_the_checkpoint_helps(run: Path) -> None:
    import shutil

    last = run / "checkpoints" / "step-00000004"
    (last / "optimizer.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors.*Remove .*step-00000004 to go on"):
        train(run, resume=True)
    before = (run / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(last)
    train(run, resume=True)
    assert (run / "model" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["weights.bin", "weights.pt", "weights.ckpt", "weights.pkl", "weights.safetensors"])
def test_a_pickle_is_refused_whatever_its_name(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(UnsafeFile, match=r"is a pickle, which can run code.*safetensors"):
        checkpoint.read_tensors(tmp_path / name)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_bare_pickle_is_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    import pickle

    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "harmed",))

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Harm(), protocol))
    with pytest.raises(UnsafeFile):
        checkpoint.read_tensors(path)
    assert not (tmp_path / "harmed").exists()


def test_a_pickled_model_in_a_checkpoint_is_refused(run: Path) -> None:
    model = run / "checkpoints" / "step-00000004" / "model"
    (model / "model.safetensors").unlink()
    torch.save({}, model / "pytorch_model.bin")
    with pytest.raises(UnsafeFile, match=r"pytorch_model\.bin is a pickle"):
        train(run, resume=True)


def with_small_files(limit: int, folder: Path) -> None:
    """Trains on where no file may be larger than `limit` bytes; writes what was raised."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        train(folder, steps=8, resume=True)
    except CheckpointError as error:
        (folder / "raised").write_text(str(error))


@pytest.mark.parametrize("limit", [300, 20_000, 45_000])
def test_a_full_disk_leaves_nothing_half_written(run: Path, limit: int) -> None:
    """The limits fail in turn at the model's description, its weights and the optimizer's moments."""
    before = contents(run)
    assert exit_code(with_small_files, limit, run) == 0
    raised = (run / "raised").read_text()
    assert "step-00000006 could not be written" in raised
    assert "File too large" in raised
    assert "Free some space" in raised
    (run / "raised").unlink()
    assert contents(run) == before
    train(run, steps=8, resume=True)  # there is space again
    assert [path.name for path in checkpoint.checkpoints(run / "checkpoints")] == ["step-00000006", "step-00000008"]


@pytest.mark.parametrize(("owner", "name"), [(checkpoint, "save_file"), (folders, "force"), (Path, "write_text")])
def test_no_space_left_is_told_wherever_it_strikes(
    run: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = contents(run)
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(CheckpointError, match=r"step-00000006 could not be written .*No space left on device.*resume"):
        train(run, steps=8, resume=True)
    assert contents(run) == before


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    from kelm.training.recipe import Evaluation

    values = iter([1.0, 5.0, 2.0, 3.0, 4.0])
    result = Trainer(
        learner(),
        {"guess": Texts()},
        train=Training(steps=10),
        checkpoints=Checkpoints(every=1, keep=2),
        evaluation=Evaluation(every=2, metric="score"),
        evaluate=lambda some: {"score": next(values)},
        log=Logging(tensorboard=False),
        folder=tmp_path,
    ).run()
    kept = [path.name for path in checkpoint.checkpoints(tmp_path / "checkpoints")]
    assert kept == ["step-00000004", "step-00000009", "step-00000010"]
    assert (result.progress.best, result.progress.best_step) == (5.0, 4)
    best = (tmp_path / "checkpoints" / "step-00000004" / "model" / "model.safetensors").read_bytes()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == best


def test_a_folder_with_a_run_is_not_overwritten(run: Path) -> None:
    before = contents(run)
    with pytest.raises(CheckpointError, match="already holds a run"):
        train(run)
    assert contents(run) == before


def test_a_checkpoint_of_another_model_does_not_fit(run: Path) -> None:
    some = learner("other")
    with pytest.raises(CheckpointError, match=r"heads\.safetensors does not fit this model"):
        checkpoint.load(run / "checkpoints" / "step-00000004", some, optimizer(some.named_parameters(), Optimization()))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be made"):
        train(tmp_path / "file" / "run")


def test_aside_replaces_a_folder_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with checkpoint.aside(tmp_path / "model") as new:
        (new / "a").write_text("1")
    with pytest.raises(KeyError), checkpoint.aside(tmp_path / "model") as new:  # noqa: PT012
        (new / "a").write_text("2")
        raise KeyError
    assert contents(tmp_path) == {"model/a": b"1"}
    with checkpoint.aside(tmp_path / "model") as new:
        (new / "b").write_text("3")
    assert contents(tmp_path) == {"model/b": b"3"}
