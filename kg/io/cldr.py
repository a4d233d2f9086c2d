"""The Unicode CLDR as a graph: what every computer knows about countries, languages, scripts and currencies.

    territory/FR  uses_currency      currency/EUR      "France"@en "Frankreich"@de "フランス"@ja ... in 200 languages
    territory/FR  official_language  language/fr
    language/fr   written_in         script/Latn
    city/Europe/Paris  located_in    territory/FR

Facts and names come from the package Babel (https://babel.pocoo.org), which carries the CLDR (Unicode License V3);
containment, which Babel leaves out, from `kg.io.cldr_regions`. A real graph, small and multilingual, that needs no
download. The CLDR says which currencies are tender today, so its facts are those of the installed Babel's CLDR.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io.cldr_regions import MEMBERS, REGIONS

if TYPE_CHECKING:
    from babel import Locale

__all__ = ["RELATIONS", "feed", "languages", "read"]

RELATIONS: Mapping[str, str] = {
    "contained_in": "contained in",
    "member_of": "member of",
    "uses_currency": "uses the currency",
    "used_currency": "formerly used the currency",
    "official_language": "official language",
    "regional_language": "official language in a part",
    "spoken_language": "language spoken without official status",
    "written_in": "written in",
    "mainly_spoken_in": "mainly spoken in",
    "located_in": "located in",
    "uses_time": "uses the time of",
}
_STATUS = {
    "official": "official_language",
    "de_facto_official": "official_language",
    "official_regional": "regional_language",
}
_PSEUDO = frozenset({"XA", "XB", "ZZ"})  # for testing software, and "unknown"
_YEARS = re.compile(r"\s*[((][^()()]*[0-9٠-٩۰-۹०-९০-৯][^()()]*[))]")  # "Russian Ruble (1991–1998)"

Fact = tuple[str, str, str]


def read(*, languages: Collection[str] | None = None) -> KnowledgeGraph:
    """Returns the CLDR's graph with names in `languages` (all of them, more than 200, if None).

    Types are territory, region, union, currency, language, script, city and time.

    Cost: about three seconds for all languages, most of it Babel opening its files.

    Example:
        ``graph = kg.io.cldr.read(languages=["en", "de", "zh"])``
    """
    builder = GraphBuilder(languages=languages)
    feed(builder)
    return builder.build()


def feed(builder: GraphBuilder) -> Report:
    """Adds the CLDR to `builder`."""
    from babel import Locale

    english = Locale.parse("en")
    facts = list(_facts(english))
    ends = dict.fromkeys(name for head, _, tail in facts for name in (head, tail))
    named = {entity for entity, _, _ in _labels(english, ends, english) if entity.rpartition("/")[2] not in _PSEUDO}
    facts = [fact for fact in facts if fact[0] in named and fact[2] in named]
    for fact in facts:
        builder.triple(*fact)
    entities = dict.fromkeys(name for head, _, tail in facts for name in (head, tail))
    for entity in entities:
        builder.type(entity, _type(entity))
    for relation, label in RELATIONS.items():
        builder.relation_label(relation, "en", label)
    labels = 0
    for language in languages():
        if builder.language(language) >= 0:
            locale = english if language == "en" else Locale.parse(language)
            for entity, label, preferred in _labels(locale, entities, english):
                builder.label(entity, language, label, preferred=preferred)
                labels += 1
    report = Report(
        source=f"Unicode CLDR {_global('cldr')['version']}",
        format="cldr",
        lines=len(facts),
        triples=len(facts),
        labels=labels,
        types=len(entities),
    )
    builder.reports.append(report)
    return report


def languages() -> list[str]:
    """Returns the languages that the CLDR names things in, sorted: "de", "zh", "zh_Hant" ... as Babel writes them."""
    from babel import Locale
    from babel.localedata import locale_identifiers

    found = []
    for identifier in sorted(locale_identifiers()):
        parts = identifier.split("_")
        regional = any(len(part) != 4 for part in parts[1:])  # a territory or variant only changes details
        if not regional and len(Locale.parse(identifier).territories) > 20:
            found.append(identifier)
    return found


def _facts(english: Locale) -> Iterator[Fact]:
    """Yields every fact, some about things without a name."""
    for relation, table in (("contained_in", REGIONS), ("member_of", MEMBERS)):
        for container, codes in table.items():
            yield from ((f"territory/{code}", relation, f"territory/{container}") for code in codes)
    yield from _currencies()
    for territory, spoken in sorted(_global("territory_languages").items()):
        for language, share in spoken.items():
            relation = _STATUS.get(share["official_status"], "spoken_language")
            yield f"territory/{territory}", relation, f"language/{language.split('_')[0]}"
    for language, likely in sorted(_global("likely_subtags").items()):
        if "_" not in language and language in english.languages:
            _, script, territory = likely.split("_")
            yield f"language/{language}", "written_in", f"script/{script}"
            yield f"language/{language}", "mainly_spoken_in", f"territory/{territory}"
    yield from _times(english)


def _currencies() -> Iterator[Fact]:
    """Yields currencies that are tender today, and those that were."""
    for territory, currencies in sorted(_global("territory_currencies").items()):
        now = {code for code, _, end, tender in currencies if tender and end is None}
        before = {code for code, _, _, tender in currencies if tender} - now
        yield from ((f"territory/{territory}", "uses_currency", f"currency/{code}") for code in sorted(now))
        yield from ((f"territory/{territory}", "used_currency", f"currency/{code}") for code in sorted(before))


def _times(english: Locale) -> Iterator[Fact]:
    """Yields where the time zones' cities lie, and the times that their territories use."""
    for territory, zones in sorted(_global("territory_zones").items()):
        for zone in zones:
            city = next(_names(f"city/{zone}", _tables(english), fallback=True))
            if "/" in zone and city != english.territories.get(territory):  # "Singapore" is both
                yield f"city/{zone}", "located_in", f"territory/{territory}"
            if zone in _global("meta_zones"):
                yield f"territory/{territory}", "uses_time", f"time/{_global('meta_zones')[zone]}"


