"""WordNet's own database: the `dict` folder that Debian's `wordnet-base` puts into `/usr/share/wordnet`.

    data.noun    02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 023 @ 02083346 n 0000 ... | a member of ...
    index.noun   dog n 7 5 @ ~ #m #p %p 7 1 02084071 10114209 ...      the senses of a word in their order

| in the database      | in the graph                                                              |
|----------------------|---------------------------------------------------------------------------|
| a synset             | the entity "dog.n.01": first word, part of speech, number among its senses |
| its offset           | the attribute "offset", "02084071-n" ("-a" for satellite adjectives too)  |
| a word of a synset   | an English label, the first preferred                                     |
| a lexicographer file | a type, "noun.animal": the supersense                                     |
| a pointer            | a triple between synsets, whichever of their words it joins: "hypernym"   |
| a gloss              | the attribute "description"                                               |

"dog.n.01" is what NLTK, KnowBert and the texts of WN18RR call it. Offsets are the names of WN18RR and Open Multilingual
WordNet, but they move whenever a gloss is corrected: those of Debian's verbs are not WordNet 3.0's. A synset that the
index does not list keeps its offset as name. Source: wndb(5WN), wninput(5WN), lexnames(5WN), https://wordnet.princeton.edu
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kelm.data.files import beside, required
from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io.journal import Journal, Progress
from kg.io.source import lines
from kg.labels import DESCRIPTION
from kg.report import UNWANTED

__all__ = ["OFFSET", "POINTERS", "SUPERSENSES", "feed", "holds", "read"]

OFFSET = "offset"  # the property of "02084071-n"

POINTERS = {
    "!": "antonym",
    "@": "hypernym",
    "@i": "instance_hypernym",
    "~": "hyponym",
    "~i": "instance_hyponym",
    "#m": "member_holonym",
    "#s": "substance_holonym",
    "#p": "part_holonym",
    "%m": "member_meronym",
    "%s": "substance_meronym",
    "%p": "part_meronym",
    "=": "attribute",
    "+": "derivationally_related_form",
    ";c": "domain_topic",
    "-c": "member_of_domain_topic",
    ";r": "domain_region",
    "-r": "member_of_domain_region",
    ";u": "domain_usage",
    "-u": "member_of_domain_usage",
    "*": "entailment",
    ">": "cause",
    "^": "also_see",
    "$": "verb_group",
    "&": "similar_to",
    "<": "participle_of_verb",
    "\\": "pertainym",
}

_NOUNS = (
    "Tops act animal artifact attribute body cognition communication event feeling food group location motive object "
    "person phenomenon plant possession process quantity relation shape state substance time"
)
_VERBS = (
    "body change cognition communication competition consumption contact creation emotion motion perception possession "
    "social stative weather"
)
SUPERSENSES = (
    *("adj.all", "adj.pert", "adv.all"),
    *(f"noun.{name}" for name in _NOUNS.split()),
    *(f"verb.{name}" for name in _VERBS.split()),
    "adj.ppl",
)
"""The lexicographer files by number."""

_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_LANGUAGE, _LICENSE = "en", "  "
_REMEDY = "Copy the file again, or allow bad lines to be skipped (skip_bad, --skip-bad)."


def holds(folder: str | Path) -> bool:
    """Whether a folder looks like WordNet's database."""
    return beside(folder, "data.noun") is not None


def read(folder: str | Path, *, languages: Collection[str] | None = None, skip_bad: int = 0) -> KnowledgeGraph:
    """Returns the graph of a folder; see `feed`."""
    builder = GraphBuilder(languages=languages)
    feed(builder, folder, skip_bad=skip_bad)
    return builder.build()


def feed(
    builder: GraphBuilder, folder: str | Path, *, skip_bad: int = 0, progress: Progress | None = None
) -> list[Report]:
    """Adds the synsets of nouns, verbs, adjectives and adverbs to `builder`; returns a report a data file.

    Raises:
        FormatError: a file is missing, or a line of it is broken or points to no synset (unless `skip_bad` allows it).
    """
    paths = {pos: required(folder, f"data.{name}") for pos, name in _FILES.items()}
    names: dict[str, str] = {}  # by offset and part of speech
    pointers: list[tuple[Journal, int, str, _Pointer]] = []
    journals = []
    for pos, path in paths.items():
        index = Journal(required(folder, f"index.{_FILES[pos]}"), "wordnet-index", skip_bad=skip_bad)
        ranks = _ranks(index)
        if index.report().dropped:
            builder.reports.append(index.report())
        journal = Journal(path, "wordnet", skip_bad=skip_bad, progress=progress)
        journals.append(journal)
        for number, synset in _synsets(path, journal, pos):
            if synset.offset in names:
                error = FormatError(f"the synset {synset.offset} was there before", remedy=_REMEDY)
                journal.bad(error, line=number, reason="synset given twice")
                continue
            name = names[synset.offset] = _name(synset, ranks)
            _add(builder, name, synset, journal)
            pointers += ((journal, number, name, pointer) for pointer in synset.pointers)
    for journal, number, source, pointer in pointers:
        if pointer.target not in names:
            error = FormatError(f"the pointer leads to {pointer.target}, which is no synset", remedy=_REMEDY)
            journal.bad(error, line=number, reason="pointer to nowhere")
            continue
        builder.triple(source, pointer.relation, names[pointer.target])
        journal.counts["triples"] += 1
        journal.drop("words that a pointer joins", pointer.lexical)
    for relation in {pointer.relation: None for *_, pointer in pointers}:
        builder.relation_label(relation, _LANGUAGE, relation.replace("_", " "))
    reports = [journal.report() for journal in journals]
    builder.reports.extend(reports)
    return reports


