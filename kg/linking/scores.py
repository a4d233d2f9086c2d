"""How good is a linker? Mentions found, entities right, and "no entity" where there is none.

    gold    Paris -> Q90    Smith -> (none)    Bonn -> Q586
    found   Paris -> Q90    Smith -> Q5        Rome -> Q220

    detection   precision 2/3, recall 2/3    same characters, whatever the entity
    linking     precision 1/3, recall 1/2    same characters and same entity, over mentions of entities
    accuracy    1/1                          of the mentions of entities whose characters were found

Linking is counted as GERBIL does "in the knowledge base" (Röder et al., 2018), with exact spans.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass

from kg.linking.base import Mention

__all__ = ["LinkingScores", "score_linking"]


@dataclass(frozen=True, slots=True)
class LinkingScores:
    """Counts, summed over texts ("micro"), and the rates that follow from them.

    Attributes:
        gold, found: mentions; `shared` have the same characters.
        gold_entities, found_entities: of them, those of an entity; `right` have the same characters and entity.
        shared_entities: gold mentions of an entity whose characters were found.
        gold_nil: shared mentions whose gold is no entity; `nil_right`: of them, those found to be none.
        known, known_right: gold mentions of entities that the linker could know, and those of them that are right.
        among_candidates: shared mentions of an entity that is among the candidates.
    """

    gold: int
    found: int
    shared: int
    gold_entities: int
    found_entities: int
    shared_entities: int
    right: int
    among_candidates: int
    gold_nil: int
    nil_right: int
    known: int
    known_right: int

    @property
    def detection(self) -> tuple[float, float, float]:
        """Precision, recall and F1 of finding the characters."""
        return _rates(self.shared, self.found, self.gold)

    @property
    def linking(self) -> tuple[float, float, float]:
        """Precision, recall and F1 of finding characters and entity, over mentions of entities."""
        return _rates(self.right, self.found_entities, self.gold_entities)

    @property
    def accuracy(self) -> float:
        """Share of right entities among the found mentions of entities."""
        return _ratio(self.right, self.shared_entities)

    @property
    def candidate_recall(self) -> float:
        """Share of found mentions of entities with the right one among the candidates: the bound of any reranking."""
        return _ratio(self.among_candidates, self.shared_entities)

    @property
    def nil_accuracy(self) -> float:
        """Share of "no entity" among the found mentions that are of none."""
        return _ratio(self.nil_right, self.gold_nil)

    @property
    def known_recall(self) -> float:
        """Recall over the gold mentions of entities that the linker could know."""
        return _ratio(self.known_right, self.known)

    def as_json(self) -> dict[str, float]:
        """Returns rates and counts by name."""
        rates = {
            f"{of}_{name}": value
            for of, values in (("detection", self.detection), ("linking", self.linking))
            for name, value in zip(("precision", "recall", "f1"), values, strict=True)
        }
        single = ("accuracy", "candidate_recall", "nil_accuracy", "known_recall")
        return {**rates, **{name: getattr(self, name) for name in single}, **asdict(self)}


def score_linking(
    gold: Sequence[Sequence[Mention]], found: Sequence[Sequence[Mention]], *, known: Container[str] | None = None
) -> LinkingScores:
    """Scores found mentions against gold ones, text by text.

    Args:
        gold: at most one mention for the same characters; whatever its candidates, its `entity` counts.
        known: the entities that the linker has names for; all if None.

    Raises:
        ValueError: different numbers of texts.

    Example:
        ``score_linking([text.mentions for text in texts], linker.link_all([text.text for text in texts]))``
    """
    if len(gold) != len(found):
        raise ValueError(f"expected as many found texts as gold ones ({len(gold)}), got {len(found)}.")
    places = ({(mention.start, mention.end): mention for mention in mentions} for mentions in found)
    pairs = [
        (mention, place.get((mention.start, mention.end)))
        for mentions, place in zip(gold, places, strict=True)
        for mention in mentions
    ]
    entities = [(mention, other) for mention, other in pairs if mention.entity is not None]
    shared = [(mention, other) for mention, other in pairs if other is not None]
    right = [mention for mention, other in entities if other is not None and other.entity == mention.entity]
    nil = [other for mention, other in shared if mention.entity is None]
    return LinkingScores(
        gold=len(pairs),
        found=sum(map(len, found)),
        shared=len(shared),
        gold_entities=len(entities),
        found_entities=sum(mention.entity is not None for mentions in found for mention in mentions),
        shared_entities=sum(mention.entity is not None for mention, _ in shared),
        right=len(right),
        among_candidates=sum(
            any(candidate.entity == mention.entity for candidate in other.candidates)
            for mention, other in shared
            if mention.entity is not None
        ),
        gold_nil=len(nil),
        nil_right=sum(other.entity is None for other in nil),
        known=sum(known is None or mention.entity in known for mention, _ in entities),
        known_right=sum(known is None or mention.entity in known for mention in right),
    )


def _rates(shared: int, found: int, gold: int) -> tuple[float, float, float]:
    return _ratio(shared, found), _ratio(shared, gold), _ratio(2 * shared, found + gold)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
