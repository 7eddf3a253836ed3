"""`gs.task`: what the author of a function knows of it, and a check of its code cannot.

Apart from `map`, since a module that only marks its functions needs nothing else of ours.
The function stays the very same object: it pickles, types and reads as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gearshift.plans import Declared

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["task"]

F = TypeVar("F", bound="Callable[..., Any]")


def task(
    *, threads: bool | None = None, processes: bool | None = None, reason: str = ""
) -> Callable[[F], F]:
    """Say where a function may run when `on="auto"` chooses; `on=` by hand overrules it.

    Args:
        threads: False keeps its tasks from overlapping in one process; True vouches that they
            may, whatever the check of its code finds; None leaves it to the check.
        processes: The same of worker processes.
        reason: Why something is False: reports give it.

    Returns:
        A decorator for functions, coroutine functions and callable classes; it returns what it
        is given.

    Raises:
        TypeError: An argument is of the wrong type, or the function cannot keep a mark.
        ValueError: Nothing is said, or something is forbidden without a reason.

    Example:
        >>> import gearshift as gs
        >>> @gs.task(processes=False, reason="the licence allows one process")
        ... def simulate(case: int) -> int:
        ...     return case * 2
        >>> list(gs.map(simulate, [1, 2]))
        [2, 4]
    """
    declared = _declared(threads, processes, reason)

    def mark(function: F) -> F:
        if not callable(function):
            raise TypeError(f"function={function!r} is not callable: gs.task marks functions")
        try:
            function.__gearshift_task__ = declared  # type: ignore[attr-defined]
        except (AttributeError, TypeError) as error:
            raise TypeError(
                f"function={function!r} cannot keep a mark: put a function of your own around it"
            ) from error
        return function

    return mark


def _declared(threads: object, processes: object, reason: object) -> Declared:
    """Return what is said.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Nothing is said, or no reason is given for what is forbidden.
    """
    for name, value in (("threads", threads), ("processes", processes)):
        if value is not None and not isinstance(value, bool):
            raise TypeError(f"{name}={value!r} is not True, False or None")
    if not isinstance(reason, str):
        raise TypeError(f"reason={reason!r} is not text")
    if threads is None and processes is None:
        raise ValueError(
            "threads=None and processes=None say nothing: give one of them True or False"
        )
    if False in {threads, processes} and not reason.strip():
        raise ValueError(
            f"reason={reason!r} says nothing: what is forbidden needs a reason, which reports give"
        )
    assert threads is None or isinstance(threads, bool)
    assert processes is None or isinstance(processes, bool)
    return Declared(threads, processes, reason.strip())
