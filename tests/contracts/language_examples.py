"""Small examples of what learns from text in several languages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from kelm.batch import Encoded
from kelm.data.corpus import Corpus
from kelm.model import Encoder
from kelm.objectives.base import Objective
from kelm.text.tokenizer import Tokenizer
from multilingual.corpora.documents import translated_documents
from multilingual.corpora.hard_negatives import translation_or_not
from multilingual.corpora.parallel import parallel_text
from multilingual.corpora.sampling import monolingual_text
from multilingual.languages import with_languages
from multilingual.modules.own_layers import OwnLayers
from multilingual.objectives.denoising_alignment import DenoisingAlignment
from multilingual.objectives.document_lm import DocumentLanguageModel
from multilingual.objectives.translation_contrast import TranslationContrast
from multilingual.objectives.translation_lm import TranslationLanguageModel
from multilingual.objectives.word_recovery import WordRecovery

__all__ = [
    "denoising_alignment",
    "document_lm",
    "documents",
    "in_two_languages",
    "one_language",
    "own_layers",
    "translation_contrast",
    "translation_lm",
    "translations_or_not",
    "two_languages",
    "word_recovery",
]


def in_two_languages(text: Encoded) -> Encoded:
    """A sentence and its translation, between which a separator stands."""
    place = np.arange(len(text))
    tokens, words = text.tokens.copy(), text.words.copy()
    tokens[4], words[4] = 3, -1
    pair = replace(text, tokens=tokens, words=words, segments=(place > 4).astype(np.int64))
    return with_languages(pair, "en", "de")


def own_layers(encoder: Encoder) -> Encoder:
    extension = encoder.extensions["own_layers"]
    assert isinstance(extension, OwnLayers)
    extension.start_from(encoder)
    return encoder


def translation_lm(encoder: Encoder, words: Tokenizer) -> tuple[Encoder, Objective[Any]]:
    return encoder, TranslationLanguageModel(encoder.config, tokenizer=words)


def denoising_alignment(encoder: Encoder, words: Tokenizer) -> tuple[Encoder, Objective[Any]]:
    return encoder, DenoisingAlignment(encoder.config, tokenizer=words, rate=0.5)


def document_lm(encoder: Encoder, words: Tokenizer) -> tuple[Encoder, Objective[Any]]:
    return encoder, DocumentLanguageModel(encoder.config, tokenizer=words)


def translation_contrast(encoder: Encoder, words: Tokenizer) -> tuple[Encoder, Objective[Any]]:
    return encoder, TranslationContrast(encoder.config, tokenizer=words, encoder=encoder, queue=16)


def word_recovery(encoder: Encoder, words: Tokenizer) -> tuple[Encoder, Objective[Any]]:
    return encoder, WordRecovery(encoder.config, tokenizer=words)


def one_language(path: str, **parts: Any) -> Corpus[Any]:
    return monolingual_text({"en": path}, **parts)


def two_languages(path: str, **parts: Any) -> Corpus[Any]:
    return parallel_text({"en-de": path}, **parts)


def documents(path: str, **parts: Any) -> Corpus[Any]:
    return translated_documents({"en-de": path}, sentences=2, **parts)


def translations_or_not(path: str, **parts: Any) -> Corpus[Any]:
    return translation_or_not({"en-de": path}, steps=5, width=8, **parts)
