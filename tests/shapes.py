"""Checks the array shapes that functions declare, at every call while the tests run.

    def pool(hidden: Float[Tensor, "row token width"], real: Bool[Tensor, "row token"]) -> Float[Tensor, "row width"]

jaxtyping's import hook decorates every function and dataclass of the packages; here only those that declare an array
are wrapped, and of those only the arrays are checked. mypy has checked the rest, and a test should not be slow.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import jaxtyping
import torch
from beartype import beartype

__all__ = ["check", "install"]

ARRAY = re.compile(r"\b(Float|Int|Bool)\[")
PACKAGES = ("kelm", "kg", "multilingual")
_jaxtyped = jaxtyping.jaxtyped


class _Scope(dict[str, Any]):
    """Names of a module; a word that it lacks stands for itself, as the axis in ``Int[Tensor, "target"]`` does."""

    def __missing__(self, name: str) -> Any:
        builtin = __builtins__.get(name) if isinstance(__builtins__, dict) else getattr(__builtins__, name, None)
        return name if builtin is None else builtin


def install() -> None:
    """Decorates `PACKAGES`; has to run before their first import."""
    jaxtyping.jaxtyped = lambda *, typechecker: check  # what the hook's decorators call
    jaxtyping.install_import_hook(list(PACKAGES), "beartype.beartype")


def check(thing: Any) -> Any:
    """Returns the function or class with its array annotations checked; others as they are."""
    if inspect.isclass(thing):
        if "__init__" in vars(thing) and "__dataclass_fields__" in vars(thing):
            thing.__init__ = _checked(thing.__init__)  # type: ignore[misc]
        return thing
    return _checked(thing) if inspect.isfunction(thing) else thing


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    notes = {name: note for name, note in function.__annotations__.items() if ARRAY.search(str(note))}
    if not notes:
        return function
    scope = _Scope(function.__globals__)
    evaluated = {name: eval(note, scope) if isinstance(note, str) else note for name, note in notes.items()}
    plain = dict(function.__annotations__)
    function.__annotations__ = {name: evaluated.get(name, Any) for name in plain}
    slow = _jaxtyped(function, typechecker=beartype)
    function.__annotations__ = plain

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        compiling = torch.compiler.is_compiling()  # a graph has no room for checks
        return (function if compiling else slow)(*arguments, **options)

    return call
