"""`gs.compare`: the same items on every engine, side by side.

    entrants   the arguments, checked
    tracks     one engine's runs, measured
    sameness   whether outcomes agree
    usage      CPU time and memory
    verdict    who runs again, and what to use (pure)

Here they are put together: it says how often each item will be run, and lets the engines take
turns. Apart from `map` because it is made of whole runs of it. Invariant: no item is run more
often than was said before the first run.
"""

from __future__ import annotations

import platform
import sys
import time
from typing import TYPE_CHECKING, Any

from gearshift._api import map as mapping
from gearshift._api.entrants import candidates, check_numbers, gathered
from gearshift._api.explain import explain
from gearshift._api.tracks import Track, Work, warm_up
from gearshift._api.verdict import best_of, next_round, words_of
from gearshift._work.run_chunk import name_of
from gearshift.host import cores
from gearshift.trials import Comparison
from gearshift.units import counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from gearshift.engines.base import Engine
    from gearshift.trials import Ended

__all__ = ["compare"]


def compare(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    on: str | Engine | Executor | Sequence[str | Engine | Executor] | None = None,
    workers: int | None = None,
    star: bool = False,
    seed: int | None = None,
    rounds: int = 5,
    seconds: float = 30.0,
    say: Callable[[str], object] | bool = True,
    status: Callable[[str], object] | None = None,
) -> Comparison:
    """Run a function over the same items on every engine, really, and compare.

    Every run is a real one: what the function does to files, servers and data bases, it does
    each time. Before the first call it is said how often each item will be run at most.

    The engines take turns, one run of all items each a round, after one call of the first item
    to warm up. Who took over 3 times as long as the best is not run again. No further round
    begins when one engine is left; when from the second round on the slowest run of the best is
    faster than every run of the others; when from the third on the runs of the best are within
    5 %; after `rounds`; or when it would end after `seconds`. So long runs are run once.

    Args:
        fn: The function; a coroutine function (`async def`) too.
        *iterables: Its inputs, as in `gs.map`; they are made a list first, of a million at most
            where they are no sequences.
        on: The engines: names as in `gs.map`, with workers as in "threads:8", or engines of
            yours, which stay warm from round to round. None means all that can run this
            function: serial, threads, processes and auto, or serial, asyncio and auto for a
            coroutine function. Speed-ups need serial among them.
        workers: How many tasks run at once, for names without workers; serial has one.
        star: Each item is a tuple of arguments, or a dict of keywords.
        seed: Makes `gs.item_seed()` work inside the function, the same on all engines.
        rounds: How often each engine runs the items at most.
        seconds: How long the comparison may take; the first round is run to its end.
        say: Is given the sentence about what will be run; True prints it on standard error.
        status: Is given a few words before each run.

    Returns:
        A trial for each engine, and what to use. Its `agree` is False where an engine gave
        other results than the first one that ran (serial, where it is among them).

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a wrong value, or there are no items.

    Example:
        >>> import gearshift as gs
        >>> comparison = gs.compare(pow, [2, 3], [5, 2], on=["serial", "threads"], say=False)
        >>> comparison.agree, [trial.on for trial in comparison.trials]
        (True, ['serial', 'threads'])
    """
    mapping._check_callable(fn)  # noqa: SLF001 - of this room: the same words as `gs.map`
    check_numbers(rounds, seconds)
    if not isinstance(say, bool) and not callable(say):
        raise TypeError(f"say={say!r} is neither True nor False nor a function to be given text")
    tracks = [Track(each) for each in candidates(fn, on, workers)]
    items, star = gathered(iterables, star=star)
    work = Work(fn, items, star=star, seed=seed)
    speak = say if callable(say) else _print if say else _ignore
    speak(_announcement(work, tracks, rounds))
    began = time.perf_counter()
    forecast = _predictions(fn, items, star=star)
    warm_up(work)
    ended = _rounds(work, tracks, rounds=rounds, seconds=seconds, status=status or _ignore)
    trials = tuple(track.trial(forecast) for track in tracks)
    best, _ = best_of(trials)
    return Comparison(
        function=name_of(fn),
        items=len(items),
        trials=trials,
        runs=sum(track.runs for track in tracks),
        best=best.on if best is not None else None,
        words=words_of(trials, len(items), cores=cores()),
        ended=ended,
        seconds=time.perf_counter() - began,
        cores=cores(),
        python=platform.python_version(),
    )


def _rounds(
    work: Work,
    tracks: Sequence[Track],
    *,
    rounds: int,
    seconds: float,
    status: Callable[[str], object],
) -> Ended:
    """Let the engines take turns until there is nothing more to learn; say why it ended."""
    began = time.perf_counter()
    turn = sorted(tracks, key=lambda track: track.candidate.on != "serial")  # what all is held to
    made = 0
    while True:
        made += 1
        for track in turn:
            status(f"round {made} of at most {rounds}: {track.candidate.on}")
            track.run(work)
        left, ended = next_round(
            {track.candidate.on: track.seconds for track in tracks if track.measured},
            most_rounds=rounds,
            elapsed_seconds=time.perf_counter() - began,
            most_seconds=seconds,
        )
        if not left:
            status("")
            return ended
        again = [track for track in tracks if track.candidate.on in left]
        shift = made % len(again)  # so that nobody always comes after the same
        turn = again[shift:] + again[:shift]


def _predictions(
    fn: Callable[..., Any], items: Sequence[Any], *, star: bool
) -> Mapping[str, float]:
    """Return what each engine is expected to take for all the items, by its name."""
    try:
        return explain(fn, items, star=star).predictions
    except Exception:  # a forecast that fails is none; the runs show what is wrong
        return {}


def _announcement(work: Work, tracks: Sequence[Track], rounds: int) -> str:
    """Say what will be run how often."""
    names = [track.candidate.on for track in tracks]
    most = len(tracks) * rounds + 2
    items = "one item" if len(work.items) == 1 else f"each of {len(work.items):,} items"
    return (
        f"{name_of(work.fn)} will be called with {items} at most {most} times, for real: "
        f"in {counted(rounds, 'round')} at most on {listed(names)}, and at most twice before."
    )


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - what it is for


def _ignore(_: str) -> None:
    """Say nothing."""
