"""How much memory is used, of how much there is: in this process's cgroup, or else on the machine.

Apart from `host`, which tells cores. The kernel kills at the cgroup's limit (`memory.max`), so the
tightest one on the way to the root counts; page cache that is not in use (`inactive_file`) is given
back first and does not (Linux, Documentation/admin-guide/cgroup-v2.rst). Elsewhere `MemAvailable` of
/proc/meminfo, and nothing where there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gearshift.host import cgroup_folders

__all__ = ["Memory", "memory"]

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")


class Memory(NamedTuple):
    """Bytes in use, and bytes that there are."""

    used: int
    total: int


def memory(own: Path = _OWN, root: Path = _ROOT, meminfo: Path = _MEMINFO) -> Memory | None:
    """Return what is used and what there is, or None where nobody tells. Takes some 50 us.

    Args:
        own: File that names this process's cgroup.
        root: Where the cgroup v2 hierarchy is mounted.
        meminfo: The machine's.
    """
    machine = _of_machine(meminfo)
    limited = [each for each in map(_of_folder, cgroup_folders(own, root)) if each is not None]
    group = max(limited, key=_share, default=None)
    if group is None or machine is None:
        return group or machine
    return max(group, machine, key=_share)


def _share(memory: Memory) -> float:
    return memory.used / memory.total


def _of_machine(meminfo: Path) -> Memory | None:
    try:
        lines = meminfo.read_text("ascii").splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[:5]}
        total = kilobytes["MemTotal"] * 1024
        return Memory(total - kilobytes["MemAvailable"] * 1024, total)
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _of_folder(folder: Path) -> Memory | None:
    """Return those of one cgroup, or None where nothing is limited."""
    try:
        total = int((folder / "memory.max").read_text())  # "max" where there is no limit
        used = int((folder / "memory.current").read_text())
        for line in (folder / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                used -= int(line.split()[1])
        return Memory(max(used, 0), total) if total > 0 else None
    except (OSError, ValueError):
        return None
