"""`gs.stream`: a recipe for runs over items as they come, with stages, time and keys.

    stream(source) -> Stream --.map, .keyed, .debounce, ...--> Stream --.start()--> Run

A stream is frozen: each method returns another. Nothing is opened before `start`, and
each start opens everything anew. Over 400 lines, since most methods are a signature with
the words that explain it; what they stand for lies in `operators` and in the nodes.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload

from gearshift._api.map import Options, check_task, make_pump, make_source, run_map
from gearshift._run.run import Run
from gearshift._work.run_chunk import name_of
from gearshift.engines.base import Job
from gearshift.streams.chain import Chain
from gearshift.streams.clock import RealClock
from gearshift.streams.inlets import IterableInlet, LiveInlet, Stamp
from gearshift.streams.listed import Kind, stand_in_of, work_of
from gearshift.streams.operating import Merge, MergeByTime, Operating
from gearshift.streams.operators.checks import check_seconds
from gearshift.streams.operators.distinct import Distinct, DistinctUntilChanged
from gearshift.streams.operators.hold import HoldFor
from gearshift.streams.operators.keyed import ForgetIdle, Keyed, WithKey
from gearshift.streams.operators.lists import BatchItems, Window
from gearshift.streams.operators.pipeline import Pipeline
from gearshift.streams.operators.rate import Debounce, Throttle
from gearshift.streams.operators.scan import MISSING, Pairwise, Scan
from gearshift.streams.operators.stale import StaleAfter
from gearshift.streams.parts import Parts
from gearshift.streams.sources.base import LiveSource
from gearshift.streams.sources.emitter import Emitter
from gearshift.streams.stage import Link, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from reactivex import Observable

    from gearshift._run.ledger import Errors
    from gearshift.facts import Failure, Report
    from gearshift.streams.needs import Node
    from gearshift.streams.operators.base import Operator
    from gearshift.streams.operators.stale import Stale
    from gearshift.streams.sources.base import Clock

__all__ = ["Stream", "stream"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _StageStep:
    """A function with an engine."""

    kind: Kind
    function: Callable[..., Any]
    errors: Errors | Callable[[Failure], Any]
    options: Options


@dataclass(frozen=True, slots=True)
class _OperatorStep:
    """Makes an operator for each run.

    Attributes:
        make: Makes it.
        idle_seconds: It gives keys, which leave after so long; 0 means that they stay.
    """

    make: Callable[[], Operator]
    idle_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _MergeStep:
    """Others that come in here."""

    streams: tuple[Stream[Any], ...]


@dataclass(frozen=True, slots=True)
class _RxStep:
    """Operators of ReactiveX."""

    operators: tuple[Callable[[Any], Any], ...]


_Step = _StageStep | _OperatorStep | _MergeStep | _RxStep


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What a stream is made of."""

    source: Any
    clock: Clock | None
    time: Callable[[Any], float] | None = None
    steps: tuple[_Step, ...] = ()
    is_keyed: bool = False


