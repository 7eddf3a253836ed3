"""The words for a worker's death.

Apart from pool and lane, which both need them.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from gearshift.errors import WorkerDiedError

if TYPE_CHECKING:
    from gearshift.engines.processes.wire import Died

__all__ = ["died_of", "how"]


def died_of(index: int, died: Died, pid: int) -> WorkerDiedError:
    """Return the error of an item whose worker died."""
    return WorkerDiedError(
        f"item {index}: the worker of processes that ran it (pid {pid}) {how(died)} after {died.seconds:.3g} s"
        f"{_cause(died)}. The other items are not lost; retries= tries this one again"
    )


def how(died: Died) -> str:
    """Say how a worker ended."""
    if died.status >= 0:
        return f"left with exit code {died.status}"
    with suppress(ValueError):
        return f"got {signal.Signals(-died.status).name}"
    return f"got signal {-died.status}"


def _cause(died: Died) -> str:
    causes = {
        -signal.SIGKILL: ", often out of memory",
        -signal.SIGSEGV: ", a fault in C code",
        -signal.SIGABRT: ", a fault in C code",
    }
    return causes.get(died.status, "")
