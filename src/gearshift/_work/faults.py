"""Exceptions on their way from a worker process to the parent, as they are or as they can be.

    worker: pack_fault --bytes--> parent: unpack_fault

Apart from `transport` because every pool of processes needs them.
"""

from __future__ import annotations

import pickle
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from gearshift._work.pickling import dumps_noting
from gearshift.errors import RemoteError, TransportError
from gearshift.facts import Fault

__all__ = [
    "PackedFault",
    "RemoteTraceback",
    "caused",
    "pack_fault",
    "transport_error",
    "unpack_fault",
    "words",
]

_E = TypeVar("_E", bound=BaseException)


class RemoteTraceback(Exception):  # noqa: N818 - it is a text to be shown as a cause, not an error of its own
    """Shows the traceback of another process above the exception's own."""

    def __init__(self, text: str) -> None:
        """Keep the text."""
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        """Return the traceback, set apart from the one below it."""
        return f'\n"""\n{self.text}"""'


@dataclass(frozen=True, slots=True)
class PackedFault:
    """A fault as bytes; `exception` is None where it cannot travel itself."""

    exception: bytes | None
    type_name: str
    message: str
    traceback: str
    notes: tuple[str, ...]
    seconds: float


def pack_fault(fault: Fault) -> PackedFault:
    """Pickle an exception, if it survives the way there and back."""
    exception = fault.exception
    data = _dump_exception(exception)
    return PackedFault(
        data,
        f"{type(exception).__module__}.{type(exception).__qualname__}".removeprefix("builtins."),
        words(exception, with_type=False),
        "".join(traceback.format_exception(exception)),
        tuple(str(note) for note in getattr(exception, "__notes__", ())),
        fault.seconds,
    )


def _dump_exception(exception: BaseException) -> bytes | None:
    """Pickle an exception so that it comes back as what it is, or return None.

    One whose `__init__` cannot be called again with its `args`, or that holds something
    that cannot be pickled, travels as its type, `args`, and those attributes that can.
    """
    for value in (exception, _Stripped(exception)):
        with suppress(BaseException):
            data = dumps_noting(value)[0]
            if type(pickle.loads(data)) is type(exception):
                return data
    return None


class _Stripped:
    """Pickles as an exception that is rebuilt without its `__init__`."""

    def __init__(self, exception: BaseException) -> None:
        self._exception = exception

    def __reduce__(self) -> tuple[Any, ...]:
        exception = self._exception
        state = {}
        for name, value in vars(exception).items():
            with suppress(BaseException):
                pickle.loads(dumps_noting(value)[0])
                state[name] = value
        return _rebuild_exception, (type(exception), exception.args, state)


def _rebuild_exception(
    kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:
    """Make an exception as `_Stripped` took it apart."""
    exception = kind.__new__(kind, *args)  # sets `args` too
    vars(exception).update(state)
    return exception


def unpack_fault(fault: PackedFault) -> Fault:
    """Rebuild an exception, with the worker's traceback as its cause."""
    exception: BaseException
    try:
        exception = pickle.loads(fault.exception or b"")
    except BaseException:
        exception = RemoteError(fault.type_name, fault.message)
        for note in fault.notes:
            exception.add_note(note)
    return Fault(caused(exception, RemoteTraceback(fault.traceback)), fault.seconds)


def transport_error(what: str, value: Any, exception: BaseException) -> TransportError:
    """Return the error of an item or result that cannot be pickled."""
    error = TransportError(
        f"{what} ({type(value).__qualname__}) cannot be sent to another process: {words(exception)}. "
        'Send what it is made from instead, or use on="threads"'
    )
    return caused(error, exception)


def caused(error: _E, cause: BaseException) -> _E:
    """Return the error with its cause, as `raise ... from` sets it."""
    set_cause: Any = BaseException.__dict__[
        "__cause__"
    ]  # a frozen dataclass refuses the assignment
    set_cause.__set__(error, cause)
    return error


def words(exception: BaseException, *, with_type: bool = True) -> str:
    """Return an exception's words, even where its own `__str__` fails."""
    try:
        said = str(exception)
    except Exception:
        said = "(its __str__ raised)"
    return f"{type(exception).__name__}: {said}" if with_type else said
