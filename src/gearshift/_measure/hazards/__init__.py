"""Tell from a function's code on which engines its result could change.

Apart from `_choose`, which weighs speed: this says what speed may not buy. `code` finds what a
function does to things that it did not make; here they are looked up as they are now, and calls
are followed three deep. It runs none of the user's code, takes no lock, and never raises.

    function -> frame (its code's effects; its globals, closure, arguments) -> verdict
                  |  ^
                  +--+ calls, three deep at most, each code once for the same arguments

A false alarm costs speed and a miss costs a wrong result; docs/limits.md says what is missed.
"""

from __future__ import annotations

import builtins
from itertools import takewhile
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from gearshift._measure.hazards.calls import Calls, first_label
from gearshift._measure.hazards.code import effects_of
from gearshift._measure.hazards.frames import Arguments, Frame
from gearshift._measure.hazards.judge import KNOWN_METHODS, Verdict, is_cache
from gearshift._measure.hazards.known import CHANGING, CONTAINERS, PARTS, is_lock
from gearshift._measure.hazards.look import MISSING
from gearshift._measure.hazards.nodes import subnodes
from gearshift._measure.hazards.things import (
    ATOMS,
    ITEM,
    OWN,
    Thing,
    attribute_of,
    isinstance_of,
    part_of,
    shared,
)
from gearshift.plans import Hazards

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift._measure.hazards.nodes import Effect
    from gearshift._measure.hazards.things import Things

__all__ = ["hazards_of"]

_LOOKING = {"type": "__class__", "vars": "__dict__"}  # what these functions look up
_MOST_FRAMES = 200  # functions that are looked at, so that a large library costs 20 ms at most


def hazards_of(function: Callable[..., Any]) -> Hazards:
    """Return on which engines a function's result could change, as far as its code tells.

    Args:
        function: The function that is to be given the items: anything callable.

    Returns:
        One reason at most for each engine.
    """
    search = _Search()
    verdict = search.verdict
    try:
        search.start(function)
    except Exception as broken:  # an odd object, or our fault: to go on would be a guess
        words = f"its code could not be checked ({type(broken).__name__}: {broken})"
        verdict.say(words, threads=True, processes=True)
    return Hazards(verdict.no_threads, verdict.no_processes)


