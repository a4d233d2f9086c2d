"""A whole training step of masked language modelling against Hugging Face's model, collator and batching.

    ours   texts -> BatchStream (bucketed) -> mask, pack -> encoder -> head at targets -> backward, AdamW
    peer   texts -> random | grouped by length -> padding collator -> ForMaskedLM, logits everywhere -> backward, AdamW

The peer's batches are those of an epoch over a corpus large enough for its grouping (four pools of 50 batches); a run
takes some of them. Ours gets the sentences of the same batches and makes its own of them. Both make as many steps in
the mean, and have the same shape, dropout and fused AdamW. Tokenizing is done before; masking and padding are in the
measured time on both sides. The value is real tokens (special ones included, padding not) a second.

Texts: sentences of 100 English Wikipedia articles where the data folder (KELM_DATA) is set, else random tokens with
log-normal lengths of the same mean and deviation. The 250k vocabulary spreads the same tokens over more rows.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.measure import Row, compare, threads
from kelm.batch import Encoded
from kelm.data.corpus import InMemory
from kelm.data.stream import BatchStream
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.tokenizer import HuggingFace
from kelm.training.learner import Learner

__all__ = ["NAMES", "SHAPE", "Size", "grouped", "measured", "peer", "random_batches", "rows", "stepped", "tokenizer_of"]

NAMES = ("mlm-step-32k", "mlm-step-250k")
THREADS, LONGEST = 2, 128
LOG_MEAN, LOG_DEVIATION = 3.44, 0.62  # of the Wikipedia sentences' lengths in tokens, special ones included
PAD, UNK, CLS, SEP, MASK = range(5)


@dataclass(frozen=True, slots=True)
class Size:
    """What is measured: the vocabulary, batches a run, sentences a batch."""

    vocabulary: int
    batches: int
    batch: int

    @property
    def corpus(self) -> int:
        """Sentences of an epoch: fewer, and `LengthGroupedSampler` sorts in smaller pools than its 50 batches."""
        return 50 * 4 * self.batch


SIZES = {"mlm-step-32k": Size(30_522, 16, 32), "mlm-step-250k": Size(250_002, 4, 16)}
SHAPE: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}


Ours = Callable[[list[np.ndarray], Size, HuggingFace], Callable[[], float]]


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns two rows a vocabulary: against random batches and against grouping by length."""
    found = []
    for known in NAMES:
        if name in (None, known):
            size = SIZES[known] if not quick else Size(2_000, 4, 16)
            found += measured(known, size, *_sentences(size), _ours, "sentences", quick=quick)
    return found


def measured(
    name: str, size: Size, corpus: list[np.ndarray], origin: str, ours: Ours, of: str, *, quick: bool
) -> list[Row]:
    """Returns two rows: a step of ours over texts of a corpus against the peer's, batched at random and by length."""
    tokenizer, found = tokenizer_of(size.vocabulary), []
    model = "BertForMaskedLM" if name.endswith("32k") else "XLMRobertaForMaskedLM"
    for batching, batches in (
        ("random batches", random_batches(corpus, size)),
        ("grouped by length", grouped(corpus, size)),
    ):
        texts = [text for batch in batches for text in batch]
        with threads(THREADS):
            made, theirs = ours(texts, size, tokenizer), peer(model, batches, size, tokenizer)
            compared = compare(made, theirs, repeats=2 if quick else 5, memory=not quick)
        real = sum(map(len, texts))
        computed = sum(len(batch) * max(map(len, batch)) for batch in batches)
        setting = (
            f"{batching}; {size.batch} {of} a batch, mean {real / len(texts):.1f} tokens, {origin}, "
            f"{1 - real / computed:.1%} padding in the peer's; "
            f"4 layers x 256, vocabulary {size.vocabulary}, {THREADS} threads"
        )
        found.append(compared.row(name, f"transformers {model}, {batching}", unit="real tokens/s", setting=setting))
    return found


