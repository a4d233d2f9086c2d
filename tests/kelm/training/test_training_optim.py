import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_inverse_sqrt_schedule, get_linear_schedule_with_warmup

from kelm.errors import RecipeError
from kelm.training.optim import depth, factor, first_beta, freeze, groups, optimizer, warmup_steps
from kelm.training.recipe import (
    CorpusChoice,
    ModelChoice,
    ObjectiveChoice,
    Optimization,
    Recipe,
    Training,
    check,
)
from kelm.training.trainer import Trainer
from tests.kelm.training.tiny_run import Texts, learner, weights


@pytest.mark.parametrize(
    ("schedule", "peer"),
    [
        ("linear", lambda some, warmup, steps: get_linear_schedule_with_warmup(some, warmup, steps + 1)),
        ("cosine", lambda some, warmup, steps: get_cosine_schedule_with_warmup(some, warmup, steps + 1)),
        ("inverse_sqrt", lambda some, warmup, steps: get_inverse_sqrt_schedule(some, warmup)),
    ],
)
def test_schedules_equal_hugging_face_s_which_start_one_step_earlier(schedule: str, peer: object) -> None:
    steps, warmup = 50, 7
    adam = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    assert callable(peer)
    theirs = peer(adam, warmup, steps)
    options = Optimization(schedule=schedule, warmup=warmup)
    for step in range(1, steps + 1):
        adam.step()
        theirs.step()
        assert factor(options, step, steps) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)


@pytest.mark.parametrize("steps", [10, 51])
def test_a_cycle_of_rate_and_beta_equals_torch_s(steps: int) -> None:
    warmup = round(0.3 * steps)
    adam = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0, betas=(0.8, 0.99))
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        adam, 1.0, total_steps=steps, pct_start=warmup / steps, base_momentum=0.7, max_momentum=0.8
    )
    options = Optimization(schedule="one_cycle", warmup=0.3, betas=(0.8, 0.99), peak_beta=0.7)
    for step in range(1, steps + 1):
        assert factor(options, step, steps) == pytest.approx(adam.param_groups[0]["lr"], abs=1e-9)
        assert first_beta(options, step, steps) == pytest.approx(adam.param_groups[0]["betas"][0], abs=1e-9)
        adam.step()
        if step < steps:
            theirs.step()


def test_the_first_beta_stays_unless_a_cycle_moves_it() -> None:
    assert {first_beta(Optimization(schedule="one_cycle"), step, 9) for step in range(1, 10)} == {0.9}
    mlm = ObjectiveChoice(name="mlm", corpus=CorpusChoice(name="text"))
    training = Training(steps=1)
    recipe = Recipe(model=ModelChoice(hf="model"), objectives=(mlm,), train=training, optim=Optimization(peak_beta=0.7))
    with pytest.raises(RecipeError, match=r'optim.peak_beta: .*Set optim.schedule = "one_cycle"'):
        check(recipe)


def test_a_run_moves_rate_and_beta_as_the_cycle_says() -> None:
    options = Optimization(schedule="one_cycle", rate=0.01, warmup=2, betas=(0.8, 0.99), peak_beta=0.7)
    some = learner()
    trainer = Trainer(some, {"guess": Texts()}, train=Training(steps=5), optim=options)
    seen = []
    step = trainer.optimizer.step

    def noted(*arguments: object, **named: object) -> object:
        group = trainer.optimizer.param_groups[0]
        seen.append((group["lr"] / group["scale"], group["betas"][0]))
        return step(*arguments, **named)

    trainer.optimizer.step = noted
    trainer.run()
    assert seen == [(0.01 * factor(options, one, 5), first_beta(options, one, 5)) for one in range(1, 6)]


def test_every_step_has_a_rate_above_zero_and_none_above_the_peak() -> None:
    for schedule in ("linear", "cosine", "inverse_sqrt", "one_cycle", "constant"):
        for warmup in (0, 0.1, 1, 20):
            rates = [factor(Optimization(schedule=schedule, warmup=warmup), step, 20) for step in range(1, 21)]
            assert min(rates) > 0
            assert max(rates) == 1
            top = max(warmup_steps(Optimization(warmup=warmup), 20), 1)
            assert rates[top - 1] == 1
            assert rates[top - 1 :] == sorted(rates[top - 1 :], reverse=True)


