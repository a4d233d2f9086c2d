"""Learn a vocabulary that many languages share, and look at how it serves each of them.

kelm vocab train --text en=en.txt --text sw="sw/*.txt.gz" --size 8000 --out words
kelm vocab report words --text en=en.txt --text sw="sw/*.txt.gz"
kelm vocab extend xlm-roberta-base --text wo=wolof.txt --more 5000 --out xlmr-wolof
kelm vocab cut xlm-roberta-base --text en=en.txt --text sw=sw.txt --out xlmr-small
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from kelm.errors import InputError, closest
from multilingual.cli.given import AsJson, Texts, files_of
from multilingual.cli.terminal import show

if TYPE_CHECKING:
    from kelm.text.sentence_piece import SentencePiece
    from multilingual.vocabulary import Coverage

__all__ = ["vocab"]

vocab = typer.Typer(
    name="vocab",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learn a vocabulary that many languages share, and look at how it serves each of them.",
)


@vocab.command()
def train(
    text: Texts,
    out: Annotated[Path, typer.Option(help="The folder to write, which any recipe's tokenizer.path can name.")],
    size: Annotated[int, typer.Option(help="Pieces, special ones included.")] = 32_000,
    kind: Annotated[str, typer.Option(help="unigram, bpe or wordpiece.")] = "unigram",
    alpha: Annotated[float, typer.Option(help="Languages are drawn by n ** alpha: 1 as they come, 0 all alike.")] = 0.3,
    unit: Annotated[str, typer.Option(help="What n counts: texts or bytes.")] = "texts",
    sample: Annotated[int, typer.Option(help="Texts to learn from at most; they are held in memory.")] = 1_000_000,
    characters: Annotated[
        float, typer.Option("--coverage", help="Share of the characters that get a piece of their own.")
    ] = 0.9995,
    lower: Annotated[bool, typer.Option("--lower", help="Fold case.")] = False,
    bytes_: Annotated[bool, typer.Option("--bytes", help="Spell unknown characters in bytes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn a vocabulary from texts of many languages, rare ones more often than they come.

    Prints how well it serves each language: pieces a word, and characters that no piece spells.

    Example: kelm vocab train --text en=en.txt --text sw=sw.txt --size 8000 --alpha 0.3 --out words
    """
    from kelm.text.vocabulary import Kind
    from multilingual import vocabulary
    from multilingual.corpora.sampling import Unit, texts_of

    for name, given, known in (("--kind", kind, get_args(Kind)), ("--unit", unit, get_args(Unit))):
        if given not in known:
            raise InputError(f'"{given}" is none of {", ".join(known)}', field=name, remedy=closest(given, known))
    if out.exists():
        raise InputError(f"{out} is there already", field="--out", remedy="Remove it, or name another folder.")
    parts = texts_of(files_of(text))
    options = {"alpha": alpha, "most": sample, "coverage": characters, "lower": lower, "byte_fallback": bytes_}
    words = vocabulary.train(parts, size, kind, unit=unit, **options)  # type: ignore[arg-type]  # both are checked
    words.save(out)
    _show(vocabulary.coverage(words, parts), as_json)
    if not as_json:
        print(f"{out}: {words.vocabulary_size:,} pieces")


@vocab.command()
def count(
    words: Annotated[str, typer.Argument(help="A tokenizer: a folder, a SentencePiece file or a name on the Hub.")],
    text: Texts,
    out: Annotated[Path, typer.Option(help="The file to write, such as counts.npy.")],
) -> None:
    """Count how often texts have each token, for masking rare ones more often (the option counts of mlm and tlm).

    Example: kelm vocab count words --text en=en.txt --text sw=sw.txt --out counts.npy
    """
    import numpy as np

    from kelm.data.folders import file_aside
    from kelm.text import tokenizer
    from multilingual import vocabulary
    from multilingual.corpora.sampling import texts_of

    parts = texts_of(files_of(text))
    counts = vocabulary.count(tokenizer.open(words), (one for part in parts.values() for one, _ in part.stream()))
    with file_aside(out) as new, new.open("wb") as file:
        np.save(file, counts)
    print(f"{out}: {counts.sum():,} tokens, {(counts > 0).sum():,} of {len(counts):,} pieces used")


