"""How `kelm graph` looks in a terminal: progress on standard error, tables on standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.tree import Tree

from kg.entity import Description, Named, Neighbors
from kg.labels import DESCRIPTION
from kg.leakage import Leakage
from kg.report import Report
from kg.statistics import Statistics

if TYPE_CHECKING:
    from kg.embeddings.progress import Progress as Epoch
    from kg.enrich.shown_tree import ShownTree

__all__ = [
    "epochs",
    "reading",
    "show_entity",
    "show_leakage",
    "show_ranking",
    "show_reports",
    "show_statistics",
    "show_tree",
]


@contextmanager
def reading(*, shown: bool) -> Iterator[Callable[[object], Callable[[int, float], None]]]:
    """Shows bars of sources being read, with lines a second; gives each source's callback by its name."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=not shown) as bars:

        def bar(source: object) -> Callable[[int, float], None]:
            task = bars.add_task(str(source), total=1.0, rate="")
            return lambda lines, share: _advance(bars, task, lines, share)

        yield bar


def _advance(bars: Progress, task: TaskID, lines: int, share: float) -> None:
    seconds = bars.tasks[task].elapsed or 0.0
    rate = f"{lines:,} lines" + (f", {lines / seconds:,.0f}/s" if seconds > 0 else "")
    bars.update(task, completed=share, rate=rate)


