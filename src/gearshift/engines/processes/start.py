"""How a keeper is started, from this process or as a program of its own, and seen to have ended.

Apart from `pool`, which only wants to know its pid.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from gearshift._work.pickling import dumps
from gearshift.engines.processes import keeper, wire

if TYPE_CHECKING:
    import socket

    from gearshift.engines.processes.arena import Arena
    from gearshift.engines.processes.wire import Stamps
    from gearshift.engines.processes.worker import Duties

__all__ = ["TO_REAP", "exec_keeper", "fill_standard_descriptors", "fork_keeper", "is_reaped"]

TO_REAP: set[int] = set()  # keepers that are to end by themselves
_STDERR = 2


def fork_keeper(
    theirs: socket.socket, ours: int, stamps: Stamps, arena: Arena, duties: Duties
) -> int:
    """Fork it, and return its pid; this thread is the only one there is."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with suppress(Exception):  # it may be anything, None too
            stream.flush()  # type: ignore[union-attr] # or the workers had what is unwritten as well
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 counts OpenBLAS's threads
        pid = os.fork()
    if pid == 0:
        os.close(ours)
        keeper.begin(theirs, stamps, arena, duties)
    return pid


def fill_standard_descriptors() -> None:
    """Have 0, 1 and 2 be something: where one was closed, ours would be written to by prints."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fd, True)  # noqa: FBT003
    os.close(fd)


def exec_keeper(
    theirs: socket.socket, stamps_fd: int, arena_fd: int, duties: Duties, workers: int
) -> int:
    """Start the keeper as a program of its own, and return its pid."""
    import subprocess  # 2 ms that a fork does not pay

    data = dumps((sys.argv, duties))  # what is of `__main__` by value: it is not imported there
    duties_fd = wire.shared_file(len(data))
    try:
        os.pwrite(duties_fd, data, 0)
        fds = (theirs.fileno(), stamps_fd, arena_fd, duties_fd)
        program = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            "from gearshift.engines.processes.keeper import main\n"
            f"main({', '.join(map(str, fds))}, {workers})"
        )
        # A Ctrl-C would end it with a traceback until its own handler stands; so it starts deaf.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
            child = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, *flags, "-c", program],
                pass_fds=[fd for fd in fds if fd >= 0],
                stdin=subprocess.DEVNULL,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        child.returncode = 0  # it is waited for here, by its pid
        return child.pid
    finally:
        os.close(duties_fd)


def is_reaped(pid: int) -> bool:
    """Whether a keeper has ended; then nothing is left of it."""
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # somebody else waited for it
        done = pid
    if done == pid:
        TO_REAP.discard(pid)
    return done == pid
