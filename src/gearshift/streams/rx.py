"""ReactiveX as a neighbour: its observables as sources, our streams as observables, its operators in a chain.

    from_rx     observable -> a channel (bounded, unlike `observe_on`) -> stream
    to_rx       stream -> a run in a thread of its own -> observer
    .rx(...)    batches -> Subject -> operators -> batches, in the consumer's thread

The one module that imports `reactivex` (extra `rx`), and so over 400 lines. Operators with time get a scheduler
that goes by the stream's clock, so that they need no thread of theirs, and a virtual
clock or event time moves them too.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from gearshift.errors import ChannelClosedError, RunClosedError
from gearshift.streams.batch import Batch
from gearshift.streams.needs import Act, Idle, Over
from gearshift.streams.sources.channel import Channel, WhenFull
from gearshift.streams.stream import Stream, stream

try:
    import reactivex
    from reactivex.disposable import Disposable
    from reactivex.scheduler.periodicscheduler import PeriodicScheduler
    from reactivex.scheduler.scheduleditem import ScheduledItem
    from reactivex.subject import Subject
except ImportError as _missing:
    raise ImportError(
        "this needs the package reactivex: pip install 'gearshift[rx]' (or pip install reactivex)"
    ) from _missing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from reactivex import Observable
    from reactivex import abc as rx_abc
    from reactivex.abc import DisposableBase

    from gearshift.engines.base import Wakeup
    from gearshift.streams.needs import Node, Setting
    from gearshift.streams.sources.base import Clock, Feed

__all__ = ["RxNode", "from_rx", "to_rx"]

ENDING_SECONDS = 5.0  # a thread in an observable that does not come back is left to itself

T = TypeVar("T")


def from_rx(
    observable: Observable[T], *, buffer: int = 1024, when_full: WhenFull = "wait"
) -> Stream[T]:
    """Return a stream of what an observable of `reactivex` gives; each run subscribes anew.

    Args:
        observable: What to subscribe to, in a thread of its own.
        buffer: How many items may wait to be taken.
        when_full: What gives when more come: "wait" has the observable's thread wait,
            "drop_oldest" and "latest" drop items and count them, "error" ends the stream.

    Raises:
        TypeError: `observable` is none.
        ValueError: An option has a wrong value.
    """
    if not isinstance(observable, reactivex.Observable):
        raise TypeError(f"observable={observable!r} is not an observable of reactivex")
    Channel(when_full=when_full, buffersize=buffer)  # refuses wrong values here
    return stream(_Observed(observable, buffer, when_full))


class _Observed:
    """An observable as a live source."""

    def __init__(self, observable: Observable[Any], buffer: int, when_full: WhenFull) -> None:
        self._observable = observable
        self._buffer = buffer
        self._when_full = when_full

    def open(self, wakeup: Wakeup, clock: Clock) -> Feed:
        channel: Channel[Any] = Channel(when_full=self._when_full, buffersize=self._buffer)
        feed = channel.open(wakeup, clock)
        subscription = _Subscription(self._observable, channel)
        feed.call_at_close(subscription.end)
        subscription.begin()
        return feed


class _Subscription:
    """An observer that puts what it gets into a channel.

    It subscribes in a thread of its own: many observables give all they have inside of
    `subscribe`, and would have to wait there for the very thread that takes.
    """

    def __init__(self, observable: Observable[Any], channel: Channel[Any]) -> None:
        self._observable = observable
        self._channel = channel
        self._guard = threading.Lock()
        self._subscription: DisposableBase | None = None
        self._is_ended = False
        self._thread = threading.Thread(target=self._subscribe, name="gearshift-rx", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Dispose of the subscription, and let nobody wait for room any more."""
        with self._guard:
            self._is_ended = True
            subscription = self._subscription
        self._channel.close()
        if subscription is not None:
            subscription.dispose()
        if threading.current_thread() is not self._thread:
            self._thread.join(ENDING_SECONDS)

    def _subscribe(self) -> None:
        try:
            subscription = self._observable.subscribe(
                self._put, self._channel.fail, self._channel.close
            )
        except _EndedError:
            return
        except Exception as error:  # the observable's own, before it could tell an observer
            self._channel.fail(error)
            return
        with self._guard:
            self._subscription = subscription
            is_ended = self._is_ended
        if is_ended:
            subscription.dispose()

    def _put(self, item: Any) -> None:
        try:
            self._channel.put(item)
        except ChannelClosedError:
            if threading.current_thread() is self._thread:
                raise _EndedError from None  # out of an endless `subscribe`
        except Exception as error:  # no room, and when_full="error"
            self._channel.fail(error)


class _EndedError(Exception):
    """The run has ended, and with it the subscription."""


def to_rx(source: Stream[T]) -> Observable[T]:
    """Return an observable of a stream: each subscription runs it in a thread of its own.

    Disposing of the subscription cancels the run. An observer without `on_error` has an
    error raised in that thread.
    """

    def subscribe(
        observer: rx_abc.ObserverBase[T], _scheduler: rx_abc.SchedulerBase | None = None
    ) -> DisposableBase:
        followed = _Followed(source, observer)
        followed.begin()
        return Disposable(followed.end)

    return reactivex.create(subscribe)


