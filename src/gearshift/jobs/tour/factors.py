"""Random numbers factored by trial division: the tour's example of work.

Apart from the rest so that worker processes import nothing but this. The division is
written as a person would write it: it shows what the engines do with plain Python,
not how fast numbers can be factored.
"""

from __future__ import annotations

import math
import time
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["factor", "fitting_count", "random_numbers", "wrong_factors"]

_LEAST, _MOST = 20_000, 100_000_000  # the chapter's range
_SAMPLE = 100  # numbers: their mean is within a fifth of that of all


def factor(number: int) -> list[int]:
    """Return the prime factors of a number, smallest first.

    Args:
        number: 1 or more; 1 has no prime factors.

    Returns:
        The primes, each as often as it divides the number.

    Raises:
        ValueError: The number is below 1.

    Example:
        >>> factor(20_000)
        [2, 2, 2, 2, 2, 5, 5, 5, 5]
    """
    if number < 1:
        raise ValueError(f"number={number!r} is below 1 and has no prime factors: give 1 or more")
    found = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    if number > 1:
        found.append(number)
    return found


def random_numbers(count: int, *, seed: int = 1) -> list[int]:
    """Return random numbers from 20,000 to 100,000,000, the same ones for the same seed.

    Args:
        count: How many.
        seed: Start of the random sequence.

    Returns:
        The numbers; fewer of them are the beginning of more of them.
    """
    draw = Random(seed)  # noqa: S311 - nothing secret is drawn
    return [draw.randint(_LEAST, _MOST) for _ in range(count)]


def wrong_factors(numbers: Sequence[int], answers: Sequence[Sequence[int]]) -> list[int]:
    """Return the numbers whose factors do not multiply to them, or are not there at all."""
    missing = list(numbers[len(answers) :])
    return [
        number
        for number, found in zip(numbers, answers, strict=False)
        if math.prod(found) != number or 1 in found
    ] + missing


def fitting_count(
    most: int, seconds: float, *, clock: Callable[[], float] = time.perf_counter
) -> tuple[int, float]:
    """Return how many numbers can be factored in that time here, from a small sample.

    Args:
        most: Not more than this.
        seconds: How long factoring them one after another may take.
        clock: Tells the time in seconds.

    Returns:
        The count, rounded down to hundreds where it is cut but at least one hundred, and
        the seconds for one number.
    """
    sample = random_numbers(min(most, _SAMPLE))
    begin = clock()
    for number in sample:
        factor(number)
    item_seconds = (clock() - begin) / len(sample)
    if item_seconds * most <= seconds:
        return most, item_seconds
    return max(_SAMPLE, int(seconds / item_seconds) // _SAMPLE * _SAMPLE), item_seconds