class _Search:
    """The way from a function through what it calls."""

    def __init__(self) -> None:
        self.verdict = Verdict()
        self._calls = Calls(self.verdict, self._run)
        self._seen: dict[tuple[Any, ...], Things] = {}  # what each frame returns
        self._frames: list[Frame] = []  # kept, so that no other object gets an `id` of theirs

    def start(self, function: Any) -> None:
        """Look at the function that is given the items."""
        thing = shared(function, first_label(function))
        nobody = Frame(_nobody.__code__, {}, {}, {}, depth=-1, locked=False)
        nobody.who = "it"
        self.verdict.used(nobody, thing, locked=False, refills=False)
        self._calls.call(nobody, thing, Arguments(((ITEM,),), {}, (ITEM,)), locked=False)

    def _run(self, frame: Frame) -> Things:
        """Judge what a function does, and return what it may return."""
        key = _key(frame, self.verdict)
        if key in self._seen:
            return self._seen[key]
        if len(self._seen) >= _MOST_FRAMES:
            return (OWN,)
        self._seen[key] = (OWN,)  # what a recursion finds
        self._frames.append(frame)
        found = effects_of(frame.code)
        for effect in found.effects:
            if self.verdict.is_final:
                return (OWN,)
            _EFFECTS[effect.kind](self, frame, effect, locked=self._is_locked(frame, effect))
        for code in found.nested:
            self._calls.made(frame, code, Arguments(), locked=frame.locked)
        self._seen[key] = frame.resolved(found.returns)
        return self._seen[key]

    def _is_locked(self, frame: Frame, effect: Effect) -> bool:
        if frame.locked or not effect.locks:
            return frame.locked
        held = frame.resolved(effect.locks)
        return any(thing.kind == "shared" and is_lock(thing.value) for thing in held)

    # Effects

    def bind(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """A global, or a variable of a function around it, is bound."""
        name = effect.node.name
        if frame.is_trusted or (effect.node.kind == "free" and name in frame.own):
            return
        what = "the global" if effect.node.kind == "global" else "the nonlocal"
        if not _fills(frame, effect):
            self.verdict.changed(
                frame, shared(MISSING, f"{what} {name}"), locked=locked, verb="sets"
            )

    def set_attribute(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """An attribute is set or deleted."""
        if _fills(frame, effect):
            return
        for thing in frame.resolve(effect.node):
            if isinstance_of(thing.value, ATOMS):
                continue  # a default, such as None, that is replaced before
            place = thing._replace(value=MISSING, label=f"{thing.label}.{effect.name}")
            self.verdict.changed(frame, place, locked=locked, verb="sets")

    def set_item(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """An item is set or deleted."""
        fills = _fills(frame, effect)
        for thing in frame.resolve(effect.node):
            if not fills and not (is_cache(thing) and not effect.derived):
                self.verdict.changed(frame, thing, locked=locked)

    def set_in_place(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """`+=` and its like: what cannot be changed is replaced."""
        for thing in frame.resolve(effect.node):
            if thing.kind == "shared" and _changes_in_place(thing.value):
                self.verdict.changed(frame, thing, locked=locked)

    def load(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """Something is used."""
        node = effect.node
        for thing in frame.resolve(node):
            self.verdict.used(frame, thing, locked=locked, refills=effect.checked)
        if node.kind == "attr":
            for owner in frame.resolve(node.parts[0]):
                self._load_attribute(frame, owner, node.name, locked=locked)

    def _load_attribute(self, frame: Frame, owner: Thing, name: str, *, locked: bool) -> None:
        """Judge a method of which no more than the name is known."""
        if owner.kind == "shared" and owner.value is not MISSING:
            method = attribute_of(owner, name).value
            is_known = type(method) in KNOWN_METHODS or not callable(method)
            if is_known or isinstance_of(owner.value, (type, ModuleType)):
                return
            self.verdict.moves(frame, owner, name)
        if name in CHANGING and not is_cache(owner):
            self.verdict.changed(frame, owner, locked=locked)

    def follow(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """Something is called."""
        names: tuple[str, ...] = effect.name or ()
        count = len(effect.parts) - len(names)
        given = [frame.resolve(part) for part in effect.parts]
        arguments = Arguments(tuple(given[:count]), dict(zip(names, given[count:], strict=True)))
        found = self._special(frame, effect, arguments)
        if found is None:
            found = ()
            for thing in frame.resolve(effect.node):
                found += self._calls.call(frame, thing, arguments, locked=locked)
        frame.called[effect.name, effect.node, *effect.parts] = found

    def _special(self, frame: Frame, effect: Effect, arguments: Arguments) -> Things | None:
        """Return what a call gives that hands out what others see, or None."""
        node = effect.node
        if node.kind == "attr" and node.name in PARTS:
            owners = frame.resolve(node.parts[0])
            if all(owner.kind != "shared" or not _is_written(owner, node.name) for owner in owners):
                if node.name == "__enter__":
                    return owners
                return tuple(part for owner in owners for part in part_of(owner))
        if node.kind != "global" or frame.variable(node.name) is not vars(builtins).get(node.name):
            return None
        if node.name == "globals":
            return (shared(frame.names, "the globals of its module"),)
        name = _LOOKING.get(node.name)
        if node.name == "getattr" and len(effect.parts) > 1:
            name = effect.parts[1].name
        if isinstance(name, str) and arguments.positional:
            return tuple(attribute_of(each, name) for each in arguments.positional[0])
        return None

    def follow_spread(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """Something is called with `*` or `**`."""
        many = effect.parts[0]
        first = many.parts if many.kind == "fresh" else ()
        plain = list(takewhile(lambda part: part.kind != "part", first))
        left = (*first[len(plain) :], effect.parts[1]) if first else effect.parts
        rest = tuple(
            thing
            for node in left
            for each in frame.resolve(node)
            for thing in ((each,) if node.kind == "part" else part_of(each))
        )
        arguments = Arguments(tuple(frame.resolve(node) for node in plain), {}, rest)
        found: Things = ()
        for thing in frame.resolve(effect.node):
            found += self._calls.call(frame, thing, arguments, locked=locked)
        frame.called[effect.name, effect.node, *effect.parts] = found

    def iterate(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """Something is iterated."""
        self.verdict.iterated(frame, frame.resolve(effect.node))

    def enter(self, frame: Frame, effect: Effect, *, locked: bool) -> None:
        """A `with` begins, or a lock is acquired: it guards something that others see."""
        if any(
            each.checked for each in effects_of(frame.code).effects if effect.node in each.locks
        ):
            return  # a cache, which every process may fill for itself
        for thing in frame.resolve(effect.node):
            if thing.kind == "shared" and is_lock(thing.value):
                words = f"{frame.who} holds {thing.label}, and every process would have its own"
                self.verdict.say(words, threads=False, processes=True)


def _key(frame: Frame, verdict: Verdict) -> tuple[Any, ...]:
    """Return what tells one look at a function from another."""
    names = {**frame.free, **frame.arguments}
    return (
        frame.code,
        frame.depth,
        frame.locked,
        verdict.vouched_threads,
        verdict.vouched_processes,
        tuple((name, *map(_identity, things)) for name, things in names.items()),
    )


def _identity(thing: Thing) -> tuple[Any, ...]:
    return (thing.kind, id(thing.value), *map(_identity, thing.inner))


def _fills(frame: Frame, effect: Effect) -> bool:
    """Whether a place that was found empty is filled with what any other task would put there.

    A constant there says that something has happened, and what is made of an item says
    which item was first: neither is a cache.
    """
    if not effect.checked or effect.derived or not effect.parts:
        return False
    value, *key = effect.parts
    if value.kind == "const":
        return False
    if key and key[0].kind != "const":
        return True
    made_from = (thing for each in subnodes(value) for thing in frame.resolve(each))
    return all(thing.kind != "item" for thing in made_from)


def _changes_in_place(value: object) -> bool:
    return value is not MISSING and (
        isinstance_of(value, (*CONTAINERS, set)) or hasattr(type(value), "__iadd__")
    )


def _is_written(owner: Thing, name: str) -> bool:
    """Whether a method is written in Python, so that it can be followed."""
    method = attribute_of(owner, name).value
    return type(method) is MethodType and not isinstance_of(owner.value, CONTAINERS)


def _nobody() -> None: ...


_EFFECTS = {
    "name": _Search.bind,
    "attr": _Search.set_attribute,
    "item": _Search.set_item,
    "inplace": _Search.set_in_place,
    "load": _Search.load,
    "call": _Search.follow,
    "spread": _Search.follow_spread,
    "loop": _Search.iterate,
    "with": _Search.enter,
}
