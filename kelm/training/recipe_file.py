"""Recipes as TOML files, with overrides: read strictly, written in full.

    optim.rate = 2e-5   --set optim.rate=3e-5   --set objectives.mlm.options.rate=0.2     an item goes by number or name

An unknown key or a wrong type is an error that names file and line (or the override), dotted key and the closest key.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from kelm.errors import RecipeError, closest
from kelm.training.recipe import Recipe, check

__all__ = ["convert", "keep", "located", "parse", "read", "read_as", "write"]

T = TypeVar("T")


def read(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Returns the recipe in a TOML file, with ``a.b=c`` overrides applied.

    Raises:
        RecipeError: the file is missing or no TOML, a key is unknown, a value has the wrong type or is impossible.
    """
    return parse(_content(Path(path)), overrides, path=Path(path))


def parse(text: str, overrides: Sequence[str] = (), *, path: Path | None = None) -> Recipe:
    """Returns the recipe that a TOML text describes; see `read`."""
    values, changed = _values(text, overrides, path)
    with _placed(text, path, changed):
        built: Recipe = convert(Recipe, values, "")
        check(built)
    return built


def read_as(kind: Callable[[Mapping[str, Any]], type[T]], path: str | Path | None, overrides: Sequence[str] = ()) -> T:
    """Returns a TOML file as a value of a dataclass that the file itself chooses; errors as in `read`.

    Args:
        kind: takes the file's values and returns the dataclass; keys that it uses up it takes out.
        path: None for no file: the overrides alone.
    """
    path = None if path is None else Path(path)
    text = "" if path is None else _content(path)
    values, changed = _values(text, overrides, path)
    with _placed(text, path, changed):
        built: T = convert(kind(values), values, "")
    return built


@contextmanager
def located(path: str | Path | None, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Adds file and line, or the override, to a `RecipeError` that only what a recipe describes can find.

    Args:
        path, overrides: as the recipe was read.
    """
    try:
        yield
    except RecipeError as error:
        if error.path is not None:
            raise
        path = None if path is None else Path(path)
        text = "" if path is None else _content(path)
        with _placed(text, path, _values(text, overrides, path)[1]):
            raise


@contextmanager
def _placed(text: str, path: Path | None, changed: Mapping[str, str]) -> Iterator[None]:
    """Adds to a `RecipeError` where its field was given."""
    try:
        yield
    except RecipeError as error:
        field = error.field or ""
        line = _line_of(text, field)
        given: str | Path | None = path
        for key, override in changed.items():
            if (
                field == key
                or field.startswith(f"{key}.")
                or (key.startswith(f"{field}.") and not _stands(text, field))
            ):
                given, line = f"--set {override}", None
        raise RecipeError(error.problem, path=given, line=line, field=error.field, remedy=error.remedy) from error


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot be read ({error})", path=path, remedy="Give a recipe file in TOML.") from error


def _values(text: str, overrides: Sequence[str], path: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the values of a TOML text, changed by the overrides, and the override of each changed key."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        line = int(found[1]) if found else None
        raise RecipeError(f"no valid TOML: {error}", path=path, line=line, remedy="Correct that line.") from error
    changed: dict[str, str] = {}
    for override in overrides:
        try:
            changed[_override(values, override)] = override
        except RecipeError as error:
            place = f"--set {override}"
            raise RecipeError(error.problem, path=place, field=error.field, remedy=error.remedy) from None
    return values, changed


def write(recipe: Any, path: str | Path) -> None:
    """Writes a recipe (any dataclass) with every default filled in, so that it means the same in later versions."""
    import tomli_w

    Path(path).write_text(tomli_w.dumps(_plain(recipe)), encoding="utf-8")


def keep(recipe: Any, path: Path, *, evaluation: str | None = None) -> None:
    """Writes a recipe beside its results, unless it is there already.

    Args:
        evaluation: by which it is run, if it is one's.

    Raises:
        RecipeError: another recipe is there beside something that it made, so that results of both would be mixed.
    """
    import tomli_w

    named = {} if evaluation is None else {"evaluation": evaluation}
    text = tomli_w.dumps({**named, **_plain(recipe)})
    if path.is_file() and any(other != path for other in path.parent.iterdir()):
        if path.read_text(encoding="utf-8") != text:
            raise RecipeError(
                "another recipe has its results here",
                path=path,
                remedy="Choose another folder with --out, or use this recipe.",
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            part.name: _plain(getattr(value, part.name))
            for part in dataclasses.fields(value)
            if getattr(value, part.name) is not None
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value


def _override(table: dict[str, Any], override: str) -> str:
    """Changes the value that an override names, and returns its dotted key; items of a list by number."""
    key, sign, text = override.partition("=")
    key = key.strip()
    if not sign or not all(key.split(".")):
        raise RecipeError(
            f'expected KEY=VALUE, found "{override}"', remedy=f"Write {key.strip('.') or 'KEY'}={text or 'VALUE'}."
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    *steps, last = key.split(".")
    place: Any = table
    exact: list[str] = []
    for step in steps:
        if isinstance(place, list):
            number = _item(place, step, exact)
            place = place[number]
            exact.append(str(number))
        else:
            place = place.setdefault(step, {})
            exact.append(step)
        if not isinstance(place, (dict, list)):
            raise RecipeError(f"{step} is a plain value", field=key, remedy="Only tables have keys.")
    if isinstance(place, list):
        raise RecipeError("is a list of tables", field=".".join(steps), remedy="Name a key of one of its items.")
    place[last] = value
    return ".".join((*exact, last))


def _item(items: list[Any], step: str, before: Sequence[str]) -> int:
    """Returns the number of the item that `step` numbers or names."""
    if step.isdecimal() and int(step) < len(items):
        return int(step)
    names = [str(item.get("name", "")) for item in items if isinstance(item, dict)]
    if names.count(step) == 1:
        return names.index(step)
    raise RecipeError(f'has no single item "{step}"', field=".".join(before), remedy=closest(step, names))


def convert(kind: Any, value: Any, field: str) -> Any:
    """Returns a TOML value as the type `kind`: a dataclass, a scalar, `Literal`, tuple, mapping or one of them or None.

    Raises:
        RecipeError: it is something else; names `field`.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _table(typing.cast(type[Any], kind), value, field)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return convert(next(part for part in arguments if part is not type(None)), value, field)
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in arguments):  # True == 1, and is none
            raise RecipeError(f"{value!r} is not allowed", field=field, remedy=closest(str(value), map(str, arguments)))
        return value
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is not Ellipsis and len(arguments) != len(value):
            raise RecipeError(
                f"expected {len(arguments)} values, found {len(value)}",
                field=field,
                remedy=f"Give a list of {len(arguments)}.",
            )
        parts = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(
            convert(part, entry, f"{field}.{n}") for n, (part, entry) in enumerate(zip(parts, value, strict=True))
        )
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: convert(arguments[1], entry, f"{field}.{key}") for key, entry in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise RecipeError(
        f"expected {_words(kind)}, found {_words(type(value))} {value!r}",
        field=field,
        remedy=_example(kind, field),
    )


