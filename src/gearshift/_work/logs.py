"""What a worker says, on its way to the parent: log records, prints, warnings.

    worker: logging, print, warnings -> frame (bytes) -> say ... parent: `replay`

A record reaches the parent's logger of its name, with its level, filters and handlers. Prints
are passed on by whole lines: straight to descriptor 1 or 2 where the parent's stream is
that, so that they come at once and outlive a crash; else, as in a notebook, as frames. A
warning is shown by the parent's own machinery, once, however many workers gave it.

`Voice` is for worker processes of ours, for good; `overhear` is for the time of one call in
somebody else's, and hears the records of the calling thread only.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import pickle
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from gearshift._work.lines import ForeignProcessError, Lines, StreamFacts, descriptor_of
from gearshift._work.pickling import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "Ears",
    "ForeignProcessError",
    "Voice",
    "ears",
    "has_handlers",
    "levels",
    "name_of_filter",
    "overhear",
]

MOST_BYTES = 1 << 20  # kept while one call runs: what says more than that is cut, with a word
_STREAMS = ("stdout", "stderr")
_PLAIN_TYPES = (str, bytes, int, float, bool, type(None))
_DEFAULT_LEVELS = {"": logging.WARNING}  # as `logging` begins


@dataclass(frozen=True, slots=True)
class Ears:
    """What a worker has to know of the parent to be heard as if it were there.

    Attributes:
        levels: Of the loggers that have one, the root's as "".
        disable: As `logging.disable` set it.
        disabled: Names of the loggers that are.
        has_handlers: Whether the root logger has any, so that `logging.basicConfig` does nothing.
        streams: What the parent's stdout and stderr are, or None where they are no descriptor.
        filters: Of `warnings`, as they stand in that module.
    """

    levels: dict[str, int]
    disable: int
    disabled: frozenset[str]
    has_handlers: bool
    streams: tuple[StreamFacts | None, StreamFacts | None]
    filters: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel with each filter by itself: one that cannot be had elsewhere counts here only."""
        values = [getattr(self, each.name) for each in fields(self) if each.name != "filters"]
        return _ears_of, (*values, tuple(map(_pickled_if_possible, self.filters)))


def _ears_of(*values: Any) -> Ears:
    """Rebuild what `Ears.__reduce__` took apart."""
    filters = []
    for data in values[-1]:
        with suppress(Exception):  # its category cannot be imported here, or could not be pickled
            filters.append(pickle.loads(data))
    return Ears(*(*values[:-1], tuple(filters)))


def ears() -> Ears:
    """Return what this process has set up: 48 us where there are 300 loggers."""
    found, disabled = {}, set()
    for logger in _loggers():
        name = _name(logger)
        if logger.level or logger is logging.root:
            found[name] = logger.level
        if logger.disabled:
            disabled.add(name)
    streams = descriptor_of(sys.stdout), descriptor_of(sys.stderr)
    disable = logging.root.manager.disable
    filters = tuple(warnings.filters)
    return Ears(found, disable, frozenset(disabled), has_handlers(), streams, filters)


def levels() -> dict[str, int]:
    """Return the levels of the loggers that have one, the root's as ""."""
    found = {"": logging.root.level}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level:
            found[name] = logger.level
    return found


class Voice:
    """Has everything said in this worker process reach the parent."""

    def __init__(self, parent: Ears, say: Callable[[bytes], None], name: str) -> None:
        """Begin to speak.

        Args:
            parent: What the parent has set up.
            say: Takes frames.
            name: The worker's name, which records get as `processName` and `worker`.
        """
        relay = _Relay(say, name, is_configured=parent.has_handlers)
        for logger in _loggers():  # a fork has the parent's handlers, and their locks
            logger.handlers = [relay] if _is_end(logger) else []
            logger.filters = []  # the parent's act there, and it may change them
        _mind_basic_config()
        self._relay = relay
        self._parent = ears()
        self._lines = [
            Lines(stream, facts, lambda name, text: say(_pickled(name, text)))
            for stream, facts in zip(_STREAMS, parent.streams, strict=True)
        ]
        self._held = _held_streams()
        sys.stdout, sys.stderr = self._lines
        warnings.showwarning = _Warner(say)
        self.heed(parent)

    def heed(self, parent: Ears) -> None:
        """Take over what has changed in the parent; what tasks set here stays."""
        before, self._parent = self._parent, parent
        self._relay.is_configured = parent.has_handlers
        for name in {*before.levels, *parent.levels}:
            level = parent.levels.get(name, logging.NOTSET)
            if before.levels.get(name, logging.NOTSET) != level:
                logging.getLogger(name or None).setLevel(level)
        for name in before.disabled ^ parent.disabled:
            logging.getLogger(name or None).disabled = name in parent.disabled
        if before.disable != parent.disable:
            logging.disable(parent.disable)
        for lines, facts in zip(self._lines, parent.streams, strict=True):
            lines.heed(facts)
        if before.filters != parent.filters:
            _set_filters(parent.filters)

    def end(self) -> None:
        """Pass on what is unsaid: the worker ends."""
        for stream in {sys.stdout, sys.stderr, *self._held}.difference(self._lines):
            with suppress(Exception):  # tasks may have set others
                stream.flush()
        for lines in self._lines:
            lines.end()


