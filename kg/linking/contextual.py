"""Linking by what the text says: candidates are judged by how well their texts fit the mention in its context.

    p(e | m, x) = exp(a s(m, e) + b log p(e | name)) / (exp(a t) + Σ over candidates e' of exp(a s(m, e') + b log ...))

s is the cosine of `kg.linking.bi_encoder`, p(e | name) the prior of the linker that finds mentions and candidates, a
and b are weights. t is the cosine at which "no entity" is as likely as a fitting entity of prior 1; without it (None)
the first term is missing. The entity's vectors are computed before (`kg.linking.entity_vectors`); at link time only
the text is encoded, once for all its mentions, and the vectors of candidates are looked up.

When to say "no entity" is then a threshold on p (`kg.linking.nil`). Source: Wu et al., 2020, section 4.1; the prior
beside the context as in Ganea & Hofmann, 2017, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Float64

from kelm.batch import Encoded, pack
from kelm.data.bucketing import bucketed
from kelm.errors import InputError
from kelm.model import Encoder
from kelm.text.spans import locate
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.linking.base import NIL, Candidate, Disambiguator, Mention
from kg.linking.bi_encoder import Places, mention_vectors

__all__ = ["ContextWeights", "ContextualLinker"]

_TOKENS = 4096  # of a batch
Span = tuple[int, int]  # first and last token, both included
_Wanted = tuple[int, int]  # number of a text, and of a mention in it


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextWeights:
    """How text and prior are weighed.

    Attributes:
        context: a, the weight of the cosine; the `scale` that the encoder was trained with.
        prior: b, the weight of the logarithm of the prior.
        nothing: t, the cosine at which "no entity" is as likely; None: never, so that a lone candidate is certain.
        around: weight of the whole text in a mention's vector; the `context` that the encoder was trained with.
        length: tokens of the text around a mention; of longer texts a window is read.
        nearest: so many entities that fit best by their vectors are candidates too, whatever they are called.
        floor: prior of candidates that the name does not tell.
    """

    context: float = 20.0
    prior: float = 1.0
    nothing: float | None = None
    around: float = 0.5
    length: int = 96
    nearest: int = 0
    floor: float = 1e-3

    def __post_init__(self) -> None:
        for name, least in (("context", 0), ("prior", 0), ("length", 8), ("nearest", 0)):
            if not getattr(self, name) >= least:
                raise InputError(
                    f"expected {least} or more, found {getattr(self, name)}", field=name, remedy="Give a larger number."
                )
        for name, value in (("around", self.around), ("floor", self.floor)):
            if not (0 <= value <= 1 and (value or name == "around")):
                raise InputError(f"expected a share, found {value}", field=name, remedy="Give a number up to 1.")


class ContextualLinker:
    """Judges the candidates of another linker by the text around their mentions.

    Args:
        names: finds mentions and candidates; of those given without any, nothing is said unless `nearest` is.
        vectors: of entities; a candidate without one has the cosine 0, as "no entity" has where there is no `nothing`.

    Raises:
        InputError: encoder and vectors have different widths.

    Cost: one pass of the encoder over each text with a mention that leaves a choice, twice over long ones; with
    `nearest` one pass over the table for each mention.
    """

    def __init__(
        self,
        names: Disambiguator,
        encoder: Encoder,
        tokenizer: Tokenizer,
        vectors: EntityTable,
        weights: ContextWeights | None = None,
    ) -> None:
        if vectors.width != encoder.config.hidden_size:
            raise InputError(
                f"the encoder's states have {encoder.config.hidden_size} numbers, the vectors {vectors.width}",
                field="vectors",
                remedy="Make them with this encoder: kg.linking.entity_vectors.",
            )
        self.names, self.encoder, self.tokenizer, self.vectors = names, encoder.eval(), tokenizer, vectors
        self.weights = weights or ContextWeights()

    def link(self, text: str, language: str | None = None) -> list[Mention]:
        """Returns the mentions of one text; see `kg.linking.base.EntityLinker`."""
        return self.link_all([text], language)[0]

    def link_all(self, texts: Sequence[str], language: str | None = None) -> list[list[Mention]]:
        """Returns the mentions of each text."""
        return self.judge(texts, self.names.link_all(texts, language))

    def disambiguate(
        self, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]], language: str | None = None
    ) -> list[list[Mention]]:
        """Returns a mention for each place, characters [start, end), of each text."""
        return self.judge(texts, self.names.disambiguate(texts, places, language))

    def judge(self, texts: Sequence[str], found: Sequence[Sequence[Mention]]) -> list[list[Mention]]:
        """Returns the mentions with their candidates judged and sorted."""
        return self.weigh(found, self.mention_vectors(texts, found))

    def weigh(
        self, found: Sequence[Sequence[Mention]], vectors: Mapping[_Wanted, Float32[np.ndarray, "width"]]
    ) -> list[list[Mention]]:
        """Returns the mentions judged by vectors that are there already; see `mention_vectors`."""
        judged = [list(mentions) for mentions in found]
        for (text, number), vector in vectors.items():
            mention = judged[text][number]
            judged[text][number] = replace(mention, candidates=self._weighed(mention.candidates, vector))
        return judged

    def having(self, weights: ContextWeights) -> ContextualLinker:
        """Returns the same linker with other weights."""
        return ContextualLinker(self.names, self.encoder, self.tokenizer, self.vectors, weights)

    def mention_vectors(
        self, texts: Sequence[str], found: Sequence[Sequence[Mention]]
    ) -> dict[_Wanted, Float32[np.ndarray, "width"]]:
        """Returns the vectors of mentions by text and number; those that leave no choice are left out, as are those
        that the tokenizer gives no token."""
        chosen = [number for number, mentions in enumerate(found) if any(map(self._asks, mentions))]
        length = min(self.weights.length, self.encoder.config.longest)
        windows: list[Encoded] = []
        wanted: list[list[_Wanted]] = []
        for text, encoded in zip(chosen, self.tokenizer.encode([texts[number] for number in chosen]), strict=True):
            mentions = found[text]
            touched = locate(encoded, [one.start for one in mentions], [one.end for one in mentions]).tolist()
            spans = {
                number: (first, end - 1)
                for number, (first, end) in enumerate(touched)
                if first >= 0 and self._asks(mentions[number])
            }
            for window, places in _windows(encoded, spans, length):
                windows.append(window.having(Places.of(list(places.values()))))
                wanted.append([(text, number) for number in places])
        return dict(self._encoded(windows, wanted))

    def _asks(self, mention: Mention) -> bool:
        """Whether the text can change what is said of a mention."""
        least = 1 if self.weights.nothing is None else 0
        return self.weights.nearest > 0 or len(mention.candidates) > least

    def _encoded(
        self, windows: Sequence[Encoded], wanted: Sequence[Sequence[_Wanted]]
    ) -> Iterator[tuple[_Wanted, Float32[np.ndarray, "width"]]]:
        device = next(self.encoder.parameters()).device
        for numbers in bucketed([len(window) for window in windows], _TOKENS, None) if windows else ():
            some = [windows[number] for number in numbers]
            batch = pack(some, pad=self.encoder.config.pad_token_id).to(device)
            with torch.no_grad():
                vectors = mention_vectors(batch, self.encoder.encode(batch), self.weights.around)
            yield from zip(
                (one for number in numbers for one in wanted[number]), vectors.float().cpu().numpy(), strict=True
            )

    def _weighed(self, candidates: Sequence[Candidate], vector: Float32[np.ndarray, "width"]) -> tuple[Candidate, ...]:
        """Returns the candidates with their probabilities, best first; of equal ones the more probable prior."""
        weights = self.weights
        if weights.nearest:
            near = [self.vectors.names[int(row)] for row in self.vectors.nearest(vector, weights.nearest)[0]]
            known = {candidate.entity for candidate in candidates}
            candidates = [*candidates, *(Candidate(name, weights.floor) for name in near if name not in known)]
        if not candidates:
            return ()
        priors = np.array([candidate.prior for candidate in candidates])
        logits = weights.context * self._cosines(candidates, vector) + weights.prior * np.log(priors)
        nothing = -np.inf if weights.nothing is None else weights.context * weights.nothing
        highest = max(float(logits.max()), nothing)
        shares = np.exp(logits - highest)
        shares /= shares.sum() + np.exp(nothing - highest)
        scored = [replace(one, score=float(share)) for one, share in zip(candidates, shares, strict=True)]
        return tuple(sorted(scored, key=lambda one: (-one.probability, -one.prior, one.entity)))

    def _cosines(
        self, candidates: Sequence[Candidate], vector: Float32[np.ndarray, "width"]
    ) -> Float64[np.ndarray, "candidate"]:
        rows = self.vectors.ids([candidate.entity for candidate in candidates])
        fits = self.vectors.vectors[np.maximum(rows, 0)] @ vector
        nothing = self.weights.nothing or 0.0
        nil = np.array([candidate.entity == NIL for candidate in candidates])
        return np.where(nil, nothing, np.where(rows < 0, 0.0, fits)).astype(np.float64)


def _windows(text: Encoded, spans: Mapping[int, Span], length: int) -> Iterator[tuple[Encoded, Mapping[int, Span]]]:
    """Yields stretches of a text of at most `length` tokens that overlap by half, with the mentions that lie nearest to
    the middle of each: their first and last tokens there, by number. What reaches beyond a stretch is cut."""
    if len(text) <= length:
        yield from [(text, spans)] if spans else []
        return
    inside = np.flatnonzero(text.words >= 0)
    first, end = int(inside[0]), int(inside[-1]) + 1
    room = length - (len(text) - (end - first))
    begins = np.minimum(np.arange(first, end - room // 2, room // 2), end - room)
    members: dict[int, dict[int, Span]] = {}
    for number, (start, stop) in spans.items():
        begin = int(begins[np.abs(begins + room / 2 - (start + stop + 1) / 2).argmin()])
        start, stop = np.clip((start, stop), begin, begin + room - 1) - begin + first
        members.setdefault(begin, {})[number] = (int(start), int(stop))
    for begin, moved in members.items():
        kept = np.r_[0:first, begin : begin + room, end : len(text)]
        columns = {name: getattr(text, name)[kept] for name in ("tokens", "spans", "words", "segments")}
        yield Encoded(text.text, **columns), moved
