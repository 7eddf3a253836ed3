"""What auto has seen of a run, when it has seen enough, and what it then asks of the chooser.

    LOOK     items run one after another in the caller's thread, measured
    PAIR     a few items run on two threads: who can share the work?
    THREADS  many threads wait; their number is tuned, and whether they fill the GIL is watched
    SETTLED  nothing more is asked

Over 400 lines, since each phase is a few fields and what is done with them, and they share most of them.
It decides nothing itself (`_choose.pick` does) and knows no engine: `Gears` carries plans out.
Used in the consumer's thread.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

from gearshift._choose.pick import is_waiting, pick
from gearshift._choose.predict import figures, most_threads
from gearshift._choose.tune import ThreadTuner
from gearshift._measure.carriage import carriage
from gearshift._measure.clocks import TurnClock, has_other_threads
from gearshift._run.sums import LONE_CHUNKS, PairSums, StretchSums
from gearshift.plans import Pair, Plan, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from gearshift._run.watch import Sight
    from gearshift.facts import Settled

__all__ = ["Auto", "Obstacles", "Phase", "Trial"]

FIRST_LOOK_SECONDS = 0.003
OTHERS_LOOK_SECONDS = 0.015  # before a look, where there are threads that may be of BLAS
LONGEST_LOOK_SECONDS = 0.5  # between two looks: a choice takes microseconds
EARLY_ITEMS = 3  # mostly waiting shows after this many, or
EARLY_SECONDS = 0.009  # this long (CHOOSING, step 2)
FIRST_TIMES = 3.0  # the others' time, from which on the first item does not count
MEASURED_TURNS = 8  # after the first look every so many: reading the clocks costs 1 % of a turn
WATCHED_ITEM_SECONDS = 0.003
TRIAL_SECONDS = 0.05
PAIR_SECONDS = (0.01, 0.06)  # least and longest, or three items
PAIR_CHUNKS = 6
LONGEST_PAIR_SECONDS = 1.0  # a source or a consumer may be slow
PAIR_OTHER_TIMES = 4.0  # the pair's items took so much less that the look's were no sample
PAIR_LIKE_TIMES = 2.0  # items that take more or less than that are tested anew
STRETCH_SECONDS = 0.1  # of many threads, after which the GIL is looked at
MOST_TUNED_THREADS = 512
ASKED = {"threads", "processes"}  # engines that something may keep a job off
_UNKNOWN: Any = object()
TOO_MANY = (
    429,
    503,
)  # status codes that mean "not so fast" (RFC 6585, section 4; RFC 9110, 15.6.4)


class Phase(Enum):
    """See the module's head."""

    LOOK = auto()
    PAIR = auto()
    THREADS = auto()
    SETTLED = auto()


class Obstacles(Protocol):
    """What may keep a job off an engine; asked once it would be used."""

    def threads(self) -> str | None:
        """Return why threads might change the result, or None."""
        ...

    def processes(self, value: Any) -> str | None:
        """Return why processes might, or cannot be had, or None; `value` is a sample of the results."""
        ...


