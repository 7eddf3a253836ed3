"""What workers said, said again in the parent: the other end of `logs`.

frame (bytes) -> replay -> the parent's loggers, streams, warnings
"""

from __future__ import annotations

import logging
import pickle
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gearshift._work.logs import name_of_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["replay"]


def replay(frame: bytes) -> None:
    """Say in this process what a worker said.

    Never raises, but for a handler's KeyboardInterrupt or SystemExit in the main thread: whoever
    polls may be another run than the one that spoke, and has outcomes to take.
    """
    try:
        kind, content = pickle.loads(frame)
        if kind == "log":
            _log(*content)
        elif kind == "warning":
            _show_once(*content)
        else:
            _print(kind, content)
    except BaseException as error:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and not isinstance(error, Exception):
            raise
        _complain()


def _log(
    content: dict[str, Any], extras: dict[str, tuple[bytes, str]], acted: Sequence[str]
) -> None:
    """Give a record to the logger of its name, whose filters act once: there or here."""
    record = logging.makeLogRecord(content)
    for name, (data, words) in extras.items():
        try:
            vars(record)[name] = pickle.loads(data)
        except Exception:  # what it is made of cannot be had here
            vars(record)[name] = words
    logger = logging.getLogger(record.name)
    if not logger.isEnabledFor(record.levelno):
        return
    if acted and not logger.disabled:
        rest = logging.Filterer()
        rest.filters = [each for each in logger.filters if name_of_filter(each) not in acted]
        passed: Any = rest.filter(record)  # from 3.12 on perhaps another record
        if passed:
            logger.callHandlers(passed if isinstance(passed, logging.LogRecord) else record)
    else:
        logger.handle(record)


def _print(name: str, text: str) -> None:
    """Write to a stream of this process, whatever stands in for it."""
    stream = getattr(sys, name)
    if stream is None:
        return
    with suppress(OSError, ValueError):  # it was closed
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        if hasattr(stream, "flush"):
            stream.flush()


def _complain() -> None:
    """Tell of what went wrong here while a worker was heard, as `logging` does of its handlers."""
    if sys.__stderr__ is not None:
        with suppress(OSError, ValueError):
            sys.__stderr__.write("gearshift: a worker's words could not be passed on:\n")
            traceback.print_exc(file=sys.__stderr__)


_shown: dict[str, dict[Any, Any]] = {}  # registries of `warnings`, by file
_plain: dict[type[Warning], type[Warning]] = {}


def _show_once(
    message: str, category: type[Warning], filename: str, lineno: int, module: str | None
) -> None:
    """Show a warning as this process would, unless it has been."""
    registry = _shown.setdefault(filename, {})
    try:
        told = category(message)
    except Exception:  # it is made of other things than its text
        told = _plain_kind(category)(message)
    with suppress(Warning):  # "error" here: the worker's filters let it pass when it was given
        warnings.warn_explicit(told, category, filename, lineno, module, registry)


def _plain_kind(category: type[Warning]) -> type[Warning]:
    """Return a category that filters take for this one, but made of a text alone."""
    if category not in _plain:

        class Plain(category):  # type: ignore[misc, valid-type]
            def __init__(self, _text: str) -> None:
                pass  # its own would want more

            def __str__(self) -> str:
                return str(self.args[0])

        Plain.__name__, Plain.__qualname__ = category.__name__, category.__qualname__
        Plain.__module__ = category.__module__
        _plain[category] = Plain
    return _plain[category]
