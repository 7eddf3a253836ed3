"""What a run took of the machine: CPU time and memory, of this program and its workers.

Apart from the comparison, which only wants the figures. Nothing here runs beside a run. A
thread that looks at the memory again and again would keep the pool from forking its workers,
and a program that does so takes a core: a look takes 3 ms beside two workers of a small program,
25 ms where it holds 200 MB. So the system is asked at the end for what it has kept anyway:

- Memory. Linux keeps the peak of each process (`VmHWM`), and sets it back on request
  (`clear_refs`, proc(5): 0.1 ms). Before the last worker leaves, the proportional memory
  (`Pss`) of all processes is added up, in which a page that several share counts once, and to
  it how far each was below its peak. Pages of files are left out: their share changes by
  megabytes as other programs that run Python come and go. The peaks may have been at different
  moments, so the sum is an upper bound; workers that left earlier are not in it.
- CPU. Workers are waited for by the pool's keeper and it by us, so that after the end of a run
  all of their time is in `RUSAGE_CHILDREN`.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["Memory", "cpu_seconds"]

_PROC = Path("/proc")
_RESET_PEAK = "5"
_KILOBYTE = 1024
_TRIES = 5  # a pool may still be starting a worker that was not needed


def cpu_seconds() -> float | None:
    """Return the CPU time of this process, and of those children that ended and were waited for.

    None where the system does not tell (Windows).
    """
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


class Memory:
    """What this process and its children take from now on, at the most."""

    def __init__(self, proc: Path = _PROC) -> None:
        """Give back what earlier work has left, and begin.

        Else a later trial would find the memory of an earlier one, and seem to need none.

        Args:
            proc: Where the system tells of processes.
        """
        gc.collect()
        _give_back()
        self._proc = proc
        self._children = self._descendants(os.getpid())
        self._before: int | None = None
        with suppress(OSError, ValueError, KeyError):
            (proc / "self" / "clear_refs").write_text(_RESET_PEAK)
            self._before = self._own_kilobytes(os.getpid())

    def peak_bytes(self) -> int | None:
        """Return what was taken since the beginning, at the most, or None where nobody knows.

        Call it while the workers are there.
        """
        if self._before is None:
            return None
        for _ in range(_TRIES):
            taken = self._tree_kilobytes()
            if taken is not None:
                return max(0, taken - self._before) * _KILOBYTE
        return None

    def _tree_kilobytes(self) -> int | None:
        """Return the memory of this process and its new children, or None where these changed meanwhile.

        What a child that was missed shares with the others would be missing.
        """
        me = os.getpid()
        pids = {me, *(self._descendants(me) - self._children)}
        try:
            taken = sum(map(self._own_kilobytes, pids))
        except (OSError, ValueError, KeyError):
            return None
        return taken if pids == {me, *(self._descendants(me) - self._children)} else None

    def _own_kilobytes(self, pid: int) -> int:
        """Return the proportional memory of a process at its peak.

        Raises:
            KeyError: The system does not tell.
            OSError: There is no such process.
            ValueError: What the system tells is no number.
        """
        status = _numbers(self._proc / str(pid) / "status", {"VmHWM", "VmRSS"})
        now = _numbers(self._proc / str(pid) / "smaps_rollup", {"Pss_Anon", "Pss_Shmem"})
        below_peak = max(0, status["VmHWM"] - status["VmRSS"])
        return now["Pss_Anon"] + now["Pss_Shmem"] + below_peak

    def _descendants(self, pid: int) -> set[int]:
        """Return the children of a process, theirs too."""
        found: set[int] = set()
        with suppress(OSError, ValueError):
            for file in (self._proc / str(pid) / "task").glob("*/children"):
                found |= set(map(int, file.read_text().split()))
        for child in tuple(found):
            found |= self._descendants(child)
        return found


def _numbers(file: Path, names: set[str]) -> dict[str, int]:
    """Return named numbers of a file of `name:  number kB` lines."""
    parted = (line.partition(":") for line in file.read_text().splitlines())
    return {name: int(text.split()[0]) for name, _, text in parted if name in names}


def _give_back() -> None:
    """Have the C library give free memory back, where it is one that can."""
    if sys.platform != "linux":
        return
    import ctypes  # 10 ms, for who compares

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
