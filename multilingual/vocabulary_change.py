"""A model's vocabulary with pieces for another language, or with nothing but what some languages use.

    extend   pieces that the new texts need and the vocabulary lacks, after all others         ids of the old ones stay
    cut      pieces that the texts are read with, and what any text needs (bytes, specials)     the texts read as before
    carried  the encoder and its head with the new vocabulary: a piece that was there keeps its vector; a new one is the
             mean of those by which it was spelled

New pieces of a unigram model have scores of another model; they are moved by the mean difference of the pieces that
both have, so that they compete on one scale. Those of BPE come after all merges that there are.
Source: Imani et al., 2023 (Glot500) extend XLM-R so, with scores that are not moved and vectors at random; a mean of
vectors: Hewitt, 2021. Abdaoui et al., 2020, for the cut.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from kelm.errors import InputError
from kelm.model import Encoder, VocabularyHead, hub
from kelm.text import proto, tokenizer, vocabulary
from kelm.text.proto import Piece
from kelm.text.sentence_piece import SentencePiece
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Tensor

__all__ = ["carried", "cut", "extend", "opened", "rewrite"]

XLMR_MODEL = "sentencepiece.bpe.model"  # its name in XLM-R's folders; it is a unigram model all the same
_NORMAL = 1
_TOGETHER = 1024  # texts that are read at once
_SPECIALS = 9  # pieces of every vocabulary of ours


def opened(name_or_path: str) -> SentencePiece:
    """Opens the SentencePiece model of a checkpoint: one of ours, or XLM-R's.

    Raises:
        InputError: its vocabulary is of another kind, such as BERT's word pieces.
    """
    path = hub.folder(name_or_path)
    if (path / XLMR_MODEL).is_file():
        return SentencePiece.read(path / XLMR_MODEL, fairseq=True)
    found = tokenizer.open(path)
    if not isinstance(found, SentencePiece):
        raise InputError(
            f"{name_or_path} has no SentencePiece model",
            field="model",
            remedy=f"Give a checkpoint with {XLMR_MODEL}, or one with a vocabulary of `kelm vocab train`.",
        )
    return found


def extend(words: SentencePiece, texts: Iterable[str], more: int) -> SentencePiece:
    """Returns the vocabulary with pieces for these texts.

    Args:
        more: pieces to add, at most; fewer if the texts do not need so many.

    Raises:
        InputError: `more` is below 1, or the texts need no piece.
    """
    if more < 1:
        raise InputError(f"expected 1 or more, found {more}", field="more", remedy="Say how many pieces to add.")
    held = list(texts)
    old = proto.pieces(words.model)
    known = {piece.text for piece in old}
    bpe = proto.is_bpe(words.model)
    size = 2 * more + len(set("".join(held))) + _SPECIALS
    learned = [piece for piece in _learned(held, size, "bpe" if bpe else "unigram") if piece.kind == _NORMAL]
    fresh = [piece for piece in learned if piece.text not in known][:more]
    if not fresh:
        raise InputError("the vocabulary spells these texts already", field="more", remedy="Extend it with others.")
    if bpe:
        lowest = min(piece.score for piece in old if piece.kind == _NORMAL)
        placed = [Piece(piece.text, lowest - 1 - number, _NORMAL) for number, piece in enumerate(fresh)]
    else:
        scores = {piece.text: piece.score for piece in old if piece.kind == _NORMAL}
        both = [scores[piece.text] - piece.score for piece in learned if piece.text in scores]
        shift = sum(both) / len(both) if both else min(scores.values()) - max(piece.score for piece in fresh)
        placed = [Piece(piece.text, piece.score + shift, _NORMAL) for piece in fresh]
    return SentencePiece(proto.with_pieces(words.model, [*old, *placed]), fairseq=words.fairseq)


def _learned(texts: list[str], size: int, kind: vocabulary.Kind) -> list[Piece]:
    """Returns the pieces of a vocabulary of these texts alone, of at most that size, best first."""
    while True:
        try:
            made = vocabulary.train(texts, size, kind)
        except InputError as error:
            if "does not hold the characters" in error.problem:
                return []
            if "cannot fill" not in error.problem:
                raise
            size = 4 * size // 5  # the texts have no more
            continue
        assert isinstance(made, SentencePiece)
        return proto.pieces(made.model)


def cut(words: SentencePiece, texts: Iterable[str], *, least: int = 1) -> SentencePiece:
    """Returns the vocabulary with the pieces that these texts are read with.

    With `least` = 1 the texts read as before. Single characters that the vocabulary has stay, too.

    Args:
        least: a piece stays that is used so often.
    """
    counts: Counter[int] = Counter()
    source = iter(texts)
    while some := list(islice(source, _TOGETHER)):
        for text in words.encode(some):
            counts.update(text.tokens.tolist())
    used = {words.piece(token) for token, count in counts.items() if count >= least}
    old = proto.pieces(words.model)
    if proto.is_bpe(words.model):
        used |= _parts(used, {piece.text for piece in old})
    kept = [piece for piece in old if piece.kind != _NORMAL or piece.text in used or len(piece.text) == 1]
    return SentencePiece(proto.with_pieces(words.model, kept), fairseq=words.fairseq)


def _parts(used: set[str], known: set[str]) -> set[str]:
    """Returns the pieces by whose joining BPE can arrive at others."""
    found: set[str] = set()
    waiting = list(used)
    while waiting:
        piece = waiting.pop()
        for at in range(1, len(piece)):
            both = {piece[:at], piece[at:]}
            if both <= known:
                waiting += both - found
                found |= both
    return found


def rewrite(
    model: str, out: Path, change: Callable[[SentencePiece], SentencePiece]
) -> tuple[SentencePiece, SentencePiece]:
    """Writes a checkpoint with another vocabulary; returns the old one and the new.

    Raises:
        CheckpointError: there is none, or it is damaged.
        InputError: its vocabulary is no SentencePiece model.
    """
    words, encoder = opened(model), Encoder.from_hf(model)
    new = change(words)
    weights = hub.head_weights(model) if hub.read(model).head else {}
    made, weights = carried(encoder, weights, words, new)
    head = None
    if weights:
        head = VocabularyHead(made.config)
        head.load_state_dict(weights)
    made.to_hf(out, head=head)
    new.save(out)
    return words, new


@torch.no_grad()
def carried(
    encoder: Encoder, head: Mapping[str, Tensor], old: Tokenizer, new: SentencePiece
) -> tuple[Encoder, dict[str, Tensor]]:
    """Returns a copy of the encoder, and of its vocabulary head's weights, for another vocabulary.

    Args:
        head: as `kelm.model.hub.head_weights` gives it; empty if there is none.
    """
    made = copy.deepcopy(encoder)
    given = encoder.get_input_embeddings()
    assert isinstance(given, nn.Embedding)
    table = given.weight
    bias = head.get("bias")
    rows = table.new_zeros(new.vocabulary_size, table.shape[1])
    biases = table.new_zeros(new.vocabulary_size)
    for number in range(new.vocabulary_size):
        piece = new.piece(number)
        before = _before(old, piece)
        rows[number] = table[before].mean(0)
        if bias is not None:
            biases[number] = bias[before].mean()
    words = nn.Embedding(new.vocabulary_size, table.shape[1], padding_idx=new.pad)
    words.weight.copy_(rows)
    made.set_input_embeddings(words)
    made.config.vocab_size, made.config.pad_token_id = new.vocabulary_size, new.pad
    return made, {**head, "bias": biases} if bias is not None else dict(head)


def _before(old: Tokenizer, piece: str) -> list[int]:
    """Returns the old tokens that a piece was: itself, or those by which it was spelled."""
    same = old.find(piece)
    if same is not None:
        return [same]
    [read] = old.encode([piece.replace("▁", " ")])
    own = read.tokens[read.words >= 0].tolist()
    return own or [old.unk]
