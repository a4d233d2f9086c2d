"""Build, look at, embed, evaluate and link with a knowledge graph.

kelm graph build facts.nt.gz labels.ttl --out graph      kelm graph info graph
kelm graph show graph Berlin                             kelm graph export graph --to graph.ttl
kelm graph embed graph --out vectors                     kelm graph evaluate vectors graph --test test.tsv
kelm graph link graph text.txt                           kelm graph export graph --to graph.ttl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelm.errors import InputError

if TYPE_CHECKING:
    from kg.graph import GraphBuilder, KnowledgeGraph

__all__ = ["graph"]

graph = typer.Typer(
    name="graph",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Build, look at, embed, evaluate and link with a knowledge graph.",
)

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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@graph.command()
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
    ] = "head,relation,tail",
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


@graph.command()
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

    opened = _open(source)
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


@graph.command()
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

    opened = _open(source)
    description = describe(opened, found(opened, entity), language=language, neighbors=neighbors)
    if as_json:
        print(json.dumps(description.as_json(), ensure_ascii=False, indent=1))
        return
    show_entity(description, relations=relations)


@graph.command()
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

    opened = _open(source)
    left_behind = io.write(opened, to, format=format, language=language)
    if labels is not None:
        names.write(opened, labels)
        left_behind.pop("labels", None)
    print(f"{to}: {len(opened):,} triples")
    for kind, count in left_behind.items():
        print(f"    left out: {count:,} {kind}", file=sys.stderr)


@graph.command()
def embed(
    source: Annotated[str, typer.Argument(help="A saved graph, or any source that build reads.")],
    out: Annotated[Path, typer.Option(help="The folder to write: the model, and the table of vectors by name.")],
    recipe: Annotated[
        str | None, typer.Option(help="A shipped recipe's name, such as complex-codex-s, or a TOML file of options.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change an option; may be repeated.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--valid", "--validation", help="A source of held-out triples to stop by.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was killed.")] = False,
    pictures: Annotated[str | None, typer.Option(metavar="MAP", help="Draw pictures, the map by pca or umap.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Learn a vector for each entity and relation.

    Of a folder with train, valid and test files, such as CoDEx's codex-s, train is learned and valid is what training
    stops by, unless --valid names another source. Ctrl-C saves what was learned so far and leaves with code 130.
    Started by torchrun or accelerate launch, all models but the default TransE train in all their processes.

    Example: kelm graph embed graph --out vectors --set width=100 --set epochs=20
    """
    from kg.embeddings.command import TABLE
    from kg.embeddings.command import embed as run
    from kg.embeddings.entity_map import check_projection
    from kg.embeddings.processes import Processes
    from kg.embeddings.recipe_files import located, read_recipe
    from kg.io import splits
    from kg.terminal import epochs

    options = read_recipe(recipe, change or ())
    drawn = None if pictures is None else check_projection(pictures)
    parts = splits.read(source)
    opened = _open(source) if parts is None else parts.train
    checked = _open(validation) if validation is not None else None if parts is None else parts.valid
    processes = Processes.started()
    with located(recipe, change or ()), epochs(shown=processes.is_first and not quiet) as progress:
        run(opened, out, options, validation=checked, progress=progress, resume=resume, pictures=drawn)
    processes.leave()
    if processes.is_first:
        print(f"{out}: {opened.entity_count:,} entities, {opened.relation_count:,} relations; vectors in {out / TABLE}")


