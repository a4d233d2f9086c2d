"""What a text, or a pair of texts, has to be: rules that judge one text at a time and give the reason why it goes.

    rule.keep(Text("ok"))      ""                 it stays
    rule.keep(Text("a" * 10 ** 6))  "too long"    it goes, and the report counts why

A rule is a frozen value without memory, so it can be pickled and work in any process; bounds are this project's own
choice. Those that need to know the language are in `multilingual.corpora.language_rules`.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from kelm.data.corpus import Text
from kelm.errors import InputError
from kelm.training.bounds import COUNT, NOT_NEGATIVE

__all__ = ["Clean", "Judge", "Length", "LengthRatio", "Rule", "Same", "Step", "cleaned", "sides_of"]

Judge = Callable[[Sequence[Text]], list[str]]


class Step(ABC):
    """A step of a filter: it may change a text, and keeps it or says why it goes."""

    name: ClassVar[str]

    def changed(self, text: Text) -> Text:
        """Returns the text as it goes on; most steps leave it as it is."""
        return text

    @abstractmethod
    def begin(self) -> Judge:
        """Returns what judges the texts of one pass, batch after batch: "" or the reason for each of a batch."""


class Rule(Step):
    """A step that judges each text by itself, whatever came before."""

    @abstractmethod
    def keep(self, text: Text) -> str:
        """Returns "", or the reason why the text goes."""

    def reasons(self, texts: Sequence[Text]) -> list[str]:
        """Returns what `keep` says of each text."""
        return [self.keep(text) for text in texts]

    def begin(self) -> Judge:
        return self.reasons


def sides_of(text: Text) -> tuple[str, ...]:
    """Returns the one text, or both of a pair."""
    return (text.text,) if text.pair is None else (text.text, text.pair)


# Marks without width or of direction, and controls: soft hyphen, Arabic letter mark, zero-width space, marks and
# embeddings of direction, word joiner and what follows it, byte order mark, marks of ruby text.
_MARKS = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
# Arabic and what joins like it, and the Brahmic scripts: there a joiner chooses another form of the letter before it.
_JOINING = re.compile(
    r"[\u0610-\u07ff\u0840-\u0dff\u1000-\u109f\u1780-\u18af\u1a20-\u1bff\u1cd0-\u1cff\ua800-\ua82f\ua880-\ua9ff"
    r"\uaa60-\uaa7f\uaae0-\uaaff\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010d00-\U00010d3f\U00011000-\U00011fff]"
)
_SYMBOL = re.compile(r"[\u2600-\u27bf\U0001f000-\U0001faff]")  # a family is several people, joined by ZWJ
_JOINER = re.compile(r"([\u200c\u200d])")


def cleaned(text: str) -> str:
    r"""Returns a text in NFC, without what cannot be seen; blanks are one space, blank lines are left out.

    ZWNJ and ZWJ stay after letters of Arabic, the scripts of India and their kin; ZWJ also between emoji. The
    zero-width space that some Khmer and Thai texts put between words goes.

    >>> cleaned("\ufeffcafe\u0301 \u200b  au\u00ad lait\u200d"), cleaned("می\u200cخواهم")
    ('café au lait', 'می\u200cخواهم')
    """
    visible = _joined(_MARKS.sub("", text))
    lines = (" ".join(line.split()) for line in visible.splitlines())
    return unicodedata.normalize("NFC", "\n".join(line for line in lines if line))


def _joined(text: str) -> str:
    """Returns a text with those joiners that follow a letter which they change, its marks between."""
    first, *rest = _JOINER.split(text)
    parts, before = [first], first
    for joiner, after in zip(rest[::2], rest[1::2], strict=True):
        letter = next((one for one in reversed(before) if unicodedata.category(one)[0] != "M"), "")
        if _JOINING.match(letter) or (joiner == "\u200d" and _SYMBOL.match(letter)):
            parts.append(joiner)
        parts.append(after)
        before = after
    return "".join(parts)


@dataclass(frozen=True)
class Clean(Rule):
    """Changes a text, or both sides of a pair, to what `cleaned` gives; what is then empty goes."""

    name: ClassVar[str] = "clean"

    def changed(self, text: Text) -> Text:
        return replace(text, text=cleaned(text.text), pair=None if text.pair is None else cleaned(text.pair))

    def keep(self, text: Text) -> str:
        return "" if all(sides_of(text)) else "empty"


@dataclass(frozen=True)
class Length(Rule):
    """Keeps texts, and pairs of which both sides have, from `shortest` to `longest` characters.

    Raises:
        InputError: `shortest` is below 1, or `longest` below `shortest`.
    """

    shortest: int = 1
    longest: int = 10_000
    name: ClassVar[str] = "length"

    def __post_init__(self) -> None:
        COUNT.check(self.shortest, "shortest")
        if self.longest < self.shortest:
            problem = f"expected at least shortest, {self.shortest}, found {self.longest}"
            raise InputError(problem, field="longest", remedy=f"Give {self.shortest} or more.")

    def keep(self, text: Text) -> str:
        lengths = [len(side) for side in sides_of(text)]
        if min(lengths) < self.shortest:
            return "too short"
        return "too long" if max(lengths) > self.longest else ""


@dataclass(frozen=True)
class LengthRatio(Rule):
    """Keeps pairs with least <= characters of the first / characters of the second <= most; single texts pass.

    Args:
        least, most: for languages that write alike; Chinese and English, say, take 0.1 and 1. Pairs that come in mixed
            order need bounds that hold both ways.
        short: pairs whose longer side has at most so many characters pass: "OK" may be "Einverstanden".

    Raises:
        InputError: a bound is negative, or `most` is below `least`.
    """

    least: float = 1 / 3
    most: float = 3.0
    short: int = 20
    name: ClassVar[str] = "length ratio"

    def __post_init__(self) -> None:
        for field in ("least", "most", "short"):
            NOT_NEGATIVE.check(getattr(self, field), field)
        if self.most < self.least:
            problem = f"expected at least `least`, {self.least:g}, found {self.most:g}"
            raise InputError(problem, field="most", remedy="The ratio is that of the first side to the second.")

    def keep(self, text: Text) -> str:
        if text.pair is None or max(len(text.text), len(text.pair)) <= self.short:
            return ""
        if len(text.text) < self.least * len(text.pair):
            return "second side longer"
        return "first side longer" if len(text.text) > self.most * len(text.pair) else ""


@dataclass(frozen=True)
class Same(Rule):
    """Keeps pairs whose sides differ in more than case and blanks; single texts pass."""

    name: ClassVar[str] = "same"

    def keep(self, text: Text) -> str:
        if text.pair is None:
            return ""
        first, second = (side.casefold().split() for side in sides_of(text))
        return "" if first != second else "both sides are the same"
