"""A rule over the thermometers of 1,000 racks: hot for 30 s without a break.

Apart from the stations, since each function is a whole program that the table shows: the
same rule with plain loops, as a stream, and with ReactiveX where it is installed.
Readings are `(seconds, rack, celsius)` and carry their own time, so nobody waits.
"""

from __future__ import annotations

import importlib.util
import math
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import gearshift as gs

if TYPE_CHECKING:
    from reactivex import Observable

__all__ = ["Reading", "by_loop", "by_reactivex", "by_stream", "has_reactivex", "readings_of"]

Reading: TypeAlias = tuple[float, int, float]

RACKS = 1000
HOT = 27.0
HOLD_SECONDS = 30.0
EACH_SECONDS = 5.0
WAVE_SECONDS = 40.0  # racks are hot for 74 s of each 251
_State: TypeAlias = tuple[float | None, Reading | None]  # hot since when, and what to warn of
_COOL: _State = (None, None)


def readings_of(count: int) -> list[Reading]:
    """Return readings of 1,000 racks, each every 5 s, that go up and down between 19 and 29 degrees.

    Args:
        count: How many readings.

    Returns:
        The readings, in the order of time.
    """
    readings: list[Reading] = []
    for index in range(count):
        seconds, rack = index // RACKS * EACH_SECONDS, index % RACKS
        readings.append((seconds, rack, 24 + 5 * math.sin((seconds + rack) / WAVE_SECONDS)))
    return readings


def by_loop(readings: list[Reading]) -> list[Reading]:
    """Warn of racks that were hot for 30 s, by a loop and a dictionary.

    Args:
        readings: In the order of time.

    Returns:
        The reading of each warning.
    """
    since: dict[int, float] = {}
    warnings = []
    for reading in readings:
        seconds, rack, celsius = reading
        if celsius <= HOT:
            since.pop(rack, None)
        elif seconds - since.setdefault(rack, seconds) >= HOLD_SECONDS:
            warnings.append(reading)
            since[rack] = math.inf  # once for each stretch
    return warnings


def by_stream(readings: list[Reading]) -> list[Reading]:
    """Warn of racks that were hot for 30 s, by a stream in event time.

    Args:
        readings: In the order of time.

    Returns:
        The reading of each warning.
    """
    racks = gs.stream(readings, time=itemgetter(0)).keyed(itemgetter(1))
    return list(racks.hold_for(HOLD_SECONDS, lambda reading: reading[2] > HOT))


def has_reactivex() -> bool:
    """Say whether the package `reactivex` is installed."""
    return importlib.util.find_spec("reactivex") is not None


def by_reactivex(readings: list[Reading]) -> list[Reading]:
    """Warn of racks that were hot for 30 s, by a group for each rack in ReactiveX.

    Args:
        readings: In the order of time.

    Returns:
        The reading of each warning.
    """
    import reactivex  # the extra `rx`
    from reactivex import operators

    def warnings_of(rack: Observable[Reading]) -> Observable[Any]:
        return rack.pipe(
            operators.scan(_hold, _COOL),
            operators.map(itemgetter(1)),
            operators.filter(lambda warning: warning is not None),
        )

    warnings: list[Reading] = []
    reactivex.from_iterable(readings).pipe(
        operators.group_by(itemgetter(1)), operators.flat_map(warnings_of)
    ).subscribe(warnings.append)
    return warnings


def _hold(state: _State, reading: Reading) -> _State:
    """Return since when a rack has been hot, and the reading if that is to be warned of."""
    since, (seconds, _, celsius) = state[0], reading
    if celsius <= HOT:
        return _COOL
    since = seconds if since is None else since
    return (math.inf, reading) if seconds - since >= HOLD_SECONDS else (since, None)
