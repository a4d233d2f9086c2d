"""Texts in which a dictionary puts words of another language: more anchors than languages share by themselves.

    the old dog sleeps   --en-de, share .3-->   the alte dog sleeps

A text keeps its language. Source: Conneau, Wu et al., 2020 (Emerging cross-lingual structure), section 4.2, "extra
anchors", with dictionaries such as MUSE's (Conneau et al., 2018).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from kelm.data import files
from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.errors import FormatError, InputError
from multilingual.languages import language

__all__ = ["CodeSwitched", "Dictionary", "dictionaries", "read_dictionary"]

Dictionary = Mapping[str, tuple[str, ...]]
_WORD = re.compile(r"\w+")


def read_dictionary(path: str, *, back: bool = False) -> Dictionary:
    """Returns the translations of each word, in small letters.

    Args:
        path: lines ``word<TAB>translation``, or with a space between them as MUSE's; plain or compressed.
        back: from the second language to the first.

    Raises:
        FormatError: a line has no two words; names file and line.
        InputError: there is none.
    """
    found: dict[str, list[str]] = {}
    for number, line in files.lines(path):
        if not line.strip():
            continue
        pair = [word.strip() for word in (line.split("\t") if "\t" in line else line.split())]
        if len(pair) != 2 or not all(pair):
            raise FormatError(
                f"expected a word and its translation, found {line[:40]!r}",
                path=path,
                line=number,
                remedy="Put a tab between the two.",
            )
        word, other = pair[::-1] if back else pair
        found.setdefault(word.casefold(), []).append(other)
    if not found:
        raise InputError(f"{path} has no words", field="switch", remedy="Give another dictionary.")
    return {word: tuple(dict.fromkeys(others)) for word, others in found.items()}


def dictionaries(paths: Mapping[str, str]) -> dict[str, Dictionary]:
    """Returns a dictionary for each language, out of it into all that it is paired with.

    Args:
        paths: by pair of languages, ``{en-de = "en-de.tsv"}``; it serves both.

    Raises:
        InputError, FormatError: no pair of languages, an unknown one, and see `read_dictionary`.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, path in paths.items():
        pair = [language(code, f"switch.{name}") for code in name.split("-", 1)]
        if len(pair) != 2:
            raise InputError(f"{name} is no pair", field=f"switch.{name}", remedy='Name both languages: "en-de".')
        for back, code in enumerate(pair):
            own = found.setdefault(code, {})
            for word, others in read_dictionary(path, back=bool(back)).items():
                own[word] = tuple(dict.fromkeys((*own.get(word, ()), *others)))
    return dict(found)


class CodeSwitched(Corpus[Text]):
    """Texts with a share of their words translated, the same ones in each pass.

    Args:
        share: of the words that the dictionary has, how many are replaced.
        seed: decides which, and by which of their translations.

    Raises:
        InputError: the share is not from 0 to 1.
    """

    def __init__(self, corpus: Corpus[Text], dictionary: Dictionary, *, share: float, seed: int = 0) -> None:
        if not 0 <= share <= 1:
            raise InputError(f"found {share}", field="switch_share", remedy="Give a share from 0 to 1.")
        self.corpus, self.dictionary, self.share, self.seed = corpus, dictionary, share, seed

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        for text, cursor in self.corpus.stream(shard, start):
            yield replace(text, text=self.switched(text.text)), cursor

    def switched(self, text: str) -> str:
        """Returns the text with words translated."""
        drawn = random.Random(f"{self.seed} {text}")

        def other(match: re.Match[str]) -> str:
            word = match[0]
            known = self.dictionary.get(word.casefold())
            if known is None or drawn.random() >= self.share:
                return word
            chosen = drawn.choice(known)
            return chosen[:1].upper() + chosen[1:] if word[0].isupper() else chosen

        return _WORD.sub(other, text)

    def fingerprint(self) -> str:
        return digest("switched", self.corpus.fingerprint(), sorted(self.dictionary.items()), self.share, self.seed)
