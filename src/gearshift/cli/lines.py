"""Lines of a file or a pipe, gzipped or not, as they come.

Apart from the other inputs because a pipe may fall silent for hours while outcomes are
due: a reader says how many lines are there (`available`), which descriptor to wait for
when there are none (`fileno`), and calls `before_waiting` before anybody waits.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import zlib
from collections import deque
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from gearshift.cli.problems import Broken, why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["GZIP_MAGIC", "Gunzip", "Items", "LineReader", "Reader"]

GZIP_MAGIC = b"\x1f\x8b"

_BLOCK_BYTES = 1 << 16  # as much as a pipe holds
_READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_BOM = b"\xef\xbb\xbf"
_GZIP_BITS = 31  # zlib: a gzip header, the largest window


@runtime_checkable
class Reader(Protocol):
    """Items that are read as they come."""

    before_waiting: Callable[[], object]

    def __iter__(self) -> Iterator[Any]: ...

    def __next__(self) -> Any: ...

    def available(self) -> int | None:
        """Return how many items can be taken without waiting, or None after the last."""
        ...

    def fileno(self) -> int:
        """Return the descriptor to wait for, or -1 where none can be waited for."""
        ...


class LineReader:
    """Iterates over the lines of a file, or of standard input as `-`; opens it when asked.

    A line that is not UTF-8 keeps its odd bytes as surrogates, as Python's file names do,
    so that it still opens its file. A line feed ends a line, with or without a carriage
    return before it, and nothing else does.
    """

    def __init__(self, path: str) -> None:
        """Remember the path."""
        self.before_waiting: Callable[[], object] = lambda: None
        self._path = path
        self._read: Callable[[int], bytes] | None = None
        self._fd = -1
        self._may_wait = False
        self._lines: deque[bytes] = deque()
        self._rest: list[bytes] = []  # of a line whose end has not come
        self._is_first = True
        self._has_ended = False
        self._gzip: Gunzip | None = None
        self._is_begun = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while not self._lines:
            if self._has_ended:
                raise StopIteration
            if not self._has_news():
                self.before_waiting()
            self._fetch()
        line = self._lines.popleft().removesuffix(b"\r")
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        return line.decode("utf-8", "surrogateescape")

    def __del__(self) -> None:
        """Close the file of a run that was cut short."""
        self._close()

    def fileno(self) -> int:
        """Return the descriptor to wait for, or -1 where none can be waited for."""
        return self._fd if self._may_wait else -1

    def available(self) -> int | None:
        """Return how many lines can be taken without waiting, or None after the last.

        Raises:
            Broken: Reading failed.
        """
        while not self._lines:
            if self._has_ended:
                return None
            if not self._has_news():
                self.before_waiting()
                return 0
            self._fetch()
        return len(self._lines)

    def _has_news(self) -> bool:
        """Say whether reading would return at once, as far as one can tell."""
        if self._read is None:
            self._open()
        if not self._may_wait:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def _fetch(self) -> None:
        """Take what there is; wait if there is nothing.

        Raises:
            Broken: Reading failed.
        """
        assert self._read is not None
        try:
            block = self._read(_BLOCK_BYTES)
        except OSError as error:
            raise Broken(f"reading {self._path} failed: {why(error)}.") from None
        if not self._is_begun and block.startswith(GZIP_MAGIC):
            self._gzip = Gunzip(self._path)
        self._is_begun = True
        if self._gzip is not None:
            plain = self._gzip.feed(block)
            if block and not plain:
                return  # not enough for a byte of text
            block = plain
        first, *others = block.split(b"\n")
        self._rest.append(first)
        if others or not block:
            self._lines.append(b"".join(self._rest))
            self._lines.extend(others)
            self._rest = [self._lines.pop()] if others else []
        if not block:
            self._has_ended = True
            if self._lines[-1] == b"":
                self._lines.pop()
            self._close()

    def _open(self) -> None:
        """Open the file, and find out whether it may fall silent.

        Raises:
            Broken: It cannot be opened.
        """
        try:
            self._fd = sys.stdin.fileno() if self._path == "-" else os.open(self._path, _READING)
        except ValueError:  # a stand-in for standard input, in a test
            self._read = sys.stdin.buffer.read
            return
        except OSError as error:
            raise Broken(f"reading {self._path} failed: {why(error)}.") from None
        self._read = partial(os.read, self._fd)
        is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._may_wait = not is_file and hasattr(select, "poll")

    def _close(self) -> None:
        if self._fd >= 0 and self._path != "-":
            os.close(self._fd)
        self._fd = -1
        self._may_wait = False


class Gunzip:
    """Takes gzip apart as it comes, member after member (RFC 1952)."""

    def __init__(self, path: str) -> None:
        """Begin.

        Args:
            path: For messages.
        """
        self._path = path
        self._member = zlib.decompressobj(wbits=_GZIP_BITS)

    def feed(self, block: bytes) -> bytes:
        """Return what is in a block; an empty one is the end.

        Raises:
            Broken: It is damaged, or ends too early.
        """
        parts = []
        try:
            while block:
                parts.append(self._member.decompress(block))
                block = self._member.unused_data.lstrip(b"\0")  # padding is allowed
                if block:
                    self._member = zlib.decompressobj(wbits=_GZIP_BITS)
        except zlib.error as error:
            raise Broken(
                f"reading {self._path} failed: its gzip data is damaged: {error}."
            ) from None
        if not parts and not self._member.eof:
            raise Broken(f"reading {self._path} failed: its gzip data ends too early.")
        return b"".join(parts)


class Items:
    """Iterates over the parts one after another; knows how many items are there."""

    def __init__(self, parts: Iterable[Reader | list[Any]]) -> None:
        """Begin with the first part.

        Args:
            parts: Readers, and items that are at hand.
        """
        self._parts = deque(parts)
        self._current: Iterator[Any] = iter(())

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while True:
            for item in self._current:
                return item
            if not self._parts:
                raise StopIteration
            self._current = iter(self._parts.popleft())

    def fileno(self) -> int:
        """Return the descriptor to wait for while nothing is available, or -1."""
        return self._current.fileno() if isinstance(self._current, Reader) else -1

    def available(self) -> int:
        """Return how many items can be taken without waiting; the end counts as one.

        Raises:
            Broken: Reading failed.
        """
        while True:
            if isinstance(self._current, Reader):
                count = self._current.available()
            else:
                count = length_hint(self._current) or None  # exact for a list's iterator
            if count is not None:
                return count
            if not self._parts:
                return 1
            self._current = iter(self._parts.popleft())

    def call_before_waiting(self, callback: Callable[[], object]) -> None:
        """Have something done before an item is waited for."""
        for part in (self._current, *self._parts):
            if isinstance(part, Reader):
                part.before_waiting = callback
