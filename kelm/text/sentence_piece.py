"""SentencePiece models (unigram, BPE), read by their own library (Kudo and Richardson, 2018)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from unicodedata import is_normalized

import numpy as np

from kelm.errors import CheckpointError
from kelm.text.assembly import Assembling, Pieces, Template, begins_of, begun, table
from kelm.text.fast import as_fast
from kelm.text.proto import NORMALIZER, field, fields
from kelm.text.spans import ragged, trimmed, word_numbers
from kelm.typing import Int

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from transformers import PreTrainedTokenizerFast

__all__ = ["MODEL", "SETTINGS", "SentencePiece"]

MODEL, SETTINGS = "sentencepiece.model", "kelm_tokenizer.json"  # what `save` writes into a folder


class SentencePiece(Assembling):
    """A SentencePiece model (unigram or BPE), read by its own library: several times faster than a conversion.

    Args:
        model: the serialized model.
        fairseq: number tokens as XLM-R does: <s> <pad> </s> <unk>, then the model's pieces from 4 on, then <mask>.
            Otherwise the model's own ids hold, and <pad> and <mask> are added at the end if it lacks them.
    """

    def __init__(self, model: bytes, *, fairseq: bool = False) -> None:
        from sentencepiece import SentencePieceProcessor

        self._model, self.fairseq = model, fairseq
        try:
            self._processor: SentencePieceProcessor = SentencePieceProcessor(model_proto=model)
        except (RuntimeError, TypeError) as error:
            raise CheckpointError(f"this is no SentencePiece model ({error}). Give a *.model file.") from error
        own = self._processor
        size = own.get_piece_size()
        self._pieces_by_id = [own.id_to_piece(id) for id in range(size)]
        self._numbers = np.arange(size)
        if fairseq:
            self._numbers += 1  # XLM-R leaves out the model's <s> </s> at 1, 2 and puts four tokens before
            self._numbers[[own.bos_id(), own.eos_id(), own.unk_id()]] = 0, 2, 3
            self._pieces_by_id = ["<s>", "<pad>", "</s>", "<unk>", *self._pieces_by_id[3:], "<mask>"]
        else:
            self._pieces_by_id += [piece for piece in ("<pad>", "<mask>") if piece not in self._pieces_by_id]
        self._ids = {piece: id for id, piece in enumerate(self._pieces_by_id)}
        self.unk = 3 if fairseq else own.unk_id()
        self.cls, self.sep = self._id_of("<s>", own.bos_id()), self._id_of("</s>", own.eos_id())
        self.pad, self._mask = self._ids["<pad>"], self._ids["<mask>"]
        controls = (int(self._numbers[id]) for id in range(size) if own.is_control(id))
        self.special = frozenset({*controls, self.pad, self._mask, self.cls, self.sep, self.unk})
        self.template = Template((self.cls,), (self.sep, self.sep), (self.sep,))
        shown = enumerate(self._numbers.tolist())
        self._own = {number: id for id, number in shown if number not in self.special or number == self.unk}
        self._special = table(self.special - {self.unk}, self.vocabulary_size)
        self._begins = begins_of(self._ids.items(), self.vocabulary_size)
        self._shapes = np.array([_shape(own, id) for id in range(size)], dtype=np.int64)
        self._dummy = own.normalize("a").index("a")  # "▁a": a mark before each text
        self._read_singly = _read_singly(model)

    def _id_of(self, piece: str, own: int) -> int:
        if piece in self._ids:
            return self._ids[piece]
        if own < 0:
            raise CheckpointError(f"the SentencePiece model has no {piece}; train it with bos_id and eos_id.")
        return own

    @classmethod
    def read(cls, path: str | Path, *, fairseq: bool = False) -> Self:
        """Opens a ``*.model`` file."""
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file. Give a SentencePiece model.")
        try:
            return cls(path.read_bytes(), fairseq=fairseq)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    @property
    def model(self) -> bytes:
        """The model as its file holds it; see `kelm.text.proto`."""
        return self._model

    @property
    def mask(self) -> int:
        return self._mask

    @property
    def vocabulary_size(self) -> int:
        return len(self._pieces_by_id)

    def _pieces(self, texts: list[str]) -> Pieces:
        lists = self._processor.encode(texts, num_threads=1)
        counts = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        own = np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=int(counts.sum()))
        tokens = self._numbers[own]
        spans = self._spans(texts, own, counts)
        words = word_numbers(begun(self._begins[tokens]), self._special[tokens], counts)
        return Pieces(tokens, spans, words, counts)

    def _spans(
        self, texts: list[str], own: Int[np.ndarray, "token"], counts: Int[np.ndarray, "text"]
    ) -> Int[np.ndarray, "token 2"]:
        """Returns where each piece lies: by the pieces' lengths where each character is read as one, else as told."""
        shapes = self._shapes[own]
        ends, first = shapes[:, 0].cumsum(), counts.cumsum() - counts
        before = np.append(0, ends)[first]
        sizes = np.append(0, ends)[first + counts] - before
        place = ends - np.repeat(before + self._dummy, counts)  # of the end, in its text
        start, end = place - shapes[:, 0] + shapes[:, 1], place - shapes[:, 2]
        spans = np.stack([start, end], axis=1)
        spans[start >= end] = -1
        odd = [
            number
            for number, (text, size) in enumerate(zip(texts, sizes.tolist(), strict=True))
            if size != len(text) + self._dummy or not self._read_singly(text)
        ]
        if odd:
            chosen = [texts[number] for number in odd]
            told = self._processor.encode(chosen, return_type="offset_mapping", num_threads=1)
            flat = chain.from_iterable(chain.from_iterable(one["offsets"] for one in told))
            many = counts[odd]
            slow = np.fromiter(flat, dtype=np.int64, count=2 * int(many.sum())).reshape(-1, 2)
            spans[ragged(first[odd], many)] = trimmed(slow, chosen, many)
        return spans

    def decode(self, ids: Iterable[int]) -> str:
        own = (self._own.get(int(id)) for id in ids)
        return str(self._processor.decode([id for id in own if id is not None]))

    def piece(self, id: int) -> str:
        return self._pieces_by_id[id]

    def find(self, piece: str) -> int | None:
        return self._ids.get(piece)

    def save(self, folder: str | Path) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL).write_bytes(self._model)
        settings = {"kind": "sentencepiece", "fairseq": self.fairseq}
        (folder / SETTINGS).write_text(json.dumps(settings) + "\n", encoding="utf-8")
        self.fast().save_pretrained(folder)

    def fast(self) -> PreTrainedTokenizerFast:
        """Returns the same as a fast tokenizer of transformers, with equal ids."""
        from transformers import PreTrainedTokenizerFast

        own, size = self._processor, self._processor.get_piece_size()
        scores = dict.fromkeys(self._pieces_by_id, 0.0)
        scores.update({self._pieces_by_id[self._numbers[id]]: own.get_score(id) for id in range(size)})
        special = {"bos": self.cls, "eos": self.sep, "unk": self.unk, "pad": self.pad, "mask": self.mask}
        named = {name: self._pieces_by_id[id] for name, id in special.items()}
        symbols = [piece for piece in self._pieces_by_id if piece.startswith("[unused") and piece.endswith("]")]
        spelled = any(own.is_byte(id) for id in range(size))
        made = as_fast(self._model, list(scores.items()), named, symbols=symbols, bytes_=spelled)
        tokens = {f"{name}_token": piece for name, piece in named.items()}
        return PreTrainedTokenizerFast(tokenizer_object=made, cls_token=named["bos"], sep_token=named["eos"], **tokens)

    def fingerprint(self) -> str:
        return hashlib.blake2b(self._model + str(self.fairseq).encode(), digest_size=16).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self._model, "fairseq": self.fairseq}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


_UNTOLD = 1 << 40  # longer than any text: the length of what is not known by its piece


def _shape(model: SentencePieceProcessor, id: int) -> tuple[int, int, int]:
    """Returns a piece's length, and how many of its characters are spaces at its beginning and at its end."""
    if model.is_unknown(id) or model.is_byte(id) or model.is_control(id):
        return _UNTOLD, 0, 0
    piece = model.id_to_piece(id)
    return len(piece), len(piece) - len(piece.lstrip("▁")), len(piece) - len(piece.rstrip("▁"))


def _read_singly(model: bytes) -> Callable[[str], bool]:
    """Returns what tells of a text that a model's normalizer gives no character more than one.

    Then no character was left out either if what was read is as long as the text.
    """
    name = dict(fields(field(model, NORMALIZER))).get(1, b"")
    if name == b"identity":
        return lambda text: True
    if name in (b"nfkc", b"nmt_nfkc"):
        return lambda text: is_normalized("NFKC", text)
    if name in (b"nfkc_cf", b"nmt_nfkc_cf"):
        return _folds_singly
    return lambda text: False


def _folds_singly(text: str) -> bool:
    folded = text.casefold()
    return len(folded) == len(text) and is_normalized("NFKC", text) and is_normalized("NFKC", folded)
