"""One engine's runs in a comparison: timed, measured, and held to the reference.

Apart from the comparison, which says whose turn it is. Invariant: what is read of the
machine is read outside of the time that is told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

from gearshift._api import map as mapping
from gearshift._api.sameness import is_same, shown
from gearshift._api.usage import Memory, cpu_seconds
from gearshift._work.run_chunk import is_coroutine_function
from gearshift.engines.base import Job
from gearshift.errors import GearshiftError
from gearshift.facts import Failure
from gearshift.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gearshift._api.entrants import Candidate
    from gearshift.facts import Report

__all__ = ["Track", "Work", "warm_up"]

_SHARING = ("serial", "threads", "asyncio")


class Work:
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
class Track:
    """One engine's runs so far."""

    candidate: Candidate
    measured: list[_Measured] = field(default_factory=list)
    agrees: bool | None = True
    difference: str = ""
    why_not: str | None = None
    runs: int = 0

    def run(self, work: Work) -> None:
        """Run all the items once, and compare what came of them."""
        self.why_not = _no_way(self.candidate, work)
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
            failure=shown(last.failures[0]) if last.failures else "",
            agrees=self.agrees,
            difference=self.difference,
            reasons=last.reasons if candidate.on == "auto" else (),
        )


def warm_up(work: Work) -> None:
    """Call the first item once: imports, first look-ups and caches are nobody's fault."""
    with mapping.run_map(
        work.fn, (work.items[:1],), errors="return", on="serial", **work.options
    ) as run:
        list(run)


def _measure(work: Work, candidate: Candidate) -> tuple[_Measured, list[Any]]:
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


def _idle_start_seconds(work: Work, candidate: Candidate) -> float | None:
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


def _no_way(candidate: Candidate, work: Work) -> str | None:
    """Return why an engine cannot run the function, or None; asked once there is a value."""
    if candidate.name == "asyncio" and not is_coroutine_function(work.fn):
        return "asyncio runs coroutine functions (async def), and this is none"
    if candidate.name == "processes":
        values = (each for each in work.reference or () if not isinstance(each, Failure))
        return mapping.Obstacles(work.job).processes(next(values, None))
    return None


def _planned_seconds(measured: _Measured) -> float | None:
    """Return what auto expected for all of it: what it had taken, and its plan for the rest."""
    report = measured.report
    if report.planned_seconds is None or report.actual_seconds is None:
        return None
    return max(0.0, measured.seconds - report.actual_seconds) + report.planned_seconds
