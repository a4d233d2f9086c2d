"""A SentencePiece model as a tokenizer of Hugging Face's library, with equal ids: what other libraries open.

    pieces with scores  -->  Unigram, or BPE with the merges that its pieces imply
    its rules for characters (a compiled table in the model)  -->  Precompiled        spaces  -->  "▁"

kelm itself reads the model by SentencePiece's own library, which is several times faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["as_fast", "merges"]

_NORMALIZER, _TRAINER = 3, 2  # fields of SentencePiece's ModelProto
_CHARACTERS, _KIND = 2, 3  # of its NormalizerSpec, and of its TrainerSpec
_BPE = 2


def as_fast(
    model: bytes,
    scored: Sequence[tuple[str, float]],
    special: Mapping[str, str],
    *,
    symbols: Sequence[str],
    bytes_: bool,
) -> Tokenizer:
    """Returns the tokenizer.

    Args:
        model: the serialized SentencePiece model.
        scored: pieces and their scores, by id.
        special: pieces by what they are: "bos", "eos", "unk", "pad", "mask".
        symbols: further pieces that stand for themselves in any text.
        bytes_: unknown characters are spelled in bytes.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    ids = {piece: number for number, (piece, _) in enumerate(scored)}
    kind: Any
    if next((value for name, value in _fields(_field(model, _TRAINER)) if name == _KIND), 1) == _BPE:
        kind = models.BPE(ids, merges(scored), unk_token=special["unk"], fuse_unk=True, byte_fallback=bytes_)
    else:
        kind = models.Unigram(list(scored), unk_id=ids[special["unk"]], byte_fallback=bytes_)
    made = Tokenizer(kind)
    characters = _field(_field(model, _NORMALIZER), _CHARACTERS)
    rules: list[Any] = [normalizers.Precompiled(characters)] if characters else []
    made.normalizer = normalizers.Sequence([*rules, normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    bos, eos = special["bos"], special["eos"]
    made.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(piece, ids[piece]) for piece in (bos, eos)],
    )
    made.add_special_tokens([AddedToken(piece, normalized=False) for piece in special.values()])
    made.add_tokens([AddedToken(piece, normalized=False) for piece in symbols])
    return made


def merges(scored: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    """Returns the pairs that BPE joins, first ones first: of each piece all ways to make it of two others.

    >>> merges([("a", -9.0), ("b", -9.0), ("ab", -1.0), ("aab", -2.0)])
    [('a', 'b'), ('a', 'ab')]
    """
    place = {piece: number for number, (piece, _) in enumerate(scored)}
    found = []
    for piece, score in scored:
        parts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        known = [part for part in parts if part[0] in place and part[1] in place]
        found += [(-score, place[first], place[second], first, second) for first, second in known]
    return [(first, second) for *_, first, second in sorted(found)]


def _field(message: bytes, number: int) -> bytes:
    return next((value for name, value in _fields(message) if name == number and isinstance(value, bytes)), b"")


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yields the fields of a message in protocol buffers' form: number and value, bytes undecoded."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        name, form = key >> 3, key & 7
        if form == 0:
            value, at = _number(message, at)
            yield name, value
        elif form == 2:
            size, at = _number(message, at)
            yield name, message[at : at + size]
            at += size
        else:  # 64 or 32 bits
            at += 8 if form == 1 else 4


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
