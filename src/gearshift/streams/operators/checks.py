"""Refuse arguments of operators that make no sense, by name and value.

Apart from the operators because they all ask for the same: seconds, sizes, functions.
"""

from __future__ import annotations

import math

__all__ = ["check_function", "check_seconds", "check_size"]


def check_seconds(name: str, seconds: object) -> None:
    """Refuse what is no length of time.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not above 0, or has no end.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name}={seconds!r} is not a number of seconds: give one such as 1.5")
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name}={seconds!r} is not a number of seconds above 0")


def check_size(name: str, size: object) -> None:
    """Refuse what is no number of items.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is not above 0.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name}={size!r} is not a whole number of items")
    if size < 1:
        raise ValueError(f"{name}={size!r} is not a number of items from 1 up")


def check_function(name: str, function: object, *, takes: str = "the item") -> None:
    """Refuse what cannot be called.

    Raises:
        TypeError: It is not callable.
    """
    if not callable(function):
        raise TypeError(f"{name}={function!r} is not callable: give a function of {takes}")
