"""Scores of all entities fast and nearly right, with a bound that says where the exact score must decide.

    dot: s(q, c) = q·c + bias                                 one matrix product
    L2:  s(q, c) = q·c - ‖c‖²/2 = (‖q‖² - ‖q - c‖²) / 2       one matrix product
    L1:  s(q, c) = -Σ_k |q_k - c_k|                           column by column, on tiles that stay in the cache

Floating-point sums depend on their order, so these differ from the scores that `Interaction.scores` defines by at most
γ = (width + 4) · 2⁻²⁴ relative to the summed magnitudes (Higham, 2002, section 3.1). A candidate outside the band of
±4γ around the true answer is surely better or surely worse; the few inside are scored exactly. Ranks are therefore
those of the exact scores, ties included, at the speed of the fast ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from kg.embeddings.answers import Side
from kg.embeddings.interactions import ALONE, Interaction, TransE

__all__ = ["Scorer", "ScreenedQueries", "ScreenedTransE"]

_TILE_ROWS, _TILE_COLUMNS = 64, 2048  # half a megabyte a tile: two of them stay in a core's cache


class Scorer(Protocol):
    """What ranking needs of a model. Scores are higher for better answers.

    Attributes:
        exact: whether `score_all` gives the scores themselves, so that `score` is never asked.
        block_size: most questions to hand to `score_all` at once.
    """

    entity_count: int
    relation_count: int
    exact: bool
    block_size: int

    def score_all(
        self,
        given: Int64[np.ndarray, "question"],
        relations: Int64[np.ndarray, "question"],
        side: Side,
        out: Float32[np.ndarray, "question entity"],
    ) -> None:
        """Writes a number for every entity that grows with its score as the answer to each question."""

    def score(
        self,
        given: Int64[np.ndarray, "row"],
        relations: Int64[np.ndarray, "row"],
        side: Side,
        candidates: Int64[np.ndarray, "row"],
    ) -> Float32[np.ndarray, "row"]:
        """Returns the exact score of each row's candidate."""

    def bounds(
        self,
        given: Int64[np.ndarray, "row"],
        relations: Int64[np.ndarray, "row"],
        side: Side,
        scores: Float32[np.ndarray, "row"],
        tolerance: float,
    ) -> tuple[Float32[np.ndarray, "row"], Float32[np.ndarray, "row"]]:
        """Returns, in units of `score_all`, below what a candidate surely scores less than `scores` - tolerance,
        and above what it surely scores more than `scores` + tolerance."""


