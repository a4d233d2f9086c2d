"""Texts of many languages, rare ones more often than they come: p ~ n ** alpha.

    language   texts       share   alpha = .3: p   a pass reads it
    en         1,000,000   .909    .639            once
    sw           100,000   .091    .320            5 times
    yo               100   .000    .040            631 times

A pass ends when the language that is read least was read once; others begin again meanwhile. Languages take turns so
that every stretch of a pass is mixed as p says (each comes when it is due, every 1/p texts, from a random start), and
no text is left out. With alpha = 1 a pass is each text once.
Source: Conneau and Lample, 2019 (XLM), section 3.1, n in sentences, alpha = .5; Conneau et al., 2020 (XLM-R), .3. Both
draw languages at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from heapq import heapify, heapreplace
from itertools import count
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.reader import Reader
from kelm.data.sources import JsonLines, TextFiles
from kelm.errors import InputError
from kelm.model.config import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from multilingual.corpora.language_rules import check_languages
from multilingual.languages import language, with_languages

__all__ = ["Sampled", "Unit", "in_languages", "monolingual_text", "shares", "texts_of"]

Unit = Literal["texts", "bytes"]


def shares(counts: Sequence[float], alpha: float) -> Float64[np.ndarray, "part"]:
    """Returns p ~ n ** alpha.

    >>> shares([1_000_000, 100_000, 100], 0.3).round(3).tolist()
    [0.639, 0.32, 0.04]
    """
    powers: Float64[np.ndarray, "part"] = np.asarray(counts, np.float64) ** alpha
    powers /= powers.sum()
    return powers


class Sampled(Corpus[Text]):
    """Draws from several corpora. A text's number is that of its draw, so that a repeated one is masked anew.

    Args:
        parts: a corpus by its name, in most cases that of its language.
        alpha: 1: as they come; 0: all languages alike; 0.3 is XLM-R's.
        unit: of n: "texts" (XLM's sentences) or "bytes" of UTF-8.

    Attributes:
        counts: texts and bytes of each part.

    Raises:
        InputError: no part, a part without a text, or an alpha that is negative or not finite.

    Cost: all is read once to count it, when this is made; then each shard reads the lines of all.
    """

    def __init__(
        self, parts: Mapping[str, Corpus[Text]], *, alpha: float = 0.3, unit: Unit = "texts", seed: int = 0
    ) -> None:
        if not parts:
            raise InputError("no file is given", field="files", remedy="Name a language and its file.")
        if not 0 <= alpha < float("inf"):
            raise InputError(f"alpha is {alpha}", field="alpha", remedy="Give 0 or more; 0.3 is usual.")
        if unit not in get_args(Unit):
            raise InputError(f"unit is {unit}", field="unit", remedy=f"Give one of {', '.join(get_args(Unit))}.")
        self.parts, self.alpha, self.unit, self.seed = dict(parts), alpha, unit, seed
        self.counts = {name: _counted(name, part) for name, part in parts.items()}

    @cached_property
    def probabilities(self) -> Mapping[str, float]:
        """How likely each part is drawn."""
        place = get_args(Unit).index(self.unit)
        found = shares([counts[place] for counts in self.counts.values()], self.alpha)
        return dict(zip(self.parts, found.tolist(), strict=True))

    @property
    def times(self) -> Mapping[str, float]:
        """How often a pass reads the texts of each part."""
        return {name: self.probabilities[name] * self._end / texts for name, (texts, _) in self.counts.items()}

    @property
    def _end(self) -> float:
        """After so many draws the part that is read least is read up."""
        return max(texts / self.probabilities[name] for name, (texts, _) in self.counts.items())

    def table(self) -> list[list[str]]:
        """Returns of each part its texts and bytes, its probability, and how often a pass reads it."""
        rows = [["language", "texts", "bytes", "probability", "times read"]]
        for name, (texts, size) in self.counts.items():
            rows.append([name, f"{texts:,}", f"{size:,}", f"{self.probabilities[name]:.3f}", f"{self.times[name]:.1f}"])
        return rows

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        starts = np.random.default_rng(self.seed).random(len(self.parts)).tolist()
        begun: Any = start or {"draw": 0, "taken": dict.fromkeys(self.parts, 0), "at": {}}
        taken, at = dict(begun["taken"]), dict(begun["at"])
        names, p, end = list(self.parts), list(self.probabilities.values()), self._end
        due = [((taken[name] + starts[place]) / p[place], place) for place, name in enumerate(names)]
        heapify(due)
        sources = {name: self._endless(name, at.get(name)) for name in names}
        for draw in count(begun["draw"]):
            when, place = due[0]
            if when >= end:
                return
            name = names[place]
            text, at[name] = next(sources[name])
            taken[name] += 1
            heapreplace(due, ((taken[name] + starts[place]) / p[place], place))
            if shard.owns(draw):
                yield replace(text, number=draw), {"draw": draw + 1, "taken": dict(taken), "at": dict(at)}

    def _endless(self, name: str, start: Cursor | None) -> Iterator[tuple[Text, Cursor]]:
        for _ in count():
            yield from self.parts[name].stream(Shard(), start)
            start = None

    def fingerprint(self) -> str:
        parts = {name: part.fingerprint() for name, part in self.parts.items()}
        return digest("Sampled", parts, self.alpha, self.unit, self.seed)


def _counted(name: str, part: Corpus[Text]) -> tuple[int, int]:
    texts = size = 0
    for text, _ in part.stream():
        texts += 1
        size += len(text.text.encode()) + len((text.pair or "").encode())
    if not texts:
        remedy = "Give other files, or leave it out."
        raise InputError(f'"{name}" has no text', field=f"files.{name}", remedy=remedy)
    return texts, size


class _InLanguage(Corpus[Text]):
    """Texts that say in which language they are."""

    def __init__(self, corpus: Corpus[Text], code: str) -> None:
        self.corpus, self.code = corpus, code

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        for text, cursor in self.corpus.stream(shard, start):
            yield replace(text, fields={**text.fields, "language": self.code}), cursor

    def fingerprint(self) -> str:
        return digest("in", self.code, self.corpus.fingerprint())


def in_languages(encoded: Encoded, text: Text) -> Encoded:
    """Returns what was read with the part `Languages`, from `Text.fields`."""
    return with_languages(encoded, text.fields["language"], text.fields.get("pair_language"))


def texts_of(files: Mapping[str, str | Sequence[str]], *, field: str = "text") -> dict[str, Corpus[Text]]:
    """Returns the texts of each language, by its code: a text a line, or JSON lines.

    Args:
        files: of each language, ``{en = "en/*.txt.gz", sw = ["a.txt", "b.txt"]}``.
        field: the key of the text in JSON lines.

    Raises:
        InputError: an unknown language, one that is named twice, or lines and JSON lines of one language.
        FormatError: no file has such a name.
    """
    parts: dict[str, Corpus[Text]] = {}
    for tag, paths in files.items():
        code = language(tag, f"files.{tag}")
        if code in parts:
            raise InputError(f"{code} is named twice", field=f"files.{tag}", remedy="Give all its files as a list.")
        named = [paths] if isinstance(paths, str) else list(paths)
        structured = {".jsonl" in path for path in named}
        if len(structured) != 1:
            raise InputError("lines and JSON lines together", field=f"files.{tag}", remedy="Give files of one kind.")
        opened = JsonLines(named, field=field) if structured.pop() else TextFiles(named)
        parts[code] = _InLanguage(opened, code)
    return parts


def monolingual_text(
    files: Mapping[str, str | Sequence[str]],
    *,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    alpha: float = 0.3,
    unit: Unit = "texts",
    field: str = "text",
    length: int | None = None,
    identifier: str | None = None,
    seed: int = 0,
) -> Corpus[Encoded]:
    """Returns texts of many languages, drawn by p ~ n ** alpha. Registered as ``monolingual_text``.

    Args:
        files, field: see `texts_of`.
        alpha, unit: see `Sampled`.
        length: tokens of a text; longer ones are split between words. None: as many as the model reads.
        identifier: the path of fastText's model; the first texts must be in their languages (`check_languages`).

    Raises:
        InputError, FormatError: see `texts_of`, `check_languages` and `Sampled`.
    """
    parts = texts_of(files, field=field)
    for code, part in parts.items():
        check_languages((text for text, _ in part.stream()), f"files.{code}", identifier)
    sampled = Sampled(parts, alpha=alpha, unit=unit, seed=seed)
    return Reader(sampled, tokenizer, min(length or config.longest, config.longest), attach=in_languages, long="split")
