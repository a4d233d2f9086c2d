"""Contrast of translations: the loss by its formula, the slow copy, the queue, and languages that come together."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kelm.batch import Encoded, pack
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.errors import KelmError
from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from kelm.training.learner import Learner
from kelm.training.recipe import Checkpoints, Optimization, Training
from kelm.training.trainer import Trainer, train_unsaved
from multilingual.evaluation.retrieval import retrieval, sentence_vectors
from multilingual.objectives.translation_contrast import Said, TranslationContrast, said
from multilingual.pairs import sides
from tests.torchrun import launch_twice

NAMES = "abcdefghijklmnopqrst"
WORDS = vocabulary.train([" ".join(f"{one}{end}" for one in NAMES) for end in "xy"] * 9, 80, "wordpiece", lower=True)
SIZES: dict[str, Any] = {
    "vocab_size": WORDS.vocabulary_size,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.1,
}


def read(count: int, first: int = 0) -> list[Encoded]:
    """Sentences of four words, and their translations word by word, in two languages without a common word."""
    drawn = np.random.default_rng(first).integers(0, len(NAMES), (count, 4))
    lines = [[" ".join(f"{NAMES[word]}{end}" for word in row) for row in drawn] for end in "xy"]
    return [one.having(number=number) for number, one in enumerate(WORDS.encode(*lines))]


def made(**options: Any) -> tuple[Encoder, TranslationContrast]:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(**SIZES))
    return encoder, TranslationContrast(encoder.config, tokenizer=WORDS, encoder=encoder, **{"queue": 8, **options})


@pytest.mark.parametrize("room", [None, 32])
@pytest.mark.parametrize("options", [{}, {"state": "mean", "layer": 1}, {"normed": True, "temperature": 0.5}], ids=str)
def test_the_loss_is_that_of_the_formula_sentence_by_sentence(options: dict[str, Any], room: int | None) -> None:
    encoder, objective = made(**options)
    with torch.no_grad():
        for parameter in (*objective.slow.parameters(), *objective.slow_project.parameters()):
            parameter.add_(0.05 * torch.randn_like(parameter))
    learner = Learner(encoder, [objective]).eval()
    texts = read(5)
    batch = replace(objective.collate, room=room)(texts, 0)
    assert batch.units == {"translation_contrast": 10}

    def vector(of: Encoder, text: Encoded) -> torch.Tensor:
        states = of.encode(pack([text], pad=WORDS.pad), trail=True).trail[objective.layer][0]
        state = states.mean(0) if objective.state == "mean" else states[0]
        found = (objective.project if of is encoder else objective.slow_project).weight @ state
        return found / found.norm() if objective.normed else found

    told = [[said(side) for side in sides(pair, WORDS.template)] for pair in texts]
    objective.queue.normal_()
    objective.numbers[:6] = torch.tensor([3, 4, told[1][0], told[2][1], 5, 6])  # two sentences read before, two empty
    expected = 0.0
    with torch.no_grad():
        for number, pair in enumerate(texts):
            for side in (0, 1):
                query = vector(encoder, sides(pair, WORDS.template)[side])
                apart = [vector(objective.slow, sides(other, WORDS.template)[1 - side]) for other in texts]
                alike = [vector(objective.slow, sides(other, WORDS.template)[side]) for other in texts]
                keys = [apart[number]]
                keys += [key for at in range(5) if at != number for key in (apart[at], alike[at])]
                held = zip(objective.queue, objective.numbers.tolist(), strict=True)
                keys += [key for key, of in held if of >= 0 and of not in told[number]]
                scores = [float(query @ key) / objective.temperature for key in keys]
                expected -= scores[0] - math.log(sum(map(math.exp, scores)))
        assert float(learner(batch)["translation_contrast"]) == pytest.approx(expected, rel=1e-4)


def test_the_slow_copy_follows_each_update_and_learns_nothing_by_itself() -> None:
    encoder, objective = made(momentum=0.9)
    learner = Learner(encoder, [objective]).train()
    pairs = [*zip(objective.slow.parameters(), encoder.parameters(), strict=True)]
    pairs.append((objective.slow_project.weight, objective.project.weight))
    with torch.no_grad():
        for _, theirs in pairs:
            theirs.add_(1.0)
    before = [own.clone() for own, _ in pairs]
    loss = learner(objective.collate(read(3), 0))["translation_contrast"]
    assert all(torch.equal(own, was) for (own, _), was in zip(pairs, before, strict=True))
    loss.backward()
    assert all(own.grad is None for own, _ in pairs) and objective.project.weight.grad is not None
    learner.updated()
    for (own, theirs), was in zip(pairs, before, strict=True):
        torch.testing.assert_close(own, 0.9 * was + 0.1 * theirs)


def test_the_queue_holds_the_keys_of_the_latest_steps_and_only_training_changes_it() -> None:
    encoder, objective = made(queue=7)
    learner = Learner(encoder, [objective])

    def step(*batches: list[Encoded]) -> list[int]:
        found = [objective.collate(texts, 0) for texts in batches]
        for batch in found:
            learner(batch)
        learner.updated()
        return [number for batch in found for number in batch[Said].number.tolist()]

    learner.eval()
    step(read(2))
    assert objective.numbers.tolist() == [-1] * 7 and int(objective.place) == 0
    learner.train()
    one = step(read(1), read(1, 5))  # two batches of one step
    assert int(objective.place) == 4 and objective.numbers.tolist() == [*one, -1, -1, -1]
    first = objective.queue[:4].clone()
    other = step(read(2, 9))
    assert int(objective.place) == 1 and objective.numbers.tolist() == [other[3], *one[1:], *other[:3]]
    assert torch.equal(objective.queue[1:4], first[1:]) and not torch.equal(objective.queue[0], first[0])
    many = step(read(9, 3))  # more keys than the queue holds
    assert sorted(objective.numbers.tolist()) == sorted(many[-7:]) and objective.queue.isfinite().all()


def test_a_sentence_that_comes_again_under_another_number_is_no_negative() -> None:
    _, objective = made()
    texts = read(2)
    again = [text.having(number=text.number + 100) for text in texts]
    numbers = [objective.collate(some, 0)[Said].number for some in (texts, again, read(2, 9))]
    assert torch.equal(numbers[0], numbers[1])
    assert len({*numbers[0].tolist(), *numbers[2].tolist()}) == 8


def test_accumulated_batches_move_the_slow_copy_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = []
    encoder, objective = made(queue=64)
    follow = objective.updated

    def updated(encoder: Encoder) -> None:
        waiting.append(len(objective.waiting))
        follow(encoder)

    monkeypatch.setattr(objective, "updated", updated)
    Trainer(
        Learner(encoder, [objective]),
        {objective.name: BatchStream(InMemory(read(40)), objective.collate, tokens=60, seed=0)},
        train=Training(steps=3, accumulation=2),
        checkpoints=Checkpoints(every=None),
    ).run()
    assert len(waiting) == 3 and min(waiting) > 8  # one batch has 5 or 6 pairs
    assert len(objective.waiting) == 0 and int((objective.numbers >= 0).sum()) == sum(waiting)


def test_keys_that_are_no_numbers_stay_out_of_the_queue() -> None:
    encoder, objective = made(queue=16)
    learner = Learner(encoder, [objective]).train()
    learner(objective.collate(read(3), 0))
    objective.waiting[1:3] = torch.tensor([[math.nan], [math.inf]])
    learner.updated()
    assert int(objective.place) == 4 and objective.queue.isfinite().all()
    assert (objective.numbers[:4] >= 0).all() and (objective.numbers[4:] == -1).all()


def test_two_processes_have_one_queue_and_go_on_exactly_with_whole_and_with_divided_weights(tmp_path: Path) -> None:
    ends = []
    for launcher in ("ddp.yaml", "fsdp2.yaml"):
        launch_twice(launcher, "tests.multilingual.two_contrasts", place := tmp_path / launcher)
        whole, other, again = (load_file(place / f"{name}.safetensors") for name in ("whole-0", "whole-1", "again-1"))
        assert whole.keys() == other.keys() == again.keys() and "objectives.translation_contrast.queue" in whole
        for name, value in whole.items():
            assert torch.equal(value, other[name]) and torch.equal(value, again[name]), name
        assert int((whole["objectives.translation_contrast.numbers"] >= 0).sum()) == 24
        ends.append(whole)
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, atol=1e-4, rtol=1e-3)


def test_translations_become_neighbors() -> None:
    encoder, objective = made(queue=256, momentum=0.95, state="mean", layer=3, normed=True)
    stream = BatchStream(InMemory(read(1500)), objective.collate, tokens=512, seed=0)

    def found() -> float:
        pairs = [sides(text, WORDS.template) for text in read(100, 77)]
        one, other = (
            sentence_vectors(encoder, [pair[side] for pair in pairs], pad=WORDS.pad, layers=[3])[3] for side in (0, 1)
        )
        return retrieval(one, other).mean

    before = found()
    learner = Learner(encoder, [objective])
    train_unsaved(learner, {objective.name: stream}, 120, Optimization(rate=3e-3, warmup=0.1), 0)
    assert before < 0.2 and found() > 0.6


def test_a_run_that_stopped_goes_on_with_the_same_queue_and_copy(tmp_path: Path) -> None:
    def run(folder: str, steps: int, *, resume: bool = False) -> dict[str, torch.Tensor]:
        encoder, objective = made(momentum=0.5)
        trainer = Trainer(
            learner := Learner(encoder, [objective]),
            {objective.name: BatchStream(InMemory(read(40)), objective.collate, tokens=64, seed=0)},
            train=Training(steps=steps),
            optim=Optimization(rate=1e-3, schedule="constant"),
            checkpoints=Checkpoints(every=4),
            folder=tmp_path / folder,
            resume=resume,
        )
        trainer.run()
        return {name: value.clone() for name, value in learner.state_dict().items()}

    whole = run("whole", 8)
    run("part", 4)
    again = run("part", 8, resume=True)
    assert whole.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ("options", "field"),
    [({"layer": 4}, "layer"), ({"state": "last"}, "state"), ({"momentum": 1.0}, "momentum"), ({"queue": 0}, "queue")],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(KelmError, match=field):
        made(**options)