class Stream(Generic[T]):
    """A recipe: what happens to the items of a source. `iter` and `start` each begin a run of it.

    Under `keyed` every operator works for each key by itself. Stages (`map`, `filter`,
    `flat_map`) have an engine each, chosen as in `gs.map`; a slow stage slows the source.
    Functions that operators are given run in the consumer's thread and are to be quick.
    """

    def __init__(self, recipe: _Recipe) -> None:
        """Hold the recipe; `gs.stream` makes streams."""
        self._recipe = recipe

    def __repr__(self) -> str:
        """Say what it is made of."""
        steps = "".join(f".{_name_of(step)}" for step in self._recipe.steps)
        return f"<gearshift.Stream of {type(self._recipe.source).__qualname__}{steps}>"

    # Stages

    @overload
    def map(
        self,
        fn: Callable[..., Coroutine[Any, Any, R]],
        /,
        *,
        errors: Errors | Callable[[Failure], Any] = "raise",
        **options: Unpack[Options],
    ) -> Stream[R]: ...
    @overload
    def map(
        self,
        fn: Callable[..., R],
        /,
        *,
        errors: Errors | Callable[[Failure], Any] = "raise",
        **options: Unpack[Options],
    ) -> Stream[R]: ...
    def map(
        self,
        fn: Callable[..., Any],
        /,
        *,
        errors: Errors | Callable[[Failure], Any] = "raise",
        **options: Unpack[Options],
    ) -> Stream[Any]:
        """Call a function with each item; what it returns goes on.

        Args:
            fn: The function; a coroutine function too.
            errors: As in `gs.map`.
            **options: As in `gs.map`.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument has a wrong value.
        """
        return self._with_stage("map", fn, errors, options)

    def filter(
        self,
        predicate: Callable[..., Any],
        /,
        *,
        errors: Errors | Callable[[Failure], Any] = "raise",
        **options: Unpack[Options],
    ) -> Stream[T]:
        """Let the items through for which a function returns something true.

        Args:
            predicate: The function; a coroutine function too.
            errors: As in `gs.map`: with "return" a `gs.Failure` goes on in place of its item;
                what a function of yours returns stands for the predicate's answer.
            **options: As in `gs.map`.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument has a wrong value.
        """
        return self._with_stage("filter", predicate, errors, options)

    @overload
    def flat_map(
        self,
        fn: Callable[..., Coroutine[Any, Any, Iterable[R]]],
        /,
        *,
        errors: Errors | Callable[[Failure], Any] = "raise",
        **options: Unpack[Options],
    ) -> Stream[R]: ...
    @overload
    def flat_map(
        self,
        fn: Callable[..., Iterable[R]],
        /,
        *,
        errors: Errors | Callable[[Failure], Any] = "raise",
        **options: Unpack[Options],
    ) -> Stream[R]: ...
    def flat_map(
        self,
        fn: Callable[..., Any],
        /,
        *,
        errors: Errors | Callable[[Failure], Any] = "raise",
        **options: Unpack[Options],
    ) -> Stream[Any]:
        """Call a function with each item; each thing in what it returns goes on, one after another.

        Args:
            fn: Returns an iterable, or is a generator function; it is read to its end by the worker.
            errors: As in `gs.map`; what a function of yours returns is an iterable, too.
            **options: As in `gs.map`.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument has a wrong value.
        """
        return self._with_stage("flat_map", fn, errors, options)

    # Operators

    def scan(self, function: Callable[[Any, T], R], seed: Any = MISSING) -> Stream[R]:
        """Give every accumulated value (`scan` of ReactiveX).

        Args:
            function: Returns the next value, given the last and an item.
            seed: The first value, of every key; without it the first item is, and is given as it is.
        """
        return self._with_operator(lambda: Scan(function, seed))

    def pairwise(self) -> Stream[tuple[T, T]]:
        """Give `(item before, item)` from the second item on (`pairwise` of ReactiveX)."""
        return self._with_operator(Pairwise)

    def distinct(
        self, key: Callable[[T], Any] | None = None, *, most: int | None = None
    ) -> Stream[T]:
        """Give items that were not there before (`distinct` of ReactiveX).

        Args:
            key: What of an item counts, something hashable; None means all of it.
            most: How many are remembered, those seen last; None means all, which an endless
                stream may not have the memory for.
        """
        return self._with_operator(lambda: Distinct(key, most=most))

    def distinct_until_changed(self, key: Callable[[T], Any] | None = None) -> Stream[T]:
        """Give items that differ from the one before (`distinct_until_changed` of ReactiveX).

        Args:
            key: What of an item is compared; None means all of it.
        """
        return self._with_operator(lambda: DistinctUntilChanged(key))

    def batch(self, size: int | None = None, seconds: float | None = None) -> Stream[list[T]]:
        """Give lists of items, never empty: when one has `size` items, or `seconds` after its first.

        Args:
            size: Items in a list at most; None means any number.
            seconds: How long the first item of a list may wait; None means for ever. The rest
                is given at the end.

        Raises:
            ValueError: Neither is given, or one is not above 0.
        """
        return self._with_operator(lambda: BatchItems(size, seconds))

    def window(self, seconds: float) -> Stream[list[T]]:
        """Give the items of each stretch of time as a list when it is over, none where there were none.

        Stretches begin at multiples of `seconds` of the clock, or of the items' time.

        Args:
            seconds: How long a stretch is.
        """
        return self._with_operator(lambda: Window(seconds))

    def debounce(self, seconds: float) -> Stream[T]:
        """Give an item once no other has come for so long (`debounce` of ReactiveX).

        Args:
            seconds: How long; the item that still waits at the end is given then.
        """
        return self._with_operator(lambda: Debounce(seconds))

    def throttle(self, seconds: float) -> Stream[T]:
        """Give an item, and then none for so long (`throttleTime` of RxJS).

        Args:
            seconds: How long nothing goes through.
        """
        return self._with_operator(lambda: Throttle(seconds))

    def hold_for(self, seconds: float, predicate: Callable[[T], object]) -> Stream[T]:
        """Give the latest item at the moment when a condition has been met for so long without a break.

        Once for each such stretch, and without waiting for the next item. In event time, when
        an item has come that is later.

        Args:
            seconds: How long.
            predicate: Says of an item whether the condition is met.
        """
        return self._with_operator(lambda: HoldFor(seconds, predicate))

    def stale(self, seconds: float) -> Stream[T | Stale]:
        """Give every item, and one `gs.Stale` when none has come for so long.

        Args:
            seconds: How long.
        """
        return self._with_operator(lambda: StaleAfter(seconds))

    def keyed(
        self, function: Callable[[T], Any], *, idle_seconds: float | None = None
    ) -> Stream[T]:
        """Have every operator after this one work for each key by itself; items stay what they are.

        Args:
            function: Returns the key of an item, something hashable.
            idle_seconds: A key from which nothing has come for so long is forgotten, once nothing
                is owed to it (such as a list of `batch`); its next item is its first. None means never.
        """
        Keyed(function)  # refuses wrong arguments here, where they were given
        if idle_seconds is not None:
            check_seconds("idle_seconds", idle_seconds)
        return self._with(
            _OperatorStep(lambda: Keyed(function), idle_seconds or 0.0), is_keyed=True
        )

    def with_key(self) -> Stream[tuple[Any, T]]:
        """Give `(key, item)`.

        Raises:
            ValueError: The stream has no keys.
        """
        if not self._recipe.is_keyed:
            raise ValueError("with_key on a stream that has no keys: put `keyed` before it")
        return self._with_operator(WithKey)

    def merge(self, *others: Stream[Any] | Iterable[Any] | LiveSource) -> Stream[Any]:
        """Let the items of other streams come in here, as they come; in event time, in the order of their times.

        One that is an iterable is asked last: while it blocks, the others wait. Give live
        sources where that matters. In event time all wait for the one that is furthest behind.

        Args:
            *others: Streams, or what `gs.stream` takes; they go by this stream's clock, and what is
                no stream yet by its `time`.

        Raises:
            ValueError: One of the two is keyed or in event time, and the other is not.
        """
        clock, time = self._recipe.clock, self._recipe.time
        streams = tuple(
            each if isinstance(each, Stream) else stream(each, clock=clock, time=time)
            for each in others
        )
        for each in streams:
            if (each._recipe.time is None) != (time is None):  # noqa: SLF001 - of our own class
                raise ValueError(
                    "merge of a stream in event time and one by the clock: give `time=` to both or to none"
                )
            if each._recipe.is_keyed != self._recipe.is_keyed:  # noqa: SLF001 - of our own class
                raise ValueError(
                    "merge of a keyed stream and one that is not: put `keyed` behind the merge, or on both"
                )
        return self._with(_MergeStep(streams))

    def rx(self, *operators: Callable[[Any], Any]) -> Stream[Any]:
        """Pass the items through operators of ReactiveX, as `Observable.pipe` does (extra `rx`).

        Operators with time go by the stream's clock or event time. Under `keyed` each key
        has its own chain of them.

        Args:
            *operators: Such as `reactivex.operators.distinct_until_changed()`.

        Raises:
            ImportError: The package `reactivex` is missing.
            TypeError: An operator cannot be called.
        """
        import gearshift.streams.rx  # noqa: F401 - says here that the package is missing

        for operator in operators:
            if not callable(operator):
                raise TypeError(f"operator {operator!r} is none: give reactivex.operators.…()")
        return self._with(_RxStep(operators))

    def to_rx(self) -> Observable[T]:
        """Return an observable of `reactivex`: each subscription runs the stream in a thread of its own.

        Raises:
            ImportError: The package `reactivex` is missing.
        """
        from gearshift.streams.rx import to_rx  # the extra `rx`

        return to_rx(self)

    # Running

    def start(self) -> Run[T]:
        """Return a run: an iterator, asynchronous iterator and context manager, as `gs.map` returns it.

        Live sources are open from here on; nothing else happens before the first item is asked for.
        Its report counts items that came in (`items`), that were given out (`succeeded`) and that
        the source dropped, and has each stage's own report in `stages`.
        """
        recipe = self._recipe
        (only,) = recipe.steps if len(recipe.steps) == 1 else (None,)
        is_plain = recipe.time is None and not isinstance(recipe.source, LiveSource)
        if isinstance(only, _StageStep) and only.kind == "map" and is_plain:
            return run_map(only.function, (recipe.source,), errors=only.errors, **only.options)
        return Run(self._chain(), Job(function=_itself))

    def __iter__(self) -> Iterator[T]:
        """Begin a run, and return an iterator over what it gives."""
        return iter(self.start())

    def __aiter__(self) -> AsyncIterator[T]:
        """Begin a run, and return an asynchronous iterator over what it gives."""
        return aiter(self.start())

    def each(self, fn: Callable[[T], object], /) -> Report:
        """Run to the end, calling a function with each item in this thread, and return the report.

        For side effects in parallel make them a stage: `stream.map(fn, ordered=False).run()`.
        """
        with self.start() as run:
            for item in run:
                fn(item)
        return run.report

    def run(self) -> Report:
        """Run to the end for the stages' side effects, and return the report."""
        with self.start() as run:
            for _ in run:
                pass
        return run.report

    def guest(
        self,
        host: object,
        on_next: Callable[[T], object],
        *,
        on_error: Callable[[BaseException], object] | None = None,
        on_completed: Callable[[], object] | None = None,
    ) -> Run[T]:
        """Begin a run as a guest in a window's loop (`Run.guest` has the arguments), and return it.

        Raises:
            TypeError: `host` is none, or the source is asynchronous.
        """
        from gearshift._run.guest import host_of  # for those who have a window

        host = host_of(host)  # refused before anything is opened
        run = self.start()
        run.guest(host, on_next, on_error=on_error, on_completed=on_completed)
        return run

    # Putting together

    def _with(self, step: _Step, *, is_keyed: bool | None = None) -> Stream[Any]:
        recipe = self._recipe
        return Stream(
            replace(
                recipe,
                steps=(*recipe.steps, step),
                is_keyed=recipe.is_keyed if is_keyed is None else is_keyed,
            )
        )

    def _with_operator(self, make: Callable[[], Operator]) -> Stream[Any]:
        make()  # refuses wrong arguments here, where they were given
        return self._with(_OperatorStep(make))

    def _with_stage(
        self,
        kind: Kind,
        fn: Callable[..., Any],
        errors: Errors | Callable[[Failure], Any],
        options: Options,
    ) -> Stream[Any]:
        check_task(fn, errors=errors, options=options)
        return self._with(_StageStep(kind, fn, errors, options))

    def _chain(self) -> Chain:
        """Return what moves the items of one run."""
        parts = Parts()
        last = self._last_node(parts)
        clock = self._recipe.clock if self._recipe.clock is not None else RealClock()
        chain = Chain(last, parts, clock, in_event_time=self._recipe.time is not None)
        chain.open()
        return chain

    def _last_node(self, parts: Parts) -> Node:
        """Make the nodes of one run, and note them in `parts`."""
        recipe = self._recipe
        node = _inlet(recipe.source, parts)
        if recipe.time is not None:
            node = Stamp(node, recipe.time)
        operators: list[Operator] = []
        idle_seconds = 0.0
        for step in recipe.steps:
            if isinstance(step, _OperatorStep):
                if not operators and step.idle_seconds is None and idle_seconds:
                    operators.append(ForgetIdle(idle_seconds))  # each pipeline forgets by itself
                operators.append(step.make())
                if step.idle_seconds is not None:
                    idle_seconds = step.idle_seconds
                    operators += [ForgetIdle(idle_seconds)] if idle_seconds else []
                continue
            node, operators = _behind(node, operators), []
            if isinstance(step, _StageStep):
                node = _stage(step, node, parts)
            elif isinstance(step, _RxStep):
                from gearshift.streams.rx import RxNode  # the extra `rx`

                node = RxNode(node, step.operators)
            else:
                others = [each._last_node(parts) for each in step.streams]  # noqa: SLF001 - of our own class
                merge = Merge if recipe.time is None else MergeByTime
                node = merge([node, *others])
        return _behind(node, operators)


