"""What a run and its items are, as plain text that can be compared with what it was before.

Items are canonical JSON; of what JSON does not have only the type counts, but for the exact
types of the standard library. Pure: no file, no clock.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from gearshift._work.run_chunk import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gearshift.engines.base import Job

__all__ = ["first_change", "identity", "plain", "shown", "storable", "undigested"]

_SHOWN_CHARACTERS = 200
_EXACT_AS_TEXT = {"datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid"}  # modules
_LONG_ITEM_CHARACTERS = 1 << 10  # on average, from which on long items are kept as digests


def identity(job: Job, key: Callable[[Any], Any] | None) -> dict[str, Any]:
    """Return what a journal is of, as plain values: another one is not to go on with it."""
    function: Any = job.function
    arguments: list[Any] = []
    while isinstance(function, partial):
        arguments.append([list(function.args), function.keywords])
        function = function.func
    kind = function if hasattr(function, "__qualname__") else type(function)
    arguments += _held_by(function)
    return {
        "function": f"{kind.__module__}:{kind.__qualname__}",
        "arguments": json.loads(plain(arguments)),
        "star": job.star,
        "seed": job.seed,
        "key": None if key is None else name_of(key),
    }


def plain(values: Sequence[Any]) -> str:
    """Return values as canonical JSON; of what JSON does not have, only the type counts."""
    text = undigested(values)
    if len(text) <= _LONG_ITEM_CHARACTERS * len(values):
        return text
    return f"[{','.join(map(_digest_if_long, values))}]"


def _held_by(function: Any) -> list[Any]:
    """Return what a function has beside its code: `make(2)` and `make(3)` are two functions.

    Only text and numbers: a list that it fills would be another one at the second call.
    """
    held: list[Any] = []
    for owner in (getattr(function, "__self__", None), function):
        if not isinstance(owner, type | ModuleType | FunctionType | MethodType):
            held += sorted(getattr(owner, "__dict__", {}).items())
    function = getattr(function, "__func__", function)
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # a variable that has no value yet
            held.append(cell.cell_contents)
    held += getattr(function, "__defaults__", None) or ()
    held += sorted((getattr(function, "__kwdefaults__", None) or {}).items())
    return [each for each in held if _is_fixed(each)]


def _is_fixed(value: Any) -> bool:
    """Say whether it is text or a number, or a name with one."""
    last = value[-1] if type(value) is tuple and value else value
    return type(last) in {str, bytes, int, float, bool}


def undigested(values: Sequence[Any]) -> str:
    """Return values as canonical JSON, however long."""
    try:
        return _ENCODER.encode(list(values))
    except (TypeError, ValueError, RecursionError):  # keys that cannot be sorted, a circle
        return f"[{','.join(map(_plain_one, values))}]"


def first_change(before: list[Any], now: list[Any], items: Sequence[Any]) -> int | None:
    """Return the place of the first item that is another than before, or None.

    Whether an item was kept as a digest depends on those that were pulled with it, which is
    another set in every run: so one that is not the same as text may be the same as a digest.
    """
    for offset, (was, is_now) in enumerate(zip(before, now, strict=True)):
        if was != is_now and was != _digest(_plain_one(items[offset])):
            return offset
    return None


def _plain_one(value: Any) -> str:
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        return _ENCODER.encode(_type_of(value))


def _digest_if_long(value: Any) -> str:
    text = _plain_one(value)
    return text if len(text) < _LONG_ITEM_CHARACTERS else _ENCODER.encode(_digest(text))


def _digest(text: str) -> dict[str, str]:
    import hashlib

    return {"blake2b": hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}


def _type_of(value: Any) -> dict[str, str]:
    """Return what counts of a value that JSON does not have: its type and, where its text is exact, that."""
    kind = type(value)
    known = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    if isinstance(value, bytes):
        known["hex"] = value.hex()
    elif kind.__module__ in _EXACT_AS_TEXT or kind is complex:
        known["text"] = str(value)
    return known


def storable(text: str) -> str:
    """Return text that SQLite takes: file names that are not UTF-8 bring lone surrogates into messages."""
    return text.encode("utf-8", "backslashreplace").decode()


def shown(value: Any) -> str:
    """Write something for people: short, and even where its `repr` fails."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__qualname__}"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_type_of)
