"""Folders and files that are written whole or not at all, whatever happens in the middle."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from safetensors import SafetensorError

from kelm.data import folders
from kelm.data.folders import aside, file_aside
from kelm.errors import CheckpointError

Writer = Callable[[Path], AbstractContextManager[Path]]


def fill(new: Path, text: str) -> None:
    """Writes `text` into a new folder, or as a new file."""
    (new / "a" if new.is_dir() else new).write_text(text)


def fail_amid(new: Path, error: Exception) -> None:
    fill(new, "half")
    raise error


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(params=[aside, file_aside], ids=["folder", "file"])
def writer(request: pytest.FixtureRequest) -> Writer:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def name(writer: Writer) -> str:
    return "place/a" if writer is aside else "place"


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_it_appears_when_it_is_whole_and_replaces_what_was_there(writer: Writer, name: str, tmp_path: Path) -> None:
    for text in ("old", "new"):
        with writer(tmp_path / "place") as new:
            fill(new, text)
            assert contents(tmp_path).get(name) == (None if text == "old" else "old")
        assert contents(tmp_path) == {name: text}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_missing_folders_above_it_are_made(writer: Writer, name: str, tmp_path: Path) -> None:
    with writer(tmp_path / "some" / "where" / "place") as new:
        fill(new, "new")
    assert contents(tmp_path) == {f"some/where/{name}": "new"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("no room")])
def test_a_failure_leaves_what_was_there_and_says_what_to_do(
    writer: Writer, name: str, tmp_path: Path, error: Exception
) -> None:
    with writer(tmp_path / "place") as new:
        fill(new, "old")
    with (
        pytest.raises(CheckpointError, match=r"place could not be written \(.*(No space|no room).*Free some space"),
        writer(tmp_path / "place") as new,
    ):
        fail_amid(new, error)
    assert contents(tmp_path) == {name: "old"}


@pytest.mark.parametrize("calls", [["fsync"], ["rename", "replace"]], ids=["forcing", "renaming"])
def test_a_failure_at_the_end_leaves_what_was_there(
    writer: Writer, name: str, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(tmp_path / "place") as new:
        fill(new, "old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for call in calls:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(CheckpointError, match="Input/output error"), writer(tmp_path / "place") as new:
        fill(new, "new")
    assert contents(tmp_path) == {name: "old"}


def test_an_interrupt_amid_the_swap_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with aside(tmp_path / "place") as new:
        fill(new, "old")
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if ".tmp-" in path.name and ".old." not in path.name:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), aside(tmp_path / "place") as new:
        fill(new, "new")
    assert contents(tmp_path) == {"place/a": "old"}


def test_errors_of_the_program_keep_their_type(writer: Writer, tmp_path: Path) -> None:
    with pytest.raises(KeyError), writer(tmp_path / "place") as new:
        fail_amid(new, KeyError())
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_goes_and_what_running_ones_write_stays(
    writer: Writer, name: str, tmp_path: Path, gone: int
) -> None:
    (tmp_path / f".place.tmp-{gone}").mkdir()
    (tmp_path / f".place.tmp-{os.getpid()}").write_text("an earlier process of our number")
    (tmp_path / f".place.tmp-{10**30}").write_text("no process")
    kept = {f".place.tmp-{os.getppid()}", f".place.v2.tmp-{gone}", ".place.tmp-mine"}
    for word in kept:
        (tmp_path / word).write_text("kept")
    with writer(tmp_path / "place") as new:
        fill(new, "new")
    assert contents(tmp_path) == {name: "new", **dict.fromkeys(kept, "kept")}


def test_a_process_killed_amid_the_swap_has_lost_nothing(tmp_path: Path, gone: int) -> None:
    with aside(tmp_path / f".place.old.tmp-{gone}") as new:
        fill(new, "old")
    with pytest.raises(CheckpointError), aside(tmp_path / "place") as new:
        raise OSError(errno.ENOSPC, "No space left on device")
    assert contents(tmp_path) == {"place/a": "old"}


def test_a_link_stays_and_what_it_names_is_replaced(writer: Writer, name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "place")
    for text in ("old", "new"):
        with writer(tmp_path / "link") as new:
            fill(new, text)
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path)[name] == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "place"]


def test_a_file_in_the_way_of_the_folder_above_is_told(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="could not be written"), writer(tmp_path / "file" / "place"):
        pass
    assert contents(tmp_path) == {"file": "mine"}


def test_it_may_be_read_by_others_as_far_as_the_user_allows(writer: Writer, tmp_path: Path) -> None:
    with writer(tmp_path / "place") as new:
        fill(new, "new")
    (tmp_path / "plain").mkdir() if writer is aside else (tmp_path / "plain").write_text("")
    assert (tmp_path / "place").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_running_process_of_another_user_counts_as_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(process: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert folders._is_running(1)
