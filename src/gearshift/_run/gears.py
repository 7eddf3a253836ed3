"""Which engine a run is on, and how auto shifts to another.

    Gears.start() -> lane        an engine by name or instance
    Gears.observe(...)           auto only: what items took
    Gears.choose(...)            auto only: what `Auto` makes of it; `is_shifting` if the lane must change
    Gears.shift(...) -> lane     auto only: the lane for the rest, once nothing is out

Engines made here are ended here; an instance of the user's is left alone. Used by the
pump, in the consumer's thread; `shift_amid` in a watcher's, while the consumer's is in an item. Over 400
lines, since opening, shifting and closing share which lane and engine there are; `auto` has what they rest on.
"""

from __future__ import annotations

import reprlib
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gearshift._choose.pick import pick
from gearshift._measure.costs import note_start, start_seconds
from gearshift._run.auto import Auto, Phase
from gearshift._run.watch import Watch
from gearshift._work.scope import CURRENT
from gearshift.errors import UnsupportedError
from gearshift.host import short_turns
from gearshift.plans import Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift._run.auto import Obstacles, Trial
    from gearshift._run.watch import Sight
    from gearshift.engines.base import Engine, Job, Lane, Wakeup
    from gearshift.facts import Chunk, Failure, Settled
    from gearshift.plans import Plan

__all__ = ["Gears"]

