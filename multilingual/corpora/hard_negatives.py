"""Pairs that are translations, and pairs that are nearly so: the nearest other sentences of a first-stage retriever.

    (x, y)  translation                 vector of a sentence: the mean of its word vectors, through a tanh layer
    (x, y') other                       y': not y, and among those of the highest cosine with x

Half of the texts are translations. Told apart by a text classifier (`kelm.tasks.classification`) that reads both
sentences together, this is Unicoder's paraphrase classification. All pairs are held in memory, with a vector of 4 x
`width` bytes a sentence: for up to a few million pairs (`most` takes the first ones).
Source: Huang et al., 2019 (Unicoder), section 3.2; the retriever is a deep averaging network (Iyyer et al., 2015) over
the model's own pieces, the loss a softmax over the batch (Guo et al., 2018), where the paper says random negatives.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.labeled_text import Labeled
from kelm.data.reader import Reader
from kelm.errors import InputError
from kelm.model.config import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Float, Int, Tensor
from multilingual.corpora.parallel import Order, pair_parts
from multilingual.corpora.sampling import Sampled, Unit, in_languages

__all__ = ["LABELS", "AveragingRetriever", "Paraphrases", "nearest_others", "trained_retriever", "translation_or_not"]

LABELS = ("other", "translation")
_BATCH = 256  # pairs of a step of the retriever
_BLOCK = 1024  # sentences whose scores are held at once


class AveragingRetriever(nn.Module):
    """A deep averaging network: the mean of a sentence's word vectors, through one tanh layer, at length one."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary, width, mode="mean")
        self.dense = nn.Linear(width, width)

    def forward(self, tokens: Sequence[Int[Tensor, "..."]]) -> Float[Tensor, "text width"]:
        """Returns a vector of length one of each text."""
        starts = torch.tensor([0, *(len(one) for one in tokens[:-1])]).cumsum(0)
        return normalize(torch.tanh(self.dense(self.words(torch.cat(list(tokens)), starts))), dim=-1)

    @torch.no_grad()
    def vectors(self, texts: Sequence[Int[Tensor, "..."]]) -> Float[Tensor, "text width"]:
        return torch.cat([self(texts[at : at + _BLOCK]) for at in range(0, len(texts), _BLOCK)])


