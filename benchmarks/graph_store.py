"""`graph-store`: 20 million triples built, saved and opened, against the aims of the store.

    memory of building    below 6 GB at its peak, `kelm graph build` as a process of its own
    time of opening       below 1 s, with neighbors of an entity in both directions
    size                  at most 32 bytes a triple beside the strings

The table has four million entities and a thousand relations, tails and relations popular as in `graph-load`. The "peer"
of a row is the aim, so that a ratio above 1 reaches it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.measure import Row
from kg.graph import KnowledgeGraph

__all__ = ["NAME", "rows", "write"]

NAME = "graph-store"

_GB = 1e9
_AIMS = {"GB": 6.0, "s": 1.0, "bytes/triple": 32.0}
_BLOCK = 1_000_000  # triples


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns four rows: peak memory, seconds with and without checksums, and bytes a triple.

    Args:
        name: as every benchmark takes it; there is one name.
        quick: 200,000 triples instead of 20 million.
    """
    size = 200_000 if quick else 20_000_000
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "triples.tsv", Path(folder) / "graph"
        write(table, size)
        start = time.perf_counter()
        peak = _build(table, out)
        building = time.perf_counter() - start
        checked, unchecked = (median(_open(out, verify=verify) for _ in range(5)) for verify in (True, False))
        graph = KnowledgeGraph.open(out, verify=False)
        if len(graph) != size:
            raise RuntimeError(f"expected {size} triples, found {len(graph)}.")
        held = sum(path.stat().st_size for path in out.iterdir() if not path.name.endswith(".blob.npy"))
        entities = graph.entity_count
    setting = f"{size:,} triples, {entities:,} entities"
    return [
        _row(peak / _GB, "GB", f"{setting}, peak of kelm graph build ({building:.0f} s)"),
        _row(checked, "s", f"{setting}, open with checksums and ask an entity"),
        _row(unchecked, "s", f"{setting}, open without checksums and ask an entity"),
        _row(held / size, "bytes/triple", f"{setting}, files beside the strings"),
    ]


def write(path: Path, size: int, *, seed: int = 0) -> None:
    """Writes a table of `size` distinct triples."""
    chance, entities = np.random.default_rng(seed), size // 5
    with path.open("wb") as file:
        for first in range(0, size, _BLOCK):
            count = min(_BLOCK, size - first)
            heads = (first + np.arange(2 * count) // 2) * entities // size  # each block has heads of its own
            relations = (1_000 ** chance.random(2 * count)).astype(np.int64)
            tails = (entities ** chance.random(2 * count)).astype(np.int64)
            keys = (heads * 1_000 + relations) * entities + tails
            rows = np.sort(chance.permutation(np.unique(keys, return_index=True)[1])[:count])
            columns = (column[rows].tolist() for column in (heads, relations, tails))
            file.write(b"".join(b"Q%d\tP%d\tQ%d\n" % triple for triple in zip(*columns, strict=True)))


def _build(table: Path, out: Path) -> int:
    """Builds the graph in another process; returns its peak resident memory in bytes."""
    command = [sys.executable, "-m", "kelm", "graph", "build", str(table), "--out", str(out), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"kelm graph build ended with {process.returncode}.")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _open(folder: Path, *, verify: bool) -> float:
    start = time.perf_counter()
    graph = KnowledgeGraph.open(folder, verify=verify)
    graph.neighbors(graph.entities.id("Q1")), graph.incoming(0)
    return time.perf_counter() - start


def _row(value: float, unit: str, setting: str) -> Row:
    aim = _AIMS[unit]
    return {
        "benchmark": NAME,
        "ours": float(f"{value:.4g}"),
        "peer": aim,
        "peer_name": "the aim",
        "unit": unit,
        "ratio": float(f"{aim / value:.4g}"),
        "setting": setting,
    }
