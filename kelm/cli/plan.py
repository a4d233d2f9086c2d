"""`kelm plan`: what a model costs before it is trained."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kelm.training.plan import Load
    from kelm.training.planned import Planned

__all__ = ["plan"]

_MOST = 0.5  # of the parameters in the vocabulary's vectors, beyond which that is said


def plan(
    what: Annotated[
        str, typer.Argument(help="A recipe, a size such as xlm-r-base, a checkpoint's folder or its name on the Hub.")
    ],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; may be repeated."),
    ] = None,
    gpu: Annotated[str, typer.Option(help="Which kind, such as a100 or h100.")] = "h100",
    gpus: Annotated[int, typer.Option(help="How many, a process each.")] = 8,
    sharding: Annotated[str, typer.Option(help="What FSDP2 divides: none (DDP), grads or full.")] = "none",
    precision: Annotated[
        str | None, typer.Option(help="fp32, bf16 or fp16; the recipe's, or bf16.", show_default=False)
    ] = None,
    checkpointing: Annotated[
        bool | None, typer.Option(help="Compute layers twice to keep less; as the recipe says.", show_default=False)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Tokens of a GPU's batch; the recipe's, or 8192.", show_default=False)
    ] = None,
    row: Annotated[int | None, typer.Option(help="Tokens of a row; the recipe's, or 512.", show_default=False)] = None,
    targets: Annotated[
        float | None, typer.Option(help="Share of the tokens that are to be guessed.", show_default=False)
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(help="Of the whole run, such as 6e12; from the recipe's steps.", show_default=False)
    ] = None,
    utilization: Annotated[float, typer.Option(help="Share of the GPUs' peak that is reached.")] = 0.4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a model costs: parameters by part, arithmetic a token, memory of a GPU, days.

    No weight is read or made. Nothing is measured either: peaks and memories are those of data sheets, and which share
    of the peak is reached depends on the model, the batch and the network.

    Example: kelm plan xlm-r-xl --gpus 64 --gpu a100 --sharding full --tokens 6e12
    """
    from kelm.training.planned import opened

    found = opened(what, change or ())
    given: dict[str, Any] = {
        "precision": precision,
        "checkpointing": checkpointing,
        "tokens": batch,
        "row": row,
        "targets": targets,
        "gpus": gpus,
        "sharding": sharding,
    }
    _check_choices(sharding, precision)
    load = replace(found.load, **{name: value for name, value in given.items() if value is not None})
    if tokens is None and found.tokens is not None:
        tokens = found.tokens * gpus
    told = _told(found, load, gpu, tokens, utilization)
    if as_json:
        print(json.dumps(told, indent=1))
    else:
        _show(what, told)


def _check_choices(sharding: str, precision: str | None) -> None:
    from kelm.errors import InputError, closest
    from kelm.training.plan import Precision, Sharding

    for name, value, known in (
        ("--sharding", sharding, get_args(Sharding)),
        ("--precision", precision, get_args(Precision)),
    ):
        if value is not None and value not in known:
            raise InputError(f'"{value}" is none of {", ".join(known)}', field=name, remedy=closest(value, known))


def _told(found: Planned, load: Load, gpu: str, tokens: float | None, utilization: float) -> dict[str, Any]:
    """Returns the plan as JSON values."""
    from kelm.training import plan as costs

    kind, counts = costs.gpu(gpu), found.parameters
    flops, memory = costs.flops(found.config, load), costs.memory(found.config, counts, load)
    total = sum(memory.values())
    told: dict[str, Any] = {
        "parameters": {**counts, "all": sum(counts.values())},
        "flops_per_token": {**asdict(flops), "forward": flops.forward, "backward": flops.backward, "all": flops.total},
        "memory": {**memory, "all": total},
        "load": asdict(load),
        "gpu": {"name": gpu, **asdict(kind)},
        "fits": total <= kind.memory,
        "notes": list(found.notes),
    }
    if (share := counts.get("vocabulary", 0) / sum(counts.values())) > _MOST:
        told["notes"].append(
            f"{share:.0%} of the parameters are the vocabulary's vectors: a smaller vocabulary, or one that is cut to "
            "what your texts use, makes the model smaller than any other change."
        )
    if total > kind.memory:
        told["notes"].append(_advice(costs.fitting(found.config, counts, load, kind.memory), load))
    if tokens is not None:
        days = costs.days(flops.total, tokens, kind, load, utilization)
        told |= {"tokens": tokens, "utilization": utilization, "days": days}
    return told


def _advice(fitting: Load | None, load: Load) -> str:
    if fitting is None:
        return "It does not fit, however it is divided and however small the batch: use more or larger GPUs."
    changes = []
    if fitting.checkpointing and not load.checkpointing:
        changes.append("train.gradient_checkpointing = true")
    if fitting.sharding != load.sharding:
        changes.append("all of it divided (--sharding full)")
    if fitting.tokens != load.tokens:
        changes.append(f"batches of {fitting.tokens:,} tokens and more accumulation")
    return f"It does not fit; it does with {', '.join(changes)}."


def _show(what: str, told: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    load, kind = told["load"], told["gpu"]
    table = Table("", "", "", box=None, show_header=False)
    table.columns[1].justify = "right"
    everything = told["parameters"]["all"]
    for name, count in told["parameters"].items():
        table.add_row("parameters", f"{count:,}", name if name == "all" else f"{name} ({count / everything:.1%})")
    for name, value in told["flops_per_token"].items():
        table.add_row("operations a token", f"{value:.3g}", name)
    for name, value in told["memory"].items():
        table.add_row("GB of a GPU", f"{value / 1e9:.2f}", name)
    console = Console()
    console.print(
        f"{what}: {load['gpus']} x {kind['name']}, {load['precision']}, sharding {load['sharding']}, ", end=""
    )
    again = ", layers computed twice" if load["checkpointing"] else ""
    console.print(f"batches of {load['tokens']:,} tokens in rows of {load['row']}{again}", highlight=False)
    console.print(table)
    fits = "fits into" if told["fits"] else "does not fit into"
    console.print(f"It {fits} {kind['memory'] / 1e9:.0f} GB ({kind['source']}).", highlight=False)
    if "days" in told:
        peak = f"{told['utilization']:.0%} of the peak"
        console.print(f"{told['tokens']:.3g} tokens: {told['days']:,.1f} days at {peak}.", highlight=False)
    for note in told["notes"]:
        console.print(note, highlight=False)
