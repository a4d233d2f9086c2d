"""`sentence-tree`: K-BERT's trees from raw text to a ready batch, against a straightforward way, sentence by sentence.

    ours    link_all, encode, graft_all, pack; three small integers a token, expanded to the mask once a batch
    peers   a dictionary search for the longest subject, a tree in lists, a square a sentence, stacked. The square is
            filled pair by pair ("formula": the paper's equation 3), or a list of columns for each token ("rows")

Both read the same sentences with the same graph, vocabulary (characters), branches and rank, and end with token ids,
soft positions and the boolean mask of a batch; both batches are compared before the clock runs. Peers keep squares of
float64 as K-BERT's code does, but not its slow way from lists to a tensor. With KELM_DATA the graph is HowNet
(K-BERT's) and the sentences are hotel reviews (ChnSentiCorp), else both are made up at that size. Only Chinese
characters are kept, so that a tokenizer's ways make no difference; a trunk has three fifths of the length.

The state of a sentence, beside its tokens, is a row of its own: what says where its tokens are and whom they see.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import BertTokenizer

from benchmarks.measure import Comparison, Row, compare
from kelm.batch import Encoded, pack
from kelm.text.hugging_face import HuggingFace
from kg import io
from kg.enrich.branches import Branches, BranchOptions
from kg.enrich.sentence_tree import SentenceTree
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.names import AliasOptions

__all__ = ["NAME", "rows"]

NAME = "sentence-tree"
_TRIPLES, _SENTENCES, _CHUNK, _BATCH, _MOST, _LONGEST = 52_576, 512, 256, 32, 2, 16
_SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
_PEER = "per sentence, dense"

Branched = list[tuple[list[int], list[int]]]  # places of each branch, and of its mention
Sees = Callable[[int, list[int], Branched], np.ndarray]
Made = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # tokens, positions, mask of a batch


def rows(*, quick: bool = False) -> list[Row]:
    """Returns sentences a second and bytes of state a sentence, for texts of 128 and 256 tokens.

    Args:
        quick: a tenth of the sentences, one length.
    """
    source, graph, texts = _input(_SENTENCES // 10 if quick else _SENTENCES)
    made = []
    for length in (128,) if quick else (128, 256):
        trunks = [text[: length * 3 // 5 - 2] for text in texts]
        ours = _Ours(graph, length)
        for name, sees in (("formula", _by_formula), ("rows", _by_rows)):
            peer = _Peer(graph, length, sees)
            whole = _same(ours, peer, trunks)
            comparison = compare(
                lambda ours=ours, trunks=trunks: float(ours.run(trunks)),
                lambda peer=peer, trunks=trunks: float(peer.run(trunks)),
                repeats=1 if quick else 5,
            )
            setting = f"{len(trunks)} sentences, {length} tokens, {source}; {whole} compared"
            made.append(comparison.row(NAME, f"{_PEER}, {name}", unit="sentences/s", setting=setting))
        state = Comparison((ours.state(trunks),), (float(8 * length * length),), higher_is_better=False)
        made.append(state.row(NAME, _PEER, unit="bytes/sentence", setting=setting))
    return made


class _Ours:
    def __init__(self, graph: KnowledgeGraph, length: int) -> None:
        vocabulary = {piece: number for number, piece in enumerate(_vocabulary(graph))}
        self.words = HuggingFace(BertTokenizer(vocab=vocabulary, do_lower_case=False))
        branches = Branches(graph, self.words, BranchOptions(language="", most=_MOST, longest=_LONGEST))
        self.tree = SentenceTree(branches, length, 512, _MOST)
        self.linker = AliasLinker.from_graph(graph, options=AliasOptions(min_length=3))

    def grown(self, texts: Sequence[str]) -> list[Encoded]:
        return self.tree.grow_all(self.words.encode(texts), self.linker.link_all(texts))

    def batch(self, texts: Sequence[str]) -> Made:
        return self.packed(self.grown(texts))

    def packed(self, trees: Sequence[Encoded]) -> Made:
        made = pack(trees, pad=self.words.pad)
        return made.tokens, made.positions, made.visibility.mask()[:, 0]

    def run(self, texts: Sequence[str]) -> int:
        for first in range(0, len(texts), _CHUNK):  # as readers do
            trees = self.grown(texts[first : first + _CHUNK])
            for some in range(0, len(trees), _BATCH):
                self.packed(trees[some : some + _BATCH])
        return len(texts)

    def state(self, texts: Sequence[str]) -> float:
        sizes = [
            sum(column.nbytes for column in (tree.positions, tree.branch, tree.anchor) if column is not None)
            for tree in self.grown(texts)
        ]
        return sum(sizes) / len(sizes)


@dataclass(frozen=True)
class _Piece:
    """A stretch of the trunk, and what hangs on it."""

    text: str
    branches: list[str]


class _Peer:
    """Liu et al. (2020), section 3: cut, look up, walk the tree, fill the visible matrix."""

    def __init__(self, graph: KnowledgeGraph, length: int, sees: Sees) -> None:
        self.sees = sees
        self.ids = {piece: number for number, piece in enumerate(_vocabulary(graph))}
        self.length = length
        self.table = _lookup(graph)
        self.longest = max(map(len, self.table))

    def run(self, texts: Sequence[str]) -> int:
        for first in range(0, len(texts), _BATCH):
            self.batch(texts[first : first + _BATCH])
        return len(texts)

    def batch(self, texts: Sequence[str]) -> Made:
        trees = [self.tree(text) for text in texts]
        tokens, positions, masks = zip(*trees, strict=True)
        return torch.tensor(tokens), torch.tensor(positions), torch.from_numpy(np.stack(masks)).bool()

    def tree(self, text: str) -> tuple[list[int], list[int], np.ndarray]:
        tokens, positions = ["[CLS]"], [0]
        trunk, branches = [0], []
        for piece in self.cut(text):
            first = positions[trunk[-1]] + 1
            mention = list(range(len(tokens), len(tokens) + len(piece.text)))
            trunk += mention
            tokens += piece.text
            positions += range(first, first + len(piece.text))
            last = positions[-1]
            for branch in piece.branches:
                places = list(range(len(tokens), len(tokens) + len(branch)))
                tokens += branch
                positions += range(last + 1, last + 1 + len(branch))
                branches.append((places, mention))
        trunk.append(len(tokens))
        tokens.append("[SEP]")
        positions.append(positions[trunk[-2]] + 1)
        return self.padded(tokens, positions, self.sees(len(tokens), trunk, branches))

    def cut(self, text: str) -> list[_Piece]:
        pieces, place = [], 0
        while place < len(text):
            for size in range(min(self.longest, len(text) - place), 0, -1):
                word = text[place : place + size]
                if size == 1 or word in self.table:
                    pieces.append(_Piece(word, self.table.get(word, []) if size > 1 else []))
                    place += size
                    break
        return pieces

    def padded(
        self, tokens: list[str], positions: list[int], sees: np.ndarray
    ) -> tuple[list[int], list[int], np.ndarray]:
        here = min(len(tokens), self.length)
        more = self.length - here
        mask = np.pad(sees[:here, :here], ((0, more), (0, more)))
        ids = [self.ids[token] for token in tokens[:here]]
        return ids + [0] * more, positions[:here] + [0] * more, mask


def _by_rows(size: int, trunk: list[int], branches: Branched) -> np.ndarray:
    """Fills each token's columns at once."""
    sees = np.zeros((size, size))
    for one in trunk:
        sees[one, trunk] = 1
    for places, mention in branches:
        for one in places:
            sees[one, places] = 1
            sees[one, mention] = 1
        for one in mention:
            sees[one, places] = 1
    return sees


