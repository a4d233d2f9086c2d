"""Pictures as SVG files with a title and a description for those who cannot see them: curves of means with intervals.

    draw(path, "The curse", "bits a character: 2 languages 2.1, 4 languages 2.3", [Panel(...), ...])

Equal numbers give equal bytes with the same version of matplotlib.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from kelm.data.folders import file_aside
from kelm.evaluation.intervals import Mean

__all__ = ["COLORS", "Line", "Panel", "draw", "figure"]

COLORS = ("#1b7f4d", "#5b8fd6", "#c9a227", "#b5483a", "#7a5aa6", "#3aa6a0", "#d97fb0", "#7f6a4f", "#4a4a4a")
_STYLE: Any = {
    "svg.hashsalt": "kelm",  # ids of an SVG are random otherwise
    "svg.fonttype": "none",  # text stays text: small, searchable, in any script
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Line:
    """Means by the panel's places, drawn with their intervals; places without one are left out.

    Attributes:
        color: number of a color; lines that belong together share one.
    """

    label: str
    means: Mapping[str, Mean]
    color: int
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over some places of an axis, which lie at equal distances."""

    across: str
    up: str
    places: Sequence[str]
    lines: Sequence[Line]


def draw(path: Path, title: str, told: str, panels: Sequence[Panel]) -> Path:
    """Draws panels side by side.

    Args:
        told: what the picture says, for those who cannot see it.

    Raises:
        CheckpointError: the file cannot be written.
    """
    with figure(path, title, told, (3.6 * len(panels), 3.4)) as drawn:
        for axes, panel in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for line in panel.lines:
                at = [place for place in panel.places if place in line.means]
                axes.errorbar(
                    [panel.places.index(place) for place in at],
                    [line.means[place].value for place in at],
                    [0.0 if math.isnan(line.means[place].half) else line.means[place].half for place in at],
                    color=COLORS[line.color % len(COLORS)],
                    linestyle=":" if line.dashed else "-",
                    marker="o",
                    markersize=4,
                    capsize=3,
                    label=line.label,
                )
            axes.set_xticks(range(len(panel.places)), panel.places)
            axes.set_xlabel(panel.across)
            axes.set_ylabel(panel.up)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=7, frameon=False)
    return path


@contextmanager
def figure(path: Path, title: str, told: str, size: tuple[float, float]) -> Iterator[Any]:
    """Gives an empty figure and writes it, with title and description, when it is drawn.

    Args:
        size: width and height in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's fonts will have it
        drawn = Figure(figsize=size, layout="constrained")
        yield drawn
        drawn.suptitle(title, fontsize=11)
        text = io.StringIO()
        drawn.savefig(text, format="svg", dpi=120, metadata={"Date": None, "Title": title})
    head, mark, rest = text.getvalue().partition("</title>")
    head = head.replace("<svg ", '<svg role="img" ')
    with file_aside(path) as new:
        new.write_text(f"{head}{mark}\n <desc>{escape(told)}</desc>{rest}", encoding="utf-8")
