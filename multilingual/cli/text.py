"""Look at texts of many languages, clean them, tell their languages, and score them.

kelm text report --text en=en.txt --pair en-de=train.en,train.de
kelm text filter --pair en-de=train.en,train.de --identifier lid.176.bin --out clean
kelm text identify lid.bin texts.txt
kelm text identify lid.bin --train --text en=en.txt --text de=de.txt
kelm text score runs/text_model texts.txt
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, get_args

import typer

from kelm.errors import InputError, closest
from multilingual.cli.given import AsJson, Pairs, Texts, files_of
from multilingual.cli.terminal import counted, show

if TYPE_CHECKING:
    from kelm.data.corpus import Corpus, Text
    from multilingual.corpora.filter import Report
    from multilingual.corpora.rules import Step

__all__ = ["text"]

text = typer.Typer(
    name="text",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Look at texts of many languages, clean them, tell their languages, and score them.",
)
Identifier = Annotated[
    Path | None, typer.Option("--identifier", help="A model of fastText's for languages, such as lid.176.bin.")
]
Threshold = Annotated[float, typer.Option(help="A language that is less probable is unsure.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Lines = Annotated[
    str, typer.Argument(metavar="[FILE]", help="Texts, one a line, plain or compressed; - is standard input.")
]
Drop = Literal["equal", "near", "none"]
_BATCH = 1024


@text.command()
def report(
    texts: Texts = [],  # noqa: B006  # how typer is told: none
    pairs: Pairs = [],  # noqa: B006
    identifier: Identifier = None,
    threshold: Threshold = 0.5,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in texts: lengths, scripts, duplicates, ratios of lengths, languages.

    Example: kelm text report --text en=en.txt --pair en-de=train.en,train.de
    """
    from multilingual.corpora.language_rules import InLanguage
    from multilingual.corpora.survey import survey, table

    rule = None if identifier is None else InLanguage(identifier, threshold=threshold)
    found = {source.name: survey(source.read(quiet), rule) for source in _sources(texts, pairs)}
    rows = table(found)
    if as_json:
        names, *columns = zip(*rows, strict=True)
        told = [dict(zip(["name", *names[1:]], column, strict=True)) for column in columns]
        print(json.dumps(told, ensure_ascii=False))
    else:
        show(rows, left=1)


