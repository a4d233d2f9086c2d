"""Linking by names: every name of a dictionary is found in one pass over the text.

    text  --fold-->  "paris, texas"  --every name that starts anywhere-->  those that count  --longest-->  Mentions

Names begin and end at boundaries of the folded text (see `kg.linking.folding`), which keeps "a" out of "cat". Which of
the names there count (the case of capitals: "US", not "us"; whole characters: no "c" in "℃") is asked before the
leftmost longest of them are taken, so a longer name that does not count never hides a shorter one that does. With
`AliasOptions.matches` "all" every name that counts is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Bool, Int, UInt8

from kelm.errors import InputError
from kg.linking import saved_names
from kg.linking.base import Candidate, Mention
from kg.linking.folding import BARRIER, Folded, fold
from kg.linking.meanings import Meanings
from kg.linking.name_table import NO_ENTITY, NameTable
from kg.linking.names import AliasOptions, Name, graph_names

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph
    from kg.linking.counts import MentionCounts

__all__ = ["AliasLinker"]

_TOGETHER = 1 << 16  # characters of text that are folded and searched at once
_CASELESS = 0x1FFFF  # no character from here on is small or a capital
_SMALL, _CAPITAL = 1, 2


class AliasLinker:
    """Finds the names of a dictionary in text: leftmost longest match or all, candidates with priors, exact offsets.

    Args:
        names: (alias, entity), (alias, entity, weight) or `Name`s, which may also tell counts of linked text.
        options: which names count, and how they are compared.

    Raises:
        FormatError: a weight is not positive, or an entity has an empty name.

    >>> linker = AliasLinker([("Paris", "Q90", 9.0), ("Paris", "Q167646", 1.0), ("北京", "Q956")])
    >>> [(mention.start, mention.text, mention.entity) for mention in linker.link("Comparison: (PARIS), 我爱北京。")]
    [(13, 'PARIS', 'Q90'), (23, '北京', 'Q956')]

    Cost: about two microseconds a mention and 0.05 a character; memory about 0.2 kB a name. How long names are does not
        matter; see `Lexicon.find` for the worst case. `matches` "all" copies each mention's text, however they overlap.
    """

    def __init__(
        self,
        names: Iterable[tuple[str, str] | tuple[str, str, float] | Name] | NameTable,
        options: AliasOptions | None = None,
    ) -> None:
        self.names = names if isinstance(names, NameTable) else NameTable.of(names, options or AliasOptions())
        self._meanings: dict[str | None, Meanings] = {}

    @classmethod
    def from_graph(
        cls,
        graph: KnowledgeGraph | Sequence[KnowledgeGraph],
        languages: Collection[str] | None = None,
        *,
        options: AliasOptions | None = None,
        alias_weight: float = 0.5,
        popularity: bool = True,
        counts: MentionCounts | None = None,
        least_count: int = 1,
    ) -> Self:
        """Returns a linker over the labels and aliases of the entities of a graph, or of several at once.

        See `graph_names` for the weights and for what linked text adds, `kg.linking.priors` for what its counts mean.

        Raises:
            InputError: the graph has no names in these languages, so that nothing would ever be found.
        """
        graphs = graph if isinstance(graph, Sequence) else [graph]
        how: dict[str, Any] = {"alias_weight": alias_weight, "popularity": popularity}
        names = graph_names(graphs, languages, counts=counts, least_count=least_count, options=options, **how)
        linker = cls(names, options)
        if not len(linker) and not set(linker.dropped) - {NO_ENTITY}:
            there = ", ".join(sorted({code for one in graphs for code in one.labels.entities.languages})) or "none"
            raise InputError(
                "the graph's entities have no names"
                + (f" in {', '.join(filter(None, sorted(languages)))}" if languages else ""),
                field="languages",
                remedy=f"Names it has: {there}. Add some: kelm graph build facts.tsv --labels names.tsv.",
            )
        return linker

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Opens a saved linker, or a file of names; see `kg.linking.saved_names`.

        Raises:
            FormatError: the file is none of ours or is damaged.
        """
        return cls(saved_names.load(path))

    def save(self, path: str | Path) -> None:
        """Writes the names and options as columns (safetensors, no pickle), aside first, then renamed.

        Raises:
            CheckpointError: it cannot be written; what was there before is untouched.
        """
        saved_names.save(self.names, path)

    def __len__(self) -> int:
        """How many different names it knows."""
        return len(self.names.lexicon)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many of the given names were left out, by reason."""
        return self.names.dropped

    def candidates(self, name: str, language: str | None = None) -> tuple[Candidate, ...]:
        """Returns what `name` may mean, best first; () for a name it does not know."""
        page = _Page.of([name.strip()], self.names.options.marks)
        number, first, last = self.names.lexicon.find(page.folded, page.whole)
        [same] = np.nonzero((first == 0) & (last == len(page.folded.codes)))
        return self.meanings(language).of(int(number[same[0]]), name, small=False) if len(same) else ()

    def disambiguate(
        self, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]], language: str | None = None
    ) -> list[list[Mention]]:
        """Returns a mention for each place of each text, with what its characters may mean; see `candidates`."""
        return [
            [Mention(start, end, text[start:end], self.candidates(text[start:end], language)) for start, end in spans]
            for text, spans in zip(texts, places, strict=True)
        ]

    def link(self, text: str, language: str | None = None) -> list[Mention]:
        """Returns the mentions of one text, in its order; with `matches` "all" an outer one before those within it.

        Args:
            language: only names of this language (and of none) count; None for all.

        Raises:
            UnknownName: names have languages, and none has this one.
        """
        return self.link_all([text], language)[0]

    def link_all(self, texts: Sequence[str], language: str | None = None) -> list[list[Mention]]:
        """Returns the mentions of each text; the same as `link` on each, several times faster on short texts."""
        meanings = self.meanings(language)
        found: list[list[Mention]] = []
        for together in _portions(texts):
            found += self._link(together, meanings)
        return found

    def meanings(self, language: str | None) -> Meanings:
        """Returns what names may mean in a language, or in all for None; kept for the next call.

        Raises:
            UnknownName: names have languages, and none has this one.
        """
        if language not in self._meanings:
            self._meanings[language] = Meanings(self.names, language)
        return self._meanings[language]

    def _link(self, texts: Sequence[str], meanings: Meanings) -> list[list[Mention]]:
        """Links texts that are folded as one."""
        found: list[list[Mention]] = [[] for _ in texts]
        if not len(self):
            return found
        page = _Page.of(texts, self.names.options.marks)
        name, first, last = self.names.lexicon.find(page.folded, page.whole)
        start, end = page.folded.start[first], page.folded.end[last - 1]
        number = np.searchsorted(page.begins, start, side="right") - 1
        small = page.small(start, end, number, meanings.matters[name])
        counts = np.where(small, meanings.has_small[name], meanings.has_plain[name])
        for hit in np.flatnonzero(~small & ~counts).tolist():  # only capitals name something
            counts[hit] = bool(meanings.of(int(name[hit]), page.text[start[hit] : end[hit]], small=False))
        chosen = _all if self.names.options.matches == "all" else _leftmost_longest
        kept = chosen(np.flatnonzero(counts), first, last)
        start, end = start - page.begins[number], end - page.begins[number]
        columns, plain = (name, number, start, end, small), meanings.plain
        for one, at, here, there, is_small in zip(*(column[kept].tolist() for column in columns), strict=True):
            surface = texts[at][here:there]
            candidates = None if is_small else plain.get(one)
            if candidates is None:
                candidates = meanings.of(one, surface, small=is_small)
            found[at].append(Mention(here, there, surface, candidates))
        return found

    def __reduce__(self) -> tuple[type[Self], tuple[NameTable]]:
        return type(self), (self.names,)  # candidates stay behind when a data worker gets a copy


def _all(
    hits: Int[np.ndarray, "hit"], first: Int[np.ndarray, "any"], last: Int[np.ndarray, "any"]
) -> Int[np.ndarray, "hit"]:
    """Returns the hits by their start, of several at one place the longest first."""
    ordered: np.ndarray = hits[np.lexsort((-last[hits], first[hits]))]
    return ordered


def _leftmost_longest(
    hits: Int[np.ndarray, "hit"], first: Int[np.ndarray, "any"], last: Int[np.ndarray, "any"]
) -> Int[np.ndarray, "kept"]:
    """Returns the longest hit at each place that no earlier one reaches into; hits stand by start, then by length."""
    longest = np.append(first[hits][1:] != first[hits][:-1], True)[: len(hits)]
    hits = hits[longest]
    first, last = first[hits], last[hits]
    if not (first[1:] < last[:-1]).any():
        return hits
    free, kept = 0, []
    for hit, (begins, ends) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        if begins >= free:
            kept.append(hit)
            free = ends
    return hits[kept]


@dataclass(frozen=True, slots=True)
class _Page:
    """Texts folded as one.

    Attributes:
        text: the texts with `BARRIER` between them; `begins`: where each begins in it.
        lowered: whether all letters of a text are small.
        whole: whether a character of the text ends before folded character i; one entry more than folded characters.
    """

    text: str
    begins: Int[np.ndarray, "text"]
    lowered: Bool[np.ndarray, "text"]
    folded: Folded
    whole: Bool[np.ndarray, "boundary"]

    @classmethod
    def of(cls, texts: Sequence[str], marks: str) -> _Page:
        text = BARRIER.join(texts)
        folded = fold(text, marks=marks)
        whole = np.ones(len(folded.codes) + 1, dtype=bool)
        whole[1:-1] = folded.start[1:] != folded.start[:-1]
        begins = np.array(list(accumulate((len(text) + 1 for text in texts[:-1]), initial=0)))
        return cls(text, begins, np.array(list(map(str.islower, texts))), folded, whole)

    def small(
        self,
        start: Int[np.ndarray, "match"],
        end: Int[np.ndarray, "match"],
        number: Int[np.ndarray, "match"],
        asked: Bool[np.ndarray, "match"],
    ) -> Bool[np.ndarray, "match"]:
        """Returns which matches have small letters only, in a text that has capitals; of those that are asked for."""
        small: np.ndarray = asked & ~self.lowered[number]
        places = np.flatnonzero(small)
        if len(places):  # long matches may overlap by far, so their characters are not read one match after the other
            codes = np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
            kind = _cases()[np.minimum(codes, _CASELESS)]
            span = start[places], end[places]
            small[places] = _among(np.flatnonzero(kind == _SMALL), *span) & ~_among(
                np.flatnonzero(kind > _SMALL), *span
            )
        return small


@cache
def _cases() -> UInt8[np.ndarray, "code"]:
    """Returns of each character up to `_CASELESS` whether it is small, has a capital, or neither (0)."""
    characters = list(map(chr, range(_CASELESS + 1)))
    small = np.array([character.islower() for character in characters])
    capital = np.array([character.isupper() or character.istitle() for character in characters])
    return np.where(capital, _CAPITAL, np.where(small, _SMALL, 0)).astype(np.uint8)


def _among(
    places: Int[np.ndarray, "place"], start: Int[np.ndarray, "span"], end: Int[np.ndarray, "span"]
) -> Bool[np.ndarray, "span"]:
    """Returns whether any of the sorted places is in each span."""
    within: np.ndarray = np.searchsorted(places, start) < np.searchsorted(places, end)
    return within


def _portions(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yields the texts in order, as many together as make `_TOGETHER` characters; at least one."""
    first = size = 0
    for number, text in enumerate(texts):
        if size and size + len(text) > _TOGETHER:
            yield texts[first:number]
            first, size = number, 0
        size += len(text) + 1
    if first < len(texts):
        yield texts[first:]