def test_biases_and_norms_do_not_decay() -> None:
    some = learner()
    decayed = {
        id(parameter)
        for group in groups(some.named_parameters(), Optimization(decay_embeddings=False))
        for parameter in group["params"]
        if group["weight_decay"]
    }
    names = {name for name, parameter in some.named_parameters() if id(parameter) in decayed}
    assert "encoder.encoder.layer.1.attention.self.query.weight" in names
    assert not [name for name in names if name.endswith("bias") or "norm" in name.lower() or "embedding" in name]
    free = {id(parameter) for parameter in some.parameters()} - decayed
    assert len(free) + len(decayed) == len(list(some.parameters()))


def test_lower_layers_learn_more_slowly() -> None:
    some = learner()
    scales = {
        id(parameter): group["scale"]
        for group in groups(some.named_parameters(), Optimization(layer_decay=0.5))
        for parameter in group["params"]
    }
    found = {name: scales[id(parameter)] for name, parameter in some.named_parameters()}
    assert found["objectives.guess.head.bias"] == 1
    assert found["encoder.pooler.dense.weight"] == 1
    assert found["encoder.encoder.layer.1.output.dense.weight"] == 0.5
    assert found["encoder.encoder.layer.0.output.dense.weight"] == 0.25
    assert found["encoder.embeddings.word_embeddings.weight"] == 0.125
    assert depth("encoder.extensions.ernie.layer.0.weight", 2) == 0


def test_frozen_parameters_are_left_out() -> None:
    some = learner()
    some.encoder.embeddings.requires_grad_(False)
    count = sum(len(group["params"]) for group in optimizer(some.named_parameters(), Optimization()).param_groups)
    assert count == len([parameter for parameter in some.parameters() if parameter.requires_grad])


def test_adamw_equals_the_formula_by_hand() -> None:
    """Loshchilov & Hutter, 2019, algorithm 2, with the rate inside the decay as torch has it."""
    weight = torch.nn.Parameter(torch.tensor([[2.0, -1.0]], dtype=torch.float64))
    options = Optimization(rate=0.1, betas=(0.8, 0.9), weight_decay=0.2, epsilon=1e-3)
    adam = optimizer([("weight", weight)], options)
    first = second = torch.zeros(1, 2, dtype=torch.float64)
    expected = weight.detach().clone()
    for step in range(1, 4):
        slope = torch.tensor([[0.3 * step, -2.0]], dtype=torch.float64)
        weight.grad = slope.clone()
        adam.step()
        first, second = 0.8 * first + 0.2 * slope, 0.9 * second + 0.1 * slope**2
        root = (second / (1 - 0.9**step)).sqrt() + 1e-3
        expected = expected * (1 - 0.1 * 0.2) - 0.1 * first / (1 - 0.8**step) / root
    torch.testing.assert_close(weight.detach(), expected, atol=1e-12, rtol=0)


def test_the_first_pattern_that_fits_a_name_gives_the_factor_of_its_rate() -> None:
    some = learner()
    options = Optimization(
        rate=1e-2, layer_decay=0.5, factors={"encoder.encoder.layer.1.*": 0.1, "encoder.*": 0.0, "*": 3.0}
    )
    freeze(some, options)
    scales = {
        id(parameter): group["scale"]
        for group in groups(some.named_parameters(), options)
        for parameter in group["params"]
    }
    for name, parameter in some.named_parameters():
        if name.startswith("encoder.encoder.layer.1."):
            assert parameter.requires_grad
            assert scales[id(parameter)] == pytest.approx(0.1 * 0.5 ** depth(name, 2))
        elif name.startswith("encoder."):
            assert not parameter.requires_grad
            assert id(parameter) not in scales
        else:
            assert scales[id(parameter)] == 3.0


def test_what_has_the_factor_0_stays_as_it_was_and_may_learn_in_the_next_run() -> None:
    some = learner()
    before = weights(some)
    optim = Optimization(rate=1e-2, factors={"encoder.encoder.layer.0.*": 0, "encoder.embeddings.*": 0})
    Trainer(some, {"guess": Texts()}, train=Training(steps=2), optim=optim).run()
    assert all(parameter.requires_grad for parameter in some.parameters())
    same = {name for name, value in weights(some).items() if torch.equal(value, before[name])}
    assert {name for name in before if name.startswith(("encoder.encoder.layer.0.", "encoder.embeddings."))} <= same
    assert not {name for name in before if name.startswith(("encoder.encoder.layer.1.", "objectives."))} & same


def test_a_pattern_that_fits_nothing_and_one_that_freezes_everything_are_errors() -> None:
    with pytest.raises(RecipeError, match=r'no parameter is called "encoder\.layers\.\*".*, encoder\.encoder\.layer, '):
        freeze(learner(), Optimization(factors={"encoder.layers.*": 0.0}))
    with pytest.raises(RecipeError, match="nothing is left to train"):
        freeze(learner(), Optimization(factors={"*": 0.0}))
