"""What it takes to carry items to another process and their values back.

Measured on one item and one value, by pickling them as the pool does, the second time where that is
quick: the first pays for what is not in the processor's caches. What is large and has a buffer of its
own (NumPy arrays) is copied beside the pickle. Nothing is unpickled: that would run code of the user's
in the caller; it is taken to last as long as the pickling.
"""

from __future__ import annotations

import pickle
import time
from typing import Any, NamedTuple

__all__ = ["Carriage", "carriage"]

MESSAGE_SECONDS = (
    3e-7  # an item's share of a long chunk, each way (benchmarks/processes.py, trivial)
)
PIPE_BYTES_PER_SECOND = 1.2e9  # through a pipe, with what both ends copy
COPY_BYTES_PER_SECOND = 4e9  # into shared memory
QUICK_SECONDS = 0.001  # to pickle, below which it is done again, and the call itself counts:
CALL_SECONDS = 4e-7  # of `pickle.dumps`, once a chunk where it is done for good


class Carriage(NamedTuple):
    """Seconds an item: in the caller's thread, and in the worker."""

    send_seconds: float
    carry_seconds: float


def carriage(item: Any, value: Any) -> Carriage | None:
    """Return what carrying costs, or None where one of them cannot be pickled."""
    try:
        out = _pickled(item)
        back = _pickled(value)
    except Exception:  # whatever a `__reduce__` of the user's raises
        return None
    both = MESSAGE_SECONDS + sum(out) + sum(back)
    return Carriage(both, both)


def _pickled(value: Any) -> tuple[float, float]:
    """Return the seconds to pickle (or unpickle) a value, and to move it."""
    buffers: list[pickle.PickleBuffer] = []
    seconds = float("inf")
    for _ in range(2):
        buffers.clear()
        began = time.perf_counter()
        data = pickle.dumps(value, 5, buffer_callback=buffers.append)
        seconds = min(seconds, time.perf_counter() - began)
        if seconds > QUICK_SECONDS:
            break
    seconds = max(0.0, seconds - CALL_SECONDS)
    beside = sum(buffer.raw().nbytes for buffer in buffers)
    return seconds, len(data) / PIPE_BYTES_PER_SECOND + beside / COPY_BYTES_PER_SECOND
