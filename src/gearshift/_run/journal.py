"""`gs.Journal`: what a run has settled is kept in a file, and a second call goes on from there.

    pull -> admit: what is kept settles at once, the rest is sent -> settle: keep -> commit
                                                                     fail: note  /  every 100 ms

The pump calls it in its steps, in the consumer's thread; it has no thread of its own. What
is pickled is pickled at once, since the consumer may change a value that it was given.
By index, items are compared with what they were (as JSON); by `key`, only the keys count.
Over 400 lines because the two ways to know an item share how outcomes are kept.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import threading
import time
import warnings
from bisect import bisect_right
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gearshift._run.journal_file import (
    Connection,
    is_in_use,
    open_for_reading,
    read_meta,
    translated,
)
from gearshift._run.journal_items import (
    first_change,
    identity,
    plain,
    shown,
    storable,
    undigested,
)
from gearshift._work.pickling import dumps
from gearshift.errors import JournalError, JournalMismatchError
from gearshift.facts import LEFT, message_of, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gearshift.engines.base import Job
    from gearshift.facts import Failure

__all__ = ["Journal", "JournalSummary", "Logbook"]

COMMIT_SECONDS = 0.1
COMMIT_SHARE = 0.1  # of the time may go into committing more often
AWAY_SECONDS = 0.05  # a consumer that was away so long between two steps may be again


@dataclass(frozen=True, slots=True)
class JournalSummary:
    """What a journal has.

    Attributes:
        function: What the run is of.
        done: Items with a value.
        failed: Items that failed for good, to be run again.
        total: Items in all, where that is known.
        holder: The program that writes it now, with its pid, or None.
        failures: The first failures: item, type, message, attempts.
    """

    function: str
    done: int
    failed: int
    total: int | None
    holder: str | None
    failures: tuple[tuple[str, str, str, int], ...]

    @property
    def left(self) -> int | None:
        """Items that were neither done nor failed, where that is known."""
        return None if self.total is None else max(0, self.total - self.done - self.failed)


class Journal:
    """A file that keeps the outcomes of a run, for `journal=` of `gs.map` and `gs.each`.

    A second call with the same journal gives the kept values at their turn without
    running them again, and runs the rest, and what failed.

    Example:
        >>> import gearshift as gs
        >>> journal = gs.Journal("/tmp/squares.journal", key=str)
        >>> journal
        Journal('/tmp/squares.journal', key=<class 'str'>)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: Callable[[Any], Any] | None = None,
        still: Callable[[Any], bool] | None = None,
    ) -> None:
        """Name the file; it is opened when the run starts.

        Args:
            path: The file, on a local disk (SQLite cannot lock every network's).
            key: Gives an item's identity, text or a whole number, where the order of the
                inputs may change between calls. Without it an item is known by its place,
                and plain items (what JSON has) are compared. Items with the same key are
                told apart by their order.
            still: Says of a kept value whether it still holds, such as whether the file that it names
                is there; where it does not, the item runs again. It needs a `key`.

        Raises:
            TypeError: `path` is not a path, or `key` or `still` cannot be called.
            ValueError: `path` is empty, or there is no `key` beside `still`.
        """
        self.path: str = os.fsdecode(path)
        if not self.path:
            raise ValueError(f"path={path!r} is empty: name the file that is to keep the outcomes")
        if key is not None and not callable(key):
            raise TypeError(f"key={key!r} is not callable: it gives an item's identity")
        if still is not None and not callable(still):
            raise TypeError(f"still={still!r} is not callable: it says whether a kept value holds")
        if still is not None and key is None:
            raise ValueError("still= needs key=: an item known by its place has one value for good")
        self.key = key
        self.still = still
        self._failed_only = False
        self._marks: Callable[[], Mapping[str, Any]] | None = None
        self._begun: Callable[[Mapping[str, Any]], None] | None = None

    def __repr__(self) -> str:
        """Name the file."""
        key = "" if self.key is None else f", key={self.key!r}"
        return f"Journal({self.path!r}{key})"

    def summary(self, *, failures: int = 10) -> JournalSummary:
        """Return what the journal has, also while another program writes it.

        Args:
            failures: How many failures to list.

        Raises:
            JournalError: There is no such journal, or it cannot be read.
            JournalMismatchError: A newer gearshift wrote it.
        """
        sqlite = open_for_reading(self.path)
        try:
            with translated(self.path):
                meta = read_meta(sqlite)
                ((done,),) = sqlite.execute("SELECT coalesce(sum(count), 0) FROM kept")
                ((failed,),) = sqlite.execute("SELECT count(*) FROM failed")
                shown = sqlite.execute(
                    "SELECT item, type, message, attempts FROM failed LIMIT ?", (failures,)
                ).fetchall()
        finally:
            sqlite.close()
        holder = meta.get("holder") if is_in_use(self.path) else None
        return JournalSummary(
            function=meta.get("identity", {}).get("function", ""),
            done=done,
            failed=failed,
            total=meta.get("total"),
            holder=f"{holder['program']} (pid {holder['pid']})" if holder else None,
            failures=tuple(tuple(row) for row in shown),
        )

    def note_with(
        self,
        marks: Callable[[], Mapping[str, Any]],
        begun: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Have something else kept beside the outcomes (for the command line's output).

        Args:
            marks: Returns plain values by name, to be committed with the outcomes so far.
            begun: Told what was noted last, once the journal is ours.
        """
        self._marks = marks
        self._begun = begun

    def only_failed(self) -> None:
        """Run what failed and nothing else; what was never done gets the outcome `LEFT` (for the command line)."""
        self._failed_only = True

    def begin(self, job: Job, total: int | None) -> Logbook:
        """Open the file for a run.

        Raises:
            JournalError: It cannot be written, or is another function's, or somebody has it.
        """
        connection = Connection(self.path, identity(job, self.key))
        try:
            book = (_ByIndex if self.key is None else _ByKey)(self, connection)
            if total is not None:
                connection.write(meta={"total": total})
            if self._begun is not None:
                self._begun(connection.meta())
        except BaseException:
            connection.close()
            raise
        return book


class Logbook:
    """One run's use of a journal.

    Attributes:
        replayed: Items whose values were kept, and are not run again.
        left: The outcome of an item that is not to be run.
    """

    left: Any = LEFT

    def __init__(self, journal: Journal, connection: Connection) -> None:
        """Read what is known of the failures; the rest is read as items come."""
        self._connection = connection
        self._key = journal.key
        self._still = journal.still
        self._marks = journal._marks  # noqa: SLF001 - the two are one thing
        self._failed_only = journal._failed_only  # noqa: SLF001
        self._failed = {key for (key,) in connection.rows("SELECT key FROM failed")}
        self._pending: dict[str, list[tuple[Any, ...]]] = {
            "items": [],
            "kept": [],
            "failed": [],
            "mended": [],
        }
        self._committed_at = time.monotonic()
        self._stepped_at = self._committed_at
        self._commit_seconds = 0.0  # what the last one took
        self._warning = ""  # to be given at the end of a step
        self._warned = False
        self._closing = threading.Lock()
        self.replayed: int = 0
        atexit.register(self._close_at_exit)

    def known(
        self, first: int, items: Sequence[Any]
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any] | None]]:
        """Yield items that come, cut where it changes, with their kept outcomes or None.

        Raises:
            JournalMismatchError: An item is another than it was.
            JournalError: A kept value cannot be read or rebuilt.
        """
        raise NotImplementedError

    def keep(self, first: int, items: Sequence[Any], values: Sequence[Any]) -> None:
        """Keep the values of consecutive items that have just settled."""
        raise NotImplementedError

    def fail(self, failure: Failure) -> None:
        """Note an item that failed for good."""
        key = self._name(failure.index)
        self._failed.add(key)
        words = (shown(failure.item), type_name(failure.exception), message_of(failure.exception))
        self._pending["failed"].append((key, *map(storable, words), failure.attempts))

    def tick(self, now: float) -> None:
        """Commit if that is due: when it takes a tenth of the time at most, and every 100 ms.

        Not only every 100 ms: the consumer may be away after this step, for how long nobody knows.

        Raises:
            JournalError: It cannot be written.
        """
        is_away_often = now - self._stepped_at > AWAY_SECONDS
        self._stepped_at = now
        if self._warning:
            warning, self._warning = self._warning, ""
            warnings.warn(warning, RuntimeWarning, stacklevel=2)
        pause = min(COMMIT_SECONDS, self._commit_seconds / COMMIT_SHARE)
        if is_away_often or now - self._committed_at >= pause:
            self.commit(now)

    def commit(self, now: float | None = None) -> None:
        """Commit what is pending.

        Raises:
            JournalError: It cannot be written; it stays pending.
        """
        self._committed_at = time.monotonic() if now is None else now
        marks = self._marks() if self._marks is not None else None
        if any(self._pending.values()) or marks:
            began = time.monotonic()
            self._connection.write(**self._pending, meta=marks)  # type: ignore[arg-type]
            self._commit_seconds = time.monotonic() - began
            for rows in self._pending.values():
                rows.clear()

    def close(self) -> None:
        """Commit and let go of the file; may be called again.

        Raises:
            JournalError: The last part cannot be written.
        """
        connection = self._connection
        if not connection.is_ours:  # the lock may be somebody's for ever in a forked child
            if not connection.is_closed:
                connection.close()
            return
        with self._closing:  # whoever comes second waits until all is kept
            if connection.is_closed:
                return
            try:
                self.commit()
            finally:
                connection.close()
                atexit.unregister(self._close_at_exit)

    def leave(self) -> None:
        """Say that nobody holds the run any more; `close` follows, perhaps from another thread. Never blocks."""
        self._connection.leave(self.close)

    def _close_at_exit(self) -> None:
        """Commit what a run that somebody still holds has settled."""
        with suppress(Exception):
            self.close()

    def _name(self, index: int) -> str:
        """Return an item's name in the table of failures."""
        raise NotImplementedError

    def _pack(self, first: int, values: Sequence[Any]) -> Iterator[tuple[int, int, bytes]]:
        """Pickle values together or, where one cannot be pickled, one by one; that one is not kept."""
        try:
            yield 0, len(values), _pickled(values)
        except Exception as error:
            if len(values) == 1:
                self._warn(first, values[0], error)
                return
            for offset, value in enumerate(values):
                for _, _, data in self._pack(first + offset, [value]):
                    yield offset, 1, data

    def _warn(self, index: int, value: object, error: Exception) -> None:
        """Tell once of a value that will have to be made again."""
        if not self._warned:
            self._warned = True
            self._warning = (
                f"the value of item {index} ({type(value).__qualname__}) cannot be pickled, so the journal does "
                f"not keep it and the next call runs it again: {type(error).__name__}: {error}"
            )

    def _outcomes(self, row: int) -> list[Any]:
        """Return the values of a row.

        Raises:
            JournalError: They cannot be rebuilt.
        """
        ((data, first),) = self._connection.rows("SELECT outcomes, first FROM kept WHERE id=?", row)
        try:
            values: list[Any] = pickle.loads(data)
        except Exception as error:
            raise JournalError(
                f"journal {self._connection.path}: the kept values from item {first} on cannot be rebuilt: "
                f"{type(error).__name__}: {error}. Have what they are made of importable again, or begin a new journal"
            ) from error
        return values

    def _unknown(
        self, items: Sequence[Any], names: Sequence[str]
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any] | None]]:
        """Yield items that have no value: to be run or, where only failures are wanted, to be left."""
        if not self._failed_only:
            yield items, None
            return
        for item, name in zip(items, names, strict=True):
            yield [item], None if name in self._failed else [LEFT]


