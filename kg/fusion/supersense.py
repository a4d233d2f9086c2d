"""SenseBERT: the sense vectors of a word are part of its input (Levine et al., 2020, section 3.1, equation 1).

    v = (W + S M) x + p        W: words, S: supersenses (d x 45), M: which a word may have (45 x words), p: position

x is the token that is seen, so a masked word shows no senses. S is also what the objective `supersense` compares states
with. M is fixed and comes from a graph of WordNet; it is saved with the model, which is read without the graph.

Differs from the paper: S starts at zero, so that a checkpoint is what it was; a token has senses only where it is the
whole word, not where other pieces go on with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import pad

from kelm.batch import Batch
from kelm.errors import KelmError
from kelm.model.config import EncoderConfig
from kelm.model.extension import Extension, Stream
from kelm.text.tokenizer import check_fits
from kelm.text.tokenizer import open as open_tokenizer
from kelm.typing import Bool, Float, Int, Tensor
from kg.graph import KnowledgeGraph
from kg.io.wordnet import SUPERSENSES
from kg.linking.supersenses import JOINS, OPENS, SenseLexicon, TokenSenses

__all__ = ["Supersense"]


class Supersense(Extension):
    """Adds to the vector of each word the vectors of the supersenses that it may have.

    `Stream.side["senses"]` holds S, a row for each supersense.

    Args:
        graph: folder of a graph whose types are supersenses; or give the matrix later to `attach`.
        tokenizer: of the model, a path or a name; needed with `graph`.
        languages: in which the graph's words are looked up.
        shortest: words of fewer letters have no senses (paper: 4); see `SenseLexicon`.
        senses: their names, in the order of the rows of S.

    Raises:
        KelmError: `graph` is given without `tokenizer`.
        VocabularyMismatch: the tokenizer and the model have different vocabularies.
    """

    allowed: Tensor
    codes: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        *,
        graph: str | None = None,
        tokenizer: str | None = None,
        languages: Sequence[str] = ("en",),
        shortest: int = 4,
        senses: Sequence[str] = SUPERSENSES,
    ) -> None:
        super().__init__(config, senses=list(senses))
        self.senses = tuple(senses)
        self.vectors = nn.Parameter(torch.zeros(len(self.senses), config.hidden_size))
        self.register_buffer("allowed", torch.zeros(config.vocab_size, len(self.senses), dtype=torch.bool))
        self.register_buffer("codes", torch.zeros(config.vocab_size, dtype=torch.uint8))
        if graph is None:
            return
        if tokenizer is None:
            raise KelmError(
                "supersense: graph is given without tokenizer, which tells the words of the vocabulary. "
                "Give the option `tokenizer`, a path or a name, that of the model."
            )
        words = open_tokenizer(tokenizer)
        check_fits(words, config)
        opened = KnowledgeGraph.open(graph, verify=False)
        lexicon = SenseLexicon.from_graph(opened, languages, senses=self.senses, shortest=shortest)
        self.attach(lexicon.tokens(words, config.vocab_size))

    def attach(self, tokens: TokenSenses) -> None:
        """Takes the matrix of a vocabulary.

        Raises:
            KelmError: it has other senses, or another number of tokens.
        """
        if tokens.senses != self.senses or tokens.allowed.shape != self.allowed.shape:
            raise KelmError(
                f"supersense: the matrix has {len(tokens.allowed)} tokens and {len(tokens.senses)} senses, the model "
                f"{len(self.allowed)} and {len(self.senses)}. Make it with the model's tokenizer, "
                "SenseLexicon.tokens(tokenizer, config.vocab_size), and the same names of senses."
            )
        self.allowed.copy_(torch.from_numpy(tokens.allowed))
        self.codes.copy_(torch.from_numpy(tokens.codes))

    def embed(self, vectors: Float[Tensor, "row token width"], batch: Batch) -> Float[Tensor, "row token width"]:
        if self.muted:
            return vectors
        allowed = self.allowed[batch.tokens] & self._whole(batch.tokens).unsqueeze(-1)
        return vectors + allowed.to(vectors.dtype) @ self.vectors.to(vectors.dtype)

    def _whole(self, tokens: Int[Tensor, "row token"]) -> Bool[Tensor, "row token"]:
        """Returns where a token is a whole word: it goes on with none, and none goes on with it."""
        codes = self.codes[tokens]
        opened = pad(codes[:, :-1] == OPENS, (1, 0), value=True)
        joins = (codes == JOINS) & ~opened
        return ~joins & ~pad(joins[:, 1:], (0, 1))

    def finish(self, stream: Stream) -> Stream:
        return stream.having(side={**stream.side, "senses": self.vectors})
