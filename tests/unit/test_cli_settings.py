"""Seconds and rates, as they are written on the command line."""

from __future__ import annotations

import click
import pytest

from gearshift.cli.settings import memory, rate, seconds
from gearshift.facts import Rate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90", 90.0),
        ("1.5s", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("200ms", 0.2),
        ("10m", 600.0),
        ("2 min", 120.0),
        ("2H", 7200.0),
        ("1d", 86400.0),
    ],
)
def test_length_of_time_is_read(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-1", "s", "1x", "inf", "nan", "1e3", "1.2.3", "٣"]
)
def test_other_text_is_no_length_of_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a length of time above 0, such as 90"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100", Rate(100, per=1.0)),
        ("100/s", Rate(100, per=1.0)),
        ("100/1s", Rate(100, per=1.0)),
        ("100/10s", Rate(100, per=10.0)),
        ("5/m", Rate(5, per=60.0)),
        ("5 / min", Rate(5, per=60.0)),
        ("3/0.5", Rate(3, per=0.5)),
        ("1000/h", Rate(1000, per=3600.0)),
    ],
)
def test_rate_is_read(text: str, value: Rate) -> None:
    assert rate(text) == value


@pytest.mark.parametrize("text", ["", "0/s", "/s", "1/", "1/0s", "1.5/s", "-1/s", "1/x", "1/s/s"])
def test_other_text_is_no_rate(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a rate, such as 100/s, 100/10s or 5/m"):
        rate(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80%", 0.8),
        ("100 %", 1.0),
        ("6G", 6 * 2**30),
        ("500MB", 500 * 2**20),
        ("1.5GiB", 1.5 * 2**30),
        ("1048576", 2**20),
    ],
)
def test_memory_is_read(text: str, value: float) -> None:
    assert memory(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0%", "101%", "0", "1", "-1G", "G", "5X", "nan"])
def test_other_text_is_no_memory(text: str) -> None:
    with pytest.raises(click.BadParameter, match="such as 80%, 6G or 500M"):
        memory(text)