def _by_formula(size: int, trunk: list[int], branches: Branched) -> np.ndarray:
    """Equation 3, pair by pair: does a token lie on a branch with another?"""
    together = [set(trunk), *({*places, *mention} for places, mention in branches)]
    of = [[group for group in together if place in group] for place in range(size)]
    sees = np.zeros((size, size))
    for one in range(size):
        for other in range(size):
            if any(other in group for group in of[one]):
                sees[one, other] = 1
    return sees


def _same(ours: _Ours, peer: _Peer, texts: Sequence[str]) -> int:
    """Returns how many of the first sentences were compared; those that the peer had to cut cannot be."""
    compared = 0
    for text in texts[:64]:
        [tree] = ours.grown([text])
        mine, theirs = ours.batch([text]), peer.batch([text])
        size = len(tree)
        if int((theirs[0] != 0).sum()) != size or int(theirs[0][0, size - 1]) != peer.ids["[SEP]"]:
            continue
        compared += 1
        columns = [theirs[0][:, :size], theirs[1][:, :size], theirs[2][:, :size, :size]]
        if not all(torch.equal(one, other) for one, other in zip(mine, columns, strict=True)):
            raise AssertionError(f"ours and the peer grow different trees on {text!r}")
    if not compared:
        raise AssertionError("no sentence could be compared")
    return compared


