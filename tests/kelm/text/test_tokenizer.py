"""Tokenizers: what every kind promises, and equality with the library underneath."""

import pickle
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.batch import Encoded
from kelm.errors import CheckpointError, FormatError, KelmError, VocabularyMismatch
from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from kelm.text.hugging_face import HuggingFace
from kelm.text.sentence_piece import SentencePiece
from kelm.text.spans import trimmed
from tests.kelm.text.sentences import SENTENCES

TEXTS = [*SENTENCES[:20], "", " ", "x", "Ada  visited\tthe\u00a0ﬁne 東京 tower …", "unknowable ☃ <mask> [MASK] Ada"]
Kind = HuggingFace | SentencePiece


def same(a: Encoded, b: Encoded) -> bool:
    arrays = all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("tokens", "spans", "words", "segments")
    )
    return arrays and a.text == b.text


# what every kind promises


def test_special_tokens_stand_around_a_text_and_have_no_word(tokenizer: Kind) -> None:
    for encoded in tokenizer.encode(TEXTS):
        assert encoded.tokens[0] == tokenizer.cls
        assert encoded.tokens[-1] == tokenizer.sep
        assert encoded.words[0] == encoded.words[-1] == -1
        assert (encoded.spans[[0, -1]] == -1).all()
        assert (encoded.segments == 0).all()


def test_spans_follow_the_text_and_never_hold_outer_blanks(tokenizer: Kind) -> None:
    for encoded in tokenizer.encode(TEXTS):
        real = encoded.spans[encoded.spans[:, 0] >= 0]
        assert (real[:, 0] < real[:, 1]).all()
        assert (np.diff(real[:, 0]) >= 0).all()
        for start, end in real.tolist():
            piece = encoded.text[start:end]
            assert piece == piece.strip() != ""


def test_spans_cover_every_letter(tokenizer: Kind) -> None:
    for encoded in tokenizer.encode(TEXTS):
        covered = {place for start, end in encoded.spans.tolist() if start >= 0 for place in range(start, end)}
        letters = {place for place, letter in enumerate(encoded.text) if not letter.isspace()}
        assert letters <= covered | {place for place, letter in enumerate(encoded.text) if letter == "\ufe0f"}


def test_words_ascend_and_do_not_cross_spaces(tokenizer: Kind) -> None:
    for encoded in tokenizer.encode(SENTENCES):
        words = encoded.words[encoded.words >= 0]
        assert (np.diff(words) >= 0).all()
        for word in np.unique(words):
            spans = encoded.spans[(encoded.words == word) & (encoded.spans[:, 0] >= 0)]
            assert " " not in encoded.text[spans[0, 0] : spans[-1, 1]]


def test_encoding_many_texts_is_encoding_each(tokenizer: Kind) -> None:
    together = tokenizer.encode(TEXTS)
    alone = [tokenizer.encode([text])[0] for text in TEXTS]
    assert all(same(a, b) for a, b in zip(together, alone, strict=True))
    assert tokenizer.encode([]) == []


def test_a_long_text_is_cut_before_its_last_special_token(tokenizer: Kind) -> None:
    whole = tokenizer.encode(SENTENCES[:50])
    for length in (3, 7, 10, 1000):
        for cut, full in zip(tokenizer.encode(SENTENCES[:50], length=length), whole, strict=True):
            assert len(cut) == min(length, len(full))
            assert cut.tokens[-1] == tokenizer.sep
            assert np.array_equal(cut.tokens[:-1], full.tokens[: len(cut) - 1])
            assert np.array_equal(cut.spans[:-1], full.spans[: len(cut) - 1])


def test_a_pair_has_both_texts_with_spans_in_their_join(tokenizer: Kind) -> None:
    for encoded in tokenizer.encode(SENTENCES[:10], SENTENCES[-10:]):
        first, second = encoded.text.split("\n")
        for token in range(len(encoded)):
            start, end = encoded.spans[token]
            if start >= 0:
                assert (end <= len(first)) == (encoded.segments[token] == 0)
                assert encoded.text[start:end] in (first if end <= len(first) else second)
        words = encoded.words
        assert words[(encoded.segments == 1) & (words >= 0)].min() == words[encoded.segments == 0].max() + 1


def test_no_room_beside_special_tokens_is_an_error(tokenizer: Kind) -> None:
    with pytest.raises(KelmError, match="leaves no room"):
        tokenizer.encode(["a"], length=2)


def test_decoding_gives_the_text_back(tokenizer: Kind) -> None:
    text = "Ada visited Washington."
    decoded = tokenizer.decode(tokenizer.encode([text])[0].tokens)
    assert decoded.lower().replace(" .", ".") == text.lower()


