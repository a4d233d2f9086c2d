"""What a study of knowledge needs: vectors and their controls, sentences about pairs of entities, and splits of them.

arm          the mentions' vectors                            what it shows
none         none: every mention is linked to nothing         what the text alone gives
knowledge    the graph's
shuffled     the graph's, dealt out anew among the entities   what "this entity is in the graph" gives
random       as long and as spread, but random                the same, without the vectors' geometry
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.errors import InputError
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.enrich.markers import Markers, tokens_of
from kg.linking.base import EntityLinker, Mention, align
from kg.linking.linked_text import LinkedText, RelationText
from kg.tasks.relations import mark_pair

__all__ = ["ARMS", "Arm", "Links", "Split", "controlled", "encode_examples", "fingerprint", "relink", "split"]

Arm = Literal["none", "knowledge", "shuffled", "random"]
ARMS: tuple[Arm, ...] = get_args(Arm)
Links = Literal["gold", "automatic"]


def controlled(table: EntityTable, arm: Arm, seed: int) -> EntityTable:
    """Returns the vectors of an arm; those of "none" are never looked at."""
    if arm == "shuffled":
        return table.shuffled(seed)
    return table.random(seed) if arm == "random" else table


def fingerprint(texts: Sequence[LinkedText | RelationText]) -> str:
    """Returns a digest of texts, their links and relations, wherever they were read from."""
    return digest(
        [
            [one.text, [[it.start, it.end, it.entity] for it in one.mentions], getattr(one, "relation", None)]
            for one in texts
        ]
    )


def relink(examples: Sequence[RelationText], linker: EntityLinker) -> list[RelationText]:
    """Returns the examples with the entities that a linker gives to their mentions, none where it finds none.

    A found mention stands for a given one if the two overlap; the longest one wins.
    """
    found = linker.link_all([example.text for example in examples])
    return [
        RelationText(
            example.text,
            _relinked(example.head, mentions),
            _relinked(example.tail, mentions),
            example.relation,
            example.origin,
        )
        for example, mentions in zip(examples, found, strict=True)
    ]


def _relinked(mention: Mention, found: Sequence[Mention]) -> Mention:
    over = [other for other in found if other.start < mention.end and mention.start < other.end]
    best = max(over, key=lambda other: other.end - other.start, default=None)
    return Mention(mention.start, mention.end, mention.text, () if best is None else best.candidates)


def encode_examples(
    examples: Sequence[RelationText],
    tokenizer: Tokenizer,
    relations: Sequence[str],
    rows: Callable[[str], int],
    *,
    length: int,
    hidden: bool,
) -> list[Encoded | None]:
    """Returns each example with [HD] and [TL] around its mentions; None if one of them is beyond `length`.

    Args:
        rows: the entity table's row of an entity, below 0 if it has none.
        hidden: the mentions' words are replaced by the mask, so that only context and graph can tell.
    """
    markers, mask = Markers.of(tokenizer), tokenizer.mask if hidden else None
    number_of = {relation: number for number, relation in enumerate(relations)}
    encoded = tokenizer.encode([example.text for example in examples], length=length - 4)
    made: list[Encoded | None] = []
    for number, (text, example) in enumerate(zip(encoded, examples, strict=True)):
        head, tail = (tokens_of(text, mention.start, mention.end) for mention in (example.head, example.tail))
        if head is None or tail is None or max(head[0], tail[0]) <= min(head[1], tail[1]):
            made.append(None)
            continue
        aligned = align(text, example.mentions, rows).having(number=number, origin=example.origin)
        made.append(mark_pair(aligned, head, tail, markers, relation=number_of[example.relation], hidden=mask))
    return made


@dataclass(frozen=True, slots=True)
class Split:
    """Numbers of the examples that are learned from, and by slice those that are tested on."""

    train: tuple[int, ...]
    test: Mapping[str, tuple[int, ...]]


def split(
    examples: Sequence[RelationText],
    known: Sequence[bool],
    per_relation: int,
    seed: int,
    *,
    covered: int | None = None,
    uncovered: int | None = None,
) -> Split:
    """Returns a random split: `per_relation` examples of each relation to learn from, all others to test on.

    Of a rare relation half of what there is is learned from. Only examples with an entity in the graph are learned
    from. The slices of the test are "covered" (an entity is in the graph), "uncovered" (none is) and "unseen" (covered,
    and neither entity occurs in the training examples).

    Args:
        covered, uncovered: at most this many examples of these slices, drawn at random.

    Raises:
        InputError: a relation has fewer than two examples with an entity in the graph.
    """
    random = np.random.default_rng((seed, per_relation))
    train: list[int] = []
    for relation in sorted({example.relation for example in examples}):
        of_relation = [n for n, example in enumerate(examples) if example.relation == relation and known[n]]
        if len(of_relation) < 2:
            raise InputError(
                f'relation "{relation}" has {len(of_relation)} examples with an entity in the graph',
                field="relation",
                remedy="Give at least two, one to learn from and one to be tested on.",
            )
        train += random.choice(of_relation, min(per_relation, len(of_relation) // 2), replace=False).tolist()
    chosen = set(train)
    met = {entity for number in train for entity in examples[number].entities}
    rest = [number for number in range(len(examples)) if number not in chosen]
    others = _some([number for number in rest if not known[number]], uncovered, random)
    asked = _some([number for number in rest if known[number]], covered, random)
    unseen = [number for number in asked if not met & set(examples[number].entities)]
    return Split(tuple(train), {"covered": tuple(asked), "unseen": tuple(unseen), "uncovered": tuple(others)})


def _some(numbers: list[int], most: int | None, random: np.random.Generator) -> list[int]:
    if most is None or len(numbers) <= most:
        return numbers
    return sorted(random.choice(numbers, most, replace=False).tolist())
