"""Interactions against slow loops of the papers' formulas and against PyKEEN's, in both directions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from kelm.errors import InputError
from kg.embeddings.bilinear import RESCAL, ComplEx, DistMult, TuckER
from kg.embeddings.conve import ConvE
from kg.embeddings.interactions import Interaction, TransE
from kg.embeddings.noise import Noise
from kg.embeddings.rotate import RotatE

WIDTH, ROWS, CANDIDATES = 12, 5, 7
ALL = [
    TransE(1),
    TransE(2),
    DistMult(),
    ComplEx(),
    RotatE(),
    RESCAL(),
    TuckER(relation_numbers=4, normalized=False),
    TuckER(relation_numbers=4),
    ConvE(filters=4, kernel=2),
]
SIDES = [(one, side) for one in ALL for side in ("head", "tail") if side == "tail" or one.two_sided]
LINKS = torch.tensor([1, 4, 3, 2, 1])  # two questions share a relation, one relation is not asked for
Numbers = tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]


def numbers(interaction: Interaction, dtype: torch.dtype = torch.float64) -> Numbers:
    """Given entities, relations, candidates and shared parameters with moved statistics."""
    random = torch.Generator().manual_seed(3)
    sizes = ((ROWS, WIDTH), (ROWS, interaction.relation_width(WIDTH)), (CANDIDATES, WIDTH))
    given, relations, candidates = (torch.randn(size, generator=random, dtype=dtype) for size in sizes)
    shared = {name: value.to(dtype) for name, value in interaction.shared(WIDTH, random).items()}
    for name, value in shared.items():
        if name.endswith((".mean", ".bias")):
            value.normal_(generator=random).mul_(0.3)
        elif name.endswith((".variance", ".weight")):
            value.uniform_(0.5, 2, generator=random)
    return given, relations, candidates, shared


def pairs(vector: np.ndarray) -> np.ndarray:
    return vector[0::2] + 1j * vector[1::2]


def normed(values: np.ndarray, name: str, shared: Mapping[str, np.ndarray]) -> np.ndarray:
    """A batch norm outside training, channel by channel."""
    weight, bias, mean, variance = (shared[f"{name}.{part}"] for part in ("weight", "bias", "mean", "variance"))
    rows = [
        weight[one] * (part - mean[one]) / np.sqrt(variance[one] + 1e-5) + bias[one] for one, part in enumerate(values)
    ]
    return np.stack(rows)


def slow_conve(one: ConvE, head: np.ndarray, relation: np.ndarray, shared: Mapping[str, np.ndarray]) -> np.ndarray:
    picture = np.concatenate((head.reshape(3, 4), relation.reshape(3, 4)))
    picture = normed(picture[None], "picture", shared)[0]
    maps = np.empty((one.filters, 6 - one.kernel + 1, 4 - one.kernel + 1))
    for index in np.ndindex(*maps.shape):
        channel, top, left = index
        window = picture[top : top + one.kernel, left : left + one.kernel]
        maps[index] = (window * shared["kernels"][channel, 0]).sum() + shared["kernel_biases"][channel]
    maps = np.maximum(normed(maps, "maps", shared), 0)
    return np.maximum(normed(shared["projection"] @ maps.ravel() + shared["projection_bias"], "query", shared), 0)


def slow_score(
    one: Interaction, head: np.ndarray, relation: np.ndarray, tail: np.ndarray, shared: Mapping[str, np.ndarray]
) -> float:
    """The papers' formulas, number by number where that says more."""
    width = range(len(head))
    match one:
        case TransE():
            return -float((np.abs(head + relation - tail) ** one.norm).sum() ** (1 / one.norm))
        case DistMult():
            return sum(head[k] * relation[k] * tail[k] for k in width)
        case ComplEx():
            return float((pairs(head) * pairs(relation) * pairs(tail).conj()).sum().real)
        case RotatE():
            difference = pairs(head) * np.exp(1j * relation) - pairs(tail)
            return -float(np.sqrt((np.abs(difference) ** 2).sum()))
        case RESCAL():
            return float(head @ relation.reshape(len(head), -1) @ tail)
        case TuckER():
            start = normed(head, "given", shared) if one.normalized else head
            core = shared["core"]
            query = [sum(core[i, j, k] * start[i] * relation[j] for i in width for j in range(4)) for k in width]
            query = normed(np.array(query), "query", shared) if one.normalized else np.array(query)
            return float(query @ tail)
        case ConvE():
            return float(slow_conve(one, head, relation, shared) @ tail)
    raise AssertionError(one)


