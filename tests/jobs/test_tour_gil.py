"""The three jobs of the GIL rows, and how they are given the same length."""

from __future__ import annotations

import hashlib

import pytest

from gearshift.jobs.tour.gil import fitting_amount, hashing, round_down, spin, waiting


class Worker:
    """A job that takes a fixed time a unit, and the clock that sees it."""

    def __init__(self, unit_seconds: float) -> None:
        self.now = 0.0
        self.unit_seconds = unit_seconds

    def job(self, amount: int) -> None:
        self.now += amount * self.unit_seconds

    def clock(self) -> float:
        return self.now


def test_jobs_give_what_they_say() -> None:
    assert spin(10) == sum(number * number % 7 for number in range(10))
    assert hashing(2) == hashlib.sha256(bytes(2 << 20)).hexdigest()
    assert waiting(0.0) == 0.0


@pytest.mark.parametrize("unit_seconds", [1e-7, 0.0013, 0.04])
def test_fitting_amount_lasts_about_as_long_as_asked(unit_seconds: float) -> None:
    worker = Worker(unit_seconds)
    amount = fitting_amount(worker.job, 0.15, clock=worker.clock)
    assert 0.5 * 0.15 < amount * unit_seconds <= 0.1501


def test_fitting_amount_is_at_least_one() -> None:
    worker = Worker(60.0)
    assert fitting_amount(worker.job, 0.15, clock=worker.clock) == 1


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0.2, 1), (1, 1), (99.9, 99), (100, 100), (129, 120), (1_987_654.3, 1_900_000)],
)
def test_round_down_keeps_two_digits(number: float, expected: int) -> None:
    assert round_down(number) == expected
