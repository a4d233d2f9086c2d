import errno
import importlib
import os
import subprocess
import sys

import pytest
import typer

import kelm
from kelm import cli
from kelm.errors import CannotExport, CheckpointError, FormatError, KelmError, NothingSaved

HEAVY = ("torch", "transformers", "numpy", "networkx", "rdflib", "pykeen", "datasets", "matplotlib", "babel")


@pytest.fixture
def kelm_command():
    def call(*arguments, cwd=None, **environment):
        return subprocess.run(
            [sys.executable, "-m", "kelm", *arguments],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment},
            check=False,
        )

    return call


def failing(error):
    def call(arguments):
        raise error

    return call


def test_help_lists_every_command_with_a_line_about_it(kelm_command):
    shown = kelm_command("--help")
    assert shown.returncode == 0
    for name in cli.commands():
        line = next(line for line in shown.stdout.splitlines() if f"│ {name} " in line)
        assert len(line.strip("│ ").split()) > 3, line


def test_help_imports_no_heavy_library():
    code = (
        "import sys; from kelm import cli; cli.run(['--help']);"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version_is_the_package_version(kelm_command):
    assert kelm_command("--version").stdout == f"kelm {kelm.__version__}\n"


def test_a_mistyped_command_gets_the_closest_one(kelm_command):
    done = kelm_command("benhc")
    assert done.returncode == 2
    assert "Did you mean 'bench'?" in done.stderr


def test_without_a_command_help_is_shown(kelm_command):
    done = kelm_command()
    assert "Usage: kelm" in done.stdout + done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KelmError("no [bold] markup."), 1, "error: no [bold] markup.\n"),
        (
            FormatError("expected 3 columns, found 2", path="a.tsv", line=7, remedy="Add one."),
            2,
            "error: a.tsv, line 7: expected 3 columns, found 2. Add one.\n",
        ),
        (NothingSaved("vectors: nothing that kelm saved is here. Check the path."), 2, "error: vectors: nothing"),
        (CheckpointError("out cannot be written (no space)."), 1, "error: out cannot be written"),
        (CannotExport("a plain folder cannot express ernie. Leave it out (--drop)."), 2, "error: a plain folder"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "graph.nt"), 2, "error: graph.nt: No such file"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "data"), 2, "error: data: Is a directory. Give a file"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 1, "error: out: Permission denied. Check"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "error: there is not enough memory (Default"),
        (MemoryError("Unable to allocate 9 TiB"), 1, "error: there is not enough memory (Unable to allocate 9 TiB). "),
    ],
)
def test_a_mistake_is_one_line_on_standard_error(capsys, error, code, message):
    assert cli.run(["train", "x"], call=failing(error)) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(message)
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err


def test_an_unforeseen_error_keeps_its_traceback_in_a_file(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.run(["train"], call=failing(ZeroDivisionError("by zero"))) == 1
    shown = capsys.readouterr().err
    log = next(tmp_path.iterdir())
    assert shown.startswith("error: ZeroDivisionError: by zero.")
    assert str(log) in shown
    assert "Traceback" not in shown
    assert "in failing" not in shown
    assert "ZeroDivisionError: by zero" in log.read_text()
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("arguments", [["--debug", "train"], ["train", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(capsys, arguments):
    seen = []

    def call(kept):
        seen.append(kept)
        raise KelmError("broken.")

    assert cli.run(arguments, call=call) == 1
    assert "Traceback" in capsys.readouterr().err
    assert seen == [["train"]]


def test_debug_after_two_dashes_is_an_argument(capsys):
    seen = []
    assert cli.run(["train", "--", "--debug"], call=seen.append) == 0
    assert seen == [["train", "--", "--debug"]]


def test_an_interrupt_is_silent_and_ends_with_130(capsys):
    assert cli.run(["train"], call=failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_is_silent():
    code = (
        "from kelm import cli; import sys; sys.exit(cli.run([], call=lambda _: [print('x' * 99) for _ in range(9999)]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1


def test_an_installed_package_adds_a_command(monkeypatch, tmp_path, capsys):
    (tmp_path / "greeting.py").write_text(
        'def greet(name: str) -> None:\n    """Greet somebody.\n\n    Example: kelm greet Ada\n    """\n'
        "    print(f'Hello {name}')\n"
    )
    facts = tmp_path / "greeting-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[kelm.commands]\ngreet = greeting:greet\ntrain = greeting:greet\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert cli.commands()["greet"] == "greeting:greet"
    assert cli.commands()["train"] == "kelm.cli.train:train"  # ours cannot be replaced
    assert cli.run(["greet", "Ada"]) == 0
    assert capsys.readouterr().out == "Hello Ada\n"
    assert cli.run(["--help"]) == 0
    assert "Greet somebody." in capsys.readouterr().out
    sys.modules.pop("greeting")


def test_a_command_that_cannot_be_loaded_is_named():
    with pytest.raises(KelmError, match='command "gone" cannot be loaded from no_such_module:gone'):
        cli.load("gone", "no_such_module:gone")


def test_a_group_keeps_its_name():
    assert isinstance(cli.load("bench", "kelm.cli.bench:bench"), typer.core.TyperCommand)
