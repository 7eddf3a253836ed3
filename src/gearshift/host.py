"""What this machine gives to this process: the cores it may use, and a pause from Ctrl-C.

Apart from the engines so that all of them count the same way. Reads the operating
system only; nothing is cached, because affinity and quotas change while a program runs.
"""

from __future__ import annotations

import _thread
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

__all__ = [
    "affinity_cores",
    "cgroup_cores",
    "cgroup_folders",
    "cores",
    "interrupts_held",
    "interrupts_postponed",
    "run_delay_seconds",
    "short_turns",
]

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_OWN_CGROUP = Path("/proc/self/cgroup")


def cores() -> int:
    """Return how many cores this process can keep busy, at least 1.

    The smaller of what its CPU affinity names and what its cgroup v2 quota pays for,
    rounded up: half a core more still lets one more worker run half of the time.
    """
    quota = cgroup_cores()
    allowed = affinity_cores()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def affinity_cores() -> int:
    """Return the cores that the scheduler may place this process on, at least 1."""
    if hasattr(os, "process_cpu_count"):  # 3.13: honours -X cpu_count too
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def cgroup_cores(own: Path = _OWN_CGROUP, root: Path = _CGROUP_ROOT) -> float | None:
    """Return the cores that cgroup v2 pays for: the tightest quota on the way to the root.

    `cpu.max` holds "QUOTA PERIOD" in microseconds, or "max PERIOD" (Linux,
    Documentation/admin-guide/cgroup-v2.rst).

    Args:
        own: File that names this process's cgroup.
        root: Where the cgroup v2 hierarchy is mounted.

    Returns:
        Cores, perhaps a fraction, or None where nothing is limited or known.
    """
    quotas = [_quota(folder / "cpu.max") for folder in cgroup_folders(own, root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def cgroup_folders(own: Path = _OWN_CGROUP, root: Path = _CGROUP_ROOT) -> list[Path]:
    """Return the folders of this process's cgroup v2 and of those around it, to the root; none where there is none.

    Args:
        own: File that names this process's cgroup.
        root: Where the cgroup v2 hierarchy is mounted.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    inside = next((line[3:].strip("/") for line in lines if line.startswith("0::")), None)
    if inside is None:
        return []
    here = root / inside
    around = [here, *here.parents]
    return around[: around.index(root) + 1] if root in around else around


def _quota(file: Path) -> float | None:
    """Return the cores that one `cpu.max` allows, or None for all."""
    try:
        quota, period = file.read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def run_delay_seconds() -> float | None:
    """Return how long this thread has been ready to run without getting a core, since it began.

    The second field of the thread's `schedstat` (Linux, Documentation/scheduler/sched-stats.rst),
    or None where there is none. Takes some 20 us.
    """
    try:
        return int(_SCHEDSTAT.read_bytes().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return None


STUCK_SECONDS = 0.5  # between a Ctrl-C that is held back and the next that is not
SHORT_TURN_SECONDS = 0.0005  # two threads that want the GIL keep 0.97 of their throughput
_turns_guard = threading.Lock()
_turns: list[float] = []  # the interval to go back to, once for everybody who shortened it


def short_turns(*, wanted: bool) -> None:
    """Have threads that want the GIL take turns of 0.5 ms instead of 5, or no longer.

    Each call that wants it is to be followed by one that does not; the last puts back what was there.
    """
    with _turns_guard:
        if wanted:
            _turns.append(sys.getswitchinterval())
            sys.setswitchinterval(min(_turns[0], SHORT_TURN_SECONDS))
        elif _turns:
            before = _turns[0]
            _turns.pop()
            if not _turns:
                sys.setswitchinterval(before)


# The functions below those of `signal`, which make members of enumerations: 0.4 us instead of 4.4.
_signal: Any = sys.modules["_signal"].signal
_getsignal: Any = sys.modules["_signal"].getsignal
_SIGINT = int(signal.SIGINT)


class interrupts_held:  # noqa: N801 - used like a function
    """Hold a Ctrl-C back while the body runs, and deliver it at the end.

    A KeyboardInterrupt between two lines of bookkeeping would tear it apart. A second one that
    comes half a second later is delivered at once: whatever is held up is stuck, and a user
    who presses Ctrl-C again wants out. Does nothing outside the main thread, where none can
    arise, nor where SIGINT is ignored or handled outside Python. Costs two calls of `signal`, about 1.5 us in all.
    """

    __slots__ = ("_frame", "_noted_at", "_previous")

    def __enter__(self) -> None:
        """Put a handler in place that only takes note."""
        self._frame: FrameType | None = None
        self._noted_at = math.inf
        self._previous: Any = None
        if threading.get_ident() != threading.main_thread().ident:
            return
        previous = _getsignal(_SIGINT)
        if callable(previous):
            self._previous = previous  # before the swap: an interrupt in between is raised as ever
            _signal(_SIGINT, self._note)

    def __exit__(self, *_: object) -> None:
        """Put the handler back, and call it if there was a signal."""
        if self._previous is None:
            return
        _signal(_SIGINT, self._previous)
        if self._frame is not None:
            self._previous(_SIGINT, self._frame)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._noted_at > STUCK_SECONDS:
            self._frame = None
            self._previous(signum, frame)
            return
        self._noted_at = min(self._noted_at, now)
        self._frame = frame if frame is not None else sys._getframe()  # noqa: SLF001 - any frame will do


class interrupts_postponed(interrupts_held):  # noqa: N801 - used like a function
    """Hold a Ctrl-C back while a finalizer runs, where CPython would drop it, and send it anew then."""

    __slots__ = ()

    def __exit__(self, *_: object) -> None:
        """Put the handler back; a signal comes again when the finalizer has returned."""
        if self._previous is None:
            return
        _signal(_SIGINT, self._previous)
        if self._frame is not None:
            _thread.start_new_thread(_interrupt_soon, ())


def _interrupt_soon() -> None:
    time.sleep(0.001)
    os.kill(os.getpid(), _SIGINT)
