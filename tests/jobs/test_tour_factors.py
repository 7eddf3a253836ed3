"""Trial division, the numbers it is given, and the check of its results."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.jobs.tour.factors import factor, fitting_count, random_numbers, wrong_factors


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, []),
        (2, [2]),
        (4, [2, 2]),
        (97, [97]),
        (20_000, [2] * 5 + [5] * 4),
        (9_973**2, [9_973, 9_973]),
        (99_999_989, [99_999_989]),
        (9_967 * 9_973, [9_967, 9_973]),
        (100_000_000, [2] * 8 + [5] * 8),
        (561, [3, 11, 17]),
    ],
)
def test_factor_gives_the_primes_in_order(number: int, expected: list[int]) -> None:
    assert factor(number) == expected


@given(st.integers(1, 1_000_000))
def test_factors_are_primes_that_multiply_to_the_number(number: int) -> None:
    found = factor(number)
    assert math.prod(found) == number
    assert found == sorted(found)
    assert all(factor(prime) == [prime] for prime in found)


@pytest.mark.parametrize("number", [0, -6])
def test_factor_refuses_what_has_no_prime_factors(number: int) -> None:
    with pytest.raises(ValueError, match=f"number={number}"):
        factor(number)


def test_random_numbers_are_the_same_each_time_and_in_range() -> None:
    numbers = random_numbers(500)
    assert numbers == random_numbers(500)
    assert numbers[:20] == random_numbers(20)
    assert numbers != random_numbers(500, seed=2)
    assert all(20_000 <= number <= 100_000_000 for number in numbers)


def test_wrong_factors_names_what_is_wrong_or_missing() -> None:
    assert wrong_factors([6, 10], [[2, 3], [2, 5]]) == []
    assert wrong_factors([6, 10, 15, 21], [[2, 3], [2, 2], [1, 3, 5]]) == [10, 15, 21]


class StepClock:
    """A clock that goes on by the same step at each look."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_fitting_count_keeps_what_fits() -> None:
    count, item_seconds = fitting_count(10_000, 4.0, clock=StepClock(0.01))
    assert count == 10_000
    assert item_seconds == pytest.approx(0.0001)


def test_fitting_count_cuts_to_hundreds_on_a_slow_machine() -> None:
    count, item_seconds = fitting_count(10_000, 4.0, clock=StepClock(0.123))
    assert count == 3_200
    assert item_seconds == pytest.approx(0.00123)


def test_fitting_count_never_cuts_below_its_sample() -> None:
    assert fitting_count(10_000, 4.0, clock=StepClock(100.0))[0] == 100
