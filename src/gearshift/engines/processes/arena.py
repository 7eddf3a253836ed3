"""The memory that a pool's processes have in common, and how each maps it: mmap(2), by ctypes.

One sparse file without a name (memfd_create(2)), which goes with its last descriptor and mapping:
nothing is ever to be unlinked. Apart from `slots`, which divides it.
"""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import suppress
from functools import cache
from typing import Any

from gearshift.engines.processes import wire

__all__ = ["Arena", "array_at", "copy_pages", "keep_heap", "memory_at", "trim_heap", "unmap"]

_FILE_BYTES = 1 << 62
_PUNCH = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE: fallocate(2)
_MAP_FIXED = 0x10  # mmap(2)
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE: madvise(2)
_FAILED = (1 << 64) - 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_HEAP_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


class Arena:
    """The file; see the module's head."""

    def __init__(self, fd: int) -> None:
        """Take over a descriptor, or -1: then there is none, and all goes with the messages."""
        self.fd: int = fd
        self._live: set[int] = set()  # addresses of arrays; changed in one step, by any thread
        self._is_left = False

    @classmethod
    def make(cls) -> Arena:
        """Make one, if that is possible here."""
        if sys.platform != "linux":
            return cls(-1)
        fd = wire.shared_file(0)
        try:
            os.ftruncate(fd, _FILE_BYTES)
        except OSError:  # files may not be so long (RLIMIT_FSIZE), though this one is empty
            os.close(fd)
            fd = -1
        return cls(fd)

    def map(self, offset: int, size: int, *, is_private: bool = False) -> int:
        """Return the address of a part of it, as memory; what is written to private one stays there.

        Raises:
            OSError: There is no room for that.
        """
        flags = mmap.MAP_PRIVATE if is_private else mmap.MAP_SHARED
        return self._map(None, offset, size, flags)

    def make_private(self, address: int, offset: int, size: int) -> None:
        """Make memory at an address this process's own, with what it has."""
        self._map(address, offset, size, mmap.MAP_PRIVATE | _MAP_FIXED)

    def _map(self, address: int | None, offset: int, size: int, flags: int) -> int:
        found = _libc().mmap(
            address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, self.fd, offset
        )
        if found == _FAILED:
            raise OSError(f"mmap of {size:,} bytes failed")
        return int(found)

    def punch(self, offset: int, size: int) -> None:
        """Give the memory of a part of it back; it reads as zeros from then on."""
        if self.fd >= 0:
            _libc().fallocate(self.fd, _PUNCH, offset, size)

    def hold(self, address: int) -> None:
        """Stay open for an array."""
        self._live.add(address)

    def let_go(self, address: int) -> None:
        """An array has gone."""
        self._live.discard(address)
        self._close_if_done()

    def leave(self) -> None:
        """Close when the last array has gone: nobody places anything any more."""
        self._is_left = True
        self._close_if_done()

    def close(self) -> None:
        """Close now: in a forked child, whose arrays are its own already."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _close_if_done(self) -> None:
        if self._is_left and not self._live:
            self.close()


def keep_heap() -> None:
    """Have this process keep what it has freed of its heap, as glibc does once 32 MB were freed.

    Else it gives all above 128 KB back again and again, and each array has to be made of new
    pages: 54 us for one of 100 KB where eight are made and dropped at a time, instead of 5 (mallopt(3)).
    """
    if not any(name in os.environ for name in _HEAP_VARIABLES):
        with suppress(AttributeError):  # another C library
            _libc().mallopt(_M_MMAP_THRESHOLD, 32 << 20)
            _libc().mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def trim_heap() -> None:
    """Give back what the heap keeps."""
    with suppress(AttributeError):
        _libc().malloc_trim(0)


def array_at(address: int, size: int) -> Any:
    """Return memory as a ctypes array, which weak references can be made to."""
    import ctypes  # 3 ms that only large buffers pay

    return (ctypes.c_char * size).from_address(address)


def memory_at(address: int, size: int) -> memoryview:
    """Return memory as bytes to be read and written."""
    return memoryview(array_at(address, size)).cast("B")


def copy_pages(address: int, size: int) -> None:
    """Have all pages of private memory be copies of what is mapped, as if they were written to."""
    if _libc().madvise(address, size, _POPULATE_WRITE) == 0:
        return
    memory = memory_at(address, size)  # Linux before 5.14
    for start in range(0, size, mmap.PAGESIZE):
        memory[start : start + 1] = bytes(memory[start : start + 1])


def unmap(address: int, size: int) -> None:
    """Let go of memory, if there is any."""
    if address:
        _libc().munmap(address, size)


@cache
def _libc() -> Any:
    """Return the C library: `mmap.mmap` would hold a descriptor for each mapping."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    word, size, long = ctypes.c_int, ctypes.c_size_t, ctypes.c_long
    libc.mmap.argtypes = (ctypes.c_void_p, size, word, word, word, long)
    libc.mmap.restype = ctypes.c_void_p
    libc.madvise.argtypes = (ctypes.c_void_p, size, word)
    libc.munmap.argtypes = (ctypes.c_void_p, size)
    libc.fallocate.argtypes = (word, word, long, long)
    return libc
