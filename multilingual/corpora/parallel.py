"""Sentences with their translations: tables, two files line by line (Moses), and translation memories (TMX).

    train.en   a cat                    train.de   eine Katze             Aligned   line by line
    en.tsv     GEN.1.1 <tab> In the ... de.tsv     GEN.1.1 <tab> Am ...   Keyed     by the first column
    train.tsv  a cat <tab> eine Katze                                     Table     (`kelm.data.sources`)
    memory.tmx <tu><tuv xml:lang="en"><seg>a cat ...                      Tmx

A pair is a `Text` with `pair`, and with the codes of both languages in `fields`. Files are plain or compressed, and are
read line by line; a pair of which one side is blank is passed over.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.files import fingerprint, lines, read
from kelm.data.reader import Reader
from kelm.data.sources import JsonLines, Table
from kelm.errors import FormatError, InputError
from kelm.model.config import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from multilingual.corpora.hub import hub_pairs, is_hub
from multilingual.corpora.language_rules import check_languages
from multilingual.corpora.sampling import OneLanguage, Sampled, Unit, in_languages
from multilingual.corpora.translation_memory import Tmx
from multilingual.languages import language

__all__ = ["Aligned", "Keyed", "Order", "Tmx", "pair_parts", "parallel_text", "translations"]

Order = Literal["given", "mixed"]


class Aligned(Corpus[Text]):
    """Two files of which each line is the translation of the other's.

    A cursor is ``[line, byte of the first file, byte of the second, number]``.

    Raises:
        FormatError: the files have different numbers of lines. All are counted when this is made.
    """

    def __init__(self, first: str | Path, second: str | Path) -> None:
        self.paths = (Path(first), Path(second))
        self.count = _as_many(*self.paths)

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        line, byte, other, number = start or (0, 0, 0, 0)
        sides = (read(path, number=line, byte=at) for path, at in zip(self.paths, (byte, other), strict=True))
        for first, second in zip(*sides, strict=True):
            if not first.text.strip() or not second.text.strip():
                continue
            if shard.owns(number):
                origin = f"{self.paths[0]}:{first.number}"
                yield Text(first.text, second.text, number, origin), [first.number, first.end, second.end, number + 1]
            number += 1

    def fingerprint(self) -> str:
        return digest("Aligned", *map(fingerprint, self.paths))


class Keyed(Corpus[Text]):
    """Two tables of a key and a text, matched by the key, in the order in which the second of a pair is met.

    Args:
        first, second: lines such as ``GEN.1.1<tab>In the beginning``; a verse that one of them lacks is passed over.

    Raises:
        FormatError: when read: a line without a tab, a key that comes twice, or no key that both have.

    Cost: texts that have not met their translation are held; continuing in the middle reads the files from their start.
    """

    def __init__(self, first: str | Path, second: str | Path) -> None:
        self.paths = (Path(first), Path(second))

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        number = 0
        for key, texts, line in self._met():
            if all(text.strip() for text in texts):
                if number >= (start or 0) and shard.owns(number):
                    yield Text(*texts, number, f"{self.paths[0]}:{line}", {"key": key}), number + 1
                number += 1
        if not number:
            raise FormatError(
                f"it shares no key with {self.paths[1]}",
                path=self.paths[0],
                field="files",
                remedy="The first column has to name the same sentence in both.",
            )

    def _met(self) -> Iterator[tuple[str, tuple[str, str], int]]:
        waiting: tuple[dict[str, tuple[str, int]], dict[str, tuple[str, int]]] = ({}, {})
        met: set[str] = set()
        for both in zip_longest(*(self._pairs(path) for path in self.paths)):
            for side, row in enumerate(both):
                if row is None:
                    continue
                key, text, line = row
                if key in met or key in waiting[side]:
                    raise FormatError(
                        f'the key "{key}" comes twice',
                        path=self.paths[side],
                        line=line,
                        remedy="Leave one of them out.",
                    )
                if key in waiting[1 - side]:
                    other, at = waiting[1 - side].pop(key)
                    met.add(key)
                    yield key, (other, text) if side else (text, other), at if side else line
                else:
                    waiting[side][key] = (text, line)

    @staticmethod
    def _pairs(path: Path) -> Iterator[tuple[str, str, int]]:
        for line in read(path):
            if line.text and not line.text.isspace():
                key, tab, text = line.text.partition("\t")
                if not tab:
                    raise FormatError(
                        "no tab", path=path, line=line.number, remedy="Give a key, a tab and the text in each line."
                    )
                yield key, text, line.number

    def fingerprint(self) -> str:
        return digest("Keyed", *map(fingerprint, self.paths))


def _as_many(first: Path, second: Path) -> int:
    counts = [sum(1 for _ in lines(path)) for path in (first, second)]
    if counts[0] != counts[1]:
        longer, at = (first, counts[1] + 1) if counts[0] > counts[1] else (second, counts[0] + 1)
        raise FormatError(
            f"{first} has {counts[0]:,} lines and {second} {counts[1]:,}: this one has no translation",
            path=longer,
            line=at,
            remedy="Line n of one has to be the translation of line n of the other, and may be blank if there is none.",
        )
    return counts[0]


class _Pairs(Corpus[Text]):
    """Pairs with their languages, of which half, by their numbers, come the other way round."""

    def __init__(self, corpus: Corpus[Text], languages: tuple[str, str], order: Order, seed: int) -> None:
        self.corpus, self.languages, self.order, self.seed = corpus, languages, order, seed

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        first, second = self.languages
        for text, cursor in self.corpus.stream(shard, start):
            if text.pair is None or not text.pair.strip() or not text.text.strip():
                continue
            told = replace(text, fields={**text.fields, "language": first, "pair_language": second})
            if self.order == "mixed" and random.Random(f"{self.seed} {text.number}").random() < 0.5:
                swapped = {**told.fields, "language": second, "pair_language": first}
                told = replace(told, text=text.pair, pair=text.text, fields=swapped)
            yield told, cursor

    def fingerprint(self) -> str:
        return digest("Pairs", self.corpus.fingerprint(), self.languages, self.order, self.seed)


def translations(
    paths: str | Sequence[str],
    languages: Sequence[str],
    *,
    columns: Sequence[int | str] = (0, 1),
    order: Order = "given",
    seed: int = 0,
) -> Corpus[Text]:
    """Returns the pairs of a file or of two; the format is told by the name.

    Args:
        paths: a table (".tsv", ".txt"), JSON lines (".jsonl") or a translation memory (".tmx"); or two files of lines;
            or two tables (".tsv") of a key and a text. Plain or compressed. Or a dataset of Hugging Face's, "hf:NAME".
        languages: of the two sides.
        columns: of one table or of JSON lines: both sides' columns, by number or by name in the header, or keys.
        order: "mixed" gives half of the pairs the other way round.

    Raises:
        InputError: not two languages, the same twice, an unknown code, or not one or two files.
        FormatError: a file is not what it should be.
    """
    if len(languages) != 2 or len(columns) != 2:
        name, given = ("languages", languages) if len(languages) != 2 else ("columns", columns)
        raise InputError(f"expected two, found {list(given)}", field=name, remedy="Give one for each side.")
    first, second = (language(tag, "languages") for tag in languages)
    if first == second:
        raise InputError(f"both sides are {first}", field="languages", remedy="Name two different languages.")
    if isinstance(paths, str) and is_hub(paths):
        return _Pairs(hub_pairs(paths, (first, second)), (first, second), order, seed)
    named = [Path(paths)] if isinstance(paths, str) else [Path(path) for path in paths]
    corpus: Corpus[Text]
    if len(named) == 1:
        corpus = _one_file(named[0], (first, second), columns)
    elif len(named) == 2:
        _check_order(named, (first, second))
        corpus = (Keyed if all(".tsv" in path.suffixes for path in named) else Aligned)(*named)
    else:
        raise InputError(f"expected one file or two, found {len(named)}", field="files", remedy="Name others apart.")
    return _Pairs(corpus, (first, second), order, seed)


def _check_order(paths: Sequence[Path], languages: tuple[str, str]) -> None:
    """Does nothing unless each file's name ends in the other side's language."""
    told = [_told(path, languages) for path in paths]
    if told == list(languages[::-1]):
        problem = (
            f"{paths[0].name} and {paths[1].name} are named {', '.join(told)}, the languages are {', '.join(languages)}"
        )
        raise InputError(problem, field="files", remedy="Give the files in the order of the languages.")


def _told(path: Path, languages: tuple[str, str]) -> str:
    """Returns the language that the last telling part of a file's name tells."""
    for part in reversed(re.split(r"[._\-]", path.name.lower())):
        try:
            if part and (code := language(part)) in languages:
                return code
        except InputError:
            continue
    return ""


