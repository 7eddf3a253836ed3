"""The file of a journal: SQLite, one writer, and what of it a reader may see meanwhile.

    meta     name -> JSON: format, function, arguments, holder, total, marks
    items    index mode: what was admitted, as JSON, by range; so that changed inputs are noticed
    kept     outcomes that are values, pickled together as they settled, by range or by keys
    failed   items that failed for good; they run again, and are taken out when they succeed

Apart from `journal` so that all that touches the disk is in one place. Write-ahead log with
`synchronous=NORMAL`: a transaction survives the death of the program, and after a loss of power
the file is as one of the last commits left it (https://www.sqlite.org/wal.html).

One writer: a POSIX lock on a file beside it, which dies with its process and which forked
workers do not inherit. Closing any descriptor of a locked file drops the lock, so that file is
not the database, which SQLite opens and closes as it likes; and it is opened by us alone.
Over 400 lines because file and lock are told from each other's errors.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gearshift.errors import JournalError, JournalInUseError, JournalMismatchError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["FORMAT", "Connection", "is_blank", "is_in_use", "open_for_reading"]

FORMAT = 1  # a program that writes another layout counts it up
_TABLES = {"meta", "items", "kept", "failed"}
_BUSY_SECONDS = 5.0  # a reader in the middle of `--show` is waited for
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items(first INTEGER PRIMARY KEY, count INTEGER, items TEXT);
CREATE TABLE IF NOT EXISTS kept(id INTEGER PRIMARY KEY, first INTEGER, count INTEGER, keys TEXT, outcomes BLOB);
CREATE TABLE IF NOT EXISTS failed(key TEXT PRIMARY KEY, item TEXT, type TEXT, message TEXT, attempts INTEGER)
    WITHOUT ROWID;
"""

_HELD: dict[str, _Lock] = {}  # POSIX locks do not keep a process from itself
_LEFT_TO_THE_PARENT: list[object] = []  # connections in a forked child, never to be closed there