def _lookup(graph: KnowledgeGraph) -> dict[str, list[str]]:
    """Returns what hangs on each name, by the rank that ours has: common objects first, then as in the graph."""
    entities, relations = list(graph.entities), list(graph.relation_names)
    degree = np.bincount(np.concatenate((graph.heads, graph.tails)), minlength=len(entities))
    below: dict[str, list[tuple[int, int, int]]] = {name: [] for name in entities if len(name) > 1}
    for head, relation, tail in graph.triples().tolist():
        if head != tail and entities[head] in below:
            below[entities[head]].append((-int(degree[tail]), relation, tail))
    table = {}
    for name, found in below.items():
        said = [f"{relations[relation]}:{entities[tail]}" for _, relation, tail in sorted(found)]
        table[name] = [text for text in said if len(text) <= _LONGEST][:_MOST]
    return table


def _vocabulary(graph: KnowledgeGraph) -> list[str]:
    names = "".join([*graph.entities, *graph.relation_names])
    return [*_SPECIAL, *sorted({*names, *map(chr, range(0x4E00, 0x9FFF)), ":"})]


def _input(count: int) -> tuple[str, KnowledgeGraph, list[str]]:
    """Returns where it is from, the graph, and the sentences: Chinese characters only."""
    han = re.compile("[^\u4e00-\u9ffe]")
    root = os.environ.get("KELM_DATA")
    found = sorted(Path(root).glob("kg/spo_zh/HowNet.spo*")) if root else []
    reviews = sorted(Path(root).glob("classification/zh_chnsenticorp/test.tsv*")) if root else []
    if found and reviews:
        whole = GraphBuilder()
        io.feed(whole, found[0])
        kept = (row for row in whole.build().names() if not any(map(han.search, row)))
        graph = _graph(list(kept))
        opened = gzip.open if reviews[0].suffix == ".gz" else open
        with opened(reviews[0], "rt", encoding="utf-8") as file:
            texts = [han.sub("", line) for line in file]
        return "HowNet, ChnSentiCorp", graph, [text for text in texts if len(text) > 160][:count]
    random = np.random.default_rng(0)
    letters = [chr(0x4E00 + number) for number in range(3000)]
    words = ["".join(random.choice(letters, size)) for size in random.integers(2, 5, 45_000)]
    triples = [tuple(words[number] for number in random.integers(0, 45_000, 3) % (45_000, 8, 45_000))]
    while len(triples) < _TRIPLES:
        head, relation, tail = random.integers(0, 45_000, 3) % (45_000, 8, 45_000)
        triples.append((words[head], words[relation], words[tail]))
    texts = [
        "".join(str(random.choice(words)) + "".join(random.choice(letters, 12)) for _ in range(16))
        for _ in range(count)
    ]
    return "made up at HowNet's size", _graph(triples), texts


def _graph(triples: Sequence[tuple[str, str, str]]) -> KnowledgeGraph:
    labels = {"": {name: name for triple in triples for name in triple}}
    return KnowledgeGraph.from_triples(triples, labels=labels)
