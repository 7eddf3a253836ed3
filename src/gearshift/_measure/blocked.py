"""What a thread of this process waits for, seen from another: Linux only, elsewhere nobody knows.

`/proc/self/task/TID/syscall` holds the number of the system call that the thread is in and its
arguments, or "running" (Linux, Documentation/filesystems/proc.rst); `schedstat` its CPU time and
the time that it was ready but had no core. Numbers are those of the kernel's tables for x86-64 and
for arm64 (include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["ThreadTimes", "blocked_on", "thread_times", "times_blocked"]

_TASKS = Path("/proc/self/task")
_BY_MACHINE = {
    "x86_64": {
        35: "sleep", 230: "sleep",
        7: "poll", 271: "poll", 23: "select", 270: "select", 232: "socket", 281: "socket",
        42: "socket", 43: "socket", 288: "socket", 44: "socket", 45: "socket", 46: "socket", 47: "socket",
        0: "read", 1: "read", 17: "file", 18: "file", 19: "read", 20: "read", 74: "file", 75: "file", 257: "file",
        61: "child", 247: "child", 202: "lock",
    },
    "aarch64": {
        101: "sleep", 115: "sleep",
        73: "poll", 72: "select", 22: "socket",
        203: "socket", 202: "socket", 242: "socket", 206: "socket", 207: "socket", 211: "socket", 212: "socket",
        63: "read", 64: "read", 67: "file", 68: "file", 65: "read", 66: "read", 82: "file", 83: "file", 56: "file",
        260: "child", 95: "child", 98: "lock",
    },
}  # fmt: skip
_CALLS = _BY_MACHINE.get(platform.machine(), {})
_KINDS = (("socket:", "socket"), ("pipe:", "child"))  # of what a descriptor leads to


class ThreadTimes(NamedTuple):
    """What a thread has had since it began: seconds on a core, and seconds ready without one."""

    cpu_seconds: float
    delay_seconds: float


def blocked_on(thread: int) -> str | None:
    """Return what a thread waits for: "sleep", "socket", "child", "file", "lock"; None if it runs or nobody knows.

    Args:
        thread: Its number (`threading.Thread.native_id`).
    """
    try:
        words = (_TASKS / str(thread) / "syscall").read_text("ascii").split()
        kind = _CALLS.get(int(words[0]))
        if kind == "select":  # without descriptors it is a sleep
            return "sleep" if int(words[1], 16) == 0 else "socket"
        if kind == "poll":
            return "sleep" if int(words[2], 16) == 0 else "socket"
        return _of_descriptor(int(words[1], 16)) if kind == "read" else kind
    except (OSError, ValueError, IndexError):
        return None


def times_blocked(thread: int) -> int | None:
    """Return how often a thread has begun to wait, or None where nobody tells (`status` in /proc)."""
    try:
        text = (_TASKS / str(thread) / "status").read_text("ascii")
        return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    except (OSError, ValueError, IndexError):
        return None


def thread_times(thread: int, ident: int) -> ThreadTimes | None:
    """Return what a thread has had, or None where nobody tells.

    Args:
        thread: Its number.
        ident: What `threading.get_ident()` gave in it; it has to be alive. Its clock is exact, where
            `schedstat` learns of a running thread every few milliseconds.
    """
    try:
        delay = int((_TASKS / str(thread) / "schedstat").read_bytes().split()[1]) * 1e-9
        return ThreadTimes(time.clock_gettime(time.pthread_getcpuclockid(ident)), delay)
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _of_descriptor(fd: int) -> str:
    """Return what a read or write of this descriptor waits for."""
    target = str(Path(f"/proc/self/fd/{fd}").readlink())
    return next((kind for start, kind in _KINDS if target.startswith(start)), "file")
