"""`gs.compare`: the same items on every engine, side by side.

Checks the arguments, says how often each item will be run, lets the engines take turns, and
hands figures to what is pure: `verdict` says who runs again and what to use, `sameness`
whether results agree. Apart from `map` because it is made of whole runs of it.

Invariant: no item is run more often than was said before the first run.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import AsyncIterable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

from gearshift._api import map as mapping
from gearshift._api.sameness import is_same, shown
from gearshift._api.usage import Memory, cpu_seconds
from gearshift._api.verdict import best_of, next_round, words_of
from gearshift._work.run_chunk import is_coroutine_function
from gearshift.engines.base import Engine, Job, check_workers
from gearshift.engines.registry import check_name
from gearshift.errors import GearshiftError
from gearshift.facts import Failure
from gearshift.host import cores
from gearshift.trials import Comparison, Trial
from gearshift.units import counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gearshift.facts import Report
    from gearshift.trials import Ended

__all__ = ["MOST_ITEMS", "compare"]

MOST_ITEMS = 1_000_000  # taken from what is no sequence: without an end, it would go on for ever
_PLAIN = ("serial", "threads", "processes", "auto")
_COROUTINES = ("serial", "asyncio", "auto")
_SHARING = ("serial", "threads", "asyncio")


def compare(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    on: str | Engine | Executor | Sequence[str | Engine | Executor] | None = None,
    workers: int | None = None,
    star: bool = False,
    seed: int | None = None,
    rounds: int = 5,
    seconds: float = 30.0,
    say: Callable[[str], object] | bool = True,
    status: Callable[[str], object] | None = None,
) -> Comparison:
    """Run a function over the same items on every engine, really, and compare.

    Every run is a real one: what the function does to files, servers and data bases, it does
    each time. Before the first call it is said how often each item will be run at most.

    The engines take turns, one run of all items each a round, after one call of the first item
    to warm up. Who took over 3 times as long as the best is not run again. No further round
    begins when one engine is left; when from the second round on the slowest run of the best is
    faster than every run of the others; when from the third on the runs of the best are within
    5 %; after `rounds`; or when it would end after `seconds`. So long runs are run once.

    Args:
        fn: The function; a coroutine function (`async def`) too.
        *iterables: Its inputs, as in `gs.map`; they are made a list first, of a million at most
            where they are no sequences.
        on: The engines: names as in `gs.map`, with workers as in "threads:8", or engines of
            yours, which stay warm from round to round. None means all that can run this
            function: serial, threads, processes and auto, or serial, asyncio and auto for a
            coroutine function. Speed-ups need serial among them.
        workers: How many tasks run at once, for names without workers; serial has one.
        star: Each item is a tuple of arguments, or a dict of keywords.
        seed: Makes `gs.item_seed()` work inside the function, the same on all engines.
        rounds: How often each engine runs the items at most.
        seconds: How long the comparison may take; the first round is run to its end.
        say: Is given the sentence about what will be run; True prints it on standard error.
        status: Is given a few words before each run.

    Returns:
        A trial for each engine, and what to use. Its `agree` is False where an engine gave
        other results than the first one that ran (serial, where it is among them).

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a wrong value, or there are no items.

    Example:
        >>> import gearshift as gs
        >>> comparison = gs.compare(pow, [2, 3], [5, 2], on=["serial", "threads"], say=False)
        >>> comparison.agree, [trial.on for trial in comparison.trials]
        (True, ['serial', 'threads'])
    """
    mapping._check_callable(fn)  # noqa: SLF001 - of this room: the same words as `gs.map`
    _check_numbers(rounds, seconds)
    if not isinstance(say, bool) and not callable(say):
        raise TypeError(f"say={say!r} is neither True nor False nor a function to be given text")
    tracks = [_Track(each) for each in _candidates(fn, on, workers)]
    items, star = _gathered(iterables, star=star)
    work = _Work(fn, items, star=star, seed=seed)
    speak = say if callable(say) else _print if say else _ignore
    speak(_announcement(work, tracks, rounds))
    began = time.perf_counter()
    forecast = _predictions(fn, items, star=star)
    _warm_up(work)
    ended = _rounds(work, tracks, rounds=rounds, seconds=seconds, status=status or _ignore)
    trials = tuple(track.trial(forecast) for track in tracks)
    best, _ = best_of(trials)
    return Comparison(
        function=_name_of(fn),
        items=len(items),
        trials=trials,
        runs=sum(track.runs for track in tracks),
        best=best.on if best is not None else None,
        words=words_of(trials, len(items), cores=cores()),
        ended=ended,
        seconds=time.perf_counter() - began,
        cores=cores(),
        python=platform.python_version(),
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An engine that was asked for, and in which words."""

    on: str
    engine: str | Engine | Executor
    workers: int | None = None
    obstacle: str | None = None

    @property
    def name(self) -> str:
        """The engine's name."""
        if isinstance(self.engine, str):
            return self.engine
        return self.engine.traits.name if isinstance(self.engine, Engine) else self.on


