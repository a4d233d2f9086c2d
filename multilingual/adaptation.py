"""A checkpoint goes on learning from texts of a language: adapters alone, its word vectors alone, or all of it.

    checkpoint --(pieces for the language)--> start --masked words of the texts--> run --> a checkpoint, or one file

    wolof/start/                  the checkpoint with its longer vocabulary, if pieces were asked for
    wolof/texts/                  what is learned from, and 1 text in 20, at most 200 of a language, that is held out
    wolof/recipe.toml, run/       as of any training: `kelm train wolof/recipe.toml --out wolof/run --resume`
    wolof/model/                  what AutoModelForMaskedLM and AutoTokenizer open; or wolof/adapters.safetensors

What was gained is told in bits a character of the held-out texts, masked words' loss times tokens a character, since a
loss by token means another thing with every vocabulary. Rates: Pfeiffer et al., 2020 (MAD-X), for adapters; Imani et
al., 2023 (Glot500), for whole models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from kelm.data.corpus import Corpus, InMemory, Text
from kelm.data.sources import JsonLines
from kelm.errors import InputError, closest
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text.tokenizer import Tokenizer
from kelm.training import construct, finished
from kelm.training.bounds import COUNT, NOT_NEGATIVE
from kelm.training.held_out import HeldOut
from kelm.training.learner import Learner
from kelm.training.recipe import Recipe
from kelm.training.recipe_file import read, write
from multilingual.corpora.sampling import texts_of
from multilingual.languages import with_languages
from multilingual.modules.adapters import save_adapters
from multilingual.vocabulary import coverage
from multilingual.vocabulary_change import extend, rewrite

__all__ = ["Adaptation", "Gain", "Trained", "shown"]

Trained = Literal["adapters", "embeddings", "whole"]
_RATES = {"adapters": 1e-4, "embeddings": 1e-4, "whole": 5e-5}
_FACTORS = {
    "adapters": {"encoder.extensions.adapters.*": 1.0, "*": 0.0},
    "embeddings": {"encoder.embeddings.word_embeddings.*": 1.0, "*": 0.0},
    "whole": {},
}
_EVERY, _MOST, _FEWEST = 20, 200, 10


@dataclass(frozen=True, slots=True)
class Gain:
    """Of a language, before and after: bits a character of held-out texts, and pieces a word."""

    language: str
    before: float
    after: float
    fertility_before: float | None
    fertility_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """What is adapted to what.

    Attributes:
        model: a plain checkpoint, a folder or a name on the Hub.
        out: the folder of all that is written.
        train: what is trained; everything else stays as it is.
        more: pieces to add to the vocabulary, which needs a SentencePiece model.
        rate: the peak; None: 1e-4, of "whole" 5e-5.

    Raises:
        InputError: nothing of that name can be trained, or a number is out of range.
    """

    model: str
    out: Path
    train: Trained = "adapters"
    more: int = 0
    steps: int = 2000
    tokens: int = 4096
    rate: float | None = None
    alpha: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.train not in (known := get_args(Trained)):
            remedy = closest(self.train, known)
            raise InputError(f'"{self.train}" is none of {", ".join(known)}', field="train", remedy=remedy)
        for name in ("steps", "tokens"):
            COUNT.check(getattr(self, name), name)
        NOT_NEGATIVE.check(self.more, "more")

    def prepare(self, files: Mapping[str, Sequence[str]]) -> Recipe:
        """Writes start, texts and recipe, and returns the recipe.

        Raises:
            InputError: the folder is there, or a language has fewer than 10 texts; and see `texts_of`, `opened`.
        """
        if self.out.exists():
            remedy = "Go on with --resume, or name another folder."
            raise InputError(f"{self.out} is there already", field="--out", remedy=remedy)
        parts = texts_of(files)
        _check(parts)
        self.out.mkdir(parents=True)
        for code, part in parts.items():
            _divide(part, self._texts(code), self._texts(code, held_out=True))
        if self.more:
            self._extended(list(parts))
        write(self._recipe(list(parts)), self.out / "recipe.toml")
        return read(self.out / "recipe.toml")

    def finish(self) -> list[Gain]:
        """Writes the result, and returns what was gained by language."""
        run = finished.open(self.out / "run")
        mlm = run.learner.objectives["mlm"]
        assert isinstance(mlm, MaskedLanguageModel)
        words, encoder = run.parts.tokenizer, run.learner.encoder
        if self.train == "adapters":
            save_adapters(encoder, self.out / "adapters.safetensors")
        else:
            encoder.to_hf(self.out / "model", head=mlm.head)
            words.save(self.out / "model")
        before, old = self._before(run.recipe)
        codes = sorted(path.name.partition(".")[0] for path in (self.out / "texts").glob("*.held_out.jsonl"))
        texts = {code: [text for text, _ in JsonLines(self._texts(code, held_out=True)).stream()] for code in codes}
        served = [{one.language: one.fertility for one in coverage(each, _corpora(texts))} for each in (old, words)]
        gains = []
        for code, some in texts.items():
            bits = _bits(before, old, some, code), _bits(run.learner, words, some, code)
            gains.append(Gain(code, *bits, served[0][code], served[1][code]))
        return gains

    def _before(self, recipe: Recipe) -> tuple[Learner, Tokenizer]:
        """Returns the checkpoint as it was, asked for masked words."""
        encoder, words = finished.encoder_of(self.model)
        parts = construct.Parts(encoder.config, words, encoder, self.seed)
        return Learner(encoder, [construct.objective(recipe.objectives[0], parts, self.model, 0)]).eval(), words

    def _texts(self, code: str, *, held_out: bool = False) -> Path:
        return self.out / "texts" / f"{code}{'.held_out' if held_out else ''}.jsonl"

    def _extended(self, codes: Sequence[str]) -> None:
        lines = (text.text for code in codes for text, _ in JsonLines(self._texts(code)).stream())
        rewrite(self.model, self.out / "start", lambda words: extend(words, lines, self.more))

    def _recipe(self, codes: Sequence[str]) -> dict[str, Any]:
        def corpus(*, held_out: bool) -> dict[str, Any]:
            files = {code: str(self._texts(code, held_out=held_out)) for code in codes}
            return {"name": "monolingual_text", "options": {"files": files, "alpha": self.alpha}}

        extensions = {"adapters": {"languages": list(codes)}} if self.train == "adapters" else {}
        start = str(self.out / "start") if self.more else self.model
        return {
            "name": self.out.name,
            "model": {"hf": start, "extensions": extensions},
            "objectives": [
                {"name": "mlm", "corpus": corpus(held_out=False), "held_out": corpus(held_out=True)},
            ],
            "batch": {"tokens": self.tokens},
            "optim": {
                "rate": _RATES[self.train] if self.rate is None else self.rate,
                "schedule": "linear",
                "warmup": 0.05,
                "factors": _FACTORS[self.train],
            },
            "train": {
                "steps": self.steps,
                "seed": self.seed,
                "precision": "bf16" if torch.cuda.is_available() else "fp32",
            },
            "evaluation": {"every": max(1, self.steps // 5)},
        }


def _check(parts: Mapping[str, Corpus[Text]]) -> None:
    for code, part in parts.items():
        if (count := sum(1 for _ in islice(part.stream(), _FEWEST))) < _FEWEST:
            remedy = f"Give {_FEWEST} or more, a text a line."
            raise InputError(f"{code} has {count} texts", field=f"--text {code}", remedy=remedy)


def _divide(part: Corpus[Text], learned: Path, held_out: Path) -> None:
    """Writes texts as JSON lines, some apart."""
    learned.parent.mkdir(exist_ok=True)
    count = 0
    with learned.open("w", encoding="utf-8") as ours, held_out.open("w", encoding="utf-8") as apart:
        for number, (text, _) in enumerate(part.stream()):
            away = number % _EVERY == 0 and count < _MOST
            count += away
            (apart if away else ours).write(json.dumps({"text": text.text}, ensure_ascii=False) + "\n")


def _bits(learner: Learner, words: Tokenizer, texts: Sequence[Text], code: str) -> float:
    """Returns the masked loss times the tokens a character, in bits."""
    read = words.encode([text.text for text in texts], length=learner.encoder.config.longest)
    known = [
        with_languages(one, code).having(number=number) for number, one in enumerate(read) if (one.words >= 0).any()
    ]
    tokens = sum(int((one.words >= 0).sum()) for one in known)
    characters = sum(int(one.spans.max()) for one in known)
    return HeldOut({"mlm": known})(learner)["mlm/loss"] / math.log(2) * tokens / max(characters, 1)


def _corpora(texts: Mapping[str, Sequence[Text]]) -> dict[str, Corpus[Text]]:
    return {code: InMemory(list(some)) for code, some in texts.items()}


def shown(gains: Sequence[Gain]) -> list[list[str]]:
    """Returns gains as rows of a table."""
    rows = [["language", "bits a character", "now", "pieces a word", "now"]]
    for one in gains:
        pieces = ["" if value is None else f"{value:.2f}" for value in (one.fertility_before, one.fertility_after)]
        rows.append([one.language, f"{one.before:.3f}", f"{one.after:.3f}", *pieces])
    return rows
