"""Tokenizers behind one protocol: Hugging Face's fast ones and SentencePiece models, with character spans.

"Don't go"  ->  tokens  [CLS]  don   '    t    go  [SEP]
                spans   -1,-1  0,3  3,4  4,5  6,8  -1,-1
                words    -1     0    1    2    3    -1
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from kelm.batch import Encoded
from kelm.errors import CheckpointError, FormatError, VocabularyMismatch
from kelm.text.assembly import Template
from kelm.text.hugging_face import HuggingFace
from kelm.text.sentence_piece import MODEL, SETTINGS, SentencePiece

__all__ = ["HuggingFace", "SentencePiece", "Template", "Tokenizer", "check_fits", "open"]

_SPARE_ROWS = 1024  # a model may have this many rows more than its tokenizer has tokens (rounded up for speed)


class Tokenizer(Protocol):
    """What kelm asks of a tokenizer. `open` returns one; picklable, so that data workers can carry it.

    Attributes:
        pad, mask, cls, sep, unk: ids; `cls` is [CLS] or <s>, `sep` is [SEP] or </s>.
        special: ids that are never the prediction of a masked position: all of the above and the like.
    """

    pad: int
    cls: int
    sep: int
    unk: int
    special: frozenset[int]
    template: Template

    @property
    def mask(self) -> int: ...

    @property
    def vocabulary_size(self) -> int: ...

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, length: int | None = None
    ) -> list[Encoded]:
        """Returns the tokens of each text, or of each text and its pair together, special tokens included.

        The `text` of an encoded pair is both, joined by a line end; spans count in it.

        Args:
            length: cut to this many tokens, special ones included; of a pair the longer text is cut first.
        """
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of tokens, special tokens left out."""
        ...

    def piece(self, id: int) -> str:
        """Returns how the vocabulary writes a token."""
        ...

    def find(self, piece: str) -> int | None:
        """Returns the id of a piece of the vocabulary."""
        ...

    def save(self, folder: str | Path) -> None:
        """Writes what `open` needs into a folder."""
        ...

    def fingerprint(self) -> str:
        """Returns a digest: equal digests, equal encodings."""
        ...


def open(path_or_name: str | Path) -> HuggingFace | SentencePiece:
    """Opens a tokenizer: a folder or name of Hugging Face, a ``*.model`` of SentencePiece, BERT's ``vocab.txt``.

    A bare word-piece list has no settings: it is read as lower-casing if no piece of it has a capital letter.

    Raises:
        CheckpointError: it cannot be opened, or is not a fast tokenizer.
    """
    path = Path(path_or_name)
    if path.suffix == ".model":
        return SentencePiece.read(path)
    if (path / SETTINGS).is_file():
        settings = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
        return SentencePiece.read(path / MODEL, fairseq=bool(settings.get("fairseq")))
    if path.is_file():
        return _word_pieces(path)
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path_or_name), use_fast=True)
    except Exception as error:  # HF raises OSError, ValueError, KeyError, JSON errors and its own
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path_or_name}: no tokenizer can be opened there ({first}). Give a folder with tokenizer.json, "
            "a *.model of SentencePiece, BERT's vocab.txt or a name on the Hugging Face Hub."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise CheckpointError(f"{path_or_name}: this tokenizer gives no character spans; save its fast version.")
    return HuggingFace(tokenizer)


def _word_pieces(path: Path) -> HuggingFace:
    from transformers import BertTokenizer

    try:
        pieces = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError("this is no word-piece list in UTF-8", path=path, remedy="Give BERT's vocab.txt.") from error
    missing = [piece for piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if piece not in pieces]
    if missing:
        raise FormatError(f"the word-piece list lacks {', '.join(missing)}", path=path, remedy="Give BERT's vocab.txt.")
    lower = not any(piece != piece.lower() for piece in pieces if not piece.startswith("["))
    return HuggingFace(BertTokenizer(vocab=str(path), do_lower_case=lower))


class _Sized(Protocol):
    vocab_size: int
    pad_token_id: int


def check_fits(tokenizer: Tokenizer, config: _Sized) -> None:
    """Checks that a tokenizer belongs to a model.

    Raises:
        VocabularyMismatch: the model has fewer rows than the tokenizer has tokens, so many more that it must be
            another vocabulary, or another padding id.
    """
    size, rows = tokenizer.vocabulary_size, config.vocab_size
    if not size <= rows < size + _SPARE_ROWS:
        raise VocabularyMismatch(
            f"the tokenizer has {size} tokens, the model's vocabulary {rows} rows. "
            "Open the tokenizer that was saved with the model, or make the model with vocab_size="
            f"{size}."
        )
    if tokenizer.pad != config.pad_token_id:
        raise VocabularyMismatch(
            f"the tokenizer pads with {tokenizer.pad}, the model with pad_token_id={config.pad_token_id}. "
            "Open the tokenizer that was saved with the model, or make the model with "
            f"pad_token_id={tokenizer.pad}."
        )
