"""How near are two languages in an encoder, and which word is which?

kelm align report xlm-roberta-base --pair en-de=dev.en,dev.de --plot layers.svg
kelm align words xlm-roberta-base --pair en-de=dev.en,dev.de --layer 8
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelm.errors import FormatError, InputError
from multilingual.cli.given import AsJson, files_of
from multilingual.cli.terminal import show

if TYPE_CHECKING:
    from kelm.data.corpus import Text
    from multilingual.word_alignment import Links

__all__ = ["align"]

align = typer.Typer(
    name="align",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="How near are two languages in an encoder, and which word is which?",
)
Model = Annotated[str, typer.Argument(help="A finished run, a checkpoint or a name on the Hub.")]
Pair = Annotated[
    str, typer.Option("--pair", metavar="EN-DE=FILES", help="Sentences and their translations, as of kelm text report.")
]
_BATCH = 256


@align.command()
def report(
    model: Model,
    pair: Pair,
    dictionary: Annotated[Path | None, typer.Option(help="Words and their translations, a tab between them.")] = None,
    most: Annotated[int, typer.Option(help="Pairs that are read at most.")] = 1000,
    plot: Annotated[Path | None, typer.Option(help="Draw the layers into this .svg.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show, for each layer, how many translations are found, linear CKA, and what a rotation finds (Procrustes).

    With a dictionary, whether a word's nearest word is its translation, read by itself and as the sentences use it.

    Example: kelm align report xlm-roberta-base --pair en-de=dev.en,dev.de --plot layers.svg
    """
    from kelm.data.sources import Table
    from kelm.training.finished import encoder_of
    from multilingual.alignment.layers import WORDS, draw, layer_scores, table

    encoder, words = encoder_of(model)
    texts = list(islice(_pairs(pair), most))
    told = (texts[0].fields["language"], texts[0].fields["pair_language"]) if texts else None
    known = [] if dictionary is None else [(one.text, one.pair or "") for one, _ in Table(dictionary, pair=1).stream()]
    sentences = [(text.text, text.pair or "") for text in texts]
    scores = layer_scores(encoder, words, sentences, languages=told, dictionary=known)
    if plot is not None:
        draw(scores, plot, pair.partition("=")[0])
    if as_json:
        print(json.dumps([asdict(one) for one in scores]))
    else:
        show(table(scores), left=1, title=f"{pair.partition('=')[0]}: {len(sentences):,} pairs")
        if known:
            title = f"{len(known):,} entries of the dictionary; in text {scores[0].asked:,} words of both sides"
            show(table(scores, WORDS), left=1, title=title)


@align.command()
def words(
    model: Model,
    pair: Pair,
    method: Annotated[str, typer.Option(help="argmax, itermax or transport.")] = "itermax",
    layer: Annotated[int, typer.Option(help="Whose states are compared; two thirds of the layers is usual.")] = 8,
    gold: Annotated[
        Path | None,
        typer.Option(help="Right links, a line a sentence: 0-0 1-2, possible ones 1p2. Prints the error."),
    ] = None,
) -> None:
    """Print which word is which, a line a sentence: 0-0 1-2. Words are what stands between blanks.

    A line of files of lines, or of a table, that lacks a side gives an empty line, so that line n is of line n.

    Example: kelm align words xlm-roberta-base --pair en-de=dev.en,dev.de --layer 8 --method argmax
    """
    from kelm.training.finished import encoder_of
    from multilingual.word_alignment import alignment_scores, word_links

    encoder, tokenizer = encoder_of(model)
    found: list[Links] = []
    rest = _every_line(pair)
    while some := list(islice(rest, _BATCH)):
        sides = [[one[side] for one in some] for side in (0, 1)]
        first, second = (tokenizer.encode(side, length=encoder.config.longest) for side in sides)
        linked = word_links(
            encoder,
            first,
            second,
            pad=tokenizer.pad,
            layer=layer,
            method=method,  # type: ignore[arg-type]  # it is checked there
        )
        if gold is not None:
            found += linked
            continue
        for of_line in linked:
            print(" ".join(f"{one}-{other}" for one, other in sorted(of_line)))
    if gold is not None:
        sure, possible = _gold(gold)
        scores = alignment_scores(found, sure, possible)
        told = f"precision {scores.precision:.3f}, recall {scores.recall:.3f}, F1 {scores.f1:.3f}"
        print(f"alignment error {scores.error:.3f}, {told}; {len(found):,} sentences")
    sys.stdout.flush()


def _pairs(given: str) -> Iterator[Text]:
    from multilingual.corpora.parallel import translations

    name, paths = _named(given)
    corpus = translations(paths, name.split("-"))
    return (text for text, _ in corpus.stream())


def _every_line(given: str) -> Iterator[tuple[str, str]]:
    """Yields both sides of each line, those that lack one as well; of other files the pairs."""
    from kelm.data.files import read

    corpus = _pairs(given)  # refuses what it cannot be
    _, paths = _named(given)
    kinds = [set(Path(path).suffixes) for path in paths]
    if len(paths) == 1 and kinds[0] & {".tsv", ".txt"}:
        for line in read(paths[0]):
            first, _, second = line.text.partition("\t")
            yield first.strip(), second.partition("\t")[0].strip()
    elif len(paths) == 2 and not all(".tsv" in kind for kind in kinds):
        for one, other in zip(read(paths[0]), read(paths[1]), strict=True):
            yield one.text, other.text
    else:
        yield from ((text.text, text.pair or "") for text in corpus)


def _named(given: str) -> tuple[str, list[str]]:
    [(name, paths)] = files_of([given], "--pair", "en-de=dev.en,dev.de").items()
    return name, paths[0].split(",")


def _gold(path: Path) -> tuple[list[Links], list[Links]]:
    """Returns the sure links of each line, and these with the possible ones."""
    from kelm.data.files import lines

    sure, possible = [], []
    for number, line in lines(path):
        parts = [re.fullmatch(r"(\d+)([-p])(\d+)", word) for word in line.split()]
        if not all(parts):
            remedy = "Write links as 0-0, possible ones as 1p2, with blanks between."
            raise FormatError("this is no line of links", path=path, line=number, remedy=remedy)
        told = [(int(part[1]), int(part[3]), part[2]) for part in parts if part is not None]
        sure.append(frozenset((one, other) for one, other, kind in told if kind == "-"))
        possible.append(frozenset((one, other) for one, other, _ in told))
    if not sure:
        raise InputError(f"{path} is empty", field="--gold", remedy="Give a line for each sentence.")
    return sure, possible
