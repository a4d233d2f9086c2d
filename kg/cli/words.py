"""`kelm graph word-vectors`: the space in which LIBERT's negatives are near."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kelm.errors import InputError

__all__ = ["word_vectors"]


def word_vectors(
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    vec: Annotated[
        Path | None, typer.Option(help="A text file of vectors: fastText's .vec, word2vec's or GloVe's form.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A checkpoint whose own vectors of word pieces are taken, and its tokenizer.")
    ] = None,
    graph: Annotated[str | None, typer.Option(help="A graph whose labels are the words.")] = None,
    pairs: Annotated[
        list[str] | None, typer.Option(help="A list of pairs, two words a line, whose words they are; may be repeated.")
    ] = None,
    language: Annotated[str, typer.Option(help="Of the labels, and of the mark before a list's words.")] = "en",
) -> None:
    """Write a table of word vectors for the task lexical_relation.

    Without --graph and --pairs, all words of the --vec file.

    Example: kelm graph word-vectors --vec crawl-300d-2M.vec --graph wordnet --out words
    """
    from kelm.model import Encoder
    from kelm.text import tokenizer
    from kg.embeddings.word_vectors import piece_vectors, read_vectors

    if (vec is None) == (model is None):
        raise InputError("one source of vectors is needed", field="--vec", remedy="Give --vec FILE or --model NAME.")
    words = _words(graph, pairs or [], language) if graph or pairs else None
    if vec is not None:
        table = read_vectors(vec, words)
    else:
        if words is None:
            raise InputError("no words are given", field="--graph", remedy="Give --graph or --pairs, or both.")
        assert model is not None
        table = piece_vectors(words, tokenizer.open(model), Encoder.from_hf(model))
    table.save(out)
    print(f"{out}: {len(table):,} words, width {table.width}")


def _words(graph: str | None, pairs: list[str], language: str) -> set[str]:
    from kg.cli.sources import opened_graph
    from kg.enrich.related_words import listed

    words = {word for path in pairs for _, *both in listed(path, language) for word in both}
    if graph is not None:
        words |= {label.text for label in opened_graph(graph).labels.entities.each({language})}
    return words
