"""Learning a vocabulary, reading text with it, and making batches of it.

    vocab-train     ours: kelm.text.vocabulary (SentencePiece unigram)   peer: HF tokenizers' UnigramTrainer, same size
    encode          ours: tokens, spans and words, in one thread         peer: HF tokenizers, same model, in one thread
                                                                               and on all cores
    corpus-stream   ours: file -> tokens -> masked, packed batches       peer: bare SentencePiece, ids alone, 2 threads

Both trainers have all cores, the same text and NFKC. Of `corpus-stream` the aim is 0.8: two worker processes against
two threads that do nothing but find pieces. The value is MB of UTF-8 a second.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.many_languages import texts
from benchmarks.measure import Row, compare
from kelm.data.reader import Reader
from kelm.data.sources import TextFiles
from kelm.data.stream import BatchStream
from kelm.model import EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import vocabulary
from kelm.text.sentence_piece import SentencePiece

__all__ = ["NAMES", "rows"]

NAMES = ("vocab-train", "encode", "corpus-stream")
LENGTH = 128


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns a row for each benchmark."""
    measured = {"vocab-train": _vocab_train, "encode": _encode, "corpus-stream": _corpus_stream}
    return [row for known, measure in measured.items() if name in (None, known) for row in measure(quick)]


def _vocab_train(quick: bool) -> list[Row]:
    lines, origin = texts(2_000 if quick else 60_000)
    size, megabytes = 1_500 if quick else 16_000, _megabytes(lines)

    def ours() -> float:
        vocabulary.train(lines, size, "unigram")
        return megabytes

    def peer() -> float:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.NFKC()
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trainer = trainers.UnigramTrainer(
            vocab_size=size, special_tokens=specials, unk_token="<unk>", show_progress=False
        )
        made.train_from_iterator(lines, trainer)
        return megabytes

    compared = compare(ours, peer, repeats=1 if quick else 5, warmup=0 if quick else 1, memory=not quick)
    setting = f"{len(lines):,} texts, {megabytes:.1f} MB, {origin}; {size:,} pieces"
    return [compared.row("vocab-train", "tokenizers UnigramTrainer", unit="MB/s", setting=setting)]


def _encode(quick: bool) -> list[Row]:
    lines, origin = texts(2_000 if quick else 60_000)
    words = _words(lines, quick)
    fast, megabytes = words.fast().backend_tokenizer, _megabytes(lines)

    def ours() -> float:
        for start in range(0, len(lines), 1024):
            words.encode(lines[start : start + 1024])
        return megabytes

    def peer() -> float:
        for start in range(0, len(lines), 1024):
            fast.encode_batch(lines[start : start + 1024])
        return megabytes

    found = []
    setting = f"{len(lines):,} texts, {megabytes:.1f} MB, {origin}; {words.vocabulary_size:,} pieces"
    for parallel, told in (("false", "one thread"), ("true", f"{os.cpu_count()} threads")):
        with _environment("TOKENIZERS_PARALLELISM", parallel):
            compared = compare(ours, peer, repeats=2 if quick else 5, memory=not quick)
        found.append(compared.row("encode", f"tokenizers Unigram, {told}", unit="MB/s", setting=setting))
    return found


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _corpus_stream(quick: bool) -> list[Row]:
    lines, origin = texts(4_000 if quick else 200_000)
    words, megabytes = _words(lines[:60_000], quick), _megabytes(lines)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": LENGTH}
    config = EncoderConfig(vocab_size=words.vocabulary_size, pad_token_id=words.pad, **sizes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        reader = Reader(TextFiles(path), words, LENGTH)
        collate = MaskedLanguageModel(config, tokenizer=words).collate
        stream = BatchStream(reader, collate, tokens=8192, room=LENGTH, workers=2, passes=1)

        def ours() -> float:
            for _ in stream:
                pass
            return megabytes

        compared = compare(ours, _bare(words, lines, megabytes), repeats=2 if quick else 5, memory=False)
    setting = f"{len(lines):,} texts, {megabytes:.1f} MB, {origin}; 2 workers, rows of {LENGTH}; aim 0.8"
    return [compared.row("corpus-stream", "sentencepiece, ids alone, 2 threads", unit="MB/s", setting=setting)]


def _bare(words: SentencePiece, lines: list[str], megabytes: float) -> Callable[[], float]:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_proto=words.model)

    def peer() -> float:
        for start in range(0, len(lines), 4096):
            processor.encode(lines[start : start + 4096], num_threads=2)
        return megabytes

    return peer


def _words(lines: list[str], quick: bool) -> SentencePiece:
    made = vocabulary.train(lines, 1_500 if quick else 16_000, "bpe" if quick else "unigram")
    assert isinstance(made, SentencePiece)
    return made


def _megabytes(lines: list[str]) -> float:
    return sum(len(line.encode()) for line in lines) / 1e6
