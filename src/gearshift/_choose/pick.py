"""Choose the engine for the rest of a run from what its first items showed.

Pure: the same profile gives the same plan, so a choice can be replayed in a test. The
thresholds are a first set, from measurements on a 2-core machine (docs/design.md).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gearshift.facts import Plan

if TYPE_CHECKING:
    from gearshift.facts import Profile

__all__ = ["pick"]

WAITING_SHARE = (
    0.5  # of wall time; where no run-queue delay is known, a busy machine alone makes 0.5
)
WAITING_WORTH_SECONDS = 0.001  # starting a few threads costs about that
MOST_THREADS = 64
THREADS_HEADROOM = 1.25  # more threads than w/c asks for, since waits vary
PROCESSES_WORTH_SECONDS = 0.15  # below that, their start alone decides
PROCESS_START_SECONDS = 0.03  # a worker, forked by the standard library's pool
PROCESS_ITEM_SECONDS = 1.5e-6  # to pickle a small item and its result, in long chunks
PROCESS_SHARE = 0.95  # of a core that a worker really gets
_THREE_DIGITS = 99.5  # from here on "%.2g" would write an exponent
CLEAR_GAIN = 1.15  # predicted gain below which the machine's noise decides


def pick(profile: Profile) -> Plan:
    """Return the plan for the items that remain.

    Args:
        profile: What the first items showed; with `remaining` unknown, as many again
            as the run has seen are expected.

    Returns:
        The plan, with its reasons in words.
    """
    if profile.coroutine:
        return Plan(
            "asyncio", None, ("it is a coroutine function: its waits overlap on one event loop",)
        )
    if (
        profile.items == 0
        or max(profile.wall_seconds - profile.delay_seconds, profile.cpu_seconds) <= 0
    ):
        return Plan("serial", 1, ("nothing could be measured yet",))
    if profile.remaining is not None and profile.remaining <= 1:
        return Plan("serial", 1, ("there is nothing left that could run beside it",))
    # What it would take with a core to itself: other programs' turns are not its waits.
    wall = max(profile.wall_seconds - profile.delay_seconds, profile.cpu_seconds) / profile.items
    cpu = profile.cpu_seconds / profile.items
    waiting = max(0.0, 1.0 - cpu / wall)
    expected = max(profile.seen, profile.items)
    rest = expected if profile.remaining is None else profile.remaining
    seen = f"it waits for {waiting:.0%} of its {_seconds(wall)} an item"
    if waiting > WAITING_SHARE:
        most = MOST_THREADS if profile.remaining is None else min(MOST_THREADS, profile.remaining)
        most = most if profile.workers is None else profile.workers
        return _pick_for_waiting(wall, cpu, rest, most, seen)
    return _pick_for_python(profile, wall, rest)


def _pick_for_waiting(wall: float, cpu: float, rest: int, most: int, seen: str) -> Plan:
    """Choose between threads and going on, for a function that mostly waits."""
    if rest * wall < WAITING_WORTH_SECONDS:
        return Plan(
            "serial",
            1,
            (seen, f"the {rest} items left take only {_seconds(rest * wall)}"),
            rest * wall,
        )
    wanted = math.ceil(THREADS_HEADROOM * wall / max(cpu, wall / MOST_THREADS)) + 1
    workers = max(1, min(max(wanted, 2), most))
    return Plan(
        "threads",
        workers,
        (seen, f"up to {workers} threads wait at the same time"),
        math.ceil(rest / workers) * wall,
    )


def _pick_for_python(profile: Profile, wall: float, rest: int) -> Plan:
    """Choose between processes and going on, for a function that mostly computes."""
    cores = profile.cores
    workers = cores if profile.workers is None else profile.workers
    serial = rest * wall
    rate = max(wall / (PROCESS_SHARE * min(cores, workers)), PROCESS_ITEM_SECONDS)
    parallel = rest * rate + PROCESS_START_SECONDS
    busy = f"it computes for {_seconds(wall)} an item"
    if profile.nested:
        return Plan(
            "serial",
            1,
            (busy, "it runs inside a task of another run, which has the cores already"),
            serial,
        )
    if cores == 1:
        return Plan("serial", 1, (busy, "there is one core"), serial)
    if serial < PROCESSES_WORTH_SECONDS:
        return Plan(
            "serial",
            1,
            (busy, f"the rest takes about {_seconds(serial)}: starting processes is not worth it"),
            serial,
        )
    if parallel * CLEAR_GAIN > serial:
        return Plan(
            "serial",
            1,
            (
                busy,
                f"sending an item to a process costs about {_seconds(PROCESS_ITEM_SECONDS)}: nothing is gained",
            ),
            serial,
        )
    if profile.no_processes is not None:
        return Plan(
            "serial", 1, (busy, f"processes would pay off, but {profile.no_processes}"), serial
        )
    return Plan(
        "processes",
        workers,
        (
            busy,
            f"{workers} processes are expected to need {_seconds(parallel)} instead of {_seconds(serial)}",
        ),
        parallel,
    )


def _seconds(seconds: float) -> str:
    """Write a time with two digits and the unit that fits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            number = seconds / scale
            return f"{number:.2g} {unit}" if number < _THREE_DIGITS else f"{number:.0f} {unit}"
    return f"{seconds * 1e9:.0f} ns"
