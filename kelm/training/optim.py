"""AdamW with decay groups, and learning rates as pure functions of the step.

    rate(step) = peak * warm-up * decay        warm-up: step / warmup until 1

    linear        1 - (step - warmup) / (steps - warmup)                (Devlin et al., 2019)
    inverse_sqrt  sqrt(warmup / step)                                   (Vaswani et al., 2017, section 5.3)
    cosine        (1 + cos(pi * (step - warmup) / (steps - warmup))) / 2    (Loshchilov & Hutter, 2017, equation 5)
    one_cycle     half a cosine from 1/25 up to 1 while warming up, another down to 1/250,000; Adam's first beta may
                  go the other way    (Smith, 2018; as fastai and MultiFiT run it, there with a warm-up of 0.3)

The weight decay is decoupled (Loshchilov & Hutter, 2019); biases and norms have none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from kelm.errors import RecipeError
from kelm.training.recipe import Optimization

__all__ = ["depth", "factor", "first_beta", "freeze", "groups", "optimizer", "warmup_steps"]

LAYER = re.compile(r"encoder\.encoder\.layer\.(\d+)\.")  # as `Learner` and HF's BERT name them


def warmup_steps(options: Optimization, steps: int) -> int:
    """Returns the steps of increase; `options.warmup` below 1 is a share of all `steps`."""
    return round(options.warmup * steps) if options.warmup < 1 else round(options.warmup)


def factor(options: Optimization, step: int, steps: int) -> float:
    """Returns by what the peak rate is multiplied in update number `step`, counted from 1, of `steps`.

    >>> [round(factor(Optimization(warmup=2), step, 6), 2) for step in range(1, 7)]
    [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    warmup = warmup_steps(options, steps)
    if options.schedule == "one_cycle":
        return _cycle(warmup, step, steps, 1 / 25, 1.0, 1 / 250_000)
    if step <= warmup:
        return step / warmup
    if options.schedule == "constant":
        return 1.0
    if options.schedule == "inverse_sqrt":
        return math.sqrt(max(warmup, 1) / step)
    # The update after the last one would have rate 0, so that the last one still counts.
    share = min((step - max(warmup, 1)) / (steps + 1 - max(warmup, 1)), 1.0)
    if options.schedule == "cosine":
        return (1 + math.cos(math.pi * share)) / 2
    return 1 - share


def first_beta(options: Optimization, step: int, steps: int) -> float:
    """Returns Adam's first beta in update number `step`; it is `options.peak_beta` where the rate is highest.

    >>> cycle = Optimization(schedule="one_cycle", warmup=2, betas=(0.8, 0.99), peak_beta=0.7)
    >>> [round(first_beta(cycle, step, 5), 3) for step in range(1, 6)]
    [0.8, 0.7, 0.725, 0.775, 0.8]
    """
    usual = options.betas[0]
    if options.peak_beta is None:
        return usual
    return _cycle(warmup_steps(options, steps), step, steps, usual, options.peak_beta, usual)


def _cycle(warmup: int, step: int, steps: int, first: float, peak: float, last: float) -> float:
    """Returns a value that goes from `first` to `peak` in the warm-up, then to `last`, by half a cosine each."""
    top = max(warmup, 1)
    if step < top:
        begin, end, share = first, peak, (step - 1) / (top - 1)
    else:
        begin, end, share = peak, last, (step - top) / max(steps - top, 1)
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


def depth(name: str, layers: int) -> int:
    """Returns how far below the top a parameter lies: heads 0, the last layer 1, the embeddings `layers` + 1."""
    layer = _layer(name)
    if layer is not None:
        return layers - layer
    return layers + 1 if name.startswith("encoder.embeddings.") else 0


def _layer(name: str) -> int | None:
    found = LAYER.match(name)
    return int(found[1]) if found else None


def freeze(learner: nn.Module, options: Optimization) -> list[nn.Parameter]:
    """Lets the parameters whose factor is 0 need no gradient; returns those that needed one.

    Raises:
        RecipeError: a pattern fits no parameter, or all are frozen.
    """
    named = dict(learner.named_parameters())
    for pattern in options.factors:
        if not any(fnmatchcase(name, pattern) for name in named):
            begins = ", ".join(sorted({".".join(name.split(".")[:3]) for name in named}))
            raise RecipeError(
                f'no parameter is called "{pattern}"', field="optim.factors", remedy=f"Names begin with {begins}."
            )
    trained = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    frozen = [parameter for name, parameter in trained.items() if _factor(name, options) == 0]
    if len(frozen) == len(trained):
        raise RecipeError("nothing is left to train", field="optim.factors", remedy="Let something have a rate.")
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen


def _factor(name: str, options: Optimization) -> float:
    return next((factor for pattern, factor in options.factors.items() if fnmatchcase(name, pattern)), 1.0)


def groups(parameters: Iterable[tuple[str, nn.Parameter]], options: Optimization) -> list[dict[str, Any]]:
    """Returns AdamW's parameter groups; each has its `scale`, the factor of the learning rate.

    Args:
        parameters: by name as in `Learner`; those that need no gradient are left out.
    """
    named = list(parameters)
    trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    layers = 1 + max((layer for name, _ in named if (layer := _layer(name)) is not None), default=-1)
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained:
        table = "embedding" in name and not options.decay_embeddings
        decay = 0.0 if parameter.ndim < 2 or table else options.weight_decay
        scale = options.layer_decay ** depth(name, layers) if options.layer_decay != 1 else 1.0
        scale *= _factor(name, options)
        found.setdefault((decay, scale), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "scale": scale, "lr": options.rate * scale}
        for (decay, scale), members in found.items()
    ]


def optimizer(parameters: Iterable[tuple[str, nn.Parameter]], options: Optimization) -> torch.optim.AdamW:
    """Returns fused AdamW over `groups` (fused is 18 times faster than foreach on a CPU: 38 against 679 ms for 23M)."""
    return torch.optim.AdamW(
        groups(parameters, options), lr=options.rate, betas=options.betas, eps=options.epsilon, fused=True
    )
