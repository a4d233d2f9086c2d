"""Hugging Face's fast tokenizers (the library `tokenizers` underneath `transformers`) as kelm reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kelm.errors import KelmError
from kelm.text.assembly import Assembling, Pieces, Template, begins_of, begun, table
from kelm.text.spans import trimmed, word_numbers
from kelm.typing import Int

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["HuggingFace"]


class HuggingFace(Assembling):
    """A fast tokenizer of `transformers`."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self.vocabulary_size: int = max(self._backend.get_vocab(with_added_tokens=True).values()) + 1
        self.unk = _either(tokenizer.unk_token_id, tokenizer.pad_token_id)
        self.pad = _either(tokenizer.pad_token_id, tokenizer.unk_token_id)
        self.template = self._template()
        self.cls = _either(tokenizer.cls_token_id, tokenizer.bos_token_id, *self.template.before, self.pad)
        self.sep = _either(tokenizer.sep_token_id, tokenizer.eos_token_id, *self.template.after, self.pad)
        self.special = frozenset({*tokenizer.all_special_ids, self.pad, self.cls, self.sep})
        self._special = table(self.special - {self.unk}, self.vocabulary_size)
        self._begins = self._word_begins()

    @property
    def mask(self) -> int:
        if self.tokenizer.mask_token_id is None:
            raise KelmError(f"{self.tokenizer.name_or_path}: this tokenizer has no mask token; it is not made for MLM.")
        return int(self.tokenizer.mask_token_id)

    def _template(self) -> Template:
        found = self._backend.encode("a", "b")
        sides = [-1 if side is None else side for side in found.sequence_ids]
        if 0 not in sides or 1 not in sides:  # no piece for "a": ask for the unknown token instead
            raise KelmError("this tokenizer gives no token for the texts 'a' and 'b'; it cannot be used.")
        first, second = sides.index(0), sides.index(1)
        end_first = len(sides) - 1 - sides[::-1].index(0)
        end_second = len(sides) - 1 - sides[::-1].index(1)
        ids = tuple(found.ids)
        return Template(ids[:first], ids[end_first + 1 : second], ids[end_second + 1 :])

    def _word_begins(self) -> Int[np.ndarray, "token"] | None:
        """Returns the codes of `begins_of`; None where only the tokenizer knows (byte level)."""
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        model = self._backend.model
        if type(model).__name__ == "WordPiece":
            prefix = model.continuing_subword_prefix
            begins = table(
                (id for piece, id in vocabulary.items() if not piece.startswith(prefix)), self.vocabulary_size
            )
            return begins.astype(np.int8)
        if any(piece.startswith("▁") for piece in vocabulary):
            return begins_of(vocabulary.items(), self.vocabulary_size)
        return None

    def _pieces(self, texts: list[str]) -> Pieces:
        found = self._backend.encode_batch(texts, add_special_tokens=False)
        lists = [one.ids for one in found]
        counts = np.array([len(ids) for ids in lists])
        total = int(counts.sum())
        tokens = np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=total)
        flat = chain.from_iterable(chain.from_iterable(one.offsets for one in found))
        spans = trimmed(np.fromiter(flat, dtype=np.int64, count=2 * total).reshape(total, 2), texts, counts)
        special = self._special[tokens]
        if self._begins is not None:
            return Pieces(tokens, spans, word_numbers(begun(self._begins[tokens]), special, counts), counts)
        known = (-1 if word is None else word for one in found for word in one.word_ids)
        words = np.fromiter(known, dtype=np.int64, count=total)
        return Pieces(tokens, spans, np.where(special, -1, words), counts)

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.tokenizer.decode([int(id) for id in ids], skip_special_tokens=True))

    def piece(self, id: int) -> str:
        return str(self._backend.id_to_token(int(id)))

    def find(self, piece: str) -> int | None:
        found: int | None = self._backend.token_to_id(piece)
        return found

    def save(self, folder: str | Path) -> None:
        self.tokenizer.save_pretrained(str(folder))

    def fingerprint(self) -> str:
        return hashlib.blake2b(self._backend.to_str().encode(), digest_size=16).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _either(*ids: int | None) -> int:
    found = next((id for id in ids if id is not None), None)
    if found is None:
        raise KelmError("this tokenizer has neither a padding nor an unknown token; set one of them.")
    return int(found)
