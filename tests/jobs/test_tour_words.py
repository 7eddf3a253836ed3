"""Measured numbers -> words: each sentence must follow from the numbers it was given."""

from __future__ import annotations

import pytest

from gearshift.jobs.tour import words
from gearshift.jobs.tour.words import Seen


def seen(
    seconds: float,
    *,
    first: float = 1.0,
    first_cpu: float = 1.0,
    workers: int = 2,
    busy: float = 1.0,
    cpu: float = 1.0,
    cores: int = 2,
    gil: bool = True,
) -> Seen:
    return Seen(
        seconds=seconds,
        first_seconds=first,
        first_cpu_seconds=first_cpu,
        workers=workers,
        busy_seconds=busy,
        cpu_seconds=cpu,
        cores=cores,
        gil=gil,
    )


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (0.5, "faster"),
        (0.86, "faster"),
        (0.9, "no faster"),
        (1.0, "no faster"),
        (1.1, "no faster"),
        (1.2, "slower"),
    ],
)
def test_verdict_needs_a_clear_difference(seconds: float, verdict: str) -> None:
    assert seen(seconds).verdict == verdict


def test_one_after_another_tells_the_share_that_was_waiting() -> None:
    assert "80% of the time" in words.turns_words(count=10, delay_seconds=0.1, seconds=1.25)
    assert "100% of the time" in words.turns_words(count=10, delay_seconds=0.1, seconds=0.999)


def test_waits_overlap_only_where_the_server_saw_it() -> None:
    assert "up to 10 requests" in words.together_words("10 threads", seen(0.1), peak=10)
    assert "so the waits overlapped" in words.together_words("10 threads", seen(0.1), peak=10)
    alone = words.together_words("10 threads", seen(1.0), peak=1)
    assert "never saw two requests at once" in alone
    odd = words.together_words("10 threads", seen(1.3), peak=10)
    assert "slower here" in odd
    assert "so the waits overlapped" not in odd


def test_peak_is_told_without_a_reason() -> None:
    assert "up to 4 requests" in words.peak_words(peak=4)
    assert "never saw two" in words.peak_words(peak=1)


def test_processes_that_won_are_said_to_have_kept_cores_busy() -> None:
    told = words.process_words(seen(0.55, busy=1.05, cpu=1.04))
    assert told == (
        "2 processes, each with a GIL of its own, kept 1.9 cores busy instead of 1.0, "
        "start included."
    )


@pytest.mark.parametrize(
    ("case", "cause"),
    [
        (seen(1.02, busy=2.0, cpu=1.0, cores=1), "one core only"),
        (seen(1.02, busy=2.0, cpu=1.0), "had no core for 50% of their time"),
        (seen(1.0, busy=1.0, cpu=0.98), "0.50 of the 1.00 s went to starting them"),
        (
            seen(1.0, busy=1.9, cpu=1.88),
            "the work itself took 1.90 s there, against 1.00 s in the first row",
        ),
    ],
)
def test_processes_that_did_not_win_are_never_called_faster(case: Seen, cause: str) -> None:
    told = words.process_words(case)
    assert "2 processes were no faster here" in told
    assert cause in told
    assert "kept" not in told


@pytest.mark.parametrize(
    "told",
    [
        words.process_words(seen(0.7, cpu=0.6)),
        words.thread_hashing_words(seen(0.7, cpu=0.6)),
        words.thread_python_words(seen(0.7, cpu=0.6, gil=False)),
    ],
)
def test_gain_without_more_cores_is_not_credited_to_them(told: str) -> None:
    assert "the gain is not from them" in told
    assert "kept" not in told


def test_gain_on_a_busy_machine_counts_against_the_cores_of_the_first_row() -> None:
    told = words.thread_hashing_words(seen(0.5, cpu=0.45, first_cpu=0.45))
    assert "2 threads kept 0.9 cores busy instead of 0.5" in told


def test_a_single_process_is_spoken_of_as_one() -> None:
    told = words.process_words(seen(1.3, workers=1, cores=1))
    assert told == "1 process was slower here, start included: this program may use one core only."


def test_processes_that_wait_claim_no_busy_core() -> None:
    told = words.process_words(seen(0.5, busy=1.0, cpu=0.0), waits=True)
    assert "waited at the same time" in told
    assert "busy" not in told


def test_slow_start_of_waiting_processes_is_not_blamed_on_cores() -> None:
    told = words.process_words(seen(1.2, busy=1.0, cpu=0.0, cores=1), waits=True)
    assert "slower here" in told
    assert "0.70 of the 1.20 s went to starting them" in told


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (seen(1.0), "a time run Python: 2 threads kept 1.0 cores busy and were no faster."),
        (seen(1.25), "2 threads kept 0.8 cores busy and were slower."),
        (seen(0.5), "run Python: threads cannot be why this was faster"),
        (seen(0.5, gil=False), "has no GIL: 2 threads kept 2.0 cores busy"),
        (
            seen(1.0, busy=2.0, cores=1, gil=False),
            "yet 2 threads were no faster here: this program",
        ),
    ],
)
def test_plain_python_on_threads_depends_on_the_gil(case: Seen, expected: str) -> None:
    assert expected in words.thread_python_words(case)


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_no_gil_is_named_where_there_is_none(seconds: float) -> None:
    case = seen(seconds, gil=False)
    assert "lets go" not in words.thread_hashing_words(case)
    assert "GIL" not in words.process_words(case)


def test_hashing_on_threads_claims_a_gain_only_where_there_was_one() -> None:
    assert "2 threads kept 2.0 cores busy" in words.thread_hashing_words(seen(0.5))
    told = words.thread_hashing_words(seen(1.0, busy=2.0, cpu=1.0))
    assert "2 threads were no faster here: they had no core for 50%" in told


def test_waiting_on_threads_claims_a_gain_only_where_there_was_one() -> None:
    assert "passed at the same time" in words.thread_waiting_words(seen(0.5, cpu=0.0))
    assert "no faster here: 1.00 s of waiting took 0.95 s" in words.thread_waiting_words(
        seen(0.95, cpu=0.0)
    )


def test_auto_tells_its_own_reasons_untouched() -> None:
    assert words.auto_words("threads", 10, ["It waits.", "10 items left."]) == (
        "It ran on threads, 10 workers, because:",
        "- It waits.",
        "- 10 items left.",
    )
    assert (
        words.auto_words("serial", 1, ["Too short."])[0] == "It ran on serial, 1 worker, because:"
    )
    assert words.auto_words("serial", 1, ()) == ("It ran on serial, 1 worker, and gave no reason.",)


def test_a_cut_is_told_with_its_cause() -> None:
    assert words.cut_words(10_000, 10_000, of=10_000, item_seconds=0.0001) == ()
    assert "quick" in words.cut_words(2_000, 2_000, of=10_000, item_seconds=0.0001)[0]
    assert (
        "one takes 1.2 ms here" in words.cut_words(3_300, 10_000, of=10_000, item_seconds=0.0012)[0]
    )


def test_rounds_that_were_left_out_are_told() -> None:
    assert words.rounds_words(3, 3) == "each the best of 3, measured in turn"
    assert words.rounds_words(2, 3).endswith("more would take too long here")
    assert words.rounds_words(1, 1) == "each measured once"


def test_a_rate_has_two_digits_and_its_reason() -> None:
    assert words.rate_words(100_000, "events", 0.123, "at most 1,024 wait") == (
        "810,000 events a second: at most 1,024 wait."
    )
    assert words.rate_words(50, "readings", 4.0, "slow").startswith("12 readings a second")
