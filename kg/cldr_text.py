"""Sentences about the CLDR's graph, from our own short templates, with their mentions known.

    (territory/FR, uses_currency, currency/EUR)  --clear-->    "In France you pay in Euro."
                                                 --veiled-->   "The handbook entry on France refers to Euro."

A veiled sentence fits every relation alike: only who the two entities are can tell which one is meant. With test
entities that fine-tuning never saw (`partition`) and without the triples that join a sentence's pair (`joining`), what
a model still gains, it has from the graph. Labels are used as they are, so some articles are missing.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from kelm.errors import InputError, UnknownName, closest
from kg.graph import KnowledgeGraph
from kg.linking.base import Mention
from kg.linking.linked_text import LinkedText, RelationText, gold

__all__ = ["LANGUAGES", "RELATIONS", "UNRELATED", "paragraphs", "partition", "sentences"]

UNRELATED = "none"  # the relation of a pair that no triple joins

VEILED: Mapping[str, tuple[str, ...]] = {
    "en": (
        "{head} and {tail} are often named together.",
        "Anyone who writes about {head} soon comes to {tail}.",
        "The handbook entry on {head} refers to {tail}.",
        "{tail} comes up whenever people talk about {head}.",
        "A note in the margin links {head} with {tail}.",
        "The quiz asked what {head} has to do with {tail}.",
        "Next to {head} the table shows {tail}.",
        "For {head}, our files give {tail}.",
        "She answered at once: {head}, {tail}.",
        "The last page pairs {tail} with {head}.",
        "Between {head} and {tail} the clerk drew a line.",
        "{head}: see also {tail}.",
    ),
    "de": (
        "{head} und {tail} werden oft zusammen genannt.",
        "Der Eintrag zu {head} verweist auf {tail}.",
        "Neben {head} steht in der Tabelle {tail}.",
        "Eine Notiz am Rand verbindet {tail} mit {head}.",
        "{head}: siehe auch {tail}.",
    ),
    "es": (
        "{head} y {tail} se nombran a menudo juntos.",
        "La ficha sobre {head} remite a {tail}.",
        "Junto a {head}, la tabla muestra {tail}.",
        "Una nota al margen une {tail} con {head}.",
        "{head}: véase también {tail}.",
    ),
    "fr": (
        "{head} et {tail} sont souvent cités ensemble.",
        "La fiche sur {head} renvoie à {tail}.",
        "À côté de {head}, le tableau indique {tail}.",
        "Une note en marge relie {tail} à {head}.",
        "{head} : voir aussi {tail}.",
    ),
}

CLEAR: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "contained_in": ("On the map, {head} is a part of {tail}.", "{head} belongs geographically to {tail}."),
        "member_of": ("{head} has joined {tail}.", "Among the members of {tail} is {head}."),
        "uses_currency": ("In {head} you pay in {tail}.", "Prices in {head} are given in {tail}."),
        "used_currency": ("In {head} people once paid in {tail}.", "Old coins from {head} are in {tail}."),
        "official_language": ("The laws of {head} are written in {tail}.", "{tail} is an official language of {head}."),
        "regional_language": ("In one part of {head}, {tail} is official.", "Some offices of {head} also use {tail}."),
        "spoken_language": ("Some families in {head} speak {tail}.", "In {head} you may hear {tail}."),
        "written_in": ("Books in {head} are printed in {tail} letters.", "{head} is written in {tail} script."),
        "mainly_spoken_in": ("Most speakers of {head} live in {tail}.", "{head} is mainly heard in {tail}."),
        "located_in": ("{head} is a place in {tail}.", "The traveler reached {head}, in {tail}."),
        "uses_time": ("Clocks in {head} follow {tail}.", "Trains in {head} run on {tail}."),
    },
    "de": {
        "contained_in": ("Auf der Karte gehört {head} zu {tail}.",),
        "member_of": ("{head} ist Mitglied: {tail}.",),
        "uses_currency": ("In {head} bezahlt man mit der Währung {tail}.",),
        "used_currency": ("In {head} bezahlte man früher mit der Währung {tail}.",),
        "official_language": ("Die Gesetze in {head} sind auf {tail} geschrieben.",),
        "regional_language": ("In einem Teil von {head} ist {tail} Amtssprache.",),
        "spoken_language": ("Manche Familien in {head} sprechen {tail}.",),
        "written_in": ("Bücher auf {head} druckt man in der Schrift {tail}.",),
        "mainly_spoken_in": ("Die meisten, die {head} sprechen, leben in {tail}.",),
        "located_in": ("{head} ist ein Ort in {tail}.",),
        "uses_time": ("Die Uhren in {head} zeigen {tail}.",),
    },
    "es": {
        "contained_in": ("En el mapa, {head} forma parte de {tail}.",),
        "member_of": ("{head} es miembro de {tail}.",),
        "uses_currency": ("En {head} se paga con la moneda {tail}.",),
        "used_currency": ("En {head} se pagaba antes con la moneda {tail}.",),
        "official_language": ("Las leyes de {head} se escriben en {tail}.",),
        "regional_language": ("En una parte de {head} es oficial {tail}.",),
        "spoken_language": ("Algunas familias de {head} hablan {tail}.",),
        "written_in": ("Los libros en {head} se imprimen en letras {tail}.",),
        "mainly_spoken_in": ("La mayoría de quienes hablan {head} vive en {tail}.",),
        "located_in": ("{head} es un lugar de {tail}.",),
        "uses_time": ("Los relojes de {head} siguen {tail}.",),
    },
    "fr": {
        "contained_in": ("Sur la carte, {head} fait partie de {tail}.",),
        "member_of": ("{head} est membre : {tail}.",),
        "uses_currency": ("Pays : {head}. On y paie dans la monnaie {tail}.",),
        "used_currency": ("Pays : {head}. On y payait autrefois dans la monnaie {tail}.",),
        "official_language": ("Pays : {head}. Les lois y sont écrites en {tail}.",),
        "regional_language": ("Pays : {head}. Une région y a pour langue officielle {tail}.",),
        "spoken_language": ("Pays : {head}. Des familles y parlent {tail}.",),
        "written_in": ("Les livres en {head} sont imprimés en lettres {tail}.",),
        "mainly_spoken_in": ("La plupart de ceux qui parlent {head} vivent ici : {tail}.",),
        "located_in": ("{head} est un lieu du pays suivant : {tail}.",),
        "uses_time": ("Pays : {head}. Les horloges y suivent {tail}.",),
    },
}

LANGUAGES = tuple(VEILED)
RELATIONS = tuple(CLEAR["en"])


def sentences(
    graph: KnowledgeGraph,
    seed: int,
    count: int,
    *,
    languages: Sequence[str] = ("en",),
    relations: Sequence[str] = RELATIONS,
    entities: Collection[str] | None = None,
    clear: float = 0.0,
    unrelated: float = 0.0,
) -> list[RelationText]:
    """Returns distinct sentences about pairs of entities; relations and languages are equally frequent.

    Args:
        languages: of templates and names; a pair without names in the language that is drawn is not used.
        relations: among which to draw; a pair that several of them join in the same direction is left out.
        entities: both ends must be among these; None for all. Give one set of a `partition` for training, another for
            the test.
        clear: share of sentences whose words say which relation is meant.
        unrelated: share of pairs that nothing joins (relation `UNRELATED`, veiled); the tail is one that the drawn
            relation gives to another head.

    Raises:
        UnknownName: no templates are there for a language or relation.
        ValueError: there are not `count` distinct sentences.
    """
    writer = _Writer(graph, languages, relations, entities)
    chance = random.Random(seed)
    found: dict[str, RelationText] = {}
    for _ in range(30 * count + 1000):
        if len(found) == count:
            return list(found.values())
        language = chance.choice(writer.languages)
        relation = chance.choice(writer.relations)
        head, tail = chance.choice(writer.pairs[relation])
        if chance.random() < unrelated:
            tail = chance.choice(writer.pairs[relation])[1]
            if tail == head or tail in writer.joined[head]:
                continue
            relation = UNRELATED
        is_clear = chance.random() < clear and relation != UNRELATED
        template = chance.choice(CLEAR[language][relation] if is_clear else VEILED[language])
        sentence = writer.write(template, language, head, tail, relation, f"sentence {len(found) + 1}")
        if sentence is not None:
            found.setdefault(sentence.text, sentence)
    raise InputError(
        f"found only {len(found)} distinct sentences of {count}",
        remedy="Ask for fewer, or give more languages or entities.",
    )


def paragraphs(
    graph: KnowledgeGraph,
    seed: int,
    count: int,
    *,
    languages: Sequence[str] = ("en",),
    relations: Sequence[str] = RELATIONS,
    clear: float = 0.7,
    length: int = 3,
    without: Iterable[RelationText] = (),
) -> list[LinkedText]:
    """Returns short texts, each about one entity and its neighbors: text to pre-train on.

    Args:
        languages, relations, clear: as in `sentences`.
        length: at most this many sentences a text.
        without: sentences whose pairs no text may join.

    Raises:
        UnknownName: no templates are there for a language or relation.
    """
    writer = _Writer(graph, languages, relations, None)
    chance = random.Random(seed)
    kept_out = {pair for sentence in without for pair in (sentence.entities, sentence.entities[::-1])}
    about: defaultdict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for relation, pairs in writer.pairs.items():
        for head, tail in pairs:
            if (head, tail) not in kept_out:
                about[head].append((head, relation, tail))
                about[tail].append((head, relation, tail))
    topics = sorted(about)
    texts: list[LinkedText] = []
    while topics and len(texts) < count:
        language = chance.choice(writer.languages)
        facts = about[chance.choice(topics)]
        parts = []
        for head, relation, tail in chance.sample(facts, min(length, len(facts))):
            template = chance.choice(CLEAR[language][relation] if chance.random() < clear else VEILED[language])
            part = writer.write(template, language, head, tail, relation, "")
            parts += [part] if part is not None else []
        if parts:
            texts.append(_together(parts, f"text {len(texts) + 1}"))
    return texts


def _together(parts: Sequence[RelationText], origin: str) -> LinkedText:
    """Returns sentences as one text."""
    text, mentions = "", []
    for part in parts:
        text += " " * bool(text)
        mentions += [
            Mention(mention.start + len(text), mention.end + len(text), mention.text, mention.candidates)
            for mention in part.mentions
        ]
        text += part.text
    return LinkedText(text, tuple(mentions), origin)


def partition(names: Iterable[str], seed: int, shares: Sequence[float] = (0.6, 0.1, 0.3)) -> list[frozenset[str]]:
    """Returns disjoint sets of names, of these shares of all of them, drawn by `seed`.

    >>> [len(part) for part in partition("abcdefghij", seed=0)]
    [6, 1, 3]
    """
    names = sorted(set(names))
    random.Random(seed).shuffle(names)
    bounds = np.rint(np.cumsum([0.0, *shares]) / sum(shares) * len(names)).astype(int).tolist()
    return [frozenset(names[first:last]) for first, last in pairwise(bounds)]


class _Writer:
    """What can be written: names, and the pairs of each relation."""

    def __init__(
        self,
        graph: KnowledgeGraph,
        languages: Sequence[str],
        relations: Sequence[str],
        entities: Collection[str] | None,
    ) -> None:
        for name in languages:
            if name not in VEILED:
                raise UnknownName(f'no templates are in "{name}"', remedy=closest(name, VEILED))
        for name in relations:
            if name not in RELATIONS:
                raise UnknownName(f'no templates say "{name}"', remedy=closest(name, RELATIONS))
        self.graph, self.languages = graph, list(languages)
        of_pair: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.joined: defaultdict[str, set[str]] = defaultdict(set)
        for head, relation, tail in graph.names():
            self.joined[head].add(tail)
            self.joined[tail].add(head)
            if relation in relations and (entities is None or (head in entities and tail in entities)):
                of_pair[head, tail].append(relation)
        self.pairs: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for pair, several in of_pair.items():
            if len(several) == 1:
                self.pairs[several[0]].append(pair)
        self.relations = [relation for relation in relations if relation in self.pairs]
        if not self.relations:
            raise InputError(
                "the graph joins no two of these entities by any of these relations", remedy="Give more of either."
            )

    def write(
        self, template: str, language: str, head: str, tail: str, relation: str, origin: str
    ) -> RelationText | None:
        """Returns the template about a pair; None where one of the two has no name in the language."""
        names = {"{head}": self._names[language].get(head), "{tail}": self._names[language].get(tail)}
        text, spans = "", {}
        for piece in template.replace("{", "\0{").replace("}", "}\0").split("\0"):
            written = names.get(piece, piece)
            if written is None:
                return None
            spans[piece] = (len(text), len(text) + len(written))
            text += written
        text = text[0].upper() + text[1:] if len(text[0].upper()) == 1 else text
        return RelationText(
            text, gold(text, *spans["{head}"], head), gold(text, *spans["{tail}"], tail), relation, origin
        )

    @cached_property
    def _names(self) -> dict[str, dict[str, str]]:
        """By language and entity: the first name without a bracket ("Russian Ruble (1991–1998)"), or the first."""
        names: dict[str, dict[str, str]] = {language: {} for language in self.languages}
        entities = list(self.graph.entities)
        for owner, code, text, _ in self.graph.labels.entities.each(self.languages):
            known = names[code].get(entities[owner])
            if known is None or ("(" in known and "(" not in text):
                names[code][entities[owner]] = text
        return names
