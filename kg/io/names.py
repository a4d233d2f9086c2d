"""Tables of names: labels and aliases of entities, relations and types, one a line, between tabs or as CSV.

    Q64<TAB>en<TAB>Berlin                           the first of a name and language is preferred
    Q64<TAB>en<TAB>Berlin, Germany<TAB>alias        a fourth column may say label or alias

They stand beside tables of triples (`kg.io.tsv`), which name entities and say nothing of what texts call them.
"""

from __future__ import annotations

from pathlib import Path

from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io import tsv
from kg.io.journal import Journal, Progress

__all__ = ["feed", "write"]

_REMEDY = "Correct the line, or allow bad lines to be skipped (skip_bad, --skip-bad)."


def feed(
    builder: GraphBuilder,
    path: str | Path,
    *,
    only_known: bool = True,
    aliases: bool = False,
    skip_bad: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Adds labels from lines of name, language, text and perhaps "label" or "alias".

    Without the fourth column the first label of a name and language is preferred and the others are aliases.

    Args:
        aliases: all that have no fourth column are aliases.
        only_known: leave out names that no triple, type or label of the builder has; else they become entities.

    Raises:
        FormatError: a wrong number of columns, a text without a visible character, or the same label twice.
    """
    journal = Journal(path, "labels", skip_bad=skip_bad, progress=progress)
    seen: set[tuple[str, str, str]] = set()
    named: set[tuple[str, str]] = set()
    for number, fields in tsv.rows(path, journal):
        if len(fields) not in (3, 4) or fields[3:] not in ([], ["label"], ["alias"]):
            expected = "3 columns (name, language, text), or a fourth that says label or alias"
            journal.bad(
                FormatError(f"expected {expected}, found {fields}", remedy=_REMEDY), line=number, reason="wrong columns"
            )
            continue
        name, language, text = fields[:3]
        if only_known and not builder.has(name):
            journal.drop("label of an unknown name")
            continue
        if (name, language, text) in seen:
            problem = f'the label "{text}" of "{name}" in "{language}" was given before'
            journal.bad(FormatError(problem, field="text", remedy=_REMEDY), line=number, reason="duplicate label")
            continue
        seen.add((name, language, text))
        preferred = fields[3] == "label" if len(fields) == 4 else not aliases and (name, language) not in named
        named.add((name, language))
        try:
            kept = builder.label_any(name, language, text, preferred=preferred)
        except FormatError as error:
            journal.bad(error, line=number, reason="blank label")
        else:
            journal.label(kept)
    report = journal.report()
    builder.reports.append(report)
    return report


def write(graph: KnowledgeGraph, path: str | Path) -> None:
    """Writes the labels of entities, relations and types as `feed` reads them."""
    owners = (
        (graph.labels.entities, graph.entities),
        (graph.labels.relations, graph.relation_names),
        (graph.labels.types, graph.types.names),
    )
    rows: dict[tuple[str, str, str, str], None] = {}
    for table, vocabulary in owners:
        names = list(vocabulary)
        for label in table.each():
            kind = "label" if label.preferred else "alias"
            rows.setdefault((names[label.owner], label.language, label.text, kind))
    tsv.write_rows(rows, path)
