"""The thread that moves all transfers, by libcurl's multi handle, and the few that finish them.

    offer -> Loop: claim from a lane, begin on a handle ... end -> finishers: finish() -> the lane's news

The loop's thread owns the multi handle, its descriptors and the flights; nothing of a transfer blocks in it but
`write`. What takes the disk is `finish`, in one of a few threads. Over 400 lines, since all of it is the
state of one thread.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import select
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Protocol

from gearshift.engines.base import Wakeup, timed_out
from gearshift.errors import UnsupportedError
from gearshift.facts import Settled, Traits

try:
    import pycurl
except ImportError as _error:
    raise UnsupportedError(
        f"downloads need libcurl ({_error}): pip install 'gearshift[download]'"
    ) from _error

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.jobs.download.engine import _CurlLane
    from gearshift.jobs.download.pace import Pace

__all__ = ["TRAITS", "Loop", "Transfer"]

TRAITS = Traits(
    name="curl", stops="cancel", resizable=True, start_seconds=2e-3, handoff_seconds=1e-4
)
FINISHERS = 2  # threads that write small files: on ext4 a name takes 0.5 ms, mostly waiting
BATCH = 8  # transfers that go to a finisher together
KEPT_HANDLES = 1024
MOST_UNFINISHED = 256  # transfers that wait for a finisher, before new ones wait for them
LONGEST_WAIT_SECONDS = 1.0
LOOK_SECONDS = 1.0
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Transfer(Protocol):
    """What the engine carries out for an item."""

    attempt: int
    size: int
    latency: float
    is_refused: bool
    setup: object  # transfers with the same one begin alike (see `begin`); None has no like

    @property
    def place(self) -> str:
        """Host and port, of which `per_host` counts."""
        ...

    def begin(self, curl: Any, *, is_set_up: bool) -> None:
        """Set the options of a handle that has none, or those of the last transfer with the same setup.

        Called in the loop's thread, as `end` is.
        """
        ...

    def end(self, curl: Any, code: int, message: str) -> None:
        """Read from the handle what is to be known; `code` is libcurl's, 0 where all went well."""
        ...

    def is_overdue(self, seconds: float) -> bool:
        """Whether it is to be ended, so long after it began; asked every second."""
        ...

    def finish(self) -> Any:
        """Return the value, or another transfer to go on with; may block, and raise."""
        ...

    def abandon(self) -> None:
        """Leave nothing behind: it was stopped, or never begun."""
        ...


class Flight:
    """One item on its way."""

    __slots__ = ("began", "index", "lane", "started", "transfer")

    def __init__(self, lane: _CurlLane, index: int, transfer: Transfer) -> None:
        """Begin the item's time; the transfer's begins later."""
        self.lane: _CurlLane = lane
        self.index: int = index
        self.transfer: Transfer = transfer
        self.started: float = time.perf_counter()  # the item
        self.began: float = 0.0  # this transfer of it


