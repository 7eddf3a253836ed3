"""Follow a call to what is called, through everything that Python lets one call.

Apart from `hazards`, which looks at what a function does itself: functions, bound methods, partials,
classes, instances with `__call__`, decorated functions, and code written in C, of which only
the name is known. Invariant: nothing is called here.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, Any

from gearshift._measure.hazards.code import effects_of
from gearshift._measure.hazards.frames import Arguments, Frame, bound, free_of
from gearshift._measure.hazards.judge import changes, is_cache
from gearshift._measure.hazards.known import (
    CHANGING,
    GIVING,
    HARMLESS,
    TRUSTED,
    changes_first,
    name_of,
    outside,
)
from gearshift._measure.hazards.look import MISSING, instance_attribute, own_attribute
from gearshift._measure.hazards.things import OWN, Thing, isinstance_of, made_here, part_of, shared
from gearshift.plans import Declared

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift._measure.hazards.judge import Verdict
    from gearshift._measure.hazards.things import Things

__all__ = ["Calls", "first_label", "is_installed", "is_of_library"]

_DEEPEST = 3  # calls
_DEEPEST_IN_LIBRARY = 2  # what can be found there is an item that is changed
_WRITTEN_IN_C = (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
_WRITTEN_IN_PYTHON = (FunctionType, MethodType)
_PLAIN = (*_WRITTEN_IN_PYTHON, *_WRITTEN_IN_C)
_UNBOUND = (MethodDescriptorType, WrapperDescriptorType)
_PASSING = frozenset({"next", "min", "max", "anext", "reduce"})
_HOLDING = frozenset(
    [
        "iter",
        "reversed",
        "enumerate",
        "zip",
        "sorted",
        "list",
        "tuple",
        "filter",
        "map",
        "dict",
        "set",
        "frozenset",
        "deque",
        "chain",
        "islice",
    ]
)
_LIBRARY = os.__file__.removesuffix("os.py")
_INSTALLED = ("site-packages", "dist-packages")


class Calls:
    """What is called, followed; what it says goes to a verdict."""

    def __init__(self, verdict: Verdict, run: Callable[[Frame], Things]) -> None:
        """Keep where verdicts go, and what looks at a function and says what it returns."""
        self.verdict = verdict
        self._run = run
        self._home = ""  # package of the function in question

    def call(self, frame: Frame, thing: Thing, arguments: Arguments, *, locked: bool) -> Things:
        """Follow a call and return what it may return."""
        value = thing.value
        if thing.kind == "own" and type(value) is CodeType:
            return self.made(frame, value, arguments, locked=locked)
        if thing.kind != "shared" or value is MISSING or self.verdict.is_final:
            return (OWN,)
        before = self.verdict.vouched_threads, self.verdict.vouched_processes
        self._declared(thing)
        try:
            return self._followed(frame, thing, arguments, locked=locked)
        finally:
            self.verdict.vouched_threads, self.verdict.vouched_processes = before

    def _declared(self, thing: Thing) -> None:
        """Heed what the author says of a function."""
        value = thing.value
        said = own_attribute(value, "__gearshift_task__")
        if said is MISSING and not isinstance_of(value, (type, *_PLAIN)):
            said = instance_attribute(type(value), "__gearshift_task__", value)
        if type(said) is not Declared:
            return
        words = f"its author says so: {said.reason}"
        self.verdict.say(words, threads=said.threads is False, processes=said.processes is False)
        self.verdict.vouched_threads |= said.threads is True
        self.verdict.vouched_processes |= said.processes is True

    def _followed(
        self, frame: Frame, thing: Thing, arguments: Arguments, *, locked: bool
    ) -> Things:
        found = outside(thing.value)
        if found is not None:
            if not (frame.is_trusted and "warnings" in found[0]):
                words = f"{frame.who} {found[0]}, which all tasks share"
                self.verdict.say(words, threads=True, processes=found[1])
            return (OWN,)
        if changes_first(thing.value) and arguments.positional:
            self._change(frame, arguments.positional[0], locked=locked)
        kind = type(thing.value)
        if kind not in _WRITTEN_IN_PYTHON:  # NumPy's way to return in place
            self._change(frame, arguments.keywords.get("out", ()), locked=locked)
        if kind is FunctionType:
            follow = self._function
        elif kind is MethodType:
            follow = self._method
        elif kind in _WRITTEN_IN_C:
            follow = self._builtin
        elif issubclass(kind, partial):
            follow = self._partial
        elif issubclass(kind, type):
            follow = self._class
        else:
            follow = self._object
        return follow(frame, thing, arguments, locked=locked)

    def _partial(self, frame: Frame, thing: Thing, arguments: Arguments, *, locked: bool) -> Things:
        value: partial[Any] = thing.value
        first = [(shared(each, "an argument of its partial"),) for each in value.args]
        named = {
            name: (shared(each, f"the argument {name} of its partial"),)
            for name, each in value.keywords.items()
        }
        more = Arguments(
            (*first, *arguments.positional), {**named, **arguments.keywords}, arguments.rest
        )
        for each in value.args:  # a method that is handed to who calls it
            self.verdict.used(frame, shared(each, first_label(each)), locked=locked, refills=False)
        inner = shared(value.func, first_label(value.func))
        self.verdict.used(frame, inner, locked=locked, refills=False)
        return self.call(frame, inner, more, locked=locked)

    def _method(self, frame: Frame, thing: Thing, arguments: Arguments, *, locked: bool) -> Things:
        function, owner = thing.value.__func__, thing.value.__self__
        if changes(thing.value):
            return (OWN,)  # judged when it was loaded
        if type(owner) is not Thing:
            name = getattr(function, "__name__", "")
            owner = shared(owner, thing.label.removesuffix(f".{name}"))
        return self.call(
            frame, shared(function, thing.label), arguments.after((owner,)), locked=locked
        )

    def _class(self, frame: Frame, thing: Thing, arguments: Arguments, *, locked: bool) -> Things:
        kind = thing.value
        own = Thing("own", kind)
        for name in ("__new__", "__init__"):
            found = instance_attribute(kind, name, own)
            if type(found) is MethodType:
                self.call(frame, shared(found, kind.__name__), arguments, locked=locked)
            elif type(found) is FunctionType:
                self.call(
                    frame, shared(found, kind.__name__), arguments.after((OWN,)), locked=locked
                )
        if name_of(kind)[0] in {"builtins", "itertools", "collections"}:
            return self._builtin(frame, thing, arguments, locked=locked)
        return (own,)

    def _object(self, frame: Frame, thing: Thing, arguments: Arguments, *, locked: bool) -> Things:
        """Follow an instance that can be called, or somebody's wrapper written in C."""
        value = thing.value
        for name in ("__wrapped__", "py_func"):
            inner = own_attribute(value, name)
            if type(inner) is FunctionType:
                self.call(frame, shared(inner, thing.label), arguments, locked=locked)
                if name == "__wrapped__" and type(value).__name__ == "_lru_cache_wrapper":
                    return (shared(MISSING, f"what {inner.__name__}() keeps"),)
        method = instance_attribute(type(value), "__call__", value)
        if type(method) is MethodType:
            return self.call(
                frame,
                shared(method.__func__, thing.label),
                arguments.after((thing,)),
                locked=locked,
            )
        return (OWN,)

    def _builtin(self, frame: Frame, thing: Thing, arguments: Arguments, *, locked: bool) -> Things:
        """Judge a call of code that is written in C."""
        value = thing.value
        name = value.__name__
        positional = arguments.positional
        if name not in HARMLESS:
            self.verdict.iterated(frame, arguments.all())
        if positional and type(value) in _UNBOUND and name in CHANGING:
            self._change(frame, positional[0], locked=locked)
        if positional and name == "at" and type(value.__self__).__name__ == "ufunc":
            self._change(frame, positional[0], locked=locked)
        given = arguments.all()
        self._call_arguments(frame, given, locked=locked)
        parts = tuple(part for each in given for part in part_of(each))
        label = GIVING.get((getattr(value, "__module__", ""), name))
        if label is not None:
            return (shared(MISSING, label),)
        if name in _PASSING:
            return parts
        return (made_here(parts),) if name in _HOLDING else (OWN,)

    def _change(self, frame: Frame, things: Things, *, locked: bool) -> None:
        for thing in things:
            if not is_cache(thing):
                self.verdict.changed(frame, thing, locked=locked)

    def _call_arguments(self, frame: Frame, given: Things, *, locked: bool) -> None:
        """Follow functions that are handed on: whoever gets them will call them."""
        others = tuple(part for each in given for part in part_of(each) if part is not OWN)
        for each in given:
            if type(each.value) in {FunctionType, MethodType, CodeType}:
                self.call(frame, each, Arguments((), {}, others), locked=locked)

    def _function(
        self, frame: Frame, thing: Thing, arguments: Arguments, *, locked: bool
    ) -> Things:
        function: FunctionType = thing.value
        wrapped = own_attribute(function, "__wrapped__")
        if type(wrapped) is FunctionType:
            self.call(frame, shared(wrapped, thing.label), arguments, locked=locked)
        depth = frame.depth + 1
        module = str(function.__globals__.get("__name__", ""))
        deepest = _DEEPEST_IN_LIBRARY if frame.is_trusted else _DEEPEST
        if depth > deepest or (depth and module.partition(".")[0] in TRUSTED):
            self._call_arguments(frame, arguments.all(), locked=locked)
            return (OWN,)
        code = function.__code__
        given = bound(code, arguments, _defaults(function))
        inner = Frame(
            code, function.__globals__, free_of(function), given, depth=depth, locked=locked
        )
        if depth == 0:
            self._home = module.partition(".")[0]
        is_elsewhere = is_of_library(function) or (
            is_installed(function) and module.partition(".")[0] != self._home
        )
        inner.is_trusted = is_elsewhere and not _has_shared_self(inner)
        return self._run(inner)

    def made(self, frame: Frame, code: CodeType, arguments: Arguments, *, locked: bool) -> Things:
        """Look at a function that a function makes, such as a lambda or a comprehension."""
        if code not in effects_of(frame.code).nested:
            return (OWN,)  # handed in; its maker looks at it
        cells = effects_of(frame.code).cells
        free, own = {}, set(frame.own)
        for name in code.co_freevars:
            if name in frame.code.co_freevars:
                free[name] = frame.free.get(name, (OWN,))
            else:
                own.add(name)
                free[name] = frame.resolve(cells[name]) if name in cells else (OWN,)
        given = bound(code, arguments, {})
        inner = Frame(
            code, frame.names, free, given, depth=frame.depth, locked=locked, own=frozenset(own)
        )
        inner.is_trusted = frame.is_trusted
        return self._run(inner)


