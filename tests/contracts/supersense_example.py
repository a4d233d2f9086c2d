"""The examples of the plug-ins `supersense`: 60 tokens, each a word with one of five senses, or a part of one."""

from __future__ import annotations

import numpy as np
import torch

from kelm.batch import Encoded
from kelm.model import Encoder
from kelm.text.tokenizer import Tokenizer
from kg.fusion.supersense import Supersense as SenseVectors
from kg.linking.supersenses import JOINS, OPENS, SenseLexicon, TokenSenses
from kg.objectives.supersense import Supersense

SENSES = ("noun.animal", "noun.food", "verb.motion", "adj.all", "adv.all")
WORDS = {f"word{'abcdefghij'[token // 10]}{'abcdefghij'[token % 10]}": (token % 5,) for token in range(5, 60)}
LEXICON = SenseLexicon({"xx": WORDS}, SENSES)


def attached(encoder: Encoder) -> Encoder:
    """Gives the extension a matrix: tokens have up to two senses, every seventh goes on with a word."""
    rows = encoder.config.vocab_size
    token = np.arange(rows)[:, None]
    sense = np.arange(len(SENSES))
    allowed = ((token % 5 == sense) | (token % 7 == sense)) & (token >= 5)
    codes = np.where(token[:, 0] < 4, OPENS, np.where(token[:, 0] % 7 == 6, JOINS, 0)).astype(np.uint8)
    extension = encoder.extensions["supersense"]
    assert isinstance(extension, SenseVectors)
    extension.attach(TokenSenses(allowed, codes, SENSES))
    return encoder


def objective(encoder: Encoder, words: Tokenizer) -> Supersense:
    torch.nn.init.normal_(encoder.extensions["supersense"].vectors, std=0.2)
    return Supersense(encoder.config, tokenizer=words, encoder=encoder, lexicon=LEXICON, transform=True)


def spelled_out(text: Encoded) -> Encoded:
    """Returns the text with tokens that spell words."""
    names = list(WORDS)
    inside = text.tokens[1:-1].tolist()
    string = " ".join(names[token - 5] for token in inside)
    starts = np.arange(len(inside)) * 7
    spans = np.full((len(text), 2), -1)
    spans[1:-1] = np.stack([starts, starts + 6], axis=1)
    return text.having(text=string, spans=spans)