def _one_file(path: Path, languages: tuple[str, str], columns: Sequence[int | str]) -> Corpus[Text]:
    kinds = [suffix for suffix in path.suffixes if suffix in (".tsv", ".txt", ".jsonl", ".tmx")]
    one, other = columns
    match kinds[-1:]:
        case [".tmx"]:
            return Tmx(path, languages)
        case [".jsonl"]:
            keys = languages if tuple(columns) == (0, 1) else (str(one), str(other))
            return JsonLines(str(path), field=keys[0], pair=keys[1])
        case [".tsv" | ".txt"]:
            return Table(str(path), text=one, pair=other)
    raise InputError(
        f'the ending of "{path.name}" ({path.suffix or "none"}) tells no format',
        field="files",
        remedy="Name it .tsv, .jsonl or .tmx, or give two files of lines.",
    )


def pair_parts(
    files: Mapping[str, str | Sequence[str]],
    *,
    columns: Sequence[int | str],
    order: Order,
    seed: int,
    identifier: str | None = None,
) -> dict[str, Corpus[Text]]:
    """Returns the pairs of each two languages, ``{"en-de" = ["train.en", "train.de"]}``, by that name.

    Args:
        identifier: the path of fastText's model; the first pairs must be in their languages (`check_languages`).

    Raises:
        InputError, FormatError: see `translations`; an InputError names the field ``files.en-de``.
    """
    parts = {}
    for name, paths in files.items():
        try:
            parts[name] = translations(paths, name.split("-"), columns=tuple(columns), order=order, seed=seed)
        except FormatError:  # tells the file itself
            raise
        except InputError as error:
            field = "columns" if error.field == "columns" else f"files.{name}"
            raise InputError(error.problem, field=field, remedy=error.remedy) from error
        check_languages((text for text, _ in parts[name].stream()), f"files.{name}", identifier)
    return parts


