"""Predict what the rest of a run takes on each engine, from what its first items showed.

Pure. The formulas are from measurements on a 2-core machine (docs/design.md), but for the one of
threads that compute: with n of them Amdahl's law gives a speed-up of n / (1 + s (n - 1)), where s is
the share that only one at a time can do, and the test with two gives s = 2 / speed-up - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gearshift.plans import Profile

__all__ = ["MOST_THREADS", "WAITING_SHARE", "Figures", "figures", "most_threads", "predict"]

MOST_THREADS = 64  # to begin with; more are added while that raises the rate
MOST_PROCESSES = 32
THREADS_HEADROOM = 1.25  # more threads than wall/cpu asks for, since waits vary
WAITING_SHARE = 0.25  # of the wall time of an item, from which on its waits are worth overlapping
PROCESS_SHARE = 0.95  # of a core that a worker really gets
MORE_PROCESS_SECONDS = 0.003  # to fork and end a worker beyond the number of cores (docs/design.md)
# How many to begin with, by what they wait for: many sleepers harm nobody, many connections may.
FIRST_THREADS = {"sleep": MOST_THREADS, "socket": 32, "child": 4, "file": 4, "lock": 8, None: 32}
ALL_AT_ONCE = 256  # sleepers, if they are no more than that
HANDOVER_SECONDS = 5e-5  # of a chunk of one item to a thread, and of its outcome back
IN_FLIGHT = 1000  # coroutines at once (engines/asyncio_.py)
BY_CORE = ("child", "file")  # so many for each core
PAIR_DOUBT = 0.1  # of the speed-up of two: a short test sees less of it than there is
AMID_SHARE = 0.3  # of CPU time in an item that has not ended, below which it does not count
AMID_TIMES = 2  # what it has taken so far: as long again is as good a guess as any
THREAD_START_SECONDS = 6e-5
SHORTEST_WAIT_SECONDS = 5e-6  # a system call that blocks, and two switches


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an item takes with a core to itself, and how many are left.

    Attributes:
        wall: Seconds an item, other programs' turns left out.
        cpu: CPU seconds an item.
        waiting: Share of `wall` in which it does not compute.
        rest: Items expected to come.
        speedup: Of two threads over one, or None where that was not tried.
        pair_cores: Cores that the two kept busy, or None.
        threads: How many threads would share its waits.
        processes: How many processes would.
    """

    wall: float
    cpu: float
    waiting: float
    rest: int
    speedup: float | None
    pair_cores: float | None
    threads: int
    processes: int


def figures(profile: Profile) -> Figures | None:
    """Return what the profile says of an item, or None where nothing could be measured."""
    wall_seconds = max(profile.wall_seconds - profile.delay_seconds, profile.cpu_seconds)
    if profile.items == 0 or wall_seconds <= 0:
        return None
    wall = wall_seconds / profile.items
    cpu = min(profile.cpu_seconds / profile.items, wall)
    if wall < SHORTEST_WAIT_SECONDS:  # what looks like waits were other programs' turns
        cpu = wall
    expected = max(profile.seen, profile.items)
    rest = expected if profile.remaining is None else profile.remaining
    waiting = max(0.0, 1.0 - cpu / wall)
    speedup, pair_cores = _pair_figures(profile, waiting)
    known = rest if profile.remaining is not None else None
    return Figures(
        wall=wall,
        cpu=cpu,
        waiting=waiting,
        rest=rest,
        speedup=speedup,
        pair_cores=pair_cores,
        threads=_threads(profile, wall, cpu, known),
        processes=_processes(profile, wall, cpu, known),
    )


def predict(profile: Profile, at: Figures) -> dict[str, float]:
    """Return the seconds that the rest takes, by engine; without an engine of which nothing is known.

    Args:
        profile: What was measured.
        at: Its figures.

    Returns:
        Seconds by the engine's name; coroutine functions have asyncio and serial only.
    """
    seconds = {"serial": at.rest * at.wall}
    if profile.coroutine:
        at_once = max(1, min(IN_FLIGHT, at.rest))
        seconds["asyncio"] = max(math.ceil(at.rest / at_once) * at.wall, at.rest * at.cpu)
        return seconds
    if profile.no_threads is None:
        threads = _on_threads(profile, at)
        if threads is not None:
            seconds["threads"] = threads
    if profile.no_processes is None and not profile.nested:
        seconds["processes"] = _on_processes(profile, at)
    return seconds


