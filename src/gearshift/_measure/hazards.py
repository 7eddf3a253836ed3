"""Say which engines may never run a function, because its result could change there.

Reads bytecode, not source, so that lambdas and functions typed at a prompt count, too. It follows
calls three deep, into the program's own code: libraries are taken to be safe beside themselves. What
it looks for are objects that calls share (globals, closures, `self`, defaults, the item) and what is
done to them. A miss costs a wrong result and a false alarm costs speed; docs/limits.md says what cannot
be seen. Nothing of the user's is called, and nothing is cached: 0.1 to 1 ms once a run, where
workers are about to start.
"""

from __future__ import annotations

import sys
from functools import partial
from inspect import getattr_static
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from gearshift._measure.code import Call, Found, Scope, Shared, read_code
from gearshift.plans import Hazards

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["hazards_of"]

_DEPTH = 3  # calls that are followed
_LIBRARIES = ("site-packages", "dist-packages")


def hazards_of(function: Callable[..., Any], item: Any = None) -> Hazards:
    """Return why threads, or processes, might change what a function does.

    Args:
        function: The function; a partial, a method, an object with `__call__` too.
        item: One of its items, where one is at hand: it tells whether `x += y` changes an item.

    Returns:
        The hazards, with what `gs.task` says of the function taken into account.
    """
    search = _Search(item)
    try:
        search.look(Call(function, [Shared(None, "the item", is_item=True)], is_locked=False), 0)
    except (
        Exception
    ):  # an object whose attributes raise when they are looked at: nothing is known of it
        search.found.clear()
    no_threads = next((each.words for each in search.found if each.is_on_threads), None)
    no_processes = next((each.words for each in search.found if each.is_on_processes), None)
    return _vouched(function, Hazards(no_threads, no_processes))


def _vouched(function: Any, hazards: Hazards) -> Hazards:
    """Let what the author says by `gs.task` overrule what was found."""
    while isinstance(function, partial):
        function = function.func
    said = getattr_static(function, "__gearshift_task__", None)
    if said is None and not isinstance(function, type):
        said = getattr_static(type(function), "__gearshift_task__", None)
    if said is None:
        return hazards
    by_answer = {None: hazards.no_threads, True: None, False: said.reason}
    no_threads = by_answer[said.threads]
    by_answer[None] = hazards.no_processes
    return Hazards(no_threads, by_answer[said.processes])


class _Search:
    """What was found so far, and where it looked already."""

    def __init__(self, item: Any) -> None:
        self.found: list[Found] = []
        self._item = item
        self._seen: set[Any] = set()
        self._home = ""

    def look(self, call: Call, depth: int) -> None:
        """Look at a call, and at those that it makes."""
        function, arguments = _unwrapped(call.function, call.arguments)
        if not isinstance(function, FunctionType):
            return
        if depth == 0:
            self._home = function.__module__ or ""
        elif _is_library(function, self._home):
            return
        known = tuple(id(getattr(each, "value", each)) for each in arguments)
        key = (id(function.__code__), known, call.is_locked)
        if key in self._seen:
            return
        self._seen.add(key)
        found, calls = read_code(
            function.__code__, self._scope(function, arguments, call.is_locked)
        )
        self.found += found
        wrapped = getattr_static(function, "__wrapped__", None)
        if wrapped is not None:
            calls.append(Call(wrapped, arguments, call.is_locked))
        if depth < _DEPTH:
            for inner in calls:
                self.look(inner, depth + 1)

    def _scope(self, function: FunctionType, arguments: list[Any], is_locked: bool) -> Scope:  # noqa: FBT001
        names, cells = function.__code__.co_freevars, function.__closure__ or ()
        return Scope(
            globals=function.__globals__,
            closure=dict(zip(names, map(_cell, cells), strict=False)),
            locals=_parameters(function, arguments),
            item=self._item,
            is_locked=is_locked,
        )


def _unwrapped(function: Any, arguments: list[Any]) -> tuple[Any, list[Any]]:
    """Return the plain function inside partials, methods and callable objects, and its arguments."""
    for _ in range(10):
        if isinstance(function, partial):
            given = [_shared(each, "an argument of the partial") for each in function.args]
            function, arguments = function.func, [*given, *arguments]
        elif isinstance(function, MethodType):
            arguments = [
                _shared(function.__self__, f"its object ({type(function.__self__).__name__})"),
                *arguments,
            ]
            function = function.__func__
        elif isinstance(function, type):
            init = getattr_static(function, "__init__", None)
            function, arguments = init, [None, *arguments]
        elif hasattr(type(function), "cache_info") or isinstance(function, FunctionType):
            inner = getattr_static(function, "__wrapped__", None)
            if isinstance(function, FunctionType) or inner is None:
                return function, arguments
            function = inner
        elif isinstance(function, staticmethod | classmethod):
            function = function.__func__
        else:
            call = getattr_static(type(function), "__call__", None)
            if not isinstance(call, FunctionType):
                return function, arguments
            arguments = [_shared(function, f"its object ({type(function).__name__})"), *arguments]
            function = call
    return function, arguments


def _shared(value: Any, name: str) -> Any:
    return value if isinstance(value, Shared) else Shared(value, name)


def _parameters(function: FunctionType, arguments: list[Any]) -> dict[str, Any]:
    """Return what is known of a function's parameters, by name."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    known: dict[str, Any] = {}
    defaults = function.__defaults__ or ()
    for name, value in zip(names[len(names) - len(defaults) :], defaults, strict=False):
        known[name] = Shared(value, f"the default of {name}")
    for name, value in (function.__kwdefaults__ or {}).items():
        known[name] = Shared(value, f"the default of {name}")
    known.update(zip(names, arguments, strict=False))
    if code.co_flags & 0x04 and len(arguments) > len(names):  # *args
        known[code.co_varnames[code.co_argcount + code.co_kwonlyargcount]] = Shared(
            None, "the item", is_item=any(getattr(each, "is_item", False) for each in arguments)
        )
    return known


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _is_library(function: FunctionType, home: str) -> bool:
    """Whether a function is of the standard library, or of an installed package that is not looked at itself."""
    name = function.__module__ or ""
    top = name.partition(".")[0]
    if top == home.partition(".")[0]:
        return False
    if top in sys.stdlib_module_names or top == "gearshift":
        return True
    return any(part in function.__code__.co_filename for part in _LIBRARIES)
