"""`kelm graph build`, `info`, `show` and `export`: graphs in, a look at them, graphs out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelm.errors import InputError
from kg.cli.sources import AsJson, opened_graph

if TYPE_CHECKING:
    from kg.graph import GraphBuilder

__all__ = ["build", "export", "info", "show"]

_COLUMNS = "head,relation,tail"

Languages = Annotated[
    str | None,
    typer.Option(help="Keep labels in these languages only, such as en,de,zh-hans; all if not given."),
]
SkipBad = Annotated[int, typer.Option(min=0, help="Leave out up to this many bad lines of a file; 0 is strict.")]
Format = Annotated[
    str | None,
    typer.Option(
        help="The files' format where their names do not tell: tsv, csv, spo, nt, ttl, nq, trig, rdf, jsonld, "
        "wikidata, lmf or conceptnet."
    ),
]


def build(
    sources: Annotated[list[str], typer.Argument(help="Files or folders; see the list above.")],
    out: Annotated[Path, typer.Option(help="The folder to write; a graph that is there is replaced.")],
    languages: Languages = None,
    skip_bad: SkipBad = 0,
    strict: Annotated[bool, typer.Option("--strict", help="The same as --skip-bad 0, the default.")] = False,
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="A table of names to add: name, language, text and perhaps label or alias; may be repeated."),
    ] = None,
    aliases: Annotated[
        list[Path] | None, typer.Option(help="The same of further names, none of them preferred; may be repeated.")
    ] = None,
    format: Format = None,
    columns: Annotated[
        str,
        typer.Option(
            help='What the columns of tables hold, in their order, "-" for one to ignore; or by names in the header: '
            "head=subject,relation=predicate,tail=object."
        ),
    ] = _COLUMNS,
    header: Annotated[bool, typer.Option("--header", help="The first line of tables names the columns.")] = False,
    sparql: Annotated[
        str | None,
        typer.Option(help="A query, or a file of one, that chooses from RDF: SELECT ?s ?p ?o WHERE ... or CONSTRUCT."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress and no report.")] = False,
) -> None:
    """Read graphs of any format into one folder that opens at once.

    Files: .tsv .txt .csv, .spo (K-BERT), .nt .ttl .nq .trig .rdf .owl .jsonld, .json (Wikidata's dump), .xml
    (wordnets), ConceptNet's .csv, each also .gz .bz2 .xz .zst.
    Folders: a graph saved before, X-FACTR, CoDEx, WordNet, FB15k-237, train.txt with valid.txt and test.txt. Data sets
    of PyKEEN: pykeen:nations. A bad line ends the reading unless --skip-bad allows it.

    Example: kelm graph build facts.nt.gz labels.ttl --out graph --languages en,de
    """
    from kg import io
    from kg.graph import GraphBuilder
    from kg.io import names
    from kg.terminal import reading, show_reports

    if strict and skip_bad:
        raise InputError("--strict and --skip-bad contradict each other", remedy="Give one of them.")
    if (header or columns != _COLUMNS) and (sparql is not None or not any(io.is_table(one, format) for one in sources)):
        raise InputError("--columns and --header speak of tables, and no source is one", remedy="Leave them out.")
    builder = GraphBuilder(languages=_codes(languages))
    with reading(shown=not quiet) as bar:
        if sparql is None:
            how: dict[str, Any] = {"format": format, "columns": columns.split(","), "header": header}
            for source in sources:
                io.feed(builder, source, **how, skip_bad=skip_bad, progress=bar(source))
        else:
            _choose(builder, sources, sparql, syntax=format, skip_bad=skip_bad, progress=bar("query"))
        for path, further in (*((path, False) for path in labels or ()), *((path, True) for path in aliases or ())):
            names.feed(builder, path, aliases=further, skip_bad=skip_bad, progress=bar(path))
    built = builder.build()
    built.save(out)
    if not quiet:
        show_reports(built.reports)
    print(f"{out}: {len(built):,} triples, {built.entity_count:,} entities, {built.relation_count:,} relations")


def info(
    source: Annotated[str, typer.Argument(help="A saved graph, or any source that build reads.")],
    relations: Annotated[int, typer.Option(min=0, help="How many of the most frequent relations to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show counts, degrees, relations, components, label coverage by language, and repetitions.

    Of a folder with train, valid and test files also what train tells of the held-out triples: reverse, symmetric and
    duplicate relations that give them away.

    Example: kelm graph info graph --relations 5
    """
    from kg.io import splits
    from kg.leakage import leakage
    from kg.statistics import statistics
    from kg.terminal import show_leakage, show_statistics

    opened = opened_graph(source)
    found = statistics(opened)
    parts = splits.read(source) if splits.holds(source) else None
    held_out = {} if parts is None else {"valid": parts.valid, "test": parts.test}
    leaks = {name: leakage(parts.train, part) for name, part in held_out.items() if parts and part is not None}
    if as_json:
        reports = [report.as_json() for report in opened.reports]
        facts = {**found.as_json(), "fingerprint": opened.fingerprint(), "reports": reports}
        facts["leakage"] = {name: leak.as_json() for name, leak in leaks.items()}
        print(json.dumps(facts, ensure_ascii=False, indent=1))
        return
    show_statistics(found, relations=relations)
    for name, leak in leaks.items():
        show_leakage(name, leak, pairs=relations)


def show(
    source: Annotated[str, typer.Argument(help="A saved graph, or any source that build reads.")],
    entity: Annotated[str, typer.Argument(help="The entity's name, or a label or an alias of it in any language.")],
    language: Annotated[str, typer.Option(help="The language of the labels shown, where there are any.")] = "en",
    neighbors: Annotated[int, typer.Option(min=0, help="How many neighbors to list of each relation.")] = 5,
    relations: Annotated[int, typer.Option(min=0, help="How many relations to list in each direction.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what a graph says of an entity: names, types, literals, neighbors by relation.

    Example: kelm graph show graph Berlin --neighbors 3
    """
    from kg.entity import describe, found
    from kg.terminal import show_entity

    opened = opened_graph(source)
    description = describe(opened, found(opened, entity), language=language, neighbors=neighbors)
    if as_json:
        print(json.dumps(description.as_json(), ensure_ascii=False, indent=1))
        return
    show_entity(description, relations=relations)


def export(
    source: Annotated[str, typer.Argument(help="A saved graph, or any source that build reads.")],
    to: Annotated[Path, typer.Option(help="The file to write; its name tells the format, .gz and the like compress.")],
    format: Annotated[
        str | None,
        typer.Option(
            help="The format where the file's name does not tell: tsv, csv, spo, nt, ttl, nq, trig, rdf or jsonld."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A table to write beside it: name, language, text, and label or alias.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Write .spo in words of this language, as K-BERT expects, instead of names.")
    ] = None,
) -> None:
    """Write a graph as a file for other tools.

    RDF (.nt .ttl .nq .trig .rdf .jsonld) holds triples, types, labels and attributes, tables and .spo the triples
    alone; what is left out is counted.

    Example: kelm graph export graph --to graph.ttl.gz
    """
    from kg import io
    from kg.io import names

    if language is not None and "spo" not in (format, *(ending[1:] for ending in to.suffixes)):
        raise InputError("only .spo is written in words", field="--language", remedy="Leave it out, or write .spo.")
    opened = opened_graph(source)
    left_behind = io.write(opened, to, format=format, language=language)
    if labels is not None:
        names.write(opened, labels)
        left_behind.pop("labels", None)
    print(f"{to}: {len(opened):,} triples")
    for kind, count in left_behind.items():
        print(f"    left out: {count:,} {kind}", file=sys.stderr)


def _choose(builder: GraphBuilder, sources: list[str], query: str, **how: Any) -> None:
    from kg.io import sparql

    sparql.feed(builder, sources, query=sparql.query_text(query), **how)


def _codes(languages: str | None) -> list[str] | None:
    if languages is None:
        return None
    codes = [code.strip() for code in languages.split(",")]
    if not all(codes):
        raise InputError(f'--languages: expected codes between commas, found "{languages}"', remedy="Example: en,de.")
    return codes