def test_a_tokenizer_survives_saving_and_pickling(tokenizer: Kind, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    for other in (tokenizers.open(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert other.fingerprint() == tokenizer.fingerprint()
        assert (other.pad, other.mask, other.cls, other.sep, other.unk) == (
            tokenizer.pad,
            tokenizer.mask,
            tokenizer.cls,
            tokenizer.sep,
            tokenizer.unk,
        )
        assert all(same(a, b) for a, b in zip(other.encode(TEXTS), tokenizer.encode(TEXTS), strict=True))


def test_pieces_and_ids_are_inverse(tokenizer: Kind) -> None:
    for id in range(tokenizer.vocabulary_size):
        assert tokenizer.find(tokenizer.piece(id)) == id
    assert tokenizer.find("no such piece") is None


def test_a_mask_written_in_a_text_is_a_special_token(tokenizer: Kind) -> None:
    encoded = tokenizer.encode([f"Ada visited {tokenizer.piece(tokenizer.mask)}."])[0]
    (place,) = np.flatnonzero(encoded.tokens == tokenizer.mask)
    assert encoded.words[place] == -1
    assert encoded.words[place - 1] >= 0


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=4))
def test_any_text_keeps_the_promises(unigram: SentencePiece, word_pieces: HuggingFace, texts: list[str]) -> None:
    for tokenizer in (unigram, word_pieces):
        for text, encoded in zip(texts, tokenizer.encode(texts), strict=True):
            assert encoded.spans.max() <= len(text)
            assert len(encoded.tokens) == len(encoded.spans) == len(encoded.words) == len(encoded.segments)


# equality with the library underneath


@pytest.mark.parametrize("kind", ["word_pieces", "byte_level"])
def test_tokens_are_those_of_hugging_face(kind: str, request: pytest.FixtureRequest) -> None:
    ours: HuggingFace = request.getfixturevalue(kind)
    theirs = ours.tokenizer
    for text, encoded in zip(TEXTS, ours.encode(TEXTS), strict=True):
        assert encoded.tokens.tolist() == theirs(text)["input_ids"]


@pytest.mark.parametrize("kind", ["word_pieces", "byte_level"])
@pytest.mark.parametrize("length", [6, 7, 11, 16, 100])
def test_pairs_are_joined_and_cut_as_by_hugging_face(kind: str, length: int, request: pytest.FixtureRequest) -> None:
    ours: HuggingFace = request.getfixturevalue(kind)
    firsts, seconds = [*SENTENCES[:30], "x"], [*SENTENCES[-30:][::-1], " ".join(SENTENCES[:3])]
    for first, second, encoded in zip(firsts, seconds, ours.encode(firsts, seconds, length=length), strict=True):
        theirs = ours.tokenizer(
            first, second, truncation="longest_first", max_length=length, return_token_type_ids=True
        )
        assert encoded.tokens.tolist() == theirs["input_ids"]
        if kind == "word_pieces":
            assert encoded.segments.tolist() == theirs["token_type_ids"]
    ours.tokenizer.backend_tokenizer.no_truncation()


def test_pieces_are_those_of_sentencepiece(unigram: SentencePiece) -> None:
    for text, encoded in zip(TEXTS, unigram.encode(TEXTS), strict=True):
        assert encoded.tokens[1:-1].tolist() == unigram._processor.encode(text, return_type=int)


def test_fairseq_numbers_are_xlm_roberta_s(unigram: SentencePiece) -> None:
    ours = SentencePiece(default_model(), fairseq=True)
    assert [ours.piece(id) for id in range(4)] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert (ours.cls, ours.pad, ours.sep, ours.unk, ours.mask) == (0, 1, 2, 3, ours.vocabulary_size - 1)
    own = ours._processor
    for encoded, text in zip(ours.encode(TEXTS[:20]), TEXTS, strict=False):
        expected = [3 if id == own.unk_id() else id + 1 for id in own.encode(text, return_type=int)]
        assert encoded.tokens[1:-1].tolist() == expected
        assert [ours.piece(id) for id in encoded.tokens[1:-1] if id != 3] == [
            piece for piece, id in zip(own.encode(text, return_type=str), expected, strict=True) if id != 3
        ]
    assert ours.decode(ours.encode(["Ada visited Washington."])[0].tokens) == "Ada visited Washington."


def test_a_model_without_padding_and_mask_gets_them_at_the_end() -> None:
    ours = SentencePiece(default_model())
    assert (ours.pad, ours.mask) == (ours.vocabulary_size - 2, ours.vocabulary_size - 1)
    assert {ours.pad, ours.mask, ours.cls, ours.sep, ours.unk} == ours.special


def default_model() -> bytes:
    """A model trained with SentencePiece's own defaults, as XLM-R's was: <unk> 0, <s> 1, </s> 2, no padding."""
    import io

    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=120, minloglevel=2, hard_vocab_limit=False
    )
    return model.getvalue()


