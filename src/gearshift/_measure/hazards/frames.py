"""One function on its way: what its names stand for, and what its values are.

Apart from `hazards`, which goes from function to function. A frame looks up globals, cells
and attributes when they are asked for, so what it says is true now.
"""

from __future__ import annotations

import builtins
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from gearshift._measure.hazards.look import MISSING
from gearshift._measure.hazards.nodes import Node
from gearshift._measure.hazards.things import (
    OWN,
    Things,
    attribute_of,
    code_made_here,
    item_of,
    iterated,
    made_here,
    part_of,
    shared,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Arguments", "Frame", "bound", "free_of"]

_CODE = {BuiltinFunctionType, FunctionType, MethodType, ModuleType, type}
_MANY = 16  # things that one name may stand for; a call's arguments multiply
_SUPER = Node("global", "super")
_VARIABLE_POSITIONAL = 4
_VARIABLE_KEYWORDS = 8


class Arguments(NamedTuple):
    """What a function is called with.

    Attributes:
        positional: Its arguments by place.
        keywords: Its arguments by name.
        rest: What any other parameter may be given.
    """

    positional: tuple[Things, ...] = ()
    keywords: Mapping[str, Things] = {}
    rest: Things = ()

    def all(self) -> Things:
        """Return every argument."""
        many = (*self.positional, *self.keywords.values(), self.rest)
        return tuple(thing for things in many for thing in things)

    def after(self, *first: Things) -> Arguments:
        """Return the same with other arguments before them."""
        return self._replace(positional=(*first, *self.positional))


class Frame:
    """One function with its arguments."""

    def __init__(
        self,
        code: CodeType,
        names: dict[str, Any],
        free: dict[str, Things],
        arguments: dict[str, Things],
        *,
        depth: int,
        locked: bool,
        own: frozenset[str] = frozenset(),
    ) -> None:
        """Set it up.

        Args:
            code: Its code.
            names: Its globals.
            free: The variables that it shares with functions around it.
            arguments: What each parameter is.
            depth: Calls between it and the function in question.
            locked: Its caller holds a lock.
            own: Those of `free` that are made anew in each task.
        """
        self.code = code
        self.names = names
        self.free = free
        self.arguments = arguments
        self.depth = depth
        self.locked = locked
        self.own = own
        self.called: dict[tuple[Any, ...], Things] = {}  # what calls gave, by their nodes
        self.who = _called(code)  # in a sentence
        self.is_trusted = False  # the data of its module is its own business
        self._known: dict[Node, Things] = {}

    def resolve(self, node: Node) -> Things:
        """Return what a value may be."""
        known = self._known.get(node)
        if known is None:
            resolver = _RESOLVERS.get(node.kind)
            known = (OWN,) if resolver is None else resolver(self, node)
            if len(known) > _MANY:
                by_object = {(thing.kind, id(thing.value), thing.label): thing for thing in known}
                known = tuple(by_object.values())[:_MANY]
            self._known[node] = known
        return known

    def resolved(self, nodes: tuple[Node, ...]) -> Things:
        """Return what all of these may be."""
        if len(nodes) == 1:
            return self.resolve(nodes[0])
        return tuple(thing for node in nodes for thing in self.resolve(node))

    def variable(self, name: str) -> Any:
        """Return what a global or built-in name is bound to, or `MISSING`."""
        if name in self.names:
            return self.names[name]
        return vars(builtins).get(name, MISSING)


def _called(code: CodeType) -> str:
    name = code.co_qualname.rpartition("<locals>.")[2]
    return "the lambda" if name == "<lambda>" else f"{name}()"


def _global(frame: Frame, node: Node) -> Things:
    value = frame.variable(node.name)
    if value is MISSING or (frame.is_trusted and type(value) not in _CODE):
        return (OWN,)
    return (shared(value, _label(value, f"the global {node.name}")),)


def _label(value: object, label: str) -> str:
    """Return the plain name of what is known by it."""
    return label.removeprefix("the global ") if type(value) in _CODE else label


def _free(frame: Frame, node: Node) -> Things:
    found = frame.free.get(node.name, (OWN,))
    if frame.is_trusted:
        return tuple(thing for thing in found if type(thing.value) in _CODE) or (OWN,)
    return found


def _argument(frame: Frame, node: Node) -> Things:
    return frame.arguments.get(node.name, (OWN,))


def _import(_frame: Frame, node: Node) -> Things:
    module = sys.modules.get(node.name)
    return (OWN,) if module is None else (shared(module, node.name),)


def _made(_frame: Frame, node: Node) -> Things:
    return (code_made_here(node.name),)


def _attribute(frame: Frame, node: Node) -> Things:
    (owner,) = node.parts
    if owner.kind == "super" or (owner.kind == "call" and owner.parts[0] == _SUPER):
        return _super_attribute(frame, node.name)
    return tuple(attribute_of(thing, node.name) for thing in frame.resolve(owner))


def _super_attribute(frame: Frame, name: str) -> Things:
    """Return the method of a class further up."""
    (cell, *_) = frame.free.get("__class__", (OWN,))
    (owner, *_) = frame.arguments.get(
        frame.code.co_varnames[0] if frame.code.co_argcount else "", (OWN,)
    )
    kind = owner.value if isinstance(owner.value, type) else type(owner.value)
    classes = type.__dict__["__mro__"].__get__(kind)
    if cell.value not in classes:
        return (OWN,)
    for each in classes[classes.index(cell.value) + 1 :]:
        found = vars(each).get(name)
        if type(found) is FunctionType:
            return (shared(MethodType(found, owner), f"{owner.label}.{name}"),)
    return (OWN,)


def _item(frame: Frame, node: Node) -> Things:
    owner, key = node.parts
    constant = key.name if key.kind == "const" else MISSING
    return tuple(item_of(thing, constant) for thing in frame.resolve(owner))


def _part(frame: Frame, node: Node) -> Things:
    return tuple(part for thing in frame.resolved(node.parts) for part in part_of(thing))


def _iter(frame: Frame, node: Node) -> Things:
    return tuple(iterated(thing) for thing in frame.resolved(node.parts))


def _fresh(frame: Frame, node: Node) -> Things:
    return (made_here(frame.resolved(node.parts)),)


def _either(frame: Frame, node: Node) -> Things:
    return frame.resolved(node.parts)


def _inplace(frame: Frame, node: Node) -> Things:
    return frame.resolve(node.parts[0])


def _call(frame: Frame, node: Node) -> Things:
    return frame.called.get((node.name, *node.parts), (OWN,))


_RESOLVERS: dict[str, Callable[[Frame, Node], Things]] = {
    "attr": _attribute,
    "call": _call,
    "free": _free,
    "fresh": _fresh,
    "global": _global,
    "import": _import,
    "inplace": _inplace,
    "item": _item,
    "iter": _iter,
    "made": _made,
    "mix": _either,
    "param": _argument,
    "part": _part,
    "spread": _call,
}


def bound(code: CodeType, arguments: Arguments, defaults: Mapping[str, Any]) -> dict[str, Things]:
    """Return what each parameter of the code is given."""
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    places = names[: code.co_argcount]
    given: dict[str, Things] = dict(zip(places, arguments.positional, strict=False))
    given.update((name, arguments.keywords[name]) for name in names if name in arguments.keywords)
    for name in names:
        if name not in given:
            given[name] = arguments.rest or (OWN,)
            if name in defaults:  # what an item has beyond the first is seldom meant for it
                default = shared(defaults[name], f"its default argument {name}")
                given[name] = (default, *(one for one in arguments.rest if one.kind == "shared"))
    left = tuple(thing for things in arguments.positional[len(places) :] for thing in things)
    place = len(names)
    if code.co_flags & _VARIABLE_POSITIONAL:
        given[code.co_varnames[place]] = (made_here((*left, *arguments.rest)),)
        place += 1
    if code.co_flags & _VARIABLE_KEYWORDS:
        more = [things for name, things in arguments.keywords.items() if name not in names]
        many = tuple(thing for things in more for thing in things)
        given[code.co_varnames[place]] = (made_here((*many, *arguments.rest)),)
    return given


def free_of(function: FunctionType) -> dict[str, Things]:
    """Return what the cells of a function hold."""
    found: dict[str, Things] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # empty as yet
            continue
        label = f"the variable {name} around it"
        found[name] = (shared(value, _label(value, label)),)
    return found
