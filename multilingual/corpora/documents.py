"""Documents that change between two languages from sentence to sentence, for masked words across languages (Unicoder).

    train.en   a b c | d e | f g        <s> a b c </s> D E </s> f g </s>        sentences 2, 4, ... are translations
    train.de   A B C | D E | F G        en             de      en

Sentences are the lines of parallel files; a blank line, another file or another chapter (keys such as GEN.1.2) begins a
new document. Of half of the documents the languages change places (`order`). The objective is the ordinary `mlm`.
Source: Huang et al., 2019 (Unicoder), section 3.2, cross-lingual masked language model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.reader import Reader
from kelm.errors import InputError
from kelm.model.config import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Int
from multilingual.corpora.parallel import Order, pair_parts
from multilingual.corpora.sampling import Sampled, Unit
from multilingual.languages import Languages, number_of

__all__ = ["Documents", "Switched", "translated_documents"]


class Documents(Corpus[Text]):
    """Joins consecutive pairs to texts, a sentence a line, whose `fields` name the language of each.

    A longer document is divided; its parts go on changing languages as they did. A cursor is ``[cursor of the
    pairs, number, number of the document, its sentences before, place of the last pair]``.

    Args:
        pairs: with languages, as `translations` gives them with ``order="given"``.
        most: sentences of a text.
    """

    def __init__(self, pairs: Corpus[Text], *, most: int, order: Order = "mixed", seed: int = 0) -> None:
        if most < 2:
            raise InputError(f"sentences is {most}", field="sentences", remedy="Give 2 or more; 16 is usual.")
        self.pairs, self.most, self.order, self.seed = pairs, most, order, seed

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        cursor, number, document, before, last = start or (None, 0, 0, 0, None)
        waiting: list[Text] = []
        for pair, after in self.pairs.stream(Shard(), cursor):
            place = _place(pair)
            opens = last is not None and not _follows(place, last)
            if waiting and (opens or len(waiting) == self.most):
                text = self._joined(waiting, document, before, number)
                number, before, waiting = number + 1, before + len(waiting), []
                if shard.owns(text.number):
                    yield text, [cursor, number, document, before, last]
            if opens:
                document, before = document + 1, 0
            waiting.append(pair)
            cursor, last = after, place
        if waiting and shard.owns(number):
            yield (
                self._joined(waiting, document, before, number),
                [cursor, number + 1, document, before + len(waiting), last],
            )

    def _joined(self, pairs: Sequence[Text], document: int, before: int, number: int) -> Text:
        turned = self.order == "mixed" and random.Random(f"{self.seed} {document}").random() < 0.5
        sentences, languages = [], []
        for place, pair in enumerate(pairs, before):
            second = (place % 2 == 1) != turned
            sentences.append(" ".join((pair.pair or "" if second else pair.text).splitlines()))
            languages.append(pair.fields["pair_language" if second else "language"])
        return Text("\n".join(sentences), None, number, pairs[0].origin, {"languages": languages})

    def fingerprint(self) -> str:
        return digest("Documents", self.pairs.fingerprint(), self.most, self.order, self.seed)


def _place(pair: Text) -> list[Any]:
    """Returns where a pair stands: the chapter of its key, or its line."""
    if "key" in pair.fields:
        return [pair.fields["key"].rpartition(".")[0], None]
    name, _, line = pair.origin.rpartition(":")
    return [name, int(line) if line.isdigit() else None]


def _follows(here: Sequence[Any], before: Sequence[Any]) -> bool:
    """Whether a place is the next of the same document."""
    return here[0] == before[0] and (here[1] is None or here[1] == before[1] + 1)


@dataclass(frozen=True, slots=True)
class Switched:
    """Sets a separator between the sentences of a text, a line each, and tells each token's language.

    The separator ends a sentence and is of its language.
    """

    separator: int

    def __call__(self, encoded: Encoded, text: Text) -> Encoded:
        ends = np.array([at for at, character in enumerate(text.text) if character == "\n"])
        real = np.flatnonzero(encoded.spans[:, 0] >= 0)
        sentence = np.full(len(encoded), -1)
        sentence[real] = np.searchsorted(ends, encoded.spans[real, 0])
        changes = real[1:][np.diff(sentence[real]) != 0]
        sentence = _filled(sentence)
        columns = {
            name: np.insert(getattr(encoded, name), changes, value, axis=0)
            for name, value in (("tokens", self.separator), ("spans", -1), ("words", -1), ("segments", 0))
        }
        sentence = np.insert(sentence, changes, sentence[changes - 1])
        firsts = np.flatnonzero(np.diff(sentence, prepend=-2))
        lasts = np.append(firsts[1:], len(sentence)) - 1
        codes = [number_of(text.fields["languages"][one]) for one in sentence[firsts].tolist()]
        row = torch.zeros(len(firsts), dtype=torch.long)
        told = Languages(row, torch.from_numpy(firsts), torch.from_numpy(lasts), torch.tensor(codes))
        return encoded.having(told, **columns)

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        return digest("switched", self.separator)


def _filled(sentence: Int[np.ndarray, "token"]) -> Int[np.ndarray, "token"]:
    """Returns each token's sentence; a special one's is that of the token before, at the start of the one after."""
    known = np.flatnonzero(sentence >= 0)
    latest = np.searchsorted(known, np.arange(len(sentence)), side="right") - 1
    filled: Int[np.ndarray, "token"] = sentence[known[latest.clip(min=0)]]
    return filled


def translated_documents(
    files: Mapping[str, str | Sequence[str]],
    *,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    columns: Sequence[int | str] = (0, 1),
    order: Order = "mixed",
    sentences: int = 16,
    alpha: float = 0.0,
    unit: Unit = "texts",
    length: int | None = None,
    identifier: str | None = None,
    seed: int = 0,
) -> Corpus[Encoded]:
    """Returns documents whose every second sentence is its translation. Registered as ``translated_documents``.

    Args:
        files, columns: see `parallel_text`; the lines of a file are the sentences of its documents, in order.
        order: "mixed": half of the documents begin in the second language.
        sentences: of a document at most; longer ones are divided.
        alpha, unit: how often each pair of languages is drawn, see `Sampled`; Unicoder draws all alike.
        length: tokens of a document; longer ones are split between words. None: as many as the model reads.
        identifier: the path of fastText's model; the first pairs must be in their languages (`check_languages`).

    Raises:
        InputError, FormatError: see `parallel_text`; or fewer than 2 sentences.
    """
    parts = pair_parts(files, columns=columns, order="given", seed=seed, identifier=identifier)
    documents = {name: Documents(part, most=sentences, order=order, seed=seed) for name, part in parts.items()}
    sampled = Sampled(documents, alpha=alpha, unit=unit, seed=seed)
    longest = min(length or config.longest, config.longest) - (sentences - 1)  # room for the separators between
    if longest <= tokenizer.template.specials(pair=False):
        raise InputError(
            f"{sentences} sentences do not fit {longest + sentences - 1} tokens",
            field="sentences",
            remedy="Give fewer.",
        )
    return Reader(sampled, tokenizer, longest, attach=Switched(tokenizer.sep), long="split")
