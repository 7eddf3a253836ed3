"""`gs.explain`: measure a function on a few of its items, and say which engine it would run on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gearshift._api.map import run_map
from gearshift._choose.changes import changes
from gearshift._choose.pick import pick
from gearshift._run.auto import Trial
from gearshift._work.run_chunk import is_coroutine_function, name_of
from gearshift.errors import RunCancelledError
from gearshift.host import cores
from gearshift.plans import Plan, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["explain"]

COROUTINE_ITEMS = 3  # run one after another
COROUTINE_SECONDS = 0.05


def explain(
    fn: Callable[..., Any],
    items: Sequence[Any],
    /,
    *,
    workers: int | None = None,
    star: bool = False,
) -> Plan:
    """Run a function on its first items, for real, and return the plan for all of them.

    It measures as `gs.map(fn, items)` would, stops when that would choose, and drops the values.
    `print` it for a few plain lines: what the function does with its time, what each engine would
    take, what would be chosen and why, and what would change that.

    Args:
        fn: The function; a coroutine function too.
        items: Its inputs; a few are run, which takes some ten milliseconds or one item's time.
        workers: As in `gs.map`.
        star: As in `gs.map`.

    Returns:
        The plan; `plan.engine` is the name, `plan.predictions` the seconds for all items by engine.

    Raises:
        TypeError: `items` is not a sequence, or another argument is of the wrong type.
        ValueError: There are no items, or another argument has a wrong value.

    Example:
        >>> import gearshift as gs
        >>> gs.explain(abs, range(-100, 0)).engine
        'serial'
    """
    if not isinstance(items, Sequence) and not hasattr(items, "__len__"):
        raise TypeError(
            f"items={items!r} is not a sequence: explain runs a few and predicts for all, so it has to "
            "know how many there are; give a list"
        )
    if len(items) == 0:
        raise ValueError(f"items={items!r} is empty: there is nothing to measure")
    whole = len(items)
    if is_coroutine_function(fn):
        profile = _coroutine_profile(fn, items, star=star)
    else:
        profile = _profile(fn, items, workers=workers, star=star)
    profile = replace(profile, remaining=whole, is_amid_item=False)
    plan = pick(profile)
    return replace(plan, name=name_of(fn), would_change=changes(profile))


def _profile(
    fn: Callable[..., Any], items: Sequence[Any], *, workers: int | None, star: bool
) -> Profile:
    """Run until auto would choose, and return what it saw.

    Raises:
        Exception: What the function raises if it fails on all that was run.
    """
    trial = Trial(len(items))
    with run_map(
        fn, (items,), errors="return", on="auto", workers=workers, star=star, trial=trial
    ) as run:
        with suppress(RunCancelledError):  # it has ended itself
            for _ in run:
                pass
        report = run.report
    if report.failed and not report.succeeded:
        raise report.failures[0].exception
    if trial.profile is None:  # workers=1
        return Profile(
            items=report.items,
            wall_seconds=report.busy_seconds,
            cpu_seconds=report.cpu_seconds,
            remaining=len(items),
            cores=1,
        )
    return trial.profile


def _coroutine_profile(fn: Callable[..., Any], items: Sequence[Any], *, star: bool) -> Profile:
    """Run a few coroutines one after another, and return what that took."""
    until = time.monotonic() + COROUTINE_SECONDS
    with run_map(fn, (items[:COROUTINE_ITEMS],), on="serial", star=star) as run:
        for _ in run:
            if time.monotonic() > until:
                break
        report = run.report
    return Profile(
        items=report.items,
        wall_seconds=report.busy_seconds,
        cpu_seconds=report.cpu_seconds,
        remaining=len(items),
        cores=cores(),
        coroutine=True,
    )
