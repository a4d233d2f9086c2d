"""The training loop by autograd: any interaction, against all entities or against shared samples.

    questions (given entity, relation, side) -> queries -> scores of all entities or of the step's negatives
        -> loss + n3 Σ|x|³ + regularization Σ|x|² + duality (|query|² + |answer|²)  -> Adagrad or Adam

Adagrad over samples moves the rows of a step only, to the same effect (with 200,000 entities in a seventeenth of the
time); otherwise every number moves in every step. With inverse relations, of which number r + relation count is the
inverse of r, every question asks for a tail.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from kelm.errors import TrainingDiverged
from kg.embeddings.all_losses import binary_cross_entropy, cross_entropy
from kg.embeddings.answers import Answers, Side, question_keys
from kg.embeddings.course import TrainingRun
from kg.embeddings.losses import LOSSES
from kg.embeddings.negatives import Drawn, Negatives
from kg.embeddings.noise import Noise
from kg.embeddings.parameters import BIASES, first_values, is_learned, shared_of
from kg.embeddings.processes import ALONE, Processes
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.training_state import Moments

__all__ = ["QueryTraining"]

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}
_ALL_LOSSES = {"bce": binary_cross_entropy, "cross_entropy": cross_entropy}


class QueryTraining(TrainingRun):
    """One training run: values, moments, the questions and the random stream.

    Args:
        triples: ids of head, relation and tail.
        recipe: with `recipe.by_autograd`.
        fingerprint: of the graph, if there was one.
        processes: that train together; each of them makes this same call.
    """

    def __init__(
        self,
        triples: Int64[np.ndarray, "triple 3"],
        entity_count: int,
        relation_count: int,
        recipe: EmbeddingRecipe,
        fingerprint: str = "",
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(triples, recipe, fingerprint, processes)
        self.interaction = recipe.interaction()
        self.values = first_values(recipe, entity_count, relation_count, self.random)
        learned = [value.requires_grad_() for name, value in self.values.items() if is_learned(name)]
        # a gradient of zero moves nothing in Adagrad: rows that a step does not touch can be left out
        self.sparse = recipe.training == "sampled" and recipe.optimizer == "adagrad" and recipe.negatives < entity_count
        groups = [{"params": learned[:1], "fused": not self.sparse}, {"params": learned[1:], "fused": True}]
        self.optimizer = _OPTIMIZERS[recipe.optimizer](groups, lr=recipe.rate)  # type: ignore[call-arg]
        rates = recipe.entity_dropout, recipe.relation_dropout, recipe.query_dropout, recipe.feature_dropout
        self.noise = Noise(self.random if processes.count == 1 else torch.Generator(), *rates)
        self.relation_count = len(self.values["relations"])
        self.asked = _asked(triples, relation_count, reciprocal=recipe.reciprocal)
        counts = {"entity_count": entity_count, "relation_count": self.relation_count}
        self.answers = {
            side: Answers.of(asked, side, **counts) for side, asked in self.asked if recipe.training == "kvsall"
        }
        self.negatives = Negatives(self.asked if recipe.training == "sampled" else (), **counts, recipe=recipe)

    def moments(self) -> Moments:
        """Returns torch's state of each parameter, by number."""
        return {str(number): entry for number, entry in self.optimizer.state_dict()["state"].items()}

    def restore_moments(self, moments: Moments) -> None:
        """Takes what `moments` returned."""
        groups = self.optimizer.state_dict()["param_groups"]
        state = {int(number): dict(entry) for number, entry in moments.items()}
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """Trains one pass; returns the mean loss of a question, without penalties, and the triples a second."""
        began, total, questions = time.perf_counter(), 0.0, 0
        batches = list(self._batches())
        for number, batch in enumerate(batches):
            self._set_rate(((epoch - 1) * len(batches) + number) / (self.recipe.epochs * len(batches)))
            loss = self._step(batch)
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"the loss is {loss} in epoch {epoch}, batch {number + 1} of {len(batches)}. "
                    f"Lower the rate (now {self.recipe.rate}) or the scale of the first vectors."
                )
            total, questions = total + loss, questions + sum(len(rows) for _, rows in batch)
        return total / questions, len(self.triples) / (time.perf_counter() - began)

    def _set_rate(self, done: float) -> None:
        share = 1 - done if self.recipe.decay == "linear" else self.course.share
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * share

    def _batches(self) -> Iterator[list[tuple[Side, Int64[np.ndarray, "row 3"]]]]:
        """Yields the steps of an epoch: what is asked at each side. A triple is asked at both ends in one step, unless
        the triples of a question come together."""
        if self.recipe.training != "kvsall":
            if self.recipe.together > 1:
                yield from self._gathered()
                return
            for chunk in torch.randperm(len(self.triples), generator=self.random).split(self.recipe.batch_size):
                numbers = chunk.numpy()
                if self.recipe.reciprocal:
                    numbers = np.concatenate((numbers, numbers + len(self.triples)))
                yield [(side, asked[numbers]) for side, asked in self.asked]
            return
        for side, answers in self.answers.items():
            column = 0 if side == "tail" else 2
            rows = np.zeros((len(answers.keys), 3), np.int64)
            rows[:, column], rows[:, 1] = np.divmod(answers.keys, self.relation_count)
            for chunk in torch.randperm(len(rows), generator=self.random).split(self.recipe.batch_size):
                yield [(side, rows[chunk.numpy()])]

    def _gathered(self) -> Iterator[list[tuple[Side, Int64[np.ndarray, "row 3"]]]]:
        """Yields steps into which the triples of a question come in heaps of up to `together`."""
        sides: list[Side] = [side for side, _ in self.asked]
        heaped = []
        for side, asked in self.asked:
            order = torch.randperm(len(asked), generator=self.random).numpy()
            keys = question_keys(asked[order], side, self.relation_count)
            by_key = np.argsort(keys, kind="stable")
            order, keys = order[by_key], keys[by_key]
            begins = np.flatnonzero(np.diff(keys, prepend=-1))
            within = np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))
            heap = np.cumsum(within % self.recipe.together == 0) - 1
            place = torch.randperm(int(heap[-1]) + 1, generator=self.random).numpy()
            heaped.append(asked[order[np.argsort(place[heap], kind="stable")]])
        size = self.recipe.batch_size * (2 if self.recipe.reciprocal else 1)
        cuts = range(size, len(heaped[0]), size)
        for parts in zip(*(np.split(asked, cuts) for asked in heaped), strict=True):
            yield list(zip(sides, parts, strict=True))

    def _step(self, batch: list[tuple[Side, Int64[np.ndarray, "row 3"]]]) -> float:
        """Moves all values; returns the loss summed over questions."""
        self.optimizer.zero_grad()
        count, total = sum(len(rows) for _, rows in batch), 0.0
        self._seed_noise()
        for side, asked in batch:
            drawn = self.negatives.draw(asked, side, self.random) if self.recipe.training == "sampled" else None
            rows = self.processes.share(asked)
            if not len(rows):
                continue
            places, times = torch.arange(len(rows)), torch.ones(len(rows))
            answers = torch.from_numpy(rows[:, 2 if side == "tail" else 0].copy())
            if self.recipe.training == "kvsall":
                found = self.answers[side].pairs(question_keys(rows, side, self.relation_count))
                places, answers = (torch.from_numpy(ids) for ids in found)
            elif self.recipe.together > 1:
                keys = question_keys(rows, side, self.relation_count)
                _, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
                rows, places, times = rows[first], torch.from_numpy(inverse), torch.from_numpy(counts).float()
            given = torch.from_numpy(rows[:, 0 if side == "tail" else 2].copy())
            distinct, links = map(torch.from_numpy, np.unique(rows[:, 1], return_inverse=True))
            entities, relations = self._entities(given), self.values["relations"][distinct]
            queries = self.interaction.queries(entities, relations, links, side, shared_of(self.values), self.noise)
            penalty = self._penalty(entities, relations, links, answers, times) + self._duality(queries, answers, times)
            if drawn is not None:
                total += self._sampled(queries, drawn, rows, answers, side, penalty, count)
                continue
            scores = self._scores(queries, torch.arange(len(self.values["entities"])))
            loss = _ALL_LOSSES[self.recipe.loss](scores, places, answers, times, self.recipe.label_smoothing)
            ((loss + penalty) / count).backward()
            total += float(loss.detach())
        self._join()
        with torch.sparse.check_sparse_tensor_invariants(enable=False):  # torch warns where nobody chose
            self.optimizer.step()
        if self.recipe.normalize:
            self._normalize()
        return float(self.processes.total(torch.tensor(total, dtype=torch.float64)))

    def _seed_noise(self) -> None:
        """Gives each process noise of its own, which the common stream decides: a run can then be resumed."""
        noise = self.noise
        if noise.generator is not self.random and (noise.entity or noise.relation or noise.query or noise.feature):
            common = int(torch.randint(2**62, (), generator=self.random))
            noise.generator.manual_seed(common + self.processes.rank)  # type: ignore[union-attr]

    @torch.no_grad()
    def _join(self) -> None:
        """Sums gradients over processes, and averages what was measured."""
        learned = [value for name, value in self.values.items() if is_learned(name)]
        self.processes.add_gradients(learned, sparse=self.sparse)
        for name, value in self.values.items():
            if self.processes.count > 1 and not is_learned(name):
                value.copy_(self.processes.total(value) / self.processes.count)

    @torch.no_grad()
    def _normalize(self) -> None:
        """Scales to length 1 what the step moved."""
        vectors = self.values["entities"]
        if vectors.grad is not None and vectors.grad.is_sparse:
            moved = vectors.grad.coalesce().indices()[0]
            vectors[moved] = functional.normalize(vectors[moved], dim=1, eps=1e-8)
        else:
            vectors /= vectors.norm(dim=1, keepdim=True).clamp(min=1e-8)

    def _entities(self, numbers: Int64[Tensor, "row"]) -> Float[Tensor, "row width"]:
        """Returns vectors whose gradient, where that pays, has these rows only."""
        return functional.embedding(numbers, self.values["entities"], sparse=self.sparse)

    def _scores(
        self, queries: Float[Tensor, "row width"], candidates: Int64[Tensor, "candidate"]
    ) -> Float[Tensor, "row candidate"]:
        every = len(candidates) == len(self.values["entities"])
        vectors = self.values["entities"] if every else self._entities(candidates)
        scores = self.interaction.all_scores(queries, vectors)
        return scores + self.values[BIASES][candidates] if self.interaction.biased else scores

    def _sampled(
        self,
        queries: Float[Tensor, "row width"],
        drawn: Drawn,
        rows: Int64[np.ndarray, "row 3"],
        answers: Int64[Tensor, "row"],
        side: Side,
        penalty: Float[Tensor, ""],
        count: int,
    ) -> float:
        """Adds the gradients of a loss over shared negatives, whose slopes at the scores have a closed form."""
        allowed = self.negatives.allowed(drawn, rows, side)
        scores = self._scores(queries, drawn.entities)
        true = self.interaction.scores(queries, self._entities(answers))
        if self.interaction.biased:
            true = true + self.values[BIASES][answers]
        with torch.no_grad():
            loss, up, down = LOSSES[self.recipe.loss](
                -true, -scores, allowed, self.recipe.margin, self.recipe.sharpness
            )
        torch.autograd.backward([true, scores, penalty], [-up / count, -down / count, torch.tensor(1 / count)])
        return loss

    def _penalty(
        self,
        entities: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        answers: Int64[Tensor, "answer"],
        times: Float[Tensor, "row"],
    ) -> Float[Tensor, ""]:
        """Returns n3 Σ|x|³ + regularization Σ|x|² over the vectors of each triple, before dropout.

        Args:
            times: how often each question counts.
        """
        cubes, squares = self.recipe.n3, self.recipe.regularization
        total = entities.sum() * 0.0
        if not (cubes or squares):
            return total
        factors = [
            (self.interaction.moduli(entities), times),
            (self.interaction.relation_moduli(relations), torch.bincount(links, times, minlength=len(relations))),
        ]
        if self.recipe.training != "kvsall":
            factors.append((self.interaction.moduli(self._entities(answers)), torch.ones(len(answers))))
        for part, weights in factors:
            total = total + weights @ (cubes * part.pow(3).sum(1) + squares * part.square().sum(1))
        return total

    def _duality(
        self, queries: Float[Tensor, "row width"], answers: Int64[Tensor, "answer"], times: Float[Tensor, "row"]
    ) -> Float[Tensor, ""]:
        """Returns duality (|query|² + |answer|²) over the triples."""
        if not self.recipe.duality:
            return queries.new_zeros(())
        total = times @ queries.square().sum(1)
        if self.recipe.training != "kvsall":
            total = total + self._entities(answers).square().sum()
        return self.recipe.duality * total


def _asked(
    triples: Int64[np.ndarray, "triple 3"], relation_count: int, *, reciprocal: bool
) -> list[tuple[Side, Int64[np.ndarray, "row 3"]]]:
    """Returns the triples to ask at each side; with inverse relations the same triples turned around follow."""
    if not reciprocal:
        return [("tail", triples), ("head", triples)]
    turned = np.stack((triples[:, 2], triples[:, 1] + relation_count, triples[:, 0]), axis=1)
    return [("tail", np.concatenate((triples, turned)))]
