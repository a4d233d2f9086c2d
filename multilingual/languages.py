"""Languages by their codes, however a file spells them, and as parts of a text.

    "deu", "de_DE", "German"   --language-->   "de"          what CLDR and ISO 639 know, in its shortest form
    "zh_Hant", "srp_Latn"      --language-->   "zh-hant", "sr-latn"      a script that is not the usual one stays

    <s> a cat </s> </s> eine Katze </s>            Languages: first 0, last 3, "en" | first 4, last 7, "de"

A batch holds languages as numbers that say the same in every run, vocabulary and model: the code itself, spelled with
64 characters (`number_of`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch

from kelm.batch import PARTS, Encoded, Part
from kelm.errors import InputError, closest
from kelm.typing import Int, Tensor

__all__ = ["Languages", "code_of", "codes_of", "language", "name_of", "number_of", "script_of", "with_languages"]

_SPELLING = " abcdefghijklmnopqrstuvwxyz0123456789-"
_LONGEST = 10  # characters of a code: 6 bits each
_TAG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@cache
def language(tag: str, field: str = "language") -> str:
    """Returns the code of a language: lower case, two letters where it has such a code, with an unusual script.

    Regions are dropped. What starts with "x-" is the user's own and stays: a language without a code.

    >>> language("deu_Latn"), language("pt-BR"), language("sr_Latn"), language("German"), language("x-klingon")
    ('de', 'pt', 'sr-latn', 'de', 'x-klingon')

    Raises:
        InputError: no language has that code or name, or the code is too long.
    """
    plain = tag.strip().lower().replace("_", "-")
    if plain.startswith("x-"):
        return _fitting(plain, tag, field)
    first, *rest = plain.split("-")
    known = _known()
    if not _TAG.fullmatch(plain) or (first not in known and _aliases().get(first, first) not in known):
        if (named := _by_name().get(tag.strip().casefold())) is not None:
            return named
        remedy = closest(plain, [*_names(), *_by_name()]).partition("Known:")[0].strip()  # of 1,300 only the nearest
        raise InputError(
            f'no language has the code "{tag}"',
            field=field,
            remedy=f'{remedy} A language that has no code can be called "x-" and a name of your own.'.strip(),
        )
    base = _aliases().get(first, first)  # "sh" is sr-latn
    script = next((part for part in (*base.split("-")[1:], *rest) if len(part) == 4 and part.isalpha()), "")
    base = base.split("-")[0]
    return _fitting(base if script in ("", script_of(base).lower()) else f"{base}-{script}", tag, field)


def _fitting(code: str, tag: str, field: str) -> str:
    if len(code) > _LONGEST or not _TAG.fullmatch(code):
        raise InputError(
            f'the code "{tag}" cannot be kept',
            field=field,
            remedy=f"Give letters, digits and hyphens, at most {_LONGEST} characters.",
        )
    return code


def name_of(code: str) -> str:
    """Returns a language's English name, its code if it has none.

    >>> name_of("sw"), name_of("sr-latn")
    ('Swahili', 'Serbian (Latn)')
    """
    base, _, script = code.partition("-")
    name = _names().get(base)
    if name is None:
        return code
    return f"{name} ({script.title()})" if script else name


def script_of(code: str) -> str:
    """Returns the ISO 15924 code of the script in which a language is written, "" if nobody knows.

    >>> script_of("hi"), script_of("zh"), script_of("zh-hant")
    ('Deva', 'Hans', 'Hant')
    """
    base, _, script = code.partition("-")
    if script and base != "x":
        return script.title()
    parts = _likely().get(base, "").split("_")
    return parts[1] if len(parts) > 1 else ""


def codes_of(languages: Sequence[str]) -> list[str]:
    """Returns the codes of languages, each named once.

    Raises:
        InputError: no language, an unknown one, or one twice.
    """
    codes = [language(tag, "languages") for tag in languages]
    if not codes or len(set(codes)) < len(codes):
        raise InputError(f"languages are {list(languages)}", field="languages", remedy="Name each once.")
    return codes


def number_of(code: str) -> int:
    """Returns the number that stands for a language in a batch, the same everywhere.

    >>> code_of(number_of("zh-hant"))
    'zh-hant'
    """
    number = 0
    for place, character in enumerate(code):
        number |= _SPELLING.index(character) << (6 * place)
    return number


def code_of(number: int) -> str:
    """Returns the code that a number stands for."""
    code = ""
    while number:
        code += _SPELLING[number & 63]
        number >>= 6
    return code


@dataclass(frozen=True, slots=True)
class Languages(Part):
    """Which tokens [first, last] of a row are in which language (`number_of`), special ones included."""

    indices: ClassVar = {"row": "row", "first": "token", "last": "token"}
    row: Int[Tensor, "stretch"]
    first: Int[Tensor, "stretch"]
    last: Int[Tensor, "stretch"]
    language: Int[Tensor, "stretch"]

    @property
    def units(self) -> Mapping[str, int]:
        """Tokens of each language, for the log."""
        sizes = (self.last - self.first + 1).tolist()
        counts: dict[str, int] = {}
        for number, size, first in zip(self.language.tolist(), sizes, self.first.tolist(), strict=True):
            if first >= 0:
                name = f"{PARTS}{code_of(number)}"
                counts[name] = counts.get(name, 0) + size
        return counts

    def per_token(self, shape: torch.Size) -> Int[Tensor, "row token"]:
        """Returns each token's language, 0 where none is told."""
        found = torch.zeros(shape, dtype=torch.long, device=self.language.device)
        token = torch.arange(shape[1], device=found.device)
        inside = (token >= self.first[:, None]) & (token <= self.last[:, None]) & (self.first >= 0)[:, None]
        # stretches do not overlap, so a sum of those of a row has at most one that is not zero
        return found.index_add_(0, self.row, inside * self.language[:, None])


def with_languages(text: Encoded, first: str, second: str | None = None) -> Encoded:
    """Returns a text with its language, or a pair with those of both: the second's begin with its first segment.

    Args:
        first, second: codes as `language` gives them.
    """
    pair = text.segments.nonzero()[0]
    if second is None or not len(pair):
        bounds, codes = [(0, len(text) - 1)], [first]
    else:
        at = int(pair[0])
        at -= int(at > 1 and text.words[at - 1] < 0 and text.words[at - 2] < 0)  # the second's own opening token
        bounds, codes = [(0, at - 1), (at, len(text) - 1)], [first, second]
    firsts, lasts = torch.tensor(bounds).T
    numbers = torch.tensor([number_of(code) for code in codes])
    return text.having(Languages(torch.zeros(len(codes), dtype=torch.long), firsts, lasts, numbers))


@cache
def _aliases() -> Mapping[str, str]:
    from babel.core import get_global

    return {key: value.lower().replace("_", "-") for key, value in get_global("language_aliases").items()}


@cache
def _likely() -> Mapping[str, str]:
    from babel.core import get_global

    return {key: value for key, value in get_global("likely_subtags").items() if "_" not in key and key != "und"}


@cache
def _names() -> Mapping[str, str]:
    from babel import Locale

    return {code: name for code, name in Locale("en").languages.items() if "_" not in code}


@cache
def _known() -> frozenset[str]:
    return frozenset({*_names(), *_likely(), *(alias.split("-")[0] for alias in _aliases().values())})


@cache
def _by_name() -> Mapping[str, str]:
    return {name.casefold(): code for code, name in _names().items()}
