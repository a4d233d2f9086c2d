"""Pairs of related words as a corpus, in an order that mixes sources and relations.

    synonym     automobile, car           turned around or not: the pair itself decides
    hypernym    car, motor vehicle        directed: "inverse hypernym" where it is turned around

A pair is held out or not by its two words alone, so that corpora of other sources agree about it.

Source: Lauscher et al., 2020 (LIBERT), section 3; the held-out pairs and the directions are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Int64

from kelm.data.corpus import Corpus, Cursor, Shard, digest
from kelm.errors import InputError, UnknownName, closest
from kelm.model.config import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from kg.enrich.related_words import LexicalSources, RelatedWords
from kg.linking.word_pairs import Word, WordPair, without_specials

__all__ = ["INVERSE", "LexicalPairs", "Split", "lexical_pairs"]

Split = Literal["all", "train", "test"]
INVERSE = "inverse "  # before the name of a directed relation whose words come in the other order
_TOGETHER = 256  # pairs whose words are tokenized at once


class LexicalPairs(Corpus[WordPair]):
    """Gives related pairs; those with a word that the tokenizer gives no token for are left out.

    Crosses a queue as paths where the sources are given so; they are then read where they are used.

    Args:
        source: the pairs, or where they are read.
        length: tokens of a pair; each word is cut to half of what the special ones leave.
        directed: relations whose direction counts.
        split: the pairs to learn from, those held out, or all.
        test: share of the pairs that are held out.

    Cost: when first read, a pass over all sources, and every pair in memory.
    """

    def __init__(
        self,
        source: LexicalSources | RelatedWords,
        tokenizer: Tokenizer,
        *,
        length: int = 32,
        directed: Sequence[str] = (),
        split: Split = "all",
        test: float = 0.05,
    ) -> None:
        self.source, self.tokenizer, self.length = source, tokenizer, length
        self.directed, self.split, self.test = tuple(directed), split, test
        self._word = (length - tokenizer.template.specials(pair=True)) // 2

    def stream(
        self,
        shard: Shard = Shard(),  # noqa: B008  # frozen
        start: Cursor | None = None,
    ) -> Iterator[tuple[WordPair, Cursor]]:
        for relation in self.directed:
            if relation not in self.related.relations:
                remedy = closest(relation, self.related.relations)
                raise UnknownName(f'no pair has the relation "{relation}"', field="directed", remedy=remedy)
        numbers = range(start or shard.index, len(self._order), shard.count)
        for first in range(0, len(numbers), _TOGETHER):
            for pair in self._pairs(numbers[first : first + _TOGETHER]):
                yield pair, pair.number + shard.count

    def __len__(self) -> int:
        """How many pairs the split has, those with a word without tokens included."""
        return len(self._order)

    def fingerprint(self) -> str:
        options = [self.length, sorted(self.directed), self.split, self.test]
        return digest("LexicalPairs", self.source.fingerprint(), options, self.tokenizer.fingerprint())

    def _pairs(self, numbers: Sequence[int]) -> Iterator[WordPair]:
        related, template = self.related, self.tokenizer.template
        rows = self._order[list(numbers)]
        used = np.unique(np.concatenate((related.first[rows], related.second[rows]))).tolist()
        read = self.tokenizer.encode([related.spellings[word] for word in used])
        words = {
            word: Word(
                without_specials(one, template, self._word), key := int(related.keys[word]), related.partners(key)
            )
            for word, one in zip(used, read, strict=True)
        }
        for number, row in zip(numbers, rows.tolist(), strict=True):
            first, second = words[int(related.first[row])], words[int(related.second[row])]
            if not len(first.pieces) or not len(second.pieces):
                continue
            relation, place = related.relations[int(related.relation[row])], int(related.place[row])
            if int(related.hashes[row]) % 2:
                first, second = second, first
                relation = f"{INVERSE}{relation}" if relation in self.directed else relation
            origin = related.sources[int(related.source[row])] + (f":{place}" if place else "")
            yield WordPair(first, second, relation, template, number=number, origin=origin)

    @cached_property
    def related(self) -> RelatedWords:
        """The pairs, those held out and those set apart included."""
        return self.source.read() if isinstance(self.source, LexicalSources) else self.source

    @cached_property
    def _order(self) -> Int64[np.ndarray, "given"]:
        """The rows of the pairs in the order in which they are given."""
        hashes, held = self.related.hashes, self.related.held_out(self.test)
        wanted = {"all": np.ones_like(held), "train": ~held, "test": held}[self.split] & self.related.given
        rows = np.flatnonzero(wanted)
        return rows[np.argsort(hashes[rows], kind="stable")]

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("related", "_order")}


def lexical_pairs(
    *,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    graph: str | None = None,
    lists: Mapping[str, str | Sequence[str]] | None = None,
    relations: Mapping[str, str] | Sequence[str] | None = None,
    synonyms: bool = True,
    language: str = "en",
    most: int = 8,
    directed: Sequence[str] = (),
    split: Split = "all",
    test: float = 0.05,
    without: str | Sequence[str] = (),
    length: int = 32,
) -> LexicalPairs:
    """Returns a corpus for the task `lexical_relation`. Registered as ``lexical_pairs``.

    Args:
        graph: folder of a graph with labels, such as WordNet.
        lists: files with two words a line, by the name of their relation: ``{synonym = "ppdb_synonyms.txt"}``.
        relations: the graph's relations whose ends are related words; a table gives them other names. "hypernym" and
            "instance_hypernym" if not given, both as "hypernym", as far as the graph has them; [] for none.
        synonyms: whether the labels of one entity are synonyms.
        language: of the labels.
        most: labels of an entity, the preferred one first.
        directed: relations whose direction counts: a pair that is turned around has the relation "inverse ...". None
            in the paper.
        split: "train" or "test", to evaluate on pairs that are not learned; "all" is the paper.
        test: share of the pairs that "test" has.
        without: files with two words a line, or between tabs at its beginning, that are no pairs to learn and no
            negatives: a test set of word similarity.
        length: tokens of a pair.

    Raises:
        InputError: an option is impossible.
        CheckpointError, UnknownName, FormatError: when read, see `LexicalSources.read`.
    """
    if graph is None and not lists:
        raise InputError("no source of pairs is given", field="graph", remedy="Give graph or lists, or both.")
    if split not in get_args(Split):
        raise InputError(f'"{split}" is no split', field="split", remedy=closest(split, get_args(Split)))
    longest, least = min(length, config.longest), tokenizer.template.specials(pair=True) + 2
    checks: dict[str, tuple[Any, bool, str]] = {
        "most": (most, most < 1, "1 or more"),
        "test": (test, not 0 < test < 1, "a share between 0 and 1"),
        "length": (longest, longest < least, f"{least} or more, and a model that reads as many"),
    }
    for name, (value, is_wrong, expected) in checks.items():
        if is_wrong:
            raise InputError(f"{name} is {value}", field=name, remedy=f"Give {expected}.")
    named = relations if relations is None or isinstance(relations, Mapping) else {name: name for name in relations}
    sources = LexicalSources(
        graph=graph,
        lists={name: _paths(paths) for name, paths in (lists or {}).items()},
        relations=named,
        synonyms=synonyms,
        language=language,
        most=most,
        without=_paths(without),
    )
    return LexicalPairs(sources, tokenizer, length=longest, directed=directed, split=split, test=test)


def _paths(paths: str | Sequence[str]) -> tuple[str, ...]:
    return (paths,) if isinstance(paths, str) else tuple(paths)
