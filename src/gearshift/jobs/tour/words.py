"""From measured numbers to the reason, in words.

Apart from the stations, and pure: no clock, no run, no machine. Each sentence follows
from the numbers that it is given, so where a machine contradicts the textbook, the
words say what was measured and not what the textbook says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Seen",
    "auto_words",
    "cut_words",
    "peak_words",
    "process_words",
    "rate_words",
    "rounds_words",
    "thread_hashing_words",
    "thread_python_words",
    "thread_waiting_words",
    "together_words",
    "turns_words",
]

CLEARLY = 1.15  # two runs of the same call differ by less, on a shared machine too
_BUSY_ELSEWHERE = 0.85  # CPU time over wall time of workers that never wait by themselves
_OVERLAP = 2  # requests
_MUCH = 0.25  # share of a call's seconds from which a cost is worth a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was measured of a call, as far as the words need it.

    Attributes:
        seconds: Wall time of the call.
        first_seconds: Wall time of the group's first call.
        first_cpu_seconds: CPU time inside the function in the group's first call.
        workers: Workers that ran it.
        busy_seconds: Wall time inside the function, all workers together.
        cpu_seconds: CPU time inside the function, all workers together.
        cores: Cores that this process may use.
        gil: Whether threads of this Python take turns.
    """

    seconds: float
    first_seconds: float
    first_cpu_seconds: float
    workers: int
    busy_seconds: float
    cpu_seconds: float
    cores: int
    gil: bool = True

    @property
    def speedup(self) -> float:
        """How many times as fast as the group's first call."""
        return self.first_seconds / self.seconds

    @property
    def cores_used(self) -> float:
        """Cores that the function kept busy, on average over the call."""
        return self.cpu_seconds / self.seconds

    @property
    def faster(self) -> bool:
        """Whether it was faster than the group's first call, beyond the noise."""
        return self.speedup >= CLEARLY

    @property
    def first_cores_used(self) -> float:
        """Cores that the group's first call kept busy."""
        return self.first_cpu_seconds / self.first_seconds

    @property
    def has_more_cores(self) -> bool:
        """Whether more cores were busy than in the first call, so that a gain can come from it."""
        return self.cores_used >= CLEARLY * self.first_cores_used

    @property
    def cores_words(self) -> str:
        """What the workers did with the cores, after their name."""
        return f"kept {self.cores_used:.1f} cores busy instead of {self.first_cores_used:.1f}"

    @property
    def verdict(self) -> str:
        """The comparison with the group's first call, in words."""
        if self.faster:
            return "faster"
        return "slower" if self.speedup <= 1 / CLEARLY else "no faster"


def turns_words(*, count: int, delay_seconds: float, seconds: float) -> str:
    """Say what waits one after another cost."""
    share = min(1.0, count * delay_seconds / seconds)
    waits = f"{count} waits of {delay_seconds:g} s, one after another"
    return f"{waits}: {share:.0%} of the time was waiting."


def together_words(who: str, seen: Seen, *, peak: int) -> str:
    """Say whether waits overlapped.

    Args:
        who: What waited, such as "10 threads".
        seen: What was measured.
        peak: Most requests that the server saw waiting at the same time.

    Returns:
        A sentence.
    """
    if peak < _OVERLAP:
        return f"{who}, yet the server never saw two requests at once: no waits overlapped."
    overlap = f"{who}: the server saw up to {peak} requests waiting at once"
    if seen.faster:
        return f"{overlap}, so the waits overlapped."
    return f"{overlap}, and still it was {seen.verdict} here: the time went elsewhere."


def peak_words(*, peak: int) -> str:
    """Say how many waits overlapped, without a reason."""
    if peak < _OVERLAP:
        return "The server never saw two requests at once."
    return f"The server saw up to {peak} requests waiting at once."


def process_words(seen: Seen, *, waits: bool = False) -> str:
    """Say what processes did; a run of its own starts and ends them.

    Args:
        seen: What was measured.
        waits: The work is waiting, so that it keeps no core busy.

    Returns:
        A sentence or two.
    """
    who, were = (f"{seen.workers} processes", "were") if seen.workers > 1 else ("1 process", "was")
    start = "start included"
    if not seen.faster:
        return f"{who} {were} {seen.verdict} here, {start}: {_why_not(seen, waits=waits)}"
    if waits:
        return f"{who} waited at the same time, {start}."
    if not seen.has_more_cores:
        return f"{who}, {start}: {_no_gain_from_cores(seen)}"
    own = ", each with a GIL of its own," if seen.gil else ""
    return f"{who}{own} {seen.cores_words}, {start}."


