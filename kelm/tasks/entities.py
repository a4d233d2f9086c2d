"""Entities that tags mark, and how many of them are found: the shared tasks' score of named entity recognition.

    B-PER I-PER O B-LOC    ->    PER [0, 1], LOC [3, 3]

An entity is found if its type, its first and its last word are right. As in conlleval, an entity begins at "B-" (or
"S-"), where the type changes, and at an "I-" (or "E-") with nothing of its type before it, so that IOB1, IOB2 and IOBES
are read alike; BILOU and BMES are, too, also without types ("B", "M", "E"). Entities end with their sentence.

Source: Tjong Kim Sang and De Meulder, 2003; the script conlleval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from kelm.tasks.base import Scores
from kelm.tasks.measures import f1, share

__all__ = ["OUTSIDE", "Entity", "entities", "entity_scores", "type_of"]

Entity = tuple[str, int, int]  # type, first and last word, both included
OUTSIDE = "O"
_BARE = frozenset("BIESLUM")  # chunks without a type, as of word segmentation


def entities(tags: Sequence[str]) -> list[Entity]:
    """Returns the entities of one sentence.

    >>> entities(["I-PER", "I-PER", "B-PER", "I-LOC", "O"])
    [('PER', 0, 1), ('PER', 2, 2), ('LOC', 3, 3)]
    """
    found: list[Entity] = []
    before = OUTSIDE
    for place, tag in enumerate(tags):
        if tag != OUTSIDE:
            goes_on = _prefix(tag) in "IMEL" and _prefix(before) in "BIM" and type_of(tag) == type_of(before)
            first = found.pop()[1] if goes_on else place
            found.append((type_of(tag), first, place))
        before = tag
    return found


def type_of(tag: str) -> str:
    """Returns a tag's type: what follows the dash, "" of a bare "B" or the like; a tag of another form is its own."""
    return "" if tag in _BARE else tag[2:] if tag[1:2] == "-" else tag


def _prefix(tag: str) -> str:
    # a tag of another form, as of a part of speech, marks its word alone
    return tag[0] if tag[1:2] == "-" or tag in _BARE else "S"


def entity_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], types: Iterable[str] = ()
) -> Scores:
    """Returns precision, recall and F1 of all entities, of each type ("f1_PER"), and the share of tags that are right.

    Args:
        gold, predicted: the tags of each sentence.
        types: types to score even if none occurs.

    Raises:
        ValueError: a sentence has more or fewer tags than words.
    """
    hits, said, asked = Counter[str](), Counter[str](), Counter[str]()
    right = count = 0
    for answer, guess in zip(gold, predicted, strict=True):
        wanted, found = set(entities(answer)), set(entities(guess))
        asked.update(kind for kind, _, _ in wanted)
        said.update(kind for kind, _, _ in found)
        hits.update(kind for kind, _, _ in wanted & found)
        right += sum(one == other for one, other in zip(answer, guess, strict=True))
        count += len(answer)
    scores = _scores(hits.total(), said.total(), asked.total(), "")
    for kind in sorted({*types, *asked, *said} - {""}):
        scores |= _scores(hits[kind], said[kind], asked[kind], f"_{kind}")
    return {**scores, "accuracy": share(right, count)}


def _scores(hits: int, said: int, asked: int, ending: str) -> dict[str, float]:
    return {
        f"precision{ending}": share(hits, said),
        f"recall{ending}": share(hits, asked),
        f"f1{ending}": f1(hits, said, asked),
    }
