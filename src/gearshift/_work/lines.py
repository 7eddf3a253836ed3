"""Standard output and error of a worker: text by whole lines, several processes on one pipe.

    print -> Lines -> WholeWriter -> descriptor 1 or 2
                   -> say (a frame), where the parent's stream is not a descriptor

Apart from `logs` because it knows nothing of the parent.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import signal
import stat
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ForeignProcessError", "Lines", "StreamFacts", "WholeWriter", "descriptor_of"]

StreamFacts = tuple[int, str, str]  # descriptor, encoding, what to do with what it lacks


class ForeignProcessError(Exception):
    """A child that a task forked speaks: nobody but stderr listens to it."""


@contextmanager
def _turn(descriptor: int) -> Iterator[None]:
    """Have a pipe alone for a while, among the processes that ask for it here.

    A pipe takes up to 4,096 bytes in one piece (PIPE_BUF, pipe(7)); more of it may be torn by
    what others write. This is a POSIX record lock (fcntl(2)) on the pipe itself, which Linux
    grants: the kernel lets go of it when its holder dies.
    """
    is_inner = getattr(_turns, "is_taken", False)  # by a finalizer that prints amid a write
    is_locked = _is_locked(descriptor, is_patient=not is_inner)
    _turns.is_taken = True
    try:
        yield
    finally:
        _turns.is_taken = is_inner
        if is_locked:
            with suppress(OSError):
                fcntl.lockf(descriptor, fcntl.LOCK_UN)


_turns = threading.local()


def _is_locked(descriptor: int, *, is_patient: bool) -> bool:
    """Lock a pipe for this process; return False where that has no locks, or is closed."""
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            # The kernel knows processes only, and sees a deadlock where threads of two wait for
            # two pipes. With a turn in hand it may be one.
            if error.errno != errno.EDEADLK or not is_patient:
                return False
            time.sleep(0.001)
        else:
            return True


class WholeWriter:
    """Writes pieces whole, one after another, whichever threads and finalizers are at it."""

    def __init__(self, descriptor: int, *, in_turn: bool = False) -> None:
        """Write to a descriptor.

        Args:
            descriptor: Of a pipe or file.
            in_turn: Other processes write there too.
        """
        self._descriptor = descriptor
        self._in_turn = in_turn
        self.renew()
        _OF_THIS_PROCESS.add(self)

    def renew(self) -> None:
        """Begin anew, in a forked child: what was amid a write is the parent's."""
        self._guard = threading.RLock()
        self._unwritten: deque[bytes | memoryview] = deque()
        self._is_writing = False

    def write(self, *pieces: bytes | memoryview) -> None:
        """Write, and return when it is written, unless this is amid another write of this thread.

        Raises:
            OSError: The reader is gone.
        """
        with self._guard:
            self._unwritten.extend(pieces)
            if self._is_writing:
                return  # the write that this one interrupts goes on with it
            self._is_writing = True
            mask = None
            try:
                mask = _mask_to_set_back()
                if mask is not None:
                    signal.pthread_sigmask(signal.SIG_BLOCK, _RAISING)
                if self._in_turn:
                    with _turn(self._descriptor):
                        self._write_all()
                else:
                    self._write_all()
            finally:
                self._unwritten.clear()
                self._is_writing = False
                if mask is not None:
                    signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _write_all(self) -> None:
        while self._unwritten:
            left = self._unwritten.popleft()
            while left:
                try:
                    written = os.write(self._descriptor, left)
                except BlockingIOError:  # somebody has made the terminal or pipe so
                    select.select([], [self._descriptor], [])
                    continue
                left = memoryview(left)[written:] if written < len(left) else b""


