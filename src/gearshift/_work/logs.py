"""What a worker says, heard in the parent: log records, prints, warnings.

    worker: logging, print, warnings -> frame (bytes) -> say ... parent: replay

A record reaches the parent's logger of its name, with its level, filters and handlers. Prints
are passed on by whole lines: straight to descriptor 1 or 2 where the parent's stream is
that, so that they come at once and outlive a crash; else, as in a notebook, as frames. A
warning is shown by the parent's own machinery, once, however many workers gave it.

`listen` is for worker processes of ours, for good; `overhear` is for the time of one call in
somebody else's, and hears the records of the calling thread only.
"""

from __future__ import annotations

import codecs
import copy
import io
import logging
import os
import pickle
import select
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Ears", "ForeignProcessError", "ears", "flush_lines", "listen", "overhear", "replay"]

MOST_BYTES = 1 << 20  # kept while one call runs: what says more than that is cut, with a word
_STREAMS = ("stdout", "stderr")


class ForeignProcessError(Exception):
    """A child that a task forked speaks: nobody but stderr listens to it."""


@dataclass(frozen=True, slots=True)
class Ears:
    """What a worker has to know of the parent to be heard as if it were there.

    Attributes:
        levels: Of the loggers that have one, the root's as "".
        streams: For stdout and stderr, the descriptor behind the parent's, or None.
        filters: Of `warnings`, as they stand in that module.
    """

    levels: dict[str, int]
    streams: tuple[int | None, int | None]
    filters: tuple[Any, ...]


def ears() -> Ears:
    """Return what this process has set up."""
    levels = {"": logging.getLogger().level}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level:
            levels[name] = logger.level
    streams = _descriptor("stdout"), _descriptor("stderr")
    return Ears(levels, streams, tuple(warnings.filters))


def listen(parent: Ears, say: Callable[[bytes], None], name: str) -> None:
    """Have everything said in this worker process reach the parent.

    Args:
        parent: What the parent has set up.
        say: Takes frames.
        name: The worker's name, which records get as `processName` and `worker`.
    """
    handler = _Relay(say, name)
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):  # a fork has the parent's handlers, and their locks
            is_end = logger is logging.root or not logger.propagate
            logger.handlers = [handler] if is_end else []
    for logger_name, level in parent.levels.items():
        logging.getLogger(logger_name or None).setLevel(level)
    for stream, descriptor in zip(_STREAMS, parent.streams, strict=True):
        setattr(sys, stream, _Lines(stream, descriptor, say))
    if tuple(warnings.filters) != parent.filters:
        warnings.filters[:] = parent.filters  # type: ignore[index]
        with suppress(AttributeError):  # what the modules remember of what was shown is void
            warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001
    warnings.showwarning = _Warner(say)


def flush_lines() -> None:
    """Pass on what has no line end yet: the worker ends."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Lines):
            stream.end()


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
def overhear(name: str) -> Iterator[Collector]:
    """Collect the log records of this thread for a while, in a process of somebody else's.

    Args:
        name: The worker's name.

    Yields:
        What collects them.
    """
    collector = Collector()
    _drop_inherited()
    handler = _Relay(collector, name, threading.get_ident())
    logging.root.addHandler(handler)
    try:
        yield collector
    finally:
        logging.root.removeHandler(handler)


_inherited: list[Any] = []  # weak references to the handlers that a fork gave this process


def _note_handlers() -> None:
    _inherited[:] = logging._handlerList  # type: ignore[attr-defined]  # noqa: SLF001


def _drop_inherited() -> None:
    """Leave the parent's handlers to the parent, which gets the records; an initializer's stay."""
    theirs = {id(handler) for each in _inherited if (handler := each()) is not None}
    _inherited.clear()
    if theirs:
        for logger in (logging.root, *logging.root.manager.loggerDict.values()):
            if isinstance(logger, logging.Logger):
                logger.handlers = [each for each in logger.handlers if id(each) not in theirs]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_handlers)


def replay(frame: bytes) -> None:
    """Say in this process what a worker said.

    Never raises, but for an interrupt: whoever polls may be another run than the one that
    spoke, and has outcomes to take.
    """
    try:
        kind, content = pickle.loads(frame)
        if kind == "log":
            record = logging.makeLogRecord(content)
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        elif kind == "warning":
            _show_once(*content)
        else:
            _print(kind, content)
    except Exception:
        _complain()


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


# The worker's side


class _Relay(logging.Handler):
    """Makes frames of log records."""

    def __init__(self, say: Callable[[bytes], None], name: str, thread: int | None = None) -> None:
        super().__init__()
        self._say = say
        self._worker = name
        self._thread = thread

    def emit(self, record: logging.LogRecord) -> None:
        if self._thread is not None and record.thread != self._thread:
            return
        try:
            self._say(_pickled("log", self._plain(record)))
        except ForeignProcessError:
            _to_stderr(record)
        except Exception:
            self.handleError(record)

    def _plain(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the record with its message and traceback made, as QueueHandler does."""
        content = copy.copy(record.__dict__)
        content["msg"] = record.getMessage()
        content["args"] = None
        if record.exc_info and not record.exc_text:
            content["exc_text"] = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        content["exc_info"] = None
        content["processName"] = content["worker"] = self._worker
        return content


