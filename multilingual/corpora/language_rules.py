"""Is a text in its language? Rules that look at the script of its letters, and ask an identifier.

    "en"   Das ist Moskau         Script: ""                InLanguage: "is de"
    "en"   Это Москва             Script: "other script"    InLanguage: "is ru"

In which language texts are is told by their fields "language" and "pair_language" (`multilingual.corpora.sampling`,
`parallel`), or by the rule's own `languages`. Bounds are this project's own choice.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import ClassVar, Protocol

from kelm.data.corpus import Text
from kelm.errors import InputError
from kelm.training.bounds import FACTOR, PART
from multilingual.corpora.rules import Rule, sides_of
from multilingual.identify import Identified, LanguageIdentifier
from multilingual.languages import language, script_of

__all__ = ["Identifier", "InLanguage", "Script", "check_languages", "script_share"]


def _codes(text: Text, languages: tuple[str, ...]) -> list[str]:
    """Returns the language of each side."""
    told = languages or (text.fields.get("language"), text.fields.get("pair_language"))
    codes = [code for code, _ in zip(told, sides_of(text), strict=False) if code]
    if len(codes) < len(sides_of(text)):
        raise InputError(
            f"{text.origin or text.text[:40]!r} does not say in which language it is",
            field="language",
            remedy='Give the rule `languages`, one for each side, or the texts the fields "language", "pair_language".',
        )
    return codes


_PREFIXES = {  # of Unicode's names of letters, where they differ from CLDR's name of the script
    "Aran": ("ARABIC",),
    "Beng": ("BENGALI",),
    "Cans": ("CANADIAN",),
    "Egyp": ("EGYPTIAN",),
    "Hang": ("HANGUL",),
    **dict.fromkeys(("Hani", "Hans", "Hant"), ("CJK", "IDEOGRAPHIC")),
    "Jpan": ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA"),
    "Kore": ("HANGUL", "CJK"),
    "Lana": ("TAI THAM",),
    **dict.fromkeys(("Latf", "Latg"), ("LATIN",)),
    "Lisu": ("LISU",),
    "Mand": ("MANDAIC",),
    "Mtei": ("MEETEI MAYEK",),
    "Nkoo": ("NKO",),
    "Nshu": ("NUSHU",),
    "Orkh": ("OLD TURKIC",),
    "Orya": ("ORIYA",),
    "Plrd": ("MIAO",),
    "Xsux": ("CUNEIFORM",),
}


_SHARED = ("COMBINING ", "MODIFIER ", "VARIATION ")  # names of what is of no script


@cache
def _prefixes(script: str) -> tuple[str, ...]:
    from babel import Locale

    return _PREFIXES.get(script) or (str(Locale("en").scripts.get(script, script)).upper(),)


@lru_cache(2**16)
def _in_script(letter: str, script: str) -> bool | None:
    """Is a letter or mark in a script? None for those of no script, such as U+02BB in Hawaiian."""
    plain = unicodedata.normalize("NFKC", letter)[0]
    names = [unicodedata.name(one, "").replace("-", " ") for one in (letter, plain)]
    if any(name.startswith(f"{prefix} ") for prefix in _prefixes(script) for name in names):
        return True
    return None if names[1].startswith(_SHARED) else False


def script_share(text: str, script: str) -> float:
    """Returns the share of a text's letters that are in a script, by their Unicode names; nan without any.

    The vowel signs of an alphabet, as those of India, are letters here.

    Args:
        script: an ISO 15924 code. "Hans" and "Hant" are both Han, "Jpan" and "Kore" are all that is written there.

    >>> script_share("Das ist Москва", "Latn"), script_share("東京タワー", "Jpan")
    (0.5, 1.0)
    """
    inside = letters = 0
    for character, times in Counter(text).items():
        if unicodedata.category(character)[0] in "LM" and (found := _in_script(character, script)) is not None:
            letters += times
            inside += times * found
    return inside / letters if letters else float("nan")


@dataclass(frozen=True)
class Script(Rule):
    """Keeps texts whose letters are in the script of their language (`script_of`), at least a `share` of them.

    A language may be written in an unusual script if its code says so ("sr-latn"). Those whose script nobody knows
    pass. Reasons: "other script" if no letter is in it, "mixed scripts" if too few are, "no letters", and "swapped"
    for a pair whose sides are each in the other's script.

    Args:
        share: over 0, up to 1; names and terms in Latin letters are usual in most languages.
        languages: of the sides. (): what the text's fields say.

    Raises:
        InputError: the share is out of range; when judging, no language is told.
    """

    share: float = 0.6
    languages: tuple[str, ...] = ()
    name: ClassVar[str] = "script"

    def __post_init__(self) -> None:
        FACTOR.check(self.share, "share")

    def keep(self, text: Text) -> str:
        codes = _codes(text, self.languages)
        reason = self._reason(sides_of(text), codes)
        turned = len(codes) == 2 and reason and not self._reason(sides_of(text)[::-1], codes)
        return "swapped" if turned else reason

    def _reason(self, sides: Sequence[str], codes: Sequence[str]) -> str:
        for side, code in zip(sides, codes, strict=True):
            if not (script := script_of(language(code))):
                continue
            share = script_share(side, script)
            if not share >= self.share:  # nan too
                return "no letters" if share != share else "mixed scripts" if share else "other script"
        return ""


class Identifier(Protocol):
    """What says in which language texts are, such as a `LanguageIdentifier`."""

    def identify(self, texts: Iterable[str], threshold: float = 0.5) -> list[Identified]: ...


@cache
def _opened(path: str) -> LanguageIdentifier:
    """Opens a model once in each process."""
    return LanguageIdentifier.open(path)


@dataclass(frozen=True)
class InLanguage(Rule):
    """Keeps texts that an identifier takes for what they are said to be; scripts of a language are not told apart.

    Reasons: "is de", "first is de", "unsure", and "swapped" for a pair whose sides are each in the other's language.

    Args:
        identifier: the path of fastText's model, opened once in each process; or one that is open, which cannot be
            sent to another process.
        threshold: a text whose likeliest language is less probable goes as "unsure"; 0 has no such texts.
        languages: of the sides. (): what the text's fields say.
        called: labels of the identifier that mean another code; the default is for fastText's lid.176.

    Raises:
        InputError: the threshold is out of range; when judging, no language is told.
        CheckpointError, MissingDependency: when judging, see `LanguageIdentifier.open`.
    """

    identifier: str | Path | Identifier
    threshold: float = 0.5
    languages: tuple[str, ...] = ()
    called: tuple[tuple[str, str], ...] = (("no", "nb"), ("als", "gsw"))
    name: ClassVar[str] = "in language"

    def __post_init__(self) -> None:
        PART.check(self.threshold, "threshold")

    def keep(self, text: Text) -> str:
        return self.reasons([text])[0]

    def reasons(self, texts: Sequence[Text]) -> list[str]:
        identifier = self.identifier
        opened = _opened(str(identifier)) if isinstance(identifier, str | Path) else identifier
        told = [[self._meant(code) for code in _codes(text, self.languages)] for text in texts]
        found = iter(opened.identify([side for text in texts for side in sides_of(text)], self.threshold))
        return [self._reason(codes, [next(found).language for _ in codes]) for codes in told]

    def _reason(self, told: list[str], labels: list[str | None]) -> str:
        found = [label and self._meant(label) for label in labels]
        if found == told:
            return ""
        if len(told) == 2 and found == told[::-1]:
            return "swapped"
        place = next(place for place, code in enumerate(told) if found[place] != code)
        side = ("first ", "second ")[place] if len(told) == 2 else ""
        return f"{side}is {found[place]}" if found[place] else f"{side}unsure"

    def _meant(self, label: str) -> str:
        return _base(dict(self.called).get(label, label))


_LOOKED_AT = 500


def check_languages(texts: Iterable[Text], field: str, identifier: str | Path | Identifier | None = None) -> None:
    """Does nothing if most of the first 500 texts may be in their languages: by script, and by an identifier if given.

    Raises:
        InputError: most are not, or the sides of most pairs are swapped; names the field.
        CheckpointError, MissingDependency: see `LanguageIdentifier.open`.
    """
    some = list(islice(texts, _LOOKED_AT))
    rules: list[Rule] = [Script()] if identifier is None else [Script(), InLanguage(identifier)]
    for rule in rules:
        reasons = rule.reasons(some)
        wrong = {
            place: reason
            for place, reason in enumerate(reasons)
            if reason not in ("", "no letters", "mixed scripts") and not reason.endswith("unsure")
        }
        if 2 * len(wrong) <= len(some):
            continue
        most, count = Counter(wrong.values()).most_common(1)[0]
        first = some[next(place for place, reason in wrong.items() if reason == most)]
        if most == "swapped":
            remedy = "Change the two files, columns or names of languages."
            raise InputError(f"{count} of the first {len(some)} pairs are swapped", field=field, remedy=remedy)
        told = " and ".join(sorted(_codes(first, ())))
        problem = f"{len(wrong)} of the first {len(some)} texts are not in {told}; most often: {most}"
        remedy = f"Look at {first.origin or first.text[:40]!r}; name its language, with an unusual script: hi-latn."
        raise InputError(problem, field=field, remedy=remedy)


@cache
def _base(tag: str) -> str:
    """Returns the code of a language without its script, the tag itself if no language has it."""
    try:
        return language(tag).partition("-")[0] if not tag.startswith("x-") else language(tag)
    except InputError:
        return tag
