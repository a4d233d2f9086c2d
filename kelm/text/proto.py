"""What a SentencePiece model file holds: its pieces, and how it reads characters; read and changed without its schema.

    (1, piece) (1, piece) ... (2, trainer) (3, normalizer)         fields of a message in protocol buffers' wire form
        piece: (1, text) (2, score, a float) (3, kind: 1 is a normal one)

Source: sentencepiece_model.proto of google/sentencepiece (ModelProto), and the encoding page of protocol buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kelm.errors import CheckpointError

__all__ = ["NORMALIZER", "Piece", "field", "fields", "is_bpe", "pieces", "with_pieces"]

PIECE, TRAINER, NORMALIZER = 1, 2, 3
_KIND, _BPE = 3, 2  # field of the trainer's settings, and its value
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5


class Piece(NamedTuple):
    """An entry; `kind` is 1 for normal pieces, 2 unknown, 3 control, 4 the user's, 5 unused, 6 a byte."""

    text: str
    score: float
    kind: int


def pieces(model: bytes) -> list[Piece]:
    """Returns the pieces of a model, by its own ids."""
    found = []
    for name, value in fields(model):
        if name == PIECE and isinstance(value, bytes):
            parts = dict(fields(value))
            text, score = parts.get(1, b""), parts.get(2, bytes(4))
            assert isinstance(text, bytes) and isinstance(score, bytes)
            found.append(Piece(text.decode(), struct.unpack("<f", score)[0], int(parts.get(3, 1))))
    return found


def with_pieces(model: bytes, changed: Sequence[Piece]) -> bytes:
    """Returns the model with other pieces, everything else as it was."""
    rest = b"".join(_written(name, value) for name, value in fields(model) if name != PIECE)
    return b"".join(_written(PIECE, _message(piece)) for piece in changed) + rest


def _message(piece: Piece) -> bytes:
    score = _key(2, _FLOAT) + struct.pack("<f", piece.score)
    kind = b"" if piece.kind == 1 else _written(3, piece.kind)
    return _written(1, piece.text.encode()) + score + kind


def is_bpe(model: bytes) -> bool:
    """Whether a model joins pairs (BPE); otherwise it is taken for a unigram model."""
    return any(name == _KIND and value == _BPE for name, value in fields(field(model, TRAINER)))


def field(message: bytes, number: int) -> bytes:
    """Returns the first field of that number that holds bytes, b"" if there is none."""
    return next((value for name, value in fields(message) if name == number and isinstance(value, bytes)), b"")


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yields number and value of each field: whole numbers, and all others as the bytes that they are.

    Raises:
        CheckpointError: this is no such message.
    """
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        form = key & 7
        if form == _VARINT:
            value, at = _number(message, at)
            yield key >> 3, value
            continue
        if form == _BYTES:
            size, at = _number(message, at)
        elif form in (_FLOAT, _DOUBLE):
            size = 4 if form == _FLOAT else 8
        else:
            raise CheckpointError(f"no message of protocol buffers has a field of form {form}. Give a *.model file.")
        yield key >> 3, message[at : at + size]
        at += size


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise CheckpointError("the SentencePiece model is cut: it ends in the middle of a number. Copy it again.")


def _written(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _key(number, _VARINT) + _varint(value)
    return _key(number, _BYTES) + _varint(len(value)) + value


def _key(number: int, form: int) -> bytes:
    return _varint(number << 3 | form)


def _varint(value: int) -> bytes:
    written = b""
    while value > 127:
        written += bytes([value & 127 | 128])
        value >>= 7
    return written + bytes([value])
