"""Seconds, bytes and counts as people say them.

Apart from facts and reports, since both speak: at the bottom, and imports nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["counted", "duration", "in_words", "listed", "megabytes"]

_HOUR = 3600.0
_SHORT = 100.0  # seconds from which on minutes are easier to read
_ROUNDED_UP = 0.9995  # seconds that are 1,000 ms with three digits
_MILLION = 1e6
_THREE_DIGITS = 99.5  # from here on "%.2g" would write an exponent
_PRECISE = 10.0  # megabytes below which a digit behind the point tells something


def duration(seconds: float) -> str:
    """Return seconds as people say them, with three digits at most."""
    if seconds >= _HOUR:
        return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // 60)} min"
    if seconds >= _SHORT:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds >= _ROUNDED_UP:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms"


def in_words(seconds: float) -> str:
    """Return an estimate of seconds: with two digits, and the unit that fits.

    Example:
        >>> in_words(0.0123)
        '12 ms'
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            number = seconds / scale
            return f"{number:.2g} {unit}" if number < _THREE_DIGITS else f"{number:.0f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def megabytes(count: float) -> str:
    """Return bytes as megabytes of a million.

    Example:
        >>> megabytes(20_480_000)
        '20 MB'
    """
    amount = count / _MILLION
    return f"{amount:,.0f} MB" if amount >= _PRECISE else f"{amount:.1f} MB"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    Args:
        number: How many.
        one: The noun for one of them.
        many: The noun for more; `one` with an "s" if not said.

    Example:
        >>> counted(2, "item")
        '2 items'
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(names: Sequence[str]) -> str:
    """Return names as people list them.

    Example:
        >>> listed(["serial", "threads", "auto"])
        'serial, threads and auto'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
