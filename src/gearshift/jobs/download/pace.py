"""How many connections are open at once, from what transfers take.

Pure: it is told what ended, and answers with a number. Three phases:

    slow start   doubles with each window (about a round trip of all connections), until the rate is
                 flat and the latency has risen
    hold         by gradient: fewer when answers take longer than they did; now and then the square
                 root of them more, kept where that pays
    refused      429 or 503: seven tenths, and never more than that again

A window holds transfers that began after the last change only, as many as there are connections (half of
them in the slow start); what happened before, or while there was not enough to do, says nothing
about the present number.
The gradient is that of Netflix's concurrency-limits (Gradient2), which compares with a long average
instead of the least latency ever seen: hosts and files of one list differ.
"""

from __future__ import annotations

import math

__all__ = ["Pace"]

FIRST = 32  # curl begins with 50, browsers with 6 a host
MOST = 512
GROWTH = 2.0
RISE = 1.15  # of the rate: below it is flat
LATE = 1.3  # times the latency of the first window, from which on it has risen
START_SHARE = 0.5  # of the connections: the others were begun again just before the change
REFUSED_SHARE = 0.7
REFUSED_PART = (
    8  # of the connections have to be refused: one URL that always is says nothing of the others
)
LEAST_WINDOW_SECONDS = 0.03
HOLD_WINDOW_SECONDS = 0.25
TOLERANCE = 1.5  # times the long average, below which latency is taken for the same
LONG_WINDOWS = 20.0  # over which that average goes
PAYING = 1.05  # times the rate, for which a few more stay
RESTING_WINDOWS = 8  # until a few more are tried again
LACKING_SHARE = (
    0.3  # of a window in which there was too little to do, from which on it says nothing
)


class Pace:
    """See the module's head.

    Attributes:
        count: Connections that may be open now.
        ceiling: What it never goes beyond again, since the other side refused more, or None.
    """

    def __init__(self, fixed: int | None = None, *, first: int = FIRST, most: int = MOST) -> None:
        """Begin.

        Args:
            fixed: The number that the user asked for: it is always the answer.
            first: Connections at the start.
            most: Connections at most.
        """
        self._fixed = fixed
        self._most = most
        self.count: int = first if fixed is None else fixed
        self.ceiling: int | None = None
        self._is_starting = True
        self._rate: float | None = None  # of the window before
        self._base_latency: float | None = None  # of the first window
        self._long_latency: float | None = None
        self._before: tuple[int, float] | None = None  # connections and rate, before a few more
        self._rest = RESTING_WINDOWS
        self._changed_at = -math.inf
        self._lacks_since: float | None = None
        self._begin(-math.inf)

    def _begin(self, now: float) -> None:
        """Begin a window."""
        self._window_at = now
        self._ended = 0
        self._bytes = 0
        self._latency = 0.0
        self._refused = 0
        self._lacked_seconds = 0.0
        if self._lacks_since is not None:
            self._lacks_since = now

    def fix(self, count: int) -> None:
        """Have so many connections from now on."""
        self._fixed = self.count = count

    def note(self, now: float, *, is_full: bool) -> None:
        """Take note whether as many transfers are under way as there may be, from now on."""
        if is_full and self._lacks_since is not None:
            self._lacked_seconds += now - self._lacks_since
            self._lacks_since = None
        elif not is_full and self._lacks_since is None:
            self._lacks_since = now

    def ended(
        self, began: float, now: float, *, size: int, latency: float, refused: bool = False
    ) -> None:
        """Take note of a transfer's end; read `count` afterwards.

        Args:
            began: When it began (monotonic seconds).
            now: When it ended.
            size: Bytes received.
            latency: Seconds from the request to the first byte of the answer.
            refused: The other side said that it is too much.
        """
        if self._fixed is not None or began < self._changed_at:
            return
        if self._window_at == -math.inf:
            self._window_at = began
        self._ended += 1
        self._bytes += size
        self._latency += latency
        self._refused += refused
        if self._refused > self.count / REFUSED_PART:
            self._cut(now)
            return
        seconds = now - self._window_at
        least = LEAST_WINDOW_SECONDS if self._is_starting else HOLD_WINDOW_SECONDS
        share = START_SHARE if self._is_starting else 1.0
        if self._ended >= share * self.count and seconds >= least:
            self._judge(seconds, now)

    def _cut(self, now: float) -> None:
        """Take a refusal for what it says."""
        self.ceiling = max(1, int(self.count * REFUSED_SHARE))
        self._is_starting = False
        self._change(self.ceiling, now)

    def _judge(self, seconds: float, now: float) -> None:
        """Conclude from a whole window."""
        if self._lacks_since is not None:
            self._lacked_seconds += now - max(self._lacks_since, self._window_at)
            self._lacks_since = now
        is_full = self._lacked_seconds <= LACKING_SHARE * seconds
        latency = self._latency / self._ended
        rate = self._ended / seconds
        if self._base_latency is None:
            self._base_latency = latency
        if self._is_starting:
            if is_full:
                self._judge_start(rate, latency, now)
            else:
                self._begin(now)
        else:
            self._judge_hold(rate, latency, now, is_full=is_full)

    def _judge_start(self, rate: float, latency: float, now: float) -> None:
        assert self._base_latency is not None
        is_flat = self._rate is not None and rate < RISE * self._rate
        has_risen = latency > LATE * self._base_latency
        if is_flat and has_risen:
            self._is_starting = False
            self._long_latency = latency
            self._change(max(1, int(self.count / GROWTH)), now)
            return
        self._rate = rate
        if self.count >= self._limit:
            self._is_starting = False
            self._begin(now)
            return
        self._change(int(self.count * GROWTH), now)

    def _judge_hold(self, rate: float, latency: float, now: float, *, is_full: bool) -> None:
        long = latency if self._long_latency is None else self._long_latency
        self._long_latency = long + (latency - long) / LONG_WINDOWS
        before, self._before = self._before, None
        if latency > TOLERANCE * long:
            gradient = max(0.5, TOLERANCE * long / latency)
            self._rest = RESTING_WINDOWS
            self._change(round(self.count * gradient), now)
        elif before is not None and rate < PAYING * before[1]:
            self._rest = RESTING_WINDOWS
            self._change(before[0], now)
        elif is_full and self._rest <= 0 and self.count < self._limit:
            self._before = (self.count, rate)
            self._change(self.count + math.ceil(math.sqrt(self.count)), now)
        else:
            self._rest -= 1
            self._begin(now)

    @property
    def _limit(self) -> int:
        return self._most if self.ceiling is None else min(self._most, self.ceiling)

    def _change(self, count: int, now: float) -> None:
        self.count = max(1, min(count, self._limit))
        self._changed_at = now
        self._begin(now)
