"""What the study of the curse found, as tables and curves: means over seeds, 95 % intervals, differences by seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kelm.evaluation import drawing
from kelm.evaluation.drawing import Line, Panel
from kelm.evaluation.intervals import Mean, arms_table, mean

__all__ = ["CurseOutcome", "Point", "draw", "table"]


@dataclass(frozen=True, slots=True)
class Point:
    """What tells a run from the others.

    Attributes:
        languages: that share the vocabulary, and the batches too unless `alone`.
        alone: only the languages that are in every run are read, as often as among all of `languages`.
    """

    languages: int
    width: int
    alpha: float
    pieces: int
    alone: bool = False

    def __str__(self) -> str:
        company = ", alone" if self.alone else ""
        return f"{self.languages} languages{company}, width {self.width}, alpha {self.alpha}, {self.pieces:,} pieces"


@dataclass(frozen=True, slots=True)
class CurseOutcome:
    """What one run and seed reached.

    Attributes:
        table, others: parameters of the vocabulary's vectors, and all others of the encoder.
        bits: of a character of held-out verses, by language.
    """

    languages: int
    width: int
    alpha: float
    pieces: int
    alone: bool
    seed: int
    steps: int
    table: int
    others: int
    bits: dict[str, float]

    @property
    def point(self) -> Point:
        return Point(self.languages, self.width, self.alpha, self.pieces, self.alone)


Key = Callable[[CurseOutcome], str]


def _average(one: CurseOutcome, names: Collection[str]) -> float | None:
    found = [value for name, value in one.bits.items() if name in names]
    return sum(found) / len(found) if found else None


def table(outcomes: Sequence[CurseOutcome], base: Point, rare: Collection[str]) -> str:
    """Returns all axes as Markdown.

    Args:
        base: what holds where an axis does not say otherwise.
        rare: languages with few verses.
    """
    seeds = len({one.seed for one in outcomes})
    parts = [f"Bits a character of held-out verses, {seeds} seeds; less is better.", ""]
    for width in sorted({one.width for one in outcomes}):
        parts += [f"**Languages, at width {width}**", "", *_languages(outcomes, replace(base, width=width)), ""]
    parts += [f"**Alpha**, {base}", "", *_mixtures(outcomes, base, rare), ""]
    parts += [f"**Vocabulary**, {base}", "", *_vocabularies(outcomes, base, rare)]
    return "\n".join(parts) + "\n"


def _languages(outcomes: Sequence[CurseOutcome], base: Point) -> list[str]:
    chosen = [one for one in outcomes if replace(one.point, languages=base.languages, alone=False) == base]
    names = _common(chosen)
    found = {(_company(one), one.seed): [*(one.bits[name] for name in names), _average(one, names)] for one in chosen}
    counts = sorted({one.languages for one in chosen})
    arms = [name for count in counts for name in (f"{count} languages", f"{count}, alone")]
    lines = arms_table(found, [*names, "mean"], arms=arms, over=())
    for count in counts[1:]:
        over = (f"{counts[0]} languages", f"{count}, alone")
        lines += arms_table(found, [*names, "mean"], arms=(), over=over, ours=f"{count} languages")[2:]
    return lines


def _company(one: CurseOutcome) -> str:
    return f"{one.languages}, alone" if one.alone else f"{one.languages} languages"


def _common(outcomes: Sequence[CurseOutcome]) -> list[str]:
    """Returns the languages that every run was asked for, in their order."""
    return [name for name in outcomes[0].bits if all(name in one.bits for one in outcomes)] if outcomes else []


def _mixtures(outcomes: Sequence[CurseOutcome], base: Point, rare: Collection[str]) -> list[str]:
    chosen = [one for one in outcomes if replace(one.point, alpha=base.alpha) == base]
    alphas = [f"alpha {alpha}" for alpha in sorted({one.alpha for one in chosen}, reverse=True)]
    return _by_richness(chosen, alphas, lambda one: f"alpha {one.alpha}", rare)


def _vocabularies(outcomes: Sequence[CurseOutcome], base: Point, rare: Collection[str]) -> list[str]:
    chosen = [one for one in outcomes if replace(one.point, pieces=base.pieces) == base]
    sizes = {one.pieces: one for one in sorted(chosen, key=lambda one: one.pieces)}
    told = [
        f"{size:,} pieces: {one.table:,} parameters of {one.table + one.others:,} are the vocabulary's vectors."
        for size, one in sizes.items()
    ]
    arms = [f"{size:,} pieces" for size in sizes]
    return [*told, "", *_by_richness(chosen, arms, lambda one: f"{one.pieces:,} pieces", rare)]


def _by_richness(chosen: Sequence[CurseOutcome], arms: Sequence[str], key: Key, rare: Collection[str]) -> list[str]:
    """Returns a table of languages with many verses and with few; each arm is compared with the first."""
    found = {(key(one), one.seed): list(_richness(one, rare).values()) for one in chosen}
    heads = ["many verses", "few verses", "all"]
    lines = arms_table(found, heads, arms=arms, over=())
    for arm in arms[1:]:
        lines += arms_table(found, heads, arms=(), over=arms[:1], ours=arm)[2:]
    return lines


def _richness(one: CurseOutcome, rare: Collection[str]) -> dict[str, float | None]:
    rich = [name for name in one.bits if name not in rare]
    return {"many verses": _average(one, rich), "few verses": _average(one, rare), "all": _average(one, [*one.bits])}


def draw(outcomes: Sequence[CurseOutcome], base: Point, rare: Collection[str], path: Path) -> None:
    """Draws the curves of all axes: by the number of languages, by alpha, by the size of the vocabulary."""
    alphas = [one for one in outcomes if replace(one.point, alpha=base.alpha) == base]
    pieces = [one for one in outcomes if replace(one.point, pieces=base.pieces) == base]
    panels = [
        _grid_panel(outcomes, base),
        _panel(alphas, "alpha", lambda one: f"{one.alpha:g}", lambda one: -one.alpha, rare),
        _panel(pieces, "pieces of the vocabulary", lambda one: f"{one.pieces:,}", lambda one: one.pieces, rare),
    ]
    told = "; ".join(
        f"{line.label}, {panel.across} {place}: {line.means[place]}"
        for panel in panels
        for line in panel.lines
        for place in line.means
    )
    drawing.draw(path, "The curse of multilinguality in small", told, panels)


def _grid_panel(outcomes: Sequence[CurseOutcome], base: Point) -> Panel:
    grid = [one for one in outcomes if (one.alpha, one.pieces) == (base.alpha, base.pieces)]
    names, lines = _common(grid), []
    for color, width in enumerate(sorted({one.width for one in grid})):
        for alone in (False, True):
            chosen = [one for one in grid if one.width == width and one.alone == alone]
            means = _means(chosen, lambda one: str(one.languages), [_average(one, names) for one in chosen])
            lines.append(Line(f"width {width}{', alone as often' if alone else ''}", means, color, dashed=alone))
    places = [str(count) for count in sorted({one.languages for one in grid})]
    return Panel("languages", f"bits a character of {', '.join(names)}", places, [line for line in lines if line.means])


def _panel(
    chosen: Sequence[CurseOutcome],
    across: str,
    place: Key,
    order: Callable[[CurseOutcome], float],
    rare: Collection[str],
) -> Panel:
    lines = []
    for color, kind in enumerate(("many verses", "few verses")):
        means = _means(chosen, place, [_richness(one, rare)[kind] for one in chosen])
        lines.append(Line(f"languages with {kind}", means, color))
    places = list(dict.fromkeys(place(one) for one in sorted(chosen, key=order)))
    return Panel(across, "bits a character", places, [line for line in lines if line.means])


def _means(chosen: Sequence[CurseOutcome], place: Key, values: Sequence[float | None]) -> dict[str, Mean]:
    found: dict[str, list[float]] = {}
    for one, value in zip(chosen, values, strict=True):
        if value is not None:
            found.setdefault(place(one), []).append(value)
    return {name: mean(of_place) for name, of_place in found.items()}