def parallel_text(
    files: Mapping[str, str | Sequence[str]],
    *,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    columns: Sequence[int | str] = (0, 1),
    order: Order = "mixed",
    alpha: float | Sequence[float] = 1.0,
    phases: Sequence[int] = (),
    unit: Unit = "texts",
    length: int | None = None,
    pure: bool = False,
    identifier: str | None = None,
    seed: int = 0,
) -> Corpus[Encoded]:
    """Returns sentences with their translations and languages, a pair in a row. Registered as ``parallel_text``.

    Args:
        files: of each pair of languages, ``{"en-de" = ["train.en", "train.de"], "en-sw" = "en-sw.tsv"}``; see
            `translations` for the formats. A script is joined by "_": "en-zh_hant".
        columns, order: see `translations`.
        alpha, phases, unit: how often each pair of languages is drawn, see `Sampled`; 1 takes each text once a pass.
        length: tokens of a pair at most; the longer side is cut first. None: as many as the model reads.
        pure: a batch has pairs of the same two languages (XLM); otherwise of all.
        identifier: the path of fastText's model; the first pairs must be in their languages (`check_languages`).

    Raises:
        InputError, FormatError: see `translations` and `Sampled`.
    """
    parts = pair_parts(files, columns=columns, order=order, seed=seed, identifier=identifier)
    sampled = Sampled(parts, alpha=alpha, phases=phases, unit=unit, seed=seed)
    kind = OneLanguage if pure else Reader
    return kind(sampled, tokenizer, min(length or config.longest, config.longest), attach=in_languages, both=True)
