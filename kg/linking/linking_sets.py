"""Texts that were linked by hand, to judge linkers by: Elevant's benchmarks and HIPE-2022.

    {"text": "...", "evaluation_span": [0, 118], "labels": [{"span": [19, 24], "entity_id": "Q19837", ...}]}    Elevant
    TOKEN   NE-COARSE-LIT ... NEL-LIT ... MISC      Odysseus  B-pers ... Q47231 ... NoSpaceAfter                HIPE

Both say more than "this is that entity": parts of a text may not be annotated, some stretches have a right answer that
is no entity of Wikidata (a date) or that nobody knows, and some have several right answers. Sources: Bast et al.
(2022), https://github.com/ad-freiburg/elevant; Ehrmann et al. (2022), https://github.com/hipe-eval/HIPE-2022-data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kelm.data.files import lines
from kelm.errors import FormatError
from kg.linking.base import Candidate, Mention
from kg.linking.linked_text import LinkedText, RelationText

__all__ = ["LinkingText", "Span", "read_elevant", "read_hipe"]

Span = tuple[int, int]  # characters [start, end)

_ENTITY = re.compile(r"Q\d+")
_COPY = "Copy the file again."
_COLUMNS = ("TOKEN", "NE-COARSE-LIT", "NEL-LIT", "MISC")


@dataclass(frozen=True, slots=True)
class LinkingText:
    """A document and what a linker should find in it.

    Attributes:
        mentions: in the order of the text; every candidate of a gold mention is a right answer, none means that it is
            no entity of the knowledge base ("NIL").
        ignored: stretches of which nothing is asked: what is found there counts neither for nor against.
        judged: outside of these characters nothing is annotated; None: all is.
    """

    text: str
    mentions: tuple[Mention, ...] = ()
    ignored: tuple[Span, ...] = ()
    judged: Span | None = None
    origin: str = ""

    @classmethod
    def of(cls, text: LinkedText | RelationText) -> LinkingText:
        """Returns a text with known mentions as a document; there may be more to find in it."""
        return cls(text.text, text.mentions, origin=text.origin)


def read_elevant(path: str | Path) -> Iterator[LinkingText]:
    """Reads an Elevant benchmark: JSON lines, an article a line.

    A label within another ("parent") is another right answer if it has the same characters, and ignored if not. Labels
    of dates, quantities, and of entities that Wikidata could not be told of are ignored.

    Raises:
        FormatError: a line is something else, or a label lies outside of its text.
    """
    for number, line in lines(path):
        try:
            article = json.loads(line)
            text, labels = str(article["text"]), list(article["labels"])
            judged = tuple(article.get("evaluation_span") or (0, len(text)))
            found = LinkingText(text, *_gold(text, labels), _within(text, judged), f"{path}:{number}")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            problem = f"this is no article of Elevant's ({type(error).__name__}: {error})"
            raise FormatError(problem, path=path, line=number, remedy=_COPY) from error
        yield found


def _within(text: str, span: Sequence[Any]) -> Span:
    start, end = span
    if not (type(start) is type(end) is int and 0 <= start < end <= len(text)):
        raise ValueError(f"{list(span)} does not lie within the text of {len(text)} characters")
    return start, end


def _gold(text: str, labels: Sequence[Mapping[str, Any]]) -> tuple[tuple[Mention, ...], tuple[Span, ...]]:
    """Returns the mentions of labels and the stretches that are ignored."""
    answers: dict[Span, list[str]] = {}
    ignored: list[Span] = []
    for label in sorted(labels, key=lambda label: label.get("parent") is not None):
        span, entity = _within(text, label["span"]), str(label["entity_id"])
        known = _ENTITY.fullmatch(entity) is not None
        inner = label.get("parent") is not None
        if not (known or entity == "<NIL>") or (inner and span not in answers):
            ignored.append(span)
            continue
        here = answers.setdefault(span, [])
        if known and entity not in here:
            here.append(entity)
    mentions = (
        Mention(start, end, text[start:end], tuple(Candidate(entity, 1.0) for entity in entities))
        for (start, end), entities in sorted(answers.items())
    )
    return tuple(mentions), tuple(sorted(set(ignored) - answers.keys()))


def read_hipe(path: str | Path) -> Iterator[LinkingText]:
    """Reads a file of HIPE-2022: columns, documents after ``# hipe2022:document_id``.

    The literal reading counts (NE-COARSE-LIT, NEL-LIT). Mentions of kinds that are not linked are ignored.

    Raises:
        FormatError: a line has not the columns that the first line names.
    """
    numbered = lines(path)
    _, first = next(numbered)
    header = first.split("\t")
    if missing := [name for name in _COLUMNS if name not in header]:
        raise FormatError(f"the column {missing[0]} is missing", path=path, line=1, remedy=_COPY)
    places = [header.index(name) for name in _COLUMNS]
    rows: list[Sequence[str]] = []
    name = ""
    for number, line in numbered:
        if line.startswith("# "):
            if line.startswith("# hipe2022:document_id"):
                yield from _document(rows, f"{path}: {name}")
                rows, name = [], line.partition("=")[2].strip()
        elif line:
            columns = line.split("\t")
            if len(columns) != len(header):
                problem = f"expected {len(header)} columns, found {len(columns)}"
                raise FormatError(problem, path=path, line=number, remedy=_COPY)
            rows.append([columns[place] for place in places])
    yield from _document(rows, f"{path}: {name}")


def _document(rows: Iterable[Sequence[str]], origin: str) -> Iterator[LinkingText]:
    """Yields the document of rows of token, tag, link and remarks, if there are any."""
    text = ""
    spans: list[tuple[int, int, str]] = []
    for token, tag, link, remarks in rows:
        start, end = len(text), len(text) + len(token)
        if tag.startswith("B-") or (tag.startswith("I-") and not spans):
            spans.append((start, end, link))
        elif tag.startswith("I-"):
            spans[-1] = (spans[-1][0], end, spans[-1][2])
        text += token + ("" if "NoSpaceAfter" in remarks.split("|") else " ")
    if not text:
        return
    linked = [(start, end, link) for start, end, link in spans if link == "NIL" or _ENTITY.fullmatch(link)]
    mentions = (
        Mention(start, end, text[start:end], () if link == "NIL" else (Candidate(link, 1.0),))
        for start, end, link in linked
    )
    ignored = tuple((start, end) for start, end, link in spans if (start, end, link) not in linked)
    yield LinkingText(text, tuple(mentions), ignored, None, origin)
