"""Two processes that train together, as torchrun starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["launch_twice", "run_twice"]

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def run_twice(module: str, *arguments: Path) -> None:
    """Runs a module in two processes, on CPUs, and ends them whatever happens; both have to succeed."""
    _run([*TORCHRUN, "-m", module, *map(str, arguments)])


def launch_twice(configuration: str, module: str, *arguments: Path) -> None:
    """Runs a module as `run_twice` does, started by `accelerate launch` with one of the documentation's files."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes=2", "--main_process_port=0"]
    file = ROOT / "docs" / "launch" / configuration
    _run([*launch, f"--config_file={file}", "--module", module, *map(str, arguments)])


def _run(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        try:
            _, told = started.communicate(timeout=540)  # seconds, on an idle machine 15 to 20
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 0, told[-3000:]