def _pair_figures(profile: Profile, waiting: float) -> tuple[float | None, float | None]:
    """Return the speed-up of two threads over one, and the cores that they kept busy.

    Wall times hold other programs' turns on both sides. A thread that waits for the GIL wakes up again
    and again, so the run-queue delay of two tells nothing; the cores that they got do: two that hold
    the GIL have one.
    """
    pair = profile.pair
    if pair is None or pair.seconds <= 0:
        return None, None
    most = 1.05 * pair.cores
    if pair.items == 0:
        return most, pair.cores
    speedup = pair.items / pair.seconds * profile.wall_seconds / profile.items
    if waiting <= WAITING_SHARE:  # what computes is no faster than the cores that it gets
        speedup = most if pair.is_starved else min(speedup, most)
    return speedup, pair.cores


def _threads(profile: Profile, wall: float, cpu: float, known: int | None) -> int:
    """Return how many threads to begin with."""
    if profile.workers is not None:
        return profile.workers
    jump = FIRST_THREADS[profile.waits_on]
    if profile.waits_on in BY_CORE:
        jump *= profile.cores
    if profile.waits_on == "sleep" and known is not None and known <= ALL_AT_ONCE:
        jump = max(known, 1)
    if profile.is_amid_item and cpu < AMID_SHARE * wall:  # the rest of it may be all waiting
        cpu = 0.0
        wall *= AMID_TIMES
    wanted = most_threads(wall, cpu)
    most = jump if known is None else min(jump, known)
    return max(1, min(max(wanted, 2), most))


def most_threads(wall: float, cpu: float) -> int:
    """Return how many threads keep the GIL busy: what an item computes, and what it takes to hand it over.

    Args:
        wall: Seconds an item.
        cpu: CPU seconds an item.
    """
    return math.ceil(THREADS_HEADROOM * wall / (cpu + HANDOVER_SECONDS)) + 1


def _processes(profile: Profile, wall: float, cpu: float, known: int | None) -> int:
    """Return how many processes to use: more than cores where they wait."""
    if profile.workers is not None:
        return profile.workers
    beside = max(1, round(THREADS_HEADROOM * wall / max(cpu, wall / MOST_PROCESSES)))
    wanted = profile.cores * (beside if 1.0 - cpu / wall > WAITING_SHARE else 1)
    # r/n seconds of waits and c n of starts: the least of their sum is at n = sqrt(r / c).
    expected = max(profile.seen, profile.items) if known is None else known
    paid = round(math.sqrt(expected * wall / MORE_PROCESS_SECONDS))
    wanted = max(profile.cores, min(wanted, paid, MOST_PROCESSES))
    return wanted if known is None else max(1, min(wanted, known))


def _on_threads(profile: Profile, at: Figures) -> float | None:
    """Predict threads; without a test with two, only waits are known to overlap."""
    start = THREAD_START_SECONDS * at.threads
    if profile.stretch is not None and profile.stretch.items > 0:
        return at.rest * profile.stretch.seconds / profile.stretch.items
    if at.speedup is not None and at.waiting <= WAITING_SHARE:
        count = profile.cores if profile.workers is None else min(profile.workers, profile.cores)
        alone = max(0.0, 2 / (at.speedup + PAIR_DOUBT) - 1)
        return start + at.rest * at.wall * (1 + alone * (count - 1)) / count
    if at.waiting <= WAITING_SHARE:
        return None
    at_once = max(1, min(at.threads, at.rest))
    return start + max(math.ceil(at.rest / at_once) * at.wall, at.rest * at.cpu)


def _on_processes(profile: Profile, at: Figures) -> float:
    """Predict processes: cores, waits and the caller's own work bound the rate."""
    count = at.processes
    cores = PROCESS_SHARE * min(profile.cores, count)
    cpu = at.cpu * (1 + profile.own_share)  # its own threads' too
    an_item = max(at.wall / count, (cpu + profile.carry_seconds) / cores, profile.send_seconds)
    start = profile.start_seconds + MORE_PROCESS_SECONDS * max(0, count - profile.cores)
    meanwhile = int(start / at.wall)  # items that the caller's thread runs, filling in
    whole = math.ceil(max(0, at.rest - max(1, meanwhile)) / count) * at.wall  # do not divide
    return start + max((at.rest - meanwhile) * an_item, whole)
