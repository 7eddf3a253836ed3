"""Three jobs that treat the GIL differently: plain Python, hashing, waiting.

Apart from the rest so that worker processes import nothing but this. Each job takes
one number and lasts in proportion to it, so that `fitting_amount` can give all three the
same length on any machine.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fitting_amount", "hashing", "spin", "waiting"]

_MEGABYTE = 1 << 20
_SAMPLE_SHARE = 0.1  # of the length asked for: long enough to be told from a clock's noise


def spin(steps: int) -> int:
    """Return a sum computed in plain Python: it holds the GIL all the time.

    Args:
        steps: Turns of the loop.

    Returns:
        The sum.
    """
    total = 0
    for step in range(steps):
        total += step * step % 7
    return total


def hashing(megabytes: int) -> str:
    """Return the SHA-256 of that many megabytes of zeros: it lets go of the GIL for each megabyte.

    Args:
        megabytes: How much to hash.

    Returns:
        The digest in hexadecimal.
    """
    buffer = bytes(_MEGABYTE)
    digest = hashlib.sha256()
    for _ in range(megabytes):
        digest.update(buffer)
    return digest.hexdigest()


def waiting(seconds: float) -> float:
    """Return after that many seconds of sleep: it needs neither the GIL nor a core.

    Args:
        seconds: How long to sleep.

    Returns:
        The same number.
    """
    time.sleep(seconds)
    return seconds


def fitting_amount(
    job: Callable[[int], object], seconds: float, *, clock: Callable[[], float] = time.thread_time
) -> int:
    """Return the number for which a job lasts about that long here.

    Args:
        job: `spin` or `hashing`; one that needs a core all the time.
        seconds: How long one call shall last.
        clock: Tells the time in seconds; that of this thread on a core, so that other
            programs do not count.

    Returns:
        A number with two digits that matter, so that it is easy to paste.
    """
    amount, lasted = 1, 0.0
    while lasted < seconds * _SAMPLE_SHARE:
        amount *= 2
        begin = clock()
        job(amount)
        lasted = clock() - begin
    return round_down(amount * seconds / lasted)


def round_down(number: float) -> int:
    """Return a number, at least 1, with all but its first two digits set to zero.

    Example:
        >>> round_down(123_456)
        120000
    """
    whole = max(1, int(number))
    unit: int = 10 ** max(0, len(str(whole)) - 2)
    return whole // unit * unit
