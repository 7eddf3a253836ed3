"""`gs.task`: what the author of a function knows about where it may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gearshift.plans import Said

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["task"]

F = TypeVar("F", bound="Callable[..., Any]")


def task(
    *, threads: bool | None = None, processes: bool | None = None, reason: str = ""
) -> Callable[[F], F]:
    """Return a decorator that tells `on="auto"` where a function may run.

    Auto looks at a function's code before it leaves the caller's thread (docs/limits.md). Where that
    sees too much or too little, say so. An engine named by `on=` is used whatever stands here.

    Args:
        threads: False keeps it off threads, True vouches for them; None leaves it to the check.
        processes: The same for worker processes.
        reason: Why not; asked for with False, and shown in the report.

    Returns:
        The decorator; it returns the very function that it is given.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Nothing is said, or False without a reason.

    Example:
        >>> import gearshift as gs
        >>> @gs.task(processes=False, reason="it draws in the window of this process")
        ... def draw(item): ...
    """
    for name, value in (("threads", threads), ("processes", processes)):
        if value is not None and not isinstance(value, bool):
            raise TypeError(f"{name}={value!r} is not True, False or None")
    if not isinstance(reason, str):
        raise TypeError(f"reason={reason!r} is not text")
    if threads is None and processes is None:
        raise ValueError("gs.task() says nothing: give threads= or processes=, True or False")
    if False in {threads, processes} and not reason.strip():
        raise ValueError(
            f"threads={threads!r}, processes={processes!r} without a reason: say why not, "
            'such as reason="it draws in the window of this process"'
        )
    said = Said(threads, processes, reason.strip())

    def note(function: F) -> F:
        if not callable(function):
            raise TypeError(f"gs.task(...) is for functions, and got {function!r}")
        function.__gearshift_task__ = said  # type: ignore[attr-defined]
        return function

    return note