class Collector:
    """Keeps frames until somebody takes them, up to a bound."""

    def __init__(self) -> None:
        """Begin with none."""
        self._frames: list[bytes] = []
        self._bytes = 0
        self._dropped = 0
        self._guard = threading.Lock()

    def __call__(self, frame: bytes) -> None:
        """Keep a frame."""
        with self._guard:
            if self._bytes + len(frame) > MOST_BYTES:
                self._dropped += 1
                return
            self._frames.append(frame)
            self._bytes += len(frame)

    def take(self) -> tuple[bytes, ...]:
        """Return the frames, and keep none."""
        if not self._frames:  # nearly always; and without the lock
            return ()
        with self._guard:
            frames, self._frames = self._frames, []
            dropped, self._dropped, self._bytes = self._dropped, 0, 0
        if dropped:
            text = f"(gearshift: {dropped:,} more messages were dropped: too many for one task)\n"
            frames.append(pickle.dumps(("stderr", text)))
        return tuple(frames)


@contextmanager
def overhear(
    name: str, parent_levels: Mapping[str, int], *, has_handlers: bool
) -> Iterator[Collector]:
    """Collect the log records of this thread for a while, in a process of somebody else's.

    Args:
        name: The worker's name.
        parent_levels: As `levels` gave them in the parent: they count where nobody has set others.
        has_handlers: Whether the parent's root logger has any; see `Ears`.

    Yields:
        What collects them.
    """
    collector = Collector()
    _drop_inherited()
    _mind_basic_config()
    handler = _Relay(collector, name, threading.get_ident(), is_configured=has_handlers)
    ends = [logger for logger in _loggers() if _is_end(logger)]
    _lent.lend(parent_levels)
    for logger in ends:
        logger.addHandler(handler)
    try:
        yield collector
    finally:
        for logger in ends:
            logger.removeHandler(handler)
        _lent.give_back()


