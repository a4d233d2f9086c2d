"""A page of linked texts: mentions marked in the text, their entities beside them, candidates where one points.

    I love 北京.   --page-->   I love <mark>北京 <span class="entity">Beijing Q956</span> ... </mark>.

One HTML file that needs nothing else: no network (its policy forbids it), no script. What candidates a mention has is
shown by the style sheet alone, when the mention is under the pointer or has the focus (Tab). Texts keep their white
space and their direction; labels are isolated from it (Unicode Standard Annex 9), so that a Latin name within an
Arabic sentence does not turn it over.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from kelm.data.folders import file_aside
from kg.linking.base import Candidate, Mention

__all__ = ["marked", "write_page"]

Label = Callable[[str], str]  # an entity's label; "" where it has none

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --mark: #dbe9ff; --none: #e7e7e7; --line: #9aa4b2; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #14171b; --ink: #e6e8eb; --mark: #1f3a63; --none: #33373d; --line: #667080; }}
}}
body {{ background: var(--paper); color: var(--ink); font: 1.05rem/2.1 system-ui, sans-serif; margin: 2rem auto;
  max-width: 50rem; padding: 0 1rem; }}
h1 {{ font-size: 1.2rem; overflow-wrap: anywhere; }}
.text {{ border-top: 1px solid var(--line); overflow-wrap: anywhere; padding: .6rem 0; white-space: pre-wrap; }}
mark {{ background: var(--mark); border-radius: .3rem; color: inherit; padding: .15rem .25rem; position: relative; }}
mark.none {{ background: var(--none); }}
mark:focus, mark:hover {{ outline: 2px solid var(--line); }}
.entity, .candidates {{ font-size: .75rem; white-space: normal; }}
.entity {{ margin-inline-start: .35rem; user-select: none; }}
.entity code, .candidates code {{ opacity: .75; }}
.candidates {{ background: var(--paper); border: 1px solid var(--line); border-radius: .3rem; display: none;
  inset-inline-start: 0; line-height: 1.5; max-width: 80vw; padding: .3rem .5rem; position: absolute; top: 100%;
  user-select: none; width: max-content; z-index: 1; }}
.candidates > bdi {{ display: block; }}
mark:focus > .candidates, mark:hover:not(:has(mark:hover)) > .candidates {{ display: block; }}
footer {{ border-top: 1px solid var(--line); font-size: .85rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""
_NOTHING = "no entity"


def write_page(
    path: str | Path,
    linked: Iterable[tuple[str, Sequence[Mention]]],
    *,
    title: str,
    label: Label = lambda entity: "",
) -> tuple[int, int]:
    """Writes the page, aside first, then renamed, and returns how many texts and mentions it shows.

    Args:
        linked: texts with their mentions, which may overlap; one is in memory at a time.
        label: what to call an entity beside its name.

    Raises:
        CheckpointError: it cannot be written; what was there before is untouched.
    """
    texts = mentions = 0
    with file_aside(Path(path)) as new, new.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(_HEAD.format(title=_plain(title)))
        for text, found in linked:
            file.write(f'<div class="text" dir="auto">{marked(text, found, label)}</div>\n')
            texts, mentions = texts + 1, mentions + len(found)
        file.write(f"<footer>Texts: {texts:,}. Mentions: {mentions:,}.</footer>\n</body>\n</html>\n")
    return texts, mentions


def marked(text: str, mentions: Sequence[Mention], label: Label = lambda entity: "") -> str:
    """Returns a text as HTML with its mentions marked; all else is escaped.

    A mention within another is marked within it. Of two that cross, the one that begins later is marked in two pieces.

    >>> marked("a < Bonn", [Mention(4, 8, "Bonn")])
    'a &lt; <mark class="none" tabindex="0">Bonn<span class="entity"><bdi>no entity</bdi></span></mark>'
    """
    waiting = [(mention.start, -mention.end, order) for order, mention in enumerate(mentions)]
    heapq.heapify(waiting)
    parts: list[str] = []
    open_: list[tuple[int, int, int]] = []  # end of each piece that is open, its mention, and where that mention ends
    here = 0

    def close(limit: int) -> None:
        nonlocal here
        while open_ and open_[-1][0] <= limit:
            end, order, last = open_.pop()
            parts.append(_plain(text[here:end]))
            here = end
            parts.append(("".join(_said(mentions[order], label)) if end == last else "") + "</mark>")

    while waiting:
        start, minus_end, order = heapq.heappop(waiting)
        close(start)
        parts.append(_plain(text[here:start]))
        here = start
        end = -minus_end
        if open_ and open_[-1][0] < end:
            heapq.heappush(waiting, (open_[-1][0], minus_end, order))
            end = open_[-1][0]
        none = "" if mentions[order].entity is not None else ' class="none"'
        parts.append(f'<mark{none} tabindex="0">')
        open_.append((end, order, mentions[order].end))
    close(len(text))
    return "".join(parts) + _plain(text[here:])


def _said(mention: Mention, label: Label) -> Iterator[str]:
    """Yields what stands behind a mention: its entity, and the candidates that are hidden until one asks."""
    yield f'<span class="entity"><bdi>{_named(mention.entity, label)}</bdi></span>'
    if mention.candidates:
        rows = (f"<bdi>{_candidate(candidate, label)}</bdi>" for candidate in mention.candidates)
        yield f'<span class="candidates" role="tooltip">{"".join(rows)}</span>'


def _candidate(candidate: Candidate, label: Label) -> str:
    return f"{candidate.probability:.1%} {_named(candidate.entity or None, label)}"


def _named(entity: str | None, label: Label) -> str:
    if entity is None:
        return _NOTHING
    shown = label(entity)
    name = f"<code>{_plain(entity)}</code>"
    return f"{_plain(shown)} {name}" if shown and shown != entity else name


def _plain(text: str) -> str:
    """Returns a text as HTML that reads as this text: escaped, with line ends as they are."""
    return escape(text).replace("\r", "&#13;").replace("\0", "\ufffd")  # no HTML can hold a null
