"""Pictures of a sentence tree: branches hanging from their mentions, hard and soft positions, who sees whom.

    [CLS] tim cook is visiting beijing now [SEP]          ■ ■ ■ . . ■
      0    1   2   6     7       8      12  13            ■ ■ ■ ■ ■ ■
               └ ceo : apple       └ capital of : china   . ■ ■ ■ ■ .

One SVG, or an HTML page with it, that needs nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from kelm.batch import Encoded, pack
from kelm.data.folders import file_aside

__all__ = ["Token", "draw_tree", "page", "tokens_of_tree", "visible", "write"]

_LETTER, _BOX, _ROW, _GAP, _CELL = 8, 22, 64, 8, 9  # pixels
_STYLE = """text { font: 13px ui-monospace, monospace; fill: #1b1f24; } .small { font-size: 10px; fill: #57606a; }
.trunk { fill: #f3f5f7; } .mention { fill: #dbe9ff; } .branch { fill: #e7f6e4; } rect { stroke: #9aa4b2; }
.line { stroke: #57606a; fill: none; } .cell { stroke: none; fill: #24507f; } .frame { fill: none; }"""
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem; }} figure {{ margin: 0; overflow-x: auto; }}</style>
</head><body><h1>{title}</h1><figure>{picture}</figure>
<p>Under each token its place in the row and, after the dot, its soft position. On the right who sees whom: a row for
each token, dark where it sees.</p></body></html>
"""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a tree: how it is written, its place in the row, its soft position, its branch and its mention."""

    piece: str
    hard: int
    soft: int
    branch: int
    mention: int


def tokens_of_tree(tree: Encoded, pieces: Sequence[str]) -> list[Token]:
    """Returns the tokens of a text with branches.

    Args:
        pieces: how the vocabulary writes each of them.
    """
    assert tree.positions is not None and tree.branch is not None and tree.anchor is not None
    columns = tree.positions.tolist(), tree.branch.tolist(), tree.anchor.tolist()
    return [Token(piece, hard, *rest) for hard, (piece, *rest) in enumerate(zip(pieces, *columns, strict=True))]


def visible(tree: Encoded) -> Bool[np.ndarray, "token token"]:
    """Returns who sees whom."""
    mask: Bool[np.ndarray, "token token"] = pack([tree], pad=0).visibility.mask()[0, 0].numpy()
    return mask


def draw_tree(tokens: Sequence[Token], sees: Bool[np.ndarray, "token token"]) -> str:
    """Returns the picture as SVG."""
    trunk = [token for token in tokens if token.branch == 0]
    left = dict(zip((token.hard for token in trunk), _across(trunk), strict=True))
    end = left[trunk[-1].hard] + _width(trunk[-1])
    shapes = [_box(token, left[token.hard], 0) for token in trunk]
    last = {token.mention: token for token in trunk if token.mention >= 0}  # of each mention
    count = max((token.branch for token in tokens), default=0)
    for row in range(1, count + 1):
        branch = [token for token in tokens if token.branch == row]
        anchor = last[branch[0].mention]
        x, y = left[anchor.hard] + _width(anchor) / 2, row * _ROW
        shapes.append(f'<path class="line" d="M{x:g} {_BOX} V{y + _BOX / 2:g} H{x + 16:g}"/>')
        for token, place in zip(branch, _across(branch, x + 16), strict=True):
            shapes.append(_box(token, place, y))
            end = max(end, place + _width(token))
    matrix = end + 60
    shapes += _matrix(sees, matrix)
    side = len(sees) * _CELL
    width, height = matrix + side + 20, max((count + 1) * _ROW, side) + 40
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -10 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}"><style>{_STYLE}</style>\n{body}\n</svg>\n'
    )


def write(path: Path, content: str) -> None:
    """Writes a picture or a page.

    Raises:
        CheckpointError: it cannot be written.
    """
    with file_aside(path) as aside:
        aside.write_text(content, encoding="utf-8")


def page(picture: str, title: str) -> str:
    """Returns an HTML page with the picture."""
    return _PAGE.format(title=escape(title), picture=picture)


def _width(token: Token) -> float:
    wide = sum(2 if ord(letter) > 0x2E7F else 1 for letter in token.piece)  # Han and the like
    return _LETTER * wide + 10


def _across(tokens: Sequence[Token], first: float = 0.0) -> Iterator[float]:
    for token in tokens:
        yield first
        first += _width(token) + _GAP


def _box(token: Token, x: float, y: float) -> str:
    kind = "branch" if token.branch else "mention" if token.mention >= 0 else "trunk"
    middle, below = x + _width(token) / 2, y + _BOX + 12
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{_width(token):g}" height="{_BOX}" rx="4"/>'
        f'<text x="{middle:g}" y="{y + 15:g}" text-anchor="middle">{escape(token.piece)}</text>'
        f'<text class="small" x="{middle:g}" y="{below:g}" text-anchor="middle">{token.hard}·{token.soft}</text>'
    )


def _matrix(sees: Bool[np.ndarray, "token token"], x: float) -> Iterator[str]:
    """Yields a bar for each run of tokens that a token sees."""
    side = len(sees) * _CELL
    yield f'<rect class="frame" x="{x:g}" y="0" width="{side}" height="{side}"/>'
    for row, seen in enumerate(sees):
        edges = np.flatnonzero(np.diff(seen.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
        for begin, stop in edges.tolist():
            place = f'x="{x + begin * _CELL:g}" y="{row * _CELL}"'
            yield f'<rect class="cell" {place} width="{(stop - begin) * _CELL}" height="{_CELL}"/>'