class _Followed:
    """A run of a stream whose items go to an observer."""

    def __init__(self, source: Stream[Any], observer: rx_abc.ObserverBase[Any]) -> None:
        self._run = source.start()
        self._observer = observer
        self._guard = threading.Lock()
        self._is_disposed = False
        self._is_telling = False  # the observer something
        self._thread = threading.Thread(target=self._follow, name="gearshift-to-rx", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Cancel the run; return when it is over, or at once while the observer is being told something.

        That may wait for a lock of an operator's, in which whoever disposes may be.
        """
        with self._guard:
            self._is_disposed = True
            is_telling = self._is_telling
        self._run.cancel()
        if not is_telling:
            self._thread.join()

    def _follow(self) -> None:
        try:
            with self._run as run:
                for item in run:
                    self._tell(self._observer.on_next, item)
        except BaseException as error:  # SystemExit of a task's too: it is its item's failure
            self._tell(self._observer.on_error, error)
        else:
            self._tell(self._observer.on_completed)

    def _tell(self, handler: Callable[..., Any], *said: Any) -> None:
        """Call a handler of the observer, but none after the end."""
        with self._guard:
            if self._is_disposed:
                return
            self._is_telling = True
        try:
            handler(*said)
        finally:
            self._is_telling = False


class RxNode:
    """Passes items through operators of ReactiveX; under `keyed` each key has its own chain of them."""

    def __init__(
        self, child: Node, operators: tuple[Callable[[Observable[Any]], Observable[Any]], ...]
    ) -> None:
        """Stand behind a node.

        Args:
            child: The node before.
            operators: As for `Observable.pipe`.
        """
        self._child = child
        self._operators = operators
        self._scheduler = _Scheduler(self.notify)
        self._pipes: dict[Any, _Pipe] = {}
        self._out: deque[tuple[Any, Any, float]] = deque()  # from any thread
        self._error: Exception | None = None
        self._is_keyed = False
        self._has_times = False
        self._is_drained = False  # the node before is over
        self._thread = 0  # that asks

    @property
    def total(self) -> int | None:
        """Nobody knows."""
        return None

    def start(self, setting: Setting) -> None:
        """Start the node before."""
        self._child.start(setting)
        self._setting: Setting = setting
        if not setting.in_event_time:
            self._scheduler.at = setting.clock.now()

    def step(self) -> Batch | Act | Idle | Over:
        """Return what comes out; a batch may be empty."""
        self._thread = threading.get_ident()
        if self._out:
            return self._given()
        if self._is_over:
            return Over(self._error)
        need: Batch | Act | Idle | Over = Idle() if self._is_drained else self._child.step()
        if isinstance(need, Batch):
            self._feed(need)
        elif isinstance(need, Over):
            self._complete(need.error)
        else:
            return self._idle(need)
        return self._given()

    @property
    def _is_over(self) -> bool:
        if self._error is not None:
            return True
        pipes = self._pipes.values()
        if self._is_drained:
            return all(pipe.is_over for pipe in pipes)
        return not self._is_keyed and any(pipe.is_over for pipe in pipes)

    def _idle(self, need: Act | Idle) -> Batch | Act | Idle | Over:
        """Give out what is due, or wait for that too."""
        due = self._scheduler.due
        in_event_time = self._setting.in_event_time
        if in_event_time and not self._is_drained:
            return need
        now = self._setting.clock.now()
        if due <= now or (in_event_time and due < math.inf):  # event time ends with the items
            self._advance(due if in_event_time else now)
            return self._given()
        return need.beside(Idle(due=due)) if isinstance(need, Idle) else need

    def _feed(self, batch: Batch) -> None:
        """Pass items on, and run what is due before each."""
        self._is_keyed = self._is_keyed or batch.keys is not None
        self._has_times = batch.times is not None
        for item, key, at in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            self._advance(math.nextafter(at, -math.inf))
            self._scheduler.at = max(at, self._scheduler.at)
            pipe = self._pipes.get(key)
            if pipe is None:
                pipe = self._begin_pipe(key)
            pipe.push(item)
            if self._error is not None:
                return
        self._advance(math.nextafter(batch.now, -math.inf))

    def _begin_pipe(self, key: Any) -> _Pipe:
        """Subscribe to a new chain of operators."""
        pipe = self._pipes[key] = _Pipe(self, key, self._scheduler)
        try:
            pipe.begin(self._operators)
        except Exception as error:
            self.fail(error)
        return pipe

    def _advance(self, to: float) -> None:
        """Run what is due at that moment or earlier."""
        try:
            self._scheduler.advance(to)
        except Exception as error:  # an operator's function, outside of an `on_next`
            self.fail(error)

    def _complete(self, error: BaseException | None) -> None:
        """Tell the operators that nothing more comes."""
        self._is_drained = True
        if error is not None and not isinstance(error, Exception):
            self._error = RunClosedError("the stream before was broken off")
            self._error.__cause__ = error
            return
        if (
            not self._pipes and not self._is_keyed
        ):  # such as `start_with`: it gives something anyway
            self._scheduler.at = max(self._scheduler.at, self._finite_now())
            self._begin_pipe(None)
        for pipe in list(self._pipes.values()):
            pipe.end(error)
        if not self._pipes and error is not None:
            self._error = error

    def _finite_now(self) -> float:
        return self._scheduler.at if self._setting.in_event_time else self._setting.clock.now()

    def give(self, item: Any, key: Any) -> None:
        """Take what an operator gives, in whatever thread it works."""
        self._out.append((item, key, self._scheduler.at))
        self.notify()

    def notify(self) -> None:
        """Have the run look, where an operator works in a thread of its own."""
        if threading.get_ident() != self._thread:
            self._setting.wakeup.set()

    def fail(self, error: Exception) -> None:
        """End with the first error."""
        if self._error is None:
            self._error = error
        self.notify()

    def _given(self) -> Batch:
        out = [self._out.popleft() for _ in range(len(self._out))]
        return Batch(
            [item for item, _, _ in out],
            [key for _, key, _ in out] if self._is_keyed else None,
            [at for _, _, at in out] if self._has_times else None,
            now=self._scheduler.at,
        )


class _Pipe:
    """The operators of one key."""

    def __init__(self, node: RxNode, key: Any, scheduler: _Scheduler) -> None:
        self._node = node
        self._key = key
        self._scheduler = scheduler
        self._subject: Subject[Any] = Subject()
        self.is_over: bool = False

    def begin(self, operators: tuple[Callable[[Observable[Any]], Observable[Any]], ...]) -> None:
        observable: Observable[Any] = self._subject.pipe(*operators)
        observable.subscribe(
            lambda item: self._node.give(item, self._key),
            self._failed,
            self._completed,
            scheduler=self._scheduler,
        )
        self._scheduler.run_soon()

    def push(self, item: Any) -> None:
        if self.is_over:
            return
        try:
            self._subject.on_next(item)
            self._scheduler.run_soon()
        except Exception as error:  # an operator that does not pass it on by `on_error`
            self._node.fail(error)

    def end(self, error: Exception | None) -> None:
        if self.is_over:
            return
        try:
            if error is None:
                self._subject.on_completed()
            else:
                self._subject.on_error(error)
            self._scheduler.run_soon()
        except Exception as raised:
            self._node.fail(raised)

    def _failed(self, error: Exception) -> None:
        self.is_over = True
        self._node.fail(error)

    def _completed(self) -> None:
        self.is_over = True
        self._node.notify()


class _Scheduler(PeriodicScheduler):
    """Time of ReactiveX's operators: moved by the node, in its thread alone."""

    def __init__(self, notify: Callable[[], None]) -> None:
        super().__init__()
        self.notify = notify
        self.at: float = 0.0
        self._count = 0
        self._soon: deque[ScheduledItem] = (
            deque()
        )  # at once, unlike what is due at this very moment
        self._heap: list[tuple[float, int, ScheduledItem]] = []

    @property
    def now(self) -> datetime:
        """The time that was reached."""
        return self.to_datetime(self.at)

    @property
    def due(self) -> float:
        """When the next action is to run, or infinity."""
        if self._soon:
            return self.at
        while self._heap and self._heap[0][2].is_cancelled():
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def advance(self, to: float) -> None:
        """Run what is due until then, each at its time."""
        self.run_soon()
        while self.due <= to:
            due, _, item = heapq.heappop(self._heap)
            self.at = max(due, self.at)
            item.invoke()
            self.run_soon()
        if math.isfinite(to):
            self.at = max(to, self.at)

    def run_soon(self) -> None:
        """Run what was to run at once."""
        while self._soon:
            item = self._soon.popleft()
            if not item.is_cancelled():
                item.invoke()

    def schedule(self, action: Any, state: Any = None) -> DisposableBase:
        """Have an action run as soon as the one that asks for it is over."""
        item: ScheduledItem = ScheduledItem(self, state, action, self.now)
        self._soon.append(item)
        self.notify()
        return item.disposable

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> DisposableBase:
        """Have an action run after some time."""
        return self._schedule_at(self.at + max(0.0, self.to_seconds(duetime)), action, state)

    def schedule_absolute(self, duetime: Any, action: Any, state: Any = None) -> DisposableBase:
        """Have an action run at a time."""
        return self._schedule_at(self.to_seconds(duetime), action, state)

    def _schedule_at(self, at: float, action: Any, state: Any) -> DisposableBase:
        self._count += 1
        item: ScheduledItem = ScheduledItem(self, state, action, self.to_datetime(at))
        heapq.heappush(self._heap, (at, self._count, item))
        self.notify()
        return item.disposable
