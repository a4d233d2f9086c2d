"""What a file may not do to a parser: nest until the stack overflows, or grow by entities made of entities.

    <<( s p <<( s p <<(     {"a": {"a": {     <a><b><a><b>      deeper than `DEEPEST`: refused
    <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">                      longer than `LONGEST_ENTITY` when expanded: refused
    &b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;                  more than `MOST_GROWTH` times the file: refused

pyoxigraph 0.5 ends the whole process at some thousand levels, takes time with the square of the depth, and expands
entities as it reads them ("billion laughs"). Chunks pass through here before it sees them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from kelm.errors import FormatError

__all__ = ["DEEPEST", "LONGEST_ENTITY", "MOST_GROWTH", "Chunks", "is_deep", "json", "terms", "xml"]

Chunks = Iterator[tuple[int, bytes]]
"""The number of the first line, and whole lines; as `kg.io.source.chunks` gives them."""

DEEPEST = 500  # levels; files made by people and programs stay below a tenth of it
LONGEST_ENTITY = 1000  # bytes; entities in RDF/XML stand for namespaces
MOST_GROWTH = 50  # times the bytes read; a namespace of 50 bytes in every attribute makes a file four times as long

_LONGEST_TAG = 1 << 24

_ENTITY = re.compile(rb'<!ENTITY\s*%?\s*([^\s"]+)\s+"([^"]*)"')
_REFERENCE = re.compile(rb"&([^;&\s]+);")
_TAG = re.compile(rb"""<(?:!--|!\[CDATA\[|\?|![^>]*>|[^!?<>"'](?:[^<>"']++|"[^"]*"|'[^']*')*+>)""")
_ENDS = {b"<!--": b"-->", b"<![CDATA[": b"]]>", b"<?": b"?>"}
_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # unclosed ones too: no place is looked at twice
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_TOKEN = re.compile(
    rb"""(?P<long>\"{3}|'{3})|(?P<open><<)|(?P<close>>>)|"(?:[^"\\\n]++|\\.)*+"?|'(?:[^'\\\n]++|\\.)*+'?"""
    rb"""|<[^<>\s"]*+>|\#[^\n]*+|\\.""",
    re.DOTALL,
)
_LONG = {
    quote: re.compile(rb"(?:[^%b\\]++|\\.|%b(?!%b))*+(%b)?" % (quote[:1], quote[:1], quote[:2], quote), re.DOTALL)
    for quote in (b'"""', b"'''")
}


def json(chunks: Chunks, path: str | Path) -> Chunks:
    """Passes on the chunks of a JSON file whose objects and arrays nest no deeper than `DEEPEST`.

    Raises:
        FormatError: they do.
    """
    depth = 0
    for first, chunk in chunks:
        bare = np.frombuffer(_JSON_STRING.sub(b"", chunk), np.uint8)  # a string of JSON ends in its line
        depths = depth + np.cumsum(_STEP[bare], dtype=np.int64)
        if depths.max(initial=0) > DEEPEST:
            raise _too_deep(path, first)
        depth = int(depths[-1]) if len(depths) else depth
        yield first, chunk


def terms(chunks: Chunks, path: str | Path, again: Iterable[tuple[int, bytes]]) -> Chunks:
    """Passes on the chunks of a file of Turtle or its kin whose triples of triples nest no deeper than `DEEPEST`.

    Args:
        again: the same chunks from the start, read only when the file has enough "<<" to be looked at closely.

    Raises:
        FormatError: they nest deeper.
    """
    seen = 0
    for first, chunk in chunks:
        if seen <= DEEPEST < (seen := seen + chunk.count(b"<<")):
            _check_terms(again, path)
        yield first, chunk


def is_deep(line: str) -> bool:
    """Whether a line of N-Triples nests triples deeper than `DEEPEST`."""
    return line.count("<<") > DEEPEST and _walk(line.encode(), 0, b"")[2] > DEEPEST


def _check_terms(chunks: Iterable[tuple[int, bytes]], path: str | Path) -> None:
    depth, quote = 0, b""
    for first, chunk in chunks:
        depth, quote, deepest = _walk(chunk, depth, quote)
        if deepest > DEEPEST:
            raise _too_deep(path, first)


def _walk(chunk: bytes, depth: int, quote: bytes) -> tuple[int, bytes, int]:
    """Returns depth and open long string ("" for none) after `chunk`, and the largest depth within it."""
    place, deepest = 0, depth
    while True:
        if quote:
            found = _LONG[quote].match(chunk, place)
            if found is None or not found[1]:
                return depth, quote, deepest
            place, quote = found.end(), b""
        for token in _TOKEN.finditer(chunk, place):
            if token.lastgroup == "open":
                depth += 1
                deepest = max(deepest, depth)
            elif token.lastgroup == "close":
                depth = max(depth - 1, 0)
            elif token.lastgroup == "long":
                place, quote = token.end(), token[0]
                break
        else:
            return depth, b"", deepest


def xml(chunks: Chunks, path: str | Path) -> Chunks:
    """Passes on the chunks of an XML file with shallow elements and short entities.

    Raises:
        FormatError: elements nest deeper than `DEEPEST`, an entity is longer than `LONGEST_ENTITY` when expanded, or
            entities make the file `MOST_GROWTH` times as long.
    """
    lengths: dict[bytes, int] = {}
    depth, rest, until = 0, b"", b""
    whole = expanded = 0
    for first, chunk in _whole_entities(chunks, path):
        for name, value in _ENTITY.findall(chunk):
            lengths[name] = len(value) + sum(lengths.get(entity, 0) for entity in _REFERENCE.findall(value))
            if lengths[name] > LONGEST_ENTITY:
                raise FormatError(
                    f'the entity "{name.decode(errors="replace")}" is longer than {LONGEST_ENTITY:,} bytes',
                    path=path,
                    line=first + chunk[: chunk.index(b"<!ENTITY")].count(b"\n"),
                    remedy="Entities are read where they stand for a namespace; write other texts out.",
                )
        whole += len(chunk)
        expanded += sum(lengths.get(entity, 0) for entity in _REFERENCE.findall(chunk)) if lengths else 0
        if expanded > MOST_GROWTH * whole:
            remedy = "No real graph needs that; check where the file comes from."
            raise FormatError(
                f"entities make the file {MOST_GROWTH} times as long", path=path, line=first, remedy=remedy
            )
        depth, deepest, rest, until = _elements(rest + chunk, depth, until)
        if deepest > DEEPEST:
            raise _too_deep(path, first)
        if len(rest) > _LONGEST_TAG:
            raise FormatError("a tag does not end", path=path, line=first, remedy="Correct it.")
        yield first, chunk


def _whole_entities(chunks: Chunks, path: str | Path) -> Chunks:
    """Passes on the chunks, those together that an entity's declaration runs over."""
    held, start = b"", 0
    for first, chunk in chunks:
        held, start = held + chunk, start or first
        last = held.rfind(b"<!ENTITY")
        if last >= 0 and held.count(b'"', last) < 2 and b">" not in held[last:].partition(b'"')[0]:
            if len(held) - last > _LONGEST_TAG:
                raise FormatError("an entity does not end", path=path, line=start, remedy="Correct its declaration.")
            continue
        yield start, held
        held, start = b"", 0
    if held:
        yield start, held


def _elements(text: bytes, depth: int, until: bytes) -> tuple[int, int, bytes, bytes]:
    """Returns depth after `text`, largest depth, the tag it ends in, and what ends the comment that it ends in."""
    place, deepest = 0, depth
    while True:
        if until:
            found = text.find(until, place)
            if found < 0:
                return depth, deepest, b"", until
            place, until = found + len(until), b""
        for tag in _TAG.finditer(text, place):
            if until := _ENDS.get(tag[0], b""):
                place = tag.end()
                break
            place = tag.end()
            if tag[0].startswith(b"</"):
                depth = max(depth - 1, 0)
            elif not tag[0].startswith(b"<!") and not tag[0].endswith(b"/>"):
                depth += 1
                deepest = max(deepest, depth)
        else:
            cut = text.find(b"<", place)
            return depth, deepest, text[cut:] if cut >= 0 else b"", b""


def _too_deep(path: str | Path, line: int) -> FormatError:
    return FormatError(
        f"what stands here is nested more than {DEEPEST} deep",
        path=path,
        line=line,
        remedy="No real graph needs that; check where the file comes from.",
    )
