"""One sentence as a tree, to be looked at: mentions found by the graph's names, a tokenizer of one's own or none.

Without a tokenizer words are tokens, in Chinese and Japanese characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from kelm.batch import Encoded
from kelm.text.tokenizer import Tokenizer
from kelm.text.tokenizer import open as open_tokenizer
from kg.enrich.branches import Branches, BranchOptions
from kg.enrich.sentence_tree import SentenceTree, Twig
from kg.enrich.tree_picture import Token, tokens_of_tree
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import Mention

__all__ = ["ShownTree", "show_tree_of"]


_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|[^\W\u2e80-\u9fff\uf900-\ufaff]+|[^\w\s]")


class _Words:
    """As much of a tokenizer as trees ask for: every word that it meets gets the next number."""

    def __init__(self) -> None:
        self.pieces = ["[CLS]", "[SEP]"]

    def encode(self, texts: Sequence[str], pairs: Any = None, *, length: int | None = None) -> list[Encoded]:
        return [self._encoded(text, length) for text in texts]

    def piece(self, id: int) -> str:
        return self.pieces[id]

    def fingerprint(self) -> str:
        return "words"

    def _encoded(self, text: str, length: int | None) -> Encoded:
        found = list(_WORD.finditer(text))[: None if length is None else max(0, length - 2)]
        tokens = [self._number(match[0]) for match in found]
        spans = [(-1, -1), *(match.span() for match in found), (-1, -1)]
        words = np.array([-1, *range(len(found)), -1])
        return Encoded(text, np.array([0, *tokens, 1]), np.array(spans), words, np.zeros_like(words))

    def _number(self, word: str) -> int:
        if word not in self.pieces:
            self.pieces.append(word)
        return self.pieces.index(word)


@dataclass(frozen=True, slots=True, eq=False)
class ShownTree:
    """A sentence with its branches.

    Attributes:
        tree, tokens: as the encoder reads it.
        mentions: that the graph knows and that got tokens; by their numbers in `twigs`.
        twigs: all branches, best first; `kept`: those that there was room for.
    """

    tree: Encoded
    tokens: list[Token]
    mentions: list[Mention]
    twigs: list[Twig]
    kept: list[Twig]


def show_tree_of(
    text: str, graph: KnowledgeGraph, options: BranchOptions, *, length: int, tokenizer: str | None = None
) -> ShownTree:
    """Returns the tree of a text.

    Args:
        length: tokens of the text with its branches.
        tokenizer: its place, see `kelm.text.tokenizer.open`.

    Raises:
        InputError: the graph has no names in the language, or `length` is too small.
        CheckpointError: no tokenizer is there.
    """
    linker = AliasLinker.from_graph(graph, {options.language, ""})
    found = [mention for mention in linker.link(text) if mention.entity is not None]
    words = cast(Tokenizer, _Words()) if tokenizer is None else open_tokenizer(tokenizer)
    branches = Branches(graph, words, options)
    grower = SentenceTree(branches, length, length, options.most)
    [encoded] = words.encode([text], length=length)
    [(spans, twigs)] = grower.twigs_all([encoded], [found])
    tree = grower.grow(encoded, found)
    places = [(int(encoded.spans[first, 0]), int(encoded.spans[last, 1])) for first, last in spans]
    mentions = [next(one for one in found if one.start < end and start < one.end) for start, end in places]
    tokens = tokens_of_tree(tree, [words.piece(int(token)) for token in tree.tokens])
    return ShownTree(tree, tokens, mentions, twigs, grower.fitting(encoded, twigs))