class _ByIndex(Logbook):
    """Items are known by their place."""

    def __init__(self, journal: Journal, connection: Connection) -> None:
        super().__init__(journal, connection)
        rows = connection.rows("SELECT first, count, id FROM kept ORDER BY first")
        self._spans: list[tuple[int, int, int]] = rows
        self._firsts = [first for first, _, _ in rows]
        self._seen: deque[tuple[int, int]] = deque(
            connection.rows("SELECT first, count FROM items ORDER BY first")
        )
        self._read: tuple[int, list[Any]] | None = None  # the last row, which a pull may cut
        self._before: tuple[int, list[Any]] | None = None  # the same of the items

    def known(
        self, first: int, items: Sequence[Any]
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any] | None]]:
        self._compare(first, items)
        at, stop = first, first + len(items)
        place = max(0, bisect_right(self._firsts, first) - 1)
        while at < stop:
            while place < len(self._spans) and sum(self._spans[place][:2]) <= at:
                place += 1
            low, count, row = self._spans[place] if place < len(self._spans) else (stop, 0, 0)
            if low > at:
                until = min(low, stop)
                part = items[at - first : until - first]
                yield from self._unknown(part, [str(index) for index in range(at, until)])
            else:
                until = min(low + count, stop)
                values = self._values(row)[at - low : until - low]
                self.replayed += len(values)
                yield items[at - first : until - first], values
            at = until

    def keep(self, first: int, items: Sequence[Any], values: Sequence[Any]) -> None:
        for offset, count, data in self._pack(first, values):
            self._pending["kept"].append((first + offset, count, None, data))
        if self._failed:
            names = [str(index) for index in range(first, first + len(values))]
            mended = self._failed.intersection(names)
            self._failed -= mended
            self._pending["mended"] += [(name,) for name in mended]

    def _name(self, index: int) -> str:
        return str(index)

    def _values(self, row: int) -> list[Any]:
        if self._read is None or self._read[0] != row:
            self._read = (row, self._outcomes(row))
        return self._read[1]

    def _items(self, low: int) -> list[Any]:
        if self._before is None or self._before[0] != low:
            ((text,),) = self._connection.rows("SELECT items FROM items WHERE first=?", low)
            self._before = (low, json.loads(text, parse_constant=str))
        return self._before[1]

    def _compare(self, first: int, items: Sequence[Any]) -> None:
        """Hold items against those that were there before, and note those that are new.

        Raises:
            JournalMismatchError: One is another.
        """
        at, stop = first, first + len(items)
        while self._seen and at < stop:
            low, count = self._seen[0]
            until = min(low + count, stop)
            before = self._items(low)[at - low : until - low]
            part = items[at - first : until - first]
            now = json.loads(undigested(part), parse_constant=str)
            offset = None if before == now else first_change(before, now, part)
            if offset is not None:
                raise JournalMismatchError(
                    f"item {at + offset} is {shown(items[at - first + offset])}, and journal {self._connection.path} "
                    f"has {shown(before[offset])} at that place: the inputs have changed. "
                    "Say gs.Journal(path, key=...) where their order may change, or begin a new journal"
                )
            at = until
            if until == low + count:
                self._seen.popleft()
        if at < stop:
            self._pending["items"].append((at, stop - at, plain(items[at - first :])))