@pytest.mark.parametrize(("one", "side"), SIDES, ids=str)
def test_scores_equal_the_papers_formulas(one: Interaction, side: str) -> None:
    given, relations, candidates, shared = numbers(one)
    plain = {name: value.numpy() for name, value in shared.items()}
    expected = torch.empty(ROWS, CANDIDATES, dtype=torch.float64)
    for row, column in np.ndindex(ROWS, CANDIDATES):
        ends = (given[row].numpy(), candidates[column].numpy())
        head, tail = ends if side == "tail" else ends[::-1]
        expected[row, column] = slow_score(one, head, relations[LINKS[row]].numpy(), tail, plain)
    queries = one.queries(given, relations, LINKS, side, shared)
    torch.testing.assert_close(one.all_scores(queries, candidates), expected)
    repeated = queries.repeat_interleave(CANDIDATES, 0), candidates.repeat(ROWS, 1)
    torch.testing.assert_close(one.scores(*repeated).view(ROWS, CANDIDATES), expected)


def pykeen_interaction(one: Interaction, shared: Mapping[str, Tensor]) -> torch.nn.Module:
    """PyKEEN's interaction with the same shared parameters."""
    from pykeen.nn import modules

    names = {"picture": "hr2d.0", "maps": "hr2d.3", "query": "hr1d.2"}
    match one:
        case TransE():
            return modules.TransEInteraction(p=one.norm)
        case TuckER():
            peer = modules.TuckERInteraction(WIDTH, one.relation_numbers, apply_batch_normalization=one.normalized)
            weights = {"core_tensor": shared["core"]}
            names = {"given": "head_batch_norm", "query": "head_relation_batch_norm"}
        case ConvE():
            peer = modules.ConvEInteraction(
                None, one.filters, embedding_height=3, embedding_width=4, kernel_width=one.kernel, embedding_dim=WIDTH
            )
            weights = {
                "hr2d.2.weight": shared["kernels"],
                "hr2d.2.bias": shared["kernel_biases"],
                "hr1d.0.weight": shared["projection"],
                "hr1d.0.bias": shared["projection_bias"],
            }
        case _:
            return getattr(modules, f"{type(one).__name__}Interaction")()
    kinds = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
    for name, value in shared.items():
        norm, _, kind = name.partition(".")
        if kind:
            weights[f"{names[norm]}.{kinds[kind]}"] = value
    missing, unexpected = peer.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all("tracked" in name for name in missing)
    return peer.eval()


@pytest.mark.parametrize(("one", "side"), SIDES, ids=str)
def test_scores_equal_pykeens(one: Interaction, side: str) -> None:
    given, relations, candidates, shared = numbers(one, torch.float32)
    peer = pykeen_interaction(one, shared)

    def as_theirs(vectors: Tensor) -> Tensor:
        return torch.view_as_complex(vectors.unflatten(-1, (-1, 2))) if one.complex else vectors

    links = as_theirs(relations)
    if isinstance(one, RotatE):
        links = torch.polar(torch.ones_like(relations), relations)
    elif isinstance(one, RESCAL):
        links = relations.unflatten(-1, (WIDTH, WIDTH))
    left, right = as_theirs(given)[:, None], as_theirs(candidates)[None]
    if one.biased:
        right = (right, torch.zeros(1, CANDIDATES))
    with torch.no_grad():
        expected = peer(*((left, links[:, None], right) if side == "tail" else (right, links[:, None], left)))
        found = one.all_scores(one.queries(given, relations, torch.arange(len(relations)), side, shared), candidates)
    torch.testing.assert_close(found, expected.view(ROWS, CANDIDATES), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("one", ALL, ids=str)
def test_gradients_reach_every_number(one: Interaction) -> None:
    given, relations, candidates, shared = numbers(one)
    learned = {name: value for name, value in shared.items() if not name.endswith((".mean", ".variance"))}
    leaves = [value.requires_grad_() for value in (given, relations, candidates, *learned.values())]
    scores = one.all_scores(one.queries(given, relations, torch.arange(len(relations)), "tail", shared), candidates)
    weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(1), dtype=scores.dtype)
    for gradient in torch.autograd.grad((scores * weights).sum(), leaves):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_dropout_keeps_the_mean_and_repeats_with_its_generator() -> None:
    values = torch.ones(400, 50)
    first, again = (Noise(torch.Generator().manual_seed(1), query=0.25).queries(values) for _ in range(2))
    assert torch.equal(first, again)
    assert sorted(first.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert first.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(Noise(query=0.25).queries(values), values)


@pytest.mark.parametrize(
    ("one", "width", "message"),
    [(ComplEx(), 7, "even width"), (RotatE(), 7, "even width"), (ConvE(height=5), 12, "no picture of height 5")],
)
def test_a_width_that_does_not_suit_says_so(one: Interaction, width: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        one.relation_width(width)


def test_conve_has_no_query_for_heads() -> None:
    given, relations, _, shared = numbers(ALL[-1])
    with pytest.raises(InputError, match="reciprocal"):
        ALL[-1].queries(given, relations, torch.arange(len(relations)), "head", shared)
