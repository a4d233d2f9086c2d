"""Weights, gradients and moments divided among processes (PyTorch's FSDP2), for models that one device cannot hold.

    layer i:   gather weights -> forward -> drop them ... gather -> backward -> each keeps its part of the gradient

`accelerate launch` asks for it by its configuration (`use_fsdp`, `fsdp_version: 2`), which arrives in the environment.
The sharding is torch's `fully_shard`, called here and not by accelerate, which leaves it out on CPUs: so what the tests
run there is what runs on GPUs. Source: Rajbhandari et al., 2020 (ZeRO), section 5; Zhao et al., 2023 (FSDP).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from kelm.errors import RecipeError
from kelm.model.layers import Layer
from kelm.typing import Tensor

__all__ = ["asked", "divided", "fitted", "gathered", "is_sharded", "shard", "unsynchronized", "whole"]


_REFUSED = {  # what accelerate would do for its own wrapping, and does not here
    "FSDP_OFFLOAD_PARAMS": "Use more processes, or a GPU with more memory.",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "Write fsdp_cpu_ram_efficient_loading: false.",
    "FSDP_ACTIVATION_CHECKPOINTING": "Set train.gradient_checkpointing = true in the recipe.",
}


def asked(precision: str) -> bool:
    """Whether the launcher asks for sharding, and there are processes to divide among.

    Raises:
        RecipeError: it asks for FSDP's first version or for what is not to be had, or the run for fp16.
    """
    if not _on("ACCELERATE_USE_FSDP") or not torch.distributed.is_initialized():
        return False
    if os.environ.get("FSDP_VERSION") != "2":
        remedy = "Write fsdp_version: 2 into the launcher's configuration."
        raise RecipeError("only FSDP 2 is supported", field="fsdp_version", remedy=remedy)
    for name, remedy in _REFUSED.items():
        if _on(name):
            raise RecipeError("is not supported", field=name.lower(), remedy=remedy)
    if precision == "fp16":
        raise RecipeError("fp16 is not for sharded runs", field="train.precision", remedy="Use bf16 or fp32.")
    return True


def _on(name: str, default: str = "false") -> bool:
    return os.environ.get(name, default).lower() in ("true", "1", "yes")


def is_sharded(call: nn.Module) -> TypeGuard[FSDPModule]:
    """Whether `shard` has divided a module."""
    return isinstance(call, FSDPModule)


def shard(call: nn.Module) -> None:
    """Divides the parameters of a module among all processes, layer by layer; what is no layer's goes together.

    A layer's are dropped between forward and backward, unless FSDP_RESHARD_AFTER_FORWARD is false: then only gradients
    and moments are divided. Weights, what is gathered of them and the gradients' sums are float32; autocast computes in
    a lower precision as it does in one process.
    """
    reshards = _on("FSDP_RESHARD_AFTER_FORWARD", "true")
    for module in call.modules():
        if isinstance(module, Layer):
            fully_shard(module, reshard_after_forward=reshards)
            for part in ("attend", "expand", "contract"):  # an innermost extension calls them one by one
                register_fsdp_forward_method(module, part)
    fully_shard(call)


@contextmanager
def gathered(call: nn.Module) -> Iterator[None]:
    """Lets every process see all weights, so that a module's parts can be called; all processes enter it together.

    Does nothing where nothing is divided.
    """
    sharded = [module for module in call.modules() if isinstance(module, FSDPModule)]
    for module in sharded:
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()


@contextmanager
def unsynchronized(call: FSDPModule) -> Iterator[None]:
    """Lets gradients add up in each process."""
    call.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        call.set_requires_gradient_sync(True)


def whole(tensors: Mapping[str, Tensor], keep: bool = True) -> dict[str, Tensor]:
    """Returns the tensors undivided; what was divided then lies on the CPU. All processes call it together.

    Args:
        keep: False in processes that only take part and get nothing.
    """
    found = {}
    for name, tensor in tensors.items():
        complete = tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor
        if keep:
            found[name] = complete
    return found


def divided(tensor: Tensor, like: Tensor) -> Tensor:
    """Returns this process's part of a tensor, divided as another one is."""
    if not isinstance(like, DTensor):
        return tensor
    mesh: Any = like.device_mesh
    return distribute_tensor(tensor.to(mesh.device_type), mesh, like.placements, src_data_rank=None)


def fitted(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors divided as those of the same name are."""
    return {name: divided(value, like[name]) if name in like else value for name, value in tensors.items()}