class ScreenedQueries:
    """Any interaction over fixed vectors: heads through inverse relations, where there are any.

    A question's query is made once and kept while its block is ranked, so that all its candidates meet the same one.

    Args:
        interaction: what makes queries and how they are compared.
        entities, relations: the vectors, finite.
        shared: what the interaction shares.
        biases: one number a candidate, added to its score.
        reciprocal: whether the second half of `relations` are the inverse ones of the first.
    """

    exact = False
    block_size = 1024

    def __init__(
        self,
        interaction: Interaction,
        entities: Float32[np.ndarray, "entity width"],
        relations: Float32[np.ndarray, "relation number"],
        *,
        shared: Mapping[str, torch.Tensor] = ALONE,
        biases: Float32[np.ndarray, "entity"] | None = None,
        reciprocal: bool = False,
    ) -> None:
        self.interaction, self.shared, self.reciprocal = interaction, shared, reciprocal
        self.entities, self.relations = torch.from_numpy(entities), torch.from_numpy(relations)
        self.entity_count = len(entities)
        self.relation_count = len(relations) // 2 if reciprocal else len(relations)
        self._biases = biases
        self._columns = np.ascontiguousarray(entities.T)
        self._halves = (entities.astype(np.float64) ** 2).sum(1) / 2
        self._gamma = (entities.shape[1] + 4) * 2.0**-24
        self._kept: tuple[Side, np.ndarray, torch.Tensor] | None = None

    def _queries(
        self, given: Int64[np.ndarray, "row"], relations: Int64[np.ndarray, "row"], side: Side
    ) -> Float32[torch.Tensor, "row width"]:
        keys = given * self.relation_count + relations
        if self._kept is not None and self._kept[0] == side and len(self._kept[1]):
            places = np.minimum(np.searchsorted(self._kept[1], keys), len(self._kept[1]) - 1)
            if (self._kept[1][places] == keys).all():
                return self._kept[2][torch.from_numpy(places)]
        distinct, rows = np.unique(keys, return_inverse=True)
        known, links = np.divmod(distinct, self.relation_count)
        self._kept = (side, distinct, self._asked(known, links, side))
        return self._kept[2][torch.from_numpy(rows)]

    def given(
        self, entities: Int64[np.ndarray, "row"], relations: Int64[np.ndarray, "row"], side: Side
    ) -> Float32[torch.Tensor, "row width"]:
        """Returns the vectors of the known entities of questions; a subclass may read them with the relation."""
        return self.entities[torch.from_numpy(entities)]

    @torch.no_grad()
    def _asked(
        self, given: Int64[np.ndarray, "row"], relations: Int64[np.ndarray, "row"], side: Side
    ) -> Float32[torch.Tensor, "row width"]:
        if self.reciprocal and side == "head":
            relations, side = relations + self.relation_count, "tail"
        known = self.given(given, relations, side)
        distinct, links = (torch.from_numpy(found) for found in np.unique(relations, return_inverse=True))
        return self.interaction.queries(known, self.relations[distinct], links, side, self.shared)

    def score_all(
        self,
        given: Int64[np.ndarray, "question"],
        relations: Int64[np.ndarray, "question"],
        side: Side,
        out: Float32[np.ndarray, "question entity"],
    ) -> None:
        """Writes s(q, c) of the module's head. Cost: questions × entities × width."""
        queries = self._queries(given, relations, side)
        if self.interaction.comparison == "l1":
            _minus_absolute_sums(queries.T.contiguous(), torch.from_numpy(self._columns), torch.from_numpy(out))
            return
        np.matmul(queries.numpy(), self._columns, out=out)  # not torch's: its precision is a global setting
        if self.interaction.comparison == "l2":
            out -= self._halves.astype(np.float32)
        elif self._biases is not None:
            out += self._biases

    def score(
        self,
        given: Int64[np.ndarray, "row"],
        relations: Int64[np.ndarray, "row"],
        side: Side,
        candidates: Int64[np.ndarray, "row"],
    ) -> Float32[np.ndarray, "row"]:
        """Returns the interaction's `scores`, in chunks."""
        scores = np.empty(len(given), np.float32)
        for start in range(0, len(given), 1 << 16):
            part = slice(start, start + (1 << 16))
            queries = self._queries(given[part], relations[part], side)
            scores[part] = self.interaction.scores(queries, self.entities[torch.from_numpy(candidates[part])]).numpy()
        return scores if self._biases is None else scores + self._biases[candidates]

    def bounds(
        self,
        given: Int64[np.ndarray, "row"],
        relations: Int64[np.ndarray, "row"],
        side: Side,
        scores: Float32[np.ndarray, "row"],
        tolerance: float,
    ) -> tuple[Float32[np.ndarray, "row"], Float32[np.ndarray, "row"]]:
        """Returns the ends of the band, rounded outwards."""
        exact = scores.astype(np.float64)
        near, far = np.maximum(-exact - tolerance, 0.0), -exact + tolerance
        if self.interaction.comparison == "l1":
            slack = 4 * self._gamma * far
            return _outwards(-far - slack, -near + slack)
        squares = self._queries(given, relations, side).double().square().sum(1).numpy()
        largest = 2 * float(self._halves.max(initial=0.0))
        if self.interaction.comparison == "dot":
            bias = 0.0 if self._biases is None else float(np.abs(self._biases).max(initial=0.0))
            slack = 4 * self._gamma * (np.sqrt(squares * largest) + bias + np.abs(exact))
            return _outwards(exact - tolerance - slack, exact + tolerance + slack)
        slack = 4 * self._gamma * (np.sqrt(squares * largest) + largest / 2 + squares / 2 + far**2)
        return _outwards((squares - far**2) / 2 - slack, (squares - near**2) / 2 + slack)


class ScreenedTransE(ScreenedQueries):
    """TransE over fixed vectors; its queries are made anew whenever they are needed, which is quicker.

    Args:
        interaction: the distance.
        entities, relations: the vectors, finite.
    """

    def __init__(
        self,
        interaction: TransE,
        entities: Float32[np.ndarray, "entity width"],
        relations: Float32[np.ndarray, "relation width"],
    ) -> None:
        super().__init__(interaction, entities, relations)

    def _queries(
        self, given: Int64[np.ndarray, "row"], relations: Int64[np.ndarray, "row"], side: Side
    ) -> Float32[torch.Tensor, "row width"]:
        return self._asked(given, relations, side)


def _outwards(
    low: Float64[np.ndarray, "row"], high: Float64[np.ndarray, "row"]
) -> tuple[Float32[np.ndarray, "row"], Float32[np.ndarray, "row"]]:
    return (
        np.nextafter(low.astype(np.float32), np.float32(-np.inf)),
        np.nextafter(high.astype(np.float32), np.float32(np.inf)),
    )


def _minus_absolute_sums(
    queries: Float32[torch.Tensor, "width question"],
    candidates: Float32[torch.Tensor, "width entity"],
    out: Float32[torch.Tensor, "question entity"],
) -> None:
    """Writes minus the sum over columns of absolute differences; twice as fast as `torch.cdist`."""
    width, rows = queries.shape
    for top in range(0, rows, _TILE_ROWS):
        left = queries[:, top : top + _TILE_ROWS, None].unbind(0)
        for start in range(0, candidates.shape[1], _TILE_COLUMNS):
            right = candidates[:, None, start : start + _TILE_COLUMNS].unbind(0)
            total = torch.zeros(left[0].shape[0], right[0].shape[1])
            difference = torch.empty_like(total)
            for column in range(width):
                torch.sub(left[column], right[column], out=difference)
                total.sub_(difference.abs_())
            out[top : top + _TILE_ROWS, start : start + _TILE_COLUMNS] = total
