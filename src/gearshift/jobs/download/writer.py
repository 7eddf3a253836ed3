"""Large bodies: written and hashed by a thread each, while they come; and what is left of one that breaks off."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gearshift.jobs.download.folder import PartFile

__all__ = ["Partial", "Writer"]

BATCH_BYTES = 1 << 20  # that are written and hashed together
QUEUED_BATCHES = 8  # between the network and the disk, for each large file


@dataclass
class Partial:
    """What an attempt that broke off has left, for the next to go on with."""

    file: PartFile
    digest: Any
    validator: str
    total_bytes: int


class Writer:
    """A thread that writes and hashes one large body."""

    def __init__(self, file: PartFile, digest: Any) -> None:
        """Begin; both are its own until `end`."""
        self.file: PartFile = file
        self.digest: Any = digest
        self.error: Exception | None = None
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._batches: queue.Queue[list[bytes]] = queue.Queue(QUEUED_BATCHES)
        self._thread = threading.Thread(target=self._run, name="gearshift-curl-writer", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Take a piece; waits while the disk is far behind."""
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes >= BATCH_BYTES:
            self._hand_over()

    def end(self) -> None:
        """Return when all is written."""
        if self._pieces:
            self._hand_over()
        self._batches.put([])
        self._thread.join()

    def _hand_over(self) -> None:
        """Give what came to the thread: to wake it for each piece would take as long as to write it."""
        batch, self._pieces, self._bytes = self._pieces, [], 0
        self._batches.put(batch)

    def _run(self) -> None:
        while batch := self._batches.get():
            if self.error is not None:
                continue
            try:
                self.file.write_all(batch)
                for data in batch:
                    self.digest.update(data)
            except Exception as error:  # such as a full disk; whatever it is, the file is not whole
                self.error = error
