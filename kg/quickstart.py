"""The whole story in minutes, with nothing but installed packages: graph, vectors, links, model, and its controls.

    CLDR (in Babel) -> graph -> TransE ─────────────┐
                    -> our own short templates -> linked texts -> base encoder -> ERNIE, four arms -> table, picture

The examples' words do not tell the relation and the triples that hold the answers are taken out of the graph, so what
an arm with knowledge gains, it has from what the graph says elsewhere.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelm.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from kg.linking.linked_text import RelationText
    from kg.study.run import Outcome

__all__ = ["quickstart"]

RELATIONS = ("contained_in", "official_language", "uses_currency", "written_in", "mainly_spoken_in", "located_in")


def quickstart(
    out: Annotated[Path, typer.Option(help="Where everything is written.")] = Path("quickstart"),
    seeds: Annotated[int, typer.Option(min=1, help="How many times each arm is trained.")] = 3,
) -> None:
    """Train an ERNIE-style model on a graph that is already on this machine, against its controls.

    Needs no download and less than five minutes on two cores. An interrupted run goes on where it was.

    Example: kelm quickstart --out my-first-run
    """
    from rich.console import Console

    started, console = time.perf_counter(), Console()
    if out.exists() and not out.is_dir():
        raise InputError("this is a file, not a folder", path=out, remedy="Choose another place with --out.")
    outcomes = _run(out, seeds, console)
    _show(outcomes, out, console)
    console.print(f"[dim]{time.perf_counter() - started:.0f} seconds. Everything lies in[/] [bold]{out}[/]")


def _run(out: Path, seeds: int, console: Console) -> list[Outcome]:
    from kelm.text import vocabulary
    from kg import cldr_text
    from kg.embeddings.recipe import EmbeddingRecipe
    from kg.embeddings.train import train
    from kg.io import cldr
    from kg.linking.alias import AliasLinker
    from kg.linking.linked_text import joining
    from kg.study.base import Pretraining, pretrain
    from kg.study.material import relink
    from kg.study.run import Alignment, FineTuning, Material, Study, run

    say = _Steps(console)
    graph = cldr.read()
    languages = len(graph.labels.languages)
    say(f"graph: {len(graph):,} facts about {graph.entity_count:,} entities, named in {languages} languages")

    examples = cldr_text.sentences(graph, 0, 1500, relations=RELATIONS)
    texts = cldr_text.paragraphs(graph, 1, 4000, without=examples)
    answers = joining(graph, examples)
    known = graph.without(answers)
    say(f"text: {len(texts):,} paragraphs, {len(examples):,} examples; {len(answers):,} triples with answers taken out")

    table = train(known, EmbeddingRecipe(width=64, epochs=60, seed=0)).table(known)
    table.save(out / "vectors")
    known.save(out / "graph")
    say(f"vectors: TransE, {table.width} numbers for each entity")

    linker = AliasLinker.from_graph(graph, ["en"])
    automatic = relink(examples, linker)
    say(f"links: {_agreement(examples, automatic):.1%} of the mentions are linked by name to the right entity")

    tokenizer = vocabulary.train((text.text for text in texts), 2000, "wordpiece", lower=True)
    recipe = Pretraining(width=64, layers=3, steps=300, tokens=1536, length=64)
    pretrain(recipe, [text.text for text in texts], tokenizer, out)
    say("encoder: 3 layers of width 64, trained on the paragraphs' words alone")

    study = Study(
        per_relation=(5, 20),
        seeds=tuple(range(seeds)),
        links=("automatic",),
        length=64,
        align=Alignment(steps=60, tokens=1536, rate=1e-3),
        fine_tune=FineTuning(steps=60, rate=1e-3),
    )
    material = Material(out / "base", tokenizer, table, texts, {"gold": examples, "automatic": automatic})
    return run(study, material, out, say=say)


class _Steps:
    """Says what was done and when."""

    def __init__(self, console: Console) -> None:
        self.console, self.started = console, time.perf_counter()

    def __call__(self, text: str) -> None:
        self.console.print(f"[dim]{time.perf_counter() - self.started:5.0f} s[/] {text}", highlight=False)


def _agreement(gold: list[RelationText], automatic: list[RelationText]) -> float:
    pairs = [
        (a, b)
        for one, other in zip(gold, automatic, strict=True)
        for a, b in zip(one.entities, other.entities, strict=True)
    ]
    return sum(a == b for a, b in pairs) / len(pairs)


def _show(outcomes: list[Outcome], out: Path, console: Console) -> None:
    from rich.table import Table

    from kg.study import report

    head, *body = report.rows(outcomes, "covered", "automatic")
    table = Table(*head, title="Which relation do two hidden entities have? (accuracy, mean ± 95 % interval)")
    for line in body:
        table.add_row(*line, style="bold" if line[:2] == ["ernie", "knowledge"] else None)
    console.print(table)
    title = "Relations of hidden entities, CLDR graph"
    report.picture(outcomes, out / "accuracy.png", title=title, links="automatic")
    (out / "report.md").write_text(report.table(outcomes), encoding="utf-8")
    console.print(
        f"picture: {out / 'accuracy.png'}   tables: {out / 'report.md'}   all scores: {out / 'outcomes.jsonl'}"
    )
