"""The pairs of words that lexicons relate: synonyms and hypernyms of a graph, constraint lists.

    labels of one entity              car, automobile              synonym
    labels of a triple's two ends     car, motor vehicle           hypernym       direct only
    a line of a list                  mediaeval medieval           whatever the list is said to hold

A pair that several sources have counts once, as the first says. Words that differ in case only are one word here. Which
pairs are held out, and in which order the two words of a pair come, is a function of the two words alone.

Source: Lauscher et al., 2020 (LIBERT), section 3.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int32, UInt64

from kelm.data import files
from kelm.data.corpus import digest
from kelm.errors import FormatError, UnknownName, closest
from kg.graph import KnowledgeGraph

__all__ = ["SYNONYM", "LexicalSources", "RelatedWords", "listed"]

SYNONYM = "synonym"
HYPERNYMS: Mapping[str, str] = {"hypernym": "hypernym", "instance_hypernym": "hypernym"}


@dataclass(frozen=True, eq=False)
class RelatedWords:
    """Related pairs in columns, distinct as unordered pairs.

    Attributes:
        spellings: the words, as they are written.
        keys: of each spelling; those that differ in case only share one.
        first, second: spellings of the pair, in the order of its source.
        relation: in `relations`.
        source, place: in `sources`, and the line or the triple there, from 1; 0 for the labels of an entity.
        apart: pairs that are neither given nor negatives, as keys.
    """

    spellings: tuple[str, ...]
    keys: Int32[np.ndarray, "spelling"]
    first: Int32[np.ndarray, "pair"]
    second: Int32[np.ndarray, "pair"]
    relation: Int32[np.ndarray, "pair"]
    relations: tuple[str, ...]
    source: Int32[np.ndarray, "pair"]
    place: Int32[np.ndarray, "pair"]
    sources: tuple[str, ...]
    apart: Int32[np.ndarray, "apart 2"]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def key_pairs(self) -> Int32[np.ndarray, "pair 2"]:
        """The pairs as keys."""
        return np.stack((self.keys[self.first], self.keys[self.second]), axis=1)

    @cached_property
    def hashes(self) -> UInt64[np.ndarray, "pair"]:
        """A number between 0 and 2 ** 64 of each pair: of its two words alone, in either order."""
        folded = [spelling.casefold() for spelling in self.spellings]
        pairs = zip(self.first.tolist(), self.second.tolist(), strict=True)
        return np.fromiter((_hashed(folded[one], folded[other]) for one, other in pairs), np.uint64, len(self))

    @cached_property
    def given(self) -> Bool[np.ndarray, "pair"]:
        """Which pairs may be learned: all that are not set apart."""
        held = {tuple(sorted(pair)) for pair in self.apart.tolist()}
        return np.array([tuple(sorted(pair)) not in held for pair in self.key_pairs.tolist()], bool)

    def held_out(self, share: float) -> Bool[np.ndarray, "pair"]:
        """Returns which pairs are held out, about that share of them: by the two words alone."""
        return self.hashes < np.uint64(int(share * 2**64))

    def partners(self, key: int) -> Int32[np.ndarray, "partner"]:
        """Returns the keys of all words that are related to a word, or set apart with it; ascending."""
        starts, ends = self._partners
        return ends[starts[key] : starts[key + 1]]

    def shuffled(self, seed: int) -> RelatedWords:
        """Returns the pairs with their second words dealt anew within each relation: a control.

        Pairs that would hold a word twice, or that are true, change places in up to twenty rounds; what is left is
        dropped, and so is a pair that comes twice. The true pairs are set apart, so that they are no negatives either.
        """
        random = np.random.default_rng(seed)
        true = {tuple(sorted(pair)) for pair in self.key_pairs.tolist()}
        second, keys = self.second.copy(), self.keys
        wrong = np.ones(len(self), bool)
        for relation in range(len(self.relations)):
            [rows] = np.nonzero(self.relation == relation)
            dealt = second[random.permutation(rows)]
            bad = np.arange(len(rows))
            for _ in range(20):
                pairs = np.sort(np.stack((keys[self.first[rows]], keys[dealt]), axis=1), axis=1).tolist()
                bad = np.array([at for at, (one, other) in enumerate(pairs) if one == other or (one, other) in true])
                if not len(bad):
                    break
                for at, other in zip(bad.tolist(), random.integers(len(rows), size=len(bad)).tolist(), strict=True):
                    dealt[at], dealt[other] = dealt[other], dealt[at]
            second[rows], wrong[rows] = dealt, np.isin(np.arange(len(rows)), bad)
        pairs = np.sort(np.stack((keys[self.first], keys[second]), axis=1), axis=1)
        _, once = np.unique(pairs, axis=0, return_index=True)
        kept = np.zeros(len(self), bool)
        kept[once] = True
        apart = np.concatenate((self.apart, self.key_pairs))
        return replace(self, second=second, apart=apart).where(kept & ~wrong)

    def where(self, mask: Bool[np.ndarray, "pair"]) -> RelatedWords:
        """Returns the pairs where `mask` is True, as if there were no others."""
        columns = {name: getattr(self, name)[mask] for name in ("first", "second", "relation", "source", "place")}
        return replace(self, **columns)

    def without(self, apart: Int[np.ndarray, "apart 2"]) -> RelatedWords:
        """Returns the same with these pairs of keys set apart, and no others."""
        return replace(self, apart=apart.astype(np.int32))

    def fingerprint(self) -> str:
        """Returns a digest: equal digests, equal pairs in the same order."""
        columns = (self.keys, self.first, self.second, self.relation, self.apart)
        hashed = hashlib.blake2b(digest_size=16)
        for column in columns:
            hashed.update(np.ascontiguousarray(column).tobytes())
        return digest(list(self.spellings), list(self.relations), hashed.hexdigest())

    @cached_property
    def _partners(self) -> tuple[Int[np.ndarray, "start"], Int32[np.ndarray, "end"]]:
        both = np.concatenate((self.key_pairs, self.apart))
        pairs = np.unique(np.concatenate((both, both[:, ::-1])), axis=0)
        return np.searchsorted(pairs[:, 0], np.arange(int(self.keys.max(initial=-1)) + 2)), pairs[:, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalSources:
    """Where related words are read.

    Attributes:
        graph: or the folder that it lies in.
        lists: files of pairs by the name of the relation that they hold.
        relations: the graph's relations that relate words, and what they are called; None: of "hypernym" and
            "instance_hypernym" those that it has, both called "hypernym".
        synonyms: the labels of one entity are synonyms.
        language: of the graph's labels. A list may write words with it: "en_car".
        most: labels of an entity, the preferred one first.
        without: files of pairs that are set apart.
    """

    graph: KnowledgeGraph | str | None = None
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    relations: Mapping[str, str] | None = None
    synonyms: bool = True
    language: str = "en"
    most: int = 8
    without: Sequence[str] = ()

    def read(self) -> RelatedWords:
        """Returns the pairs.

        Raises:
            UnknownName: the graph has no relation of that name.
            FormatError: a line of a list is no pair, or there is no pair at all.
        """
        collected = _Collected()
        if self.graph is not None:
            graph = KnowledgeGraph.open(self.graph) if isinstance(self.graph, str) else self.graph
            self._read_graph(graph, collected)
        for relation, paths in self.lists.items():
            for path in paths:
                source = collected.source(path)
                for number, first, second in listed(path, self.language):
                    collected.add(first, second, relation, source, number)
        if not collected.rows:
            raise FormatError(
                f'there is no pair of words: no entity has two labels in "{self.language}", and no list a line',
                path=self.graph if isinstance(self.graph, str) else None,
                remedy="Name another language, or give lists of pairs.",
            )
        for path in self.without:
            for _, first, second in listed(path, self.language):
                collected.set_apart(first, second)
        return collected.related()

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the pairs."""
        graph = KnowledgeGraph.open(self.graph) if isinstance(self.graph, str) else self.graph
        read = {name: [files.fingerprint(path) for path in paths] for name, paths in self.lists.items()}
        apart = [files.fingerprint(path) for path in self.without]
        named = None if self.relations is None else list(self.relations.items())
        options = [self.synonyms, self.language, self.most]
        return digest("related words", None if graph is None else graph.fingerprint(), read, named, options, apart)

    def _read_graph(self, graph: KnowledgeGraph, collected: _Collected) -> None:
        source = collected.source(self.graph if isinstance(self.graph, str) else "graph")
        names: dict[int, list[str]] = {}
        for label in graph.labels.entities.each({self.language}):
            of_entity = names.setdefault(label.owner, [])
            if len(of_entity) < self.most:
                of_entity.append(label.text)
        if self.synonyms:
            for of_entity in names.values():
                for first, second in combinations(of_entity, 2):
                    collected.add(first, second, SYNONYM, source, 0)
        named = _relation_names(graph, self.relations)
        [rows] = np.nonzero(np.isin(graph.relations, list(named)))
        columns = (graph.heads[rows].tolist(), graph.relations[rows].tolist(), graph.tails[rows].tolist())
        for row, head, relation, tail in zip(rows.tolist(), *columns, strict=True):
            for first in names.get(head, ()):
                for second in names.get(tail, ()):
                    collected.add(first, second, named[relation], source, row + 1)


