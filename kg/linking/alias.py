"""Linking by names: every name of a dictionary is found in one pass over the text (Aho & Corasick, 1975).

    text  --fold, mark boundaries-->  "\\1paris\\2 \\1texas\\2"  --automaton, leftmost longest-->  names  -->  Mentions

Boundaries are characters of the folded text and of the folded names (see `kg.linking.folding`), so that the automaton
itself keeps "a" out of "cat", and a longer name that ends within a word never hides a shorter one that does not. What
an automaton cannot see, the case of capitals ("US", not "us") and matches within one character ("c" in "℃"), is
checked afterwards; where such a match falls, the place it covered is searched again.

With `AliasOptions.matches` "all" the automaton reports every name at every place instead, and what counts is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Self

import ahocorasick_rs
import numpy as np
from jaxtyping import Bool, Int

from kelm.errors import InputError
from kg.linking.base import Candidate, Mention
from kg.linking.folding import BARRIER, END, Folded, fold
from kg.linking.meanings import Meanings, NameTable
from kg.linking.names import AliasOptions, Name, graph_names

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph
    from kg.linking.counts import MentionCounts

__all__ = ["AliasLinker"]

_TOGETHER = 1 << 16  # characters of text that are folded and searched at once

Place = tuple[int, int, int]  # folded characters [first, last) and the number of the name they are


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

    Cost: about two microseconds a mention and 0.1 a character; memory about 0.5 kB a name.
    """

    def __init__(
        self,
        names: Iterable[tuple[str, str] | tuple[str, str, float] | Name] | NameTable,
        options: AliasOptions | None = None,
    ) -> None:
        self.names = names if isinstance(names, NameTable) else NameTable.of(names, options or AliasOptions())

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
        names = list(
            graph_names(
                graphs,
                languages,
                alias_weight=alias_weight,
                popularity=popularity,
                counts=counts,
                least_count=least_count,
            )
        )
        if not any(name.weight for name in names):
            there = ", ".join(sorted({code for one in graphs for code in one.labels.entities.languages})) or "none"
            raise InputError(
                "the graph's entities have no names" + (f" in {', '.join(sorted(languages))}" if languages else ""),
                field="languages",
                remedy=f"Names it has: {there}. Add some: kelm graph build facts.tsv --labels names.tsv.",
            )
        return cls(names, options)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Opens a saved linker.

        Raises:
            FormatError: the file is none of ours or is damaged; names the line.
        """
        return cls(NameTable.load(path))

    def save(self, path: str | Path) -> None:
        """Writes the names and options as JSON lines (no pickle), aside first, then renamed.

        Raises:
            CheckpointError: it cannot be written; what was there before is untouched.
        """
        self.names.save(path)

    def __len__(self) -> int:
        """How many different names it knows."""
        return len(self.names.folded)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many of the given names were left out, by reason."""
        return self.names.dropped

    def candidates(self, name: str, language: str | None = None) -> tuple[Candidate, ...]:
        """Returns what `name` may mean, best first; () for a name it does not know."""
        number = self._numbers.get(fold(name.strip(), marks=self.names.options.marks).marked()[0])
        return () if number is None else self.names.meanings(language).of(number, name, small=False)

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
        meanings = self.names.meanings(language)
        found: list[list[Mention]] = []
        for together in _portions(texts):
            found += self._link(together, meanings)
        return found

    def _link(self, texts: Sequence[str], meanings: Meanings) -> list[list[Mention]]:
        """Links texts that are folded as one."""
        found: list[list[Mention]] = [[] for _ in texts]
        page = _Page.of(texts, self.names.options.marks)
        places = self._places(page, meanings)
        if not len(places):
            return found
        start, end = page.folded.start[places[:, 1]], page.folded.end[places[:, 2] - 1]
        number = page.number(start)
        begins = np.array(page.begins)[number]
        start, end = start - begins, end - begins
        plain, exact, lowered = meanings.plain, meanings.exact, page.lowered
        rows = zip(places[:, 0].tolist(), number.tolist(), start.tolist(), end.tolist(), strict=True)
        for name, at, first, last in rows:
            surface = texts[at][first:last]
            small = surface.islower() and not lowered[at]
            candidates = meanings.of(name, surface, small=small) if small or name in exact else plain[name]
            found[at].append(Mention(first, last, surface, candidates))
        return found

    def _places(self, page: _Page, meanings: Meanings) -> Int[np.ndarray, "match 3"]:
        """Returns number, first and last folded character of the names in a page, in order."""
        if not len(self):
            return np.empty((0, 3), dtype=np.int64)
        every = self.names.options.matches == "all"
        matches = self._automaton.find_matches_as_indexes(page.marked, overlapping=every)
        places = np.array(matches, dtype=np.int64).reshape(-1, 3)
        places[:, 1] = np.searchsorted(page.place, places[:, 1])  # START stands there
        places[:, 2] = np.searchsorted(page.place, places[:, 2] - 1)  # END stands there
        name, small = places[:, 0], page.small(places)
        sound = np.where(small, meanings.has_small[name], meanings.has_plain[name] & ~meanings.has_exact[name])
        sound &= page.whole[places[:, 1]] & page.whole[places[:, 2]]
        if every:
            return self._counting(page, places, sound, meanings)
        return places if sound.all() else self._repaired(page, places, np.flatnonzero(~sound), meanings)

    def _counting(
        self, page: _Page, places: Int[np.ndarray, "match 3"], sound: Bool[np.ndarray, "match"], meanings: Meanings
    ) -> Int[np.ndarray, "kept 3"]:
        """Returns the matches that count, by their start, of several at one place the longest first."""
        for match in np.flatnonzero(~sound & meanings.has_exact[places[:, 0]]).tolist():
            number, first, last = places[match].tolist()
            sound[match] = self._counts(page, (number, first, last), meanings)
        kept: np.ndarray = places[sound]
        return kept[np.lexsort((-kept[:, 2], kept[:, 1]))]

    def _repaired(
        self, page: _Page, places: Int[np.ndarray, "match 3"], doubtful: Int[np.ndarray, "doubt"], meanings: Meanings
    ) -> Int[np.ndarray, "kept 3"]:
        """Returns what the automaton would have found had it known which names do not count where they stand.

        A match that does not count hid others only where it lies itself, so that stretch alone is searched again. A
        name found there may reach into the next match, which then does not count either.
        """
        kept = np.ones(len(places), dtype=bool)
        more: list[Place] = []
        for match in doubtful.tolist():
            number, first, last = places[match].tolist()
            if not kept[match] or (number in meanings.exact and self._counts(page, (number, first, last), meanings)):
                continue
            free = first  # up to here it is settled
            while True:
                kept[match] = False
                free = self._search(page, free, last, meanings, more)
                match += 1
                if match == len(places) or places[match, 1] >= free:
                    break
                last = int(places[match, 2])
        if more:
            places = np.concatenate((places[kept], np.array(more)))
            return places[np.argsort(places[:, 1])]
        return places[kept]

    def _search(self, page: _Page, first: int, last: int, meanings: Meanings, found: list[Place]) -> int:
        """Adds the names that start at folded characters [first, last), and returns the end of the last one."""
        settled = first
        possible = page.folded.starts[first:last] & page.whole[first:last]
        for start in (first + np.flatnonzero(possible)).tolist():
            place = self._longest(page, start, meanings) if start >= settled else None
            if place is not None:
                found.append(place)
                settled = place[2]
        return settled

    def _longest(self, page: _Page, first: int, meanings: Meanings) -> Place | None:
        """Returns the longest name that counts and starts at folded character `first`, where a name may start."""
        marked, start = page.marked, int(page.place[first]) - 1
        end = marked.find(END, start) + 1
        bound = start + self._reach.get(marked[start:end], 0)
        ends = []
        while 0 < end <= bound:
            ends.append(end)
            end = marked.find(END, end) + 1
        for end in reversed(ends):
            number = self._numbers.get(marked[start:end])
            if number is not None:
                place = (number, first, int(np.searchsorted(page.place, end - 1)))
                if self._counts(page, place, meanings):
                    return place
        return None

    def _counts(self, page: _Page, place: Place, meanings: Meanings) -> bool:
        """Says whether a match covers whole characters and its name means something as it is written here."""
        number, first, last = place
        if not (page.whole[first] and page.whole[last]):
            return False
        start, end = int(page.folded.start[first]), int(page.folded.end[last - 1])
        surface = page.text[start:end]
        small = surface.islower() and not page.lowered[bisect_right(page.begins, start) - 1]
        return bool(meanings.of(number, surface, small=small))

    @cached_property
    def _automaton(self) -> ahocorasick_rs.AhoCorasick:
        kinds = {"longest": ahocorasick_rs.MatchKind.LeftmostLongest, "all": ahocorasick_rs.MatchKind.Standard}
        return ahocorasick_rs.AhoCorasick(
            self.names.folded,
            matchkind=kinds[self.names.options.matches],
            store_patterns=False,
            # what the library takes for more than 100 names; for fewer, its choice needs the square of their length
            implementation=ahocorasick_rs.Implementation.ContiguousNFA,
        )

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {folded: number for number, folded in enumerate(self.names.folded)}

    @cached_property
    def _reach(self) -> dict[str, int]:
        """The length of the longest marked name that begins like this, up to the first place where it might end."""
        reach: dict[str, int] = {}
        for folded in self.names.folded:
            opening = folded[: folded.index(END) + 1]
            reach[opening] = max(reach.get(opening, 0), len(folded))
        return reach

    def __reduce__(self) -> tuple[type[Self], tuple[NameTable]]:
        return type(self), (self.names,)  # the automaton stays behind when a data worker gets a copy