def trained_retriever(
    sides: tuple[Sequence[Int[Tensor, "..."]], Sequence[Int[Tensor, "..."]]],
    vocabulary: int,
    *,
    width: int,
    steps: int,
    seed: int,
) -> AveragingRetriever:
    """Returns a retriever that tells a sentence's translation from the others of a batch, in both directions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AveragingRetriever(vocabulary, width)
        optim = torch.optim.Adam(model.parameters(), lr=5e-3, fused=True)
        drawn = np.random.default_rng(seed)
        for _ in range(steps):
            some = drawn.choice(len(sides[0]), min(_BATCH, len(sides[0])), replace=False)
            first, second = (model([side[place] for place in some]) for side in sides)
            scores, right = first @ second.T * 20, torch.arange(len(some))
            optim.zero_grad()
            (cross_entropy(scores, right) + cross_entropy(scores.T, right)).backward()
            optim.step()
    return model.eval()


def nearest_others(
    asking: Float[Tensor, "text width"],
    offered: Float[Tensor, "text width"],
    same: Sequence[Int[np.ndarray, "text"]],
    count: int,
) -> Int[np.ndarray, "text count"]:
    """Returns for each text the `count` texts of highest score on the other side that are no translation of it.

    Args:
        same: of each side, a number for each text, equal for equal texts: what stands beside an equal text is a
            translation too, and so is what is equal to the own one.
    """
    sides = [torch.from_numpy(side) for side in same]
    found = []
    for at in range(0, len(asking), _BLOCK):
        scores = asking[at : at + _BLOCK] @ offered.T
        for side in sides:
            scores[side[at : at + _BLOCK, None] == side] = -torch.inf
        found.append(scores.topk(count).indices)
    return torch.cat(found).numpy()


class Paraphrases(Corpus[Text]):
    """Each pair twice: as it is, and with one of the `hardest` other sentences in the place of its translation.

    Args:
        pairs: with languages, all in one order (`translations` with ``order="given"``).
        hardest: nearest others, of which one is drawn for each pair.
        order: "mixed" gives half of the pairs the other way round; negatives are then found in the other language.
        most: pairs that are read.

    Raises:
        InputError: a sentence has no other one that is not its translation, or an option is below 1.
    """

    def __init__(
        self,
        pairs: Corpus[Text],
        tokenizer: Tokenizer,
        *,
        hardest: int = 10,
        width: int = 64,
        steps: int = 500,
        order: Order = "mixed",
        most: int = 1_000_000,
        seed: int = 0,
    ) -> None:
        for name, value in {"hardest": hardest, "width": width, "most": most}.items():
            if value < 1:
                raise InputError(f"{name} is {value}", field=name, remedy="Give 1 or more.")
        self.order, self.seed = order, seed
        self.pairs = [text for text, _ in islice(pairs.stream(), most)]
        self.others = self._others(tokenizer, hardest, width, steps)
        options = (pairs.fingerprint(), tokenizer.fingerprint(), hardest, width, steps, order, most, seed)
        self._digest = digest("Paraphrases", *options, [side.tolist() for side in self.others])

    def _others(self, tokenizer: Tokenizer, hardest: int, width: int, steps: int) -> list[Int[np.ndarray, "text"]]:
        """Returns for each pair the pair whose second, or first, side it gets."""
        texts = [[pair.text for pair in self.pairs], [pair.pair or "" for pair in self.pairs]]
        same = [np.unique(side, return_inverse=True)[1].reshape(-1) for side in texts]
        alike = sum(np.bincount(side)[side] for side in same)
        spare = len(self.pairs) + 1 - int(np.max(alike)) if self.pairs else 0
        if spare < 1:
            problem = f"among {len(self.pairs)} pairs some sentence has no other one that is not its translation"
            raise InputError(problem, field="files", remedy="Give more pairs, or leave out what is repeated.")
        encoded = [[torch.from_numpy(one.tokens) for one in tokenizer.encode(side)] for side in texts]
        model = trained_retriever(
            (encoded[0], encoded[1]), tokenizer.vocabulary_size, width=width, steps=steps, seed=self.seed
        )
        vectors = [model.vectors(side) for side in encoded]
        drawn = np.random.default_rng(self.seed)
        chosen = []
        for side in (1, 0):
            near = nearest_others(vectors[1 - side], vectors[side], same, min(hardest, spare))
            chosen.append(near[np.arange(len(near)), drawn.integers(near.shape[1], size=len(near))])
        return chosen

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        first = shard.index if start is None else start
        for number in range(first, 2 * len(self.pairs), shard.count):
            yield self._text(number), number + shard.count

    def _text(self, number: int) -> Text:
        at, other = number // 2, number % 2
        pair = self.pairs[at]
        turned = self.order == "mixed" and random.Random(f"{self.seed} {at}").random() < 0.5
        told: dict[str, Any] = {**pair.fields, "label": LABELS[1 - other]}
        text, second = (pair.pair, pair.text) if turned else (pair.text, pair.pair)
        if other:
            instead = self.pairs[self.others[int(turned)][at]]
            second = instead.text if turned else instead.pair
        if turned:
            told |= {"language": told["pair_language"], "pair_language": told["language"]}
        return replace(pair, text=text or "", pair=second, number=number, fields=told)

    def fingerprint(self) -> str:
        return self._digest


@dataclass(frozen=True, slots=True)
class _Told:
    """Gives a pair its label and its languages."""

    labeled: Labeled

    def __call__(self, encoded: Encoded, text: Text) -> Encoded:
        return in_languages(self.labeled(encoded, text), text)

    def fingerprint(self) -> str:
        return digest("told", self.labeled.fingerprint())


def translation_or_not(
    files: Mapping[str, str | Sequence[str]],
    *,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    columns: Sequence[int | str] = (0, 1),
    order: Order = "mixed",
    hardest: int = 10,
    width: int = 64,
    steps: int = 500,
    most: int = 1_000_000,
    alpha: float = 0.0,
    unit: Unit = "texts",
    length: int | None = None,
    identifier: str | None = None,
    seed: int = 0,
) -> Corpus[Encoded]:
    """Returns pairs labeled "translation" or "other", half of each. Registered as ``translation_or_not``.

    The task is `classification` with ``labels = ["other", "translation"]`` and ``states = ["first"]``.

    Args:
        files, columns: see `parallel_text`.
        hardest, order, most: see `Paraphrases`, for each two languages.
        width, steps: of the retriever, which is trained when this is made: some seconds on a CPU for 500 steps.
        alpha, unit: how often each pair of languages is drawn, see `Sampled`; Unicoder draws all alike.
        length: tokens of a pair at most; the longer side is cut first. None: as many as the model reads.
        identifier: the path of fastText's model; the first pairs must be in their languages (`check_languages`).

    Raises:
        InputError, FormatError: see `parallel_text` and `Paraphrases`.
    """
    options: dict[str, Any] = {"hardest": hardest, "width": width, "steps": steps, "order": order, "most": most}
    parts = pair_parts(files, columns=columns, order="given", seed=seed, identifier=identifier)
    told = {name: Paraphrases(part, tokenizer, **options, seed=seed) for name, part in parts.items()}
    sampled = Sampled(told, alpha=alpha, unit=unit, seed=seed)
    attach = _Told(Labeled("label", LABELS))
    return Reader(sampled, tokenizer, min(length or config.longest, config.longest), attach=attach, both=True)
