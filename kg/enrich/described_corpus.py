"""Linked texts as a corpus for bi-encoder linking: each mention with its entity, others of its name, and their texts.

    {"text": ..., "mentions": [[start, end, entity], ...]}   --tokenize, split long texts-->  Encoded with Mentions
    --other entities of the names, texts of all of them-->   Described

A mention whose entity is not in the graph asks nothing; a text without any other is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.reader import Reader
from kelm.data.sources import JsonLines
from kelm.errors import InputError
from kelm.model.config import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import Mentions, align
from kg.linking.bi_encoder import Choice, Described
from kg.linking.entity_text import EntityText, EntityTextOptions
from kg.linking.linked_text import given

__all__ = ["DescribedMentions", "Describer", "described_mentions"]


@dataclass(frozen=True, eq=False)
class Describer:
    """Gives the mentions of a text their candidates, and these their texts.

    Crosses a queue as a path where the graph is given as one; it is then opened where it is used.

    Attributes:
        graph: or the folder that it lies in.
        languages: of the names; empty: all.
        negatives: at most so many other entities of a mention's name, the most probable first.
        length: tokens of an entity's text.
        near: folder of vectors of an encoder trained so far (`kg.linking.entity_vectors`); the `nearest` entities to a
            mention's are then hard negatives too.
    """

    graph: KnowledgeGraph | str
    tokenizer: Tokenizer
    texts: EntityTextOptions = field(default_factory=EntityTextOptions)
    languages: tuple[str, ...] = ()
    negatives: int = 4
    length: int = 32
    near: str | None = None
    nearest: int = 0

    def attach(self, encoded: Encoded, text: Text) -> Encoded:
        """Returns the text with `Mentions`, whose entities are the graph's ids."""
        return align(encoded, given(text.text, text.fields["mentions"], text.origin), self.opened.entities.find)

    def __call__(self, encoded: Encoded) -> Described:
        """Returns a text that has `Mentions` with the texts of what they may mean."""
        part = encoded[Mentions]
        rows = zip(part.first.tolist(), part.last.tolist(), part.entity.tolist(), strict=True)
        mentions = tuple(
            Choice(first, last, entity, self._others(encoded, first, last, entity))
            for first, last, entity in rows
            if entity >= 0
        )
        plain = Encoded(encoded.text, encoded.tokens, encoded.spans, encoded.words, encoded.segments)
        texts = self._texts(sorted({entity for one in mentions for entity in (one.entity, *one.others)}))
        return Described(plain, mentions, texts, number=encoded.number, origin=encoded.origin)

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        names, said = list(self.languages), self._says.fingerprint()
        near = None if self.near is None else self._near.facts
        numbers = [self.negatives, self.length, self.nearest]
        return digest(said, names, numbers, near, self.tokenizer.fingerprint())

    def _others(self, encoded: Encoded, first: int, last: int, entity: int) -> tuple[int, ...]:
        name = encoded.text[int(encoded.spans[first, 0]) : int(encoded.spans[last, 1])]
        named = [self.opened.entities.find(candidate.entity) for candidate in self._linker.candidates(name)]
        others = [other for other in named if other not in (entity, -1)][: self.negatives]
        return tuple(dict.fromkeys([*others, *self._neighbors(entity)]))

    def _neighbors(self, entity: int) -> Sequence[int]:
        """Returns the entities whose vectors are nearest to that of an entity, which it is none of."""
        row = self._near.names.find(self.opened.entities[entity]) if self.near is not None else -1
        if row < 0:
            return ()
        rows, _ = self._near.nearest(self._near.vectors[row], self.nearest + 1)
        found = [self.opened.entities.find(self._near.names[int(other)]) for other in rows]
        return [other for other in found if other not in (entity, -1)][: self.nearest]

    def _texts(self, entities: Sequence[int]) -> Mapping[int, Encoded]:
        said = [self._says(entity) for entity in entities]
        return dict(zip(entities, self.tokenizer.encode(said, length=self.length), strict=True))

    @cached_property
    def opened(self) -> KnowledgeGraph:
        """The graph."""
        return KnowledgeGraph.open(self.graph) if isinstance(self.graph, str) else self.graph

    @cached_property
    def _says(self) -> EntityText:
        return EntityText(self.opened, self.texts)

    @cached_property
    def _linker(self) -> AliasLinker:
        return AliasLinker.from_graph(self.opened, self.languages or None)

    @cached_property
    def _near(self) -> EntityTable:
        assert self.near is not None
        return EntityTable.open(self.near)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "opened" and not name.startswith("_")}


class DescribedMentions(Corpus[Described]):
    """What a reader gives, described; texts without a mention of the graph's entities are left out.

    Args:
        reader: gives texts with `Mentions`, whose entities are ids of the describer's graph.
    """

    def __init__(self, reader: Corpus[Encoded], describer: Describer) -> None:
        self.reader, self.describer = reader, describer

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Described, Cursor]]:  # noqa: B008
        for encoded, cursor in self.reader.stream(shard, start):
            described = self.describer(encoded)
            if described.mentions:
                yield described, cursor

    def fingerprint(self) -> str:
        return digest("DescribedMentions", self.reader.fingerprint(), self.describer.fingerprint())


def described_mentions(
    path: str,
    *,
    graph: str,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    language: str = "en",
    languages: Sequence[str] = (),
    negatives: int = 4,
    length: int | None = None,
    entity_length: int = 32,
    neighbors: int = 4,
    near: str | None = None,
    nearest: int = 4,
) -> DescribedMentions:
    """Returns a corpus for the objective `mention_description`. Registered as ``described_mentions``.

    Args:
        path: JSON lines with "text" and "mentions", plain or compressed.
        graph: folder of the graph whose entities are linked.
        language: of the entities' texts.
        languages: of the names that tell hard negatives; all if empty.
        negatives: at most so many hard negatives of a mention; 0: only the other entities of the batch.
        length: tokens of a text; longer ones are split. The model's if not given.
        entity_length: tokens of an entity's text; longer ones are cut.
        neighbors: at most so many neighbors are told of an entity without a description.
        near: folder of entity vectors of an earlier round; each mention's entity then brings the `nearest` others too,
            at the cost of a pass over the table.

    Raises:
        InputError: a number below what makes sense.
        CheckpointError: no graph is there.
        FormatError: when read, if a line is no such object, or a mention does not lie within its text.
    """
    for name, value, least in (
        ("negatives", negatives, 0),
        ("nearest", nearest, 0),
        ("entity_length", entity_length, 3),
    ):
        if value < least:
            raise InputError(f"expected {least} or more, found {value}", field=name, remedy="Give a larger number.")
    options = EntityTextOptions(language=language, neighbors=neighbors)
    longest = min(entity_length, config.longest)
    describer = Describer(graph, tokenizer, options, tuple(languages), negatives, longest, near, nearest)
    files = JsonLines(path, field="text", keep=("mentions",))
    room = min(length or config.longest, config.longest)
    return DescribedMentions(Reader(files, tokenizer, room, attach=describer.attach, long="split"), describer)
