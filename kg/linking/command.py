"""Linking on the command line: texts from a file or standard input, out as JSON lines or as a page."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from kg.entity import label_of
from kg.graph import KnowledgeGraph
from kg.io.journal import Journal
from kg.io.source import decoded, lines
from kg.linking.alias import AliasLinker
from kg.linking.base import Mention
from kg.linking.counts import MentionCounts
from kg.linking.linked_text import line_of, read_linked
from kg.linking.names import AliasOptions
from kg.linking.page import write_page
from kg.linking.processes import TOGETHER, link_everywhere

__all__ = ["link"]


def link(
    graphs: Mapping[str, KnowledgeGraph],
    text: Path | None,
    language: str | None,
    options: AliasOptions,
    *,
    candidates: int,
    page: Path | None = None,
    counts: Sequence[Path] = (),
    processes: int = 1,
) -> None:
    """Prints the texts with what they mention, a JSON object a line, or writes them as a page.

    Args:
        graphs: whose entities are found, by what they were called; the first names the page.
        text: a file, a text a line; None: standard input.
        candidates: print up to this many of each mention.
        page: the page to write instead.
        counts: files of linked text that say what names mean.

    Raises:
        InputError: a file, or the graphs' names, are not what they should be.
    """
    linker = AliasLinker.from_graph(
        list(graphs.values()),
        None if language is None else {language, ""},
        options=options,
        counts=MentionCounts.of((one for path in counts for one in read_linked(path)), language or ""),
    )
    portion = TOGETHER if text or processes > 1 else 1  # whoever types sees each answer at once, with one process
    everywhere = partial(link_everywhere, linker, _texts(text), processes=processes, portion=portion)
    if page is None:
        for line in everywhere(partial(line_of, candidates=candidates)):
            print(line)
        return
    title = f"{next(iter(graphs))}: {text or 'standard input'}"
    label = partial(label_of, list(graphs.values()), language=language or "en")
    texts, mentions = write_page(page, everywhere(_pair), title=title, label=label)
    print(f"{page}: {texts:,} texts, {mentions:,} mentions")


def _pair(text: str, mentions: list[Mention]) -> tuple[str, list[Mention]]:
    return text, mentions


def _texts(path: Path | None) -> Iterator[str]:
    if path is not None:
        yield from (text for _, text in lines(path, Journal(path, "text")))
        return
    journal = Journal("standard input", "text")
    for number, line in enumerate(sys.stdin.buffer, 1):  # line by line: whoever types sees each answer at once
        text = decoded(line.removeprefix(BOM_UTF8) if number == 1 else line, number, journal)
        yield from text.removesuffix("\n").removesuffix("\r").split("\r")  # line ends as in a file