class _LentLevels:
    """Levels that loggers of somebody else's process have while calls of ours run there."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._calls = 0
        self._lent: dict[str, tuple[int, int]] = {}  # theirs and ours, by logger

    def lend(self, parent_levels: Mapping[str, int]) -> None:
        """Set those that nobody has set."""
        with self._guard:
            self._calls += 1
            for name, level in parent_levels.items():
                logger = logging.getLogger(name or None)
                theirs = logger.level
                if theirs != level and theirs == _DEFAULT_LEVELS.get(name, logging.NOTSET):
                    self._lent.setdefault(name, (theirs, level))
                    logger.setLevel(level)

    def give_back(self) -> None:
        """Set them back after the last call, but for those that the calls have set."""
        with self._guard:
            self._calls -= 1
            if self._calls == 0:
                for name, (theirs, ours) in self._lent.items():
                    logger = logging.getLogger(name or None)
                    if logger.level == ours:
                        logger.setLevel(theirs)
                self._lent.clear()


_lent = _LentLevels()
_inherited: list[Any] = []  # weak references to the handlers that a fork gave this process


def _begin_in_child() -> None:
    global _lent  # noqa: PLW0603 - a process has one
    _lent = _LentLevels()
    _inherited[:] = logging._handlerList  # type: ignore[attr-defined]  # noqa: SLF001


def _drop_inherited() -> None:
    """Leave the parent's handlers to the parent, which gets the records; an initializer's stay."""
    theirs = {id(handler) for each in _inherited if (handler := each()) is not None}
    _inherited.clear()
    if theirs:
        for logger in _loggers():
            logger.handlers = [each for each in logger.handlers if id(each) not in theirs]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def _held_streams() -> list[io.TextIOWrapper]:
    """Return the streams that this process began with, which modules may hold.

    They pass on whole lines from here on: nobody flushes them when a worker dies.
    """
    held = []
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if descriptor_of(stream) is not None and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
            held.append(stream)
    return held


def _name(logger: logging.Logger) -> str:
    return "" if logger is logging.root else logger.name


def _loggers() -> list[logging.Logger]:
    named = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(logger for logger in named if isinstance(logger, logging.Logger))]


def _is_end(logger: logging.Logger) -> bool:
    """Whether records go no further up from here."""
    return logger is logging.root or not logger.propagate


def has_handlers() -> bool:
    """Return whether the root logger has any, here or, where this is a worker, in its parent."""
    return any(
        not isinstance(handler, _Relay) or handler.is_configured
        for handler in logging.root.handlers
    )


def _mind_basic_config() -> None:
    """Have `logging.basicConfig` in a worker do what it would do in the parent.

    It does nothing where the root logger has handlers, of which our relay is one.
    """
    original = logging.basicConfig
    if hasattr(original, "gearshift"):
        return

    @functools.wraps(original)
    def basic_config(**options: Any) -> None:
        relays = [each for each in logging.root.handlers if isinstance(each, _Relay)]
        if not has_handlers() and not any(relay.is_configured for relay in relays):
            logging.root.handlers = []
        original(**options)

    basic_config.gearshift = True  # type: ignore[attr-defined]
    logging.basicConfig = basic_config


def _set_filters(filters: tuple[Any, ...]) -> None:
    if tuple(warnings.filters) != filters:
        warnings.filters[:] = filters  # type: ignore[index]
        with suppress(AttributeError):  # what the modules remember of what was shown is void
            warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001


class _Relay(logging.Handler):
    """Makes frames of log records."""

    def __init__(
        self,
        say: Callable[[bytes], None],
        name: str,
        thread: int | None = None,
        *,
        is_configured: bool = False,
    ) -> None:
        super().__init__()
        self.is_configured = is_configured  # the parent's root logger
        self._say = say
        self._worker = name
        self._thread = thread

    def emit(self, record: logging.LogRecord) -> None:
        if self._thread is not None and record.thread != self._thread:
            return
        try:
            self._say(pickle.dumps(("log", self._told(record))))
        except ForeignProcessError:
            _to_stderr(record)
        except Exception:
            self.handleError(record)

    def _told(
        self, record: logging.LogRecord
    ) -> tuple[dict[str, Any], dict[str, tuple[bytes, str]], list[str]]:
        """Return the record with its message and traceback made, as QueueHandler does.

        Beside it what else was hung on it, each so that the parent can do without; and the names
        of the logger's filters that have acted.
        """
        content: dict[str, Any] = {}
        extras: dict[str, tuple[bytes, str]] = {}
        for name, value in vars(record).items():
            if name in {"args", "exc_info"}:
                content[name] = None
            elif name == "msg":
                content[name] = record.getMessage()
            elif type(value) in _PLAIN_TYPES:
                content[name] = value
            else:
                extras[name] = _pickled_if_possible(value), _repr(value)
        if record.exc_info and not record.exc_text:
            content["exc_text"] = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        content["processName"] = content["worker"] = self._worker
        acted = [name_of_filter(each) for each in logging.getLogger(record.name).filters]
        return content, extras, acted


def name_of_filter(each: object) -> str:
    """Return by what the parent knows one of a logger's filters: its function's or class's name."""
    known = each if hasattr(each, "__qualname__") else type(each)
    return f"{known.__module__}.{known.__qualname__}"


class _Warner:
    """Stands in for `warnings.showwarning`."""

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self._say = say

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        module = _module_of(filename, lineno)
        told = (str(message), category, filename, lineno, module)
        try:
            frame = dumps(("warning", told))
        except Exception:
            told = (f"{category.__name__}: {message}", UserWarning, filename, lineno, module)
            frame = pickle.dumps(("warning", told))
        with suppress(ForeignProcessError):
            self._say(frame)


def _pickled(kind: str, text: str) -> bytes:
    return pickle.dumps((kind, text))


def _pickled_if_possible(value: object) -> bytes:
    try:
        return dumps(value)
    except Exception:
        return b""


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"a {type(value).__qualname__}"


def _module_of(filename: str, lineno: int) -> str | None:
    """Return the module that a warning is given in, which filters may name: one of our callers."""
    frame = sys._getframe(2)  # noqa: SLF001 - `warnings` does the same
    while frame is not None:
        if frame.f_lineno == lineno and frame.f_code.co_filename == filename:
            name: str | None = frame.f_globals.get("__name__")
            return name
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _to_stderr(record: logging.LogRecord) -> None:
    """Write a record where it cannot reach the parent's handlers."""
    if logging.lastResort is not None:
        logging.lastResort.handle(record)
