"""In which language is a text? A linear classifier of character n-grams (fastText; Joulin et al., 2017).

    text -> words and their n-grams -> mean of their vectors -> softmax over languages -> the likeliest, or unknown

This is the one door to fastText. Its models (`lid.176.bin`, `lid.176.ftz` and one's own) are opened as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from kelm.data.folders import file_aside
from kelm.errors import CheckpointError, InputError, MissingDependency, TrainingDiverged
from kelm.training.bounds import COUNT, POSITIVE, SEED
from multilingual.fasttext_format import Damaged, check_model

__all__ = ["Identified", "IdentifierOptions", "LanguageIdentifier"]

_LABEL = "__label__"
_END = "</s>"
_WEIGHTS = 2**24  # see IdentifierOptions.buckets


class Identified(NamedTuple):
    """The language of a text, None where it is unknown, and the probability of the likeliest language."""

    language: str | None
    probability: float


@dataclass(frozen=True)
class IdentifierOptions:
    """How an identifier is trained; width and n-grams are those of fastText's own `lid.176`.

    Args:
        width: of the vectors of words and n-grams, 1 or more.
        shortest: n-grams, in characters, 1 or more.
        longest: n-grams, in characters, `shortest` or more.
        epochs: how often each text is seen, 1 or more.
        rate: the learning rate at the start, over 0; it falls to 0 in a straight line.
        seed: of the first vectors, 0 or more.

    Raises:
        InputError: an option is out of its range.
    """

    width: int = 16
    shortest: int = 2
    longest: int = 4
    epochs: int = 5
    rate: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, bound in {"width": COUNT, "shortest": COUNT, "epochs": COUNT, "seed": SEED, "rate": POSITIVE}.items():
            bound.check(getattr(self, name), name)
        if self.longest < self.shortest:
            problem = f"expected at least shortest, {self.shortest}, found {self.longest}"
            raise InputError(problem, field="longest", remedy=f"Give {self.shortest} or more.")

    @property
    def buckets(self) -> int:
        """Rows that share the n-grams by their hash: a million at width 16.

        With one thread fastText 0.9.3 gives only the first tenth of its matrix a value. A matrix of 64 MiB comes from
        the system as zeros; a small one holds what was in memory, and training ends in "Encountered NaN".
        """
        return -(-_WEIGHTS // self.width)


class LanguageIdentifier:
    """Says in which language texts are, by a classifier of fastText's.

        identifier = LanguageIdentifier.open("lid.176.bin")
        identifier.identify(["Das Haus ist groß."])  # [Identified(language='de', probability=0.99...)]

    Source: Joulin, Grave, Bojanowski, Mikolov (2017), Bag of Tricks for Efficient Text Classification.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    @classmethod
    def open(cls, path: str | Path) -> LanguageIdentifier:
        """Opens a model file of fastText's, dense or quantized; it holds numbers and words, no code.

        Raises:
            CheckpointError: the file is missing, damaged or not a classifier.
            MissingDependency: fastText is not installed.
        """
        fasttext = _fasttext()
        remedy = "Give the path of a whole model file for classification, such as lid.176.bin; fetch or copy it again."
        try:
            check_model(Path(path))
            return cls(fasttext.load_model(str(path)))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be opened: {error.strerror}. {remedy}") from error
        except Damaged as error:
            raise CheckpointError(f"{path} {error}. {remedy}") from error
        except (ValueError, RuntimeError, MemoryError) as error:
            raise CheckpointError(f"{path} cannot be opened by fastText ({error}). {remedy}") from error

    @classmethod
    def train(
        cls,
        pairs: Iterable[tuple[str, str]],
        options: IdentifierOptions | None = None,
        *,
        scratch: str | Path | None = None,
    ) -> LanguageIdentifier:
        """Trains an identifier on pairs of a text and its language; the same pairs and options give the same model.

        Args:
            pairs: read once, one at a time; texts of several lines are taken as one line.
            options: those of `IdentifierOptions()` if None.
            scratch: the folder where the texts lie while it trains, the system's own for such files if None.

        Raises:
            InputError: a text is empty, a language is empty or has a blank, or there are fewer than two languages.
            TrainingDiverged: a weight became not a number.
            MissingDependency: fastText is not installed.
        """
        fasttext = _fasttext()
        options = options or IdentifierOptions()
        with TemporaryDirectory(prefix="kelm-", dir=scratch) as folder:
            path = Path(folder) / "texts.txt"
            _write(pairs, path)
            try:
                model = fasttext.train_supervised(
                    str(path),
                    dim=options.width,
                    minn=options.shortest,
                    maxn=options.longest,
                    bucket=options.buckets,
                    epoch=options.epochs,
                    lr=options.rate,
                    seed=options.seed,
                    thread=1,  # several race, and no two models are the same
                    verbose=0,
                )
            except RuntimeError as error:
                raise TrainingDiverged(
                    f"fastText gave up on training ({error}). Lower the rate, now {options.rate}."
                ) from error
        return cls(model)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that it knows, in order of the alphabet."""
        labels, _ = self._model.f.getLabels("strict")
        return tuple(sorted(label.removeprefix(_LABEL) for label in labels))

    def save(self, path: str | Path) -> None:
        """Writes a model file of fastText's (`.bin`), whole or not at all.

        Raises:
            CheckpointError: writing failed; what was there is as it was.
        """
        with file_aside(Path(path)) as new:
            try:
                self._model.f.saveModel(str(new))
                check_model(new)  # fastText is silent about a full disk
            except (ValueError, RuntimeError) as error:
                raise OSError(str(error)) from error
            except Damaged as error:
                raise OSError(f"what fastText wrote {error}") from error

    def identify(self, texts: Iterable[str], threshold: float = 0.5) -> list[Identified]:
        """Returns the language of each text, None if its probability is below the threshold or the text is empty.

        Args:
            texts: taken whole, of several lines as one line.
            threshold: from 0 (always a language) to 1.

        Raises:
            InputError: the threshold is out of range, or one string came in place of several.
            CheckpointError: the model's weights are damaged.
        """
        if not 0 <= threshold <= 1:
            raise InputError(f"is {threshold}", field="threshold", remedy="Give a probability, from 0 to 1.")
        if isinstance(texts, str):
            raise InputError("is one string", field="texts", remedy="Give a list of texts: [text].")
        lines = [_line(text) for text in texts]
        try:  # not `predict`: it asks NumPy for no copy, which NumPy 2 refuses
            labels, probabilities = self._model.f.multilinePredict([f"{line}\n" for line in lines], 1, 0.0, "strict")
        except RuntimeError as error:
            raise CheckpointError(f"The model cannot be used ({error}). Fetch, copy or train it again.") from error
        return [_identified(*one, threshold) for one in zip(lines, labels, probabilities, strict=True)]


def _identified(line: str, labels: list[str], probabilities: Iterable[float], threshold: float) -> Identified:
    if not line or not labels:
        return Identified(None, 0.0)
    probability = min(float(next(iter(probabilities))), 1.0)  # fastText adds 1e-5
    return Identified(labels[0].removeprefix(_LABEL) if probability >= threshold else None, probability)


def _line(text: str) -> str:
    """Returns a text as one line of fastText's: its own marks and what UTF-8 cannot hold are taken out of it."""
    for mark in (_LABEL, _END, "\0"):
        text = text.replace(mark, " ")
    return " ".join(text.splitlines()).strip().encode("utf-8", "replace").decode("utf-8")


def _write(pairs: Iterable[tuple[str, str]], path: Path) -> None:
    languages = set()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number, (text, language) in enumerate(pairs, 1):
            line = _line(text)
            if not line:
                raise InputError("the text is empty", field=f"pair {number}", remedy="Leave out empty texts.")
            if not language or len(language.split()) != 1 or language != _line(language):
                problem = f"{language!r} is no name of a language"
                raise InputError(problem, field=f"pair {number}", remedy='Give a word without blanks, such as "de".')
            languages.add(language)
            file.write(f"{_LABEL}{language} {line}\n")
    if len(languages) < 2:
        named = ", ".join(sorted(languages)) or "none"
        raise InputError(f"there must be two languages or more, found {named}", field="pairs", remedy="Add texts.")


def _fasttext() -> Any:
    try:
        import fasttext
    except ImportError:
        raise MissingDependency(
            "Language identification needs fastText, which is compiled as it is installed (a C++ compiler is needed). "
            "Run: pip install 'kelm[fasttext]'"
        ) from None
    return fasttext
