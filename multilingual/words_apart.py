"""Words of its own for each language, even those that are spelled alike: a model without anchors.

    en   Hand -> 1041        de   Hand -> 9041        of a vocabulary of 8,000 words behind the special tokens

The vocabulary is repeated for each language behind the first, spelled apart and marked as unused, so that it is read as
before; the enricher `words_apart` then moves each token into the block of its language, also digits and punctuation.
Special tokens stay shared. So a model without anchors is an ordinary one with more words, and all else works with it.
Source: Conneau, Wu et al., 2020 (Emerging cross-lingual structure), section 4.2, "no anchors".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.errors import InputError, closest
from kelm.text import proto
from kelm.text.proto import Piece
from kelm.text.sentence_piece import SentencePiece
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Int
from multilingual.languages import Languages, code_of, codes_of

__all__ = ["WordsApart", "apart", "words_apart"]

_MARK = "\ue000"  # of Unicode's private use: no text has it
_UNUSED = 5  # SentencePiece's type of a piece that it never gives


def apart(words: SentencePiece, languages: Sequence[str]) -> SentencePiece:
    """Returns the vocabulary with a block of words for each language; the first language keeps the words as they are.

    Raises:
        InputError: fewer than two languages, an unknown one, one twice, or words that are apart already.
    """
    codes = codes_of(languages)
    if len(codes) < 2:
        raise InputError("one language has its own words already", field="languages", remedy="Name two or more.")
    pieces = proto.pieces(words.model)
    if any(piece.text.startswith(_MARK) for piece in pieces):
        raise InputError("these words are apart already", field="words", remedy="Give the vocabulary they came from.")
    own = [piece.text for piece in pieces if words.find(piece.text) not in words.special]
    more = [Piece(_spelled(text, code), 0.0, _UNUSED) for code in codes[1:] for text in own]
    return SentencePiece(proto.with_pieces(words.model, [*pieces, *more]), fairseq=words.fairseq)


def _spelled(piece: str, code: str) -> str:
    return f"{_MARK}{code}{_MARK}{piece}"


@dataclass(frozen=True, eq=False)
class WordsApart:
    """Moves tokens into the block of their language; an enricher.

    Attributes:
        moved: the place of each token in each language's block.
    """

    codes: tuple[str, ...]
    moved: Int[np.ndarray, "language token"]

    def __call__(self, texts: Sequence[Encoded]) -> list[Encoded]:
        """Returns the texts with other tokens.

        Raises:
            InputError: nobody says in which language a text is, or it is in none of these.
        """
        return [text.having(tokens=self._moved(text)) for text in texts]

    def _moved(self, text: Encoded) -> Int[np.ndarray, "token"]:
        if Languages not in text.parts:
            raise InputError(
                f"{text.origin or repr(text.text[:40])} does not say its language",
                field="enrich.words_apart",
                remedy="Read it by monolingual_text or parallel_text.",
            )
        told, tokens = text[Languages], text.tokens.copy()
        for first, last, number in zip(told.first.tolist(), told.last.tolist(), told.language.tolist(), strict=True):
            code = code_of(number)
            if code not in self.codes:
                raise InputError(
                    f"{text.origin or repr(text.text[:40])} is in {code}",
                    field="enrich.words_apart.languages",
                    remedy=closest(code, self.codes),
                )
            tokens[first : last + 1] = self.moved[self.codes.index(code)][tokens[first : last + 1]]
        return tokens

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("words apart", self.codes, self.moved.tolist())


def words_apart(*, languages: Sequence[str], tokenizer: Tokenizer) -> WordsApart:
    """Returns the enricher that is registered as ``words_apart`` in the group ``kelm.enrichers``.

    Args:
        languages: as they were given to `apart` (``kelm vocab apart``), in the same order.
        tokenizer: with their blocks.

    Raises:
        InputError: the vocabulary has no block for one of them.
    """
    codes = codes_of(languages)
    size = tokenizer.vocabulary_size
    moved = np.tile(np.arange(size), (len(codes), 1))
    for row, code in enumerate(codes[1:], 1):
        found = {token: tokenizer.find(_spelled(tokenizer.piece(token), code)) for token in range(size)}
        places = {token: place for token, place in found.items() if place is not None}
        if not places:
            raise InputError(
                f"the vocabulary has no words of {code} alone",
                field="enrich.words_apart.languages",
                remedy=f"Make one: kelm vocab apart WORDS --languages {','.join(codes)}.",
            )
        moved[row, list(places)] = list(places.values())
    return WordsApart(tuple(codes), moved)