def listed(path: str, language: str = "en") -> Iterator[tuple[int, str, str]]:
    """Yields line number and the two words of each line of a list: between blanks or, if it has any, between tabs.

    Further columns between tabs are left out; blank lines, too. "en_car" is "car" where `language` is "en".

    Raises:
        FormatError: a line has no two words, or more than two between blanks.
    """
    for number, line in files.lines(path):
        columns = line.split("\t") if "\t" in line.strip() else line.split()
        words = [word.strip().removeprefix(f"{language}_") for word in columns]
        if not any(words):
            continue
        if len(words) < 2 or not all(words[:2]) or (len(words) > 2 and "\t" not in line.strip()):
            raise FormatError(
                f"expected two words, found {len([word for word in words if word])}",
                path=path,
                line=number,
                remedy="Write word1 word2, with a tab between them if a word has blanks.",
            )
        yield number, words[0], words[1]


def _relation_names(graph: KnowledgeGraph, relations: Mapping[str, str] | None) -> dict[int, str]:
    """Returns what the graph's relations are called, by id."""
    known = set(graph.relation_names)
    if relations is None:
        relations = {name: called for name, called in HYPERNYMS.items() if name in known}
    for name in relations:
        if name not in known:
            remedy = closest(name, known)
            raise UnknownName(f'the graph has no relation "{name}"', field="relations", remedy=remedy)
    return {graph.relation_names.id(name): called for name, called in relations.items()}


