"""The concurrency models, one a file, and the protocol they keep; each loads late."""

from __future__ import annotations

TYPE_CHECKING = (
    False  # type checkers take it for true; `typing` itself would add 10 ms to the import
)
if TYPE_CHECKING:
    from gearshift.engines.asyncio_ import AsyncioExecutor as AsyncioExecutor
    from gearshift.engines.base import Engine as Engine
    from gearshift.engines.base import Job as Job
    from gearshift.engines.base import Lane as Lane
    from gearshift.engines.base import Wakeup as Wakeup
    from gearshift.engines.executor import EngineExecutor as EngineExecutor
    from gearshift.engines.foreign import ForeignEngine as ForeignEngine
    from gearshift.engines.processes import ProcessExecutor as ProcessExecutor
    from gearshift.engines.serial import SerialExecutor as SerialExecutor
    from gearshift.engines.threads import ThreadExecutor as ThreadExecutor

_HOMES = {
    "AsyncioExecutor": "asyncio_",
    "Engine": "base",
    "EngineExecutor": "executor",
    "ForeignEngine": "foreign",
    "Job": "base",
    "Lane": "base",
    "ProcessExecutor": "processes",
    "SerialExecutor": "serial",
    "ThreadExecutor": "threads",
    "Wakeup": "base",
}

__all__ = [
    "AsyncioExecutor",
    "Engine",
    "EngineExecutor",
    "ForeignEngine",
    "Job",
    "Lane",
    "ProcessExecutor",
    "SerialExecutor",
    "ThreadExecutor",
    "Wakeup",
]


def __getattr__(name: str) -> object:
    """Load an engine when it is first used.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'gearshift.engines' has no attribute {name!r}")
    from importlib import import_module  # the point of this function

    found: object = getattr(import_module(f"gearshift.engines.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
