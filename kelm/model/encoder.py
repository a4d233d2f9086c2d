"""The one encoder that every method plugs into: a Transformer, or MultiFiT's quasi-recurrent network.

    Batch -> words -(embed)-> embeddings -> Stream -> layer 0 -> ... -> layer n-1 -(finish)-> Stream

Parameters are named as in Hugging Face's BERT, so BERT, RoBERTa and XLM-R checkpoints load without a key table;
what is added lies under ``extensions.<name>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from kelm import plugins
from kelm.batch import Batch, Visibility
from kelm.data.folders import added
from kelm.errors import CheckpointError, KelmError, TextTooLong, UnknownName, closest
from kelm.model import hub
from kelm.model.config import EncoderConfig
from kelm.model.embeddings import Embeddings, look_up
from kelm.model.extension import Extension, Step, Stream
from kelm.model.heads import VocabularyHead
from kelm.model.layers import Layer, NormsFirst
from kelm.model.qrnn import QRNNLayer, QRNNWords
from kelm.typing import Float, Tensor

__all__ = ["Encoder", "Extensions"]

Extensions = Sequence[str] | Mapping[str, Mapping[str, Any]]


class Layers(nn.Module):
    """HF's `encoder`: a namespace of `layer`, and of the last norm where layers norm only what they read."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(self._layer(config, index) for index in range(config.num_hidden_layers))
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if config.norms_first else None

    def _layer(self, config: EncoderConfig, index: int) -> nn.Module:
        if config.recurrent:
            return QRNNLayer(config, index)
        return NormsFirst(config) if config.norms_first else Layer(config)


