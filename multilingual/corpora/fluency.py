"""How expected is a text? Its bits a character by a small language model of one's own, as a step of a filter.

    kelm train multilingual/recipes/text_model.toml               on text that is known to be good
    Fluent("runs/text_model", most=3.0)                           what the model finds too odd goes

    bits a character = -log2 p(text) / characters                 2 to this power is the perplexity of a character

Characters are counted, not tokens, so that the bound means the same for every vocabulary; languages differ, and so do
models: look at `bits` of good text first. Source: Wenzek et al., 2020 (CCNet), section 3, by n-grams of tokens there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch

from kelm.batch import Encoded, Targets
from kelm.data.bucketing import bucketed
from kelm.data.corpus import Text
from kelm.errors import InputError
from kelm.objectives.causal_lm import CausalLanguageModel
from kelm.training import finished
from kelm.training.bounds import NOT_NEGATIVE
from multilingual.corpora.rules import Rule, sides_of
from multilingual.languages import with_languages

__all__ = ["Fluent", "TextModel"]


class TextModel:
    """A finished run of causal language modelling that tells how expected texts are.

    Args:
        folder: of the run.

    Raises:
        InputError: the run has no objective `causal_lm`.
        CheckpointError: there is no finished run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.run = finished.open(folder)
        found = [one for one in self.run.learner.objectives.values() if isinstance(one, CausalLanguageModel)]
        if not found:
            remedy = "Train one: kelm train multilingual/recipes/text_model.toml"
            raise InputError(f"{folder} has no objective causal_lm", field="run", remedy=remedy)
        self.objective = found[0]

    def bits(self, texts: Sequence[str], languages: Sequence[str | None] = ()) -> list[float]:
        """Returns the bits a character of each text, nan of one without a character.

        Args:
            texts: longer ones than the model reads are judged by their beginning.
            languages: codes, for models that are told.
        """
        config, words = self.run.parts.config, self.run.parts.tokenizer
        read = words.encode(texts, length=config.longest)
        if languages:
            read = [with_languages(one, code) if code else one for one, code in zip(read, languages, strict=True)]
        found = [math.nan] * len(read)
        real = [number for number, one in enumerate(read) if (one.spans[:, 0] >= 0).any()]
        for numbers in bucketed([len(read[number]) for number in real], self.run.recipe.batch.tokens, None):
            chosen = [real[number] for number in numbers]
            for number, nats in zip(chosen, self._nats([read[number] for number in chosen]), strict=True):
                found[number] = nats / math.log(2) / int(read[number].spans.max())
        return found

    def _nats(self, texts: Sequence[Encoded]) -> list[float]:
        """Returns -log p of each text."""
        numbered = [replace(text, number=number) for number, text in enumerate(texts)]
        batch = self.objective.collate(numbered, 0).to(next(self.run.learner.parameters()).device)
        targets = batch[Targets]
        with torch.no_grad():
            stream = self.run.learner.read(batch)
            states = stream.hidden[targets.row, targets.token]
            losses = self.objective.head.losses(states, targets.label, stream.vocabulary).double().cpu()
        text = torch.arange(len(texts)).repeat_interleave(torch.tensor([len(one) - 1 for one in texts]))
        sums: list[float] = torch.zeros(len(texts), dtype=torch.float64).index_add(0, text, losses).tolist()
        return sums


@cache
def _opened(folder: str) -> TextModel:
    """Opens a run once in each process."""
    return TextModel(folder)


@dataclass(frozen=True)
class Fluent(Rule):
    """Keeps texts, and pairs of which both sides have, from `least` to `most` bits a character.

    Reasons: "odd" if there are more, "monotonous" if there are fewer, "first side odd" and the like.

    Args:
        run: the folder of a finished run of causal language modelling.
        most: such as the bits a character of a good text, and a third more.
        least: 0 for no bound; what is repeated and repeated has few.

    Raises:
        InputError: a bound is negative, or `most` is below `least`; when judging, see `TextModel`.
    """

    run: str | Path
    most: float
    least: float = 0.0
    name: ClassVar[str] = "fluent"

    def __post_init__(self) -> None:
        for field in ("most", "least"):
            NOT_NEGATIVE.check(getattr(self, field), field)
        if self.most < self.least:
            problem = f"expected at least `least`, {self.least:g}, found {self.most:g}"
            raise InputError(problem, field="most", remedy="Look at the bits a character of good texts.")

    def keep(self, text: Text) -> str:
        return self.reasons([text])[0]

    def reasons(self, texts: Sequence[Text]) -> list[str]:
        sides = [side for text in texts for side in sides_of(text)]
        told = [text.fields.get(name) for text in texts for name, _ in zip(_FIELDS, sides_of(text), strict=False)]
        found = iter(_opened(str(self.run)).bits(sides, told))
        return [self._reason([next(found) for _ in sides_of(text)]) for text in texts]

    def _reason(self, bits: Sequence[float]) -> str:
        for place, value in enumerate(bits):
            if not self.least <= value <= self.most:
                side = ("first side ", "second side ")[place] if len(bits) == 2 else ""
                return side + ("monotonous" if value < self.least else "odd")
        return ""


_FIELDS = ("language", "pair_language")
