"""Linking as a component of a spaCy pipeline: `kelm_linker` gives entities their names in the graph.

    nlp.add_pipe("kelm_linker", config={"linker": "names.safetensors"})      doc.ents: Paris -> kb_id_ "Q90"

This is the one door to spaCy (Honnibal et al., 2020). Mentions are characters and spans are tokens, so `alignment` says
what becomes of a mention that is less than its tokens, as the Korean noun before its particle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from kelm.errors import InputError, MissingDependency, closest
from kg.linking.alias import AliasLinker
from kg.linking.base import Mention

try:
    from spacy.language import Language
    from spacy.tokens import Doc, Span
    from spacy.util import filter_spans, minibatch
except ImportError:
    raise MissingDependency('The component needs spaCy. Run: pip install "kelm[spacy]"') from None

__all__ = ["CANDIDATES", "KelmLinker", "component"]

CANDIDATES = "kelm_candidates"  # span._.kelm_candidates: (entity, probability), best first
_ALIGNMENTS = ("expand", "contract", "strict")
_NOTHING = "NIL"  # spaCy's word for "no entity of the knowledge base"
_NAMES = "names"  # the file within the folder of the component

if not Span.has_extension(CANDIDATES):
    Span.set_extension(CANDIDATES, default=())


class KelmLinker:
    """Sets `doc.ents`, or the spans of a key, from the mentions that a linker finds.

    Each span has `kb_id_` (the entity, or "NIL" where the linker says that it is none) and `span._.kelm_candidates`,
    pairs of entity and probability, best first.

    Args:
        linker: a linker, or the file of a saved one, which is opened when it is first needed; None: it comes from disk
            or bytes with the rest of a saved pipeline, or is assigned to `linker`.
        language: only names of this language (and of none) count; None for all.
        spans: the key in `doc.spans` to set, where spans may overlap; None for `doc.ents`, where the longest are kept.
        label: of the spans.
        alignment: a mention that is no run of whole tokens takes all the tokens it touches ("expand"), those within it
            ("contract"), or is left out ("strict").
        overwrite: whether a mention takes the place of entities that are there already. If not, they stay, and one that
            has the same tokens as a mention gets its `kb_id_`.

    Raises:
        InputError: `alignment` is not one of the three.

    >>> import spacy
    >>> nlp = spacy.blank("en")
    >>> nlp.add_pipe("kelm_linker").linker = AliasLinker([("Paris", "Q90")])
    >>> [(entity.text, entity.kb_id_) for entity in nlp("Paris, Texas").ents]
    [('Paris', 'Q90')]
    """

    def __init__(
        self,
        linker: AliasLinker | str | Path | None,
        language: str | None = None,
        *,
        spans: str | None = None,
        label: str = "ENTITY",
        alignment: str = "expand",
        overwrite: bool = False,
    ) -> None:
        if alignment not in _ALIGNMENTS:
            raise InputError(
                f'"{alignment}" is not a choice', field="alignment", remedy=closest(alignment, _ALIGNMENTS)
            )
        self._linker = linker if isinstance(linker, AliasLinker) else None
        self.path = None if isinstance(linker, AliasLinker) else linker
        self.language, self.spans, self.label = language, spans, label
        self.alignment, self.overwrite = alignment, overwrite

    @property
    def linker(self) -> AliasLinker:
        """The linker.

        Raises:
            InputError: there is none.
            FormatError: its file cannot be opened.
        """
        if self._linker is None:
            if self.path is None:
                raise InputError(
                    "kelm_linker has no names to look for",
                    field="linker",
                    remedy='Save one (AliasLinker.save) and name its file: config={"linker": "names.safetensors"}.',
                )
            self._linker = AliasLinker.load(self.path)
        return self._linker

    @linker.setter
    def linker(self, linker: AliasLinker) -> None:
        self._linker = linker

    def __call__(self, doc: Doc) -> Doc:
        """Returns the document with its spans set."""
        self._set(doc, self.linker.link(doc.text, self.language))
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Yields the documents with their spans set; many are linked at once."""
        for docs in minibatch(stream, size=batch_size):
            for doc, mentions in zip(
                docs, self.linker.link_all([doc.text for doc in docs], self.language), strict=True
            ):
                self._set(doc, mentions)
                yield doc

    def _set(self, doc: Doc, mentions: Sequence[Mention]) -> None:
        found = [span for mention in mentions if (span := self._span(doc, mention)) is not None]
        if self.spans is not None:
            doc.spans[self.spans] = found
            return
        found, there = filter_spans(found), list(doc.ents)
        if self.overwrite:
            doc.ents = [*found, *_apart(there, found)]
            return
        known = {(span.start, span.end): span.kb_id_ for span in found}
        kept = [
            Span(doc, old.start, old.end, old.label_, kb_id=known.get((old.start, old.end), old.kb_id_))
            for old in there
        ]
        doc.ents = [*kept, *_apart(found, kept)]

    def _span(self, doc: Doc, mention: Mention) -> Span | None:
        kb_id = mention.entity or _NOTHING
        span = doc.char_span(mention.start, mention.end, self.label, kb_id, alignment_mode=self.alignment)
        if span is None or not len(span):
            return None
        pairs = [(candidate.entity or _NOTHING, candidate.probability) for candidate in mention.candidates]
        span._.set(CANDIDATES, tuple(pairs))
        return span

    def to_disk(self, path: str | Path, *, exclude: Collection[str] = ()) -> None:
        """Writes the linker's names into the folder `path`; the options stand in the pipeline's configuration."""
        self.linker.save(Path(path) / _NAMES)

    def from_disk(self, path: str | Path, *, exclude: Collection[str] = ()) -> KelmLinker:
        """Takes the names that `to_disk` wrote.

        Raises:
            FormatError: they are missing or damaged.
        """
        self._linker = AliasLinker.load(Path(path) / _NAMES)
        return self

    def to_bytes(self, *, exclude: Collection[str] = ()) -> bytes:
        """Returns what `to_disk` writes."""
        with TemporaryDirectory() as folder:
            self.to_disk(folder)
            return (Path(folder) / _NAMES).read_bytes()

    def from_bytes(self, data: bytes, *, exclude: Collection[str] = ()) -> KelmLinker:
        """Takes the names that `to_bytes` returned."""
        with TemporaryDirectory() as folder:
            (Path(folder) / _NAMES).write_bytes(data)
            return self.from_disk(folder)


def _apart(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """Returns the spans that share no token with any of the others."""
    taken = {token for span in others for token in range(span.start, span.end)}
    return [span for span in spans if taken.isdisjoint(range(span.start, span.end))]


@Language.factory(
    "kelm_linker",
    default_config={
        "linker": None,
        "language": None,
        "spans": None,
        "label": "ENTITY",
        "alignment": "expand",
        "overwrite": False,
    },
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type", "token.ent_kb_id"],
)
def component(
    nlp: Language,
    name: str,
    linker: str | None,
    language: str | None,
    spans: str | None,
    label: str,
    alignment: str,
    overwrite: bool,
) -> KelmLinker:
    """Returns the component for a pipeline's configuration; see `KelmLinker`."""
    return KelmLinker(linker, language, spans=spans, label=label, alignment=alignment, overwrite=overwrite)
