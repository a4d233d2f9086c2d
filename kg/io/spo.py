"""K-BERT's `.spo` files: subject, predicate, object as words, one triple a line, between tabs.

    眼睛发红<TAB>类别<TAB>症状

The words are names and labels at once. Source: Liu et al., 2020 (K-BERT), `brain/kgs`.
"""

from __future__ import annotations

from pathlib import Path

from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io import tsv
from kg.io.journal import Journal, Progress

__all__ = ["feed", "read", "write"]


def read(path: str | Path, *, language: str = "zh", skip_bad: int = 0) -> KnowledgeGraph:
    """Returns the graph of a `.spo` file; see `feed`."""
    builder = GraphBuilder()
    feed(builder, path, language=language, skip_bad=skip_bad)
    return builder.build()


def feed(
    builder: GraphBuilder,
    path: str | Path,
    *,
    language: str = "zh",
    skip_bad: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Adds the triples of a file to `builder`, each word also as a label in `language`.

    Raises:
        FormatError: a line without three columns or with an empty one, unless `skip_bad` allows it.
    """
    journal = Journal(path, "spo", skip_bad=skip_bad, progress=progress)
    known: set[str] = set()
    for number, triple in tsv.triples(path, journal, commas=False):
        if not tsv.add(builder, journal, number, triple):
            continue
        for word in triple:
            if word not in known:
                known.add(word)
                journal.label(builder.label_any(word, language, word))
    report = journal.report()
    builder.reports.append(report)
    return report


def write(graph: KnowledgeGraph, path: str | Path, *, language: str | None = None) -> None:
    """Writes the triples as K-BERT reads them.

    Args:
        language: write labels in this language; the name itself where there is none, and everywhere if None.

    Raises:
        FormatError: a word holds a tab or a line end; or the file cannot be written.
    """
    if language is None:
        tsv.write(graph, path, commas=False)
        return
    entities = [graph.label(number, language) or name for number, name in enumerate(graph.entities)]
    relations = [graph.relation_label(number, language) or name for number, name in enumerate(graph.relation_names)]
    columns = (graph.heads.tolist(), graph.relations.tolist(), graph.tails.tolist())
    rows = (
        (entities[head], relations[relation], entities[tail]) for head, relation, tail in zip(*columns, strict=True)
    )
    tsv.write_rows(rows, path, commas=False)
