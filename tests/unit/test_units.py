"""Seconds, bytes and counts as people say them."""

from __future__ import annotations

import pytest

from gearshift.units import counted, duration, listed, megabytes


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 ms"),
        (0.00012, "0.12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (99.9, "99.9 s"),
        (125, "2 min 5 s"),
        (3725, "1 h 2 min"),
    ],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0.0 MB"), (1_500_000, "1.5 MB"), (12_345_678_901, "12,346 MB")]
)
def test_megabytes(count: int, said: str) -> None:
    assert megabytes(count) == said


def test_counted_takes_the_noun_for_many() -> None:
    assert counted(1, "item") == "1 item"
    assert counted(2000, "item") == "2,000 items"
    assert counted(2, "attempt was", "attempts were") == "2 attempts were"


def test_listed() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