@overload
def stream(
    source: LiveSource, /, *, clock: Clock | None = None, time: Callable[[Any], float] | None = None
) -> Stream[Any]: ...
@overload
def stream(
    source: Iterable[T] | AsyncIterable[T],
    /,
    *,
    clock: Clock | None = None,
    time: Callable[[T], float] | None = None,
) -> Stream[T]: ...
def stream(
    source: Any, /, *, clock: Clock | None = None, time: Callable[[Any], float] | None = None
) -> Stream[Any]:
    """Return a stream of the items of a source; nothing runs before it is iterated or started.

    Args:
        source: An iterable, an asynchronous iterable, or a live source of `gs.sources`. An
            iterator can be run once only, as ever.
        clock: What time it is for operators, such as `gearshift.testing.VirtualClock`; None
            means real time.
        time: Tells when an item happened, in seconds; then operators go by that (event time)
            and not by the clock. An item that is late counts as of the time that was reached.

    Raises:
        TypeError: `source` is none of these, or `time` cannot be called.

    Example:
        >>> import gearshift as gs
        >>> list(gs.stream(range(6)).filter(lambda n: n % 2).map(lambda n: n * n))
        [1, 9, 25]
    """
    if isinstance(source, Stream):
        raise TypeError("source is a stream already: go on with its methods, or merge it")
    if isinstance(source, Emitter):
        raise TypeError("source is an emitter: say which of its events, as in emitter.on('name')")
    if not isinstance(source, LiveSource | Iterable | AsyncIterable) or isinstance(source, type):
        raise TypeError(
            f"source={source!r} is neither an iterable nor a live source, such as gs.sources.channel()"
        )
    if time is not None and not callable(time):
        raise TypeError(f"time={time!r} is not a function that tells when an item happened")
    return Stream(_Recipe(source, clock, time))