class _Work:
    """What every engine does, and the outcomes that all are held to."""

    def __init__(
        self, fn: Callable[..., Any], items: list[Any], *, star: bool, seed: int | None
    ) -> None:
        self.fn = fn
        self.items = items
        self.options: dict[str, Any] = {"star": star, "seed": seed}
        self.job = Job(function=fn, star=star, seed=seed, task_timeout=None, context=None)
        self.reference: list[Any] | None = None
        self.referred = ""  # who gave the reference

    def difference(self, on: str, outcomes: list[Any]) -> tuple[bool | None, str]:
        """Say whether outcomes are those of the reference, and if not, which item differs first."""
        if self.reference is None:
            self.reference, self.referred = outcomes, on
            return True, ""
        answer: bool | None = True
        for index, (known, outcome) in enumerate(zip(self.reference, outcomes, strict=True)):
            same = is_same(known, outcome)
            if same is False:
                before = "in the first round" if on == self.referred else f"on {self.referred}"
                return False, (
                    f"item {index} ({shown(self.items[index])}) gave {shown(outcome)} on {on}, "
                    f"and {shown(known)} {before}."
                )
            if same is None:
                answer = None
        return answer, ""


@dataclass(slots=True)
class _Measured:
    """One run of all the items."""

    seconds: float
    start_seconds: float
    end_seconds: float
    cpu_seconds: float | None
    peak_bytes: int | None
    report: Report


@dataclass(slots=True)
class _Track:
    """One engine's runs so far."""

    candidate: _Candidate
    measured: list[_Measured] = field(default_factory=list)
    agrees: bool | None = True
    difference: str = ""
    why_not: str | None = None
    runs: int = 0

    def run(self, work: _Work) -> None:
        """Run all the items once, and compare what came of them."""
        self.why_not = self.candidate.obstacle or _no_way(self.candidate, work)
        if self.why_not is not None:
            return
        self.runs += 1
        try:
            measured, outcomes = _measure(work, self.candidate)
        except Exception as error:  # with errors="return" it is the engine that cannot
            known = isinstance(error, GearshiftError)
            self.why_not = str(error) if known else f"{type(error).__name__}: {error}"
            self.measured.clear()
            return
        self.measured.append(measured)
        agrees, difference = work.difference(self.candidate.on, outcomes)
        if agrees is False or self.agrees is True:
            self.agrees = agrees
        self.difference = self.difference or difference

    @property
    def seconds(self) -> tuple[float, ...]:
        """What its runs took."""
        return tuple(each.seconds for each in self.measured)

    def trial(self, forecast: Mapping[str, float]) -> Trial:
        """Return what is known of it."""
        candidate, measured = self.candidate, self.measured
        if not measured:
            return Trial(on=candidate.on, engine=candidate.name, agrees=None, why_not=self.why_not)
        last = measured[-1].report
        cpu = [each.cpu_seconds for each in measured if each.cpu_seconds is not None]
        peaks = [each.peak_bytes for each in measured if each.peak_bytes is not None]
        planned = _planned_seconds(measured[0])
        usual = candidate.workers is None and isinstance(candidate.engine, str)
        return Trial(
            on=candidate.on,
            engine=last.engine,
            workers=last.workers,
            seconds=self.seconds,
            cpu_seconds=median(cpu) if cpu else None,
            peak_bytes=max(peaks) if peaks else None,
            start_seconds=median(each.start_seconds for each in measured),
            end_seconds=median(each.end_seconds for each in measured),
            predicted_seconds=forecast.get(candidate.name) if usual and not planned else planned,
            failed=last.failed,
            agrees=self.agrees,
            difference=self.difference,
            reasons=last.reasons if candidate.on == "auto" else (),
        )