def _table(kind: type[T], value: Any, field: str) -> T:
    if not isinstance(value, dict):
        raise RecipeError(f"expected a table, found {value!r}", field=field, remedy=f"Write [{field}].")
    kinds = typing.get_type_hints(kind)
    prefix = f"{field}." if field else ""
    for key in value:
        if key not in kinds:
            raise RecipeError("unknown key", field=f"{prefix}{key}", remedy=closest(key, kinds))
    for part in dataclasses.fields(kind):  # type: ignore[arg-type]  # only dataclasses come here
        required = part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING
        if required and part.name not in value:
            raise RecipeError("missing key", field=f"{prefix}{part.name}", remedy=f"Add {part.name}.")
    converted = {key: convert(kinds[key], entry, f"{prefix}{key}") for key, entry in value.items()}
    try:
        return kind(**converted)
    except RecipeError as error:  # a dataclass knows its fields, and not where it lies
        name = f"{prefix}{error.field}" if error.field else field
        raise RecipeError(error.problem, field=name or None, remedy=error.remedy) from None


def _words(kind: Any) -> str:
    names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
    return names.get(kind, "a table" if typing.get_origin(kind) is not tuple and kind is not tuple else "a list")


def _example(kind: Any, field: str) -> str:
    examples = {str: '"text"', int: "3", float: "0.1", bool: "true"}
    key = field.rpartition(".")[2]
    if kind in examples:
        return f"Write it as {examples[kind]}." if key.isdecimal() else f"Write it as in {key} = {examples[kind]}."
    return "Write it in brackets: [..., ...]." if _words(kind) == "a list" else f"Write [{field}]."


def _line_of(text: str, field: str) -> int | None:
    """Returns the line in which a dotted key stands, or its table if it is not written out; None if neither is."""
    seen = _lines(text)
    while field and field not in seen:
        field = field.rpartition(".")[0]
    return seen.get(field)


def _stands(text: str, field: str) -> bool:
    return field in _lines(text)


def _lines(text: str) -> dict[str, int]:
    """Returns the line of each dotted key and table, items of a list by number."""
    seen: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line):
            table = header[2]
            seen.setdefault(table, number)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
            for listed, count in counts.items():
                if table == listed or table.startswith(f"{listed}."):
                    table = f"{listed}.{count}{table.removeprefix(listed)}"
            seen.setdefault(table, number)
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            seen.setdefault(f"{table}.{key[1]}" if table else key[1], number)
    return seen
