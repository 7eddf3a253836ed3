"""The closing paragraph says what happened, and nothing that is not so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gearshift.facts import Report
from gearshift.reports.terminal import closing
from gearshift.units import duration

REPORT = Report(
    engine="processes",
    workers=4,
    reasons=("It holds the GIL", "Two threads were no faster than one."),
    items=2000,
    succeeded=2000,
    failed=0,
    retried=0,
    abandoned=0,
    failures=(),
    seconds=2.0,
    busy_seconds=7.0,
    cpu_seconds=6.9,
    finished=True,
)


def test_paragraph_holds_what_the_run_did() -> None:
    assert closing(REPORT) == (
        "2,000 items in 2 s (1,000 a second) on processes with 4 workers: all succeeded. "
        "Why processes: It holds the GIL. Two threads were no faster than one. "
        "Speed-up over one worker: at most 3.5 (7 s in the function within 2 s)."
    )


def test_failures_are_counted_and_the_first_is_shown() -> None:
    report = replace(REPORT, succeeded=1990, failed=10)
    said = closing(report, unwritten=1, first_failure="'a' failed: OSError: gone.")
    assert ": 1,989 succeeded, 11 failed. The first: 'a' failed: OSError: gone. Why" in said


def test_no_speedup_is_claimed_where_there_is_none() -> None:
    said = closing(replace(REPORT, busy_seconds=2.02))
    assert said.endswith("Speed-up over one worker: none (2.02 s in the function within 2 s).")


def test_single_item_is_spoken_of_as_one() -> None:
    said = closing(replace(REPORT, items=1, succeeded=1, workers=1, reasons=(), busy_seconds=0.2))
    assert said == "1 item in 2 s on processes with 1 worker: it succeeded."


def test_empty_run_says_that_nothing_ran() -> None:
    report = replace(REPORT, items=0, succeeded=0, seconds=0.5)
    assert closing(report) == "0 items in 500 ms: nothing ran."


def test_retries_and_abandoned_tasks_are_told() -> None:
    said = closing(replace(REPORT, retried=1, abandoned=2))
    assert "1 attempt was a retry." in said
    assert "2 tasks went on after time was up, and what came of it was dropped." in said
    assert "3 attempts were retries." in closing(replace(REPORT, retried=3))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.01234, "12.3 ms"),
        (1.0, "1 s"),
        (12.345, "12.3 s"),
        (99.99, "100 s"),
        (125.0, "2 min 5 s"),
        (7384.0, "2 h 3 min"),
    ],
)
def test_duration_has_three_digits_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text