def _hashed(one: str, other: str) -> int:
    both = "\0".join(sorted((one, other))).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(both, digest_size=8).digest())


@dataclass(slots=True)
class _Collected:
    """Pairs as they are read."""

    spellings: dict[str, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    key_of: list[int] = field(default_factory=list)
    relations: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    seen: set[tuple[int, int]] = field(default_factory=set)
    rows: list[tuple[int, ...]] = field(default_factory=list)
    apart: list[tuple[int, int]] = field(default_factory=list)

    def source(self, name: str) -> int:
        return self.sources.setdefault(name, len(self.sources))

    def add(self, first: str, second: str, relation: str, source: int, place: int) -> None:
        """Adds a pair, unless it is there, or both are one word."""
        one, other = (self._spelling(word) for word in (first, second))
        keys = (self.key_of[one], self.key_of[other])
        pair = (min(keys), max(keys))
        if keys[0] == keys[1] or pair in self.seen:
            return
        self.seen.add(pair)
        self.rows.append((one, other, self.relations.setdefault(relation, len(self.relations)), source, place))

    def set_apart(self, first: str, second: str) -> None:
        found = [self.keys.get(word.casefold()) for word in (first, second)]
        if found[0] is not None and found[1] is not None:
            self.apart.append((found[0], found[1]))

    def related(self) -> RelatedWords:
        columns: Any = np.array(self.rows, np.int32).T
        return RelatedWords(
            spellings=tuple(self.spellings),
            keys=np.array(self.key_of, np.int32),
            first=columns[0],
            second=columns[1],
            relation=columns[2],
            relations=tuple(self.relations),
            source=columns[3],
            place=columns[4],
            sources=tuple(self.sources),
            apart=np.array(self.apart, np.int32).reshape(-1, 2),
        )

    def _spelling(self, word: str) -> int:
        number = self.spellings.get(word)
        if number is None:
            number = self.spellings[word] = len(self.spellings)
            self.key_of.append(self.keys.setdefault(word.casefold(), len(self.keys)))
        return number
