"""The stations of the two models in which items come by themselves: events, and reactive streams.

Apart from the other stations, since their rows are not calls of `gs.map`: each is a small
program of its own, with the plain way first, which the others are compared with.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gearshift.jobs.tour import events, racks, words
from gearshift.reports.tour_table import Group, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Program", "take_events", "take_reactive"]

ROUNDS = 2  # in turn; a third would not fit into the time of the tour
ENOUGH_SECONDS = 0.5  # after this no second round begins
STREAM = "stream"
PLAIN = "plain Python"


@dataclass(frozen=True, slots=True)
class Program:
    """A function that is measured as a whole.

    Attributes:
        text: The call, as the table shows it.
        run: Makes it.
        engine: What moves the items.
        why: What the way costs or keeps, a part of a sentence.
    """

    text: str
    run: Callable[[], Any]
    engine: str
    why: str


def take_events(count: int, tell: Callable[[str], object]) -> Group:
    """Give events from another thread, one by one, through queues and through live sources.

    Args:
        count: How many events.
        tell: Is called with a few words before each part.
    """
    bound = f"at most {events.ROOM:,} wait, then the thread that gives them does"
    programs = [
        Program(f"events.{function.__name__}({count:_})", partial(function, count), engine, why)
        for function, engine, why in (
            (events.by_queue, PLAIN, bound),
            (events.by_simple_queue, PLAIN, "any number may wait, as long as there is memory"),
            (events.by_channel, STREAM, bound),
            (events.by_emitter, STREAM, "the same for each run that listens to the event's name"),
        )
    ]
    expected = (count, count * (count - 1) // 2)
    return _group(
        f"Events: {count:,} doors open, one by one, in another thread",
        ("from gearshift.jobs.tour import events",),
        programs,
        tell,
        words_of=lambda seconds, why: words.rate_words(count, "events", seconds, why),
        is_wrong=lambda value, _first: value != expected,
    )


def take_reactive(count: int, tell: Callable[[str], object]) -> Group:
    """Warn of racks that are hot for 30 s: by a loop, by a stream, and by ReactiveX if it is there.

    Args:
        count: How many readings.
        tell: Is called with a few words before each part.
    """
    readings = racks.readings_of(count)
    programs = [
        Program(
            "racks.by_loop(readings)",
            lambda: racks.by_loop(readings),
            PLAIN,
            "a dictionary, and time by hand",
        ),
        Program(
            "racks.by_stream(readings)",
            lambda: racks.by_stream(readings),
            STREAM,
            "one chain of operators for all racks",
        ),
    ]
    racks.by_stream(readings[:1])  # so that no row pays for imports
    if racks.has_reactivex():
        racks.by_reactivex(readings[:1])
        program = Program(
            "racks.by_reactivex(readings)",
            lambda: racks.by_reactivex(readings),
            "reactivex",
            "a chain of operators for each rack",
        )
        programs.append(program)
    return _group(
        f"Reactive: {racks.RACKS:,} racks, {count:,} readings; which was above "
        f"{racks.HOT:g} degrees for {racks.HOLD_SECONDS:g} s?",
        (
            "from gearshift.jobs.tour import racks",
            f"readings = racks.readings_of({count:_})",
        ),
        programs,
        tell,
        words_of=lambda seconds, why: words.rate_words(count, "readings", seconds, why),
        is_wrong=lambda value, first: value != first,
    )


def _group(
    title: str,
    setup: tuple[str, ...],
    programs: Sequence[Program],
    tell: Callable[[str], object],
    *,
    words_of: Callable[[float, str], str],
    is_wrong: Callable[[Any, Any], bool],
) -> Group:
    """Run the programs in turn and return their rows, each with the faster of its rounds."""
    seconds = [float("inf")] * len(programs)
    values: list[Any] = [None] * len(programs)
    began, made = time.perf_counter(), 0
    while made == 0 or (made < ROUNDS and time.perf_counter() - began < ENOUGH_SECONDS):
        made += 1
        for place, program in enumerate(programs):
            tell(program.text)
            begin = time.perf_counter()
            values[place] = program.run()
            seconds[place] = min(seconds[place], time.perf_counter() - begin)
    return Group(
        title=title,
        setup=setup,
        rows=tuple(
            Row(
                call=program.text,
                seconds=took,
                speedup=seconds[0] / took,
                engine=program.engine,
                workers=1,
                reasons=(words_of(took, program.why),),
            )
            for program, took in zip(programs, seconds, strict=True)
        ),
        notes=(words.rounds_words(made, ROUNDS),),
        wrong=tuple(
            f"{program.text} gave another result than it must."
            for program, value in zip(programs, values, strict=True)
            if is_wrong(value, values[0])
        ),
    )