@graph.command()
def evaluate(
    vectors: Annotated[Path, typer.Argument(help="The folder that embed wrote.")],
    source: Annotated[str, typer.Argument(help="The graph that was embedded.")],
    test: Annotated[
        str | None, typer.Option(help="A source of held-out triples; the test file of a source with splits.")
    ] = None,
    known: Annotated[
        list[str] | None,
        typer.Option(help="A further source of known triples, such as the validation split; may be repeated."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Rank among all entities, known answers included.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rank held-out triples among all corrupted ones, filtered, with realistic ties.

    Of a folder with train, valid and test files, test is ranked and all three are known.

    Example: kelm graph evaluate vectors graph --test test.tsv --known valid.tsv
    """
    from kg.embeddings.command import evaluate as run
    from kg.embeddings.command import open_embedding
    from kg.io import splits
    from kg.terminal import show_ranking

    parts = splits.read(source)
    judged = _open(test) if test is not None else None if parts is None else parts.test
    if judged is None:
        raise InputError("there are no triples to rank", field="--test", remedy="Name a source of held-out triples.")
    held_out = [] if parts is None else [part for part in (parts.valid, parts.test) if part is not None]
    found = run(
        open_embedding(vectors),
        _open(source) if parts is None else parts.train,
        judged,
        known=[*held_out, *(_open(one) for one in known or ())],
        filtered=not raw,
    )
    if as_json:
        print(json.dumps(found, indent=1))
        return
    show_ranking(found)


@graph.command()
def link(
    source: Annotated[str, typer.Argument(help="A saved graph, or any source that build reads.")],
    text: Annotated[
        Path | None, typer.Argument(help='A UTF-8 text file, a text a line; standard input if none or "-".')
    ] = None,
    language: Annotated[str | None, typer.Option(help="The texts' language; names of all languages if none.")] = None,
    min_length: Annotated[int, typer.Option(min=1, help="Shorter names are left out.")] = 2,
    candidates: Annotated[int, typer.Option(min=0, help="Print up to this many candidates of each mention.")] = 5,
    overlapping: Annotated[
        bool, typer.Option("--overlapping", help="Find all names, also those within and across others.")
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many processes link; more than one pays from some 40 million characters, and keeps whoever types "
            "waiting.",
        ),
    ] = 1,
    html: Annotated[
        Path | None, typer.Option(help="Write a page of the texts with their mentions marked instead of JSON lines.")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="A further graph, whose entities are found as well; may be repeated.")
    ] = None,
    counts: Annotated[
        list[Path] | None,
        typer.Option(
            help='Linked text, JSON lines with "text" and "mentions" as printed here: names and how probable each '
            "entity of a name is are learned from it; may be repeated."
        ),
    ] = None,
) -> None:
    """Find the graph's entities in text and print JSON lines.

    Each line holds the text, its mentions as [first character, one after the last, entity], the scores of these
    entities, and for each mention its candidates as [entity, probability], best first.

    Example: kelm graph link graph text.txt --language en > linked.jsonl
    """
    from kg.linking.command import link as run
    from kg.linking.names import AliasOptions

    path = None if text == Path("-") else text
    if path is not None and not path.is_file():
        raise InputError("cannot be opened: no such file", path=path, remedy="Check the path.")
    run(
        {one: _open(one) for one in (source, *(also or ()))},
        path,
        language,
        AliasOptions(min_length=min_length, matches="all" if overlapping else "longest"),
        candidates=candidates,
        page=html,
        counts=counts or (),
        processes=processes,
    )


def _choose(builder: GraphBuilder, sources: list[str], query: str, **how: Any) -> None:
    from kg.io import sparql

    sparql.feed(builder, sources, query=sparql.query_text(query), **how)


def _open(source: str) -> KnowledgeGraph:
    """Returns a graph from any source; a saved one is memory-mapped."""
    from kg import io
    from kg.graph import GraphBuilder, KnowledgeGraph
    from kg.storage import MANIFEST
    from kg.terminal import reading

    if (Path(source) / MANIFEST).is_file():
        return KnowledgeGraph.open(source)
    builder = GraphBuilder()
    with reading(shown=True) as bar:
        io.feed(builder, source, progress=bar(source))
    return builder.build()


def _codes(languages: str | None) -> list[str] | None:
    if languages is None:
        return None
    codes = [code.strip() for code in languages.split(",")]
    if not all(codes):
        raise InputError(f'--languages: expected codes between commas, found "{languages}"', remedy="Example: en,de.")
    return codes
