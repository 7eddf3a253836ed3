"""How seconds, rates and memory are written on the command line.

Apart from the commands so that all of them read `90`, `1.5s`, `10m`, `100/s` and `6G` alike.
"""

from __future__ import annotations

import math
import re

import click

from gearshift.facts import Rate

__all__ = ["memory", "rate", "seconds", "seconds_or_none"]

_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?P<number>\d*\.?\d+|\d+\.)?\s*(?P<unit>[a-z]*)", re.ASCII)
_MEMORY = re.compile(r"(?P<number>\d*\.?\d+|\d+\.)\s*(?P<unit>%|[kmgt]?)(i?b)?", re.ASCII)
_BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_COUNT = re.compile(r"\d{1,18}", re.ASCII)


def seconds(text: str) -> float:
    """Return a length of time, such as `90`, `1.5s`, `200ms` or `10m`, in seconds.

    Raises:
        BadParameter: It is none, or nothing.
    """
    found = _seconds(text, bare_unit=False)
    if found is None:
        raise click.BadParameter(
            f"{text!r} is not a length of time above 0, such as 90, 1.5s, 200ms or 10m"
        )
    return found


def seconds_or_none(text: str) -> float:
    """Return a length of time in seconds, 0 too.

    Raises:
        BadParameter: It is none.
    """
    return 0.0 if re.fullmatch(r"0+(\.0+)?\s*[a-z]*", text.strip().lower()) else seconds(text)


def rate(text: str) -> Rate:
    """Return how often in how long: `100` or `100/s`, `100/10s`, `5/m`.

    Raises:
        BadParameter: It is not written like that, or is nothing.
    """
    count, slash, window = text.partition("/")
    per = _seconds(window, bare_unit=True) if slash else 1.0
    if per is None or not _COUNT.fullmatch(count.strip()) or not int(count):
        raise click.BadParameter(f"{text!r} is not a rate, such as 100/s, 100/10s or 5/m")
    return Rate(int(count), per=per)


def memory(text: str) -> float:
    """Return a share of the memory (`80%`), as a part of 1, or bytes (`6G`, `500M`, binary units).

    Raises:
        BadParameter: It is neither.
    """
    match = _MEMORY.fullmatch(text.strip().lower())
    number = float(match["number"]) if match else 0.0
    if match and match["unit"] == "%":
        number /= 100
        if 0 < number <= 1:
            return number
    elif match and number * _BYTES[match["unit"]] > 1:
        return number * _BYTES[match["unit"]]
    raise click.BadParameter(
        f"{text!r} is no share of the memory or bytes, such as 80%, 6G or 500M"
    )


def _seconds(text: str, *, bare_unit: bool) -> float | None:
    """Return a length of time above 0 in seconds, or None where the text is none.

    Args:
        text: Number and unit.
        bare_unit: A unit alone is one of it, as in `100/m`.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match["unit"] not in _UNITS:
        return None
    if match["number"] is None and not (bare_unit and match["unit"]):
        return None
    found = float(match["number"] or 1) * _UNITS[match["unit"]]
    return found if 0 < found < math.inf else None
