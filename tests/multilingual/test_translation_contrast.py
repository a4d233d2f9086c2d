"""Contrast of translations: the loss by its formula, the slow copy, the queue, and languages that come together."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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
from multilingual.objectives.translation_contrast import TranslationContrast
from multilingual.pairs import sides

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
        for parameter in objective.slow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    learner = Learner(encoder, [objective]).eval()
    texts = read(5)
    batch = replace(objective.collate, room=room)(texts, 0)
    assert batch.units == {"translation_contrast": 10}

    def vector(of: Encoder, text: Encoded) -> torch.Tensor:
        states = of.encode(pack([text], pad=WORDS.pad), trail=True).trail[objective.layer][0]
        state = states.mean(0) if objective.state == "mean" else states[0]
        found = objective.project.weight @ state
        return found / found.norm() if objective.normed else found

    objective.numbers[3] = texts[1].number  # a key of that pair from an earlier batch
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
                keys += [key for key, of in held if of != number]
                scores = [float(query @ key) / objective.temperature for key in keys]
                expected -= scores[0] - math.log(sum(map(math.exp, scores)))
        assert float(learner(batch)["translation_contrast"]) == pytest.approx(expected, rel=1e-4)


def test_the_slow_copy_follows_and_learns_nothing_by_itself() -> None:
    encoder, objective = made(momentum=0.9)
    learner = Learner(encoder, [objective])
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1.0)
    before = [parameter.clone() for parameter in objective.slow.parameters()]
    loss = learner.train()(objective.collate(read(3), 0))["translation_contrast"]
    for own, was, theirs in zip(objective.slow.parameters(), before, encoder.parameters(), strict=True):
        torch.testing.assert_close(own, 0.9 * was + 0.1 * theirs)
    loss.backward()
    assert all(parameter.grad is None for parameter in objective.slow.parameters())
    assert objective.project.weight.grad is not None


def test_the_queue_holds_the_latest_keys_and_only_training_changes_it() -> None:
    encoder, objective = made(queue=7)
    learner = Learner(encoder, [objective])
    start = objective.queue.clone()
    learner.eval()(objective.collate(read(2), 0))
    assert torch.equal(objective.queue, start)
    learner.train()(objective.collate(read(2), 0))
    assert int(objective.place) == 4 and torch.equal(objective.queue[4:], start[4:])
    first = objective.queue[:4].clone()
    learner(objective.collate(read(2, 9), 0))
    assert int(objective.place) == 1
    assert objective.numbers.tolist() == [1, 1, 0, 1, 0, 1, 0]
    assert torch.equal(objective.queue[1:4], first[1:]) and not torch.equal(objective.queue[0], first[0])
    learner(objective.collate(read(9, 3), 0))  # more keys than the queue holds
    assert torch.isfinite(objective.queue).all()


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
