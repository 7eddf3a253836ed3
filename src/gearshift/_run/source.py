"""Where items come from, pulled in the consumer's thread and never further than asked.

A pull may block for ever, and an interrupt may strike in it: what was pulled stays in
`pulled`, whatever happens. Pulls start at one item and double only while a pull takes
under 1 ms: filling a buffer of 16 from a slow generator would delay the first result.

An iterator may say how many items it has without waiting, by a method `available()`,
and when more come, by `fileno()`; then nothing blocks in it, and no outcome waits for
the next item. Where it has a `close()` as well, that is called at the end of the run.
"""

from __future__ import annotations

import time
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from gearshift.errors import RunClosedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from gearshift.engines.base import Wakeup

__all__ = ["Source"]

FAST_SECONDS = 0.001
MOST_ITEMS = 16384
PROVEN_PULLS = 4  # fast ones after which a source is taken for one that does not fall silent
LEAST_PATIENCE_SECONDS = 0.002
MOST_PATIENCE_SECONDS = 0.25
LISTENING_SHARE = 0.1  # of a slow source's time that may go to waiting for outcomes instead


class Source:
    """An iterator, pulled in batches; `batch` is how many it is good for at once."""

    def __init__(
        self,
        iterator: Iterator[Any] | AsyncIterator[Any],
        *,
        total: int | None = None,
        may_block: bool = True,
        is_async: bool = False,
    ) -> None:
        """Wrap the iterator.

        Args:
            iterator: Where items come from.
            total: How many there are, where that is known.
            may_block: The next item may take its time: it is not a list or the like.
            is_async: It is an asynchronous iterator.
        """
        self._iterator: Any = iterator
        self.total = total
        self.may_block = may_block
        self.is_async = is_async
        self._available: Callable[[], int] | None = getattr(iterator, "available", None)
        self.pulled: list[Any] = []
        self.is_exhausted: bool = False
        self.error: BaseException | None = None
        self.batch = 1 if may_block else MOST_ITEMS
        self._end: list[bool] = [True]  # of the last pull: empty if it was broken off
        self._pulls = 0
        self._last_seconds = 0.0

    @property
    def tells(self) -> bool:
        """Whether the source knows how many items can be taken without waiting."""
        return self._available is not None

    def available(self, count: int) -> int:
        """Return how many of `count` items are there; an error ends the source as in `pull`."""
        if self._available is None:
            return count
        try:
            return min(count, self._available())
        except Exception as error:
            self.fail(error)
            return 0

    def filenos(self) -> Sequence[int]:
        """Return what becomes readable when items come, of a source that tells."""
        fd = self._iterator.fileno() if self.tells else -1
        return () if fd < 0 else (fd,)

    def close(self) -> None:
        """Tell a source that tells that nothing more is wanted; may be called again."""
        close = getattr(self._iterator, "close", None)
        if self.tells and callable(close):
            close()

    def pull(self, count: int) -> None:
        """Get up to `count` items into `pulled`.

        What the source raises is kept in `error`: items before it have their turn first.

        Raises:
            KeyboardInterrupt: Struck inside the source, which is not asked again.
        """
        if count <= 0:
            return
        if not self._end:  # a second interrupt came before the first was noted
            self.interrupt(None)
            return
        started = time.perf_counter()
        before = len(self.pulled)
        end: list[bool] = []
        # CPython looks for signals after a C call too, when the pull is complete. The last part
        # of the chain gives no item; it notes, inside that call, that the first has ended.
        asked = chain(islice(self._iterator, count), filter(None, map(end.append, (True,))))
        self._end = end
        try:
            self.pulled.extend(asked)
        except Exception as error:
            self.fail(error)
        except BaseException as interrupt:
            if not end:
                self.interrupt(interrupt)
            raise
        self.is_exhausted = self.is_exhausted or len(self.pulled) - before < count
        self._note(count, time.perf_counter() - started)

    async def apull(self, count: int, wakeup: Wakeup) -> None:
        """Get up to `count` items of an asynchronous iterator into `pulled`, waking the driver at each."""
        try:
            for _ in range(count):
                item = await anext(self._iterator)  # apart: the list may change meanwhile
                self.pulled.append(item)
                wakeup.set()
        except StopAsyncIteration:
            self.is_exhausted = True
        except Exception as error:
            self.fail(error)
        except BaseException as interrupt:
            self.interrupt(interrupt)
            raise
        finally:
            wakeup.set()

    def fail(self, error: BaseException) -> None:
        """End with an error, to be raised after the items before it."""
        self.error = error
        self.is_exhausted = True

    def interrupt(self, interrupt: BaseException | None) -> None:
        """End because an interrupt struck inside: a generator does not survive that."""
        self.fail(
            RunClosedError(
                "the run was interrupted while it took an item from its source, and cannot go on"
            )
        )
        assert self.error is not None
        self.error.__cause__ = interrupt

    def patience(self, start_seconds: float) -> float:
        """Return how long to wait for outcomes in flight before a pull that may block.

        A source that falls silent after an item must not keep that item's outcome from
        the consumer; a source that is merely slow must not be slowed by more than a tenth.

        Args:
            start_seconds: What the engine needs to give its first outcome.
        """
        if not self.may_block:
            return 0.0
        listening = (
            self._last_seconds * LISTENING_SHARE if self._last_seconds > FAST_SECONDS else 0.0
        )
        if self._pulls == 1:
            listening = max(listening, LEAST_PATIENCE_SECONDS + 3 * start_seconds)
        elif self._pulls < PROVEN_PULLS:
            listening = max(listening, LEAST_PATIENCE_SECONDS)
        return min(listening, MOST_PATIENCE_SECONDS)

    def _note(self, count: int, seconds: float) -> None:
        """Choose the next batch."""
        self._pulls += 1
        self._last_seconds = seconds
        if seconds >= FAST_SECONDS and self.may_block:
            self.batch = 1
            self._pulls = min(self._pulls, 2)  # to be proven again
        elif count >= self.batch:
            self.batch = min(self.batch * 2, MOST_ITEMS)