def _labels(locale: Locale, entities: Collection[str], english: Locale) -> Iterator[tuple[str, str, bool]]:
    """Yields entity, name, and whether it is the preferred one, in one language."""
    tables = _tables(locale)
    for entity in entities:
        names = dict.fromkeys(_names(entity, tables, fallback=locale is english))
        code = "" if entity.startswith("city/") else entity.rpartition("/")[2]
        shown = [name for name in names if name and name != code]  # a code is no name
        yield from ((entity, name, order == 0) for order, name in enumerate(shown))


def _tables(locale: Locale) -> Mapping[str, Mapping[str, Any]]:
    """Returns Babel's tables of names by kind of entity."""
    return {
        "territory": locale.territories,
        "language": locale.languages,
        "script": locale.scripts,
        "currency": locale.currencies,
        "plural": locale._data["currency_names_plural"],  # Babel's own accessor wants a number
        "city": locale.time_zones,
        "time": locale.meta_zones,
    }


def _names(entity: str, tables: Mapping[str, Mapping[str, Any]], *, fallback: bool) -> Iterator[str]:
    """Yields the names of an entity in one language, the preferred one first.

    Args:
        fallback: name a city after its zone where the CLDR gives no name, as the CLDR prescribes for English.
    """
    kind, _, code = entity.partition("/")
    table = tables[kind]
    if kind == "city":
        zone = table.get(code) or table.get(_oldest().get(code, ""), {})  # the CLDR keeps the oldest of a zone's ids
        yield zone.get("city", "") or (code.rpartition("/")[2].replace("_", " ") if fallback else "")
    elif kind == "time":
        yield from (table.get(code) or {}).get("long", {}).values()
    elif name := table.get(code, ""):
        yield name
        if kind == "currency":
            yield _YEARS.sub("", name)
            yield from tables["plural"].get(code, {}).values()


@cache
def _oldest() -> Mapping[str, str]:
    return {new: old for old, new in _global("zone_aliases").items()}


def _type(entity: str) -> str:
    kind, _, code = entity.partition("/")
    if kind == "territory" and code in MEMBERS:
        return "union"
    return "region" if kind == "territory" and code in REGIONS else kind


def _global(name: Any) -> Mapping[str, Any]:
    from babel.core import get_global

    return get_global(name)