class Pooler(nn.Module):
    """BERT's pooler: tanh(dense(first token))."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Float[Tensor, "text width"]) -> Float[Tensor, "text width"]:
        pooled: Tensor = torch.tanh(self.dense(first))
        return pooled


class Encoder(PreTrainedModel):
    """BERT, RoBERTa, XLM-R, XLM-R XL or MultiFiT's QRNN, with extensions.

    >>> encoder = Encoder.from_hf("bert-base-uncased", extensions={"ernie": {"table": "vectors"}})  # doctest: +SKIP
    >>> encoder.encode(batch).hidden                                                                # doctest: +SKIP
    """

    config_class = EncoderConfig
    base_model_prefix = "encoder_model"  # no submodule of that name: our folders have no head inside
    supports_gradient_checkpointing = True
    _no_split_modules = ["Layer", "NormsFirst", "Embeddings", "QRNNLayer"]  # noqa: RUF012  # HF's own attribute
    _supports_sdpa = True
    config: EncoderConfig

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.embeddings = QRNNWords(config) if config.recurrent else Embeddings(config)
        self.encoder = Layers(config)
        self.pooler = Pooler(config) if config.pooler else None
        self.gradient_checkpointing = False
        self.post_init()
        # After post_init: these start as they say, not as HF would have it (an extension's output projections at zero).
        for part in (self.embeddings, *self.encoder.layer):
            if isinstance(part, QRNNWords | QRNNLayer):
                part.reset()
        self.extensions = nn.ModuleDict()
        for name, options in (config.extensions or {}).items():
            self.extensions[name] = _extension(name, config, options)
        config.extensions = {name: extension.options for name, extension in self._named_extensions()}
        _check_order(self.extensions)

    def encode(
        self, batch: Batch, *, trail: bool = False, below: Step | None = None, layers: int | None = None
    ) -> Stream:
        """Returns what the encoder makes of a batch.

        Args:
            below: changes what the first layer reads.
            trail: keep the states before the first and after every layer in `Stream.trail`.
            layers: stop after so many; what ends the encoder (a last norm, an extension's `finish`) is left out then.

        Raises:
            TextTooLong: a position is beyond the encoder's last one.
            MissingPart: an extension needs a part that the batch lacks.
        """
        if batch.tokens.shape[1] > self.config.longest and not torch.compiler.is_compiling():
            self._check_length(batch)
        vectors, vocabulary = look_up(self.embeddings.word_embeddings, batch.tokens)
        for extension in self._extensions():
            vectors = extension.embed(vectors, batch)
        hidden = self.embeddings(vectors, batch)
        stream = Stream(hidden, batch, vocabulary, self._mask(batch.visibility))
        stream = stream if below is None else below(stream)
        every = layers is None or layers >= len(self.encoder.layer)
        for index in range(len(self.encoder.layer) if every else layers or 0):
            if trail:
                stream = stream.having(trail=(*stream.trail, stream.hidden))
            step = self._step(index)
            checkpointed = self.gradient_checkpointing and self.training
            stream = checkpoint(step, stream, use_reentrant=False) if checkpointed else step(stream)
        if every and self.encoder.LayerNorm is not None:
            stream = stream.having(hidden=self.encoder.LayerNorm(stream.hidden))
        for extension in self._extensions() if every else ():
            stream = extension.finish(stream)
        return stream.having(trail=(*stream.trail, stream.hidden)) if trail else stream

    def mute(self, *names: str) -> None:
        """Lets extensions add nothing, as if what they know were not there; all others speak. No name: all speak.

        Raises:
            UnknownName: the encoder has no such extension.
        """
        for name in names:
            if name not in self.extensions:
                raise UnknownName(f'no extension "{name}" is here', field="mute", remedy=closest(name, self.extensions))
        for name, extension in self._named_extensions():
            extension.muted = name in names

    def _check_length(self, batch: Batch) -> None:
        row, place = divmod(int(batch.positions.argmax()), batch.positions.shape[1])
        length = int(batch.positions[row, place]) + 1
        if length > self.config.longest:
            origins = f" (the texts of this batch: {', '.join(batch.origins[:5])})" if any(batch.origins) else ""
            raise TextTooLong(
                f"a text of {length} tokens does not fit this model of {self.config.longest} positions{origins}. "
                "Cut or split texts when reading (reader: length)."
            )

    def _named_extensions(self) -> list[tuple[str, Extension]]:
        return list(self.extensions.items())  # type: ignore[arg-type]  # a ModuleDict of extensions only

    def _extensions(self) -> list[Extension]:
        return [extension for _, extension in self._named_extensions()]

    def _step(self, index: int) -> Step:
        step: Step = self.encoder.layer[index]
        for extension in self._extensions():
            step = partial(extension.layer, step, index)
        return step

    def _mask(self, visibility: Visibility) -> Any:
        if self.config.recurrent:
            if visibility.branch is not None:
                raise KelmError(
                    "the texts have injected branches and a recurrent network reads one token after another. "
                    "Leave out the enricher that injects them (sentence_tree)."
                )
            return None
        if visibility.full:
            return None
        if self.config.attention == "sdpa":
            return visibility.mask()
        if self.training and visibility.document.device.type == "cpu":
            raise KelmError('attention "flex" has no backward pass on a CPU; set attention = "sdpa".')
        return visibility.block_mask()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **unused: Any,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Hugging Face's signature, so that its tools work on this model. `position_ids` are as HF counts them.

        Raises:
            KelmError: no `input_ids`, a mask that is not [row, token], or an argument that this encoder does not take.
        """
        wrong = sorted(name for name, value in unused.items() if value is not None and value is not False)
        if wrong or input_ids is None:
            raise KelmError(
                f"Encoder.forward takes input_ids and not {', '.join(wrong) or 'nothing'}; see Encoder.encode."
            )
        batch = self._batch(input_ids, attention_mask, token_type_ids, position_ids)
        keep = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        stream = self.encode(batch, trail=bool(keep))
        output = BaseModelOutputWithPooling(
            last_hidden_state=stream.hidden,
            pooler_output=None if self.pooler is None else self.pooler(stream.hidden[:, 0]),
            hidden_states=stream.trail if keep else None,
        )
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()

    def _batch(self, tokens: Tensor, shown: Tensor | None, segments: Tensor | None, positions: Tensor | None) -> Batch:
        shown = torch.ones_like(tokens) if shown is None else shown
        if shown.shape != tokens.shape:
            raise KelmError(
                f"Encoder.forward: attention_mask is {tuple(shown.shape)}, expected {tuple(tokens.shape)}. "
                "For other masks build a Batch with a Visibility and call encode."
            )
        if positions is not None:
            positions = positions - self.config.position_offset
        elif self.config.family == "bert":
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        else:  # RoBERTa counts real tokens only
            real = tokens != self.config.pad_token_id
            positions = (real.cumsum(1) - 1).clamp(min=0)
        return Batch(
            tokens=tokens,
            positions=positions,
            segments=torch.zeros_like(tokens) if segments is None else segments,
            visibility=Visibility(document=shown.long() - 1),
        )

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, nn.Embedding)
        self.embeddings.word_embeddings = value

    @classmethod
    def from_hf(cls, name_or_path: str | Path, *, extensions: Extensions = (), **changes: Any) -> Encoder:
        """Returns the encoder of a BERT, RoBERTa or XLM-R checkpoint, with fresh extensions.

        The checkpoint may hold a task head, which is left out; everything else has to fit exactly.

        Args:
            name_or_path: a folder, or a name on the Hugging Face Hub.
            extensions: plug-in names, or options by name.
            changes: fields of the configuration to override (dropout, attention kernel).

        Raises:
            CheckpointError: another architecture, missing, surplus or wrongly shaped weights, a damaged file.
            UnsafeFile: the weights are pickled.
        """
        source = hub.read(name_or_path)
        named = {name: {} for name in extensions} if not isinstance(extensions, Mapping) else dict(extensions)
        fields = {**source.fields, **changes, "pooler": "pooler.dense.weight" in source.encoder, "extensions": named}
        model = cls(EncoderConfig(**fields))
        expected = {name for name in model.state_dict() if not name.startswith("extensions.")}
        hub.check(source, expected, {name: tuple(value.shape) for name, value in model.state_dict().items()})
        model.load_state_dict(source.encoder, strict=False)
        model.eval()
        return model

    def to_hf(self, path: str | Path, *, head: VocabularyHead | None = None, drop: Sequence[str] = ()) -> None:
        """Writes a folder that `AutoModel` opens, and with a head `AutoModelForMaskedLM` too.

        Args:
            head: the vocabulary head that belongs to this encoder.
            drop: names of extensions to leave out.

        Raises:
            CannotExport: an extension is neither expressible nor named in `drop`.
        """
        kept = [name for name in self.extensions if name not in drop]
        weights = {name: value for name, value in self.state_dict().items() if not name.startswith("extensions.")}
        hub.write(Path(path), self.config, weights, None if head is None else head.state_dict(), kept)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *arguments: Any, **options: Any) -> Any:
        """Opens a kelm folder (see `save_pretrained`); `AutoModel.from_pretrained` comes here too.

        Raises:
            CheckpointError: it is no folder and no name on the Hub, or its weights are missing or damaged.
            UnsafeFile: the weights are pickled.
        """
        folder = hub.folder(pretrained_model_name_or_path)
        hub.weight_files(folder)  # before HF opens whatever it finds
        opened = super().from_pretrained(folder, *arguments, **options)
        model = opened[0] if isinstance(opened, tuple) else opened
        for extension in model._extensions():
            extension.restore(folder)
        return opened

    def save_pretrained(self, save_directory: Any, *arguments: Any, **options: Any) -> None:
        """Writes weights, configuration and what extensions keep beside them.

        Raises:
            CheckpointError: the disk is full or the folder cannot be written; nothing half-written remains.
        """
        self.config.extensions = {name: extension.options for name, extension in self._named_extensions()}
        if options.get("push_to_hub"):
            options.setdefault("repo_id", Path(save_directory).name)
        with added(Path(save_directory)) as new:
            super().save_pretrained(new, *arguments, **options)
            for extension in self._extensions():
                extension.save(new)


def _extension(name: str, config: EncoderConfig, options: Mapping[str, Any]) -> Extension:
    kind = plugins.find("extensions", name)
    try:
        extension: Extension = kind(config, **options)
    except TypeError as error:
        raise CheckpointError(
            f'extension "{name}" does not take these options ({error}): {dict(options)}. Correct them.'
        ) from error
    if config.recurrent and kind.layer is not Extension.layer:
        raise KelmError(
            f'extension "{name}" enters a Transformer\'s layers; a recurrent network has none. Leave it out.'
        )
    return extension


def _check_order(extensions: nn.ModuleDict) -> None:
    for position, (name, extension) in enumerate(extensions.items()):
        if position and isinstance(extension, Extension) and extension.innermost:
            raise KelmError(f'extension "{name}" enters the layers\' halves and must be the first; name it first.')
