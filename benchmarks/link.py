"""`link`: find 50,000 and 1,000,000 names in running text, against spaCy's PhraseMatcher and flashtext.

    ours    AliasLinker.link_all: Unicode folding, candidates with priors, exact offsets
    peers   spaCy: blank pipeline, make_doc (its users need it) and PhraseMatcher(attr="LOWER"), longest spans kept
            flashtext: KeywordProcessor.extract_keywords with offsets; boundaries of ASCII words only

Names are compared without case, as both peers do. With KELM_DATA the names are X-FACTR's (Wikidata): English ones, then
those of its other languages, then made-up ones until there are enough; the texts are WebNLG's. Without it all is made
up. `mentions` in a row says how many mentions each side found: spellings that only ours folds and boundaries that only
flashtext sees make small differences. `built` says what the names took to build: seconds and MiB, at the highest and
kept, beyond the given names themselves; one row compares what is kept.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import flashtext
import spacy
from spacy.matcher import PhraseMatcher
from spacy.util import filter_spans

from benchmarks.measure import Built, Comparison, Row, Work, build, compare
from kg.linking.alias import AliasLinker
from kg.linking.names import AliasOptions

__all__ = ["NAME", "rows"]

NAME = "link"

_NAMES, _CHARACTERS, _FLASHTEXT = (50_000, 1_000_000), 600_000, version("flashtext")

Find = Callable[[Iterable[str]], int]  # finds names in texts and says how many


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns for each number of names and each peer: characters and mentions a second, and memory.

    Args:
        name: as every benchmark takes it; there is one name.
        quick: a twentieth of the texts, and of the names a twentieth and a hundredth.
    """
    if quick:
        return [row for count in (2_500, 10_000) for row in _rows(count, _CHARACTERS // 20)]
    return [row for count in _NAMES for row in _rows(count, _CHARACTERS)]


def _rows(count: int, characters: int) -> list[Row]:
    names, texts, source = _input(count, characters)
    ours = build(lambda: _ours(names))
    size = sum(map(len, texts))

    def work(find: Find) -> Work:
        def run() -> float:
            find(texts)
            return size

        return run

    made = []
    setting = f"{len(names):,} names, {size:,} characters, {source}"
    for peer_name, make in ((f"spaCy {spacy.__version__}", _spacy), (f"flashtext {_FLASHTEXT}", _flashtext)):
        peer = build(lambda make=make: make(names))
        comparison = compare(work(ours.made), work(peer.made))
        mentions = {"ours": ours.made(texts), "peer": peer.made(texts)}
        found = replace(
            comparison,
            ours=tuple(rate * mentions["ours"] / size for rate in comparison.ours),
            peer=tuple(rate * mentions["peer"] / size for rate in comparison.peer),
        )
        kept = Comparison((ours.kept_mb,), (peer.kept_mb,), higher_is_better=False)
        more = {"setting": setting, "mentions": mentions, "built": {"ours": _told(ours), "peer": _told(peer)}}
        for unit, measured in (("characters/s", comparison), ("mentions/s", found), ("MiB of names", kept)):
            made.append(measured.row(NAME, peer_name, unit=unit, **more))
    return made


def _told(built: Built[Find]) -> dict[str, float]:
    return {"s": round(built.seconds, 2), "peak_mb": round(built.peak_mb, 1), "kept_mb": round(built.kept_mb, 1)}


def _ours(names: Iterable[tuple[str, str]]) -> Find:
    linker = AliasLinker(names, AliasOptions(case="fold", cased_length=0, min_length=1))
    return lambda texts: sum(map(len, linker.link_all(list(texts))))


def _spacy(names: Iterable[tuple[str, str]]) -> Find:
    pipeline = spacy.blank("en")
    matcher = PhraseMatcher(pipeline.vocab, attr="LOWER")
    for alias, entity in names:
        matcher.add(entity, [pipeline.make_doc(alias)])

    def find(texts: Iterable[str]) -> int:
        return sum(len(filter_spans(matcher(doc, as_spans=True))) for doc in map(pipeline.make_doc, texts))

    return find


def _flashtext(names: Iterable[tuple[str, str]]) -> Find:
    processor = flashtext.KeywordProcessor(case_sensitive=False)
    for alias, entity in names:
        processor.add_keyword(alias, entity)

    def find(texts: Iterable[str]) -> int:
        return sum(len(processor.extract_keywords(text, span_info=True)) for text in texts)

    return find


def _input(names: int, characters: int) -> tuple[list[tuple[str, str]], list[str], str]:
    """Returns names, texts and where they come from."""
    folder = os.environ.get("KELM_DATA")
    labels, texts = (
        Path(folder or "", *parts)
        for parts in (("kg", "xfactr", "labels.en.tsv.gz"), ("linked_text", "webnlg", "en.train.jsonl.gz"))
    )
    if not (folder and labels.is_file() and texts.is_file()):
        return *_made_up(names, characters), "made-up names and texts"
    pairs = _pairs(labels)
    made = names - len(pairs)
    if made > 0:  # English names are not enough
        others = sorted(set(labels.parent.glob("labels.*.tsv.gz")) - {labels})
        pairs = list({**dict(pair for path in others for pair in _pairs(path)), **dict(pairs)}.items())
        made = max(0, names - len(pairs))
        pairs += _made_up(made, 0)[0] if made else []
    random.Random(0).shuffle(pairs)
    with gzip.open(texts, "rt", encoding="utf-8") as file:
        sentences = [lex["text"] for line in file for lex in json.loads(line)["lex"]]
    random.Random(0).shuffle(sentences)
    source = f"names of X-FACTR{f' and {made:,} made up' if made > 0 else ''}, texts of WebNLG"
    return pairs[:names], _cut(sentences, characters), source


def _pairs(labels: Path) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    with gzip.open(labels, "rt", encoding="utf-8") as file:
        for line in file:
            entity, *aliases = line.rstrip("\n").split("\t")
            found.update((alias, entity) for alias in aliases if len(alias.strip()) > 2)
    return sorted(found.items())


def _made_up(names: int, characters: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Names of one to three words, and sentences of frequent words with a name in every tenth place."""
    chance = random.Random(0)
    syllables = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(30_000)]
    made = {" ".join(chance.choices(words, k=chance.randint(1, 3))).title(): f"Q{n}" for n in range(2 * names)}
    pairs = [(alias, entity) for alias, entity in made.items() if len(alias) > 4][:names]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    texts, size = [], 0
    while size < characters:
        sentence = [
            pairs[int(len(pairs) * chance.random() ** 2)][0] if chance.random() < 0.1 else word
            for word in chance.choices(words, weights, k=chance.randint(6, 30))
        ]
        texts.append(" ".join(sentence).capitalize() + ".")
        size += len(texts[-1])
    return pairs, texts


def _cut(texts: Iterable[str], characters: int) -> list[str]:
    kept: list[str] = []
    for text in texts:
        if characters <= 0:
            break
        kept.append(text)
        characters -= len(text)
    return kept