def first_label(function: Any) -> str:
    """Return a label of which the name of a bound method can be taken away."""
    kind = type(function)
    if kind is MethodType:
        return f"self.{getattr(function.__func__, '__name__', '')}"
    if kind in {BuiltinFunctionType, MethodWrapperType}:
        return f"the {type(function.__self__).__name__} of its method.{function.__name__}"
    return "self"


def _defaults(function: FunctionType) -> dict[str, Any]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    by_place = zip(reversed(names), reversed(function.__defaults__ or ()), strict=False)
    return {**dict(by_place), **(function.__kwdefaults__ or {})}


def is_of_library(function: FunctionType) -> bool:
    """Whether a function is of the standard library, whose own data is its own business."""
    name = str(function.__globals__.get("__name__", "")).partition(".")[0]
    file = function.__code__.co_filename
    return name in sys.stdlib_module_names and (
        file.startswith("<frozen ") or (file.startswith(_LIBRARY) and "site-packages" not in file)
    )


def is_installed(function: FunctionType) -> bool:
    """Whether a function is of an installed package, whose data is its own business unless it is looked at itself."""
    return any(part in function.__code__.co_filename for part in _INSTALLED)


def _has_shared_self(frame: Frame) -> bool:
    """Whether it is a method of an object that the tasks share."""
    first = frame.code.co_varnames[:1]
    return first == ("self",) and any(
        thing.kind == "shared" and thing.value is not MISSING for thing in frame.arguments["self"]
    )
