"""Who runs in the next round of a comparison, and what is said at its end.

Apart from the comparison because it is pure: times in, names and words out; no clock, no
engine. The rule of the rounds stands in `gs.compare`.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from gearshift.units import counted, duration, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gearshift.trials import Ended, Trial

__all__ = ["best_of", "next_round", "words_of"]

_FAR_BEHIND = 3.0  # times the best: no noise that we saw makes up for it
_NOISE = 0.05  # two runs of the same thing differ by as much on a quiet machine
_SURE_ROUNDS = 3  # before a small spread means something: two are alike by chance
_FEW = 2  # runs that make a spread
_SLIGHT_SECONDS = 0.001  # what is not worth another engine
_MOSTLY = 0.5  # of its time: who spent more on starting and ending tells nothing of an item
_COMPUTES = 0.7  # of a core, from which on a function does not wait
_ENOUGH = 0.7  # of its cores; some time goes to starting, ending and the last items
_SLIGHT = 0.2  # of the time for starting and ending
_MANY = 10_000_000  # items: nobody will have as many of these

# The simplest first: of those that are within the noise, it is the one to use.
_SIMPLEST = ("serial", "threads", "asyncio", "processes")


def next_round(
    times: Mapping[str, Sequence[float]],
    *,
    most_rounds: int,
    elapsed_seconds: float,
    most_seconds: float,
) -> tuple[tuple[str, ...], Ended]:
    """Say who runs once more, or why nobody does.

    Args:
        times: Seconds of each engine's rounds so far, at least one.
        most_rounds: Rounds at most.
        elapsed_seconds: How long the comparison has taken.
        most_seconds: How long it may take.

    Returns:
        The engines of the next round, and why it is none where there are none.
    """
    if not times:
        return (), "stable"
    middle = {name: median(seconds) for name, seconds in times.items()}
    best = min(middle.values())
    left = tuple(name for name in times if middle[name] <= _FAR_BEHIND * best)
    if len(left) == 1 or _is_stable([times[name] for name in left]):
        return (), "stable"
    if max(map(len, times.values())) >= most_rounds:
        return (), "rounds"
    if elapsed_seconds + sum(middle[name] for name in left) > most_seconds:
        return (), "seconds"
    return left, "rounds"


def _is_stable(times: Sequence[Sequence[float]]) -> bool:
    """Say whether another round would tell nothing new.

    The slowest round of the best is below every round of the others; or the best is known as
    well as it can be, and what is near it is a tie.
    """
    first, *others = sorted(times, key=median)
    if len(first) < _FEW:
        return False
    if all(max(first) < min(other) for other in others):
        return True
    return len(first) >= _SURE_ROUNDS and max(first) - min(first) < _NOISE * median(first)


def best_of(trials: Sequence[Trial]) -> tuple[Trial | None, tuple[Trial, ...]]:
    """Return the trial to use, and those that are as good within the noise.

    Only trials that ran, and whose results are not known to differ. Auto is one of the engines
    already: it counts where nothing else ran, or where it beat all of them.

    Args:
        trials: All of them.

    Returns:
        The simplest of the best, or None; then the others within the noise, fastest first.
    """
    able = [each for each in trials if each.seconds and each.agrees is not False]
    if not able:
        return None, ()
    fastest = min(able, key=lambda each: each.median)
    near = [each for each in able if _is_tie(fastest, each)]
    named = [each for each in near if each.on != "auto"] or near
    best = min(named, key=lambda each: (_rank(each), each.median))
    rest = sorted((each for each in named if each is not best), key=lambda each: each.median)
    return best, tuple(rest)


def _is_tie(fastest: Trial, other: Trial) -> bool:
    noise = max(_NOISE, min(fastest.spread, other.spread) / 2)
    apart = other.median - fastest.median
    return apart <= max(noise * fastest.median, min(_SLIGHT_SECONDS, other.median))


def _rank(trial: Trial) -> int:
    return _SIMPLEST.index(trial.engine) if trial.engine in _SIMPLEST else len(_SIMPLEST)


def words_of(trials: Sequence[Trial], items: int, *, cores: int = 1) -> tuple[str, ...]:
    """Say what to use, and when that would change.

    Args:
        trials: All of them.
        items: How many items each ran.
        cores: Cores that this program may use.

    Returns:
        Sentences.
    """
    best, tied = best_of(trials)
    if best is None:
        return ("Nothing to use: no engine ran with results to trust.",)
    serial = next((each for each in trials if each.on == "serial" and each.seconds), None)
    if sum(bool(each.seconds) for each in trials) == 1:
        words = [f"Only {best.on} ran: there is nothing to compare it with."]
    else:
        words = [_use(best, tied, serial)]
    words += _would_change(best, [each for each in trials if each.seconds], serial, items)
    auto = next((each for each in trials if each.on == "auto" and each.seconds), None)
    if auto is not None and auto is not best:
        words.append(_of_auto(auto, best))
    words += _of_a_busy_machine(trials, serial, cores)
    if best.failed:
        many = f"{best.failed:,} of {counted(items, 'item')} failed on {best.on}"
        words.append(f"{many} ({best.failure}): the times are those of failing.")
    return tuple(words)


def _use(best: Trial, tied: Sequence[Trial], serial: Trial | None) -> str:
    """Return the sentence with the engine to use."""
    crew = counted(best.workers, "worker")
    if tied:
        names = listed([best.on, *(each.on for each in tied)])
        apart = max(abs(each.median - best.median) for each in tied)
        stay = "stay with serial" if best is serial else f"use {best.on}, the simplest of them"
        return f"A tie: {names} are within the noise ({duration(apart)} apart): {stay}."
    if serial is None:
        return f"Use {best.on}: the fastest of these, with {crew}."
    if best is serial:
        return "Stay with serial: no other engine is faster with the same results."
    return f"Use {best.on}: {serial.median / best.median:.3g} times as fast as serial, with {crew}."


def _would_change(best: Trial, ran: Sequence[Trial], serial: Trial | None, items: int) -> list[str]:
    """Say with which items another engine would be the one to use.

    An engine takes its time to start and to end, and then the same for every item.
    """
    if serial is None:
        return []
    if best is not serial:
        return _serial_would_win(best, serial, items)
    others = [
        each for each in ran if each.on not in {"serial", "auto"} and each.agrees is not False
    ]
    told = [each for each in others if _fixed_seconds(each) <= _MOSTLY * each.median]
    if others and not told:
        return ["From so few items it cannot be told when that changes: the others mostly started."]
    meets = [(_meeting_point(each, serial, items), each) for each in told]
    later = [(meet, each) for meet, each in meets if meet is not None and items < meet <= _MANY]
    if not later:
        return ["More such items would not change that: none of the others does one faster here."]
    meet, other = min(later, key=lambda pair: pair[0])
    costs = f"{other.on} needs {duration(_fixed_seconds(other))} to start and end"
    return [f"From about {meet:,} such items on {other.on} would win: {costs}, and is faster then."]


def _serial_would_win(best: Trial, serial: Trial, items: int) -> list[str]:
    """Say how few or how short items would have to be for serial."""
    meet = _meeting_point(best, serial, items)
    if meet is None:
        return []
    # The share of an item's time that is gained stays as it is.
    shorter = serial.median / items * _fixed_seconds(best) / _gained(best, serial)
    fewer = f"fewer than about {meet:,} such items, or with " if meet > _FEW else ""
    costs = f"{best.on} needs {duration(_fixed_seconds(best))} to start and end"
    return [
        f"With {fewer}items shorter than about {duration(shorter)}, serial would be as fast: {costs}."
    ]


def _fixed_seconds(engine: Trial) -> float:
    """Return what an engine takes however many items there are."""
    return min(engine.start_seconds + engine.end_seconds, engine.median)


def _gained(engine: Trial, serial: Trial) -> float:
    """Return what an engine gains on all the items, once it has started."""
    return serial.median - (engine.median - _fixed_seconds(engine))


def _meeting_point(engine: Trial, serial: Trial, items: int) -> int | None:
    """Return with how many items an engine takes as long as serial, or None where it never does."""
    gained = _gained(engine, serial)
    if gained <= _NOISE * serial.median:
        return None
    return math.ceil(_fixed_seconds(engine) / gained * items)


def _of_a_busy_machine(trials: Sequence[Trial], serial: Trial | None, cores: int) -> list[str]:
    """Warn where worker processes had to share their cores with other programs.

    Only where the function computes, as serial shows, and where starting is no part of the time
    that counts: else there is nothing to tell it by.
    """
    if serial is None or _cores_used(serial) < _COMPUTES:
        return []
    for each in trials:
        expected = min(each.workers, cores)
        if each.on == "auto" or each.engine != "processes" or not each.seconds or expected < _FEW:
            continue
        if _fixed_seconds(each) > _SLIGHT * each.median or not each.cpu_seconds:
            continue
        if _cores_used(each) < _ENOUGH * expected:
            had = f"{_cores_used(each):.1f} of {expected} cores"
            return [
                f"Measure again: {each.on} had {had}, so other programs kept this machine busy."
            ]
    return []


def _cores_used(trial: Trial) -> float:
    return (trial.cpu_seconds or 0.0) / trial.median


def _of_auto(auto: Trial, best: Trial) -> str:
    """Say how well auto did."""
    chose = f'on="auto" chose {auto.engine}'
    if auto.agrees is False:
        return f"{chose}, where results differ."
    if auto.median <= best.median or _is_tie(best, auto):
        return f"{chose}, and was as fast."
    lost = auto.median - best.median
    return f"{chose}, and took {duration(lost)} longer ({lost / best.median:.0%})."