class _Pointer(NamedTuple):
    relation: str
    target: str
    lexical: bool  # joins two words, not the synsets as a whole


@dataclass(frozen=True, slots=True)
class _Synset:
    offset: str
    kind: str  # n, v, a, s, r
    supersense: str
    words: Sequence[str]
    marked: int  # words with a marker such as "(p)" for "predicative", which is left out
    pointers: Sequence[_Pointer]
    frames: int
    gloss: str


def _synsets(path: Path, journal: Journal, pos: str) -> Iterator[tuple[int, _Synset]]:
    for number, line in lines(path, journal):
        if line.startswith(_LICENSE) or not line.strip():
            journal.drop("line of the license")
            continue
        try:
            synset = _synset(line, pos)
        except (ValueError, KeyError, IndexError) as error:
            told = FormatError(f"expected a synset of WordNet ({error})", remedy=_REMEDY)
            journal.bad(told, line=number, reason="no synset")
        else:
            yield number, synset


def _synset(line: str, pos: str) -> _Synset:
    """Returns the synset in a line of a data file; ValueError, KeyError or IndexError where it is none."""
    data, bar, gloss = line.partition("|")
    offset, file, kind, count, *rest = data.split()
    if not bar or kind not in (*_FILES, "s") or (kind == "s") > (pos == "a"):
        raise ValueError("no gloss, or an unknown part of speech")
    words, rest = _cut(rest, 2 * int(count, 16))
    pointers, rest = _cut(rest[1:], 4 * int(rest[0]))
    frames = _cut(rest[1:], 3 * int(rest[0])) if rest else ([], [])
    if not words or frames[1]:
        raise ValueError("another number of words, pointers or frames than it says")
    plain = [word.partition("(")[0].replace("_", " ") for word in words[::2]]
    if not all(map(str.strip, plain)):
        raise ValueError("a word without a letter")
    return _Synset(
        offset=_key(offset, pos),
        kind=kind,
        supersense=SUPERSENSES[_whole(file)],
        words=plain,
        marked=sum(word.endswith(")") for word in words[::2]),
        pointers=[_pointer(*pointers[place : place + 4]) for place in range(0, len(pointers), 4)],
        frames=len(frames[0]) // 3,
        gloss=gloss.strip(),
    )


def _cut(fields: list[str], count: int) -> tuple[list[str], list[str]]:
    if not 0 <= count <= len(fields):
        raise ValueError(f"expected {count} more fields, found {len(fields)}")
    return fields[:count], fields[count:]


def _pointer(symbol: str, offset: str, pos: str, words: str) -> _Pointer:
    return _Pointer(POINTERS[symbol], _key(offset, pos), words != "0000")


def _key(offset: str, pos: str) -> str:
    if len(offset) != 8 or pos not in (*_FILES, "s"):
        raise ValueError(f"no offset and part of speech: {offset} {pos}")
    return f"{_whole(offset):08}-{'a' if pos == 's' else pos}"


def _whole(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()):  # int() takes signs, and -1 would be the last file
        raise ValueError(f"no number: {digits}")
    return int(digits)


def _ranks(journal: Journal) -> dict[tuple[str, str], int]:
    """Returns which sense of a word, counted from 1, a synset is: by lower-case word and offset."""
    ranks: dict[tuple[str, str], int] = {}
    seen: set[str] = set()
    for number, line in lines(journal.source, journal):
        if line.startswith(_LICENSE) or not line.strip():
            continue
        try:
            word, _, count, *rest = line.split()
            offsets = rest[len(rest) - _whole(count) :]
            if (
                len(offsets) != int(count)
                or not all(len(offset) == 8 for offset in offsets)
                or len(set(offsets)) != int(count)
            ):
                raise ValueError("another number of offsets than it says")
        except ValueError as error:
            told = FormatError(f"expected a word and its synsets ({error})", remedy=_REMEDY)
            journal.bad(told, line=number, reason="no word")
            continue
        if word in seen:
            told = FormatError(f'the word "{word}" was there before', remedy=_REMEDY)
            journal.bad(told, line=number, reason="word given twice")
            continue
        seen.add(word)
        ranks.update({(word, offset): rank for rank, offset in enumerate(offsets, 1)})
    return ranks


def _name(synset: _Synset, ranks: dict[tuple[str, str], int]) -> str:
    word = synset.words[0].replace(" ", "_").lower()
    rank = ranks.get((word, synset.offset[:8]))
    return f"{word}.{synset.kind}.{rank:02}" if rank else synset.offset


def _add(builder: GraphBuilder, name: str, synset: _Synset, journal: Journal) -> None:
    builder.type(name, synset.supersense)
    journal.counts["types"] += 1
    if builder.language(_LANGUAGE) < 0:
        journal.drop(UNWANTED, len(synset.words))
        journal.drop("description in an unwanted language")
    else:
        for place, word in enumerate(synset.words):
            builder.label(name, _LANGUAGE, word, preferred=place == 0)
        journal.counts["labels"] += len(synset.words)
        builder.attribute(name, DESCRIPTION, synset.gloss, language=_LANGUAGE)
        journal.counts["attributes"] += 1
    builder.attribute(name, OFFSET, synset.offset)
    journal.counts["attributes"] += 1
    journal.drop("marker of an adjective's place", synset.marked)
    journal.drop("verb frame", synset.frames)