class _ByKey(Logbook):
    """Items are known by a key; the n-th item of a key is that key's n-th."""

    def __init__(self, journal: Journal, connection: Connection) -> None:
        super().__init__(journal, connection)
        self._places: dict[str, tuple[int, int]] = {}
        for row, text in connection.rows("SELECT id, keys FROM kept"):
            for offset, name in enumerate(json.loads(text)):
                self._places[name] = (row, offset)
        self._times: Counter[str] = Counter()
        self._names: dict[int, str] = {}  # of items that are on their way, by index
        self._read: dict[int, list[Any]] = {}

    def known(
        self, first: int, items: Sequence[Any]
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any] | None]]:
        names = [self._next_name(item) for item in items]
        at = 0
        holds = [self._holds(name) for name in names]
        while at < len(items):
            is_known = holds[at]
            until = at + 1
            while until < len(items) and holds[until] == is_known:
                until += 1
            if is_known:
                self.replayed += until - at
                yield items[at:until], [self._value(name) for name in names[at:until]]
            else:
                self._names.update(
                    zip(range(first + at, first + until), names[at:until], strict=True)
                )
                yield from self._unknown(items[at:until], names[at:until])
            at = until

    def keep(self, first: int, items: Sequence[Any], values: Sequence[Any]) -> None:
        names = [self._names.pop(index) for index in range(first, first + len(values))]
        for offset, count, data in self._pack(first, values):
            text = json.dumps(names[offset : offset + count])
            self._pending["kept"].append((first + offset, count, text, data))
        mended = self._failed.intersection(names)
        self._failed -= mended
        self._pending["mended"] += [(name,) for name in mended]

    def _name(self, index: int) -> str:
        return self._names.pop(index)

    def _next_name(self, item: Any) -> str:
        """Return an item's key as text, with its number where there were others.

        Raises:
            TypeError: The key is neither text nor a whole number.
        """
        assert self._key is not None
        key = self._key(item)
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise TypeError(
                f"the journal's key of item {shown(item)} is {key!r}: it must be text or a whole number"
            )
        name = json.dumps(key)
        self._times[name] += 1
        return name if self._times[name] == 1 else f"{name} #{self._times[name]}"

    def _holds(self, name: str) -> bool:
        """Whether an item has a value that still holds."""
        if name not in self._places:
            return False
        return self._still is None or bool(self._still(self._value(name)))

    def _value(self, name: str) -> Any:
        row, offset = self._places[name]
        if row not in self._read:
            if len(self._read) >= 64:  # noqa: PLR2004 - rows; in the order they were kept, one is enough
                self._read.clear()
            self._read[row] = self._outcomes(row)
        return self._read[row][offset]


def _pickled(values: Sequence[Any]) -> bytes:
    """Pickle values, what is of the main program by name: the next call runs it again, and knows its types.

    Raises:
        Exception: They cannot be pickled.
    """
    try:
        return pickle.dumps(list(values), pickle.HIGHEST_PROTOCOL)
    except Exception:
        return dumps(list(values))  # such as of a class made in a function
