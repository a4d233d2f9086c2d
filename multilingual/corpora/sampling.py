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
from unicodedata import category

import numpy as np
from jaxtyping import Float64

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.reader import Reader
from kelm.data.sentence_pairs import SentencePairs
from kelm.data.sources import JsonLines, TextFiles
from kelm.errors import InputError
from kelm.model.config import EncoderConfig
from kelm.objectives.next_sentence import attach_next_sentence
from kelm.text.tokenizer import Tokenizer
from multilingual.corpora.code_switched import CodeSwitched, dictionaries
from multilingual.corpora.hub import hub_texts, is_hub
from multilingual.corpora.language_rules import check_languages
from multilingual.languages import Languages, language, with_languages

__all__ = ["Sampled", "Unit", "in_languages", "monolingual_text", "shares", "texts_of"]

Unit = Literal["texts", "bytes"]
_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # Unicode's controls, marks without a width, and white space


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
        alpha: 1: as they come; 0: all languages alike; 0.3 is XLM-R's. Several are taken one after the other, as in
            mmBERT (Marone et al., 2025: 0.7, 0.5, 0.3); the languages go on where they stood.
        phases: with several alphas, for how many texts each but the last is kept; then comes a pass by the last.
        unit: of n: "texts" (XLM's sentences) or "bytes" of UTF-8.

    Attributes:
        counts: texts and bytes of each part.

    Raises:
        InputError: no part, a part without a text, an alpha that is negative or not finite, or not one phase less.

    Cost: all is read once to count it, when this is made; then each shard reads the lines of all.
    """

    def __init__(
        self,
        parts: Mapping[str, Corpus[Text]],
        *,
        alpha: float | Sequence[float] = 0.3,
        phases: Sequence[int] = (),
        unit: Unit = "texts",
        seed: int = 0,
    ) -> None:
        if not parts:
            raise InputError("no file is given", field="files", remedy="Name a language and its file.")
        self.alphas = (float(alpha),) if isinstance(alpha, int | float) else tuple(alpha)
        self.phases = tuple(phases)
        for one in self.alphas:
            if not 0 <= one < float("inf"):
                raise InputError(f"alpha is {one}", field="alpha", remedy="Give 0 or more; 0.3 is usual.")
        if len(self.phases) != len(self.alphas) - 1 or min(self.phases, default=1) < 1:
            problem = f"{len(self.alphas)} alphas have {len(self.phases)} phases"
            raise InputError(problem, field="phases", remedy="Give texts, 1 or more, for each alpha but the last.")
        if unit not in get_args(Unit):
            raise InputError(f"unit is {unit}", field="unit", remedy=f"Give one of {', '.join(get_args(Unit))}.")
        self.parts, self.unit, self.seed = dict(parts), unit, seed
        self.counts = {name: _counted(name, part) for name, part in parts.items()}

    @cached_property
    def probabilities(self) -> Mapping[str, float]:
        """How likely each part is drawn, in the last phase."""
        return dict(zip(self.parts, self._shares(self.alphas[-1]), strict=True))

    def _shares(self, alpha: float) -> list[float]:
        place = get_args(Unit).index(self.unit)
        found: list[float] = shares([counts[place] for counts in self.counts.values()], alpha).tolist()
        return found

    @cached_property
    def times(self) -> Mapping[str, float]:
        """How often a pass reads the texts of each part."""
        lengths = [*self.phases, self._end]
        drawn = np.array(lengths) @ np.array([self._shares(one) for one in self.alphas])
        return {name: float(count) / self.counts[name][0] for name, count in zip(self.parts, drawn, strict=True)}

    @cached_property
    def _end(self) -> float:
        """After so many draws, all by the last phase, the part that is read least is read up."""
        return max(texts / self.probabilities[name] for name, (texts, _) in self.counts.items())

    def table(self) -> list[list[str]]:
        """Returns of each part its texts and bytes, its probability, and how often a pass reads it."""
        rows = [["language", "texts", "bytes", "probability", "times read"]]
        for name, (texts, size) in self.counts.items():
            rows.append([name, f"{texts:,}", f"{size:,}", f"{self.probabilities[name]:.3f}", f"{self.times[name]:.1f}"])
        return rows

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        nothing = dict.fromkeys(self.parts, 0)
        begun: Any = start or {"draw": 0, "phase": 0, "taken": nothing, "before": nothing, "at": {}}
        taken, before, at = dict(begun["taken"]), dict(begun["before"]), dict(begun["at"])
        sources = {name: self._endless(name, at.get(name)) for name in self.parts}
        draws = count(begun["draw"])
        for phase in range(begun["phase"], len(self.alphas)):
            for name in self._turns(phase, dict(taken)):
                draw = next(draws)
                text, at[name] = next(sources[name])
                taken[name] += 1
                if shard.owns(draw):
                    cursor = {"draw": draw + 1, "phase": phase, "taken": dict(taken), "before": before, "at": dict(at)}
                    yield replace(text, number=draw), cursor
            before = {name: before[name] + taken[name] for name in self.parts}
            taken = dict(nothing)

    def _turns(self, phase: int, taken: dict[str, int]) -> Iterator[str]:
        """Yields which part comes next until the phase ends; `taken` were drawn in it before."""
        last = phase + 1 == len(self.alphas)
        end, left = (self._end, None) if last else (float("inf"), self.phases[phase] - sum(taken.values()))
        names, p = list(self.parts), self._shares(self.alphas[phase])
        starts = np.random.default_rng(self.seed).random(len(names)).tolist()
        due = [((taken[name] + starts[place]) / p[place], place) for place, name in enumerate(names)]
        heapify(due)
        for _ in count() if left is None else range(left):
            when, place = due[0]
            if when >= end:
                return
            taken[names[place]] += 1
            yield names[place]
            heapreplace(due, ((taken[names[place]] + starts[place]) / p[place], place))

    def _endless(self, name: str, start: Cursor | None) -> Iterator[tuple[Text, Cursor]]:
        for _ in count():
            yield from self.parts[name].stream(Shard(), start)
            start = None

    def times_read(self, passes: int, cursor: Cursor | None) -> Mapping[str, float]:
        now = {name: 0 if cursor is None else cursor["before"][name] + cursor["taken"][name] for name in self.parts}
        return {name: passes * self.times[name] + now[name] / self.counts[name][0] for name in self.parts}

    def fingerprint(self) -> str:
        parts = {name: part.fingerprint() for name, part in self.parts.items()}
        return digest("Sampled", parts, self.alphas, self.phases, self.unit, self.seed)


def _counted(name: str, part: Corpus[Text]) -> tuple[int, int]:
    texts = size = 0
    readable = False
    for text, _ in part.stream():
        readable = readable or not all(category(one) in _UNSEEN for one in text.text)
        texts += 1
        size += len(text.text.encode()) + len((text.pair or "").encode())
    if not readable:
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


def _pair_in_language(encoded: Encoded, text: Text) -> Encoded:
    return attach_next_sentence(in_languages(encoded, text), text)


class OneLanguage(Reader):
    """Reads texts of which only those of one language, or of the same two, share a batch."""

    def together(self, item: Encoded) -> Any:
        return tuple(sorted(set(item[Languages].language.tolist())))

    def fingerprint(self) -> str:
        return digest("of one language", super().fingerprint())


def texts_of(files: Mapping[str, str | Sequence[str]], *, field: str = "text") -> dict[str, Corpus[Text]]:
    """Returns the texts of each language, by its code: a text a line, or JSON lines.

    Args:
        files: of each language, ``{en = "en/*.txt.gz", sw = ["a.txt", "b.txt"]}``; or a dataset of Hugging Face's,
            ``{sw = "hf:wikimedia/wikipedia:20231101.sw"}``.
        field: the key of the text in JSON lines, or the column of a dataset.

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
        if len(named) == 1 and is_hub(named[0]):
            parts[code] = _InLanguage(hub_texts(named[0], field), code)
            continue
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
    alpha: float | Sequence[float] = 0.3,
    phases: Sequence[int] = (),
    unit: Unit = "texts",
    field: str = "text",
    length: int | None = None,
    pure: bool = False,
    follows: bool = False,
    identifier: str | None = None,
    switch: Mapping[str, str] | None = None,
    switch_share: float = 0.3,
    seed: int = 0,
) -> Corpus[Encoded]:
    """Returns texts of many languages, drawn by p ~ n ** alpha. Registered as ``monolingual_text``.

    Args:
        files, field: see `texts_of`.
        alpha, phases, unit: see `Sampled`.
        length: tokens of a text; longer ones are split between words. None: as many as the model reads.
        pure: a batch has texts of one language (XLM); otherwise of all, as they come (mBERT, XLM-R).
        follows: two texts at a time, of which the second follows the first in half of all cases (`SentencePairs`), for
            ``mlm`` with ``next_sentence``; too long ones are cut.
        identifier: the path of fastText's model; the first texts must be in their languages (`check_languages`).
        switch: dictionaries by pair of languages, ``{en-de = "en-de.tsv"}``, of which words come into the texts.
        switch_share: of the words that a dictionary has, how many are replaced; see `CodeSwitched`.

    Raises:
        InputError, FormatError: see `texts_of`, `dictionaries`, `check_languages` and `Sampled`.
    """
    parts = texts_of(files, field=field)
    for code, part in parts.items():
        check_languages((text for text, _ in part.stream()), f"files.{code}", identifier)
    for code, words in dictionaries(switch or {}).items():
        if code in parts:
            parts[code] = CodeSwitched(parts[code], words, share=switch_share, seed=seed)
    if follows:
        parts = {code: SentencePairs(part, seed=seed) for code, part in parts.items()}
    sampled = Sampled(parts, alpha=alpha, phases=phases, unit=unit, seed=seed)
    kind, most = OneLanguage if pure else Reader, min(length or config.longest, config.longest)
    if follows:
        return kind(sampled, tokenizer, most, attach=_pair_in_language)
    return kind(sampled, tokenizer, most, attach=in_languages, long="split")