@contextmanager
def epochs(*, shown: bool) -> Iterator[Callable[[Epoch], None]]:
    """Shows a bar of epochs, with loss, speed, validation and the time left."""
    columns = (TextColumn("epoch {task.fields[place]}"), BarColumn(), TextColumn("{task.description}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, *times, console=Console(stderr=True), disable=not shown) as bars:
        task = bars.add_task("", total=None, place=1)

        def advance(epoch: Epoch) -> None:
            mrr = "" if epoch.mrr is None else f", validation MRR {epoch.mrr:.3f}"
            told = f"loss {epoch.loss:.4g}, {epoch.triples_per_second:,.0f} triples/s{mrr}"
            place = f"{epoch.epoch}/{epoch.epochs}"
            bars.update(task, completed=epoch.epoch, total=epoch.epochs, description=told, place=place)

        yield advance


def show_reports(reports: Sequence[Report]) -> None:
    """Prints what was read of each source, what was dropped and why, and the first bad lines, to standard error."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    for report in reports:
        counts = {name: getattr(report, name) for name in ("triples", "labels", "types", "attributes")}
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        console.print(f"{report.source} ({report.format}): {report.lines:,} lines, {told or 'nothing'}")
        for reason, count in report.dropped.items():
            console.print(f"    left out: {count:,} {reason}")
        for message in report.bad:
            console.print(f"    {message}")


def show_ranking(found: Mapping[str, Any]) -> None:
    """Prints what `kg.embeddings.command.evaluate` found, and how triples were classified if they were."""
    console = Console()
    title = f"{found['triples']:,} triples, {found['left_out']:,} left out"
    rows = {side: found[side] for side in ("both", "head", "tail")}
    for number, edge in enumerate(("from", "to")):
        rows[f"95 % {edge}"] = {name: span[number] for name, span in found["intervals"].items()}
    console.print(_figures(title, "side", rows))
    if "cardinality" in found:
        rows = {f"{kind}, {side}": row for kind, sides in found["cardinality"].items() for side, row in sides.items()}
        console.print(_figures("by cardinality of the relation", "heads-tails, side", rows, without="mean_rank"))
    if "relation" in found:
        ordered = sorted(found["relation"].items(), key=lambda one: -one[1]["triples"])
        console.print(_figures("by relation", "relation", dict(ordered), without="mean_rank"))
    if "classification" in found:
        console.print(_figures("true or false", "", {"test": found["classification"]}))


def _figures(title: str, what: str, rows: Mapping[str, Mapping[str, float]], *, without: str = "") -> Table:
    """Returns a table of figures by name; a figure that a row lacks is empty."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row if name != without))
    table = _table(title, [what], columns)
    table.columns[0].no_wrap = True
    for name, row in rows.items():
        table.add_row(name, *(_figure(row[column]) if column in row else "" for column in columns))
    return table


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if abs(value) <= 1 else f"{value:,.1f}"


def show_entity(found: Description, *, relations: int) -> None:
    """Prints an entity as a tree: names, types, literals, and up to `relations` relations in each direction."""
    tree = Tree(f"[bold]{_named(found.entity)}[/bold]")
    for language, names in found.names.items():
        tree.add(f"[dim]{escape(language or 'no language')}[/dim]  {escape(', '.join(names))}")
    for kind in found.types:
        tree.add(f"[dim]type[/dim]  {_named(kind)}")
    for property, text, language, datatype in sorted(found.attributes, key=lambda one: one.property != DESCRIPTION):
        qualifier = escape(" ".join(filter(None, (language and f"@{language}", datatype))))
        tree.add(f"[dim]{escape(property)}[/dim]  {escape(text)}" + (f" [dim]{qualifier}[/dim]" if qualifier else ""))
    for arrow, neighbors in (("→", found.leaving), ("←", found.reaching)):
        _add_neighbors(tree, arrow, neighbors[:relations])
        if more := neighbors[relations:]:
            count = sum(one.count for one in more)
            tree.add(f"[dim]{arrow} {len(more):,} more relations, {count:,} triples[/dim]")
    Console(highlight=False).print(tree)


def _add_neighbors(tree: Tree, arrow: str, neighbors: Sequence[Neighbors]) -> None:
    for one in neighbors:
        branch = tree.add(f"{arrow} {_named(one.relation)} [dim]({one.count:,})[/dim]")
        for end in one.shown:
            branch.add(_named(end))
        if (rest := one.count - len(one.shown)) > 0:
            branch.add(f"[dim]{rest:,} more[/dim]")


def _named(one: Named) -> str:
    return escape(one.name) if one.label in ("", one.name) else f"{escape(one.name)} [green]{escape(one.label)}[/green]"


def show_tree(found: ShownTree) -> None:
    """Prints a sentence with its branches, what there was no room for, and the tokens as the encoder reads them."""
    console = Console(highlight=False)
    kept = {id(twig) for twig in found.kept}
    tree = Tree(f"[bold]{escape(found.tree.text)}[/bold]")
    for number, mention in enumerate(found.mentions):
        place = tree.add(f"[green]{escape(mention.text)}[/green] [dim]{escape(mention.entity or '')}[/dim]")
        for twig in found.twigs:
            if twig.mention == number:
                text = escape(twig.branch.text)
                place.add(text if id(twig) in kept else f"[dim strike]{text}[/dim strike] [dim]no room[/dim]")
    if not found.mentions:
        tree.add("[dim]no mention of an entity of the graph[/dim]")
    console.print(tree)
    table = _table("tokens", ["token"], ("place", "position", "branch", "mention"))
    for token in found.tokens:
        numbers = (str(token.branch or ""), "" if token.mention < 0 else str(token.mention))
        table.add_row(escape(token.piece), str(token.hard), str(token.soft), *numbers)
    console.print(table)


def show_statistics(found: Statistics, *, relations: int) -> None:
    """Prints the tables of `kelm graph info`, those with rows."""
    console = Console()
    for table in (_sizes(found), _degrees(found), _relations(found, relations), _coverage(found)):
        if table.row_count:
            console.print(table)


def show_leakage(part: str, found: Leakage, *, pairs: int) -> None:
    """Prints what train tells of the triples of a held-out part, and up to `pairs` pairs of relations that do."""
    console = Console()
    table = _table(f"{part}: known from train", [""], ["", ""], header=False)
    rows = {
        "triples": found.triples,
        "with an unknown entity or relation": found.unknown,
        "in train as they are": found.repeated,
        "joined in train the other way round": found.reversed,
        "joined in train by another relation": found.joined,
        "given away by suspicious relations": found.given_away,
    }
    for name, count in rows.items():
        table.add_row(name, f"{count:,}", f"{100 * count / max(found.triples, 1):.1f} %")
    console.print(table)
    if not found.pairs[:pairs]:
        return
    title = f"suspicious relations ({min(pairs, len(found.pairs))} of {len(found.pairs)})"
    numbers = ("pairs shared", "share", "of the other", f"given away in {part}")
    table = _table(title, ("kind", "relation", "other"), numbers)
    for one in found.pairs[:pairs]:
        shares = (f"{100 * share:.0f} %" for share in (one.share, one.other_share))
        other = "" if one.kind == "symmetric" else one.other
        table.add_row(one.kind, one.relation, other, f"{one.shared:,}", *shares, f"{one.given_away:,}")
    console.print(table)


def _sizes(found: Statistics) -> Table:
    table = _table("size", [""], [""], header=False)
    rows = {
        "triples": found.triples,
        "entities": found.entities,
        "in no triple": found.lonely,
        "connected components": found.components,
        "in the largest component": found.largest,
        "with a type": found.typed,
        "relations": found.relations,
        "types": found.types,
        "literals": found.attributes,
        "triples read more than once": found.repeated,
        "triples from an entity to itself": found.loops,
        "triples whose reverse is there": found.mirrored,
        "triples beside another relation": found.parallel,
        "names of several entities": found.ambiguous,
    }
    for name, count in rows.items():
        if count is not None:
            table.add_row(name, f"{count:,}")
    return table


def _degrees(found: Statistics) -> Table:
    table = _table("triples of an entity", ["degree"], ("mean", "median", "90 %", "most"))
    table.add_column("of")
    for name, degrees in (("as head", found.leaving), ("as tail", found.reaching), ("as either", found.degree)):
        numbers = (f"{degrees.mean:.2f}", f"{degrees.median:g}", f"{degrees.ninetieth:g}", f"{degrees.most:,}")
        table.add_row(name, *numbers, degrees.most_entity)
    return table


def _relations(found: Statistics, shown: int) -> Table:
    title = f"relations ({min(shown, found.relations)} of {found.relations})"
    table = _table(title, ("relation", "label"), ("triples", "share", "heads", "tails"))
    for one in found.relation_counts[:shown]:
        share = f"{100 * one.triples / max(found.triples, 1):.1f} %"
        table.add_row(one.name, one.label, f"{one.triples:,}", share, f"{one.heads:,}", f"{one.tails:,}")
    return table


def _coverage(found: Statistics) -> Table:
    numbers = ("entities with a label", "with any name", "share", "names", "relations")
    table = _table("names", ["language"], numbers)
    for one in found.coverage:
        share = f"{100 * one.named / max(found.entities, 1):.1f} %"
        counts = (f"{one.labeled:,}", f"{one.named:,}", share, f"{one.names:,}", f"{one.relations:,}")
        table.add_row(one.language or "(none)", *counts)
    return table


def _table(title: str, words: Sequence[str], numbers: Sequence[str], *, header: bool = True) -> Table:
    """Returns a table with columns of words, and then of numbers, which end below each other."""
    table = Table(*words, show_header=header, title=title, title_justify="left")
    for column in numbers:
        table.add_column(column, justify="right")
    return table
