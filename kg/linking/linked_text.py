"""Texts whose mentions are known: FewRel's sentences, ERNIE's articles, JSON lines of one's own.

    {"text": "Paris lies on the Seine.", "mentions": [[0, 5, "Q90"], [18, 23, "Q1471"]]}      a line of JSON lines

A corpus of them, read by a tokenizer and aligned with an entity table, is what ERNIE trains on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from kelm.batch import Encoded
from kelm.data.files import lines
from kelm.data.json_text import json_object
from kelm.errors import FormatError
from kelm.text.tokenizer import Tokenizer
from kg.graph import KnowledgeGraph
from kg.linking.base import Candidate, EntityLinker, Mention, align

__all__ = [
    "LinkedText",
    "RelationText",
    "encode",
    "given",
    "gold",
    "joining",
    "line_of",
    "linked",
    "read_articles",
    "read_fewrel",
    "read_linked",
]


@dataclass(frozen=True, slots=True)
class LinkedText:
    """A text and its mentions, in the order of the text."""

    text: str
    mentions: tuple[Mention, ...] = ()
    origin: str = ""


@dataclass(frozen=True, slots=True)
class RelationText:
    """A sentence that says how two of its mentions are related."""

    text: str
    head: Mention
    tail: Mention
    relation: str
    origin: str = ""

    @property
    def mentions(self) -> tuple[Mention, ...]:
        return (self.head, self.tail) if self.head.start < self.tail.start else (self.tail, self.head)

    @property
    def entities(self) -> tuple[str | None, str | None]:
        return self.head.entity, self.tail.entity


def gold(text: str, start: int, end: int, entity: str | None) -> Mention:
    """Returns a mention whose entity is known for sure; None: known to be none."""
    return Mention(start, end, text[start:end], () if entity is None else (Candidate(entity, 1.0),))


def read_linked(path: str | Path) -> Iterator[LinkedText]:
    """Reads JSON lines ``{"text": ..., "mentions": [[start, end, entity], ...]}``; offsets count characters.

    Raises:
        FormatError: a line is no such object, or a mention does not lie within its text.
    """
    for number, line in lines(path):
        found = _record(path, number, line, "text", "mentions")
        if not isinstance(found["text"], str):
            raise _wrong(path, number, "text", f"expected a text, found {found['text']!r}", "Write it in quotes.")
        origin = f"{path}:{number}"
        yield LinkedText(found["text"], given(found["text"], found["mentions"], origin), origin)


def line_of(text: str, mentions: Sequence[Mention], *, candidates: int) -> str:
    """Returns a linked text as a line of JSON lines, which `read_linked` reads.

    Beside text and mentions it holds the probability of each mention's entity (null where that is none), and up to
    `candidates` candidates of each mention as [entity, probability], best first; none of them for 0.

    >>> print(line_of("Paris", [Mention(0, 5, "Paris", (Candidate("Q90", 0.8),))], candidates=0))
    {"text": "Paris", "mentions": [[0, 5, "Q90"]], "scores": [0.8]}
    """
    line: dict[str, object] = {
        "text": text,
        "mentions": [[mention.start, mention.end, mention.entity] for mention in mentions],
        "scores": [mention.candidates[0].probability if mention.entity else None for mention in mentions],
    }
    if candidates:
        line["candidates"] = [
            [[candidate.entity, candidate.probability] for candidate in mention.candidates[:candidates]]
            for mention in mentions
        ]
    return json.dumps(line, ensure_ascii=False)


def given(text: str, mentions: Any, origin: str) -> tuple[Mention, ...]:
    """Returns the mentions that a record gives as ``[[start, end, entity], ...]``; null is no entity.

    Args:
        origin: "file:line".

    Raises:
        FormatError: one is something else, or does not lie within its text; names `origin`.
    """
    path, _, line = origin.rpartition(":")
    if not isinstance(mentions, list):
        raise _wrong(path, int(line), "mentions", f"{mentions!r} is no list", "Write [[start, end, entity]].")
    for mention in mentions:
        if not _is_span(mention, len(text)):
            raise _wrong(
                path,
                int(line),
                "mentions",
                f"{mention!r} is no mention of this text",
                f"Write [start, end, entity] with 0 <= start < end <= {len(text)}.",
            )
    return tuple(gold(text, *mention) for mention in mentions)


def _is_span(mention: Any, length: int) -> bool:
    three = isinstance(mention, list) and len(mention) == 3
    typed = three and type(mention[0]) is type(mention[1]) is int and isinstance(mention[2], str | None)
    return typed and 0 <= mention[0] < mention[1] <= length


def _wrong(path: str | Path, line: int | None, field: str, problem: str, remedy: str) -> FormatError:
    return FormatError(problem, path=path, line=line, field=field, remedy=remedy)


def read_articles(path: str | Path) -> Iterator[LinkedText]:
    """Reads ERNIE's articles: JSON lines ``{"doc", "sents": [{"tokens": word pieces, "ents": [[first, end, id]]}]}``.

    The pieces are put together to words again; spaces before punctuation are the pieces' own. A mention covers whole
    words: two in five of the published sample's end within one ("[eu]##rasia", Q5401), and whole words are a name of
    their entity for 66 % of those that the graphs of X-FACTR, CoDEx and FB15k-237 have, the marked pieces for 3 %.
    Words after the cut one are not won back ("[bo]##hr model", Q172948, becomes "bohr").

    Raises:
        FormatError: a line is no such object, or an entity does not lie within its sentence; names the line.
    """
    for number, line in lines(path):
        sentences = _record(path, number, line, "sents")["sents"]
        if not isinstance(sentences, list):
            raise _wrong(path, number, "sents", f"{sentences!r} is no list", "Give a list of sentences.")
        for order, sentence in enumerate(sentences):
            field = f"sents.{order}"
            tokens, entities = _sentence(path, number, field, sentence)
            text, spans = _together(tokens)
            for place, entity in enumerate(entities):
                if not _is_span(entity, len(tokens)):
                    raise _wrong(
                        path,
                        number,
                        f"{field}.ents.{place}",
                        f"{entity!r} is no entity of these {len(tokens)} tokens",
                        f"Write [first, end, id] with 0 <= first < end <= {len(tokens)}.",
                    )
            mentions = [gold(text, *_words(spans, first, end), id) for first, end, id in entities]
            yield LinkedText(text, tuple(mentions), f"{path}:{number}, sentence {order + 1}")


def _sentence(path: str | Path, line: int, field: str, sentence: Any) -> tuple[list[str], list[Any]]:
    """Returns the tokens and the entities of an article's sentence; FormatError if it lacks one of them."""
    remedy = 'Write {"tokens": [...], "ents": [...]}.'
    if not isinstance(sentence, dict):
        raise _wrong(path, line, field, f"expected an object, found {sentence!r}", remedy)
    for name in ("tokens", "ents"):
        if not isinstance(sentence.get(name), list):
            found = f"{sentence[name]!r} is no list" if name in sentence else "this field is missing"
            raise _wrong(path, line, f"{field}.{name}", found, remedy)
    strange = [place for place, token in enumerate(sentence["tokens"]) if not isinstance(token, str)]
    if strange:
        found = f"{sentence['tokens'][strange[0]]!r} is no token"
        raise _wrong(path, line, f"{field}.tokens.{strange[0]}", found, "Write tokens in quotes.")
    return sentence["tokens"], sentence["ents"]