def _rounds(
    work: _Work,
    tracks: Sequence[_Track],
    *,
    rounds: int,
    seconds: float,
    status: Callable[[str], object],
) -> Ended:
    """Let the engines take turns until there is nothing more to learn; say why it ended."""
    began = time.perf_counter()
    turn = sorted(tracks, key=lambda track: track.candidate.on != "serial")  # what all is held to
    made = 0
    while True:
        made += 1
        for track in turn:
            status(f"round {made} of at most {rounds}: {track.candidate.on}")
            track.run(work)
        left, ended = next_round(
            {track.candidate.on: track.seconds for track in tracks if track.measured},
            most_rounds=rounds,
            elapsed_seconds=time.perf_counter() - began,
            most_seconds=seconds,
        )
        if not left:
            status("")
            return ended
        again = [track for track in tracks if track.candidate.on in left]
        shift = made % len(again)  # so that nobody always comes after the same
        turn = again[shift:] + again[:shift]


def _measure(work: _Work, candidate: _Candidate) -> tuple[_Measured, list[Any]]:
    """Run all the items on an engine, in full.

    What is read before the last worker leaves is not part of the time.
    """
    idle_start_seconds = _idle_start_seconds(work, candidate)
    memory = Memory()
    cpu = cpu_seconds()
    began = time.perf_counter()
    with mapping.run_map(
        work.fn,
        (work.items,),
        errors="return",
        on=candidate.engine,
        workers=candidate.workers,
        **work.options,
    ) as run:
        values = iter(run)
        outcomes = list(islice(values, 1))
        first_seconds = time.perf_counter() - began
        outcomes += islice(values, len(work.items) - 1)  # one more would end the workers
        all_seconds, all_cpu = time.perf_counter() - began, _since(cpu)
        peak = memory.peak_bytes()
        cpu, began = cpu_seconds(), time.perf_counter()
        outcomes += values
    end_seconds, end_cpu = time.perf_counter() - began, _since(cpu)
    report = run.report
    spent = None if all_cpu is None or end_cpu is None else all_cpu + end_cpu
    measured = _Measured(
        seconds=all_seconds + end_seconds,
        start_seconds=max(0.0, first_seconds - report.busy_seconds / len(work.items))
        if idle_start_seconds is None
        else idle_start_seconds,
        end_seconds=end_seconds,
        # workers of an engine that goes on living are not in what the system says
        cpu_seconds=None if spent is None else max(spent, report.cpu_seconds),
        peak_bytes=peak,
        report=report,
    )
    return measured, outcomes


def _idle_start_seconds(work: _Work, candidate: _Candidate) -> float | None:
    """Return how long an engine takes to its first value where there is nothing to do.

    None where its tasks do not share memory: the first value itself tells there.
    """
    if candidate.on == "auto" or candidate.name not in _SHARING:
        return None
    function = _nothing_async if is_coroutine_function(work.fn) else _nothing
    began = time.perf_counter()
    with mapping.run_map(
        function, ([None],), on=candidate.engine, workers=candidate.workers
    ) as run:
        next(iter(run))
        return time.perf_counter() - began


def _nothing(_: None) -> None:
    """Be a task that takes no time."""


async def _nothing_async(_: None) -> None:
    """The same, for an event loop."""


def _since(before: float | None) -> float | None:
    now = cpu_seconds()
    return None if before is None or now is None else now - before


def _no_way(candidate: _Candidate, work: _Work) -> str | None:
    """Return why an engine cannot run the function, or None; asked once there is a value."""
    if candidate.name == "asyncio" and not is_coroutine_function(work.fn):
        return "asyncio runs coroutine functions (async def), and this is none"
    if candidate.name == "processes":
        values = (each for each in work.reference or () if not isinstance(each, Failure))
        return mapping._obstacle(work.job, next(values, None))  # noqa: SLF001 - of this room
    return None


def _warm_up(work: _Work) -> None:
    """Call the first item once: imports, first look-ups and caches are nobody's fault."""
    with mapping.run_map(
        work.fn, (work.items[:1],), errors="return", on="serial", **work.options
    ) as run:
        list(run)


def _planned_seconds(measured: _Measured) -> float | None:
    """Return what auto expected for all of it: what it had taken, and its plan for the rest."""
    report = measured.report
    if report.planned_seconds is None or report.actual_seconds is None:
        return None
    return max(0.0, measured.seconds - report.actual_seconds) + report.planned_seconds


def _predictions(
    fn: Callable[..., Any], items: Sequence[Any], *, star: bool
) -> Mapping[str, float]:
    """Return what each engine is expected to take for all the items, by its name."""
    explain = _explain()
    if explain is None:
        return {}
    try:
        forecast: Mapping[str, float] = explain(
            fn, items, **({"star": True} if star else {})
        ).predictions
    except Exception:  # a forecast that fails is none; the runs show what is wrong
        return {}
    return forecast


def _explain() -> Callable[..., Any] | None:
    return getattr(sys.modules["gearshift"], "explain", None)


