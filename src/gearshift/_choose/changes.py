"""Say what would lead to another choice: the chooser is asked again with one thing changed.

Pure, like the chooser.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gearshift._choose.pick import pick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gearshift.plans import Plan, Profile

__all__ = ["changes"]

MOST_ITEMS = 10**9  # beyond that nobody waits for the end
MORE_CORES = 16


def changes(profile: Profile) -> tuple[str, ...]:
    """Return what would lead to another engine, a few words each.

    Args:
        profile: What the plan was made from; `remaining` counts all items.
    """
    return tuple(_changes(profile, pick(profile)))


def _changes(profile: Profile, plan: Plan) -> Iterator[str]:
    if profile.coroutine:
        return
    yield from _fewer(profile, plan)
    yield from _more(profile, plan)
    for cores in (1, MORE_CORES):
        if (cores < profile.cores) == (cores == 1) and cores != profile.cores:
            other = pick(replace(profile, cores=cores))
            if other.engine != plan.engine:
                yield f"on {cores} core{'s' * (cores > 1)}: {_named(other)}"
    free = {
        profile.no_threads: replace(profile, no_threads=None),
        profile.no_processes: replace(profile, no_processes=None),
    }
    for reason, other_profile in free.items():
        if reason is not None:
            other = pick(other_profile)
            if other.engine != plan.engine:
                yield f"were it not that {reason}: {_named(other)}"


def _fewer(profile: Profile, plan: Plan) -> Iterator[str]:
    """Say from how few items on it is another engine."""
    if profile.remaining is None or plan.engine == "serial":
        return
    if pick(replace(profile, remaining=1)).engine != plan.engine:
        other, edge = _edge(profile, plan, same=profile.remaining, other=1)
        yield f"fewer than {_rounded(edge):,} items: {_named(other)}"


def _more(profile: Profile, plan: Plan) -> Iterator[str]:
    """Say from how many items on it is another engine."""
    if profile.remaining is None:
        return
    if pick(replace(profile, remaining=MOST_ITEMS)).engine != plan.engine:
        other, edge = _edge(profile, plan, same=max(1, profile.remaining), other=MOST_ITEMS)
        yield f"from about {_rounded(edge):,} items on: {_named(other)}"


def _edge(profile: Profile, plan: Plan, *, same: int, other: int) -> tuple[Plan, int]:
    """Return the other plan, and the larger of two neighbouring numbers of items that lead to different engines."""
    while abs(other - same) > 1:
        middle = (same + other) // 2
        if pick(replace(profile, remaining=middle)).engine == plan.engine:
            same = middle
        else:
            other = middle
    return pick(replace(profile, remaining=other)), max(same, other)


def _named(plan: Plan) -> str:
    return (
        "threads or processes, whichever a test of two threads shows"
        if plan.is_test
        else plan.engine
    )


def _rounded(count: int) -> int:
    """Return a count with two digits that matter: more of them would be a lie."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return round(count / unit) * unit
