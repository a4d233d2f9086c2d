"""Knowledge embedding over texts: both losses against slow oracles, what is a negative, the queue."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kelm.batch import Encoded, Texts
from kelm.data.bucketing import with_room
from kelm.errors import InputError, KelmError
from kelm.model import Encoder, EncoderConfig
from kg.embeddings.answers import Side
from kg.graph import KnowledgeGraph
from kg.linking.triple_text import DescribedTriple
from kg.objectives.knowledge_embedding import KnowledgeEmbedding, _cross_entropy
from kg.objectives.mention_description import EntityRows
from kg.objectives.triple_batch import Asked

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}
NAME = "knowledge_embedding"
USES = ("table", "text", "condition")


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(vocab_size=60, **SIZES)).double().eval()


def text(*ids: int) -> Encoded:
    count = np.arange(len(ids) + 2)
    row = np.array([2, *ids, 3])
    return Encoded("", row, np.stack([count, count + 1], 1), count, np.zeros_like(count))


# entity 5 reads like entity 3
ENTITIES = {1: text(11, 12), 2: text(13), 3: text(14, 15, 16), 4: text(17, 18), 5: text(14, 15, 16), 6: text(19)}
RELATIONS = [text(40), text(41, 42)]


def triple(head: int, relation: int, tail: int, heads: tuple[int, ...], tails: tuple[int, ...]) -> DescribedTriple:
    known: dict[Side, Any] = {
        "tail": np.array(sorted({t for h, r, t in TRUE if (h, r) == (head, relation)})),
        "head": np.array(sorted({h for h, r, t in TRUE if (r, t) == (relation, tail)})),
    }
    questions: dict[Side, Encoded] = {"tail": text(50, head, relation), "head": text(51, tail, relation)}
    used = {one: ENTITIES[one] for one in (head, tail, *heads, *tails)}
    corrupted: dict[Side, tuple[int, ...]] = {"head": heads, "tail": tails}
    return DescribedTriple(
        head,
        relation,
        tail,
        used,
        RELATIONS[relation],
        questions,
        corrupted,
        known,
        shares={one: SHARES[one] for one in used},
        number=head,
    )


SHARES = {1: 0.4, 2: 0.001, 3: 0.2, 4: 0.05, 5: 0.0003, 6: 1.0}  # of the triples of a corpus that we make up


# (1, 0, 6) is true but no triple of the batch; 2 is the head of two triples, so each has an answer of the other's
TRUE = [(1, 0, 2), (1, 0, 6), (2, 1, 3), (2, 1, 4), (3, 0, 1)]
TRIPLES = [
    triple(1, 0, 2, (4, 5), (3, 5)),
    triple(2, 1, 3, (6, 1), (1, 2)),
    triple(2, 1, 4, (3, 5), (5, 6)),
    triple(3, 0, 1, (2, 4), (4, 6)),
]


def made(**options: Any) -> tuple[Encoder, KnowledgeEmbedding]:
    model = encoder()
    torch.manual_seed(1)
    objective = KnowledgeEmbedding(model.config, relations=2, **options).double().eval()
    return model, objective


def loss_of(model: Encoder, objective: KnowledgeEmbedding, triples: list[DescribedTriple]) -> Tensor:
    batch = objective.collate(triples, 0)
    return objective.loss(batch, model.encode(batch))[NAME]


def slow_loss(
    model: Encoder,
    objective: KnowledgeEmbedding,
    relation: str,
    state: str,
    triples: list[DescribedTriple],
    in_batch: bool,
    self_negatives: bool = True,
    popularity: bool = False,
) -> float:
    """One text at a time, one score at a time, from the formulas; dictionaries by entity in place of matrices."""
    infonce = objective.kind == "infonce"

    def vector(of: Encoded) -> Tensor:
        read = model(torch.from_numpy(of.tokens)[None]).last_hidden_state[0].detach()
        found = read.mean(0) if state == "mean" else read[0]
        return found / found.square().sum().sqrt() if infonce else found

    def query(one: DescribedTriple, side: Side) -> Tensor:
        given = one.texts[one.head if side == "tail" else one.tail]
        start = vector(one.questions[side] if relation == "condition" else given)
        if relation == "condition" and infonce:
            return start
        move = vector(RELATIONS[one.relation]) if relation == "text" else table[one.relation]
        return start + move if side == "tail" else start - move

    def score(asked: Tensor, candidate: Tensor) -> float:
        if infonce:
            return float(asked @ candidate) / math.sqrt(float(asked @ asked)) / math.sqrt(float(candidate @ candidate))
        difference = (asked - candidate).abs()
        return objective.gamma - float(difference.sum() if objective.norm == 1 else difference.square().sum().sqrt())

    def correction(entity: int) -> float:  # by how much the chance to be in a batch of so many triples falls short
        return math.log(1 - (1 - SHARES[entity]) ** len(triples)) if popularity else 0.0

    def log_sigmoid(value: float) -> float:
        return -math.log1p(math.exp(-value)) if value > 0 else value - math.log1p(math.exp(value))

    table = objective.relation_vectors.weight.detach() if objective.has_table else torch.zeros(2, 16)
    entities = sorted({entity for one in triples for entity in one.texts})
    total = 0.0
    for one in triples:
        positives, negatives, softmax = [], [], 0.0
        for side in ("tail", "head"):
            right, given = (one.tail, one.head) if side == "tail" else (one.head, one.tail)
            asked = query(one, side)
            wrong, corrections = [], []
            for entity in entities if in_batch else one.corrupted[side]:
                completed = (one.head, one.relation, entity) if side == "tail" else (entity, one.relation, one.tail)
                same = ENTITIES[entity].tokens.tolist() == ENTITIES[right].tokens.tolist()
                if completed not in TRUE and not same and (self_negatives or entity != given):
                    wrong.append(score(asked, vector(ENTITIES[entity])))
                    corrections.append(correction(entity))
            positives.append(score(asked, vector(ENTITIES[right])))
            negatives += wrong
            if infonce:
                heat = math.exp(objective.log_temperature.item())
                best = (positives[-1] - objective.margin) / heat - correction(right)
                terms = [math.exp(each / heat - less) for each, less in zip(wrong, corrections, strict=True)]
                softmax += math.log(math.exp(best) + sum(terms)) - best
        if infonce:
            total += softmax / 2
        else:
            mean = sum(log_sigmoid(-each) for each in negatives) / len(negatives)
            total += (-log_sigmoid(sum(positives) / 2) - mean) / 2
    return total


@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("relation", USES)
@pytest.mark.parametrize(
    "options",
    [
        {"loss": "kepler", "norm": 1, "state": "first"},
        {"loss": "kepler", "norm": 2, "state": "mean", "gamma": 9.0},
        {"loss": "infonce", "state": "mean"},
        {"loss": "infonce", "state": "first", "margin": 0.3, "temperature": 0.5},
    ],
    ids=lambda options: f"{options['loss']}-{options['state']}",
)
def test_the_loss_is_that_of_a_slow_oracle(options: dict[str, Any], relation: str, in_batch: bool) -> None:
    model, objective = made(relation=relation, in_batch=in_batch, **options)
    loss = loss_of(model, objective, TRIPLES)
    assert loss.item() == pytest.approx(
        slow_loss(model, objective, relation, options["state"], TRIPLES, in_batch), rel=1e-9
    )
    assert objective.collate(TRIPLES, 0).units == {NAME: 4}


def test_the_given_entity_can_be_left_out_of_the_negatives() -> None:
    model, objective = made(self_negatives=False)
    expected = slow_loss(model, objective, "table", "mean", TRIPLES, True, self_negatives=False)
    assert loss_of(model, objective, TRIPLES).item() == pytest.approx(expected, rel=1e-9)
    assert loss_of(*made(), TRIPLES).item() > expected * 1.001


def test_popularity_corrects_for_how_often_a_batch_has_an_entity() -> None:
    model, objective = made(popularity=True)
    expected = slow_loss(model, objective, "table", "mean", TRIPLES, True, popularity=True)
    assert loss_of(model, objective, TRIPLES).item() == pytest.approx(expected, rel=1e-6)
    assert abs(loss_of(*made(), TRIPLES).item() - expected) > 0.1
    with pytest.raises(InputError, match="does not tell how frequent"):
        loss_of(model, objective, [replace(one, shares={}) for one in TRIPLES])
    for options in ({"loss": "kepler"}, {"in_batch": False}):
        with pytest.raises(KelmError, match='popularity = true corrects loss = "infonce"'):
            made(popularity=True, **options)


def test_what_is_learned_with_popularity_is_how_likely_an_answer_is() -> None:
    """Free vectors instead of texts: batches of one question, whose answers are three entities, as often as told."""
    often = np.array([0.7, 0.2, 0.1])
    random = np.random.default_rng(0)
    learned = {}
    for corrected in (True, False):
        logits = torch.zeros(3, dtype=torch.double, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.02)
        for _ in range(1500):
            drawn = random.choice(3, 2, p=often)
            chance = torch.from_numpy(1 - (1 - often) ** 2)
            offsets = -chance.log() if corrected else torch.zeros(3)
            present = torch.zeros(3, dtype=torch.bool)
            present[drawn] = True
            loss = torch.zeros(())
            for right in drawn:
                others = present.clone()
                others[right] = False
                scored = logits + offsets
                loss = loss + _cross_entropy(scored[right : right + 1], scored[None], others[None])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        learned[corrected] = logits.detach().softmax(0).numpy()
    assert learned[True] == pytest.approx(often, abs=0.08)
    assert abs(learned[False] - often).max() > 0.2


@pytest.mark.parametrize("relation", USES)
def test_no_known_answer_and_nothing_that_reads_like_the_right_one_is_a_negative(relation: Any) -> None:
    _, objective = made(relation=relation)
    batch = objective.collate(TRIPLES, 0)
    entities = batch[EntityRows].entity.tolist()
    against = [{entities[at] for at in np.flatnonzero(row.numpy())} for row in objective.negatives(batch)]
    assert entities == [1, 2, 3, 4, 5, 6]
    assert against[0] == {1, 3, 4, 5}  # (1, 0, ?): 2 and 6 are answers
    assert against[1] == {1, 2, 6}  # (2, 1, ?): 3 and 4 are answers, 5 reads like 3
    assert against[2] == {1, 2, 5, 6}  # the same question, where 4 is the right one: 5 is none of its answers
    assert against[7] == {1, 2, 4, 6}  # (?, 0, 1): 3 is the answer, 5 reads like it


def test_answers_of_the_batch_are_known_even_if_the_triples_bring_none() -> None:
    _, objective = made()
    bare = [replace(one, known={}) for one in TRIPLES]
    batch = objective.collate(bare, 0)
    at = batch[EntityRows].entity.tolist().index
    allowed = objective.negatives(batch)
    assert not allowed[1, at(4)] and not allowed[2, at(3)]
    assert allowed[0, at(6)]  # which only `known` tells


def test_every_distinct_text_is_read_once() -> None:
    for relation, texts in (("table", 5), ("text", 5 + 2), ("condition", 5 + 7)):  # of 8 questions two are the same
        _, objective = made(relation=relation)
        batch = objective.collate(TRIPLES, 0)
        assert len(batch[Texts].row) == texts
        assert len(batch[Asked].given) == 8


@pytest.mark.parametrize("relation", USES)
@pytest.mark.parametrize("loss", ["kepler", "infonce"])
def test_there_is_no_parameter_without_a_gradient(loss: Any, relation: Any) -> None:
    model, objective = made(loss=loss, relation=relation)
    loss_of(model, objective, TRIPLES).backward()
    expected = (
        {"relation_vectors.weight"} if relation == "table" or (relation, loss) == ("condition", "kepler") else set()
    )
    expected |= {"log_temperature"} if loss == "infonce" else set()
    assert {
        name for name, each in objective.named_parameters() if each.grad is not None and each.grad.any()
    } == expected
    assert {name for name, _ in objective.named_parameters()} == expected
    untouched = [name for name, each in model.named_parameters() if each.grad is None]
    assert all(name.startswith("pooler") for name in untouched)


@pytest.mark.parametrize("loss", ["kepler", "infonce"])
@pytest.mark.parametrize("relation", USES)
def test_own_negatives_give_the_same_sum_however_a_batch_is_divided(loss: Any, relation: Any) -> None:
    model, objective = made(loss=loss, relation=relation, in_batch=False)
    whole = loss_of(model, objective, TRIPLES)
    for parts in ([[one] for one in TRIPLES], [TRIPLES[:1], TRIPLES[1:]], [TRIPLES[::-1]]):
        total = sum(loss_of(model, objective, part).item() for part in parts)
        assert whole.item() == pytest.approx(total, rel=1e-10)
    batch = with_room(objective.collate, 30)(TRIPLES, 0)
    assert objective.loss(batch, model.encode(batch))[NAME].item() == pytest.approx(whole.item(), rel=1e-10)


def test_the_table_starts_in_the_papers_range() -> None:
    objective = KnowledgeEmbedding(encoder().config, loss="kepler", relations=400, gamma=4.0)
    bound = 6 / 16
    weight = objective.relation_vectors.weight.detach()
    assert bool((weight.abs() <= bound).all()) and weight.abs().max() > 0.99 * bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"gamma": 0.0},
        {"norm": 3},
        {"margin": -0.1},
        {"temperature": 0.0},
        {"temperature": math.inf},
        {"earlier": -1},
        {"relations": 0},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        KnowledgeEmbedding(encoder().config, **{"relations": 2, **options})


def test_the_number_of_relations_comes_from_the_graph_or_is_asked_for(tmp_path: Any) -> None:
    KnowledgeGraph.from_triples([("a", "p", "b"), ("a", "q", "b"), ("a", "r", "b")]).save(tmp_path / "graph")
    objective = KnowledgeEmbedding(encoder().config, graph=str(tmp_path / "graph"))
    assert objective.relation_vectors.num_embeddings == 3
    with pytest.raises(KelmError, match="how many relations"):
        KnowledgeEmbedding(encoder().config)
    assert not KnowledgeEmbedding(encoder().config, relation="text").has_table


def test_a_triple_that_does_not_fit_the_objective_is_told() -> None:
    _, objective = made(relation="condition")
    with pytest.raises(InputError, match='Set relation = "condition" in the options of the corpus'):
        objective.collate([replace(TRIPLES[0], questions={})], 0)
    _, table = made()
    with pytest.raises(InputError, match="relation 7 is none of 2"):
        table.collate([replace(TRIPLES[0], relation=7)], 0)


@pytest.mark.parametrize("loss", ["kepler", "infonce"])
def test_states_in_half_precision_are_compared_in_full(loss: Any) -> None:
    model, objective = made(loss=loss)
    model, objective = model.float(), objective.float()
    batch = objective.collate(TRIPLES, 0)
    stream = model.encode(batch)
    half = stream.hidden.bfloat16()
    exact = objective.loss(batch, stream.having(hidden=half.float()))[NAME]
    with torch.autocast("cpu", torch.bfloat16):
        found = objective.loss(batch, stream.having(hidden=half))[NAME]
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=0.02)  # means of states and unit vectors are rounded
