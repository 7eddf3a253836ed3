"""Choose the engine for the rest of a run from what its first items showed.

Pure: the same profile gives the same plan, so a choice can be replayed in a test.

    pick(profile) -> serial              stay, and look again later
                  -> a test (is_test)    a few items on two threads, then pick again
                  -> an engine           with its workers, reasons and predictions

The order of the questions is that of docs/explanation/choosing.md; the thresholds are from
measurements on a 2-core machine (docs/design.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gearshift._choose.predict import WAITING_SHARE, figures, predict
from gearshift.plans import Plan
from gearshift.units import in_words

if TYPE_CHECKING:
    from gearshift._choose.predict import Figures
    from gearshift.plans import Profile

__all__ = ["is_waiting", "pick"]

DOUBTFUL_SHARE = 0.6  # of waiting, below which it is believed only if it was seen
WAITING_WORTH_SECONDS = 0.001  # starting a few threads costs about that
COMPUTING_WORTH_SECONDS = 0.05  # below that, the start of anything decides
TRIVIAL_SECONDS = 5e-6  # items for which sending is a large part
TRIVIAL_WORTH_SECONDS = 0.15
OWN_SHARE = 0.3  # of its CPU time in threads of its own, from which on ours would only compete
SHORTEST_SHARED_SECONDS = 1e-6  # of an item: the call alone needs the GIL for a tenth of that
GIL_HELD_SHARE = 0.7  # that shows without a test that threads cannot share the work
LEAST_SPEEDUP = 1.2  # of two threads: below, it is one at a time, or memory, or the machine's noise
BOTH_CORES = 1.7  # kept busy by two threads that did not wait for each other
ONE_CORE = 1.1  # the most that two keep busy which hold the GIL
CLEAR_GAIN = 1.15  # predicted gain below which the machine's noise decides
SHIFT_SECONDS = 0.008  # what a change costs beside the start
GIL_FULL_CORES = 0.75  # of many threads, from which on the GIL is what they wait for
GIL_MOST_CORES = 1.15  # more than that and they do not share one


def pick(profile: Profile) -> Plan:
    """Return the plan for the items that remain.

    Args:
        profile: What the first items showed; with `remaining` unknown, as many again
            as the run has seen are expected.

    Returns:
        The plan, with its reasons in words.
    """
    at = figures(profile)
    if profile.coroutine:
        words = ("it is a coroutine function: its waits overlap on one event loop",)
        predictions = {} if at is None else predict(profile, at)
        return Plan(
            "asyncio", None, words, predictions.get("asyncio"), predictions, profile=profile
        )
    if at is None:
        return Plan("serial", 1, ("nothing could be measured yet",), profile=profile)
    least = 0 if profile.is_amid_item else 1
    if profile.stretch is None and profile.remaining is not None and profile.remaining <= least:
        return Plan(
            "serial", 1, ("there is nothing left that could run beside it",), profile=profile
        )
    predictions = predict(profile, at)
    plan = _pick(profile, at, predictions)
    seconds = predictions.get(plan.engine)
    return replace(plan, seconds=seconds, predictions=predictions, profile=profile)


def is_waiting(profile: Profile) -> bool:
    """Whether an item mostly waits, as far as the profile can tell."""
    at = figures(profile)
    if at is None or at.waiting <= WAITING_SHARE or _holds_gil(profile):
        return False
    return at.waiting > DOUBTFUL_SHARE if profile.waits_on is None else True


def _holds_gil(profile: Profile) -> bool:
    """Whether it was seen to hold the GIL; then what looks like waits are turns of whoever looked."""
    return profile.gil_share is not None and profile.gil_share > GIL_HELD_SHARE


def _pick(profile: Profile, at: Figures, predictions: dict[str, float]) -> Plan:
    """Go through the questions."""
    if profile.stretch is not None:
        return _pick_beside_threads(profile, at, predictions)
    if profile.own_share > OWN_SHARE:
        words = "it has threads of its own, which are busy already"
        return _serial(profile, at, words)
    if is_waiting(profile):
        return _pick_for_waiting(profile, at, predictions)
    return _pick_for_computing(profile, at, predictions)


def _pick_for_waiting(profile: Profile, at: Figures, predictions: dict[str, float]) -> Plan:
    """Choose for a function that mostly waits."""
    if at.rest * at.wall < WAITING_WORTH_SECONDS:
        return _serial(
            profile, at, f"the {at.rest} items left take only {in_words(at.rest * at.wall)}"
        )
    if profile.no_threads is not None:
        return _without_threads(profile, at, predictions)
    return Plan(
        "threads",
        at.threads,
        (_nature(profile, at), f"up to {at.threads} threads wait at the same time"),
    )


def _pick_for_computing(profile: Profile, at: Figures, predictions: dict[str, float]) -> Plan:
    """Choose for a function that mostly computes."""
    serial = at.rest * at.wall
    worth = TRIVIAL_WORTH_SECONDS if at.wall < TRIVIAL_SECONDS else COMPUTING_WORTH_SECONDS
    if profile.nested:
        return _serial(
            profile, at, "it runs inside a task of another run, which has the cores already"
        )
    if profile.cores == 1:
        return _serial(profile, at, "there is one core")
    if serial < worth:
        return _serial(
            profile,
            at,
            f"the rest takes about {in_words(serial)}: starting workers is not worth it",
        )
    if profile.no_threads is not None:
        return _without_threads(profile, at, predictions)
    if at.speedup is None:
        return _pick_without_test(profile, at, predictions)
    return _pick_after_test(profile, at, predictions)


def _pick_without_test(profile: Profile, at: Figures, predictions: dict[str, float]) -> Plan:
    """Ask for the test with two threads, unless it is known how it would end."""
    if _holds_gil(profile):
        assert profile.gil_share is not None
        held = f"it holds the GIL for {profile.gil_share:.0%} of the time"
        return _pick_processes(profile, at, predictions, held)
    if at.wall < SHORTEST_SHARED_SECONDS:
        short = "its items are too short for another thread to get the GIL meanwhile"
        return _pick_processes(profile, at, predictions, short)
    return Plan(
        "threads", 2, ("a few items run on two threads, to see who can share",), is_test=True
    )


def _pick_after_test(profile: Profile, at: Figures, predictions: dict[str, float]) -> Plan:
    """Choose among serial, threads and processes, knowing what two threads gain."""
    assert at.speedup is not None
    assert at.pair_cores is not None
    gain = f"two threads do {at.speedup:.1f} times as much as one"
    if at.speedup <= LEAST_SPEEDUP:
        if at.pair_cores >= BOTH_CORES:
            return _serial(profile, at, gain, "though both cores work: memory is what it waits for")
        held = f"{gain}: it holds the GIL, or other programs the cores"
        if at.pair_cores > ONE_CORE:
            held = gain
        return _pick_processes(profile, at, predictions, held)
    if at.waiting > WAITING_SHARE:
        words = f"up to {at.threads} threads wait at the same time"
        return Plan("threads", at.threads, (_nature(profile, at), gain, words))
    if profile.no_processes is None and _is_worth(predictions, "processes", "threads"):
        return _pick_processes(profile, at, predictions, gain)
    workers = min(profile.cores if profile.workers is None else profile.workers, at.rest)
    return Plan("threads", workers, (_nature(profile, at), f"{gain}: it lets go of the GIL"))


def _pick_processes(profile: Profile, at: Figures, predictions: dict[str, float], why: str) -> Plan:
    """Take processes if they pay off and nothing forbids them."""
    if profile.no_processes is not None:
        return _serial(
            profile, at, why, f"processes are out of the question: {profile.no_processes}"
        )
    parallel, serial = predictions["processes"], predictions["serial"]
    if not _is_worth(predictions, "processes", "serial"):
        sending = profile.send_seconds + profile.carry_seconds
        if sending > at.wall / 2:
            return _serial(
                profile,
                at,
                why,
                f"sending an item to a process costs about {in_words(sending)}: nothing is gained",
            )
        words = f"processes would need {in_words(parallel)} instead of {in_words(serial)}: too little is gained"
        return _serial(profile, at, why, words)
    words = f"{at.processes} processes are expected to need {in_words(parallel)} instead of {in_words(serial)}"
    return Plan("processes", at.processes, (_nature(profile, at), why, words))


def _without_threads(profile: Profile, at: Figures, predictions: dict[str, float]) -> Plan:
    """Choose where threads might change the result."""
    why = f"threads are out of the question: {profile.no_threads}"
    if profile.nested:
        return _serial(profile, at, why)
    return _pick_processes(profile, at, predictions, why)


def _pick_beside_threads(profile: Profile, at: Figures, predictions: dict[str, float]) -> Plan:
    """Stay on threads, or leave for processes where many threads share one full GIL."""
    stretch = profile.stretch
    assert stretch is not None
    busy = stretch.cpu_seconds / stretch.seconds if stretch.seconds > 0 else 0.0
    stay = Plan(
        "threads",
        stretch.threads,
        (_nature(profile, at), f"up to {stretch.threads} threads wait at the same time"),
    )
    if not GIL_FULL_CORES <= busy <= GIL_MOST_CORES or profile.cores == 1 or profile.nested:
        return stay
    if not predictions.keys() >= {"processes", "threads"}:
        return stay
    if not _is_worth(predictions, "processes", "threads"):
        return stay
    full = f"{stretch.threads} threads fill the GIL: together they keep {busy:.1f} cores busy"
    words = (
        f"{at.processes} processes are expected to need {in_words(predictions['processes'])} "
        f"instead of {in_words(predictions['threads'])}"
    )
    return Plan("processes", at.processes, (_nature(profile, at), full, words))


def _is_worth(predictions: dict[str, float], one: str, other: str) -> bool:
    """Whether an engine is clearly faster than another, its change included."""
    if other not in predictions:
        return True
    return CLEAR_GAIN * predictions[one] + SHIFT_SECONDS < predictions[other]


def _serial(profile: Profile, at: Figures, *words: str) -> Plan:
    return Plan("serial", 1, (_nature(profile, at), *words))


def _nature(profile: Profile, at: Figures) -> str:
    """Say what an item does with its time."""
    if at.waiting <= WAITING_SHARE:
        return f"it computes for {in_words(at.wall)} an item"
    length = "time" if profile.is_amid_item else f"{in_words(at.wall)} an item"
    return f"it waits for {at.waiting:.0%} of its {length}{_ON[profile.waits_on]}"


_ON = {
    None: "",
    "sleep": ": it sleeps",
    "socket": ", on sockets or pipes",
    "child": ", on other programs",
    "file": ", on files",
    "lock": ", on locks",
}