def _sentences(size: Size) -> tuple[list[np.ndarray], str]:
    """Returns the tokens of each sentence, special ones included, and where they are from."""
    random = np.random.default_rng(0)
    spread = (size.vocabulary - 5) // 30_000
    folder = os.environ.get("KELM_DATA")
    path = Path(folder or "") / "linked_text" / "ernie_wiki_sample" / "docs.jsonl.gz"
    if folder and path.is_file():
        known: dict[str, int] = {}
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts = [sentence["tokens"] for line in file for sentence in json.loads(line)["sents"]]
        numbered = [np.array([known.setdefault(piece, len(known)) for piece in text]) for text in texts if text]
        chosen = [numbered[place] for place in random.permutation(len(numbered))[: size.corpus]]
        origin = "Wikipedia sentences"
    else:
        lengths = np.exp(random.normal(LOG_MEAN, LOG_DEVIATION, size.corpus)).astype(int).clip(3, None) - 2
        chosen = [np.minimum(random.zipf(1.3, length), 30_000) - 1 for length in lengths]
        origin = "log-normal lengths"
    rows_of = [5 + (text % 30_000) * max(spread, 1) % (size.vocabulary - 5) for text in chosen]
    return [np.array([CLS, *row[: LONGEST - 2], SEP]) for row in rows_of], origin


def tokenizer_of(vocabulary: int) -> HuggingFace:
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = {word: id for id, word in enumerate([*specials, *(f"w{id}" for id in range(5, vocabulary))])}
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    named = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return HuggingFace(
        PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{kind}_token": word for kind, word in named.items()})
    )


def stepped(model: nn.Module) -> Callable[[torch.Tensor], None]:
    """Returns what is left of a step once the loss is known."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    model.train()

    def step(loss: torch.Tensor) -> None:
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _ours(tokens: list[np.ndarray], size: Size, tokenizer: HuggingFace) -> Callable[[], float]:
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=size.vocabulary, max_position_embeddings=LONGEST, pooler=False, **SHAPE)
    mlm = MaskedLanguageModel(config, tokenizer=tokenizer)
    learner = Learner(Encoder(config), [mlm])
    step = stepped(learner)
    mean = sum(map(len, tokens)) / len(tokens)
    texts = InMemory([_encoded(text) for text in tokens])
    stream = BatchStream(texts, mlm.collate, tokens=round(size.batch * mean), pool=2 * len(tokens), passes=1)

    def run() -> float:
        count = 0
        for batch in stream:
            step(learner(batch)["mlm"] / batch.units["mlm"])
            count += int(batch.real.sum())
        return count

    return run


def _encoded(tokens: np.ndarray) -> Encoded:
    words = np.arange(len(tokens)) - 1
    words[-1] = -1
    return Encoded("", tokens, np.full((len(tokens), 2), -1), words, np.zeros_like(tokens))


def random_batches(corpus: list[np.ndarray], size: Size) -> list[list[np.ndarray]]:
    """Hugging Face's default: batches of random texts."""
    order = np.random.default_rng(1).permutation(len(corpus))[: size.batches * size.batch]
    return [[corpus[place] for place in batch] for batch in order.reshape(size.batches, size.batch)]


def grouped(corpus: list[np.ndarray], size: Size) -> list[list[np.ndarray]]:
    """Hugging Face's grouping by length, sorted within 50 batches. Takes short and long batches evenly."""
    from transformers.trainer_pt_utils import LengthGroupedSampler

    lengths = [len(text) for text in corpus]
    order = list(LengthGroupedSampler(size.batch, lengths=lengths, generator=torch.Generator().manual_seed(1)))
    epoch = [
        [corpus[place] for place in order[start : start + size.batch]] for start in range(0, len(order), size.batch)
    ]
    epoch.sort(key=lambda batch: sum(map(len, batch)))
    every = len(epoch) // size.batches
    return epoch[every // 2 :: every]


def peer(name: str, batches: list[list[np.ndarray]], size: Size, tokenizer: HuggingFace) -> Callable[[], float]:
    import transformers

    torch.manual_seed(0)
    shape: dict[str, Any] = {**SHAPE, "vocab_size": size.vocabulary, "pad_token_id": PAD}
    positions = LONGEST if name.startswith("Bert") else LONGEST + PAD + 1
    config = transformers.BertConfig if name.startswith("Bert") else transformers.XLMRobertaConfig
    model = getattr(transformers, name)(config(max_position_embeddings=positions, **shape))
    step = stepped(model)
    collate = transformers.DataCollatorForLanguageModeling(tokenizer.tokenizer, mlm_probability=0.15)
    examples = [
        [
            {
                "input_ids": text.tolist(),
                "attention_mask": [1] * len(text),
                "special_tokens_mask": [1, *[0] * (len(text) - 2), 1],
            }
            for text in batch
        ]
        for batch in batches
    ]

    def run() -> float:
        count = 0
        for batch in examples:
            inputs = collate(batch)
            count += int(inputs["attention_mask"].sum())
            step(model(**inputs).loss)
        return count

    return run
