"""Linked texts as a corpus for training: what ERNIE and the other knowledge methods read.

{"text": ..., "mentions": [[start, end, entity], ...]}   --tokenize, align with the table-->   Encoded with Mentions
plain text                            --tokenize, link by name, align with the table-->         Encoded with Mentions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, Text, digest
from kelm.data.reader import Reader
from kelm.data.sentence_pairs import SentencePairs
from kelm.data.sources import JsonLines, TextFiles
from kelm.model.config import EncoderConfig
from kelm.objectives.next_sentence import attach_next_sentence
from kelm.text.tokenizer import Tokenizer
from kg.enrich.table_rows import TableRows
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import Mention, align
from kg.linking.linked_text import given

__all__ = ["Aligned", "linked_text"]


@dataclass(frozen=True)
class Aligned:
    """Gives each text its `Mentions`: those it came with, or those that names tell.

    Crosses a queue as two paths; table and graph are opened where they are used.

    Attributes:
        rows: of the entity table, which the mentions' entities become.
        graph: folder of the graph whose names are looked for; None: the texts come with their mentions.
        languages: of the names; empty: all.
    """

    rows: TableRows
    graph: str | None = None
    languages: tuple[str, ...] = ()

    def __call__(self, encoded: Encoded, text: Text) -> Encoded:
        mentions = list(self._mentions(text.text, text.fields, text.origin))
        if text.pair is None:
            return align(encoded, mentions, self.rows)
        offset = len(text.text) + 1  # an encoded pair's text is both, joined by a line end
        for mention in self._mentions(text.pair, text.fields["pair"], text.origin):
            mentions.append(replace(mention, start=mention.start + offset, end=mention.end + offset))
        return attach_next_sentence(align(encoded, mentions, self.rows), text)

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the mentions."""
        graph = None if self.graph is None else KnowledgeGraph.open(self.graph).fingerprint()
        return digest(graph, list(self.languages), self.rows.fingerprint())

    def _mentions(self, text: str, fields: Mapping[str, Any], origin: str) -> Sequence[Mention]:
        return self._linker.link(text) if self.graph is not None else given(text, fields["mentions"], origin)

    @cached_property
    def _linker(self) -> AliasLinker:
        assert self.graph is not None
        return AliasLinker.from_graph(KnowledgeGraph.open(self.graph), self.languages or None)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}


def linked_text(
    path: str,
    *,
    table: str,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    graph: str | None = None,
    languages: Sequence[str] = (),
    length: int | None = None,
    pairs: bool = False,
    seed: int = 0,
) -> Reader:
    """Returns a corpus of texts with mentions. Registered as ``linked_text`` in the group ``kelm.corpora``.

    Args:
        path: JSON lines with "text" and "mentions", or with `graph` plain text, a text a line; plain or compressed.
        table: folder of the entity table.
        graph: folder of a graph; its names are then looked for in the texts.
        languages: of the names; all if empty.
        length: tokens of a text; longer ones are cut. The model's if not given.
        pairs: two sentences a text, for next sentence prediction; the lines are in the order of their documents.
        seed: draws the pairs.

    Raises:
        FormatError: when read, if a line is no such object, or a mention does not lie within its text.
    """
    files: Corpus[Text] = JsonLines(path, field="text", keep=("mentions",)) if graph is None else TextFiles(path)
    source = SentencePairs(files, seed=seed) if pairs else files
    attach = Aligned(TableRows(table), graph, tuple(languages))
    longest = min(length or config.longest, config.longest)
    return Reader(source, tokenizer, longest, attach=attach)
