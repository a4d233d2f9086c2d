"""Training a subword vocabulary from text with SentencePiece: unigram, BPE, or word pieces as BERT has them.

    texts (streamed) -> 16,000 pieces -> a tokenizer that `kelm.text.tokenizer.open` opens again

Ids begin as in RoBERTa and XLM-R: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4; word pieces as in BERT: [PAD] 0,
[UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4. Four spare pieces follow, [unused1] to [unused4].
Source: Kudo, 2018 (unigram); Sennrich et al., 2016 (BPE); Schuster and Nakajima, 2012 (word pieces).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from kelm.errors import InputError, KelmError
from kelm.text.hugging_face import HuggingFace
from kelm.text.sentence_piece import SentencePiece

__all__ = ["Kind", "train"]

Kind = Literal["unigram", "bpe", "wordpiece"]
_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SPARE = tuple(f"[unused{number}]" for number in range(1, 5))  # as in BERT: pieces that tasks may use as markers
_LONGEST = 16_384  # bytes of one text that SentencePiece learns from
_THREADS = 4  # fixed: sums of floating-point numbers, and so the vocabulary, depend on it


def train(
    texts: Iterable[str],
    size: int,
    kind: Kind = "unigram",
    *,
    coverage: float = 0.9995,
    lower: bool = False,
    byte_fallback: bool = False,
    sample: int = 10_000_000,
) -> HuggingFace | SentencePiece:
    """Returns a tokenizer whose vocabulary is learned from `texts`, which are read once.

    The same texts give the same vocabulary.

    Args:
        size: tokens of the vocabulary, special ones included.
        coverage: share of the characters' occurrences that get a piece of their own (1.0 for small alphabets; the
            default is SentencePiece's, for texts with rare ideographs).
        lower: fold case; of word pieces this also drops accents, as BERT's uncased models do.
        byte_fallback: spell unknown characters in bytes instead of <unk> (not word pieces).
        sample: texts to learn from; of more, a uniform sample is drawn.

    Raises:
        InputError: no text, or a size that these texts cannot fill or that does not hold their characters.

    Cost: the sampled texts in memory; unigram about a minute per million sentences.
    """
    if kind not in ("unigram", "bpe", "wordpiece"):
        raise KelmError(f'no kind of vocabulary is called "{kind}". Known: bpe, unigram, wordpiece.')
    counted = _Counted(texts)
    tokenizer: HuggingFace | SentencePiece
    if kind == "wordpiece":
        tokenizer = _word_pieces(counted, size, lower, coverage, sample)
    else:
        tokenizer = _sentence_piece(counted, counted, size, kind, coverage, lower, byte_fallback, sample)
    return tokenizer


class _Counted:
    """An iterator of the texts that have something in them, which knows how many it gave."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts, self.count = iter(texts), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = next(self._texts)
        while not text.strip():
            text = next(self._texts)
        self.count += 1
        return text.replace("\n", " ")  # SentencePiece takes a line end for the end of the text


def _sentence_piece(
    sentences: Iterable[str],
    texts: _Counted,
    size: int,
    kind: Kind,
    coverage: float,
    lower: bool,
    byte_fallback: bool,
    sample: int,
    *,
    exact: bool = True,
) -> SentencePiece:
    from sentencepiece import SentencePieceTrainer, set_random_generator_seed

    set_random_generator_seed(0)  # which texts are sampled
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=exact,
            model_type=kind,
            character_coverage=coverage,
            normalization_rule_name="nmt_nfkc_cf" if lower else "nmt_nfkc",
            byte_fallback=byte_fallback,
            bos_id=0,
            pad_id=1,
            eos_id=2,
            unk_id=3,
            user_defined_symbols=["<mask>", *_SPARE],
            input_sentence_size=sample,
            shuffle_input_sentence=True,
            max_sentence_length=_LONGEST,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explained(error, texts.count, size) from error
    return SentencePiece(model.getvalue())


def _explained(error: RuntimeError, texts: int, size: int) -> KelmError:
    """Turns SentencePiece's message about its source code into one about the user's texts."""
    if texts == 0:
        return InputError("no text to learn a vocabulary from", remedy="Give texts that are not blank.")
    if highest := re.search(r"Please set it to a value <= (\d+)", str(error)):
        return InputError(
            f"{texts:,} texts cannot fill a vocabulary of {size:,}",
            remedy=f"Use a size of at most {highest[1]}, or more text.",
        )
    if re.search(r"[Vv]ocabulary size is smaller than required|required_chars", str(error)):
        return InputError(
            f"a vocabulary of {size:,} does not hold the characters of these texts",
            remedy="Use a larger size or a lower coverage.",
        )
    return InputError(f"SentencePiece cannot learn from these {texts:,} texts ({error})")


def _word_pieces(texts: _Counted, size: int, lower: bool, coverage: float, sample: int) -> HuggingFace:
    """Learns BPE merges of BERT's words and reads them by greedy longest match.

    The trainer of `tokenizers` breaks ties by a random hash order: the same texts gave another vocabulary each time.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.BertNormalizer(lowercase=lower)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = (" ".join(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))) for text in texts)
    merged = _merges(words, texts, size, coverage, sample)
    letters = sorted({letter for piece in merged for letter in piece.removeprefix("##")})
    letters = [form for letter in letters for form in (letter, f"##{letter}")]
    pieces = list(dict.fromkeys([*_SPECIALS, *_SPARE, *letters, *merged]))
    if len(_SPECIALS) + len(_SPARE) + len(letters) > size:
        raise _explained(RuntimeError("required_chars"), texts.count, size)
    if len(pieces) < size:
        raise _explained(RuntimeError(f"Please set it to a value <= {len(pieces)}"), texts.count, size)
    ids = {piece: id for id, piece in enumerate(pieces[:size])}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.normalizer, backend.pre_tokenizer, backend.decoder = normalizer, splitter, decoders.WordPiece()
    backend.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return HuggingFace(
        PreTrainedTokenizerFast(
            tokenizer_object=backend,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        )
    )


def _merges(words: Iterable[str], texts: _Counted, size: int, coverage: float, sample: int) -> list[str]:
    """Returns the pieces that BPE learns, in its order, as word pieces: ``un``, ``##able``."""
    learned = _sentence_piece(words, texts, size, "bpe", coverage, False, False, sample, exact=False)
    made = (learned.piece(id) for id in range(learned.vocabulary_size) if id not in learned.special)
    own = [piece for piece in made if piece not in _SPARE]
    marked = [piece.removeprefix("▁") if piece.startswith("▁") else f"##{piece}" for piece in own]
    return [piece for piece in marked if piece.removeprefix("##")]
