"""Text in many languages, for benchmarks: verses and captions of the data folder, or made-up words without it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np

__all__ = ["pairs", "texts"]

_LETTERS = ("abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщыэюя", "αβγδεζηθικλμνξοπρστυφχψω")


def texts(most: int) -> tuple[list[str], str]:
    """Returns texts and where they are from."""
    if (folder := _folder()) is None:
        return _made_up(most), "made-up words in three scripts"
    found = [line.partition("\t")[2] for path in sorted(folder.glob("bible/*.tsv.gz")) for line in _lines(path)]
    found += [line for path in sorted(folder.glob("multi30k/train.*.txt.gz")) for line in _lines(path)]
    order = np.random.default_rng(0).permutation(len(found))[:most]
    return [found[place] for place in order.tolist()], "verses of 22 languages, captions of 4"


def pairs(most: int) -> tuple[list[tuple[str, str]], str]:
    """Returns sentences with their translations and where they are from."""
    if (folder := _folder()) is None:
        made = _made_up(2 * most)
        return list(zip(made[::2], made[1::2], strict=True)), "made-up words in three scripts"
    sides = [
        dict(line.split("\t", 1) for line in _lines(folder / "bible" / f"{code}.tsv.gz")) for code in ("eng", "spa")
    ]
    found = [(text, sides[1][key]) for key, text in sides[0].items() if key in sides[1]]
    captions = [_lines(folder / "multi30k" / f"train.{code}.txt.gz") for code in ("en", "de")]
    found += list(zip(*captions, strict=True))
    order = np.random.default_rng(0).permutation(len(found))[:most]
    return [found[place] for place in order.tolist()], "English-Spanish verses, English-German captions"


def _folder() -> Path | None:
    folder = Path(os.environ.get("KELM_DATA") or "") / "parallel"
    return folder if (folder / "bible" / "eng.tsv.gz").is_file() else None


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def _made_up(count: int) -> list[str]:
    """Texts of words that come by Zipf's law, with log-normal lengths."""
    random = np.random.default_rng(0)
    words = [
        "".join(random.choice(list(letters), int(size)))
        for letters in _LETTERS
        for size in random.integers(2, 10, 4000)
    ]
    lengths = np.exp(random.normal(2.8, 0.6, count)).astype(int).clip(2, 90)
    drawn = random.zipf(1.2, int(lengths.sum())) % 4000
    offsets = np.repeat(random.integers(0, 3, count) * 4000, lengths)
    flat = [words[place] for place in (drawn + offsets).tolist()]
    ends = lengths.cumsum().tolist()
    return [" ".join(flat[end - size : end]) for size, end in zip(lengths.tolist(), ends, strict=True)]
