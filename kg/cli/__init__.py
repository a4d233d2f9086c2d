"""Build, look at, embed, evaluate and link with a knowledge graph.

kelm graph build facts.nt.gz labels.ttl --out graph      kelm graph info graph
kelm graph show graph Berlin                             kelm graph export graph --to graph.ttl
kelm graph embed graph --out vectors                     kelm graph evaluate vectors graph --test test.tsv
kelm graph link graph text.txt                           kelm graph tree graph "Tim Cook visits Beijing"
kelm graph word-vectors --vec crawl.vec --out words
"""

from __future__ import annotations

import typer

from kg.cli.graphs import build, export, info, show
from kg.cli.links import link
from kg.cli.trees import tree
from kg.cli.vectors import embed, evaluate
from kg.cli.words import word_vectors

__all__ = ["graph"]

graph = typer.Typer(
    name="graph",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Build, look at, embed, evaluate and link with a knowledge graph.",
)
for _command in (build, info, show, export, embed, evaluate, link, tree):
    graph.command()(_command)
graph.command(name="word-vectors")(word_vectors)
