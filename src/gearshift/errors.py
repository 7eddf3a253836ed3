"""Every exception of gearshift, under one base.

Apart from the rest so that any room may raise them: this module imports nothing of
ours. Where the standard library has a type for the fault, ours is also one of its,
so that existing `except` clauses keep catching it.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pickle import PicklingError
from queue import Full

__all__ = [
    "ChannelClosedError",
    "ChannelFullError",
    "GearshiftError",
    "JournalError",
    "JournalInUseError",
    "JournalMismatchError",
    "RemoteError",
    "RunCancelledError",
    "RunClosedError",
    "TaskTimeoutError",
    "TransportError",
    "UnsupportedError",
    "WorkerDiedError",
]


class GearshiftError(Exception):
    """Base of every exception that gearshift raises of its own."""


class TaskTimeoutError(GearshiftError, TimeoutError):
    """A task ran longer than `task_timeout` and was stopped or abandoned."""


class WorkerDiedError(GearshiftError, BrokenExecutor):
    """A worker ended while it held items: killed, crashed, or left by the task."""


class TransportError(GearshiftError, PicklingError):
    """A function, item or result cannot be pickled, or not be rebuilt elsewhere."""


class RemoteError(GearshiftError):
    """Stands in for a task's exception that cannot be pickled or rebuilt here.

    Attributes:
        type_name: Qualified name of the type that the task raised.
        message: `str()` of that exception.
    """

    def __init__(self, type_name: str, message: str) -> None:
        """Keep the name and the words of the exception that stayed behind."""
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message

    def __str__(self) -> str:
        """Say what was raised, and why it is not that exception itself."""
        return (
            f"{self.type_name}: {self.message} (the exception itself cannot be pickled and rebuilt)"
        )


class RunCancelledError(GearshiftError):
    """The run was cancelled; what had settled before was emitted."""


class RunClosedError(GearshiftError, RuntimeError):
    """The run, or the engine it was on, was closed before its end."""


class UnsupportedError(GearshiftError, ValueError):
    """An engine was asked for something that its traits say it cannot do."""


class JournalError(GearshiftError):
    """A journal cannot be opened, written or read."""


class JournalMismatchError(JournalError, ValueError):
    """A journal is of another function or of other inputs, or a newer gearshift wrote it."""


class JournalInUseError(JournalError):
    """Another program, or another run of this one, writes the journal."""


class ChannelClosedError(GearshiftError, RuntimeError):
    """A channel takes no more: it was closed or failed, or it is full and its run has ended."""


class ChannelFullError(GearshiftError, Full):
    """A channel is full, and this `put` may not wait until there is room."""
