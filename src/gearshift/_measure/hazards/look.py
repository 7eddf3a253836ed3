"""Look at live objects without running a line of their code.

Apart from `hazards`: properties, `__getattr__` and `__class__` of users' objects may be slow,
may raise, or may change something. Invariant: only dictionaries and slots are read.
"""

from __future__ import annotations

from functools import cached_property
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

__all__ = ["MISSING", "attribute", "instance_attribute", "own_attribute"]


class _Missing:
    """What stands for an object that cannot be looked up."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
_BINDING = {
    ClassMethodDescriptorType,
    FunctionType,
    MemberDescriptorType,
    MethodDescriptorType,
    WrapperDescriptorType,
}
# Descriptors whose value lies in the object's dictionary if it is anywhere.
_OPAQUE = (property, cached_property, GetSetDescriptorType)


def attribute(owner: object, name: str) -> Any:
    """Return `owner.name` if no code has to run for it, else `MISSING`."""
    kind = type(owner)
    if name == "__class__":
        return kind
    if name == "__dict__":
        return _dictionary(owner)
    if issubclass(kind, ModuleType):
        return own_attribute(owner, name)
    if kind in {FunctionType, MethodType, BuiltinFunctionType, MethodWrapperType}:
        return own_attribute(owner, name)
    if issubclass(kind, type):
        return _of_class(owner, name)  # type: ignore[arg-type]
    found = own_attribute(owner, name)
    return instance_attribute(kind, name, owner) if found is MISSING else found


def own_attribute(owner: object, name: str) -> Any:
    """Return what the object's own dictionary has, or `MISSING`."""
    own = _dictionary(owner)
    return MISSING if own is MISSING else own.get(name, MISSING)


def _dictionary(owner: object) -> Any:
    try:
        own = object.__getattribute__(owner, "__dict__")
    except Exception:  # it has none, or one of its own making
        return MISSING
    return own if type(own) is dict else MISSING


def instance_attribute(kind: type[Any], name: str, owner: object) -> Any:
    """Return what instances of a class find under a name, bound to `owner`."""
    found = _in_classes(kind, name)
    if type(found) is staticmethod:
        return found.__func__
    if type(found) is classmethod:
        return MethodType(found.__func__, kind)
    if type(found) not in _BINDING:
        return MISSING if type(found) in _OPAQUE else found
    try:
        return found.__get__(owner, kind)
    except Exception:  # an empty slot, or a stand-in for an owner that is not known
        return MISSING


def _of_class(owner: type[Any], name: str) -> Any:
    found = _in_classes(owner, name)
    if type(found) is staticmethod:
        return found.__func__
    if type(found) is classmethod:
        return MethodType(found.__func__, owner)
    if type(found) is ClassMethodDescriptorType:
        return MISSING
    return found


def _in_classes(kind: type[Any], name: str) -> Any:
    for each in type.__dict__["__mro__"].__get__(kind):
        known = type.__dict__["__dict__"].__get__(each)
        if name in known:
            return known[name]
    return MISSING
