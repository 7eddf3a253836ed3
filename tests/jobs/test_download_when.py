"""When a server wants to be asked again, whatever it says."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.jobs.download.when import MOST_SECONDS, retry_after_seconds

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("007", 7.0),
        ("1.5", 1.5),
        ("9" * 50, MOST_SECONDS),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 09:49:47 +0100", 10.0),
        ("Sun, 06 Nov 1994 08:50:37 -0000", 60.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sat, 05 Nov 1994 08:49:37 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MOST_SECONDS),
    ],
)
def test_waits_for(value: str, seconds: float) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "soon", "-1", "+5", "1e3", "0x10", "1_000", "inf", "nan", ".5", "5."),
        *("1,5", "5s", "Sun, 06 Nov 1994", "99999-01-01", "Sun Nov 31 08:49:37 1994"),
        *("\u0665", "\u00b2", "120, 60", "Sun, 06 Nov", "Sun, 99 Nov 1994 08:49:37 GMT"),
        *("Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", "\x00", "9" * 5000),
        *(", , , ,", "::::", "1 Jan 1 00:00:00 +9999"),
    ],
)
def test_nonsense_is_none(value: str) -> None:
    assert retry_after_seconds(value, NOW) is None


@given(st.text() | st.text(alphabet="0123456789:,-+ GMTSunNov."), st.floats(0, 1e11))
def test_any_text_is_none_or_a_time_to_wait(value: str, now: float) -> None:
    seconds = retry_after_seconds(value, now)
    assert seconds is None or 0 <= seconds <= MOST_SECONDS


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_date_means_its_distance(now: int, seconds: int) -> None:
    assert retry_after_seconds(formatdate(now + seconds, usegmt=True), now) == seconds
