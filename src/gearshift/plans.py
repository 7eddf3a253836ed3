"""Frozen values of a choice: what was measured of a function, and what follows from it.

Apart from `facts`, whose values every engine needs: these are for the rooms that measure, choose
and report. Times are float seconds of wall or CPU time, counts are items.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gearshift.units import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Declared", "Hazards", "Pair", "Plan", "Profile", "Stretch"]


@dataclass(frozen=True, slots=True)
class Hazards:
    """Engines on which the result of a function could change, as its code says.

    Attributes:
        no_threads: Why its tasks may not overlap in one process, or None; a clause such as
            "tally() changes the global COUNTS without a lock".
        no_processes: Why it may not run in worker processes, or None; with both it is serial only.
    """

    no_threads: str | None = None
    no_processes: str | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """What the author of a function says of it, with `gs.task`.

    Attributes:
        threads: True vouches for threads, False forbids them, None says nothing.
        processes: The same of worker processes.
        reason: Why something is forbidden, else "".
    """

    threads: bool | None = None
    processes: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What two threads did beside each other: the test for who can share the work.

    Attributes:
        items: Items that they did, after the first chunk of each; perhaps none, of long ones.
        seconds: Wall time that it took.
        cores: Cores that they kept busy in that time.
        is_starved: They had nothing to do for a part of it, since the consumer or the source was slow.
    """

    items: int
    seconds: float
    cores: float
    is_starved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What many threads have done since they began: whether they fill the GIL.

    Attributes:
        threads: How many there were.
        items: Items that they did.
        seconds: Wall time that it took.
        cpu_seconds: CPU time, added up.
    """

    threads: int
    items: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What was measured of a function on its first items, and where it would run.

    Attributes:
        items: Items measured, one after another in one thread.
        seen: Items that the run has done so far, measured or not.
        wall_seconds: Wall time of those items.
        cpu_seconds: CPU time of the thread that ran them.
        delay_seconds: Wall time in which that thread was ready to run but had no core; 0 where the system
            does not tell, and other programs' turns look like waits.
        first_seconds: What the very first item took, where that was far more than the others:
            an import, a cache that was filled. It is not in `wall_seconds`.
        remaining: Items still to come, or None where the source does not say.
        is_amid_item: The measured time is that of one item which has not ended yet.
        waits_on: What it was seen to wait for ("sleep", "socket", "child", "file", "lock"), or None.
        own_share: CPU time of threads of the function's own (BLAS, OpenMP) for each second of the caller's.
        gil_share: Share of moments in which the GIL was held, or None where nobody looked.
        pair: What two threads did, or None where that was not tried.
        stretch: What many threads did, where the function runs on them already.
        send_seconds: What the caller's thread needs to send an item to a process and take its value.
        carry_seconds: The same for the worker.
        start_seconds: What it takes to start worker processes.
        cores: Cores that this process may use.
        coroutine: The function is a coroutine function.
        nested: The caller is itself a task of a run.
        workers: Workers at most, where the user said so.
        no_threads: Why threads are out of the question, or None.
        no_processes: Why worker processes are out of the question, or None.
    """

    items: int
    wall_seconds: float
    cpu_seconds: float
    remaining: int | None
    cores: int
    seen: int = 0
    delay_seconds: float = 0.0
    first_seconds: float | None = None
    is_amid_item: bool = False
    waits_on: str | None = None
    own_share: float = 0.0
    gil_share: float | None = None
    pair: Pair | None = None
    stretch: Stretch | None = None
    send_seconds: float = 1.5e-6
    carry_seconds: float = 1.5e-6
    start_seconds: float = 0.02
    coroutine: bool = False
    nested: bool = False
    workers: int | None = None
    no_threads: str | None = None
    no_processes: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """An engine and why.

    Attributes:
        engine: Name of the engine, as in `on=`.
        workers: Workers to use, or None for the engine's own default.
        reasons: The reasons, a sentence each.
        seconds: What the rest is expected to take on it, or None where nobody knows.
        predictions: What it would take on each engine that could run it, by name.
        would_change: What would lead to another choice, a sentence each.
        is_test: Not the last word: a few items run so, to be measured.
        profile: What the plan was made from.
        name: Of the function, where that is known.
    """

    engine: str
    workers: int | None = None
    reasons: tuple[str, ...] = ()
    seconds: float | None = None
    predictions: Mapping[str, float] = field(default_factory=dict)
    would_change: tuple[str, ...] = ()
    is_test: bool = False
    profile: Profile | None = None
    name: str = ""

    def __str__(self) -> str:
        """Say it in a few plain lines."""
        profile = self.profile
        lines = [] if profile is None else [_seen(self.name, profile)]
        if self.predictions:
            each = sorted(self.predictions.items(), key=lambda pair: pair[1])
            lines.append(
                "expected: " + ", ".join(f"{name} {in_words(took)}" for name, took in each)
            )
        workers = f" with {self.workers:,} workers" if (self.workers or 1) > 1 else ""
        lines.append(f"choice: {self.engine}{workers}")
        lines.append(f"why: {'; '.join(self.reasons)}")
        if self.would_change:
            lines.append(f"otherwise: {'; '.join(self.would_change)}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON; with `schema`, 1."""
        from dataclasses import asdict  # for those who export

        return {"schema": 1, **asdict(self), "predictions": dict(self.predictions)}


def _seen(name: str, profile: Profile) -> str:
    """Say what was measured."""
    tested = 0 if profile.pair is None else profile.pair.items
    measured = profile.items + tested + (profile.first_seconds is not None)
    total = "" if profile.remaining is None else f" of {profile.remaining:,}"
    line = f"{name or 'measured'}: {measured:,}{total} items run"
    if profile.items and profile.wall_seconds > 0:
        wall = max(profile.wall_seconds - profile.delay_seconds, profile.cpu_seconds)
        cpu = min(profile.cpu_seconds / wall, 1.0)
        line += f", {in_words(wall / profile.items)} each, {cpu:.0%} of it computing"
    if profile.first_seconds is not None:
        line += f"; the first took {in_words(profile.first_seconds)}"
    return f"{line}; {profile.cores} core{'s' * (profile.cores != 1)}"