def _announcement(work: _Work, tracks: Sequence[_Track], rounds: int) -> str:
    """Say what will be run how often."""
    names = [track.candidate.on for track in tracks]
    extra = 1 + (_explain() is not None)
    most = len(tracks) * rounds + extra
    items = "one item" if len(work.items) == 1 else f"each of {len(work.items):,} items"
    before = "once" if extra == 1 else "twice"
    return (
        f"{_name_of(work.fn)} will be called with {items} at most {most} times, for real: "
        f"in {counted(rounds, 'round')} at most on {listed(names)}, and at most {before} before."
    )


def _candidates(fn: Callable[..., Any], on: Any, workers: int | None) -> list[_Candidate]:
    """Return the engines that are meant.

    Raises:
        TypeError: `on` is none of what it may be, or `workers` is not a whole number.
        ValueError: There is no such engine, it stands there twice, or there is none.
    """
    check_workers(workers)
    if on is None:
        on = _COROUTINES if is_coroutine_function(fn) else _PLAIN
    elif isinstance(on, str | Engine | Executor) or not isinstance(on, Iterable):
        on = [on]
    found = [_candidate(entry, workers) for entry in on]
    if not found:
        raise ValueError(f"on={on!r} names no engine: leave it out for all that can run this")
    names = [each.on for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"on={on!r} has {twice!r} twice: its rounds would be told as one")
    return found


def _candidate(entry: object, workers: int | None) -> _Candidate:
    if isinstance(entry, str):
        name, colon, count = entry.partition(":")
        check_name(name)
        if not colon:
            return _Candidate(entry, name, None if name == "serial" else workers)
        if not count.isdecimal() or not int(count):
            raise ValueError(
                f"on={entry!r}: what follows the colon is how many workers, as in {name + ':8'!r}"
            )
        return _Candidate(entry, name, int(count))
    if isinstance(entry, type) or not isinstance(entry, Engine | Executor):
        raise TypeError(
            f'on={entry!r} is not an engine: give names such as "threads" or "threads:8", or '
            "engines such as gs.engines.ThreadExecutor(8)"
        )
    if isinstance(entry, Engine):
        return _Candidate(f"{entry.traits.name} ({entry.workers} of yours)", entry)
    return _Candidate(type(entry).__name__, entry)


def _gathered(iterables: tuple[Any, ...], *, star: bool) -> tuple[list[Any], bool]:
    """Return the items as a list, and whether they are starred.

    Raises:
        TypeError: There are no inputs, or something that cannot be iterated here.
        ValueError: There are no items, or more than can be meant.
    """
    if not isinstance(star, bool):
        raise TypeError(f"star={star!r} is not True or False")
    for place, iterable in enumerate(iterables, 1):
        if isinstance(iterable, AsyncIterable):
            raise TypeError(f"input {place} is {iterable!r}, which is asynchronous: make it a list")
    _, star = mapping._source(iterables, None, star=star)  # noqa: SLF001 - the same words
    if len(iterables) == 1 and isinstance(iterables[0], Sequence):
        items = list(iterables[0])
    else:
        items = _taken(iterables[0] if len(iterables) == 1 else zip(*iterables, strict=False))
    if not items:
        raise ValueError("there are no items: with nothing to run there is nothing to compare")
    return items, star


def _taken(source: Iterable[Any]) -> list[Any]:
    """Return the items of what may have no end.

    Raises:
        ValueError: There are too many.
    """
    taken = list(islice(source, MOST_ITEMS + 1))
    if len(taken) > MOST_ITEMS:
        raise ValueError(
            f"there are more than {MOST_ITEMS:,} items, perhaps without an end: every engine is to run "
            "the same ones, so give a list of as many as you mean"
        )
    return taken


def _check_numbers(rounds: object, seconds: object) -> None:
    """Refuse `rounds` and `seconds` that make no sense.

    Raises:
        TypeError: One is no number.
        ValueError: One is out of its range.
    """
    if isinstance(rounds, bool) or not isinstance(rounds, int):
        raise TypeError(f"rounds={rounds!r} is not a whole number")
    if rounds < 1:
        raise ValueError(f"rounds={rounds!r} is below 1: each engine runs the items at least once")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"seconds={seconds!r} is not a number of seconds")
    if not seconds >= 0:
        raise ValueError(f"seconds={seconds!r} is below 0: 0 means a single round")


def _name_of(fn: Callable[..., Any]) -> str:
    named = fn.func if isinstance(fn, partial) else fn
    return getattr(named, "__name__", None) or type(named).__name__


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - what it is for


def _ignore(_: str) -> None:
    """Say nothing."""