class Auto:
    """See the module's head."""

    def __init__(
        self,
        *,
        cores: int,
        nested: bool,
        workers: int | None,
        obstacles: Obstacles,
    ) -> None:
        """Begin to look.

        Args:
            cores: Cores that this process may use.
            nested: The caller is itself a task of a run.
            workers: What the user asked for, or None.
            obstacles: What may keep the job off an engine.
        """
        self.phase: Phase = Phase.LOOK
        self._cores = cores
        self._nested = nested
        self._workers = workers
        self._obstacles = obstacles
        self._clock = TurnClock()
        self._is_measured = True
        self._turns = 0
        self._looks = 0
        self._seen = 0  # items, measured or not
        self._last_seconds: float | None = None  # an item took
        self._elapsed_seconds = 0.0  # of the function, measured or not
        self._next_look_seconds = FIRST_LOOK_SECONDS
        self._sample: tuple[Any, Any] | None = None  # an item and a value
        self.item: Any = None  # that was sent last
        self._items = 0
        self._wall_seconds = 0.0
        self._cpu_seconds = 0.0
        self._first: tuple[float, float, float] | None = None  # item's wall, CPU, delay
        self._pair = PairSums()
        self._tested: Pair | None = None  # what came of it
        self.away_seconds: float = (
            0.0  # in which the caller's thread was with the consumer or the source
        )
        self._away_began = 0.0  # of the test
        self._no_threads: Any = _UNKNOWN
        self._waits_on: str | None = None
        self._gil_share: float | None = None  # seen from beside an item
        self._first_gil_share: float | None = None  # the same, of the first
        self._is_first_importing = False
        self._tuner: ThreadTuner | None = None
        self._stretch: StretchSums | None = None

    def turn(self) -> AbstractContextManager[object]:
        """Return what is to be put around a turn of the caller's thread."""
        self._turns += 1
        self._is_measured = self._looks == 0 or self._turns % MEASURED_TURNS == 0
        return self._clock if self._is_measured else nullcontext()

    def observe(self, settled: Settled, now: float) -> None:
        """Learn from outcomes."""
        count = len(settled.values)
        self._seen += count
        self._last_seconds = settled.busy_seconds / count
        self._elapsed_seconds += settled.busy_seconds
        if self.phase is Phase.LOOK:
            if self._is_measured:
                self._observe_look(settled, count)
        elif self.phase is Phase.PAIR:
            self._pair.observe(settled, now)
        elif self.phase is Phase.THREADS:
            if self._tuner is not None:
                self._tuner.observe(count, settled.busy_seconds, now)
                refused = sum(is_refusal(fault.exception) for fault in settled.failed.values())
                if refused:
                    self._tuner.refuse(refused)
            if self._stretch is not None:
                self._stretch.observe(settled, now)

    def _observe_look(self, settled: Settled, count: int) -> None:
        if settled.first not in settled.failed:
            self._sample = (self.item, settled.values[-1])
        if self._items == 0 and self._looks == 0 and count == 1:
            delay = min(self._clock.delay_seconds, settled.busy_seconds)
            self._first = (settled.busy_seconds, settled.cpu_seconds, delay)
        self._items += count
        self._wall_seconds += settled.busy_seconds
        self._cpu_seconds += settled.cpu_seconds

    @property
    def item_seconds(self) -> float | None:
        """What an item takes, as far as it is known; a first one that is unlike the others does not count."""
        if self._first is not None and self._is_first_unlike:
            return (self._wall_seconds - self._first[0]) / (self._items - 1)
        return self._wall_seconds / self._items if self._items else None

    @property
    def _is_first_unlike(self) -> bool:
        """Whether the first item took so much longer that it is no sample."""
        if self._first is None or self._items <= 1:
            return False
        alone = self._first[0]
        return alone > FIRST_TIMES * (self._wall_seconds - alone) / (self._items - 1)

    def is_due(self, now: float) -> bool:
        """Whether enough has been seen to choose (again)."""
        if self.phase is Phase.LOOK:
            return self._is_look_due()
        if self.phase is Phase.PAIR and self._is_pair_clear(now):
            return True
        if self.phase is Phase.PAIR:
            wanted = min(max(PAIR_SECONDS[0], 3 * (self.item_seconds or 0.0)), PAIR_SECONDS[1])
            return (
                self._pair.busy_seconds >= 2 * wanted
                and self._pair.chunks >= LONE_CHUNKS + PAIR_CHUNKS
            )
        return self.phase is Phase.THREADS and self._stretch is not None and self._stretch.is_due

    def note_gil(self, share: float) -> None:
        """Take note of the share of moments in which the item that has just ended held the GIL."""
        if self._seen == 0:
            self._first_gil_share = share
        else:
            self._gil_share = share

    def note_watcher(self, cpu_seconds: float) -> None:
        """Take note of the CPU time of a watcher: 15 ms where it is the first, which imports what it needs."""
        self._clock.discount(cpu_seconds)

    def read_clocks(self, clocks: Sequence[int], now: float) -> None:
        """Read what the threads of the test have had of the cores."""
        self._pair.read(clocks, now)

    @property
    def look_at(self) -> float | None:
        """When it wants to be asked again at the latest, or None."""
        return self._pair.look_at if self.phase is Phase.PAIR else None

    def _is_pair_clear(self, now: float) -> bool:
        """Whether two threads have shown that they hold the GIL, or took too long to show anything."""
        return now - self._pair.began >= LONGEST_PAIR_SECONDS or self._pair.holds_gil(now)

    def _is_look_due(self) -> bool:
        if self._items == 0 or (self._seen == 1 and self._is_first_importing):
            return False
        if self._elapsed_seconds >= self._next_look_seconds:
            first = self._first[0] if self._first is not None else 0.0
            seen = self._wall_seconds - first  # what others do is told by the tick of a clock
            if seen >= OTHERS_LOOK_SECONDS or not has_other_threads():
                return True
        is_early = self._items >= EARLY_ITEMS or self._wall_seconds >= EARLY_SECONDS
        return self._looks == 0 and is_early and is_waiting(self._profile(None))

    def choose(self, remaining: int | None, now: float, start_seconds: Callable[[], float]) -> Plan:
        """Return the plan for what remains; ask about obstacles and costs only where they matter.

        Args:
            remaining: Items that have not settled, or None where nobody knows.
            now: Monotonic seconds.
            start_seconds: Says what it takes to start worker processes.
        """
        if self.phase is Phase.PAIR and self._is_pair_unlike:
            self._pair = PairSums()
            words = "the first items were unlike the next: they are measured anew"
            return Plan("serial", 1, (words,))
        if self.phase is Phase.PAIR:
            self._tested = self._pair.seen(now, self.away_seconds - self._away_began)
        profile = self._profile(remaining, now)
        plan = pick(profile)
        asked: set[str] = set()
        while plan.engine in ASKED - asked:
            asked.add(plan.engine)
            if plan.engine == "threads":
                profile = self._for_threads(profile)
            else:
                profile = self._for_processes(profile, start_seconds)
            plan = pick(profile)
        self._looks += 1
        return plan

    @property
    def elapsed_seconds(self) -> float:
        """Time spent in the function so far."""
        return self._elapsed_seconds

    def profile(
        self, remaining: int | None, now: float, start_seconds: Callable[[], float]
    ) -> Profile:
        """Return all that can be known so far, also of engines that would not be chosen."""
        return self._for_processes(self._for_threads(self._profile(remaining, now)), start_seconds)

    def choose_amid(self, sight: Sight, remaining: int | None) -> Plan | None:
        """Return a plan for what could run beside an item that has not ended, or None; called by a watcher."""
        if sight.is_importing:  # what comes will not be like it
            self._is_first_importing = self._seen == 0
            return None
        # The time that a thread has been without a core is told once it has one again, so a wait has to be
        # seen to be believed.
        self._waits_on = sight.waits_on
        if sight.times is None or self._waits_on is None:
            return None
        profile = Profile(
            items=1,
            seen=self._seen,
            wall_seconds=sight.seconds,
            cpu_seconds=sight.times.cpu_seconds,
            delay_seconds=min(sight.times.delay_seconds, sight.seconds),
            remaining=remaining,
            is_amid_item=True,
            waits_on=self._waits_on,
            cores=self._cores,
            nested=self._nested,
            workers=self._workers,
        )
        if not is_waiting(profile):
            return None
        plan = pick(self._for_threads(profile))
        return plan if plan.engine == "threads" and not plan.is_test else None

    def carry_out_amid(self, plan: Plan, now: float) -> None:
        """Take note that a plan is followed beside an item that has not ended: what items take is still to be seen."""
        self._items = 0
        self.carry_out(plan, now)

    @property
    def is_watched(self) -> bool:
        """Whether a turn may take long, as far as anybody knows: somebody should look from beside."""
        last = self._last_seconds
        return self.phase is Phase.LOOK and (last is None or last > WATCHED_ITEM_SECONDS)

    def carry_out(self, plan: Plan, now: float) -> None:
        """Take note that a plan is being followed, from now on."""
        if plan.is_test:
            self._pair = PairSums(self.item_seconds or 0.0, now)
            self._tested = None
            self._away_began = self.away_seconds
            self.phase = Phase.PAIR
        elif plan.engine == "serial":
            self._look_again()
        elif plan.engine == "threads" and is_wait_plan(plan):
            self._watch_threads(plan, now)
        else:
            self.phase = Phase.SETTLED

    def tune(self, now: float, remaining: int | None) -> int | None:
        """Return another number of threads, or None to go on as it is."""
        if self.phase is not Phase.THREADS or self._tuner is None:
            return None
        return self._tuner.propose(now, remaining)

    def _look_again(self) -> None:
        """Stay, and measure afresh: what comes may be unlike what was."""
        wait = min(self._elapsed_seconds, LONGEST_LOOK_SECONDS)
        self._next_look_seconds = self._elapsed_seconds + wait
        self.phase = Phase.LOOK
        self._items = 0
        self._wall_seconds = self._cpu_seconds = 0.0
        self._first = None
        self._clock.reset()

    def _watch_threads(self, plan: Plan, now: float) -> None:
        """Tune the number of threads, and look now and then whether they fill the GIL."""
        is_new = self.phase is not Phase.THREADS
        self.phase = Phase.THREADS
        count = plan.workers or 1
        if is_new:
            self._tuner = None
            if self._workers is None:
                self._tuner = ThreadTuner(count, most=self._most_threads(plan, count))
            self._stretch = StretchSums(now, STRETCH_SECONDS)
        elif self._stretch is not None:
            self._stretch = StretchSums(now, 2 * self._stretch.wanted_seconds)

    def _most_threads(self, plan: Plan, count: int) -> int:
        """Return how many threads may be tried: more than would fill the GIL twice are only in each other's way."""
        at = None if plan.profile is None or plan.profile.is_amid_item else figures(plan.profile)
        if at is None:
            return MOST_TUNED_THREADS
        return max(count, min(2 * most_threads(at.wall, at.cpu), MOST_TUNED_THREADS))

    @property
    def _is_pair_unlike(self) -> bool:
        """Whether the items of the test took so much less that those before it were no sample."""
        alone = self.item_seconds
        if alone is None or self._pair.items == 0:
            return False
        return self._pair.busy_seconds / self._pair.items < alone / PAIR_OTHER_TIMES

    def _is_pair_like(self, items: int, wall: float) -> bool:
        """Whether a test was made with items like those that were seen last."""
        if self._tested is None or items == 0 or wall <= 0:
            return False
        ratio = wall / items / self._pair.alone_seconds if self._pair.alone_seconds else 1.0
        return 1 / PAIR_LIKE_TIMES < ratio < PAIR_LIKE_TIMES

    def _for_threads(self, profile: Profile) -> Profile:
        """Add why threads are out of the question."""
        if self._no_threads is _UNKNOWN:
            self._no_threads = self._obstacles.threads()
        return replace(profile, no_threads=self._no_threads)

    def _for_processes(self, profile: Profile, start_seconds: Callable[[], float]) -> Profile:
        """Add why processes are out of the question, or what they cost."""
        item, value = self._sample if self._sample is not None else (None, None)
        no_processes = self._obstacles.processes(value)
        if no_processes is not None:
            return replace(profile, no_processes=no_processes)
        costs = carriage(item, value)
        seconds = start_seconds()
        if costs is None:
            return replace(profile, start_seconds=seconds)
        return replace(profile, start_seconds=seconds, **costs._asdict())

    def _profile(self, remaining: int | None, now: float = 0.0) -> Profile:
        items, wall, cpu = self._items, self._wall_seconds, self._cpu_seconds
        if items == 0 and self._stretch is not None:
            items, wall, cpu = self._stretch.sums
        delay, first = min(self._clock.delay_seconds, wall), None
        gil_share = self._first_gil_share if self._gil_share is None else self._gil_share
        if self._first is not None and self._is_first_unlike:
            alone, its_cpu, its_delay = self._first
            items, wall, cpu = items - 1, wall - alone, cpu - its_cpu
            delay, first = max(0.0, delay - its_delay), alone
            gil_share = self._gil_share  # it may have imported something
        return Profile(
            items=items,
            seen=self._seen,
            wall_seconds=wall,
            cpu_seconds=cpu,
            delay_seconds=min(delay, wall),
            first_seconds=first,
            own_share=self._clock.own_share,
            waits_on=self._waits_on,
            gil_share=gil_share,
            pair=self._tested if self._is_pair_like(items, wall) else None,
            stretch=None if self._stretch is None else self._stretch.seen(now, self.threads),
            remaining=remaining,
            cores=self._cores,
            nested=self._nested,
            workers=self._workers,
        )

    @property
    def threads(self) -> int:
        """How many threads wait at the same time, while their number is tuned."""
        return self._tuner.count if self._tuner is not None else self._workers or 1


def is_wait_plan(plan: Plan) -> bool:
    """Whether a plan for threads is one of waits that overlap, whose number can be tuned."""
    return plan.profile is None or is_waiting(plan.profile)


def is_refusal(exception: BaseException) -> bool:
    """Whether the other side says "not so fast": an HTTP status of 429 or 503, where clients put it."""
    with suppress(Exception):  # a property of the user's that fails says nothing
        response = getattr(exception, "response", None)
        codes = (getattr(exception, "code", None), getattr(exception, "status", None))
        return any(code in TOO_MANY for code in (*codes, getattr(response, "status_code", None)))
    return False


class Trial:
    """A run that is made to learn what would be chosen, and ends then (`gs.explain`).

    Attributes:
        items: For how many the plan is to be.
        profile: What was measured, once something was.
        is_over: Enough is known.
    """

    def __init__(self, items: int) -> None:
        """Begin with nothing known."""
        self.items: int = items
        self.profile: Profile | None = None
        self.is_over: bool = False

    def learn(self, plan: Plan, profile: Profile, elapsed_seconds: float) -> None:
        """Take note of a plan; that one stays serial is believed after a while only."""
        self.profile = profile
        self.is_over = plan.engine != "serial" or elapsed_seconds >= TRIAL_SECONDS
