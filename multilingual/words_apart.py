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

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.errors import InputError, closest
from kelm.text import proto
from kelm.text.proto import Piece
from kelm.text.sentence_piece import SentencePiece
from kelm.text.tokenizer import Tokenizer
from multilingual.languages import Languages, code_of, codes_of, with_languages
from multilingual.languages import language as canonical

__all__ = ["WordsApart", "apart", "words_apart"]

_MARK = "\ue000"  # of Unicode's private use: no text has it
_UNUSED = 5  # SentencePiece's type of a piece that it never gives


def apart(words: SentencePiece, languages: Sequence[str]) -> SentencePiece:
    """Returns the vocabulary with a block of words for each language; the first language keeps the words as they are.

    Raises:
        InputError: fewer than two languages, an unknown one, one twice, words that are apart already, or XLM-R's
            numbering, in which a special token stands behind the words.
    """
    codes = codes_of(languages)
    if len(codes) < 2:
        raise InputError("one language has its own words already", field="languages", remedy="Name two or more.")
    pieces = proto.pieces(words.model)
    if any(piece.text.startswith(_MARK) for piece in pieces):
        raise InputError("these words are apart already", field="words", remedy="Give the vocabulary they came from.")
    if not _special_first(words):
        remedy = "Make a vocabulary: kelm vocab train."
        raise InputError("special tokens stand behind the words", field="words", remedy=remedy)
    own = [piece.text for piece in pieces[len(words.special) :]]
    more = [Piece(_spelled(text, code), 0.0, _UNUSED) for code in codes[1:] for text in own]
    return SentencePiece(proto.with_pieces(words.model, [*pieces, *more]))


def _special_first(words: Tokenizer) -> bool:
    return words.special == set(range(len(words.special)))


def _spelled(piece: str, code: str) -> str:
    return f"{_MARK}{code}{_MARK}{piece}"


@dataclass(frozen=True, slots=True)
class WordsApart:
    """Moves tokens into the block of their language; an enricher.

    Attributes:
        first: the first token that is not special.
        own: tokens of a block.
        language: of texts that do not say theirs, which then do; None: such a text is an error.
    """

    codes: tuple[str, ...]
    first: int
    own: int
    language: str | None = None

    def __call__(self, texts: Sequence[Encoded]) -> list[Encoded]:
        """Returns the texts with other tokens.

        Raises:
            InputError: nobody says in which language a text is, or it is in none of these.
        """
        return [self._moved(text) for text in texts]

    def _moved(self, text: Encoded) -> Encoded:
        if Languages not in text.parts:
            if self.language is None:
                raise InputError(
                    f"{text.origin or repr(text.text[:40])} does not say its language",
                    field="enrich.words_apart.language",
                    remedy="Give it, or read by monolingual_text or parallel_text.",
                )
            text = with_languages(text, self.language)
        told, tokens = text[Languages], text.tokens.copy()
        for first, last, number in zip(told.first.tolist(), told.last.tolist(), told.language.tolist(), strict=True):
            code = code_of(number)
            if code not in self.codes:
                raise InputError(
                    f"{text.origin or repr(text.text[:40])} is in {code}",
                    field="enrich.words_apart.languages",
                    remedy=closest(code, self.codes),
                )
            some = tokens[first : last + 1]  # a view
            some[some >= self.first] += self.codes.index(code) * self.own
        return text.having(tokens=tokens)

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("words apart", self.codes, self.first, self.own, self.language)


def words_apart(*, languages: Sequence[str], tokenizer: Tokenizer, language: str | None = None) -> WordsApart:
    """Returns the enricher that is registered as ``words_apart`` in the group ``kelm.enrichers``.

    Args:
        languages: as they were given to `apart` (``kelm vocab apart``), in the same order.
        tokenizer: with their blocks.
        language: of a corpus whose texts do not say theirs, such as labeled_text.

    Raises:
        InputError: an unknown language, or the vocabulary has no block for one of them.
    """
    codes = codes_of(languages)
    first = len(tokenizer.special)
    own, rest = divmod(tokenizer.vocabulary_size - first, len(codes))
    begins = [first + row * own for row in range(1, len(codes))]
    wanted = [_spelled(tokenizer.piece(first), code) for code in codes[1:]]
    if rest or not _special_first(tokenizer) or [tokenizer.piece(place) for place in begins] != wanted:
        raise InputError(
            f"the vocabulary has no blocks of {', '.join(codes)}, in this order",
            field="enrich.words_apart.languages",
            remedy=f"Make one: kelm vocab apart WORDS --languages {','.join(codes)}.",
        )
    told = None if language is None else canonical(language, "enrich.words_apart.language")
    return WordsApart(tuple(codes), first, own, told)