def _together(pieces: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Returns the text of word pieces and the characters of each."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    length = 0
    for piece in pieces:
        continued = piece.startswith("##") and len(piece) > 2 and bool(parts)
        written = piece[2:] if continued else piece
        if parts and not continued:
            parts.append(" ")
            length += 1
        parts.append(written)
        spans.append((length, length + len(written)))
        length += len(written)
    return "".join(parts), spans


def _words(spans: Sequence[tuple[int, int]], first: int, end: int) -> tuple[int, int]:
    """Returns the characters of the whole words that the pieces from `first` to before `end` are of."""
    while first > 0 and spans[first - 1][1] == spans[first][0]:
        first -= 1
    while end < len(spans) and spans[end - 1][1] == spans[end][0]:
        end += 1
    return spans[first][0], spans[end - 1][1]


def read_fewrel(path: str | Path) -> list[RelationText]:
    """Reads FewRel's JSON: relation -> ``[{"tokens", "h": [name, id, [positions, ...]], "t": ...}]``.

    Of several places of one entity the first is taken.

    Raises:
        FormatError: the file is not of this form.
    """
    content = "\n".join(line for _, line in lines(path))
    try:
        by_relation = json.loads(content)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"this is no JSON ({error.msg})", path=path, line=error.lineno, remedy=f"Expected {_FEWREL}."
        ) from error
    except RecursionError as error:
        raise FormatError("this JSON is nested too deeply", path=path, remedy=f"Expected {_FEWREL}.") from error
    if not isinstance(by_relation, dict) or not all(isinstance(listed, list) for listed in by_relation.values()):
        raise FormatError("this is not FewRel's form", path=path, remedy=f"Expected {_FEWREL}.")
    return [
        _fewrel(path, example, relation, number)
        for relation, examples in by_relation.items()
        for number, example in enumerate(examples)
    ]


