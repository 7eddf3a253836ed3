"""When a server wants to be asked again.

Apart from the rest since it must be right on any text, and knows no clock: whoever asks says what
time it is. Invariant: the answer is None or a number from 0 to `MOST_SECONDS`.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["retry_after_seconds"]

MOST_SECONDS = (
    2.0**31
)  # more than HTTP has numbers for (RFC 9111, 1.2.2); the caller waits far less
MOST_CHARACTERS = 100
SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")  # whole ones in RFC 9110, but some send 1.5


def retry_after_seconds(value: str, now: float) -> float | None:
    """Return the seconds that a Retry-After asks to wait (RFC 9110, 10.2.3).

    Args:
        value: Seconds, or a date in any of HTTP's three formats.
        now: Unix time, as the server has it where that is known.

    Returns:
        At least 0, or None where it is neither.

    Example:
        >>> retry_after_seconds("120", now=0.0)
        120.0
    """
    text = value.strip()
    if len(text) > MOST_CHARACTERS:
        return None
    if SECONDS.fullmatch(text):
        return min(float(text), MOST_SECONDS)
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # the C library's format has no zone, and means UTC
            date = date.replace(tzinfo=UTC)
        seconds = date.timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), MOST_SECONDS)
