"""The engines by name, as text: nothing is imported before it is asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gearshift.engines.base import Engine

__all__ = ["ENGINES", "check_name", "make_engine"]

ENGINES = {
    "serial": ("gearshift.engines.serial", "SerialExecutor"),
    "threads": ("gearshift.engines.threads", "ThreadExecutor"),
    "asyncio": ("gearshift.engines.asyncio_", "AsyncioExecutor"),
    "processes": ("gearshift.engines.processes", "ProcessExecutor"),
}


def check_name(name: str) -> None:
    """Refuse a name that is no engine's.

    Raises:
        ValueError: There is no such engine; the message names the nearest.
    """
    names = ["auto", *ENGINES]
    if name in names:
        return
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"on={name!r} is not an engine: there are {', '.join(map(repr, names))}{hint}")


def make_engine(name: str, workers: int | None) -> Engine:
    """Make the engine of that name; the caller ends it.

    Args:
        name: One of `ENGINES`.
        workers: How many, or None for the engine's default; ignored by serial.
    """
    module, kind = ENGINES[name]
    factory = getattr(import_module(module), kind)
    engine: Engine = factory() if name == "serial" else factory(workers)
    return engine
