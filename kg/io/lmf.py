"""Wordnets in XML: the Global WordNet Association's LMF, in which Open English WordNet and many others are published.

    <Lexicon language="en">
      <LexicalEntry id="e1"><Lemma writtenForm="dog" partOfSpeech="n"/><Sense id="s1" synset="oewn-02086723-n"/> ...
      <Synset id="oewn-02086723-n" ili="i46360" lexfile="noun.animal" members="e1 e2">
        <Definition>a member of ...</Definition><SynsetRelation relType="hypernym" target="..."/> ...

| in the file                    | in the graph                                                                |
|--------------------------------|-----------------------------------------------------------------------------|
| Synset                         | an entity by its id; `lexfile` is a type, `ili`, `partOfSpeech` attributes  |
| Lemma of an entry with a Sense | a label in the lexicon's language, the synset's first member preferred      |
| SynsetRelation, SenseRelation  | a triple between synsets, with the name in `relType` (`dc:type` of "other") |
| Definition, Example            | the attributes "description" and "example"                                  |

All other elements and attributes are counted in the report. The file is read as a stream; words and relations wait for
its end.
Source: https://globalwordnet.github.io/schemas/
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io import guard
from kg.io.journal import Journal, Progress
from kg.io.source import chunks
from kg.labels import DESCRIPTION

__all__ = ["EXAMPLE", "ILI", "PART_OF_SPEECH", "feed", "read"]

EXAMPLE, ILI, PART_OF_SPEECH = "example", "ili", "partOfSpeech"  # properties

_BLOCK = 1 << 20  # bytes
_ROOT = "LexicalResource"
_TEXTS = {"Definition": DESCRIPTION, "Example": EXAMPLE}
_RELATIONS = ("SynsetRelation", "SenseRelation")
_READ = {  # attributes that are read, by element
    "Lexicon": {"id", "language"},
    "LexicalEntry": {"id"},
    "Lemma": {"writtenForm"},
    "Sense": {"id", "synset"},
    "Synset": {"id", "members", "lexfile", "ili", "partOfSpeech"},
    **{tag: {"relType", "target", "dc:type"} for tag in _RELATIONS},
    **{tag: {"language"} for tag in _TEXTS},
}
_REMEDY = "Correct the element, or allow it to be skipped (skip_bad, --skip-bad)."


def read(path: str | Path, *, languages: Collection[str] | None = None, skip_bad: int = 0) -> KnowledgeGraph:
    """Returns the graph of a file; see `feed`."""
    builder = GraphBuilder(languages=languages)
    feed(builder, path, skip_bad=skip_bad)
    return builder.build()


def feed(builder: GraphBuilder, path: str | Path, *, skip_bad: int = 0, progress: Progress | None = None) -> Report:
    """Adds the synsets of all lexicons of a file to `builder`.

    Args:
        skip_bad: elements without a needed attribute, or with a reference to nowhere, to leave out before one raises.

    Raises:
        FormatError: this is not XML or no wordnet, or such an element; names file and line.
    """
    journal = Journal(path, "wordnet-lmf", skip_bad=skip_bad, progress=progress)
    reading = _Reading(builder, journal)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda tag, attributes: reading.start(tag, attributes, parser.CurrentLineNumber)
    parser.EndElementHandler = lambda tag: reading.end(tag, parser.CurrentLineNumber)
    parser.CharacterDataHandler = reading.text
    parser.SkippedEntityHandler = lambda name, _: reading.skipped(name, parser.CurrentLineNumber)
    try:
        for _, chunk in guard.xml(chunks(path, journal, size=_BLOCK, line_ends=False), path):
            parser.Parse(chunk)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        problem = f"this is not XML: {expat.errors.messages[error.code]} (column {error.offset + 1})"
        remedy = "Copy the file again."
        raise FormatError(problem, path=path, line=error.lineno, remedy=remedy) from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not know, or that is none of single bytes
        raise FormatError(f"cannot be read: {error}", path=path, line=1, remedy="Save the file as UTF-8.") from error
    reading.finish()
    report = journal.report()
    builder.reports.append(report)
    return report


class _Word(NamedTuple):
    """A sense, as a word of its synset."""

    line: int
    entry: str
    sense: str
    lemma: str
    language: str


class _Relation(NamedTuple):
    line: int
    source: str
    name: str
    target: str


class _Reading:
    """Takes the elements of a file, one after the other, and says what waits for the end in `finish`."""

    def __init__(self, builder: GraphBuilder, journal: Journal) -> None:
        self.builder, self.journal = builder, journal
        self._depth = 0
        self._language = self._entry = self._lemma = self._synset = self._sense = ""
        self._text: list[str] | None = None  # of the definition or example that is open
        self._text_language = ""
        self._members: dict[str, list[str]] = {}  # by synset
        self._words: defaultdict[str, list[_Word]] = defaultdict(list)  # by synset
        self._synset_of: dict[str, str] = {}  # by sense
        self._relations: list[_Relation] = []
        self._waiting: list[tuple[int, str, str, str, str]] = []  # line, synset, property, text, language
        self._others: Counter[str] = Counter()

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        if not self._depth and tag != _ROOT:
            problem = f"expected a wordnet ({_ROOT}), found <{tag}>"
            remedy = "Name the format if this is RDF/XML (rdf)."
            raise FormatError(problem, path=self.journal.source, line=line, remedy=remedy)
        self._depth += 1
        try:
            self._start(tag, attributes, line)
        except KeyError as error:
            told = FormatError(f"expected <{tag}> with the attribute {error.args[0]}", remedy=_REMEDY)
            self.journal.bad(told, line=line, reason="element without an attribute")

    def _start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        if tag == "Lexicon":
            self._language = attributes["language"]
        elif tag == "LexicalEntry":
            self._entry = self._lemma = ""
            self._entry = attributes["id"]
        elif tag == "Lemma":
            self._lemma = attributes["writtenForm"]
        elif tag == "Sense":
            self._sense = ""
            synset, self._sense = attributes["synset"], attributes["id"]
            self._synset_of[self._sense] = synset
            self._words[synset].append(_Word(line, self._entry, self._sense, self._lemma, self._language))
        elif tag == "Synset":
            self._synset = ""
            self._start_synset(attributes["id"], attributes, line)
        elif tag in _RELATIONS:
            name = attributes["relType"]
            if name == "other":
                name = attributes.get("dc:type", name)
            source = self._synset if tag == "SynsetRelation" else self._sense
            self._relations.append(_Relation(line, source, name, attributes["target"]))
        elif tag in _TEXTS:
            self._text, self._text_language = [], attributes.get("language") or self._language
        elif tag != _ROOT:
            self._others[f"element <{tag}>"] += 1
        self._others.update(f"attribute {name} of <{tag}>" for name in attributes.keys() - _READ.get(tag, attributes))

    def _start_synset(self, name: str, attributes: dict[str, str], line: int) -> None:
        if not name.strip() or name in self._members:
            problem = f'the synset "{name}" has no name or was there before'
            self.journal.bad(FormatError(problem, remedy=_REMEDY), line=line, reason="synset without a name of its own")
            return
        self._synset = name
        self._members[name] = attributes.get("members", "").split()
        self.builder.entity(name)
        if kind := attributes.get("lexfile", "").strip():
            self.builder.type(name, kind)
            self.journal.counts["types"] += 1
        for property in (ILI, PART_OF_SPEECH):
            text = attributes.get(property, "").strip()
            if text and (property, text) != (ILI, "in"):  # one that was asked for
                self.builder.attribute(name, property, text)
                self.journal.counts["attributes"] += 1

    def text(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, tag: str, line: int) -> None:
        self._depth -= 1
        if tag in _TEXTS and self._text is not None:
            text, self._text = " ".join("".join(self._text).split()), None
            self._waiting.append((line, self._synset or self._sense, _TEXTS[tag], text, self._text_language))
        elif tag == "Synset":
            self._synset = ""
        elif tag == "LexicalEntry":  # a sense of an entry in another file has no word here
            self._entry = self._lemma = ""
        elif tag == "Sense":
            self._sense = ""

    def skipped(self, name: str, line: int) -> None:
        error = FormatError(f'the entity "{name}" is not declared in the file', remedy=_REMEDY)
        self.journal.bad(error, line=line, reason="entity that is declared elsewhere")

    def finish(self) -> None:
        """Adds what refers to synsets: words, relations and texts."""
        for synset, words in self._words.items():
            if synset in self._members:
                self._name(synset, words)
                continue
            for word in words:
                self._lost(word.line, f'the sense of a synset "{synset}"')
        for line, owner, property, text, language in self._waiting:
            synset = self._found(owner)
            if not synset:
                self._lost(line, f"a {property} of a synset")
            elif self.builder.language(language) < 0:
                self.journal.drop(f"{property} in an unwanted language")
            else:
                self.builder.attribute(synset, property, text, language=language)
                self.journal.counts["attributes"] += 1
        for relation in self._relations:
            source, target = self._found(relation.source), self._found(relation.target)
            if not (source and target and relation.name.strip()):
                self._lost(relation.line, f'the relation "{relation.name}" to "{relation.target}"')
                continue
            self.builder.triple(source, relation.name, target)
            self.journal.counts["triples"] += 1
            self.journal.drop("senses that a relation joins", relation.source not in self._members)
        for what, count in self._others.items():
            self.journal.drop(what, count)

    def _name(self, synset: str, words: list[_Word]) -> None:
        place = {member: place for place, member in reversed([*enumerate(self._members[synset])])}
        last = len(place)
        preferred: set[str] = set()  # languages
        for word in sorted(words, key=lambda word: min(place.get(word.entry, last), place.get(word.sense, last))):
            try:
                first = word.language not in preferred
                kept = self.builder.label(synset, word.language, word.lemma.replace("_", " "), preferred=first)
            except FormatError as error:
                self.journal.bad(error, line=word.line, reason="blank label")
                continue
            preferred.add(word.language)
            self.journal.label(kept)

    def _found(self, name: str) -> str:
        """Returns the synset that an id means, of a synset or of a sense; "" if the file has none."""
        synset = name if name in self._members else self._synset_of.get(name, "")
        return synset if synset in self._members else ""

    def _lost(self, line: int, what: str) -> None:
        error = FormatError(f"expected {what} that is in this file", remedy=_REMEDY)
        self.journal.bad(error, line=line, reason="reference to nowhere")
