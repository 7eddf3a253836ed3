"""One call: its text, its measurement, and the best of several rounds."""

from __future__ import annotations

from typing import Any

import pytest

import gearshift as gs
from gearshift.jobs.tour.calls import Call, Measured, best_of, measure

REPORT = gs.Report(
    engine="serial",
    workers=1,
    reasons=(),
    items=0,
    succeeded=0,
    failed=0,
    retried=0,
    abandoned=0,
    failures=(),
    seconds=0.0,
    busy_seconds=0.0,
    cpu_seconds=0.0,
    finished=True,
)


def call(workers: int | None = None) -> Call:
    return Call(abs, [-1, 2], "numbers", "serial", workers)


def test_text_is_the_call_as_python() -> None:
    assert call().text == 'list(gs.map(abs, numbers, on="serial"))'
    assert call(2).text == 'list(gs.map(abs, numbers, on="serial", workers=2))'


def test_measure_keeps_values_and_report() -> None:
    measured = measure(call())
    assert measured.values == [1, 2]
    assert measured.report.engine == "serial"
    assert measured.report.items == 2


def fake_maker(seconds: list[float], made: list[Call]) -> Any:
    """Return a maker of calls that take the given seconds, one after another."""

    def make(one: Call) -> Measured:
        made.append(one)
        return Measured(one, [], seconds[len(made) - 1], REPORT)

    return make


def test_best_of_takes_turns_and_keeps_the_fastest_of_each() -> None:
    first, second = call(), call(2)
    made: list[Call] = []
    best, rounds = best_of(
        [first, second],
        rounds=3,
        enough_seconds=10.0,
        make=fake_maker([5.0, 4.0, 3.0, 6.0, 7.0, 2.0], made),
        clock=lambda: 0.0,
    )
    assert made == [first, second] * 3
    assert [(each.call, each.seconds) for each in best] == [(first, 3.0), (second, 2.0)]
    assert rounds == 3


@pytest.mark.parametrize("rounds", [1, 5])
def test_best_of_makes_one_round_even_if_that_is_too_long(rounds: int) -> None:
    times = iter([0.0, 99.0, 99.0])
    made: list[Call] = []
    _, done = best_of(
        [call()],
        rounds=rounds,
        enough_seconds=10.0,
        make=fake_maker([1.0], made),
        clock=lambda: next(times),
    )
    assert done == 1
