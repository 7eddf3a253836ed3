"""What a name stands for while a function runs: shared, the item's, or the function's own.

Apart from `hazards`, which judges what is done to it. Invariant: a thing that nobody else can
see has no value here, so nothing done to it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gearshift._measure.hazards.known import is_iterator
from gearshift._measure.hazards.look import MISSING, attribute, instance_attribute

if TYPE_CHECKING:
    from types import CodeType

__all__ = [
    "ATOMS",
    "ITEM",
    "OWN",
    "Thing",
    "Things",
    "attribute_of",
    "item_of",
    "made_here",
    "part_of",
    "shared",
]


class Thing(NamedTuple):
    """One thing that a name may stand for.

    Attributes:
        kind: "shared" with others, the "item" or a part of it, or the function's "own".
        value: The object, where it is known; of its own thing, a class or a function's code.
        label: What to call it in a sentence.
        inner: What a container of its own holds.
    """

    kind: Literal["shared", "item", "own"]
    value: Any = MISSING
    label: str = ""
    inner: tuple[Thing, ...] = ()


Things = tuple[Thing, ...]
OWN = Thing("own")
ITEM = Thing("item", MISSING, "the item that it is given")
_WITHOUT_PARTS = (int, float, complex, str, bytes, type(None), range)
_SHORT = 8  # a tuple is looked into so far
ATOMS = (int, float, complex, str, bytes, frozenset, tuple, type(None), range)  # never change


def shared(value: Any, label: str) -> Thing:
    """Return a thing that others can see."""
    return Thing("shared", value, label)


def made_here(things: Things) -> Thing:
    """Return a container of the function's own that holds these."""
    return Thing("own", MISSING, "", things)


def code_made_here(code: CodeType) -> Thing:
    """Return a function that the function makes."""
    return Thing("own", code)


def attribute_of(thing: Thing, name: str) -> Thing:
    """Return an attribute of it."""
    if thing.kind == "item":
        return thing
    if thing.kind == "own":
        if not isinstance(thing.value, type):
            return OWN
        found = instance_attribute(thing.value, name, OWN)  # its methods get what is their own
        return OWN if found is MISSING else shared(found, f"{thing.value.__name__}.{name}")
    label = f"{thing.label}.{name}"
    if thing.value is MISSING:
        return shared(MISSING, label)
    found = attribute(thing.value, name)
    if found is MISSING:  # what a property returns may be made for the caller
        return OWN
    return shared(found, label)


def item_of(thing: Thing, key: Any) -> Thing:
    """Return what lies in it under a key, which is `MISSING` where it is not constant."""
    if thing.kind == "shared" and key is not MISSING and type(thing.value) in {dict, list, tuple}:
        try:
            return shared(thing.value[key], thing.label)
        except Exception:  # not there yet
            return shared(MISSING, thing.label)
    parts = part_of(thing)
    return parts[0] if len(parts) == 1 else made_here(parts)


def part_of(thing: Thing) -> Things:
    """Return what to iterate it gives."""
    if thing.kind == "item":
        return (thing,)
    if thing.kind == "own":
        return thing.inner or (OWN,)
    if type(thing.value) is tuple and len(thing.value) <= _SHORT:
        return tuple(shared(each, thing.label) for each in thing.value) or (OWN,)
    if isinstance_of(thing.value, _WITHOUT_PARTS):
        return (OWN,)
    label = thing.label if thing.value is MISSING else f"a part of {thing.label}"
    return (shared(MISSING, label),)


def iterated(thing: Thing) -> Thing:
    """Return an iterator over it: an iterator is its own."""
    if thing.kind == "shared" and is_iterator(thing.value):
        return thing
    return made_here(part_of(thing))


def isinstance_of(value: object, kinds: tuple[type[Any], ...]) -> bool:
    """Do what `isinstance` does, without asking the object for its `__class__`."""
    return issubclass(type(value), kinds)