class Loop:
    """The thread that moves all transfers, and those that finish them."""

    def __init__(self, pace: Pace, per_host: int | None) -> None:
        self._pace = pace
        self._per_host = per_host
        # By host; libcurl could count them, too, but takes their waiting for a part of their time.
        self._under_way: Counter[str] = Counter()
        self._held: dict[str, deque[Flight]] = {}  # until another one of their host has landed
        self._wakeup = Wakeup()
        self._lanes: deque[_CurlLane] = deque()  # that have offered something, each once
        self._offers: deque[_CurlLane] = deque()
        self._kills: deque[_CurlLane] = deque()
        self._again: deque[Flight] = deque()  # that go on with another transfer
        self._flights: dict[Any, Flight] = {}  # by handle
        self._handles: list[tuple[Any, object]] = []  # that are free, with the setup that they have
        self._finishing = queue.SimpleQueue[list[Flight] | None]()
        self._landed: list[Flight] = []  # in this turn
        self._unfinished = 0
        self._finished = deque[None]()
        self._is_stopped = False
        self._is_killed = False
        self._guard = threading.Lock()  # of `is_ended` and `_again` or `_kills` together
        self.is_ended: bool = False
        self._timer_at: float | None = None
        self._looks_at = 0.0  # for transfers that are overdue
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_PIPELINING, 2)  # CURLPIPE_MULTIPLEX
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._epoll = select.epoll()
        self._known: set[int] = set()
        self._epoll.register(self._wakeup.fileno(), _IN)
        self._finishers = [
            threading.Thread(target=self._finish_all, name="gearshift-curl-finisher", daemon=True)
            for _ in range(FINISHERS)
        ]
        self._thread = threading.Thread(target=self._run, name="gearshift-curl", daemon=True)
        for thread in (*self._finishers, self._thread):
            thread.start()

    # From other threads

    def offer(self, lane: _CurlLane) -> None:
        """Have it looked whether a lane has something."""
        self._offers.append(lane)
        self._wakeup.set()

    def kill(self, lane: _CurlLane) -> None:
        """Stop what runs of a lane."""
        with self._guard:
            if self.is_ended:  # kept here, it would hold us
                return
            self._kills.append(lane)
        self._wakeup.set()

    def stop(self, *, kill: bool) -> None:
        """Have the threads end, after what is under way, or now."""
        self._is_killed = self._is_killed or kill
        self._is_stopped = True
        self._wakeup.set()

    def join(self) -> None:
        """Return when no thread is left."""
        for thread in (self._thread, *self._finishers):
            if thread is not threading.current_thread():
                thread.join()

    # libcurl's call-backs

    def _on_socket(self, event: int, fd: int, _multi: Any, _data: Any) -> None:
        if event == pycurl.POLL_REMOVE:
            if fd in self._known:
                self._known.discard(fd)
                with contextlib.suppress(OSError):  # closed already
                    self._epoll.unregister(fd)
            return
        mask = (_IN if event & pycurl.POLL_IN else 0) | (_OUT if event & pycurl.POLL_OUT else 0)
        if fd in self._known:
            try:
                self._epoll.modify(fd, mask)
            except FileNotFoundError:  # it was closed, and is another one now
                self._epoll.register(fd, mask)
        else:
            self._known.add(fd)
            self._epoll.register(fd, mask)

    def _on_timer(self, milliseconds: int) -> None:
        self._timer_at = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    # The loop

    def _run(self) -> None:
        try:
            while not self._is_over:
                self._turn()
        finally:
            self._end()

    @property
    def _is_over(self) -> bool:
        if not self._is_stopped:
            return False
        if self._is_killed:
            return True
        has_more = self._lanes or self._offers or self._again or self._held
        return not (self._flights or has_more or self._unfinished)

    def _turn(self) -> None:
        """Wait for something, and do what there is to do."""
        wait = LONGEST_WAIT_SECONDS
        if self._timer_at is not None:
            wait = min(wait, max(0.0, self._timer_at - time.monotonic()))
        act = self._multi.socket_action
        own = self._wakeup.fileno()
        for fd, event in self._epoll.poll(wait):
            if fd == own:
                self._wakeup.mark()
                continue
            flags = (pycurl.CSELECT_IN if event & _IN else 0) | (
                pycurl.CSELECT_OUT if event & _OUT else 0
            )
            if event & ~(_IN | _OUT):
                flags |= pycurl.CSELECT_ERR
            act(fd, flags)
        self._fire()
        if self._wakeup.is_set:
            self._wakeup.clear()
        while self._finished:
            self._finished.popleft()
            self._unfinished -= 1
        self._kill_all()
        self._collect()
        self._end_overdue()
        while self._begin_all():
            self._fire()
            self._collect()  # what ended at once: no descriptor tells of it

    def _fire(self) -> None:
        """Let libcurl do what is due."""
        if self._timer_at is not None and self._timer_at <= time.monotonic():
            self._timer_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _collect(self) -> None:
        """Take in transfers that ended, and have them finished, some at a time: to wake a thread takes long."""
        left = 1
        while left:
            left, good, bad = self._multi.info_read()
            for curl in good:
                self._land(curl, 0, "")
            for curl, code, message in bad:
                self._land(curl, code, message)
        landed, self._landed = self._landed, []
        self._unfinished += len(landed)
        for at in range(0, len(landed), BATCH):
            self._finishing.put(landed[at : at + BATCH])

    def _end_overdue(self) -> None:
        """End transfers of which libcurl cannot know that they take too long, now and then."""
        now = time.perf_counter()
        if now < self._looks_at:
            return
        self._looks_at = now + LOOK_SECONDS
        for curl, flight in list(self._flights.items()):
            seconds = now - flight.began
            if seconds > LOOK_SECONDS and flight.transfer.is_overdue(seconds):
                self._land(curl, pycurl.E_OPERATION_TIMEDOUT, f"given up after {seconds:.0f} s")

    def _land(self, curl: Any, code: int, message: str) -> None:
        """Take a transfer off its handle, and have it finished."""
        flight = self._take_off(curl)
        now = time.perf_counter()
        transfer = flight.transfer
        try:
            transfer.end(curl, code, message)
        except Exception as error:  # the others must go on
            self._multi.remove_handle(curl)
            curl.close()
            transfer.abandon()
            flight.lane.settle(flight.index, error, now - flight.started)
            return
        self._free(curl, transfer.setup)
        self._pace.ended(
            flight.began,
            now,
            size=transfer.size,
            latency=transfer.latency,
            refused=transfer.is_refused and transfer.attempt == 1,  # one item is one refusal
        )
        timeout = flight.lane.job.task_timeout
        if timeout is not None and now - flight.started >= timeout:
            transfer.abandon()
            late = timed_out(flight.lane.job, flight.index, TRAITS)
            flight.lane.settle(flight.index, late, now - flight.started)
            return
        self._landed.append(flight)

    def _take_off(self, curl: Any) -> Flight:
        """Return the flight of a handle, which is no longer under way; another of its host may begin."""
        flight = self._flights.pop(curl)
        if self._per_host is not None:
            place = flight.transfer.place
            self._under_way[place] -= 1
            held = self._held.get(place)
            if held:
                self._again.appendleft(held.popleft())
            if not held:
                self._held.pop(place, None)
        return flight

    def _is_held(self, flight: Flight) -> bool:
        """Whether a transfer has to wait for another one of its host; then it does."""
        if self._per_host is None:
            return False
        place = flight.transfer.place
        if self._under_way[place] < self._per_host:
            self._under_way[place] += 1
            return False
        self._held.setdefault(place, deque()).append(flight)
        return True

    def _free(self, curl: Any, setup: object) -> None:
        self._multi.remove_handle(curl)
        if len(self._handles) < KEPT_HANDLES:
            self._handles.append((curl, setup))
        else:
            curl.close()

    def _begin_all(self) -> bool:
        """Begin what may begin; return whether anything did."""
        while self._offers:
            lane = self._offers.popleft()
            if lane not in self._lanes:
                self._lanes.append(lane)
        has_begun = False
        while len(self._flights) < self._pace.count and self._unfinished < MOST_UNFINISHED:
            if self._again:
                self._begin(self._again.popleft())
            elif not self._begin_next():
                break
            has_begun = True
        is_full = len(self._flights) >= self._pace.count
        self._pace.note(time.perf_counter(), is_full=is_full)
        return has_begun

    def _begin_next(self) -> bool:
        """Begin an item of the lane whose turn it is; return whether there was one."""
        while self._lanes:
            lane = self._lanes[0]
            claimed = lane.claim()
            if claimed is None:
                self._lanes.popleft()
                continue
            self._lanes.rotate(-1)
            self._begin_item(lane, *claimed)
            return True
        return False

    def _begin_item(self, lane: _CurlLane, index: int, item: Any, attempt: int) -> None:
        function: Callable[..., Transfer] = lane.job.function
        try:
            context = lane.context
            transfer = function(item) if context is None else context.copy().run(function, item)
            transfer.attempt = attempt
        except Exception as error:  # the user's, or one of ours that says why it cannot be fetched
            lane.settle(index, error)
            return
        self._begin(Flight(lane, index, transfer))

    def _begin(self, flight: Flight) -> None:
        """Put a transfer on a handle."""
        if self._is_held(flight):
            return
        curl, setup = self._handles.pop() if self._handles else (pycurl.Curl(), None)
        transfer = flight.transfer
        flight.began = time.perf_counter()
        try:
            is_set_up = setup is not None and setup is transfer.setup
            if not is_set_up:
                curl.reset()
            transfer.begin(curl, is_set_up=is_set_up)
            timeout = flight.lane.job.task_timeout
            if timeout is not None:
                left = max(0.001, timeout - (flight.began - flight.started))
                curl.setopt(pycurl.TIMEOUT_MS, max(1, int(1000 * left)))
            self._multi.add_handle(curl)
        except Exception as error:
            self._flights[curl] = flight
            self._take_off(curl)
            curl.close()
            flight.transfer.abandon()
            flight.lane.settle(flight.index, error, time.perf_counter() - flight.started)
            return
        self._flights[curl] = flight

    def _kill_all(self) -> None:
        """Stop the transfers of lanes that are to be killed."""
        lanes = set()
        while self._kills:
            lanes.add(self._kills.popleft())
        if not lanes:
            return
        for curl, flight in list(self._flights.items()):
            if flight.lane in lanes:
                self._take_off(curl)
                self._multi.remove_handle(curl)
                curl.close()
                flight.transfer.abandon()
                flight.lane.give_back(flight.index)
        self._again += [flight for held in self._held.values() for flight in held]
        self._held.clear()
        for flight in list(self._again):
            if flight.lane in lanes:
                self._again.remove(flight)
                flight.transfer.abandon()
                flight.lane.give_back(flight.index)

    def _end(self) -> None:
        """Leave nothing (the loop's thread)."""
        with self._guard:
            self.is_ended = True
        for curl, flight in self._flights.items():
            self._multi.remove_handle(curl)
            curl.close()
            flight.transfer.abandon()
            flight.lane.give_back(flight.index)
        self._flights.clear()
        for flight in (*self._again, *itertools.chain(*self._held.values())):
            flight.transfer.abandon()
            flight.lane.give_back(flight.index)
        for lane in {*self._lanes, *self._offers}:
            lane.revoke()
            lane.wakeup.set()
        for held in (self._lanes, self._offers, self._kills, self._again):  # they hold us
            held.clear()
        for _ in self._finishers:
            self._finishing.put(None)
        for curl, _ in self._handles:
            curl.close()
        self._multi.close()
        self._multi = None  # it holds our methods, and so us
        self._epoll.close()

    # The finishers

    def _finish_all(self) -> None:
        """Finish transfers until there will be no more (a finisher's thread)."""
        while (flights := self._finishing.get()) is not None:
            self._finish_some(flights)
            del flights  # they hold the run
            if self._unfinished >= MOST_UNFINISHED or self._is_stopped or self._again:
                self._wakeup.set()

    def _finish_some(self, flights: list[Flight]) -> None:
        """Finish transfers, and tell of consecutive ones at once."""
        flights.sort(key=_place)
        ended: list[tuple[Flight, Any]] = []  # values of consecutive items of one lane
        for flight in flights:
            value = self._finish(flight)
            self._finished.append(None)
            if ended and (
                value is _NO_VALUE
                or flight.lane is not ended[-1][0].lane
                or flight.index != ended[-1][0].index + 1
            ):
                _tell(ended)
                ended = []
            if value is not _NO_VALUE:
                ended.append((flight, value))
        if ended:
            _tell(ended)

    def _finish(self, flight: Flight) -> Any:
        """Return the value of an item, or `_NO_VALUE` where it failed or goes on."""
        lane = flight.lane
        try:
            if lane.context is None:
                value = flight.transfer.finish()
            else:
                value = lane.context.copy().run(flight.transfer.finish)
        except BaseException as error:  # SystemExit is a failure of its item, too
            lane.settle(flight.index, error, time.perf_counter() - flight.started)
            return _NO_VALUE
        if not hasattr(value, "begin"):
            return value
        value.attempt = flight.transfer.attempt
        flight.transfer = value
        with self._guard:
            is_ended = self.is_ended
            if not is_ended:
                self._again.append(flight)
        if is_ended:
            value.abandon()
            lane.give_back(flight.index)
        self._wakeup.set()
        return _NO_VALUE


_NO_VALUE: Any = object()


def _place(flight: Flight) -> tuple[int, int]:
    """Return what flights are sorted by, so that consecutive items stand together."""
    return id(flight.lane), flight.index


def _tell(ended: list[tuple[Flight, Any]]) -> None:
    """Tell a lane of consecutive values at once: the consumer takes them as one."""
    first, _ = ended[0]
    now = time.perf_counter()
    busy_seconds = sum(now - flight.started for flight, _ in ended)
    values = [value for _, value in ended]
    first.lane.news.append(Settled(first.index, values, {}, busy_seconds, 0.0))
    first.lane.wakeup.set()
