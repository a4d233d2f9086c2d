"""What folded names may mean: candidates with priors, by language and by how the name is written.

    Name("US", Q30, 9.0), Name("us", Q42, 1.0)  --fold-->  "us": written "US" -> Q30 .9, Q42 .1; else -> Q42 1.0
    Name("He", Q560), Name("he", Q9288)         --fold-->  "he": written "He" -> both; "he" -> Q9288

Names become weights and counts of the entities that the same folded name may mean, and these become priors, as
`kg.linking.priors` says. Of several weights of an entity the largest counts, as a label is no likelier for an alias
beside it; counts add up. A name in capitals has the counts of what is written so, and the weights of other names too.
Candidates are made for the names that a text has, when it has them; most of a million names never stand in any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from kelm.errors import UnknownName, closest
from kg.labels import language_code
from kg.linking.base import Candidate
from kg.linking.name_table import NameTable
from kg.linking.names import written
from kg.linking.priors import smoothed

__all__ = ["Meanings"]

_REMEMBERED = 100_000  # spellings whose candidates are kept for the next time


class Meanings:
    """What the names of a table may mean in one language (or in all).

    Args:
        language: names of this language (and of none) count; None for all.

    Attributes:
        has_plain: whether a name means something however it is written.
        has_small: whether it does where all its letters are small though the text has capitals.
        has_exact: whether there are names in capitals that match only as written.
        plain: candidates of names that were asked for, by number, where the spelling did not matter.
        matters: whether small letters change what it means.

    Raises:
        UnknownName: names have languages, and none has this one.
    """

    def __init__(self, names: NameTable, language: str | None) -> None:
        self.names = names
        self._languages = _chosen(names, language)
        counted = np.isin(names.language, list(self._languages))
        plain = counted & ~names.cased
        self.has_plain = self._any(plain & (names.weight > 0))
        self.has_small = self._any(plain & ~names.capital & (names.weight > 0))
        self.has_exact = self._any(counted & names.cased)
        self.matters: Bool[np.ndarray, "name"] = self.has_exact | self._any(plain & names.capital)
        self._exact = frozenset(np.flatnonzero(self.has_exact).tolist())  # asked for each mention: an array is slower
        self.plain: dict[Any, tuple[Candidate, ...]] = {}
        self._spelled: dict[Any, tuple[Candidate, ...]] = {}

    def _any(self, rows: Bool[np.ndarray, "row"]) -> Bool[np.ndarray, "name"]:
        """Returns which names have any of these rows."""
        found = np.zeros(len(self.names.lexicon), dtype=bool)
        found[np.searchsorted(self.names.starts, np.flatnonzero(rows), side="right") - 1] = True
        return found

    def of(self, name: int, surface: str, *, small: bool) -> tuple[Candidate, ...]:
        """Returns the candidates of name number `name`, written as `surface`, best first; () if it means nothing so.

        Args:
            small: whether its letters are small though the text has capitals.
        """
        exact = name in self._exact and not small
        spelled = written(surface) if exact else ""
        remembered, key = (self._spelled, (name, small, spelled)) if small or exact else (self.plain, name)
        found = remembered.get(key)
        if found is None:
            if len(remembered) >= _REMEMBERED:
                remembered.clear()
            found = remembered[key] = self._candidates(*self._evidence(name, small, spelled))
        return found

    def _evidence(self, name: int, small: bool, surface: str) -> tuple[dict[str, float], dict[str, int]]:
        """Returns the weights of the entities that a name may mean, and how often it was seen to mean what."""
        names = self.names
        first, last = names.starts[name : name + 2].tolist()
        rows = slice(first, last)
        columns = (names.entity, names.weight, names.seen, names.language, names.cased, names.capital)
        weights: dict[int, float] = {}
        seen: tuple[Counter[int], Counter[int]] = Counter(), Counter()  # of other names, of names in capitals
        exact = False
        for row, (entity, weight, count, language, cased, capital) in enumerate(
            zip(*(column[rows].tolist() for column in columns), strict=True), first
        ):
            counts = not (small and capital) and (not cased or (not small and written(names.aliases[row]) == surface))
            if counts and language in self._languages:
                exact |= cased
                seen[cased][entity] += count
                if weight:
                    weights[entity] = max(weights.get(entity, 0.0), weight)
        entities = names.entities
        return (
            {entities[entity]: weight for entity, weight in weights.items()},
            {entities[entity]: count for entity, count in seen[exact].items() if count},
        )

    def _candidates(self, weights: Mapping[str, float], seen: Mapping[str, int]) -> tuple[Candidate, ...]:
        if not weights:
            return ()
        options = self.names.options
        priors = smoothed(weights, seen, mu=options.mu, nil=options.nil)
        candidates = [Candidate(entity, prior) for entity, prior in priors.items()]
        candidates.sort(key=lambda candidate: (-candidate.prior, candidate.entity))
        return tuple(candidates[: options.max_candidates])


def _chosen(names: NameTable, language: str | None) -> set[int]:
    """Returns the entries of `names.codes` that count."""
    if language is None or not names.languages:
        return set(range(len(names.codes)))
    language = language_code(language)
    if language not in names.languages:
        raise UnknownName(f'no name is in the language "{language}"', remedy=closest(language, names.languages))
    return {number for number, code in enumerate(names.codes) if code in (language, "")}
