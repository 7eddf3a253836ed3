"""Pickling for the way to another process: what is plain, and what goes by value.

The standard pickle does the common case. What it cannot do, or what is made of classes that
live in `__main__` or a notebook cell, goes by value with cloudpickle.
"""

from __future__ import annotations

import io
import pickle
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

import cloudpickle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LARGE_BYTES", "PROTOCOL", "dumps", "dumps_apart", "dumps_noting", "dumps_plain"]

PROTOCOL = pickle.HIGHEST_PROTOCOL
LARGE_BYTES = 1 << 15  # of a buffer that travels apart from its pickle


def dumps(value: Any) -> bytes:
    """Pickle a value, by value what cannot be imported elsewhere.

    Raises:
        Exception: It cannot be pickled.
    """
    return dumps_noting(value)[0]


class _ByValue(Exception):  # noqa: N818 - a signal between the two functions below
    """What is pickled refers to something that the other side cannot import."""


class _Pickler(pickle.Pickler):
    """The standard pickler, noting what is not of a built-in type."""

    is_plain = True

    def reducer_override(self, obj: Any) -> Any:
        """See every object that is not of a built-in type.

        Raises:
            _ByValue: The other side could not import it.
        """
        self.is_plain = False
        home = obj.__module__ if isinstance(obj, type | FunctionType) else type(obj).__module__
        if home == "__main__" or _travels_by_value(home):
            raise _ByValue
        return NotImplemented


class _NotPlain(Exception):  # noqa: N818 - a signal
    """There is something else than built-in types."""


class _PlainPickler(pickle.Pickler):
    """Takes built-in types and NumPy's, and stops before anything of another is called."""

    def reducer_override(self, obj: Any) -> Any:
        """Stop, unless it is NumPy's own and holds no objects.

        Raises:
            _NotPlain: It is something else.
        """
        kind = type(obj)
        home = kind.__module__ if kind not in _NAMED else obj.__module__
        if home is None or home.partition(".")[0] != "numpy":
            raise _NotPlain
        if kind.__name__ == "ndarray" and obj.dtype.hasobject:
            raise _NotPlain
        return NotImplemented


_SCALARS = {int, float, complex, bool, str, bytes, type(None)}
_FEW = 8  # values, for which to look at each is cheaper than to make a pickler
_NAMED = {type, FunctionType, BuiltinFunctionType}


def dumps_plain(values: Sequence[Any], buffers: list[pickle.PickleBuffer]) -> bytes | None:
    """Pickle values together, but for large buffers, which are added to a list.

    Returns:
        None where one of the values is not of built-in types and NumPy's alone.
    """
    if len(values) <= _FEW and _SCALARS.issuperset(map(type, values)):
        return pickle.dumps(values, PROTOCOL)
    file = io.BytesIO()
    try:
        _PlainPickler(file, PROTOCOL, buffer_callback=_taking(buffers)).dump(
            values if type(values) in {list, tuple, range} else list(values)
        )
    except BaseException:
        buffers.clear()
        return None
    return file.getvalue()


def _taking(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return what adds large buffers to a list, and says of others that they stay in the pickle."""

    def take(buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as raw:
            is_small = raw.nbytes < LARGE_BYTES
        if not is_small:
            buffers.append(buffer)
        return is_small

    return take


def _travels_by_value(module: str | None) -> bool:
    """Whether the module was registered with cloudpickle, itself or its package."""
    registered = cloudpickle.list_registry_pickle_by_value()
    return (
        bool(registered)
        and module is not None
        and any(module == name or module.startswith(f"{name}.") for name in registered)
    )


def dumps_noting(value: Any) -> tuple[bytes, bool]:
    """Pickle; also return whether built-in types are all there is."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, PROTOCOL)
    try:
        pickler.dump(value)
    except Exception:
        return cloudpickle.dumps(value, PROTOCOL), False
    return buffer.getvalue(), pickler.is_plain


def dumps_apart(value: Any, buffers: list[pickle.PickleBuffer]) -> bytes:
    """Pickle, but for large buffers, which are added to a list in the order in which they are needed.

    Raises:
        Exception: It cannot be pickled.
    """
    take = _taking(buffers)
    count = len(buffers)
    file = io.BytesIO()
    try:
        _Pickler(file, PROTOCOL, buffer_callback=take).dump(value)
    except Exception:
        del buffers[count:]
        data: bytes = cloudpickle.dumps(value, PROTOCOL, buffer_callback=take)
        return data
    return file.getvalue()