def thread_python_words(seen: Seen) -> str:
    """Say what threads did for plain Python."""
    who = f"{seen.workers} threads"
    if seen.gil:
        why = "The GIL lets one thread at a time run Python"
        if seen.faster:
            return f"{why}: threads cannot be why this was {seen.verdict}. Measure again."
        return f"{why}: {who} kept {seen.cores_used:.1f} cores busy and were {seen.verdict}."
    if not seen.faster:
        return f"This Python has no GIL, yet {who} were {seen.verdict} here: {_why_not(seen)}"
    gain = f"{who} {seen.cores_words}." if seen.has_more_cores else _no_gain_from_cores(seen)
    return f"This Python has no GIL: {gain}"


def thread_hashing_words(seen: Seen) -> str:
    """Say what threads did for hashing, which lets go of the GIL."""
    who = f"{seen.workers} threads"
    holds = "lets go of the GIL while it reads" if seen.gil else "needs no GIL to read"
    if not seen.faster:
        why_not = _why_not(seen)
        return f"sha256 {holds} a big buffer, yet {who} were {seen.verdict} here: {why_not}"
    gain = f"{who} {seen.cores_words}." if seen.has_more_cores else _no_gain_from_cores(seen)
    return f"sha256 {holds} a big buffer: {gain}"


def thread_waiting_words(seen: Seen) -> str:
    """Say what threads did for waiting."""
    if seen.faster:
        return "Who waits needs neither the GIL nor a core: the waits passed at the same time."
    return (
        f"Who waits needs neither the GIL nor a core, yet this was {seen.verdict} here: "
        f"{seen.busy_seconds:.2f} s of waiting took {seen.seconds:.2f} s."
    )


def auto_words(engine: str, workers: int, reasons: Sequence[str]) -> tuple[str, ...]:
    """Return what `on="auto"` chose and its own reasons, untouched."""
    crew = "1 worker" if workers == 1 else f"{workers} workers"
    if not reasons:
        return (f"It ran on {engine}, {crew}, and gave no reason.",)
    return (f"It ran on {engine}, {crew}, because:", *(f"- {reason}" for reason in reasons))


def cut_words(count: int, asked: int, *, of: int, item_seconds: float) -> tuple[str, ...]:
    """Say that fewer items were measured than the chapter has, and why.

    Args:
        count: Items measured.
        asked: Items that the tour's size asked for.
        of: Items in the chapter.
        item_seconds: How long one item takes here.

    Returns:
        A sentence, or none where nothing was cut.
    """
    if count >= of:
        return ()
    slow = f"one takes {item_seconds * 1000:.2g} ms here"
    cause = slow if count < asked else "this is the quick tour"
    return (f"{count:,} of the chapter's {of:,} numbers, because {cause}",)


def rate_words(count: int, what: str, seconds: float, why: str) -> str:
    """Say how many a second there were, and what that way costs or keeps.

    Args:
        count: How many there were.
        what: Their name, such as "events".
        seconds: How long they took.
        why: What follows the rate.

    Returns:
        A sentence.
    """
    rate = float(f"{count / seconds:.2g}")  # the noise is larger than a third digit
    return f"{rate:,.0f} {what} a second: {why}."


def rounds_words(made: int, asked: int) -> str:
    """Say how often each call of a group was measured, and why not more often."""
    often = "measured once" if made == 1 else f"the best of {made}, measured in turn"
    return f"each {often}" + ("" if made >= asked else ": more would take too long here")


def _no_gain_from_cores(seen: Seen) -> str:
    """Say of a gain that it did not come from using more cores."""
    return (
        f"no more cores were busy ({seen.cores_used:.1f}) than in the first row "
        f"({seen.first_cores_used:.1f}), so the gain is not from them. Measure again."
    )


def _why_not(seen: Seen, *, waits: bool = False) -> str:
    """Name the strongest measured cause for which workers did not gain."""
    if seen.cores == 1 and not waits:
        return "this program may use one core only."
    if not waits and seen.cpu_seconds < _BUSY_ELSEWHERE * seen.busy_seconds:
        lost = 1 - seen.cpu_seconds / seen.busy_seconds
        return (
            f"they had no core for {lost:.0%} of their time, "
            "so something else keeps this machine busy."
        )
    besides = seen.seconds - seen.busy_seconds / seen.workers
    if besides > _MUCH * seen.seconds:
        return (
            f"{besides:.2f} of the {seen.seconds:.2f} s went to starting them "
            "and to sending work and results."
        )
    return (
        f"the work itself took {seen.busy_seconds:.2f} s there, against "
        f"{seen.first_seconds:.2f} s in the first row."
    )
