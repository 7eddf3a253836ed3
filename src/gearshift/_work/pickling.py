"""Pickling for the way to another process: what is plain, and what goes by value.

The standard pickle does the common case. What it cannot do, or what is made of classes that
live in `__main__` or a notebook cell, goes by value with cloudpickle.
"""

from __future__ import annotations

import io
import pickle
from types import FunctionType
from typing import TYPE_CHECKING, Any

import cloudpickle

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PROTOCOL", "dumps", "dumps_noting", "dumps_plain"]

PROTOCOL = pickle.HIGHEST_PROTOCOL


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
    """Takes built-in types alone, and stops before anything of another is called."""

    def reducer_override(self, obj: Any) -> Any:
        """Stop.

        Raises:
            _NotPlain: Always.
        """
        raise _NotPlain


def dumps_plain(values: Sequence[Any]) -> bytes | None:
    """Pickle values together, or return None where one is not of built-in types alone."""
    buffer = io.BytesIO()
    try:
        _PlainPickler(buffer, PROTOCOL).dump(
            values if type(values) in {list, tuple, range} else list(values)
        )
    except BaseException:
        return None
    return buffer.getvalue()


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