@dataclass(frozen=True, slots=True)
class _Page:
    """Texts folded as one.

    Attributes:
        text: the texts with `BARRIER` between them; `begins`: where each begins in it.
        lowered: whether all letters of a text are small.
        marked, place: see `Folded.marked`.
        whole: whether a character of the text ends before folded character i; one entry more than folded characters.
    """

    text: str
    begins: list[int]
    lowered: list[bool]
    folded: Folded
    marked: str
    place: Int[np.ndarray, "character"]
    whole: Bool[np.ndarray, "boundary"]

    @classmethod
    def of(cls, texts: Sequence[str], marks: str) -> _Page:
        text = BARRIER.join(texts)
        folded = fold(text, marks=marks)
        marked, place = folded.marked()
        whole = np.ones(len(folded.codes) + 1, dtype=bool)
        whole[1:-1] = folded.start[1:] != folded.start[:-1]
        begins = list(accumulate((len(text) + 1 for text in texts[:-1]), initial=0))
        lowered = list(map(str.islower, texts))
        return cls(text, begins, lowered, folded, marked, place, whole)

    def number(self, start: Int[np.ndarray, "match"]) -> Int[np.ndarray, "match"]:
        """Returns the numbers of the texts that characters of the page are in."""
        return np.searchsorted(self.begins, start, side="right") - 1

    def small(self, places: Int[np.ndarray, "match 3"]) -> Bool[np.ndarray, "match"]:
        """Returns which matches have small letters only, in a text that has capitals."""
        start, end = self.folded.start[places[:, 1]], self.folded.end[places[:, 2] - 1]
        spans = zip(start.tolist(), end.tolist(), strict=True)
        islower = np.fromiter((self.text[first:last].islower() for first, last in spans), bool, len(places))
        small: np.ndarray = islower & ~np.array(self.lowered)[self.number(start)]
        return small


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
