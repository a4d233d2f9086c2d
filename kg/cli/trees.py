"""`kelm graph tree`: what K-BERT reads of a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kelm.errors import InputError
from kg.cli.sources import AsJson, opened_graph

__all__ = ["tree"]


def tree(
    source: Annotated[str, typer.Argument(help="A saved graph, or any source that build reads.")],
    text: Annotated[str, typer.Argument(help="A sentence.")],
    language: Annotated[str, typer.Option(help="The language of the sentence, its names and its branches.")] = "en",
    tokenizer: Annotated[
        str | None, typer.Option(help="A folder, a file or a name on the Hugging Face Hub; words are tokens if none.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Branches of a mention.")] = 2,
    hops: Annotated[int, typer.Option(min=1, max=2, help="2 goes on with what the graph says of each object.")] = 1,
    incoming: Annotated[bool, typer.Option("--incoming", help="Tell the triples that reach an entity, too.")] = False,
    priority: Annotated[
        list[str] | None, typer.Option(help="A relation that comes first; may be repeated, in this order.")
    ] = None,
    length: Annotated[int, typer.Option(min=3, help="Tokens of the sentence with its branches.")] = 128,
    svg: Annotated[Path | None, typer.Option(help="Draw the tree, and who sees whom, as this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="The same as a page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a sentence with the graph's triples hanging on its mentions, as K-BERT reads it.

    Example: kelm graph tree graph "Tim Cook is visiting Beijing now" --svg tree.svg
    """
    from dataclasses import asdict

    from kg.enrich.branches import BranchOptions
    from kg.enrich.shown_tree import show_tree_of
    from kg.enrich.tree_picture import draw_tree, page, visible, write
    from kg.terminal import show_tree

    if not text.strip():
        raise InputError("there is no sentence", field="TEXT", remedy="Write one, in quotes.")
    options = BranchOptions(
        language=language, most=most, hops=2 if hops == 2 else 1, incoming=incoming, priority=tuple(priority or ())
    )
    found = show_tree_of(text, opened_graph(source), options, length=length, tokenizer=tokenizer)
    if svg or html:
        picture = draw_tree(found.tokens, visible(found.tree))
        for path, content in ((svg, picture), (html, page(picture, text))):
            if path is not None:
                write(path, content)
    if as_json:
        print(json.dumps([asdict(token) for token in found.tokens], ensure_ascii=False, indent=1))
        return
    show_tree(found)
    for path in filter(None, (svg, html)):
        print(path)
