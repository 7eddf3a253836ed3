"""A run's values as another run's source, while neither waits for the other.

    first run -> Feed's thread -> records (bounded) -> available(), next() -> second run, in the consumer's thread

Iterated by the consumer's own thread, the first run would block it while there is nothing new: what the second has
ready would wait, and so would a cancel. The thread alone iterates and closes the first run; it starts when the
second asks for the first time, which is after that has its worker processes: they may still be forked.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from gearshift.engines.base import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift import Run

__all__ = ["Feed"]

MOST_READY = 256  # values that wait for the second run, before the first does

T = TypeVar("T")


class Feed(Generic[T]):
    """An iterator that tells what is available; `close` ends the first run, and is called by the second's end."""

    def __init__(self, run: Run[T], closed: Callable[[], object]) -> None:
        """Begin without a thread.

        Args:
            run: The first run.
            closed: Called once when all is over.
        """
        self._run = run
        self._closed = closed
        self._ready: deque[T] = deque()
        self._room = threading.Semaphore(MOST_READY)
        self._news = Wakeup()
        self._is_over = False
        self._done = threading.Event()
        self._is_closed = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> T:
        """Return the next value.

        Raises:
            StopIteration: There is none.
        """
        try:
            value = self._ready.popleft()
        except IndexError:
            raise StopIteration from None
        self._room.release()
        return value

    def available(self) -> int:
        """Return how many values are there; the end counts as one.

        Raises:
            Exception: What the first run ended with.
        """
        if self._thread is None and not self._is_closed:
            self._news.fileno()  # made in this thread, before another sets it
            self._thread = threading.Thread(
                target=self._follow, name="gearshift-download", daemon=True
            )
            self._thread.start()
        self._news.clear()
        is_over = self._is_over  # read first: what came before the end is seen below
        if self._ready:
            return len(self._ready)
        if not is_over:
            return 0
        error, self._error = self._error, None
        if error is not None:
            raise error
        return 1

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is something new."""
        return self._news.fileno()

    def close(self) -> None:
        """End the first run, and return when nothing of it is left; may be called again."""
        is_first, self._is_closed = not self._is_closed, True
        if self._thread is None:
            self._run.close()
        else:
            self._run.cancel()
            self._room.release()
            self._done.wait()
            # `join` makes an object of a thread that has none, such as of a run that nobody holds: for good
            ident = threading.get_ident()
            if any(each.ident == ident for each in threading.enumerate()):
                self._thread.join()
        self._error = None  # its traceback may hold this very object, and what the runs have open
        if is_first:
            self._closed()

    def __del__(self) -> None:
        """Have a run that never began say nothing: the second has said so."""
        if self._thread is None and not self._is_closed:
            self._run.close()

    def _follow(self) -> None:
        """Take the values of the first run (the thread)."""
        try:
            with self._run as run:
                for value in run:
                    self._room.acquire()
                    if self._is_closed:
                        break
                    self._ready.append(value)
                    self._news.set()
        except BaseException as error:  # raised where the second run asks
            if self._is_closed:  # nobody does; its frames hold what the first run has open
                error.__traceback__ = None
            else:
                self._error = error
        finally:
            self._is_over = True
            self._news.set()
            self._done.set()
