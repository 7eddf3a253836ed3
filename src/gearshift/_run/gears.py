"""Which engine a run is on, and when auto shifts to another.

    Gears.start() -> lane        an engine by name or instance
    Gears.observe(...)           auto only: what the first items took
    Gears.shift(...) -> lane     auto only: the lane for the rest, or None to stay

Engines made here are ended here; an instance of the user's is left alone. Used by the
pump, in the consumer's thread.
"""

from __future__ import annotations

import reprlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gearshift._choose.pick import WAITING_SHARE, pick
from gearshift._work.scope import CURRENT
from gearshift.errors import UnsupportedError
from gearshift.facts import Plan, Profile
from gearshift.host import run_delay_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.engines.base import Engine, Job, Lane, Wakeup
    from gearshift.facts import Failure, Settled

__all__ = ["Gears"]

SHOWN_CHARACTERS = 80  # of an item, in a message
PROBE_SECONDS = 0.05
LONGEST_LOOK_SECONDS = 0.5  # between two looks: a choice takes microseconds
EARLY_ITEMS = 3  # mostly waiting shows after this many, or
EARLY_SECONDS = 0.009  # this long (CHOOSING, step 2)


class Gears:
    """The engine of a run and, under auto, the choice of it."""

    def __init__(
        self,
        *,
        on: str | Engine,
        make: Callable[[str, int | None], Engine],
        workers: int | None,
        job: Job,
        coroutine: bool,
        cores: int,
        nested: bool,
        obstacle: Callable[[Any], str | None],
        in_running_loop: bool = False,
        reasons: tuple[str, ...] = (),
    ) -> None:
        """Prepare; no engine is made yet.

        Args:
            on: Name of an engine, "auto", or an engine.
            make: Makes an engine of a name and a number of workers.
            workers: What the user asked for, or None.
            job: The run's job.
            coroutine: The function is a coroutine function.
            cores: Cores that this process may use.
            nested: The caller is itself a task of a run.
            obstacle: Says why processes cannot be used for this job, or None; asked with a value
                when they would be chosen.
            in_running_loop: A coroutine function's run is iterated by `for` inside a running event loop.
            reasons: Words for the report that were decided before.
        """
        self._on = on
        self._make = make
        self._workers = workers
        self._job = job
        self._coroutine = coroutine
        self._cores = cores
        self._nested = nested
        self._obstacle = obstacle
        self._in_running_loop = in_running_loop
        self._engine: Engine | None = None
        self._owns_engine = isinstance(on, str)
        self._sample: Any = None
        self._items = 0
        self._wall_seconds = 0.0
        self._cpu_seconds = 0.0
        self._delay_seconds = 0.0
        self._elapsed_seconds = 0.0  # measured or not
        self._seen = 0  # items, measured or not
        self._turns = 0
        self._is_measured = True
        self._next_look_seconds = PROBE_SECONDS
        self._looks = 0
        self.planned_seconds: float | None = None  # for what remained at the last look
        self.is_probing: bool = False
        self.lane: Lane | None = None
        self.reasons: tuple[str, ...] = reasons

    @property
    def engine(self) -> Engine | None:
        """The engine in use, once the run has started."""
        return self._engine

    @property
    def workers(self) -> int:
        """Workers of the engine in use, at least 1."""
        return self._engine.workers if self._engine is not None else 1

    @property
    def name(self) -> str:
        """Name of the engine in use, or of what was asked for."""
        if self._engine is not None:
            return self._engine.traits.name
        return self._on if isinstance(self._on, str) else self._on.traits.name

    def start(self, job: Job, wakeup: Wakeup) -> None:
        """Open the first lane; `job` knows the consumer's loop."""
        self._job = job
        on = self._on
        if on == "auto":
            on = self._first_gear(job)
        in_caller = on == "serial" or (not isinstance(on, str) and on.traits.in_caller)
        if in_caller and (job.loop is not None or self._in_running_loop):
            # Nothing synchronous may run on the consumer's loop, nor a second loop in its thread.
            self._owns_engine = True
            self._open("threads", 1, wakeup)
        elif isinstance(on, str):
            self._open(on, 1 if self.is_probing else self._workers, wakeup)
        else:
            _check_not_inside(on, job)
            self._engine = on
            self.lane = on.open(job, wakeup)

    def work(self, seconds: float) -> None:
        """Run items in the caller's thread; while auto looks, also measure how long it had to wait for a core.

        On a busy machine the wall time of pure Python holds the turns of other programs
        too. Reading them costs 1 % of a turn, so after the first look only every eighth is measured.
        """
        if self.lane is None:
            return
        self._turns += 1
        self._is_measured = self.is_probing and (self._looks == 0 or self._turns % 8 == 0)
        before = run_delay_seconds() if self._is_measured else None
        try:
            self.lane.work(seconds)
        finally:
            after = run_delay_seconds() if before is not None else None
            if before is not None and after is not None:
                self._delay_seconds += after - before

    def observe(self, settled: Settled) -> None:
        """Learn from outcomes (auto)."""
        if not self.is_probing:
            return
        self._elapsed_seconds += settled.busy_seconds
        self._seen += len(settled.values)
        if self._is_measured:
            self._sample = settled.values[-1]
            self._items += len(settled.values)
            self._wall_seconds += settled.busy_seconds
            self._cpu_seconds += settled.cpu_seconds

    @property
    def is_look_due(self) -> bool:
        """Whether enough has been seen to choose (again)."""
        if not self.is_probing or self._items == 0:
            return False
        if self._elapsed_seconds >= self._next_look_seconds:
            return True
        is_early = (
            self._looks == 0 and self._items >= EARLY_ITEMS and self._wall_seconds >= EARLY_SECONDS
        )
        computing = self._cpu_seconds + self._delay_seconds
        return is_early and computing < (1 - WAITING_SHARE) * self._wall_seconds

    def shift(self, remaining: int | None, wakeup: Wakeup) -> None:
        """Choose for the rest, and open its lane if it is another one; call it when no item is out."""
        plan = self._plan(remaining)
        self._looks += 1
        self.reasons = plan.reasons
        self.planned_seconds = plan.seconds if remaining is not None else None
        if plan.engine == "serial":
            self._look_again()
            return
        self.is_probing = False
        if self._engine is not None and plan.engine == self._engine.traits.name:
            self._engine.resize(plan.workers or 1)  # the probe ran on one thread of it
            return
        lane, engine = self.lane, self._engine
        try:
            self._open(plan.engine, plan.workers, wakeup)
        except Exception as error:  # such as no memory for a fork: what ran so far can go on
            self.lane, self._engine = lane, engine
            self.reasons = (*plan.reasons, f"but {plan.engine} could not be started: {error}")
            self.planned_seconds = None
            return
        if lane is not None:
            lane.close()
        if engine is not None:
            engine.shutdown(wait=False)

    def _look_again(self) -> None:
        """Stay, and measure afresh: what comes may be unlike what was."""
        self._next_look_seconds = self._elapsed_seconds + min(
            self._elapsed_seconds, LONGEST_LOOK_SECONDS
        )
        self._items = 0
        self._wall_seconds = self._cpu_seconds = self._delay_seconds = 0.0

    def describe(self, failure: Failure) -> None:
        """Add to an exception which item it was and where it ran, once: it may be raised again and again."""
        notes = getattr(failure.exception, "__notes__", ())
        if isinstance(notes, list) and any(
            isinstance(note, str) and note.startswith("gearshift: ") for note in notes
        ):
            return
        tried = "" if failure.attempts == 1 else f", after {failure.attempts} attempts"
        words = (
            f"gearshift: item {failure.index} ({_shown(failure.item)}) on engine {self.name}{tried}"
        )
        with suppress(Exception):  # an exception may refuse notes, as a frozen dataclass does
            failure.exception.add_note(words)

    def close(self, *, kill: bool) -> None:
        """Close the lane and, if it is ours, let the engine end by itself."""
        if self.lane is not None:
            self.lane.close(kill=kill)
        if self._engine is not None and self._owns_engine:
            self._engine.shutdown(wait=False, kill=kill)

    def wait_closed(self) -> None:
        """Return when our engine is gone."""
        if self._engine is not None and self._owns_engine:
            self._engine.shutdown(wait=True)

    def _open(self, name: str, workers: int | None, wakeup: Wakeup) -> None:
        engine = self._make(name, workers)
        try:
            self.lane = engine.open(self._job, wakeup)
        except BaseException:
            engine.shutdown(wait=False)
            raise
        self._engine = engine

    def _first_gear(self, job: Job) -> str:
        """Return where the first items run under auto."""
        if self._coroutine:
            plan = pick(self._profile(None))
            self.reasons = plan.reasons
            return plan.engine
        if job.task_timeout is not None:
            self.reasons = ("a task_timeout needs an engine that can let go of a task",)
            return "threads"
        if self._workers == 1:
            self.reasons = ("workers=1 leaves nothing to choose",)
        else:
            self.is_probing = True
            self.reasons = (
                "all of it was done while the first items were measured, one after another",
            )
        return "serial"

    def _plan(self, remaining: int | None) -> Plan:
        """Choose; ask about obstacles to processes only if they would be taken."""
        profile = self._profile(remaining)
        plan = pick(profile)
        if plan.engine == "processes":
            obstacle = self._obstacle(self._sample)
            if obstacle is not None:
                plan = pick(self._profile(remaining, obstacle))
        return plan

    def _profile(self, remaining: int | None, no_processes: str | None = None) -> Profile:
        return Profile(
            items=self._items,
            seen=self._seen,
            wall_seconds=self._wall_seconds,
            cpu_seconds=self._cpu_seconds,
            delay_seconds=min(self._delay_seconds, self._wall_seconds),
            remaining=remaining,
            cores=self._cores,
            coroutine=self._coroutine,
            nested=self._nested,
            workers=self._workers,
            no_processes=no_processes,
        )


def _check_not_inside(engine: Engine, job: Job) -> None:
    """Refuse an engine whose own task is asking: it would wait for workers that wait for it.

    Raises:
        UnsupportedError: It is so, and the caller blocks (under `async for` nothing does).
    """
    call = CURRENT.get()
    owner = getattr(engine, "owner", engine)
    if call is not None and job.loop is None and call.scope.belongs_to(owner):
        raise UnsupportedError(
            f"on={engine!r}: this is a task of that very engine, and would wait for itself; "
            'inside it say on="serial", a name such as on="threads", or another instance'
        )


def _shown(item: object) -> str:
    """Write an item for a message: short, and even where its `repr` fails."""
    try:
        text = _REPR.repr(item)
    except Exception:
        return f"a {type(item).__qualname__} whose repr fails"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


_REPR = reprlib.Repr()  # looks at the first entries of a container only
_REPR.maxstring = _REPR.maxother = SHOWN_CHARACTERS
