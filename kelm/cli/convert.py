"""`kelm convert`: model folders between Hugging Face's form and kelm's.

Hugging Face BERT, RoBERTa, XLM-R  --to kelm-->  kelm folder       weights, vocabulary head, tokenizer
kelm folder, with its heads        --to hf---->  plain folder      refuses what it cannot express, unless dropped
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelm.errors import CannotExport, CheckpointError, InputError, NothingSaved

if TYPE_CHECKING:
    from kelm.model import Encoder, VocabularyHead
    from kelm.typing import Tensor

__all__ = ["Form", "convert", "form_of", "head_of"]

TOKENIZER_FILES = (
    "tokenizer*",
    "kelm_tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
HEADS = "heads.safetensors"
HEAD = "mlm.head."  # where the masked language model keeps its vocabulary head, alone or inside another objective


class Form(StrEnum):
    """The two forms of a model folder."""

    hf = "hf"
    kelm = "kelm"


def convert(
    source: Annotated[str, typer.Argument(help="A model folder, or a name on the Hugging Face Hub.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="The folder to write.")],
    to: Annotated[
        Form | None,
        typer.Option(help="The form to write; the other one than SOURCE's if not given.", show_default=False),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="An extension to leave out; may be repeated.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace DEST if it is there.")] = False,
) -> None:
    """Turn a Hugging Face model folder into kelm's form, or kelm's into Hugging Face's.

    BERT, RoBERTa and XLM-R are read; weights in safetensors only. The vocabulary head and the tokenizer go along. A
    plain Hugging Face folder cannot hold extensions: leave them out with --drop, or the command refuses.

    Example: kelm convert runs/ernie/checkpoints/step-00001000/model ernie-as-bert --to hf --drop ernie
    """
    from transformers.utils.logging import disable_progress_bar

    from kelm.data.folders import aside
    from kelm.model import hub

    disable_progress_bar()
    path = hub.folder(source)
    form = form_of(path)
    to = to or (Form.hf if form is Form.kelm else Form.kelm)
    if destination.exists() and not force:
        raise InputError("exists already", path=destination, remedy="Give another folder, or --force to replace it.")
    encoder = _open(path, form)
    head = head_of(path, form, encoder)
    unknown = [name for name in drop or () if name not in encoder.extensions]
    if unknown:
        have = ", ".join(encoder.extensions) or "none"
        raise InputError(f"no extension {', '.join(unknown)} to drop", path=path, remedy=f"It has: {have}.")
    if to is Form.kelm and drop:
        raise CannotExport(
            "--drop leaves extensions out of a plain folder; it needs --to hf. Add that, or leave --drop out."
        )
    with aside(destination) as new:
        if to is Form.hf:
            encoder.to_hf(new, head=head, drop=drop or ())
        else:
            encoder.save_pretrained(new)
            _keep_heads(path, new, form, head)
        copied = _copy_tokenizer(path, new)
    told = ", ".join(["weights", *(["vocabulary head"] if head else []), *(["tokenizer"] if copied else [])])
    print(f"{destination}: {told}, in {'Hugging Face' if to is Form.hf else 'kelm'} form")
    if to is Form.hf and (others := sorted({name.partition(".")[0] for name in _heads(path) if HEAD not in name})):
        print(f"left out, as a plain folder has no place for it: what {', '.join(others)} learned")


def form_of(path: Path) -> Form:
    """Returns the form of a model folder.

    Raises:
        NothingSaved: its config.json is missing or no JSON.
    """
    try:
        described = json.loads((path / "config.json").read_text(encoding="utf-8"))
        return Form.kelm if described["model_type"] == "kelm" else Form.hf
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NothingSaved(
            f"{path / 'config.json'} is missing or describes no model. Give the folder that holds config.json and "
            "model.safetensors (of a training run: checkpoints/step-.../model)."
        ) from error


def _open(path: Path, form: Form) -> Encoder:
    from kelm.model import Encoder

    if form is Form.hf:
        return Encoder.from_hf(path)
    encoder: Encoder = Encoder.from_pretrained(path)
    return encoder


def head_of(path: Path, form: Form, encoder: Encoder) -> VocabularyHead | None:
    """Returns the vocabulary head that lies with a model, or None.

    Raises:
        CheckpointError: the head does not fit the encoder.
    """
    from kelm.model import VocabularyHead, hub

    weights = dict(hub.read(path).head) if form is Form.hf else _vocabulary_head(_heads(path))
    head = VocabularyHead(encoder.config)
    if set(weights) != set(head.state_dict()):
        return None  # none, or only a part of one, as in checkpoints with another task's head
    try:
        head.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: its vocabulary head does not fit its encoder ({error}). Write it again."
        ) from error
    return head


def _heads(path: Path) -> dict[str, Tensor]:
    from kelm.training.checkpoint import read_tensors

    return read_tensors(path / HEADS) if (path / HEADS).is_file() else {}


def _vocabulary_head(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights below `HEAD`, of several the outermost."""
    places = {name[: name.index(HEAD) + len(HEAD)] for name in weights if HEAD in name}
    place = min(places, key=len, default=HEAD)
    return {name.removeprefix(place): value for name, value in weights.items() if name.startswith(place)}


def _keep_heads(path: Path, new: Path, form: Form, head: VocabularyHead | None) -> None:
    from safetensors.torch import save_file

    if form is Form.kelm and (path / HEADS).is_file():
        shutil.copyfile(path / HEADS, new / HEADS)
    elif head is not None:
        save_file({HEAD + name: value.contiguous() for name, value in head.state_dict().items()}, new / HEADS)


def _copy_tokenizer(path: Path, new: Path) -> bool:
    files = {file for pattern in TOKENIZER_FILES for file in path.glob(pattern) if file.is_file()}
    for file in files:
        shutil.copyfile(file, new / file.name)
    return bool(files)