def _name_of(step: _Step) -> str:
    """Write a step as it was called, about."""
    if isinstance(step, _StageStep):
        return f"{step.kind}({name_of(step.function)})"
    if isinstance(step, _OperatorStep):
        return f"{step.make().name}()"
    return "rx()" if isinstance(step, _RxStep) else "merge()"


def _inlet(source: Any, parts: Parts) -> Node:
    """Return the first node."""
    if isinstance(source, LiveSource):
        live = LiveInlet(source)
        parts.live_inlets.append(live)
        return live
    if isinstance(source, AsyncIterable) and not isinstance(source, Iterable):
        from gearshift.streams.async_inlet import AsyncInlet  # asyncio, for those who need it

        asynchronous = AsyncInlet(aiter(source))
        parts.async_inlets.append(asynchronous)
        return asynchronous
    inlet = IterableInlet(make_source(source))
    parts.inlets.append(inlet)
    return inlet


def _behind(node: Node, operators: list[Operator]) -> Node:
    """Put operators behind a node, if there are any."""
    return Operating(node, Pipeline(operators)) if operators else node


def _stage(step: _StageStep, child: Node, parts: Parts) -> Stage:
    """Put a function with its pump behind a node."""
    in_turn = step.options.get("ordered", True) and step.errors != "skip"
    total = step.options.get("total")
    link = Link(child.total if total is None else total)
    pump, job = make_pump(
        work_of(step.function, step.kind),
        link,
        star=step.options.get("star", False),
        errors=stand_in_of(step.errors, step.kind),
        options=step.options,
        pairs=not in_turn,
    )
    parts.pumps.append(pump)
    stage = Stage(
        child,
        link,
        pump,
        job,
        kind=step.kind,
        in_turn=in_turn,
        keeps_all=step.errors != "skip",
        may_fail=step.errors == "return",
    )
    if step.errors == "skip":
        pump.note_failures(stage.forget)
    return stage


def _itself(item: Any) -> Any:
    return item
