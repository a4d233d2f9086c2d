"""`kelm graph link`: the entities that a text names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelm.errors import InputError
from kg.cli.sources import opened_graph

if TYPE_CHECKING:
    from kg.graph import KnowledgeGraph
    from kg.linking.alias import AliasLinker

__all__ = ["link"]

SAVED = ".safetensors"  # a file of names ends so

Source = Annotated[str, typer.Argument(help="A saved graph, any source that build reads, or names saved by --save.")]
Text = Annotated[Path | None, typer.Argument(help='A UTF-8 text file, a text a line; standard input if none or "-".')]
Language = Annotated[str | None, typer.Option(help="The texts' language; names of all languages if none.")]
MinLength = Annotated[
    int | None,
    typer.Option(min=1, help="Shorter names are left out; 3, and one less for capitals and Chinese characters."),
]
FoldCase = Annotated[bool, typer.Option("--fold-case", help='Find "Paris" in "paris", and "US" in "us".')]
FoldMarks = Annotated[bool, typer.Option("--fold-marks", help='Find "café" in "cafe", and the like.')]
Stop = Annotated[Path | None, typer.Option(help="A text file of names that are never found, one a line.")]
Overlapping = Annotated[
    bool, typer.Option("--overlapping", help="Find all names, also those within and across others.")
]
Also = Annotated[
    list[str] | None, typer.Option(help="A further graph, whose entities are found as well; may be repeated.")
]
Counts = Annotated[
    list[Path] | None,
    typer.Option(
        help='Linked text, JSON lines with "text" and "mentions" as printed here: names and how probable each '
        "entity of a name is are learned from it; may be repeated."
    ),
]
Reader = Annotated[
    Path | None,
    typer.Option(help="A checkpoint that reads the text and what the graph says of entities, to choose between them."),
]
Vectors = Annotated[
    Path | None, typer.Option(help="A folder to keep what the checkpoint makes of the entities for the next time.")
]
Nothing = Annotated[float | None, typer.Option(help='The cosine at which "no entity" is as likely as a fitting one.')]
Coherence = Annotated[
    float, typer.Option(min=0.0, help="How much it counts that a text's entities are related; 4 is usual.")
]
Threshold = Annotated[float, typer.Option(min=0.0, help="Link to nothing where no entity is more probable than this.")]
Candidates = Annotated[int, typer.Option(min=0, help="Print up to this many candidates of each mention.")]
Processes = Annotated[
    int,
    typer.Option(
        min=1,
        help="How many processes link; more than one pays from some 40 million characters, and keeps whoever types "
        "waiting.",
    ),
]
Page = Annotated[
    Path | None, typer.Option(help="Write a page of the texts with their mentions marked instead of JSON lines.")
]
Save = Annotated[
    Path | None,
    typer.Option(
        help=f"Keep the names in a file, which ends with {SAVED} and opens at once; no text is linked if none is named."
    ),
]


def link(
    source: Source,
    text: Text = None,
    language: Language = None,
    min_length: MinLength = None,
    fold_case: FoldCase = False,
    fold_marks: FoldMarks = False,
    stop: Stop = None,
    overlapping: Overlapping = False,
    also: Also = None,
    counts: Counts = None,
    encoder: Reader = None,
    vectors: Vectors = None,
    nothing: Nothing = None,
    coherence: Coherence = 0.0,
    threshold: Threshold = 0.0,
    candidates: Candidates = 5,
    processes: Processes = 1,
    html: Page = None,
    save: Save = None,
) -> None:
    """Find the graph's entities in text and print JSON lines.

    Each line holds the text, its mentions as [first character, one after the last, entity], the scores of these
    entities, and for each mention its candidates as [entity, probability], best first.

    Example: kelm graph link graph text.txt --language en > linked.jsonl
    """
    from kg.linking.command import Choice
    from kg.linking.command import link as run

    path = None if text == Path("-") else text
    if path is not None and (path.is_dir() or not path.exists()):
        problem = "is a folder, not a text" if path.is_dir() else "cannot be opened: no such file"
        raise InputError(problem, path=path, remedy="Name a text file, or - for standard input.")
    if save is not None and save.suffix != SAVED:
        raise InputError(f"a file of names ends with {SAVED}", field="--save", remedy=f"Write {save}{SAVED}.")
    given: dict[str, tuple[str, Any]] = {
        "--min-length": ("min_length", min_length),
        "--fold-case": ("case", "fold" if fold_case else None),
        "--fold-marks": ("marks", "drop" if fold_marks else None),
        "--stop": ("stop", None if stop is None else _lines(stop)),
        "--overlapping": ("matches", "all" if overlapping else None),
    }
    if save is not None and text is None:
        linking = {"--encoder": encoder, "--coherence": coherence, "--threshold": threshold, "--html": html}
        if given_too := [name for name, value in linking.items() if value]:
            raise InputError(
                f"names alone are kept, without {', '.join(given_too)}",
                field="--save",
                remedy="Name a text, or leave it out.",
            )
    graphs, names = _names(source, language, given, also=also, counts=counts)
    if save is not None:
        names.save(save)
        print(f"{save}: {len(names):,} names", file=sys.stderr)
        if text is None:
            return
    how = Choice(encoder=encoder, vectors=vectors, nothing=nothing, coherence=coherence, threshold=threshold)
    linker = how.linker(names, list(graphs.values()), language)
    run(linker, path, language, candidates=candidates, page=html, graphs=graphs, processes=processes)


def _names(
    source: str,
    language: str | None,
    given: Mapping[str, tuple[str, Any]],
    *,
    also: Sequence[str] | None,
    counts: Sequence[Path] | None,
) -> tuple[dict[str, KnowledgeGraph], AliasLinker]:
    """Returns the graphs by what they were called, and a linker by their names; of saved names there is no graph."""
    from kg.linking.alias import AliasLinker
    from kg.linking.command import names_of
    from kg.linking.names import AliasOptions

    if Path(source).suffix == SAVED:
        asked = {**{option: value for option, (_, value) in given.items()}, "--also": also, "--counts": counts}
        if refused := [option for option, value in asked.items() if value is not None]:
            raise InputError(
                f"saved names have their own options, also {', '.join(refused)}",
                path=source,
                remedy="Link with the graph, or save its names again.",
            )
        return {}, AliasLinker.load(source)
    options = AliasOptions(**{field: value for field, value in given.values() if value is not None})
    graphs = {one: opened_graph(one) for one in (source, *(also or ()))}
    return graphs, names_of(list(graphs.values()), language, options, counts=counts or ())


def _lines(path: Path) -> tuple[str, ...]:
    """Returns the lines of a text file that hold something."""
    from kg.io.journal import Journal
    from kg.io.source import lines

    return tuple(line.strip() for _, line in lines(path, Journal(path, "text")) if line.strip())
