"""Linking on the command line: texts from a file or standard input, out as JSON lines or as a page.

names of graphs, or saved ones -> [read in context] -> [coherence] -> [threshold] -> JSON lines | page
"""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kelm.errors import InputError
from kelm.model import Encoder
from kelm.text.tokenizer import open as open_tokenizer
from kg.entity import label_of
from kg.graph import KnowledgeGraph
from kg.io.journal import Journal
from kg.io.source import decoded, lines
from kg.linking.alias import AliasLinker
from kg.linking.base import Disambiguator, EntityLinker, Mention
from kg.linking.coherence import Coherent
from kg.linking.contextual import ContextualLinker, ContextWeights
from kg.linking.counts import MentionCounts
from kg.linking.entity_text import EntityText, EntityTextOptions
from kg.linking.entity_vectors import entity_vectors
from kg.linking.linked_text import line_of, read_linked
from kg.linking.names import AliasOptions
from kg.linking.nil import Cautious
from kg.linking.page import write_page
from kg.linking.processes import TOGETHER, link_everywhere

__all__ = ["Choice", "link", "names_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How one of several candidates is chosen.

    Attributes:
        encoder: folder of a checkpoint that reads the text and what the graph says of entities; None: nobody reads.
        vectors: folder in which the entities' vectors are kept; None: they are made each time.
        nothing: see `ContextWeights`.
        coherence: weight of the other mentions of a text, see `Coherent`; 0 leaves them out.
        threshold: see `Cautious`; 0 keeps all.
    """

    encoder: Path | None = None
    vectors: Path | None = None
    nothing: float | None = None
    coherence: float = 0.0
    threshold: float = 0.0

    def linker(
        self, names: Disambiguator, graphs: Sequence[KnowledgeGraph], language: str | None = None
    ) -> EntityLinker:
        """Returns a linker that finds what `names` finds.

        Raises:
            InputError: there is no graph to ask, or there are several to read of.
        """
        asked = "--encoder" if self.encoder else "--coherence" if self.coherence else None
        if asked and not graphs:
            raise InputError(
                "saved names do not say what relates or describes entities", field=asked, remedy="Name the graph."
            )
        if self.encoder is not None:
            names = self._reading(self.encoder, names, graphs, language)
        elif self.vectors is not None or self.nothing is not None:
            raise InputError("nothing reads the texts", field="--encoder", remedy="Name a checkpoint's folder.")
        if self.coherence:
            for graph in graphs:
                names = Coherent(names, graph, self.coherence)
        return Cautious(names, self.threshold) if self.threshold else names

    def _reading(
        self, folder: Path, names: Disambiguator, graphs: Sequence[KnowledgeGraph], language: str | None
    ) -> ContextualLinker:
        if len(graphs) > 1:
            raise InputError(
                "entities are described by one graph only",
                field="--encoder",
                remedy="Build one of all: kelm graph build.",
            )
        encoder, tokenizer = Encoder.from_pretrained(folder), open_tokenizer(folder)
        said = EntityText(graphs[0], EntityTextOptions(language=language or "en"))
        vectors = entity_vectors(said, encoder, tokenizer, cache=self.vectors)
        return ContextualLinker(names, encoder, tokenizer, vectors, ContextWeights(nothing=self.nothing))


def names_of(
    graphs: Sequence[KnowledgeGraph], language: str | None, options: AliasOptions, *, counts: Sequence[Path] = ()
) -> AliasLinker:
    """Returns a linker by the names of graphs.

    Args:
        language: names of this language and of none; None: all.
        counts: files of linked text that say what names mean.

    Raises:
        InputError: a file is not what it should be, or there are no names.
    """
    seen = MentionCounts.of((one for path in counts for one in read_linked(path)), language or "")
    languages: Collection[str] | None = None if language is None else {language, ""}
    return AliasLinker.from_graph(graphs, languages, options=options, counts=seen)


def link(
    linker: EntityLinker,
    text: Path | None,
    language: str | None = None,
    *,
    candidates: int,
    page: Path | None = None,
    graphs: Mapping[str, KnowledgeGraph] | None = None,
    processes: int = 1,
) -> None:
    """Prints the texts with what they mention, a JSON object a line, or writes them as a page.

    Args:
        text: a file, a text a line; None: standard input.
        language: of the names that count, and of the page's labels.
        candidates: print up to this many of each mention.
        page: the page to write instead.
        graphs: tell the page's labels, by what they were called; the first names the page.

    Raises:
        InputError: a file is not what it should be.
    """
    portion = TOGETHER if text or processes > 1 else 1  # whoever types sees each answer at once, with one process
    everywhere = partial(link_everywhere, linker, _texts(text), language=language, processes=processes, portion=portion)
    if page is None:
        for line in everywhere(partial(line_of, candidates=candidates)):
            print(line)
        return
    named = graphs or {}
    title = f"{next(iter(named), 'saved names')}: {text or 'standard input'}"
    label = partial(label_of, list(named.values()), language=language or "en")
    texts, mentions = write_page(page, everywhere(partial(_pair, candidates)), title=title, label=label)
    print(f"{page}: {texts:,} texts, {mentions:,} mentions")


def _pair(most: int, text: str, mentions: list[Mention]) -> tuple[str, list[Mention]]:
    """Returns what a page shows; the best candidate, which is the answer, always stays."""
    return text, [replace(mention, candidates=mention.candidates[: max(1, most)]) for mention in mentions]


def _texts(path: Path | None) -> Iterator[str]:
    if path is not None:
        yield from (text for _, text in lines(path, Journal(path, "text")))
        return
    journal = Journal("standard input", "text")
    for number, line in enumerate(sys.stdin.buffer, 1):  # line by line: whoever types sees each answer at once
        text = decoded(line.removeprefix(BOM_UTF8) if number == 1 else line, number, journal)
        yield from text.removesuffix("\n").removesuffix("\r").split("\r")  # line ends as in a file