_FEWREL = '{relation: [{"tokens": [...], "h": [name, id, [[positions]]], "t": ...}]}'


def _fewrel(path: str | Path, example: Any, relation: str, number: int) -> RelationText:
    field = f"{relation}.{number}"
    tokens = example.get("tokens") if isinstance(example, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        problem = "this is not FewRel's form: an example needs a list of tokens"
        raise _wrong(path, None, f"{field}.tokens", problem, f"Expected {_FEWREL}.")
    starts, length = [], 0
    for token in tokens:
        starts.append(length)
        length += len(token) + 1
    text = " ".join(tokens)

    def mention(of: str) -> Mention:
        try:
            _, entity, places = example[of]
            first, last = places[0][0], places[0][-1]
            if not (_is_span([first, last + 1, entity], len(tokens)) and any(tokens[first : last + 1])):
                raise ValueError(f"{example[of]!r} has no place among {len(tokens)} tokens")
        except (ValueError, KeyError, TypeError, IndexError) as error:
            problem = f"this is not FewRel's form ({type(error).__name__}: {error})"
            raise _wrong(path, None, f"{field}.{of}", problem, f"Expected {_FEWREL}.") from error
        return gold(text, starts[first], starts[last] + len(tokens[last]), entity)

    return RelationText(text, mention("h"), mention("t"), relation, f"{path}: {relation}, example {number + 1}")


def _record(path: str | Path, number: int, line: str, *wanted: str) -> dict[str, Any]:
    found = json_object(line, path, number)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise FormatError(
            "this field is missing", path=path, line=number, field=missing[0], remedy=f"Give {', '.join(wanted)}."
        )
    record: dict[str, Any] = found
    return record


def linked(texts: Iterable[str], linker: EntityLinker, language: str | None = None) -> Iterator[LinkedText]:
    """Yields texts with the mentions that a linker finds."""
    for number, text in enumerate(texts):
        yield LinkedText(text, tuple(linker.link(text, language)), f"text {number + 1}")


def encode(
    texts: Sequence[LinkedText], tokenizer: Tokenizer, rows: Callable[[str], int], *, length: int | None
) -> list[Encoded]:
    """Returns each text as tokens with the part `Mentions`.

    Args:
        rows: the entity table's row of an entity, below 0 if it has none.
        length: cut to this many tokens; mentions that are cut off are dropped.
    """
    encoded = tokenizer.encode([text.text for text in texts], length=length)
    return [
        replace(align(tokens, text.mentions, rows), number=number, origin=text.origin)
        for number, (tokens, text) in enumerate(zip(encoded, texts, strict=True))
    ]


def joining(graph: KnowledgeGraph, texts: Iterable[RelationText]) -> Int32[np.ndarray, "triple 3"]:
    """Returns the triples that join the two entities of any of the sentences, in either direction.

    ``graph.without(joining(graph, test))`` is the graph to learn from when `test` is what shall be predicted.
    """
    ids = [
        (graph.entities.find(head), graph.entities.find(tail))
        for head, tail in (text.entities for text in texts)
        if head is not None and tail is not None
    ]
    count = len(graph.entities)
    asked = np.array([(head, tail) for head, tail in ids if head >= 0 and tail >= 0], dtype=np.int64).reshape(-1, 2)
    keys = np.concatenate((asked[:, 0] * count + asked[:, 1], asked[:, 1] * count + asked[:, 0]))
    held = np.isin(graph.heads.astype(np.int64) * count + graph.tails, keys)
    return graph.triples()[held]
