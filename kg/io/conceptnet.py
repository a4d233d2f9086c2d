"""ConceptNet's assertions: five columns between tabs, though the file is called `.csv`.

    /a/[/r/IsA/,/c/en/dog/n/,/c/en/animal/]<TAB>/r/IsA<TAB>/c/en/dog/n<TAB>/c/en/animal<TAB>{"weight": 2.0, ...}

| in the file                       | in the graph                                                                |
|-----------------------------------|-----------------------------------------------------------------------------|
| relation, start and end           | a triple of these names: "/c/en/dog/n" "/r/IsA" "/c/en/animal"              |
| the text of a concept             | its label in its language, "dog"; of a relation an English one, "is a"      |
| weight, dataset, license, sources | counted in the report: a triple has no place for them                       |

With languages chosen, an assertion is read if its concepts are in them; an end outside ConceptNet (a page of DBpedia)
has no language. `min_weight` leaves out what few sources say. Source: Speer, Chin and Havasi, 2017; https://github.com/commonsense/conceptnet5/wiki/Downloads
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from pathlib import Path

from kelm.data.files import damage
from kelm.data.json_text import json_object
from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io.journal import Journal, Progress
from kg.io.source import lines, opened

__all__ = ["feed", "holds", "read"]

_START = b"/a/["
_CONCEPT, _RELATION = "/c/", "/r/"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_REMEDY = "Copy the file again, or allow bad lines to be skipped (skip_bad, --skip-bad)."


def holds(path: str | Path) -> bool:
    """Whether a file begins like ConceptNet's assertions; False for one that cannot be read."""
    try:
        with opened(path) as (file, _):
            return file.peek(len(_START)).startswith(_START)
    except FormatError:
        return False
    except Exception as error:
        if damage(error, path, 1):  # whoever reads it will say so
            return False
        raise


def read(
    path: str | Path, *, languages: Collection[str] | None = None, min_weight: float = 0.0, skip_bad: int = 0
) -> KnowledgeGraph:
    """Returns the graph of the assertions between concepts of `languages` (all if None); see `feed`."""
    builder = GraphBuilder(languages=languages)
    feed(builder, path, min_weight=min_weight, skip_bad=skip_bad)
    return builder.build()


def feed(
    builder: GraphBuilder,
    path: str | Path,
    *,
    min_weight: float = 0.0,
    skip_bad: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Adds the assertions of a file to `builder`.

    Args:
        min_weight: leave out assertions of a lower weight; ConceptNet's are 0.1 to some tens, 1.0 a single source.

    Raises:
        FormatError: a line is no assertion, unless `skip_bad` allows it.
    """
    journal = Journal(path, "conceptnet", skip_bad=skip_bad, progress=progress)
    labeled: set[str] = set()
    for number, line in lines(path, journal):
        if not line.strip():
            journal.drop("blank line")
            continue
        try:
            relation, ends, weight = _assertion(line, path, number)
        except FormatError as error:
            journal.bad(error, line=number, reason="no assertion")
            continue
        if any(builder.language(_language(end)) < 0 for end in ends):
            journal.drop("assertion in an unwanted language")
        elif weight < min_weight:
            journal.drop("assertion of a low weight")
        else:
            builder.triple(ends[0], relation, ends[1])
            journal.counts["triples"] += 1
            journal.drop("weight and sources of an assertion")
            for name in (*ends, relation):
                if name not in labeled:
                    labeled.add(name)
                    _label(builder, name, journal)
    report = journal.report()
    builder.reports.append(report)
    return report


def _assertion(line: str, path: str | Path, number: int) -> tuple[str, tuple[str, str], float]:
    """Returns relation, start and end, and weight."""
    fields = line.split("\t")
    if len(fields) != 5:
        problem = f"expected 5 columns (assertion, relation, start, end, JSON), found {len(fields)}"
        raise FormatError(problem, remedy=_REMEDY)
    _, relation, start, end, about = fields
    if not relation.startswith(_RELATION) or not start.strip() or not end.strip():
        raise FormatError(f'expected a relation "/r/..." and two ends, found {fields[1:4]}', remedy=_REMEDY)
    weight = json_object(about, path, number).get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not abs(weight) < math.inf:
        raise FormatError(f"expected a number, found {weight!r}", field="weight", remedy=_REMEDY)
    return relation, (start, end), weight


def _language(name: str) -> str:
    return name.split("/")[2] if name.startswith(_CONCEPT) else ""


def _label(builder: GraphBuilder, name: str, journal: Journal) -> None:
    if name.startswith(_RELATION):
        language, text = "en", _WORDS.sub(" ", name.removeprefix(_RELATION)).lower()
    else:
        parts = name.split("/")
        language, text = _language(name), parts[3].replace("_", " ") if len(parts) > 3 and parts[1] == "c" else ""
    if not text.strip():
        journal.drop("name without a label")
        return
    journal.label((builder.relation_label if name.startswith(_RELATION) else builder.label)(name, language, text))
