"""What a stage's function is made into, by what its outcomes mean: the lists of `flat_map` are told from other lists.

Apart from the stage, since this is what workers run.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

from gearshift._work.run_chunk import is_coroutine_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift._run.ledger import Errors
    from gearshift.facts import Failure

__all__ = ["Kind", "Listed", "stand_in_of", "work_of"]

Kind = Literal["map", "filter", "flat_map"]


class Listed(list[Any]):
    """What a function of `flat_map` gave for one item."""

    __slots__ = ()


def work_of(fn: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
    """Return the function of a stage's tasks: a generator's work is the worker's."""
    if kind != "flat_map":
        return fn
    if is_coroutine_function(fn):

        @functools.wraps(fn)
        async def gather(*args: Any, **keywords: Any) -> Any:
            return Listed(await fn(*args, **keywords))

        return gather
    return functools.update_wrapper(_Lister(fn), fn)


def stand_in_of(
    errors: Errors | Callable[[Failure], Any], kind: Kind
) -> Errors | Callable[[Failure], Any]:
    """Return `errors` such that what a function gives for a failure is what the stage's function would give."""
    if kind != "flat_map" or isinstance(errors, str):
        return errors
    return lambda failure: Listed(errors(failure))


class _Lister:
    __slots__ = ("__dict__", "_fn")  # apart from what `fn` has in its own

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return Listed(self._fn(*args, **keywords))
