"""What a comparison of linkers found, as tables: one for given mentions, one for the text alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kg.linking.scores import Figure

__all__ = ["TASKS", "Outcome", "Task", "table"]

Task = Literal["given", "text"]
TASKS: tuple[Task, ...] = ("given", "text")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method did on one set.

    Attributes:
        task: "given": the gold mentions are given; "text": they are to be found as well.
        documents: of the set.
        threshold: a mention whose best candidate is no more probable is linked to nothing.
        bound: share of the given mentions of the graph's entities that have a right candidate.
        rates: `kg.linking.scores.Rates` by match and scope, such as "strong graph".
        seed: of what was trained.
    """

    set: str
    method: str
    task: Task
    documents: int
    threshold: float
    bound: float | None
    rates: Mapping[str, Mapping[str, Any]]
    seed: int = 0


def table(outcomes: Sequence[Outcome], methods: Sequence[str], sets: Sequence[str]) -> str:
    """Returns the outcomes as Markdown, by set and then by method.

    Of several seeds the mean is told, with the lowest and the highest bound of their intervals.
    """
    several: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        several.setdefault((str(outcome.task), outcome.set, outcome.method), []).append(outcome)
    of = {key: replace(some[0], rates=_over([one.rates for one in some])) for key, some in several.items()}
    titles = {
        "given": "Gold mentions given: F1 over the entities of the graph; all: accuracy over all mentions",
        "text": "Text alone: F1 over the entities of the graph; all: over all mentions",
    }
    parts = []
    for task, columns in (("given", _given), ("text", _found)):
        chosen = [one for name in sets for method in methods if (one := of.get((task, name, method)))]
        if not chosen:
            continue
        rows = [{"set": one.set, "method": one.method, **columns(one)} for one in chosen]
        for row, before in zip(reversed(rows[1:]), reversed(rows[:-1]), strict=True):
            row["set"] = "" if row["set"] == before["set"] else row["set"]
        parts += [f"**{titles[task]}**", "", _line(list(rows[0])), "|" + "---|" * len(rows[0])]
        parts += [_line(list(row.values())) for row in rows] + [""]
    return "\n".join(parts)


def _over(seeds: Sequence[Any]) -> Any:
    """Returns the same tree of figures for all seeds: means of values, and the widest intervals."""
    first = seeds[0]
    if not isinstance(first, Mapping):
        return first
    if set(first) == {"value", "low", "high"}:
        value = sum(one["value"] for one in seeds) / len(seeds)
        return {"value": value, "low": min(one["low"] for one in seeds), "high": max(one["high"] for one in seeds)}
    return {key: _over([one[key] for one in seeds]) for key in first}


def _given(one: Outcome) -> dict[str, str]:
    graph, whole = one.rates["strong graph"], one.rates["strong all"]
    return {
        "mentions (in graph)": f"{whole['gold']:,} ({graph['gold']:,})",
        "has candidate": f"{one.bound or 0:.3f}",
        "micro F1": _figure(graph["f1"]),
        "macro F1": _figure(graph["macro_f1"]),
        "all, micro": _figure(whole["f1"]),
        "all, macro": _figure(whole["macro_f1"]),
    }


def _found(one: Outcome) -> dict[str, str]:
    graph, weak, whole = (one.rates[name] for name in ("strong graph", "weak graph", "strong all"))
    return {
        "documents": f"{one.documents:,}",
        "precision": f"{graph['precision']['value']:.3f}",
        "recall": f"{graph['recall']['value']:.3f}",
        "micro F1": _figure(graph["f1"]),
        "macro F1": _figure(graph["macro_f1"]),
        "weak, micro F1": _figure(weak["f1"]),
        "all, micro F1": _figure(whole["f1"]),
    }


def _figure(value: Mapping[str, float]) -> str:
    return str(Figure(**value))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
