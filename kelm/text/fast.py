"""A SentencePiece model as a tokenizer of Hugging Face's library, with equal ids: what other libraries open.

    pieces with scores  -->  Unigram, or BPE with the merges that its pieces imply
    its rules for characters (a compiled table in the model)  -->  Precompiled        spaces  -->  "▁"

kelm itself reads the model by SentencePiece's own library, which is several times faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kelm.text import proto

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["as_fast", "merges"]

_CHARACTERS = 2  # field of the normalizer: its compiled table


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
    if proto.is_bpe(model):
        kind = models.BPE(ids, merges(scored), unk_token=special["unk"], fuse_unk=True, byte_fallback=bytes_)
    else:
        kind = models.Unigram(list(scored), unk_id=ids[special["unk"]], byte_fallback=bytes_)
    made = Tokenizer(kind)
    characters = proto.field(proto.field(model, proto.NORMALIZER), _CHARACTERS)
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