SHOWN_CHARACTERS = 80  # of an item, in a message
LAST_ITEMS = 2
SEEN_SOON_SECONDS = 0.003  # items that the caller fills in with, beyond which a start is seen too late to be learned
PAIR_CHUNK_SECONDS = (0.0016, 0.0016)  # six of them on two threads are a short test


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
        obstacles: Obstacles,
        in_running_loop: bool = False,
        reasons: tuple[str, ...] = (),
        trial: Trial | None = None,
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
            obstacles: Says why an engine cannot be used for this job; asked when it would be chosen.
            in_running_loop: A coroutine function's run is iterated by `for` inside a running event loop.
            reasons: Words for the report that were decided before.
            trial: Where what was measured goes, of a run that is to end when auto would choose; or None.
        """
        self._on = on
        self._make = make
        self._workers = workers
        self._job = job
        self._coroutine = coroutine
        self._cores = cores
        self._nested = nested
        self._obstacles = obstacles
        self.has_loop_in_caller: bool = in_running_loop  # or a window's; nothing may block it
        self._engine: Engine | None = None
        self._owns_engine = isinstance(on, str)
        self._trial = trial
        self._next: Plan | None = None  # that another lane is needed for
        self._opened_at: float | None = None  # worker processes, of which nothing has come yet
        self._method = ""  # of starting them
        self._has_short_turns = False
        self.auto: Auto | None = None
        self.plan: Plan | None = None
        self.planned_seconds: float | None = None  # for what remained at the last look
        self.lane: Lane | None = None
        # Of the caller's thread, beside `lane`: it ends what it is at, or fills in while workers start.
        self.caller: Lane | None = None
        self.is_filling_in: bool = False
        self._watch: Watch | None = None
        self._wakeup: Wakeup | None = None
        self.reasons: tuple[str, ...] = reasons

    @property
    def engine(self) -> Engine | None:
        """The engine in use, once the run has started."""
        return self._engine

    @property
    def stops(self) -> str:
        """How the engine in use stops a task; see `Traits`."""
        return self._engine.traits.stops if self._engine is not None else "no"

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
        self._wakeup = wakeup
        on = self._on
        if on == "auto":
            on = self._first_gear(job)
        in_caller = on == "serial" or (not isinstance(on, str) and on.traits.in_caller)
        if in_caller and self._has_no_caller:
            # Nothing synchronous may run on the consumer's loop, nor a second loop in its thread.
            self._owns_engine = True
            self._open("threads", 1, wakeup)
        elif isinstance(on, str):
            self._open(on, 1 if self.auto is not None else self._workers, wakeup)
        else:
            _check_not_inside(on, job)
            self._engine = on
            self.lane = on.open(job, wakeup)

    def work(
        self,
        seconds: float,
        beside: Callable[[Sight, Callable[[float], bool]], None] | None = None,
    ) -> None:
        """Run items in the caller's thread; while auto looks, measure that too.

        Args:
            seconds: About how long.
            beside: Does what can be done beside an item that takes long (see `Watch`), or None
                where nothing may.
        """
        lane = self.caller if self.caller is not None else self.lane
        if lane is None:
            return
        if self.auto is None or self.auto.phase is not Phase.LOOK:
            lane.work(seconds)
            return
        if self.auto.is_watched and beside is not None and self._wakeup is not None:
            self._watch = Watch(beside, self._wakeup.set)
            self._watch.begin()
        try:
            with self.auto.turn():
                lane.work(seconds)
        finally:
            self.end_watch()

    def end_watch(self) -> None:
        """Return once nobody looks from beside any more; may be called again."""
        if self._watch is not None:
            self._watch.end()
            if self.auto is not None:
                self.auto.note_watcher(self._watch.cpu_seconds)
            if self.auto is not None and self._watch.gil_share is not None:
                self.auto.note_gil(self._watch.gil_share)
            self._watch = None

    def shift_amid(self, sight: Sight, remaining: int | None, now: float) -> bool:
        """Open a lane beside an item that has not ended, if that promises something; called by a watcher."""
        if self.auto is None or self.auto.phase is not Phase.LOOK or self._wakeup is None:
            return False
        plan = self.auto.choose_amid(sight, remaining)
        if plan is None or self._trial is not None:
            return False
        caller, engine = self.lane, self._engine
        try:
            self._open(plan.engine, plan.workers, self._wakeup)
        except Exception:  # such as no thread to be had: the item goes on, and is asked about again
            self.lane, self._engine = caller, engine
            return False
        self.caller = caller
        self.plan = plan
        self.reasons = plan.reasons
        self.planned_seconds = None  # nobody knows how long an item takes
        self.auto.carry_out_amid(plan, now)
        return True

    @property
    def is_caller_free(self) -> bool:
        """Whether the caller's thread would run items while workers start."""
        return self.is_filling_in and self.caller is not None and self.caller.room() > 0

    @property
    def is_caller_busy(self) -> bool:
        """Whether the caller's thread has such items."""
        return self.is_filling_in and self.caller is not None and self.caller.room() == 0

    def leave_caller(self) -> None:
        """Close the lane of the caller's thread, once its news is collected."""
        self.is_filling_in = False
        if self.caller is not None:
            self.caller.close()
            self.caller = None

    def sent(self, chunk: Chunk) -> None:
        """Keep a sample of what is sent (auto)."""
        if self.auto is not None and self.auto.phase is Phase.LOOK:
            self.auto.item = chunk.items[-1]

    def observe(self, settled: Settled, now: float, lane: Lane) -> None:
        """Learn from outcomes of a lane (auto)."""
        if self.auto is None:
            return
        if self._opened_at is not None and lane is self.lane:
            seconds = now - self._opened_at - settled.busy_seconds
            if not self.is_filling_in or (self.item_seconds or 0.0) <= SEEN_SOON_SECONDS:
                note_start(self.name, self._method, max(seconds, 0.0))
            self._opened_at = None
            self.is_filling_in = False
        self.auto.observe(settled, now)

    def is_choice_due(self, now: float) -> bool:
        """Whether enough has been seen to choose (again)."""
        if self.auto is None or self._next is not None:
            return False
        if self.auto.phase is Phase.PAIR:
            self.auto.read_clocks(self._clocks, now)
        return self.auto.is_due(now)

    @property
    def look_at(self) -> float | None:
        """When auto wants to be asked again at the latest, or None."""
        return self.auto.look_at if self.auto is not None and self._next is None else None

    @property
    def is_shifting(self) -> bool:
        """Whether another lane is to be opened as soon as nothing is out."""
        return self._next is not None

    @property
    def is_trial_over(self) -> bool:
        """Whether the run was only to learn what would be chosen, and that is known."""
        return self._trial is not None and self._trial.is_over

    def end_trial(self, now: float) -> None:
        """Keep what is known of a run that came to its end before anything was chosen."""
        trial, auto = self._trial, self.auto
        if trial is not None and trial.profile is None and auto is not None:
            trial.profile = auto.profile(trial.items, now, self._start_seconds)

    @property
    def chunk_seconds(self) -> tuple[float, float] | None:
        """How long chunks should be while something is tested, or None."""
        return (
            PAIR_CHUNK_SECONDS if self.auto is not None and self.auto.phase is Phase.PAIR else None
        )

    @property
    def item_seconds(self) -> float | None:
        """What an item takes, where auto has seen some."""
        return None if self.auto is None else self.auto.item_seconds

    def choose(self, remaining: int | None, now: float) -> bool:
        """Choose for the rest (auto): go on, resize, or have the lane changed.

        Returns:
            Whether what is planned counts from now on.
        """
        if self.auto is None:
            return False
        was_waiting = self.auto.phase is Phase.THREADS
        if self._trial is not None:
            remaining = self._trial.items
        elif self._ends_in_test(remaining):
            return True
        plan = self.auto.choose(remaining, now, self._start_seconds)
        if self._has_tried(plan, remaining, now):
            return False
        is_anew = not plan.is_test and not (was_waiting and plan.engine == "threads")
        if is_anew:
            self.plan = plan
            self.reasons = plan.reasons
            self.planned_seconds = plan.seconds if remaining is not None else None
        name = self.name
        if plan.engine == "serial" and self._has_no_caller:
            plan_workers, is_here = 1, name == "threads"
        else:
            plan_workers, is_here = plan.workers or 1, name == plan.engine
        if not is_here:
            self._next = plan
            return is_anew
        if was_waiting:
            plan_workers = self._engine.workers if self._engine is not None else plan_workers
        if self._engine is not None and name == "threads" and plan_workers != self._engine.workers:
            self._engine.resize(plan_workers)
        self._carry_out(plan, now)
        return is_anew

    def _ends_in_test(self, remaining: int | None) -> bool:
        """Whether the last items are with the threads of a test: no other engine would be faster."""
        assert self.auto is not None
        if self.auto.phase is not Phase.PAIR or remaining is None or remaining > LAST_ITEMS:
            return False
        self._shorten_turns(wanted=False)
        self.auto.phase = Phase.SETTLED
        self.reasons = ("its last items ran on two threads, to see who can share",)
        return True

    def _has_tried(self, plan: Plan, remaining: int | None, now: float) -> bool:
        """Take note of a plan, of a run that only tries; return whether it is over."""
        if self._trial is None or self.auto is None or plan.is_test:
            return False
        profile = self.auto.profile(remaining, now, self._start_seconds)
        self._trial.learn(plan, profile, self.auto.elapsed_seconds)
        return plan.engine != "serial"

    def shift(self, wakeup: Wakeup, clock: Callable[[], float]) -> None:
        """Open the lane that was chosen; call it when no item is out."""
        plan, self._next = self._next, None
        if plan is None or self.auto is None:
            return
        lane, engine = self.lane, self._engine
        if engine is not None and engine.traits.name == "threads":
            engine.shutdown(wait=True)  # idle by now; a fork beside a thread is not safe
        now = clock()
        try:
            self._open(plan.engine, plan.workers, wakeup)
        except Exception as error:  # such as no memory for a fork: what ran so far can go on
            self.reasons = (*plan.reasons, f"but {plan.engine} could not be started: {error}")
            self.planned_seconds = None
            self.auto.phase = Phase.SETTLED
            if engine is None or engine.traits.name == "threads":
                self._open("threads" if self._has_no_caller else "serial", 1, wakeup)
            else:
                self.lane, self._engine = lane, engine
            return
        if plan.engine == "processes":
            self._opened_at = now
            lane = self._fill_in(lane, engine, wakeup)
        if lane is not None:
            lane.close()
        if engine is not None:
            engine.shutdown(wait=False)
        self._carry_out(plan, clock())

    def _fill_in(self, lane: Lane | None, engine: Engine | None, wakeup: Wakeup) -> Lane | None:
        """Have the caller's thread run items while workers start; return the lane that has to go."""
        if self._has_no_caller:
            return lane
        if engine is not None and engine.traits.in_caller:
            self.caller, lane = lane, None
        else:
            self.caller = self._make("serial", None).open(self._job, wakeup)
        self.is_filling_in = True
        return lane

    def tune(self, now: float, remaining: int | None) -> None:
        """Change the number of threads if that promises more (auto)."""
        if self.auto is None or self.auto.phase is not Phase.THREADS or self._engine is None:
            return
        workers = self.auto.tune(now, remaining)
        if workers is not None:
            self._engine.resize(workers)

    def _carry_out(self, plan: Plan, now: float) -> None:
        assert self.auto is not None
        self.auto.carry_out(plan, now)
        self._shorten_turns(wanted=self.auto.phase is Phase.PAIR)

    def _shorten_turns(self, *, wanted: bool) -> None:
        """Have threads take turns often while two are compared: with 5 ms each, a short test shows chance."""
        if wanted != self._has_short_turns:
            self._has_short_turns = wanted
            short_turns(wanted=wanted)

    @property
    def _has_no_caller(self) -> bool:
        """Whether nothing may run in the consumer's thread: it runs an event loop."""
        return self._job.loop is not None or self.has_loop_in_caller

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
        """Close the lanes and, if it is ours, let the engine end by itself."""
        self.end_watch()
        self._shorten_turns(wanted=False)
        if self.caller is not None:
            self.caller.close(kill=kill)
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

    @property
    def _clocks(self) -> list[int]:
        """CPU clocks of the engine's threads (see `time.pthread_getcpuclockid`), where there are any."""
        threads = getattr(self._engine, "threads", ())
        if not hasattr(time, "pthread_getcpuclockid"):
            return []
        return [
            time.pthread_getcpuclockid(each.ident)
            for each in threads
            if each.ident is not None and each.is_alive()
        ]

    def _start_seconds(self) -> float:
        """Return what it takes to start worker processes, once the threads of a test have ended."""
        from gearshift.engines.processes import start_method  # for those who may start some

        ending = len(getattr(self._engine, "threads", ()))
        self._method = start_method(ending)
        return start_seconds("processes", self._method, self._cores)

    def _first_gear(self, job: Job) -> str:
        """Return where the first items run under auto."""
        if self._coroutine:
            plan = pick(
                Profile(
                    items=0,
                    wall_seconds=0.0,
                    cpu_seconds=0.0,
                    remaining=None,
                    cores=self._cores,
                    coroutine=True,
                )
            )
            self.reasons = plan.reasons
            return plan.engine
        if job.task_timeout is not None:
            self.reasons = ("a task_timeout needs an engine that can let go of a task",)
            return "threads"
        if self._workers == 1:
            self.reasons = ("workers=1 leaves nothing to choose",)
        else:
            self.auto = Auto(
                cores=self._cores,
                nested=self._nested,
                workers=self._workers,
                obstacles=self._obstacles,
            )
            self.reasons = (
                "all of it was done while the first items were measured, one after another",
            )
        return "serial"


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