class Connection:
    """The one writer's hold on a journal's file."""

    def __init__(self, path: str, identity: dict[str, Any]) -> None:
        """Lock and open the file, and make it if there is none.

        Args:
            path: The file.
            identity: What the journal is of; a file of something else is refused.

        Raises:
            JournalInUseError: Another program, or another run of this one, writes it.
            JournalMismatchError: It is a journal of something else, or of a newer gearshift.
            JournalError: It cannot be opened, or is no journal.
        """
        self.path = path
        self._pid = os.getpid()
        self._is_closed = False
        self._lock = _Lock(path)
        try:
            with translated(path):
                self._sqlite = _connect(path)
                _check_ours(path, self._sqlite)
                self._sqlite.execute("PRAGMA journal_mode=WAL")
                self._sqlite.execute("PRAGMA synchronous=NORMAL")
                self._begin(identity)
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, identity: dict[str, Any]) -> None:
        """Make the tables, or see whose they are."""
        found = read_meta(self._sqlite)
        if found:
            _check_format(self.path, found)
            _check_identity(self.path, found.get("identity"), identity)
        self._sqlite.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        holder = {"pid": self._pid, "program": _program(), "since": time.time()}
        self.write(meta={"format": FORMAT, "identity": identity, "holder": holder})

    def leave(self, close: Callable[[], None]) -> None:
        """Say that nobody holds the run any more: who wants the file next may call `close`."""
        self._lock.leave = close

    @property
    def is_closed(self) -> bool:
        """Whether it was let go of."""
        return self._is_closed

    @property
    def is_ours(self) -> bool:
        """Whether this process opened it, and not its parent."""
        return os.getpid() == self._pid

    def rows(self, query: str, *arguments: Any) -> list[Any]:
        """Return what a query finds.

        Raises:
            JournalError: The file cannot be read.
        """
        with translated(self.path):
            return self._sqlite.execute(query, arguments).fetchall()

    def meta(self) -> dict[str, Any]:
        """Return what the file says of itself.

        Raises:
            JournalError: It cannot be read.
        """
        with translated(self.path):
            return read_meta(self._sqlite)

    def write(
        self,
        *,
        items: Sequence[tuple[Any, ...]] = (),
        kept: Sequence[tuple[Any, ...]] = (),
        failed: Sequence[tuple[Any, ...]] = (),
        mended: Sequence[tuple[Any, ...]] = (),
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Commit rows in one transaction: all of them, or none where that fails.

        Raises:
            JournalError: It cannot be written; what was committed before stands.
        """
        sqlite = self._sqlite
        with translated(self.path):
            sqlite.execute("BEGIN IMMEDIATE")
            try:
                sqlite.executemany("INSERT OR REPLACE INTO items VALUES (?,?,?)", items)
                sqlite.executemany(
                    "INSERT INTO kept(first,count,keys,outcomes) VALUES (?,?,?,?)", kept
                )
                sqlite.executemany("INSERT OR REPLACE INTO failed VALUES (?,?,?,?,?)", failed)
                sqlite.executemany("DELETE FROM failed WHERE key=?", mended)
                sqlite.executemany(
                    "INSERT OR REPLACE INTO meta VALUES (?,?)",
                    [(name, json.dumps(value)) for name, value in (meta or {}).items()],
                )
                sqlite.execute("COMMIT")
            except BaseException:
                with suppress(Exception):
                    sqlite.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file; in a forked child, only of the memory."""
        self._is_closed = True
        if not self.is_ours:
            _LEFT_TO_THE_PARENT.append(
                self._sqlite
            )  # closing would tidy up under the parent's hands
            return
        with suppress(Exception):  # a full disk: the log stays beside the file, and is read with it
            self.write(meta={"holder": None})
        self._sqlite.close()
        self._lock.release()


def open_for_reading(path: str) -> sqlite3.Connection:
    """Open a journal that perhaps another program writes.

    Raises:
        JournalError: There is none, or it cannot be read.
    """
    if not os.path.exists(path):  # noqa: PTH110 - text
        raise JournalError(f"there is no journal {path}: a run with journal={path!r} makes it")
    with translated(path):
        sqlite = _connect(path)
        found = read_meta(sqlite)
        if not found:
            sqlite.close()
            raise JournalError(f"{path} is not a journal of gearshift, or an empty one")
        _check_format(path, found)
        return sqlite


def is_blank(path: str) -> bool:
    """Say whether a file is not there, or is a database in which nothing was ever committed.

    Raises:
        JournalError: It is something else.
    """
    if not os.path.exists(path):  # noqa: PTH110 - text
        return True
    with translated(path):
        sqlite = _connect(path)
        try:
            return not sqlite.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        finally:
            sqlite.close()


def read_meta(sqlite: sqlite3.Connection) -> dict[str, Any]:
    """Return what the file says of itself; nothing of one that is new."""
    exists = sqlite.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchall()
    if not exists:
        return {}
    return {
        name: json.loads(value) for name, value in sqlite.execute("SELECT name, value FROM meta")
    }


def is_in_use(path: str) -> bool:
    """Say whether a program has the journal open for writing."""
    try:
        _Lock(path, make=False).release()
    except JournalInUseError:
        return True
    return False


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn SQLite's errors into ours, with what to do.

    Raises:
        JournalError: In place of what SQLite raised.
    """
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(f"journal {path}: {_words(error)}") from error


def _words(error: sqlite3.Error) -> str:
    """Return what went wrong, and the cure."""
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return f"{text}. What was committed is safe: make room, and run the same again to go on from there"
    if "not a database" in text:
        return "this file is not a journal of gearshift: name another one"
    if "locked" in text:
        return f"{text} for {_BUSY_SECONDS:g} s by a program that reads it: end that one, and go on"
    return f"{text}. It must be a file on a local disk that you may write"


def _connect(path: str) -> sqlite3.Connection:
    """Open the database, without transactions of the module's own."""
    import sqlite3

    # The consumer's thread may change between two steps of a run; never two at once.
    # The whole path: `:memory:` is a file like any other here.
    return sqlite3.connect(
        os.path.abspath(path),  # noqa: PTH100 - text
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _check_format(path: str, found: dict[str, Any]) -> None:
    if found.get("format", 0) > FORMAT:
        raise JournalMismatchError(
            f"journal {path} has format {found['format']}, and this gearshift knows {FORMAT}: "
            "a newer gearshift wrote it; use that one, or another file"
        )


def _check_ours(path: str, sqlite: sqlite3.Connection) -> None:
    """Refuse a database of somebody else's, before anything in it is changed.

    Raises:
        JournalError: It is one.
    """
    tables = {name for (name,) in sqlite.execute("SELECT name FROM sqlite_master")}
    if tables and not tables.issuperset(_TABLES):
        sqlite.close()
        raise JournalError(
            f"{path} is a database of another program (it has {', '.join(sorted(tables)[:3])}): name another file"
        )


def _check_identity(path: str, found: Any, wanted: dict[str, Any]) -> None:
    """Refuse the journal of something else.

    Raises:
        JournalMismatchError: It is one.
    """
    for name, value in wanted.items():
        had = (found or {}).get(name)
        if had != value:
            raise JournalMismatchError(
                f"journal {path} is of {name} {had!r}, and this run is of {name} {value!r}: "
                "name another file, or delete this one to begin anew"
            )


def _program() -> str:
    """Return what this program was started as."""
    return " ".join(sys.argv) or sys.executable


class _Lock:
    """A lock beside the file, held until `release` or the end of the process."""

    def __init__(self, path: str, *, make: bool = True) -> None:
        """Take it.

        Raises:
            JournalInUseError: Somebody has it.
            JournalError: The file cannot be made.
        """
        self._path = f"{os.path.realpath(path)}.lock"
        self._key = os.path.realpath(path)
        self._fd = -1
        self._pid = os.getpid()
        self.leave: Callable[[], None] | None = None
        holder = _HELD.setdefault(self._key, self)  # one call: another thread may want it, too
        if holder is not self and holder.leave is not None:
            with suppress(JournalError):
                holder.leave()  # nobody holds that run any more; it does not matter who ends it
            holder = _HELD.setdefault(self._key, self)
        if holder is not self:
            raise JournalInUseError(
                f"journal {path} is in use by another run of this program: give each run a journal of its own"
            )
        try:
            is_ours = self._acquire(path, make=make)
        except BaseException:
            self._forget()
            raise
        if not is_ours:
            self._forget()

    def _acquire(self, path: str, *, make: bool) -> bool:
        """Take the lock of the file; say whether there was one to take.

        Raises:
            JournalInUseError: Another program has it.
            JournalError: The file cannot be made.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0)
        while True:
            try:
                self._fd = os.open(self._path, flags, 0o666)
            except FileNotFoundError as error:
                if not make:
                    return False
                raise JournalError(
                    f"journal {path}: there is no folder {os.path.dirname(self._key)!r}: make it first"  # noqa: PTH120
                ) from error
            except OSError as error:
                raise JournalError(f"journal {path}: cannot be locked: {error}") from error
            if not self._take():
                holder = self._holder(path)
                os.close(self._fd)
                raise JournalInUseError(
                    f"journal {path} is in use by {holder}: wait for it, or name another file"
                )
            if self._is_there():
                return True
            os.close(self._fd)  # its last owner took it away before we had it

    def _forget(self) -> None:
        """Let others of this program have it."""
        if _HELD.get(self._key) is self:
            del _HELD[self._key]

    def release(self) -> None:
        """Let go; the lock file goes too."""
        if self._fd < 0 or os.getpid() != self._pid:
            return
        with suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108 - text
        os.close(self._fd)
        self._fd = -1
        self.leave = None
        self._forget()

    def _take(self) -> bool:
        """Lock the file, or say that somebody has."""
        try:
            import fcntl
        except ImportError:  # Windows: O_RDWR there does not keep others out; the name below does
            import msvcrt

            try:
                msvcrt.locking(self._fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            except OSError:
                return False
            return True
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _is_there(self) -> bool:
        """Whether the locked file is still the one of that name."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self._path))  # noqa: PTH116
        except OSError:
            return False

    def _holder(self, path: str) -> str:
        """Return who has it, as the journal says."""
        try:
            sqlite = _connect(path)
            holder = read_meta(sqlite).get("holder") or {}
            sqlite.close()
        except Exception:
            holder = {}
        if "pid" not in holder:
            return "another program"
        return f"{holder.get('program')!r} (pid {holder['pid']})"


def _forget_locks() -> None:
    """Hold nothing in a forked child: the locks are the parent's."""
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)
