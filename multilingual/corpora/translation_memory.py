"""Translation memories (TMX 1.4): units of a segment and its translations, read one by one.

<tu><tuv xml:lang="en"><seg>a cat</seg></tuv><tuv xml:lang="de"><seg>eine Katze</seg></tuv></tu>
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.files import damage, fingerprint, opened
from kelm.errors import FormatError, InputError
from multilingual.languages import language

__all__ = ["Tmx"]

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_CODES = {"bpt", "ept", "it", "ph", "ut"}  # what TMX keeps of a layout: no words


class Tmx(Corpus[Text]):
    """A translation memory: of each unit the first segments in both languages. A cursor is the next unit's number.

    Args:
        languages: codes, in the order of a pair; `xml:lang` may spell them otherwise.

    Raises:
        FormatError: when read, if it is no XML, or no unit has both languages.

    Cost: continuing in the middle reads the file from its start.
    """

    def __init__(self, path: str | Path, languages: tuple[str, str]) -> None:
        self.path, self.languages = Path(path), languages

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        number, met = 0, set[str]()
        for place, unit in enumerate(self._units(), 1):
            met |= unit.keys()
            first, second = (unit.get(code, "").strip() for code in self.languages)
            if first and second:
                if number >= (start or 0) and shard.owns(number):
                    yield Text(first, second, number, f"{self.path}, unit {place}"), number + 1
                number += 1
        if not number:
            raise FormatError(
                f"no unit has both {self.languages[0]} and {self.languages[1]}; the file has {', '.join(sorted(met))}",
                path=self.path,
                field="languages",
                remedy="Name two of these.",
            )

    def _units(self) -> Iterator[dict[str, str]]:
        with opened(self.path) as (file, _):
            try:
                for event, element in ElementTree.iterparse(file, events=("start", "end")):
                    name = element.tag.rpartition("}")[2]
                    if event == "start" and name == "body":
                        body = element
                    elif event == "end" and name == "tu":
                        yield {self._code(side): _words(side) for side in reversed(element.findall("{*}tuv"))}
                        body.clear()  # what was read is kept nowhere
            except ElementTree.ParseError as error:
                raise FormatError(
                    f"this is no XML ({error})",
                    path=self.path,
                    line=error.position[0],
                    remedy="Export the memory again.",
                ) from None
            except Exception as error:
                if found := damage(error, self.path, 0):
                    raise found from error
                raise

    def _code(self, side: ElementTree.Element) -> str:
        tag = side.get(_LANG) or side.get("lang") or ""
        try:
            return language(tag)
        except InputError:
            return tag  # of a language that is not asked for

    def fingerprint(self) -> str:
        return digest("Tmx", self.languages, fingerprint(self.path))


def _words(side: ElementTree.Element) -> str:
    segment = side.find("{*}seg")
    return "" if segment is None else " ".join("".join(_spoken(segment)).split())


def _spoken(element: ElementTree.Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if child.tag.rpartition("}")[2] not in _CODES:
            yield from _spoken(child)
        yield child.tail or ""
