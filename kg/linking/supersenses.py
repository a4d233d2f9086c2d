"""Which supersenses a word may have: what a graph of WordNet tells, for words of a text and for tokens of a vocabulary.

    bass  -->  noun.animal, noun.food, noun.communication, ...            all synsets of the word, and of its base forms
    M     token x supersense, 1 where the token is a word that may have it         words of the vocabulary only

A word that tells little has none: short ones, stop words, parts of words. The graph may come from any reader: its
entities' types are supersenses ("noun.animal"), their labels the words of each language.

Source: Levine et al., 2020 (SenseBERT), sections 3.1 and 3.2.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from jaxtyping import UInt8

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.errors import InputError
from kelm.text.spans import spaceless
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Bool, Int
from kg.graph import KnowledgeGraph
from kg.io.wordnet import SUPERSENSES
from kg.labels import language_code
from kg.linking.english import STOP_WORDS, base_forms

__all__ = ["JOINS", "OPENS", "SenseLexicon", "TokenSenses", "spelled"]

JOINS, OPENS = 1, 2  # a token goes on with the word before it; a token before which no word is
_REMEMBERED = 2**18  # words whose senses are kept at hand


@dataclass(frozen=True)
class TokenSenses:
    """The matrix M, and what tells words from their parts.

    Attributes:
        allowed: a row for each token of the vocabulary.
        codes: `JOINS`, `OPENS` or 0 for each token: a token is a word unless it joins the one before, or the next
            joins it.
        senses: names of the columns.
    """

    allowed: Bool[np.ndarray, "word sense"]
    codes: UInt8[np.ndarray, "word"]
    senses: tuple[str, ...]


@dataclass(frozen=True)
class SenseLexicon:
    """Words with their supersenses, by language. Crosses a queue whole; equal if it says the same.

    Attributes:
        tables: by language, then by case-folded word, the numbers of its senses, ascending.
        senses: their names.
        shortest: words of fewer letters have none (paper: 4), but for scripts that put no space between words.
    """

    tables: Mapping[str, Mapping[str, tuple[int, ...]]]
    senses: tuple[str, ...] = SUPERSENSES
    shortest: int = 4

    @classmethod
    def from_graph(
        cls,
        graph: KnowledgeGraph,
        languages: Sequence[str] = ("en",),
        *,
        senses: Sequence[str] = SUPERSENSES,
        shortest: int = 4,
    ) -> Self:
        """Returns the words in which a graph's entities have labels; those of several words are left out.

        Args:
            senses: names of the types that count; others of the graph are passed over.

        Raises:
            InputError: no entity with such a type has a label in one of the languages.
        """
        number = {name: place for place, name in enumerate(senses)}
        columns = np.array([number.get(name, -1) for name in graph.types.names] or [-1])
        tables: dict[str, dict[str, set[int]]] = {}
        for code in map(language_code, languages):
            table = tables.setdefault(code, {})
            for label in graph.labels.entities.each([code]):
                kinds = columns[graph.types.of(label.owner)] if len(graph.types) else []
                if found := {int(kind) for kind in kinds if kind >= 0}:
                    word = _folded(label.text)
                    if not any(map(str.isspace, word)):
                        table.setdefault(word, set()).update(found)
            if not table:
                raise InputError(
                    f'no entity of the graph has a word in "{code}" and one of the {len(senses)} supersenses as type '
                    f"(languages of the graph: {', '.join(graph.labels.languages) or 'none'}; types: "
                    f"{', '.join(list(graph.types.names)[:5]) or 'none'})",
                    field="languages",
                    remedy="Build the graph of WordNet (kelm graph build), or name other languages.",
                )
        sorted_tables = {code: {word: tuple(sorted(of)) for word, of in t.items()} for code, t in tables.items()}
        return cls(sorted_tables, tuple(senses), shortest)

    def of(self, word: str) -> tuple[int, ...]:
        """Returns the senses that a word of a text may have, ascending: the union over all languages."""
        return self._look_up(word)

    def lemmas(self, word: str) -> list[tuple[str, str, tuple[int, ...]]]:
        """Returns language, word of the table and those of its senses that `word` may have, one for each base form."""
        folded = _folded(word)
        if not _says(folded, self.shortest):
            return []
        found = []
        for language, table in self.tables.items():
            if language == "en" and folded in STOP_WORDS:
                continue
            key = folded if folded in table else self._bare[language].get(folded, folded)
            if key in table:
                found.append((language, key, table[key]))
            for pos, forms in (base_forms(folded) if language == "en" else {}).items():
                for form in forms:
                    of = tuple(sense for sense in table.get(form, ()) if self._pos[sense] == pos)
                    found += [(language, form, of)] if of else []
        return found

    def without(self, words: Iterable[str]) -> Self:
        """Returns the lexicon less these words of its tables, in every language."""
        left_out = {_folded(word) for word in words}
        kept = {
            code: {word: of for word, of in table.items() if word not in left_out}
            for code, table in self.tables.items()
        }
        return replace(self, tables=kept)

    def shuffled(self, seed: int) -> Self:
        """Returns the lexicon with the sets dealt anew among words of the same parts of speech: a control."""
        random = np.random.default_rng(seed)
        dealt: dict[str, dict[str, tuple[int, ...]]] = {}
        for code, table in self.tables.items():
            groups: dict[frozenset[str], list[str]] = {}
            for word in sorted(table):
                groups.setdefault(frozenset(self._pos[sense] for sense in table[word]), []).append(word)
            dealt[code] = {
                word: table[words[place]]
                for _, words in sorted(groups.items(), key=lambda group: group[1])
                for word, place in zip(words, random.permutation(len(words)).tolist(), strict=True)
            }
        return replace(self, tables=dealt)

    def tokens(self, tokenizer: Tokenizer, rows: int | None = None) -> TokenSenses:
        """Returns the matrix of a vocabulary.

        Args:
            rows: of the model's vocabulary, which may have a few more than the tokenizer.
        """
        size = tokenizer.vocabulary_size
        allowed = np.zeros((max(rows or 0, size), len(self.senses)), bool)
        codes = np.zeros(len(allowed), np.uint8)
        codes[list(tokenizer.special - {tokenizer.mask, tokenizer.unk})] = OPENS
        for token, word, joins in _words_of(tokenizer):
            codes[token] = JOINS if joins else 0
            allowed[token, list(self.of(word))] = True
        return TokenSenses(allowed, codes, self.senses)

    def fingerprint(self) -> str:
        """Returns a digest of all it says."""
        tables = [[code, sorted(table.items())] for code, table in sorted(self.tables.items())]
        return digest(list(self.senses), self.shortest, tables)

    @cached_property
    def _look_up(self) -> Callable[[str], tuple[int, ...]]:
        return lru_cache(_REMEMBERED)(lambda word: tuple(sorted({one for *_, of in self.lemmas(word) for one in of})))

    @cached_property
    def _pos(self) -> tuple[str, ...]:
        return tuple(name.partition(".")[0] for name in self.senses)

    @cached_property
    def _bare(self) -> Mapping[str, Mapping[str, str]]:
        """Returns words by what is left of them without marks, as uncased models read them: "ete" for "été"."""
        return {
            code: {bare: word for word in sorted(table) if (bare := _without_marks(word)) != word and bare not in table}
            for code, table in self.tables.items()
        }

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}


def spelled(text: Encoded, tokens: Int[np.ndarray, "token"]) -> tuple[str, Int[np.ndarray, "piece"]]:
    """Returns the word that neighboring tokens spell, without punctuation around it, and the tokens that spell it.

    The word is "" where they spell none, or a part of a longer one (the rest was cut off).
    """
    tokens = tokens[text.spans[tokens, 0] >= 0]  # a space can be a token of its own, and spells nothing
    if not len(tokens):
        return "", tokens
    spans, string = text.spans[tokens], text.text
    start, end = int(spans[0, 0]), int(spans[-1, 1])
    while start < end and not _in_word(string[start]):
        start += 1
    while start < end and not _in_word(string[end - 1]):
        end -= 1
    word = string[start:end]
    if not word:
        return "", tokens
    goes_on = (start > 0 and _in_word(string[start - 1])) or (end < len(string) and _in_word(string[end]))
    if goes_on and not spaceless(word):
        return "", tokens
    return word, tokens[(spans[:, 0] < end) & (spans[:, 1] > start)]


def _words_of(tokenizer: Tokenizer) -> Iterator[tuple[int, str, bool]]:
    """Yields each token of letters: its number, what it spells, and whether it goes on with a word before it.

    Whatever begins a text has no space before it; byte-level vocabularies then use the token that elsewhere goes on.
    """
    pieces = {token: tokenizer.piece(token) for token in range(tokenizer.vocabulary_size)}
    counts = {mark: sum(piece.startswith(mark) and len(piece) > 1 for piece in pieces.values()) for mark in "#▁Ġ"}
    mark = max(counts, key=lambda one: counts[one])
    for token, piece in pieces.items():
        if token in tokenizer.special or tokenizer.find(piece) != token:
            continue
        if mark == "#":
            word, joins = piece.removeprefix("##"), piece.startswith("##") and len(piece) > 2
        elif mark == "▁":
            word, joins = piece.removeprefix("▁"), not piece.startswith("▁") and not spaceless(piece)
        else:
            word, joins = tokenizer.decode([token]).strip(), not piece.startswith("Ġ")
        if word and _in_word(word[0]):
            yield token, word, joins


def _folded(word: str) -> str:
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", word.casefold())


def _without_marks(word: str) -> str:
    if word.isascii():
        return word
    return "".join(one for one in unicodedata.normalize("NFD", word) if unicodedata.category(one) != "Mn")


def _in_word(letter: str) -> bool:
    return letter.isalnum() or unicodedata.category(letter)[0] == "M"


def _says(word: str, shortest: int) -> bool:
    return bool(word) and (len(word) >= shortest or spaceless(word))
