"""`kelm graph embed` and `evaluate`: vectors of a graph, and how well they tell what is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, get_args

import typer

from kelm.errors import InputError
from kg.cli.sources import AsJson, chosen, opened_graph

__all__ = ["embed", "evaluate"]


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
    opened = opened_graph(source) if parts is None else parts.train
    checked = opened_graph(validation) if validation is not None else None if parts is None else parts.valid
    processes = Processes.started()
    with located(recipe, change or ()), epochs(shown=processes.is_first and not quiet) as progress:
        run(opened, out, options, validation=checked, progress=progress, resume=resume, pictures=drawn)
    processes.leave()
    if processes.is_first:
        print(f"{out}: {opened.entity_count:,} entities, {opened.relation_count:,} relations; vectors in {out / TABLE}")


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
    by: Annotated[
        list[str] | None,
        typer.Option(help='Show the figures by "relation", or by its "cardinality" (1-1 to N-N); may be repeated.'),
    ] = None,
    valid: Annotated[str | None, typer.Option(help="True triples that tune when a triple is called true.")] = None,
    negatives: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="VALID TEST", help="Two sources of false triples: classify as well."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank held-out triples among all corrupted ones, filtered, with realistic ties.

    Of a folder with train, valid and test files, test is ranked and all three are known; if it has valid_negatives and
    test_negatives too, as CoDEx has, its triples are also told from those. The interval is a bootstrap over triples.

    Example: kelm graph evaluate vectors graph --test test.tsv --known valid.tsv --by cardinality
    """
    from kg.embeddings.command import By, classified, open_embedding
    from kg.embeddings.command import evaluate as run
    from kg.io import splits
    from kg.terminal import show_ranking

    ways: list[By] = [chosen(one, get_args(By), "--by") for one in by or ()]
    parts = splits.read(source) or splits.Splits(opened_graph(source))
    judged = parts.test if test is None else opened_graph(test)
    if judged is None:
        raise InputError("there are no triples to rank", field="--test", remedy="Name a source of held-out triples.")
    tuning = parts.valid if valid is None else opened_graph(valid)
    untrue, untrue_test = parts.valid_negatives, parts.test_negatives
    if negatives is not None:
        untrue, untrue_test = map(opened_graph, negatives)
    elif test is not None or valid is not None:  # the folder's own are about its own triples
        untrue = untrue_test = None
    if negatives and tuning is None:
        raise InputError("thresholds need true triples, too", field="--valid", remedy="Name a source of them.")
    if valid is not None and negatives is None:
        raise InputError("true triples alone tune nothing", field="--valid", remedy="Name false ones: --negatives.")
    held_out = [part for part in (parts.valid, parts.test) if part is not None]
    embedding = open_embedding(vectors)
    further = [opened_graph(one) for one in known or ()]
    found = run(embedding, parts.train, judged, known=[*held_out, *further], filtered=not raw, by=ways)
    if tuning is not None and untrue is not None and untrue_test is not None:
        found["classification"] = classified(embedding, parts.train, (tuning, untrue), (judged, untrue_test))
    if as_json:
        print(json.dumps(found, indent=1))
        return
    show_ranking(found)
