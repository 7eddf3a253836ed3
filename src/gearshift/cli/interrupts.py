"""Ctrl-C and SIGTERM: held back while an outcome is on its way to its line; then a quick end.

Apart from the command because its promise needs care: an interrupt may come between any
two bytecodes. The interpreter looks for signals where a call begins or ends and where a
loop jumps back, so setting the plain attribute `held` right after a loop took an outcome
leaves no gap for one.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Interrupts", "leave"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Turns the signals into KeyboardInterrupt, at a good moment; a second one at once.

    Attributes:
        held: A signal waits for `release`.
        number: The first signal that came, or 0.
    """

    __slots__ = ("_before", "_pid", "_times", "_waiting", "held", "number")

    def __init__(self) -> None:
        """Begin without a signal."""
        self.held: bool = False
        self.number: int = 0
        self._waiting = False
        self._times = 0
        self._pid = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    @property
    def status(self) -> int:
        """The exit status that shells give a program ended by this signal."""
        return 128 + (self.number or signal.SIGINT)

    @property
    def name(self) -> str:
        """What to call the signal."""
        return "SIGTERM" if self.number == signal.SIGTERM else "Ctrl-C"

    def release(self) -> None:
        """End the holding.

        Raises:
            KeyboardInterrupt: A signal came in between.
        """
        self.held = False
        if self._waiting:
            self._waiting = False
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN:  # started with nohup, or in a script's background
                    self._before[number] = before
                    signal.signal(number, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)

    def _came(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked worker, told to end by its pool
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.number = self.number or number
        if number != signal.SIGINT and signal.SIGINT in self._before:
            signal.raise_signal(
                signal.SIGINT
            )  # comes when a Ctrl-C would: the run holds those back
            return
        self._times += 1
        if self.held and self._times == 1:
            self._waiting = True
            return
        self._waiting = False
        raise KeyboardInterrupt


def leave(status: int) -> NoReturn:
    """End the program without waiting for tasks that still run: nobody takes what they return.

    Worker processes are killed, and threads end with the program. What was registered with
    `atexit` is called; a Ctrl-C from here on ends it at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - nothing public calls them but a full exit
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)
