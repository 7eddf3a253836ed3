"""The stations of the tour: which calls are measured, in which groups.

Apart from `words`, which finds the reasons, and from the table, which shows them. One
call after another, in this thread; the only other thread is the picture server's, and
it ends with its group.
"""

from __future__ import annotations

import asyncio
import platform
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gearshift as gs
from gearshift.host import cores
from gearshift.jobs.tour import words
from gearshift.jobs.tour.calls import Call, best_of, measure
from gearshift.jobs.tour.factors import factor, fitting_count, random_numbers, wrong_factors
from gearshift.jobs.tour.gil import fitting_amount, hashing, spin, waiting
from gearshift.jobs.tour.models import take_events, take_reactive
from gearshift.jobs.tour.pictures import PictureServer, fetch, fetch_async, picture
from gearshift.reports.tour_table import Group, Machine, Row, Tour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gearshift.jobs.tour.calls import Measured

__all__ = ["FULL", "QUICK", "Sizes", "take_tour"]

_CHAPTER_NUMBERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        pictures: Pictures to fetch.
        delay_seconds: Time from a request to its picture.
        numbers: Numbers to factor, at most.
        factor_seconds: How long factoring them serially may take; fewer are taken if need be.
        job_seconds: How long one of the two jobs of a GIL row lasts.
        rounds: How often a GIL row is measured, at most.
        rounds_seconds: After this long no further round of a GIL group begins.
        events: Events that another thread gives.
        readings: Readings of thermometers.
    """

    pictures: int = 10
    delay_seconds: float = 0.1
    numbers: int = _CHAPTER_NUMBERS
    factor_seconds: float = 4.0
    job_seconds: float = 0.15
    rounds: int = 3
    rounds_seconds: float = 2.5
    events: int = 50_000
    readings: int = 20_000


FULL = Sizes()
QUICK = Sizes(
    numbers=2_000,
    factor_seconds=1.0,
    job_seconds=0.05,
    rounds=2,
    rounds_seconds=0.5,
    events=20_000,
    readings=10_000,
)


def take_tour(sizes: Sizes = FULL, *, tell: Callable[[str], object] = lambda _: None) -> Tour:
    """Measure the chapter's examples on this machine.

    Args:
        sizes: How much is measured: `FULL`, `QUICK`, or your own.
        tell: Is called with a few words before each part.

    Returns:
        The finished tour; a wrong result is in its group's `wrong`.
    """
    begin = time.perf_counter()
    machine = Machine(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        gil=getattr(sys, "_is_gil_enabled", lambda: True)(),
        cores=cores(),
        system=f"{platform.system()} {platform.machine()}",
    )
    groups = (
        take_pictures(sizes, machine, tell),
        take_factors(sizes, machine, tell),
        *take_gil(sizes, machine, tell),
        take_events(sizes.events, tell),
        take_reactive(sizes.readings, tell),
    )
    return Tour(
        machine=machine, quick=sizes == QUICK, groups=groups, seconds=time.perf_counter() - begin
    )


def take_pictures(sizes: Sizes, machine: Machine, tell: Callable[[str], object]) -> Group:
    """Fetch pictures one after another, on threads, on an event loop, and on auto."""
    count, delay = sizes.pictures, sizes.delay_seconds
    with PictureServer(delay_seconds=0.0) as server:
        urls = server.urls(count)
        calls = (
            Call(fetch, urls, "urls", "serial"),
            Call(fetch, urls, "urls", "threads", count),
            Call(fetch_async, urls, "urls", "asyncio"),
            Call(fetch, urls, "urls", "auto"),
        )
        _pay_imports(urls[0])
        server.delay_seconds = delay
        measured, peaks = [], []
        for call in calls:
            tell(f"pictures, {call.text}")
            server.reset_peak()
            measured.append(measure(call))
            peaks.append(server.peak)
    one, threads, loop, _ = (_seen(each, measured[0], machine) for each in measured)
    reasons = (
        (words.turns_words(count=count, delay_seconds=delay, seconds=one.seconds),),
        (words.together_words(f"{threads.workers} threads", threads, peak=peaks[1]),),
        (words.together_words("One event loop in one thread", loop, peak=peaks[2]),),
        (*_auto_words(measured[3]), words.peak_words(peak=peaks[3])),
    )
    expected = [picture(number) for number in range(count)]
    return Group(
        title=f"{count} pictures from a server that answers after {delay:g} s",
        setup=(
            "from gearshift.jobs.tour.pictures import PictureServer, fetch, fetch_async",
            f"server = PictureServer(delay_seconds={delay:g}); urls = server.urls({count})",
        ),
        rows=_rows(
            measured, reasons, chapter=("", '"an order of magnitude" faster with threads.', "", "")
        ),
        wrong=tuple(
            f"{each.call.text} gave other pictures." for each in measured if each.values != expected
        ),
    )


def take_factors(sizes: Sizes, machine: Machine, tell: Callable[[str], object]) -> Group:
    """Factor random numbers serially, on processes, and on auto."""
    count, item_seconds = fitting_count(sizes.numbers, sizes.factor_seconds)
    numbers = random_numbers(count)
    measured = []
    for on in ("serial", "processes", "auto"):
        call = Call(factor, numbers, "numbers", on)
        tell(f"factors, {call.text}")
        measured.append(measure(call))
    one, processes, _ = (_seen(each, measured[0], machine) for each in measured)
    reasons = (
        (f"One core, {one.seconds / count * 1000:.2g} ms a number.",),
        (words.process_words(processes),),
        _auto_words(measured[2]),
    )
    return Group(
        title=f"{count:,} numbers from 20,000 to 100,000,000, factored by trial division",
        setup=(
            "from gearshift.jobs.tour.factors import factor, random_numbers",
            f"numbers = random_numbers({count:_})",
        ),
        rows=_rows(
            measured,
            reasons,
            chapter=("3.9 s.", "1.9 s, so 2.1 times as fast.", ""),
        ),
        notes=words.cut_words(count, sizes.numbers, of=_CHAPTER_NUMBERS, item_seconds=item_seconds),
        wrong=_wrong_factors(numbers, measured),
    )


def take_gil(sizes: Sizes, machine: Machine, tell: Callable[[str], object]) -> Iterator[Group]:
    """Do two jobs on one thread, two threads, two processes: of Python, hashing, waiting."""
    seconds = sizes.job_seconds
    jobs: tuple[tuple[str, Callable[[Any], object], float, Callable[[words.Seen], str]], ...] = (
        ("plain Python", spin, fitting_amount(spin, seconds), words.thread_python_words),
        ("hashing", hashing, fitting_amount(hashing, seconds), words.thread_hashing_words),
        ("waiting", waiting, seconds, words.thread_waiting_words),
    )
    for kind, job, amount, thread_words in jobs:
        tell(f"the GIL, two jobs of {kind}")
        measured, rounds = best_of(
            [
                Call(job, [amount] * 2, "twice", on, workers)
                for on, workers in (("threads", 1), ("threads", 2), ("processes", 2))
            ],
            rounds=sizes.rounds,
            enough_seconds=sizes.rounds_seconds,
        )
        _, threads, processes = (_seen(each, measured[0], machine) for each in measured)
        reasons = (
            ("One thread, one job after the other.",),
            (thread_words(threads),),
            (words.process_words(processes, waits=job is waiting),),
        )
        yield Group(
            title=f"The GIL made visible: two jobs of {kind}",
            setup=(
                f"from gearshift.jobs.tour.gil import {job.__name__}",
                f"twice = [{amount:_}] * 2",
            ),
            rows=_rows(measured, reasons),
            notes=(words.rounds_words(rounds, sizes.rounds),),
            wrong=_different(measured),
        )


def _pay_imports(url: str) -> None:
    """Fetch one picture each way, so that no row pays for imports and first look-ups."""
    fetch(url)
    asyncio.run(fetch_async(url))
    for on in ("serial", "threads"):
        list(gs.map(fetch, [url], on=on))
    list(gs.map(fetch_async, [url], on="asyncio"))


def _seen(measured: Measured, first: Measured, machine: Machine) -> words.Seen:
    """Return what the words need of a measurement."""
    return words.Seen(
        seconds=measured.seconds,
        first_seconds=first.seconds,
        first_cpu_seconds=first.report.cpu_seconds,
        workers=measured.report.workers,
        busy_seconds=measured.report.busy_seconds,
        cpu_seconds=measured.report.cpu_seconds,
        cores=machine.cores,
        gil=machine.gil,
    )


def _auto_words(measured: Measured) -> tuple[str, ...]:
    """Return what auto chose, and its own reasons."""
    report = measured.report
    return words.auto_words(report.engine, report.workers, report.reasons)


def _rows(
    measured: Sequence[Measured], reasons: Sequence[tuple[str, ...]], *, chapter: Sequence[str] = ()
) -> tuple[Row, ...]:
    """Return the rows of a group; the first one is what the others are compared with."""
    return tuple(
        Row(
            call=each.call.text,
            seconds=each.seconds,
            speedup=measured[0].seconds / each.seconds,
            engine=each.report.engine,
            workers=each.report.workers,
            reasons=reasons[place],
            chapter=chapter[place] if chapter else "",
        )
        for place, each in enumerate(measured)
    )


def _wrong_factors(numbers: Sequence[int], measured: Sequence[Measured]) -> tuple[str, ...]:
    """Return a sentence for each call whose factors are wrong, or not those of the first."""
    sentences = []
    for each in measured:
        wrong = wrong_factors(numbers, each.values)
        if wrong:
            count = f"{len(wrong):,} of {len(numbers):,} numbers"
            sentences.append(f"{each.call.text}: wrong for {count}, the first {wrong[0]}.")
    return tuple(sentences) or _different(measured)


def _different(measured: Sequence[Measured]) -> tuple[str, ...]:
    """Return a sentence for each call whose results are not those of the first one."""
    first = measured[0]
    return tuple(
        f"{each.call.text} gave other results than {first.call.text}."
        for each in measured
        if each.values != first.values
    )
