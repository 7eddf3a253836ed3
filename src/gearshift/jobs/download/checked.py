"""What became of the pictures of a folder, so that a second call knows the files that were changed.

A journal keeps what was fetched: a path, a size, a digest. Once the file was reduced none of these holds, and it
would be fetched again. Here stands what each became, noted before it is changed: a program that is killed
in between leaves a note that does not fit the file, which is taken for none.

Used by several processes at once, each with a connection of its own, which `_lock` keeps to one thread at a time.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Checked", "Outcome"]

CHECKED = ".gearshift.pictures"
PAUSE_SECONDS = 0.005
BUSY_SECONDS = 60.0  # that another process may write; each takes well below 1 ms
_TABLE = """
CREATE TABLE IF NOT EXISTS pictures (
    fetched_path TEXT, fetched_sha256 TEXT,
    path TEXT, bytes INTEGER, sha256 TEXT, width INTEGER, height INTEGER, format TEXT, thumbnail TEXT, asked TEXT,
    PRIMARY KEY (fetched_path, fetched_sha256)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a file became; `asked` is what was asked for then."""

    path: str
    bytes: int
    sha256: str
    width: int
    height: int
    format: str
    thumbnail: str | None
    asked: str


class Checked:
    """See the module's head; opened when it is first used."""

    def __init__(self, root: Path) -> None:
        """Remember where."""
        self._path = root / CHECKED
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def of(self, path: str, sha256: str) -> Outcome | None:
        """Return what a fetched file became, or None where that is not known.

        Raises:
            OSError: The notes cannot be read.
        """
        question = "SELECT * FROM pictures WHERE fetched_path = ? AND fetched_sha256 = ?"
        try:
            with self._lock:
                if self._is_closed:  # a file that ends when its run is over already
                    return None
                row = self._open().execute(question, (path, sha256)).fetchone()
        except sqlite3.Error as error:
            raise OSError(f"{self._path}: {error}") from None
        return None if row is None else Outcome(*row[2:])

    def note(self, path: str, sha256: str, outcome: Outcome) -> None:
        """Keep what a fetched file becomes.

        Raises:
            OSError: It cannot be written.
        """
        order = "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        try:
            with self._lock:
                self._open().execute(order, (path, sha256, *astuple(outcome)))
        except sqlite3.Error as error:
            raise OSError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Let go of the file; may be called again."""
        with self._lock:
            self._is_closed = True
            connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            deadline = time.monotonic() + BUSY_SECONDS
            while self._connection is None:
                try:
                    self._connection = self._connected()
                except sqlite3.OperationalError as error:
                    # SQLite does not wait for the change to WAL, nor for the last one's leaving
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(PAUSE_SECONDS)
        return self._connection

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")  # a lost note costs a check, or a fetch
            connection.execute(_TABLE)
        except BaseException:
            connection.close()
            raise
        return connection
