"""K-BERT's sentence trees for any corpus: what a recipe names `sentence_tree`.

[objectives.corpus.enrich.sentence_tree]
graph = "graph"
language = "zh"

Mentions are found by the graph's names, or are those that the texts have (`table`), as ERNIE's do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.enrich.branches import Branches, BranchOptions
from kg.enrich.sentence_tree import Cut, SentenceTree
from kg.enrich.table_rows import TableRows
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import Mention, Mentions
from kg.linking.linked_text import gold

__all__ = ["Grower", "sentence_tree"]

_POOL = 16  # branches of an entity among which the most relevant are chosen


@dataclass(frozen=True, eq=False)
class Grower:
    """Grows trees; crosses a queue as paths, the graph is opened where it is used.

    Attributes:
        graph: its folder.
        names: a saved linker; None: the graph's names in the branches' language.
        table: folder of the entity table whose rows the texts' own `Mentions` are; None: mentions are looked for.
        relevance: see `SentenceTree`.
    """

    graph: str
    tokenizer: Tokenizer
    branches: BranchOptions
    length: int
    positions: int
    cut: Cut = "branches"
    names: str | None = None
    table: str | None = None
    relevance: Float[np.ndarray, "token width"] | None = None

    def __call__(self, texts: Sequence[Encoded]) -> list[Encoded]:
        if self.table is None:
            found = self._linker.link_all([text.text for text in texts])
        else:
            found = [list(self._given(text)) for text in texts]
        return self.tree.grow_all(texts, found)

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        names = None if self.names is None else blake2b(Path(self.names).read_bytes()).hexdigest()
        return digest(
            self.tree.fingerprint(), names, None if self.table is None else TableRows(self.table).fingerprint()
        )

    def _given(self, text: Encoded) -> Iterator[Mention]:
        """Yields the text's own mentions."""
        part = text[Mentions]
        for first, last, row in zip(part.first.tolist(), part.last.tolist(), part.entity.tolist(), strict=True):
            if row >= 0:
                yield gold(text.text, int(text.spans[first, 0]), int(text.spans[last, 1]), self._table.names[row])

    @cached_property
    def tree(self) -> SentenceTree:
        """What grows them."""
        most = self.branches.most
        pool = most if self.relevance is None else max(_POOL, most)
        known = Branches(KnowledgeGraph.open(self.graph), self.tokenizer, replace(self.branches, most=pool))
        return SentenceTree(known, self.length, self.positions, most, self.cut, self.relevance)

    @cached_property
    def _linker(self) -> AliasLinker:
        if self.names is not None:
            return AliasLinker.load(self.names)
        return AliasLinker.from_graph(self.tree.branches.graph, {self.branches.language, ""})

    @cached_property
    def _table(self) -> EntityTable:
        assert self.table is not None
        return EntityTable.open(self.table)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "tree" and not name.startswith("_")}


def sentence_tree(
    *,
    graph: str,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    encoder: Encoder,
    length: int,
    language: str = "en",
    most: int = 2,
    priority: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    incoming: bool = False,
    hops: Literal[1, 2] = 1,
    relation: bool = True,
    separator: str = ": ",
    longest: int = 16,
    relevance: bool = False,
    cut: Cut = "branches",
    names: str | None = None,
    table: str | None = None,
) -> Grower:
    """Returns the enricher that is registered as ``sentence_tree`` in the group ``kelm.enrichers``.

    Args:
        graph: folder of the graph.
        length: tokens of a text with its branches; the model's positions, or a row of `batch.room`, if not given.
        relevance: choose a mention's branches by how like the sentence they are, by the encoder's word vectors as they
            are when training begins, and not by the order of `BranchOptions`.
        names, table: see `Grower`.
        language, most, priority, leave_out, incoming, hops, relation, separator, longest: see `BranchOptions`.
        cut: "end" for the original code's way to shorten.

    Raises:
        InputError, UnknownName: an option does not suit the graph.
        CheckpointError: no graph is there.
    """
    options = BranchOptions(
        language=language,
        most=most,
        priority=tuple(priority),
        leave_out=tuple(leave_out),
        incoming=incoming,
        hops=hops,
        relation=relation,
        separator=separator,
        longest=longest,
    )
    vectors = encoder.embeddings.word_embeddings.weight.detach().cpu().numpy() if relevance else None
    centered = None if vectors is None else (vectors - vectors.mean(0)).astype(np.float32)
    grower = Grower(graph, tokenizer, options, length, config.longest, cut, names, table, centered)
    grower.fingerprint()  # what does not fit is told now
    return grower
