"""Small examples of what learns from a lexicon's pairs of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from kelm.batch import Encoded
from kelm.data.corpus import Corpus
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.base import Objective
from kelm.text.assembly import Template
from kelm.text.tokenizer import Tokenizer
from kg.enrich.lexical_pairs import lexical_pairs
from kg.linking.word_pairs import Word, WordPair
from kg.objectives.lexical_relation import LexicalRelation

__all__ = ["PAIRS", "lexical_corpus", "lexical_relation", "related_words"]

PAIRS = [
    {"first": "city", "second": "town"},
    {"first": "rhine", "second": "river"},
    {"first": "bridge", "second": "old bridge"},
    {"first": "church", "second": "hill"},
    {"first": "port", "second": "bonn"},
    {"first": "harbor", "second": "haven"},
    {"first": "Mount", "second": "mountain"},
]


def _word(key: int, *partners: int) -> Word:
    tokens, zeros = np.array([10 + 2 * key, 11 + 2 * key][: 1 + key % 2]), np.zeros(1 + key % 2, np.int64)
    pieces = Encoded(f"word {key}", tokens, np.stack([zeros, zeros + 1], 1), zeros, zeros)
    return Word(pieces, key, np.array(partners, np.int32))


def related_words(text: Encoded) -> WordPair:
    """Word 2n with word 2n + 1, by two relations."""
    one, other = 2 * text.number, 2 * text.number + 1
    template = Template((2,), (3,), (3,))
    relation = "hypernym" if text.number % 2 else "synonym"
    return WordPair(_word(one, other), _word(other, one), relation, template, number=text.number, origin=text.origin)


def lexical_relation(encoder: Encoder) -> tuple[Encoder, Objective[Any]]:
    return encoder, LexicalRelation(encoder.config, relations=["synonym", "hypernym"], states=("first", "mean"))


def lexical_corpus(path: str, *, tokenizer: Tokenizer, config: EncoderConfig) -> Corpus[Any]:
    return lexical_pairs(lists={"synonym": path}, tokenizer=tokenizer, config=config)
