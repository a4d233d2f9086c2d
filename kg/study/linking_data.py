"""What linkers are judged on: sets of texts that were linked by hand, and the graph whose entities they name.

    kore50, wiki-fair-v2-no-coref ...       linked_text/entity_linking/NAME.jsonl       English
    ajmc-de-test, newseye-fi-dev ...        linked_text/hipe2022/NAME.tsv               German, French, Finnish ...
    fewrel-train, fewrel-dev, fewrel-test   linked_text/fewrel/val_wiki.json            60, 20 and 20 % of its sentences
    articles                                linked_text/ernie_wiki_sample/docs.jsonl    lower-cased English

FewRel's two mentions of a sentence are all that is known of it, and of articles only what Wikipedia links: there, what
a linker finds beyond cannot be judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from kelm.data.files import beside, required
from kelm.errors import InputError
from kg.graph import KnowledgeGraph
from kg.linking.linked_text import RelationText, read_articles, read_fewrel
from kg.linking.linking_sets import LinkingText, read_elevant, read_hipe

__all__ = ["JudgedSet", "LinkingSet", "fewrel_part", "linking_graph", "read_set"]

_FOLDERS = ("linked_text/entity_linking", "linked_text/hipe2022")
_PARTS = {"train": (0, 6), "dev": (6, 8), "test": (8, 10)}  # tenths of FewRel, by a hash of the sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSet:
    """A set to judge by.

    Attributes:
        development: the set on which the threshold for "no entity" is chosen.
        language: names in this language (and in none) count; "" for all of the graph's.
        whole: all mentions of its texts are annotated, so that what is found beyond them is wrong.
    """

    name: str
    development: str
    language: str = "en"
    whole: bool = True


@dataclass(frozen=True, slots=True)
class LinkingSet:
    """A set that was read."""

    name: str
    texts: list[LinkingText] = field(repr=False)


def read_set(data: Path, name: str) -> LinkingSet:
    """Returns a set of the folder of data by its name.

    Raises:
        InputError: there is no such set.
        FormatError: its file is damaged.
    """
    if name == "articles":
        path = required(data, "linked_text/ernie_wiki_sample/docs.jsonl")
        return LinkingSet(name, [LinkingText.of(text) for text in read_articles(path)])
    if name.startswith("fewrel-") and name.removeprefix("fewrel-") in _PARTS:
        return LinkingSet(name, [LinkingText.of(text) for text in fewrel_part(data, name.removeprefix("fewrel-"))])
    elevant, hipe = _FOLDERS
    if beside(data / hipe, f"{name}.tsv"):
        return LinkingSet(name, list(read_hipe(required(data, f"{hipe}/{name}.tsv"))))
    return LinkingSet(name, list(read_elevant(required(data, f"{elevant}/{name}.jsonl"))))


def fewrel_part(data: Path, part: str) -> Iterator[RelationText]:
    """Yields FewRel's sentences of "train", "dev" or "test"."""
    first, last = _PARTS[part]
    for text in read_fewrel(required(data, "linked_text/fewrel/val_wiki.json")):
        if first <= crc32(text.text.encode()) % 10 < last:
            yield text


def linking_graph(data: Path, graphs: Collection[str], languages: Collection[str]) -> KnowledgeGraph:
    """Returns the union of some of the graphs "xfactr", "codex" (both sizes) and "fb15k237".

    Raises:
        InputError: another graph is named, or none.
    """
    from kg.io import codex, fb15k237, xfactr

    known = ("xfactr", "codex", "fb15k237")
    if not graphs or any(graph not in known for graph in graphs):
        raise InputError(f"found {list(graphs)}", field="graphs", remedy=f"Name some of {', '.join(known)}.")
    parts: list[KnowledgeGraph] = []
    if "xfactr" in graphs:
        parts.append(xfactr.read(data / "kg" / "xfactr", languages=languages))
    if "codex" in graphs:
        parts += [codex.read(data / "kg" / "codex", size, languages=languages).graph for size in ("m", "s")]
    if "fb15k237" in graphs:
        parts.append(fb15k237.read(data / "kg" / "fb15k237"))
    union = parts[0]
    for part in parts[1:]:
        union = union.union(part)
    return union
