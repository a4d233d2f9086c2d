"""Plug-ins are entry points: an installed package adds a part to kelm without kelm knowing it.

    [project.entry-points."kelm.extensions"]
    ernie = "kg.fusion.ernie:Ernie"

Kinds: extensions, objectives, tasks, corpora, enrichers, evaluations, commands. Loading reads the installed packages'
metadata only; a shared recipe or checkpoint can name a plug-in but never a dotted path.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kelm.errors import UnknownPlugin, closest

__all__ = ["KINDS", "all", "find", "name_of"]

KINDS = ("extensions", "objectives", "tasks", "corpora", "enrichers", "evaluations", "commands")


@cache
def _points(kind: str) -> dict[str, EntryPoint]:
    if kind not in KINDS:
        raise UnknownPlugin(f'no kind of plug-in is called "{kind}"', remedy=closest(kind, KINDS))
    return {point.name: point for point in sorted(entry_points(group=f"kelm.{kind}"), key=lambda point: point.name)}


def find(kind: str, name: str) -> Any:
    """Returns the plug-in `name` of `kind`, loading its module.

    Raises:
        UnknownPlugin: with the closest and the known names.
    """
    points = _points(kind)
    if name not in points:
        raise UnknownPlugin(f'no {kind.removesuffix("s")} is called "{name}"', remedy=closest(name, points))
    return points[name].load()


def all(kind: str) -> dict[str, Any]:
    """Returns every installed plug-in of `kind` by name, loaded."""
    return {name: point.load() for name, point in _points(kind).items()}


def name_of(kind: str, plugin: object) -> str:
    """Returns the name under which `plugin` is registered.

    Raises:
        UnknownPlugin: it is not registered, so a saved model could not name it.
    """
    for name, point in _points(kind).items():
        if point.value == f"{getattr(plugin, '__module__', '')}:{getattr(plugin, '__qualname__', '')}":
            return name
    raise UnknownPlugin(
        f"{plugin!r} is not a registered {kind.removesuffix('s')}",
        remedy=f'Add it to [project.entry-points."kelm.{kind}"] of its package and install that package.',
    )