def test_a_piece_of_a_script_without_spaces_is_a_word(unigram: SentencePiece) -> None:
    encoded = unigram.encode(["李雷 visited 東京 tower."])[0]
    place = encoded.text.index("東")
    tokens = [token for token, (start, _) in enumerate(encoded.spans.tolist()) if start in (place, place + 1)]
    words = encoded.words[tokens[0] : tokens[-1] + 2].tolist()
    assert all(later > earlier for earlier, later in pairwise(words)) or len(tokens) == 1


# opening


def test_a_word_piece_list_without_capitals_lower_cases(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "paris", "##ian", "is"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    assert tokenizers.open(tmp_path / "vocab.txt").encode(["Parisian IS"])[0].tokens.tolist() == [2, 5, 6, 7, 3]
    (tmp_path / "cased.txt").write_text("\n".join([*pieces, "Paris"]) + "\n")
    assert tokenizers.open(tmp_path / "cased.txt").encode(["Paris paris IS"])[0].tokens.tolist() == [2, 8, 5, 1, 3]


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.model").write_bytes(b"no model")
    (tmp_path / "words.txt").write_text("the\nof\n")
    for path, error in (("broken.model", CheckpointError), ("no.model", CheckpointError), ("words.txt", FormatError)):
        with pytest.raises(error, match=path):
            tokenizers.open(tmp_path / path)
    with pytest.raises(CheckpointError, match=r"no tokenizer can be opened there"):
        tokenizers.open(tmp_path)


def test_a_tokenizer_without_a_mask_says_so(word_pieces: HuggingFace, tmp_path: Path) -> None:
    word_pieces.save(tmp_path)
    other = tokenizers.open(tmp_path)
    assert isinstance(other, HuggingFace)
    other.tokenizer.mask_token = None
    with pytest.raises(KelmError, match="no mask token"):
        _ = other.mask


@pytest.mark.parametrize(("more", "pad", "word"), [(-1, 0, "149 rows"), (5000, 0, "5150 rows"), (0, 3, "pads with 0")])
def test_a_vocabulary_that_does_not_fit_the_model_is_named(
    word_pieces: HuggingFace, more: int, pad: int, word: str
) -> None:
    size = word_pieces.vocabulary_size
    tokenizers.check_fits(word_pieces, SimpleNamespace(vocab_size=size, pad_token_id=0))
    tokenizers.check_fits(word_pieces, SimpleNamespace(vocab_size=size + 42, pad_token_id=0))  # rounded up
    with pytest.raises(VocabularyMismatch, match=word):
        tokenizers.check_fits(word_pieces, SimpleNamespace(vocab_size=size + more, pad_token_id=pad))


SPM_TEXTS = [
    "The cat's naïve, isn't it? 1234",
    "東京タワー は高い",
    "एक बिल्ली बैठी है",
    "Кот сидит",
    "straße ﬁx İstanbul",
]


@pytest.mark.parametrize("options", [{}, {"lower": True}, {"byte_fallback": True}], ids=str)
@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(
        st.one_of(
            st.sampled_from(SPM_TEXTS),
            st.text(max_size=20),
            st.text("a bc  ßſﬁé\u0301\u00a0\u3000\u200b\t\n<mask>▁한국ｶﾞİ", max_size=20),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_spans_by_the_lengths_of_pieces_are_those_that_sentencepiece_tells(
    options: dict[str, bool], texts: list[str]
) -> None:
    tokenizer = sentence_piece_of(**options)
    told = tokenizer._processor.encode(texts, return_type="offset_mapping", num_threads=1)
    counts = np.array([len(one["ids"]) for one in told])
    flat = [offset for one in told for offset in one["offsets"]]
    expected = trimmed(np.array(flat, dtype=np.int64).reshape(-1, 2), texts, counts)
    found = tokenizer._pieces(texts)
    assert found.counts.tolist() == counts.tolist()
    assert found.spans.tolist() == expected.tolist()


@cache
def sentence_piece_of(**options: bool) -> SentencePiece:
    size = 400 if "byte_fallback" in options else 180
    made = vocabulary.train(SPM_TEXTS * 20, size, "bpe", coverage=1.0, **options)
    assert isinstance(made, SentencePiece)
    return made