def _mask_to_set_back() -> Any:
    """Return the signals that are blocked, where those are to be that a task's handler may raise at.

    Amid a write that would leave half a frame, which tears the next. None where no handler is there.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return None
    if not any(map(callable, map(_getsignal, _RAISING))):
        return None
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


_getsignal: Any = sys.modules["_signal"].getsignal  # without making enumeration members of it
_RAISING = tuple(
    int(getattr(signal, name))
    for name in ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)


class Lines(io.TextIOBase):
    """Passes text on by whole lines, each in one write."""

    def __init__(
        self,
        name: str,
        facts: StreamFacts | None,
        say: Callable[[str, str], None],
    ) -> None:
        """Begin without text.

        Args:
            name: "stdout" or "stderr".
            facts: What the parent's stream is, or None where it is no descriptor.
            say: Takes name and text where it is none.
        """
        self._name = name
        self._say = say
        self.renew()
        _OF_THIS_PROCESS.add(self)
        self.buffer = _Bytes(self)
        self.heed(facts)

    def renew(self) -> None:
        """Begin anew, in a forked child: what has no line end yet is the parent's."""
        self._guard = threading.RLock()
        self._rest: list[str] = []  # of the last line; joined once, it may be long

    def heed(self, facts: StreamFacts | None) -> None:
        """Write there from now on."""
        with self._guard:
            self.facts: StreamFacts | None = facts
            self._writer = None if facts is None else _writer_of(facts[0])

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
        return "utf-8" if self.facts is None else self.facts[1]

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace" if self.facts is None else self.facts[2]

    def __reduce__(self) -> tuple[Any, ...]:
        """Be the stream of that name wherever it is sent."""
        return _stream, (self._name,)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.facts is not None and os.isatty(self.facts[0])

    def fileno(self) -> int:
        if self.facts is None:
            raise io.UnsupportedOperation("fileno")
        return self.facts[0]

    def write(self, text: str) -> int:
        with self._guard:
            lines, end, rest = text.rpartition("\n")
            if end:
                begun, self._rest = self._rest, []
                self._pass_on("".join([*begun, lines, end]))
            if rest:
                self._rest.append(rest)
        return len(text)

    def flush(self) -> None:
        """Pass on what has no line end, as the caller wishes; another worker may go on with the line."""
        self._pass_on_rest("")

    def end(self) -> None:
        """Pass on what has no line end, with one."""
        self._pass_on_rest("\n")

    def _pass_on_rest(self, end: str) -> None:
        with self._guard:
            if self._rest:
                begun, self._rest = self._rest, []
                self._pass_on("".join([*begun, end]))

    def _pass_on(self, text: str) -> None:
        writer = self._writer
        if writer is None:
            try:
                self._say(self._name, text)
            except ForeignProcessError:
                writer = WholeWriter(1 if self._name == "stdout" else 2)
            else:
                return
        try:
            writer.write(_encoded(text, self.encoding, self.errors))
        except OSError as error:  # the reader is gone: a print is not worth a task
            if error.errno is None:  # a TimeoutError of a signal handler's
                raise


def _stream(name: str) -> Any:
    return getattr(sys, name)


class _Bytes(io.RawIOBase):
    """The bytes below a stream of lines."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._encoding = ""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._encoding != self._lines.encoding:
            self._encoding = self._lines.encoding
            self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogateescape")
        self._lines.write(self._decoder.decode(bytes(data)))
        return len(data)

    def flush(self) -> None:
        self._lines.flush()

    def fileno(self) -> int:
        return self._lines.fileno()


def descriptor_of(stream: object) -> StreamFacts | None:
    """Return what a stream of text is, where it writes to descriptor 1 or 2, else None."""
    if isinstance(stream, Lines):  # a worker that has workers
        return stream.facts
    # A tee, or rich's stand-in, may pass on `fileno`, but not see what is written there.
    if type(stream) is not io.TextIOWrapper:
        return None
    try:
        number: int = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return (number, stream.encoding, stream.errors or "strict") if number in {1, 2} else None


_writers: dict[int, WholeWriter] = {}  # by descriptor


def _writer_of(descriptor: int) -> WholeWriter:
    """Return what writes there; stdout and stderr on one pipe have one."""
    try:
        number = next(each for each in (1, descriptor) if _is_same(each, descriptor))
        is_shared = _is_pipe(descriptor)
    except OSError:  # it is closed, as the writes will find out
        number, is_shared = descriptor, False
    if number not in _writers:
        _writers[number] = WholeWriter(number, in_turn=is_shared)
    return _writers[number]


def _is_same(one: int, other: int) -> bool:
    return one == other or os.path.samestat(os.fstat(one), os.fstat(other))


def _is_pipe(descriptor: int) -> bool:
    """Whether a long text may be torn there, unlike in a file or on a terminal."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _encoded(text: str, encoding: str, errors: str) -> bytes:
    """Encode what can be, bytes as they were, the rest so that it can be read: a print costs no task."""
    for way in ("surrogateescape", errors):
        with suppress(UnicodeError):
            return text.encode(encoding, way)
    return text.encode(encoding, "backslashreplace")


_OF_THIS_PROCESS: WeakSet[WholeWriter | Lines] = WeakSet()


def _begin_in_child() -> None:
    """Begin anew in a forked child: the locks may be held by threads that it has not."""
    for each in list(_OF_THIS_PROCESS):
        each.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
