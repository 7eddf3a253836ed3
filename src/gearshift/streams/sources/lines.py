"""The lines of a text file as a live source, also while the file grows.

    file -> blocks of bytes -> Splitter: text, cut into lines -> LinesFeed.take -> run
      ^ at its end with `follow`: asked again each `poll_seconds` of the stream's clock

Apart from iterating an open file for speed (a block is cut into lines at once) and for
what `tail -F` does. It asks rather than be told: inotify is Linux only, knows no network
file systems, and would be low-level code of our own.

Invariant: each line comes once and whole. What has no line end yet is held until it
has, or until the file is at its end for good: truncated, replaced, or not followed.
"""

from __future__ import annotations

import codecs
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gearshift.streams.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

    from gearshift.engines.base import Wakeup
    from gearshift.streams.sources.base import Clock, LiveSource

__all__ = ["lines"]

BLOCK_BYTES = 64 * 1024
BLOCKS_PER_TAKE = 16  # a line longer than that takes several takes; others wait 1 ms at most


def lines(
    path: str | os.PathLike[str],
    *,
    follow: bool = False,
    encoding: str = "utf-8",
    errors: str = "strict",
    from_end: bool = False,
    poll_seconds: float = 0.1,
) -> LiveSource:
    r"""Return the lines of a text file, without their `\n` or `\r\n`.

    With `follow` it goes on as `tail -F` does. A file that is not there yet is waited for.
    One that got shorter is read from its beginning; one that was replaced is read to its
    end first, then the new one. What was cut short by that counts as a line. A file that
    was cut and grew beyond its old size within one `poll_seconds` looks like one that grew.

    Args:
        path: A regular file.
        follow: Whether to wait for more at its end.
        encoding: How the text is encoded.
        errors: What becomes of bytes that are no such text, as for `open`.
        from_end: Start at the end of what is there, with `follow`.
        poll_seconds: How often to look for more, by the stream's clock, so a virtual clock
            must be moved for it.

    Returns:
        A recipe: each run reads the file for itself. Opening it raises FileNotFoundError
        without `follow`, and taking from it UnicodeDecodeError, with the number of the line.

    Raises:
        ValueError: `from_end` without `follow`, or `poll_seconds` is not above 0.
        LookupError: An unknown `encoding` or `errors`.
    """
    if from_end and not follow:
        raise ValueError("from_end=True gives lines only with follow=True.")
    if not 0 < poll_seconds < math.inf:
        raise ValueError(f"poll_seconds={poll_seconds!r}: must be above 0 and finite.")
    codecs.getincrementaldecoder(encoding)
    codecs.lookup_error(errors)
    return _Lines(os.fspath(path), encoding, errors, follow, from_end, poll_seconds)


@dataclass(frozen=True, slots=True)
class _Lines:
    path: str
    encoding: str
    errors: str
    follow: bool
    from_end: bool
    poll_seconds: float

    def open(self, wakeup: Wakeup, clock: Clock) -> _LinesFeed:
        """Open the file for one run."""
        return _LinesFeed(self, clock)


class _LinesFeed:
    __slots__ = (
        "_clock",
        "_error",
        "_is_read",
        "_ready",
        "_recipe",
        "_splitter",
        "_start",
        "_tail",
        "dropped",
        "due",
    )

    due: float
    dropped: int

    def __init__(self, recipe: _Lines, clock: Clock) -> None:
        self._recipe = recipe
        self._clock = clock
        self._tail = _Tail(recipe)
        self._splitter = _Splitter(recipe)
        self._ready: list[str] = []
        self._start = 0  # of what is ready, the first that was not taken
        self._error: Exception | None = None  # comes after what is ready
        self._is_read = False  # to the end, and nothing will follow
        self.due = clock.now()
        self.dropped = 0

    @property
    def is_over(self) -> bool:
        return self.due == math.inf

    def take(self, count: int, now: float) -> Batch | None:
        if count < 1 or self.is_over or self.due > now:
            return None
        blocks = 0
        while not self._ready and blocks < BLOCKS_PER_TAKE and self._read():
            blocks += 1
        if self._ready:
            return Batch(self._some(count), now=now)
        if self._error is not None:
            self.close()
            raise self._error
        if self._is_read:
            self.close()
        return None

    def filenos(self) -> Sequence[int]:
        return ()

    def close(self) -> None:
        self.due = math.inf
        self._ready = []
        self._tail.close()

    def _some(self, count: int) -> list[str]:
        ready, end = self._ready, self._start + count
        if end >= len(ready):
            some = ready[self._start :] if self._start else ready
            self._ready, self._start = [], 0
            return some
        some = ready[self._start : end]
        self._start = end
        return some

    def _read(self) -> bool:
        """Make the lines of one block ready; say whether there may be more at once."""
        if self._is_read or self._error is not None:
            return False
        try:
            block = self._tail.read()
            if block:
                self._ready = self._splitter.add(block)
            elif not self._recipe.follow:
                self._is_read = True
                self._ready = self._splitter.end()
            elif self._tail.turn():
                self._ready = self._splitter.end()
            else:
                self.due = self._clock.now() + self._recipe.poll_seconds
                return False
            self._error = self._splitter.error
        except Exception as error:
            self._error = error
        return True