@text.command(name="filter")
def filter_(
    out: Annotated[Path, typer.Option(help="The folder to write: en.txt, en-de.en and en-de.de, report.json.")],
    texts: Texts = [],  # noqa: B006
    pairs: Pairs = [],  # noqa: B006
    shortest: Annotated[int, typer.Option(help="Characters at least.")] = 1,
    longest: Annotated[int, typer.Option(help="Characters at most.")] = 10_000,
    ratio: Annotated[float, typer.Option(help="Of pairs, how many times longer one side may be.")] = 3.0,
    script: Annotated[float, typer.Option(help="Share of letters in the language's script at least; 0: any.")] = 0.6,
    identifier: Identifier = None,
    threshold: Threshold = 0.5,
    duplicates: Annotated[str, typer.Option(help="Drop equal texts, near ones (MinHash) too, or none.")] = "equal",
    similarity: Annotated[float, typer.Option(help="From which similarity on texts are near.")] = 0.8,
    model: Annotated[
        Path | None, typer.Option(help="A finished run of causal_lm, as text_model.toml trains; with --bits.")
    ] = None,
    bits: Annotated[float | None, typer.Option(help="Bits a character at most, by the model.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Clean texts or pairs; leave out what is too long, in another language or script, or was there before.

    Tells of each step how much it dropped and why, with examples; report.json keeps it.

    Example: kelm text filter --pair en-de=train.en,train.de --identifier lid.176.bin --out clean
    """
    from multilingual.corpora import filter as filters
    from multilingual.corpora.written import write

    if (model is None) != (bits is None):
        raise InputError("--model and --bits go together", remedy="Give both; `kelm text score` tells what is usual.")
    if ratio < 1:
        raise InputError(f"is {ratio:g}", field="--ratio", remedy="Give 1 or more; 3 lets one side be thrice as long.")
    if out.exists():
        raise InputError(f"{out} is there already", field="--out", remedy="Remove it, or name another folder.")
    steps: list[Step] = [filters.Clean(), filters.Length(shortest, longest)]
    steps += [filters.LengthRatio(1 / ratio, ratio), filters.Same()] if pairs else []
    steps += [filters.Script(script)] if script else []
    steps += [] if identifier is None else [filters.InLanguage(identifier, threshold)]
    steps += _against_duplicates(duplicates, similarity)
    steps += [] if model is None or bits is None else [filters.Fluent(model, bits)]
    reports, kept = {}, {}
    for source in _sources(texts, pairs):
        told = reports[source.name] = filters.Report()
        passed = filters.filtered(source.read(quiet), steps, told)
        kept[source.name] = write(passed, *(out / name for name in source.files))
    (out / "report.json").write_text(
        json.dumps(_as_data(reports, kept), ensure_ascii=False, indent=1), encoding="utf-8"
    )
    if as_json:
        print(json.dumps(_as_data(reports, kept), ensure_ascii=False))
        return
    for name, told in reports.items():
        show(told.table(), left=1, title=f"{name}: {kept[name]:,} of {told.steps[0].seen:,} kept")
    print(f"{out}: {sum(kept.values()):,} texts")


def _against_duplicates(which: str, similarity: float) -> list[Step]:
    from multilingual.corpora.filter import Duplicates, NearDuplicates

    if which not in (known := get_args(Drop)):
        raise InputError(f'"{which}" is none of {", ".join(known)}', field="--duplicates", remedy=closest(which, known))
    equal: list[Step] = [] if which == "none" else [Duplicates()]
    return [*equal, NearDuplicates(similarity)] if which == "near" else equal


def _as_data(reports: dict[str, Report], kept: dict[str, int]) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "kept": kept[name],
            "steps": [
                {"name": one.name, "seen": one.seen, "dropped": dict(one.dropped), "examples": one.examples}
                for one in report.steps
            ],
        }
        for name, report in reports.items()
    ]


@text.command()
def identify(
    model: Annotated[Path, typer.Argument(help="A model of fastText's; with --train the file to write.")],
    lines: Lines = "-",
    train: Annotated[bool, typer.Option("--train", help="Learn the languages of --text, and write the model.")] = False,
    texts: Texts = [],  # noqa: B006
    threshold: Threshold = 0.5,
    quiet: Quiet = False,
) -> None:
    """Tell in which language each line is, or learn to from texts of one's own.

    Prints the language ("unknown" where it is unsure), its probability and the line, between tabs.

    Example: kelm text identify lid.bin --train --text en=en.txt --text wo=wo.txt
    """
    from multilingual.identify import LanguageIdentifier

    if train != bool(texts):
        raise InputError(
            "--train and --text go together", remedy="Give texts of two or more languages: --text en=en.txt"
        )
    if train:
        if model.exists():
            raise InputError(f"{model} is there already", field="model", remedy="Remove it, or name another file.")
        sources = _sources(texts, [])
        known = ((one.text, source.name) for source in sources for one in source.read(quiet))
        made = LanguageIdentifier.train(known)
        made.save(model)
        print(f"{model}: {len(made.languages)} languages, {', '.join(made.languages)}")
        return
    opened = LanguageIdentifier.open(model)
    for some in _batches(lines):
        for line, found in zip(some, opened.identify(some, threshold), strict=True):
            print(f"{found.language or 'unknown'}\t{found.probability:.3f}\t{line}")


@text.command()
def score(
    run: Annotated[Path, typer.Argument(help="A finished run of causal_lm.")],
    lines: Lines = "-",
    language: Annotated[str | None, typer.Option(help="Of the texts, for a model that is told.")] = None,
) -> None:
    """Tell how expected each line is: bits a character by a language model, the lower the more.

    Prints the bits and the line, between a tab, and at the end, on standard error, what is usual.

    Example: kelm text score runs/text_model texts.txt
    """
    from multilingual.corpora.fluency import TextModel
    from multilingual.languages import language as code_of

    model, found = TextModel(run), []
    code = language and code_of(language, "--language")
    for some in _batches(lines):
        for line, bits in zip(some, model.bits(some, [code] * len(some)), strict=True):
            print(f"{bits:.3f}\t{line}")
            found += [bits] if bits == bits else []
    if found:
        high = sorted(found)[int(0.95 * len(found))]
        print(f"{len(found):,} texts: median {statistics.median(found):.2f}, 95 % {high:.2f}", file=sys.stderr)


class _Source(NamedTuple):
    """Texts or pairs with their name, and the files that they are written into."""

    name: str
    corpus: Corpus[Text]
    files: list[str]

    def read(self, quiet: bool) -> Iterator[Text]:
        total = None if quiet else sum(1 for _ in self.corpus.stream())
        return counted((text for text, _ in self.corpus.stream()), self.name, total, shown=not quiet)


def _sources(texts: list[str], pairs: list[str]) -> list[_Source]:
    from multilingual.corpora.parallel import translations
    from multilingual.corpora.sampling import texts_of

    files = files_of(texts)
    found = []
    for code, corpus in texts_of(files).items():
        structured = any(".jsonl" in path for paths in files.values() for path in paths)
        found.append(_Source(code, corpus, [f"{code}.jsonl" if structured else f"{code}.txt"]))
    for name, paths in files_of(pairs, "--pair", "en-de=train.en,train.de").items():
        languages = name.split("-")
        if len(paths) > 1:
            raise InputError(
                f"{name} is given twice", field="--pair", remedy="Join the files, or filter them one by one."
            )
        corpus = translations(paths[0].split(","), languages)
        found.append(_Source(name, corpus, [f"{name}.{code}" for code in languages]))
    if not found:
        raise InputError("nothing is given to read", remedy="Give --text en=en.txt or --pair en-de=train.en,train.de")
    return found


def _batches(path: str) -> Iterator[list[str]]:
    from kelm.data.files import lines

    opened = (line.rstrip("\n") for line in sys.stdin) if path == "-" else (line for _, line in lines(path))
    while some := list(islice(opened, _BATCH)):
        yield some
