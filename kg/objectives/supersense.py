"""SenseBERT: tell hidden words, and which supersenses they may have (Levine et al., 2020, sections 3.1 to 3.3).

    p = softmax(S h)                        S: the sense vectors of the extension `supersense`, a row each
    L_allowed = -log Σ_{s in A(w)} p(s)     w: the hidden word, A(w): what it may mean
    L_regularization = -1/|A(w)| Σ_{s in A(w)} log p(s)
    L = L_words + L_allowed + L_regularization

h is the mean of the states of a word's pieces (the paper's second way with words in pieces), so every hidden word with
senses counts, in the vocabulary or not.

Masking: whole words, 15 % of the tokens. First half of a text's words with a single supersense, up to 40 % of these;
for the rest any. One word in ten is seen as it is, one as other tokens, eight as the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import gelu, linear, log_softmax

from kelm.batch import Batch, Encoded, Part, Texts
from kelm.errors import KelmError
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses, Objective
from kelm.objectives.masking import Masking, whole_words
from kelm.objectives.mlm import MaskedLanguageModel, MaskedLanguageModelCollate
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Float, Int, Tensor
from kg.graph import KnowledgeGraph
from kg.io.wordnet import SUPERSENSES
from kg.linking.supersenses import SenseLexicon, spelled

__all__ = ["AllowedSenses", "SenseMasking", "SensePieces", "Supersense", "SupersenseCollate"]

NAME, REGULARIZATION = "supersense", "supersense_regularization"


@dataclass(frozen=True, slots=True)
class SensePieces(Part):
    """The tokens of the hidden words with senses; `word` counts these words through the batch."""

    indices: ClassVar = {"row": "row", "token": "token"}
    row: Int[Tensor, "piece"]
    token: Int[Tensor, "piece"]
    word: Int[Tensor, "piece"]


@dataclass(frozen=True, slots=True)
class AllowedSenses(Part):
    """What each of these words may mean: a line for each word and sense."""

    word: Int[Tensor, "meaning"]
    sense: Int[Tensor, "meaning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseMasking(Masking):
    """Masking of whole words that prefers those with a single supersense.

    Attributes:
        lexicon: tells which these are.
        single: share of a text's words with a single sense that are chosen first.
        most: share of the targets that are chosen so at most (tokens, rounded at random).
    """

    lexicon: SenseLexicon
    single: float = 0.5
    most: float = 0.4

    def __post_init__(self) -> None:
        Masking.__post_init__(self)
        for name, value in (("single", self.single), ("most", self.most)):
            if not 0 <= value <= 1:
                raise KelmError(f"SenseMasking: {name} is {value}; it is a share, between 0 and 1.")

    @property
    def shares_fate(self) -> bool:
        """A word is seen as it is, or not, as a whole."""
        return True

    def _units(
        self, text: Encoded, maskable: Int[np.ndarray, "maskable"], budget: int, random: np.random.Generator
    ) -> list[Int[np.ndarray, "..."]]:
        words = whole_words(text, maskable)
        single = [place for place, word in enumerate(words) if len(self.lexicon.of(spelled(text, word)[0])) == 1]
        half = int(len(single) * self.single + random.random())
        left = int(budget * self.most + random.random())
        chosen: set[int] = set()
        for place in random.permutation(single)[:half].astype(np.int64).tolist():
            if len(words[place]) <= left:
                chosen.add(place)
                left -= len(words[place])
        units = [words[place] for place in sorted(chosen)]
        budget -= sum(map(len, units))
        others = [word for place, word in enumerate(words) if place not in chosen]
        if budget <= 0 or not others:
            return units
        fitting = self._words(others, budget, random)
        return units if units and len(fitting[0]) > budget else units + fitting


@dataclass(frozen=True)
class SupersenseCollate:
    """Masks words, packs, and says what the masked words may mean."""

    words: MaskedLanguageModelCollate
    lexicon: SenseLexicon

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        batch, places = self.words.masked(texts, seed)
        pieces: list[np.ndarray] = []
        senses: list[tuple[int, ...]] = []
        for text, some, row, first in zip(
            texts, places, batch[Texts].row.tolist(), batch[Texts].first.tolist(), strict=True
        ):
            for word in whole_words(text, some) if len(some) else ():
                name, tokens = spelled(text, word)
                if allowed := self.lexicon.of(name):
                    count = np.ones_like(tokens)
                    pieces.append(np.stack([row * count, first + tokens, len(senses) * count]))
                    senses.append(allowed)
        columns = np.concatenate([np.zeros((3, 0), np.int64), *pieces], axis=1)
        owners = chain.from_iterable(repeat(word, len(allowed)) for word, allowed in enumerate(senses))
        return batch.having(
            SensePieces(*torch.from_numpy(columns)),
            AllowedSenses(
                torch.tensor(list(owners), dtype=torch.long),
                torch.tensor(list(chain.from_iterable(senses)), dtype=torch.long),
            ),
            objective=NAME,
            units={**batch.units, NAME: len(senses), REGULARIZATION: len(senses)},
        )


class Supersense(Objective[Encoded]):
    """Supersenses with masked language modelling. Needs an encoder with the extension `supersense`.

    Args:
        tokenizer: tells the mask, padding and special tokens; only asked here, not kept.
        encoder: only asked for the names of its supersenses, not kept.
        graph: folder of a graph whose types are supersenses.
        languages, shortest: see `SenseLexicon`; the same as the extension's.
        lexicon: in place of `graph`.
        transform: the states pass a layer of their own, as before the vocabulary (paper: no).
        single, most: see `SenseMasking`.
        mlm: options of the masked language model.

    Raises:
        KelmError: the encoder has no extension `supersense` or other senses, or there is no `graph`.
    """

    collate: SupersenseCollate

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tokenizer: Tokenizer,
        encoder: Encoder | None = None,
        graph: str | None = None,
        languages: Sequence[str] = ("en",),
        shortest: int = 4,
        lexicon: SenseLexicon | None = None,
        transform: bool = False,
        single: float = 0.5,
        most: float = 0.4,
        mlm: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        senses = _senses(config if encoder is None else encoder.config)
        if lexicon is None:
            lexicon = _opened(graph, languages, senses, shortest)
        if list(lexicon.senses) != senses:
            raise KelmError(
                f"supersense: the lexicon has {len(lexicon.senses)} senses, the encoder's extension {len(senses)}, or "
                "in another order. Give both the same names."
            )
        self.name = NAME
        self.mlm = MaskedLanguageModel(config, tokenizer=tokenizer, **{"kind": "word", **(mlm or {})})
        self.transform = _Transform(config) if transform else None
        usual = self.mlm.collate.masking
        masking = SenseMasking(
            mask=usual.mask,
            vocabulary=usual.vocabulary,
            special=usual.special,
            rate=usual.rate,
            kind="word",
            mask_share=usual.mask_share,
            random_share=usual.random_share,
            lexicon=lexicon,
            single=single,
            most=most,
        )
        self.collate = SupersenseCollate(MaskedLanguageModelCollate(masking, tokenizer.pad), lexicon)

    def compare(
        self, states: Float[Tensor, "word width"], senses: Float[Tensor, "sense width"]
    ) -> Float[Tensor, "word sense"]:
        """Returns a logit for every supersense at the state of each word."""
        return linear(states if self.transform is None else self.transform(states), senses.to(states.dtype))

    def states(self, batch: Batch, stream: Stream) -> Float[Tensor, "word width"]:
        """Returns the mean over the pieces of each word of `SensePieces`."""
        pieces, count = batch[SensePieces], batch.units[NAME]
        states = stream.hidden[pieces.row, pieces.token]
        sums = states.new_zeros(count, states.shape[-1]).index_add(0, pieces.word, states)
        return sums / torch.bincount(pieces.word, minlength=count).unsqueeze(-1)

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        allowed_senses = batch[AllowedSenses]
        logs = log_softmax(self.compare(self.states(batch, stream), stream.side["senses"]).float(), dim=-1)
        allowed = torch.zeros_like(logs, dtype=torch.bool)
        allowed[allowed_senses.word, allowed_senses.sense] = True
        together = logs.masked_fill(~allowed, float("-inf")).logsumexp(-1)
        even = logs.masked_fill(~allowed, 0.0).sum(-1) / allowed.sum(-1)
        return {**self.mlm.loss(batch, stream), NAME: -together.sum(), REGULARIZATION: -even.sum()}


class _Transform(nn.Module):
    """The layer before BERT's vocabulary head."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        nn.init.normal_(self.dense.weight, std=config.initializer_range)
        nn.init.zeros_(self.dense.bias)

    def forward(self, states: Float[Tensor, "word width"]) -> Float[Tensor, "word width"]:
        normed: Tensor = self.layer_norm(gelu(self.dense(states)))
        return normed


def _senses(config: EncoderConfig) -> list[str]:
    options = (config.extensions or {}).get("supersense")
    if options is None:
        raise KelmError(
            "supersense: the encoder has no sense vectors. Give it the extension of that name "
            "([model.extensions.supersense] in a recipe)."
        )
    return list(options.get("senses", SUPERSENSES))


def _opened(graph: str | None, languages: Sequence[str], senses: Sequence[str], shortest: int) -> SenseLexicon:
    if graph is None:
        raise KelmError("supersense: nothing tells the words' senses. Give `graph`, the folder of a graph of WordNet.")
    opened = KnowledgeGraph.open(graph, verify=False)
    return SenseLexicon.from_graph(opened, languages, senses=senses, shortest=shortest)