@vocab.command()
def report(
    words: Annotated[str, typer.Argument(help="A tokenizer: a folder, a SentencePiece file or a name on the Hub.")],
    text: Texts,
    as_json: AsJson = False,
) -> None:
    """Show how well a vocabulary serves each language, those served worst first.

    Example: kelm vocab report xlm-roberta-base --text en=en.txt --text sw=sw.txt
    """
    from kelm.text import tokenizer
    from multilingual import vocabulary
    from multilingual.corpora.sampling import texts_of

    _show(vocabulary.coverage(tokenizer.open(words), texts_of(files_of(text))), as_json)


Model = Annotated[str, typer.Argument(help="A plain checkpoint with a SentencePiece model, such as xlm-roberta-base.")]
Folder = Annotated[Path, typer.Option(help="The folder to write: the checkpoint with its new tokenizer.")]


@vocab.command()
def extend(
    model: Model,
    text: Texts,
    out: Folder,
    more: Annotated[int, typer.Option(help="Pieces to add at most.")] = 5_000,
) -> None:
    """Give a checkpoint pieces for new languages; go on training it with kelm train.

    Old pieces keep their ids and vectors, a new one starts from the mean of those by which it was spelled.

    Example: kelm vocab extend xlm-roberta-base --text wo=wolof.txt --more 5000 --out xlmr-wolof
    """
    from multilingual.vocabulary_change import extend as extended

    _changed(model, text, out, lambda words, texts: extended(words, texts, more))


@vocab.command()
def cut(
    model: Model,
    text: Texts,
    out: Folder,
    least: Annotated[int, typer.Option(help="Keep a piece that the texts use so often.")] = 1,
) -> None:
    """Cut a checkpoint's vocabulary down to what some languages use; their texts read as before.

    Example: kelm vocab cut xlm-roberta-base --text en=en.txt --text sw=sw.txt --out xlmr-small
    """
    from multilingual.vocabulary_change import cut as less

    _changed(model, text, out, lambda words, texts: less(words, texts, least=least))


def _changed(
    model: str, text: Sequence[str], out: Path, change: Callable[[SentencePiece, Iterable[str]], SentencePiece]
) -> None:
    """Writes a checkpoint with a changed vocabulary."""
    from multilingual.corpora.sampling import texts_of
    from multilingual.vocabulary import coverage
    from multilingual.vocabulary_change import rewrite

    if out.exists():
        raise InputError(f"{out} is there already", field="--out", remedy="Remove it, or name another folder.")
    parts = texts_of(files_of(text))
    texts = (one.text for part in parts.values() for one, _ in part.stream())
    words, new = rewrite(model, out, lambda words: change(words, texts))
    _show(coverage(new, parts), as_json=False)
    print(f"{out}: {words.vocabulary_size:,} pieces before, {new.vocabulary_size:,} now")


@vocab.command()
def apart(
    words: Annotated[str, typer.Argument(help="A vocabulary of kelm vocab train.")],
    languages: Annotated[str, typer.Option(help="Codes with commas between them, such as en,de.")],
    out: Annotated[Path, typer.Option(help="The folder to write, which any recipe's tokenizer.path can name.")],
) -> None:
    """Give each language words of its own, even those spelled alike: for models without anchors.

    The recipe's corpora name the languages too, in the same order: [objectives.corpus.enrich.words_apart].

    Example: kelm vocab apart words --languages en,de --out words-apart
    """
    from kelm.text import tokenizer
    from kelm.text.sentence_piece import SentencePiece
    from multilingual.words_apart import apart as repeated

    if out.exists():
        raise InputError(f"{out} is there already", field="--out", remedy="Remove it, or name another folder.")
    opened = tokenizer.open(words)
    if not isinstance(opened, SentencePiece):
        raise InputError(f"{words} is no SentencePiece model", field="words", remedy="Make one: kelm vocab train.")
    new = repeated(opened, [code.strip() for code in languages.split(",")])
    new.save(out)
    print(f"{out}: {opened.vocabulary_size:,} pieces before, {new.vocabulary_size:,} now")


def _show(found: Sequence[Coverage], as_json: bool) -> None:
    from dataclasses import asdict

    from multilingual.vocabulary import shown

    if as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        show(shown(found), left=1)
