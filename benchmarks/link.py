"""`link`: find 50,000 names in running text, against spaCy's PhraseMatcher and flashtext.

    ours    AliasLinker.link_all: Unicode folding, candidates with priors, exact offsets
    peers   spaCy: blank pipeline, make_doc (its users need it) and PhraseMatcher(attr="LOWER"), longest spans kept
            flashtext: KeywordProcessor.extract_keywords with offsets; boundaries of ASCII words only

Names are compared without case, as both peers do. With KELM_DATA the names are X-FACTR's (Wikidata) and the texts
WebNLG's; without it both are made up. `mentions` in a row says how many mentions each side found: spellings that only
ours folds and boundaries that only flashtext sees make small differences.
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

from benchmarks.measure import Row, Work, compare
from kg.linking.alias import AliasLinker
from kg.linking.names import AliasOptions

__all__ = ["NAME", "rows"]

NAME = "link"

_NAMES, _CHARACTERS, _FLASHTEXT = 50_000, 600_000, version("flashtext")

Find = Callable[[Iterable[str]], int]  # finds names in texts and says how many


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns two rows for each peer: characters of text a second, and mentions found a second in the same runs.

    Args:
        name: as every benchmark takes it; there is one name.
        quick: a twentieth of the names and texts.
    """
    names, texts, source = _input(_NAMES // 20 if quick else _NAMES, _CHARACTERS // 20 if quick else _CHARACTERS)
    linker = AliasLinker(names, AliasOptions(case="fold", cased_length=0, min_length=1))
    size = sum(map(len, texts))

    def find(texts: Iterable[str]) -> int:
        return sum(map(len, linker.link_all(list(texts))))

    def work(find: Find) -> Work:
        def run() -> float:
            find(texts)
            return size

        return run

    made = []
    for peer_name, peer in (
        (f"spaCy {spacy.__version__}", _spacy(names)),
        (f"flashtext {_FLASHTEXT}", _flashtext(names)),
    ):
        comparison = compare(work(find), work(peer))
        mentions = {"ours": find(texts), "peer": peer(texts)}
        setting = f"{len(linker):,} names, {size:,} characters, {source}"
        found = replace(
            comparison,
            ours=tuple(rate * mentions["ours"] / size for rate in comparison.ours),
            peer=tuple(rate * mentions["peer"] / size for rate in comparison.peer),
        )
        for unit, measured in (("characters/s", comparison), ("mentions/s", found)):
            made.append(measured.row(NAME, peer_name, unit=unit, setting=setting, mentions=mentions))
    return made


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
    found: dict[str, str] = {}
    with gzip.open(labels, "rt", encoding="utf-8") as file:
        for line in file:
            entity, *aliases = line.rstrip("\n").split("\t")
            found.update((alias, entity) for alias in aliases if len(alias.strip()) > 2)
    pairs = sorted(found.items())
    random.Random(0).shuffle(pairs)
    with gzip.open(texts, "rt", encoding="utf-8") as file:
        sentences = [lex["text"] for line in file for lex in json.loads(line)["lex"]]
    random.Random(0).shuffle(sentences)
    return pairs[:names], _cut(sentences, characters), "names of X-FACTR, texts of WebNLG"


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