class _Tail:
    """The bytes of what has a name, be it one file after another."""

    __slots__ = ("_file", "_follow", "_next", "_path", "_position")

    def __init__(self, recipe: _Lines) -> None:
        self._path = Path(recipe.path).absolute()  # the program may change its folder
        self._follow = recipe.follow
        self._next: Literal["same", "beginning", "other file"] = "same"
        self._position = 0
        self._file = self._opened()
        if self._file is not None and recipe.from_end:
            self._position = self._file.seek(0, os.SEEK_END)

    def read(self) -> bytes:
        """Return the next block, or nothing at the end."""
        if self._file is None:
            return b""
        # First this: all that was written before another file came belongs to this one.
        self._next = self._what_next(self._file) if self._follow else "same"
        if self._next == "beginning":
            return b""
        block = self._file.read(BLOCK_BYTES)
        self._position += len(block)
        return block

    def turn(self) -> bool:
        """At the end, go on to where there may be more, and say whether there is such a place."""
        if self._next == "beginning" and self._file is not None:
            self._position = self._file.seek(0)
            return True
        if self._file is not None and self._next == "same":
            return False
        file = self._opened()
        if file is None:
            return False
        self.close()
        self._file = file
        self._position = 0
        return True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _what_next(self, file: FileIO) -> Literal["same", "beginning", "other file"]:
        try:
            there = self._path.stat()
        except FileNotFoundError:  # the old one may grow until its successor comes
            return "same"
        if not os.path.samestat(there, os.fstat(file.fileno())):
            return "other file"
        return "beginning" if there.st_size < self._position else "same"

    def _opened(self) -> FileIO | None:
        try:
            # A pipe would block here until somebody writes to it.
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise ValueError(
                    f"{str(self._path)!r} is no regular file: pass an open file to `stream` instead."
                )
            return self._path.open("rb", buffering=0)
        except FileNotFoundError:
            if self._follow:
                return None
            raise


class _Splitter:
    """Makes lines of blocks; `error` is what comes after those that it gave."""

    __slots__ = ("_count", "_decoder", "_held", "_path", "error")

    def __init__(self, recipe: _Lines) -> None:
        self._path = recipe.path
        self._decoder = codecs.getincrementaldecoder(recipe.encoding)(recipe.errors)
        self._held: list[str] = []  # the pieces of a line that has no end yet
        self._count = 0
        self.error: UnicodeDecodeError | None = None

    def add(self, block: bytes) -> list[str]:
        """Return the lines that end in this block."""
        text = self._text(block, is_last=False)
        if "\n" not in text:
            if text:
                self._held.append(text)
            found = []
        else:
            found = "".join((*self._held, text)).replace("\r\n", "\n").split("\n")
            rest = found.pop()
            self._held = [rest] if rest else []
        self._count += len(found)
        if self.error is not None:
            self._place(self.error)
        return found

    def end(self) -> list[str]:
        """Return what is held as a line, and begin anew."""
        line = "".join((*self._held, self._text(b"", is_last=True)))
        if self.error is not None:
            self._place(self.error)
            return []
        self._decoder.reset()
        self._held = []
        self._count = 0
        return [line] if line else []

    def _text(self, block: bytes, *, is_last: bool) -> str:
        before = self._decoder.getstate()
        try:
            return self._decoder.decode(block, is_last)
        except UnicodeDecodeError as error:
            self.error = error
            # Its object is what was left of the block before, and this block.
            good = max(len(block) - (len(error.object) - error.start), 0)
            self._decoder.setstate(before)
            return self._decoder.decode(block[:good])

    def _place(self, error: UnicodeDecodeError) -> None:
        error.reason += (
            f" (line {self._count + 1:,} of {self._path!r}; another `encoding`, or "
            'errors="replace", may read it)'
        )
