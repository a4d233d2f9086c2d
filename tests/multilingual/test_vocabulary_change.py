"""Vocabularies with more languages and with fewer: what reads as before, what is new, and whose vectors it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kelm import cli
from kelm.errors import CheckpointError, InputError
from kelm.model import Encoder, EncoderConfig, VocabularyHead
from kelm.text import proto, tokenizer, vocabulary
from kelm.text.sentence_piece import SentencePiece
from multilingual import vocabulary_change
from multilingual.vocabulary_change import carried, cut, extend

ENGLISH = ["the cat sat on the mat", "a dog ran after the cat", "the mat is on the floor", "dogs and cats ran"] * 30
SWAHILI = ["paka alikaa juu ya mkeka", "mbwa alimkimbiza paka", "mkeka uko sakafuni", "paka na mbwa"] * 30


def trained(kind: Any, texts: list[str] | None = None, size: int = 60) -> SentencePiece:
    words = vocabulary.train(texts or ENGLISH, size, kind, coverage=1.0)
    assert isinstance(words, SentencePiece)
    return words


KINDS = {"unigram": trained("unigram", [*ENGLISH, *SWAHILI], 45), "bpe": trained("bpe")}


def read(words: SentencePiece, texts: list[str]) -> list[list[str]]:
    return [[words.piece(token) for token in text.tokens.tolist()] for text in words.encode(texts)]


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_what_the_library_says_and_can_be_written_back(kind: str) -> None:
    words = KINDS[kind]
    found = proto.pieces(words.model)
    own = words._processor
    assert [piece.text for piece in found] == [own.id_to_piece(id) for id in range(own.get_piece_size())]
    assert [piece.score for piece in found] == [own.get_score(id) for id in range(own.get_piece_size())]
    again = SentencePiece(proto.with_pieces(words.model, found))
    assert read(again, ENGLISH[:4]) == read(words, ENGLISH[:4])
    assert proto.is_bpe(words.model) == (kind == "bpe")


def test_a_file_that_is_cut_is_told() -> None:
    with pytest.raises(CheckpointError):
        proto.pieces(b"\x0a\xff")


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_language_gets_pieces_behind_the_old_ones(kind: str) -> None:
    words = KINDS[kind]
    texts = ["kucing duduk di atas tikar", "anjing lari dari kucing", "tikar di lantai"] * 40
    more = extend(words, texts, 25)
    assert words.vocabulary_size < more.vocabulary_size <= words.vocabulary_size + 25
    for token in range(words.vocabulary_size):
        assert more.piece(token) == words.piece(token)  # ids stay
    before, after = (sum(map(len, read(some, texts))) for some in (words, more))
    assert after < 0.8 * before
    known = {piece.text for piece in proto.pieces(words.model)}
    scores = [piece.score for piece in proto.pieces(more.model) if piece.text not in known]
    old = [piece.score for piece in proto.pieces(words.model) if piece.kind == 1]
    if kind == "bpe":
        assert max(scores) < min(old) and read(more, ENGLISH[:4]) == read(words, ENGLISH[:4])
    else:  # on the scale of the old ones
        assert min(old) - 3 < sum(scores) / len(scores) < max(old)


def test_scores_of_unigram_models_are_moved_by_what_both_have(monkeypatch: pytest.MonkeyPatch) -> None:
    words = KINDS["unigram"]
    old = {piece.text: piece.score for piece in proto.pieces(words.model) if piece.kind == 1}
    shared = list(old)[:3]
    learned = [proto.Piece(text, old[text] + gap, 1) for text, gap in zip(shared, (1.0, 2.0, 6.0), strict=True)]
    learned += [proto.Piece("kucing", -1.0, 1), proto.Piece("<s>", 0.0, 3), proto.Piece("tikar", -2.5, 1)]
    monkeypatch.setattr(vocabulary_change, "_learned", lambda texts, size, kind: learned)
    more = {piece.text: piece.score for piece in proto.pieces(extend(words, ["kucing"], 9).model)}
    assert more["kucing"] == pytest.approx(-4.0) and more["tikar"] == pytest.approx(-5.5)  # by the mean of 1, 2 and 6
    assert {text: more[text] for text in old} == old


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_language_does_not_use_can_be_cut_away_and_it_reads_as_before(kind: str) -> None:
    words = trained(kind, [*ENGLISH, *SWAHILI], 45 if kind == "unigram" else 100)
    smaller = cut(words, SWAHILI)
    assert smaller.vocabulary_size < words.vocabulary_size
    assert read(smaller, SWAHILI[:4]) == read(words, SWAHILI[:4])
    for name in ("pad", "cls", "sep", "unk", "mask"):
        assert smaller.piece(getattr(smaller, name)) == words.piece(getattr(words, name))
    assert cut(words, SWAHILI, least=10**6).vocabulary_size <= smaller.vocabulary_size


def test_nothing_to_add_and_impossible_numbers_are_told() -> None:
    with pytest.raises(InputError, match="1 or more"):
        extend(KINDS["bpe"], SWAHILI, 0)
    with pytest.raises(InputError, match="spells these texts already"):
        extend(KINDS["bpe"], ["a"] * 50, 3)


def test_an_encoder_goes_on_with_the_changed_vocabulary() -> None:
    words = KINDS["bpe"]
    torch.manual_seed(0)
    config = EncoderConfig(
        family="xlm-roberta",
        vocab_size=words.vocabulary_size,
        pad_token_id=words.pad,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        initializer_range=0.2,
    )
    encoder, head = Encoder(config).eval(), VocabularyHead(config)
    torch.nn.init.normal_(head.bias)
    for new in (extend(words, SWAHILI, 20), cut(words, ENGLISH)):
        made, weights = carried(encoder, head.state_dict(), words, new)
        for text in ENGLISH[:4]:  # reads as before, so the states are the same
            states = [
                model(torch.from_numpy(some.encode([text])[0].tokens)[None]).last_hidden_state
                for model, some in ((encoder, words), (made.eval(), new))
            ]
            assert torch.allclose(*states, atol=1e-6)
        fitted = VocabularyHead(made.config)
        fitted.load_state_dict(weights)
        for token in range(new.vocabulary_size):
            piece = new.piece(token)
            old = words.find(piece)
            if old is None:
                parts = words.encode([piece.replace("▁", " ")])[0]
                spelled = parts.tokens[parts.words >= 0]
                expected = encoder.get_input_embeddings().weight[torch.from_numpy(spelled)].mean(0)
                bias = head.bias[torch.from_numpy(spelled)].mean()
            else:
                expected, bias = encoder.get_input_embeddings().weight[old], head.bias[old]
            assert torch.allclose(made.get_input_embeddings().weight[token], expected, atol=1e-6)
            assert torch.allclose(fitted.bias[token], bias, atol=1e-6)
    assert encoder.config.vocab_size == words.vocabulary_size  # the given one is as it was


def checkpoint(folder: Path) -> SentencePiece:
    words = KINDS["unigram"]
    config = EncoderConfig(
        family="xlm-roberta",
        vocab_size=words.vocabulary_size,
        pad_token_id=words.pad,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
    )
    encoder = Encoder(config)
    encoder.to_hf(folder, head=VocabularyHead(config))
    words.save(folder)
    return words


@pytest.mark.parametrize("command", [["extend", "--more", "25"], ["cut"]])
def test_the_commands_write_checkpoints_that_transformers_opens(
    command: list[str], tmp_path: Path, capsys: Any
) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    words = checkpoint(tmp_path / "model")
    texts = ["kucing duduk di atas tikar", "anjing lari dari kucing"] * 40 if command[0] == "extend" else SWAHILI
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    told = ["vocab", command[0], str(tmp_path / "model"), "--text", f"sw={tmp_path}/texts.txt", *command[1:]]
    assert cli.run([*told, "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    theirs, fast = (kind.from_pretrained(tmp_path / "new") for kind in (AutoModelForMaskedLM, AutoTokenizer))
    assert f"{words.vocabulary_size} pieces before, {len(fast)} now" in said
    assert theirs.config.vocab_size == len(fast) == tokenizer.open(tmp_path / "new").vocabulary_size
    assert (len(fast) > words.vocabulary_size) == (command[0] == "extend")
    assert theirs(**fast("paka", return_tensors="pt")).logits.shape[-1] == len(fast)
    assert cli.run([*told, "--out", str(tmp_path / "new")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_word_pieces_are_refused_by_name(tmp_path: Path) -> None:
    vocabulary.train(ENGLISH, 60, "wordpiece").save(tmp_path)
    with pytest.raises(InputError, match="has no SentencePiece model"):
        vocabulary_change.opened(str(tmp_path))


def test_the_numbers_of_xlmr_stay_its_own(tmp_path: Path) -> None:
    (tmp_path / "sentencepiece.bpe.model").write_bytes(KINDS["unigram"].model)
    words = vocabulary_change.opened(str(tmp_path))
    assert words.fairseq and words.mask == words.vocabulary_size - 1
    more = extend(words, ["kucing duduk di atas tikar", "anjing lari dari kucing", "tikar di lantai"] * 40, 25)
    assert more.fairseq and more.mask == more.vocabulary_size - 1  # the mask stays last, so its row moves
    for token in range(words.mask):
        assert more.piece(token) == words.piece(token)