class _Lines(io.TextIOBase):
    """Passes text on by whole lines, each in one write."""

    def __init__(self, name: str, descriptor: int | None, say: Callable[[bytes], None]) -> None:
        self._name = name
        self._descriptor = descriptor
        self._say = say
        self._rest: list[str] = []  # of the last line; joined once, it may be long
        self._guard = threading.RLock()
        self.buffer = _Bytes(self)

    @property
    def name(self) -> str:
        return f"<{self._name}>"

    @property
    def line_buffering(self) -> bool:
        return True

    def reconfigure(self, **_options: object) -> None:
        """Do nothing: lines are passed on whole, whatever is wished."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._descriptor is not None and os.isatty(self._descriptor)

    def fileno(self) -> int:
        if self._descriptor is None:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    def write(self, text: str) -> int:
        with self._guard:
            lines, end, rest = text.rpartition("\n")
            if end:
                begun, self._rest = self._rest, []
                self._pass_on("".join([*begun, lines, end]))
            if rest:
                self._rest.append(rest)
        return len(text)

    def end(self) -> None:
        """Pass on what has no line end."""
        with self._guard:
            if self._rest:
                begun, self._rest = self._rest, []
                self._pass_on("".join([*begun, "\n"]))

    def _pass_on(self, text: str) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            try:
                self._say(_pickled(self._name, text))
            except ForeignProcessError:
                descriptor = 1 if self._name == "stdout" else 2
            else:
                return
        left = memoryview(text.encode("utf-8", "backslashreplace"))
        with suppress(OSError):  # the reader is gone: a print is not worth a task
            while left:
                try:
                    left = left[os.write(descriptor, left) :]
                except BlockingIOError:  # somebody has made the terminal or pipe so
                    select.select([], [descriptor], [])


class _Bytes(io.RawIOBase):
    """The bytes below a stream of lines."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._lines.write(self._decoder.decode(bytes(data)))
        return len(data)


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
        if not _is_picklable(category):
            told = (f"{category.__name__}: {message}", UserWarning, filename, lineno, module)
        with suppress(ForeignProcessError):
            self._say(_pickled("warning", told))


def _pickled(kind: str, content: Any) -> bytes:
    """Return a frame; what cannot be pickled is in it as its `repr`."""
    try:
        return pickle.dumps((kind, content))
    except Exception:
        plain = {
            name: value if _is_picklable(value) else _repr(value) for name, value in content.items()
        }
        return pickle.dumps((kind, plain))


def _is_picklable(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"a {type(value).__qualname__}"


# The parent's side

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


def _descriptor(name: str) -> int | None:
    """Return 1 or 2 where that is what the stream writes to, else None."""
    stream = getattr(sys, name)
    if isinstance(stream, _Lines):  # a worker that has workers
        return stream._descriptor  # noqa: SLF001 - of this module
    # A tee, or rich's stand-in, may pass on `fileno`, but not see what is written there.
    if not isinstance(stream, io.TextIOWrapper):
        return None
    try:
        number: int = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return number if number in {1, 2} else None
