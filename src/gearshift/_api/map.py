"""`gs.map` and `gs.each`: one function over many inputs.

Over 400 lines, most of them the options: what each means, and what is refused, by name and value.
"""

from __future__ import annotations

import os
import random
from builtins import map as builtin_map  # `map` is ours below
from collections.abc import AsyncIterable, Collection, Iterable
from concurrent.futures import Executor
from contextvars import copy_context
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

from gearshift._run.gears import Gears
from gearshift._run.ledger import Ledger
from gearshift._run.pump import Pump
from gearshift._run.run import Run
from gearshift._run.source import Source
from gearshift._work.run_chunk import is_coroutine_function
from gearshift._work.scope import is_nested
from gearshift.engines.base import Engine, Job, check_workers
from gearshift.engines.registry import check_name, make_engine
from gearshift.facts import Failure, Rate, Report, Retry
from gearshift.host import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gearshift._run.auto import Trial
    from gearshift._run.journal import Journal
    from gearshift._run.ledger import Errors
    from gearshift._run.progress import Meter, Progress
    from gearshift.plans import Hazards

__all__ = [
    "Obstacles",
    "Options",
    "check_task",
    "each",
    "make_pump",
    "make_source",
    "map",
    "run_map",
]

R = TypeVar("R")
S = TypeVar("S")

_ERRORS = ("raise", "return", "skip")


class Options(TypedDict, total=False):
    """The options of `gs.map`, for type checkers."""

    on: str | Engine | Executor
    workers: int | None
    chunksize: int | None
    buffersize: int | None
    ordered: bool
    star: bool
    retries: int | Retry
    task_timeout: float | None
    limit: Rate | None
    memory_limit: float | None
    seed: int | None
    journal: str | os.PathLike[str] | Journal | None
    total: int | None
    progress: bool | Callable[[Progress], object] | None


@overload
def map(
    fn: Callable[..., Coroutine[Any, Any, R]],
    /,
    *iterables: Iterable[Any] | AsyncIterable[Any],
    errors: Literal["raise", "skip"] = "raise",
    **options: Unpack[Options],
) -> Run[R]: ...
@overload
def map(
    fn: Callable[..., Coroutine[Any, Any, R]],
    /,
    *iterables: Iterable[Any] | AsyncIterable[Any],
    errors: Literal["return"],
    **options: Unpack[Options],
) -> Run[R | Failure]: ...
@overload
def map(
    fn: Callable[..., R],
    /,
    *iterables: Iterable[Any] | AsyncIterable[Any],
    errors: Literal["raise", "skip"] = "raise",
    **options: Unpack[Options],
) -> Run[R]: ...
@overload
def map(
    fn: Callable[..., R],
    /,
    *iterables: Iterable[Any] | AsyncIterable[Any],
    errors: Literal["return"],
    **options: Unpack[Options],
) -> Run[R | Failure]: ...
@overload
def map(
    fn: Callable[..., Coroutine[Any, Any, R]],
    /,
    *iterables: Iterable[Any] | AsyncIterable[Any],
    errors: Callable[[Failure], S],
    **options: Unpack[Options],
) -> Run[R | S]: ...
@overload
def map(
    fn: Callable[..., R],
    /,
    *iterables: Iterable[Any] | AsyncIterable[Any],
    errors: Callable[[Failure], S],
    **options: Unpack[Options],
) -> Run[R | S]: ...
def map(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any] | AsyncIterable[Any],
    on: str | Engine | Executor = "auto",
    workers: int | None = None,
    chunksize: int | None = None,
    buffersize: int | None = None,
    ordered: bool = True,
    star: bool = False,
    errors: Errors | Callable[[Failure], Any] = "raise",
    retries: int | Retry = 0,
    task_timeout: float | None = None,
    limit: Rate | None = None,
    memory_limit: float | None = None,
    seed: int | None = None,
    journal: str | os.PathLike[str] | Journal | None = None,
    total: int | None = None,
    progress: bool | Callable[[Progress], object] | None = None,
) -> Run[Any]:
    """Run a function over inputs on the engine that suits it, and return its values.

    Values come in the order of the inputs, each as soon as it is its turn; inputs are
    taken as they are needed, so both may be endless. Nothing runs before the first
    value is asked for. The result is an iterator and an asynchronous iterator; used in
    a `with` block it is sure to leave nothing behind.

    Args:
        fn: The function; a coroutine function (`async def`) too.
        *iterables: Its inputs; of several, one argument comes from each, as in the
            built-in `map`, and the shortest ends it.
        on: "auto" measures the first items and chooses; or an engine's name ("serial",
            "threads", "asyncio", "processes"), an engine of `gs.engines`, or any
            `concurrent.futures.Executor`.
        workers: How many tasks run at once; None lets the engine say.
        chunksize: Items that are sent together; None keeps it tuned.
        buffersize: Items between source and consumer at most; None bounds them automatically.
        ordered: False gives values as they come.
        star: Each item is a tuple of arguments, or a dict of keywords.
        errors: What becomes of an item that fails: "raise" its exception at its turn,
            "return" a `gs.Failure` in its place, or "skip" it (the report keeps it); or a function,
            which is given the `gs.Failure` and returns what stands in its place.
        retries: How often a failed item is tried again, or a `gs.Retry`.
        task_timeout: Seconds that one task may take; after that it is stopped in the way
            of the engine and fails with `gs.TaskTimeoutError`. Chunks are of one item then.
        limit: At most so many starts per time, as in `gs.Rate(100, per=1.0)`, retries included.
        memory_limit: Memory that may be in use in this container (cgroup) or on this machine, as a share up
            to 1 or in bytes; above it one task runs at a time until less is in use. None means 0.8, or half
            of what is free where that is more.
        seed: Makes `gs.item_seed()` work inside the function.
        journal: A file, or a `gs.Journal`, that keeps what has settled: a second call with it
            gives those values at their turn, and runs the rest and what failed.
        total: How many inputs there are, where they cannot say themselves.
        progress: True shows on standard error how far it is: a bar on a terminal, a line in a
            notebook, else a line every 10 s; a function is given a `gs.Progress` instead.

    Returns:
        The run.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a wrong value.

    Example:
        >>> import gearshift as gs
        >>> list(gs.map(pow, [2, 3, 4], [5, 2, 1]))
        [32, 9, 4]
    """
    return run_map(
        fn,
        iterables,
        on=on,
        workers=workers,
        chunksize=chunksize,
        buffersize=buffersize,
        ordered=ordered,
        star=star,
        errors=errors,
        retries=retries,
        task_timeout=task_timeout,
        limit=limit,
        memory_limit=memory_limit,
        seed=seed,
        journal=journal,
        total=total,
        progress=progress,
    )


def each(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    errors: Errors | Callable[[Failure], Any] = "raise",
    **options: Unpack[Options],
) -> Report:
    """Run a function over inputs for its side effect, to the end, and return the report.

    Args:
        fn: The function; what it returns is dropped.
        *iterables: As in `gs.map`.
        errors: As in `gs.map`; with "return" and "skip" the report has the failures.
        **options: As in `gs.map`; items are done in any order unless `ordered=True`.

    Returns:
        What the run did.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a wrong value.
    """
    options.setdefault("ordered", False)
    with run_map(fn, iterables, errors=errors, **options) as run:
        for _ in run:
            pass
        return run.report


def run_map(
    fn: Callable[..., Any],
    iterables: tuple[Any, ...],
    *,
    errors: Errors | Callable[[Failure], Any] = "raise",
    pairs: bool = False,
    trial: Trial | None = None,
    **options: Unpack[Options],
) -> Run[Any]:
    """Do the work of `gs.map`; with `pairs` the run gives `(index, item, outcome)`, for a `trial` it only measures.

    Raises:
        TypeError: As in `gs.map`, or there is no such option.
    """
    check_task(fn, errors=errors, options=options)
    source, star = _source(iterables, options.get("total"), star=options.get("star", False))
    return Run(
        *make_pump(fn, source, star=star, errors=errors, pairs=pairs, trial=trial, options=options)
    )


def check_task(fn: object, *, errors: Errors | Callable[[Failure], Any], options: Options) -> None:
    """Refuse a function and options that make no sense, before anything is made of them.

    Raises:
        TypeError: Something is of the wrong type.
        ValueError: An option has a wrong value.
    """
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"got an unexpected keyword argument {min(unknown)!r}: "
            f"there are {', '.join(Options.__annotations__)}"
        )
    _check_callable(fn)
    _check_engine(options.get("on", "auto"), options.get("workers"))
    _check_options(errors=errors, options=options)


def make_pump(
    fn: Callable[..., Any],
    source: Source,
    *,
    star: bool,
    errors: Errors | Callable[[Failure], Any],
    options: Options,
    pairs: bool = False,
    trial: Trial | None = None,
) -> tuple[Pump, Job]:
    """Put together what moves the items of one function, and what its workers need to know.

    Args:
        fn: The function.
        source: Where its items come from.
        star: Each item is a tuple of arguments or a dict of keywords.
        errors: As in `gs.map`.
        options: As in `gs.map`; `check_task` has seen them.
        pairs: Give `(index, item, outcome)`.
        trial: Only measure, for this.
    """
    workers = options.get("workers")
    retries = options.get("retries", 0)
    limit = options.get("limit")
    engine = _check_engine(options.get("on", "auto"), workers)
    job = Job(
        function=fn,
        star=star,
        seed=options.get("seed"),
        task_timeout=options.get("task_timeout"),
        context=copy_context(),
        queued=2
        if limit is None
        else 1,  # a chunk that waits in a worker's queue starts when it likes
    )
    ledger = Ledger(
        ordered=options.get("ordered", True),
        errors=errors if isinstance(errors, str) else "return",
        instead=None if isinstance(errors, str) else errors,
        retry=retries if isinstance(retries, Retry) else Retry(retries),
        pairs=pairs,
        chance=random.Random().random,  # noqa: S311 - jitter; its own, so that the user's seeded generator stays as it is
    )
    coroutine = is_coroutine_function(fn)
    gears = Gears(
        on=engine,
        make=make_engine,
        workers=workers,
        job=job,
        coroutine=coroutine,
        cores=cores(),
        nested=is_nested(),
        obstacles=Obstacles(job),
        in_running_loop=coroutine and _is_in_running_loop(),
        reasons=_first_reasons(engine, workers),
        trial=trial,
    )
    pump = Pump(
        source,
        ledger,
        gears,
        chunksize=options.get("chunksize"),
        buffersize=options.get("buffersize"),
        limit=limit,
        memory_limit=options.get("memory_limit"),
        journal=_journal(options.get("journal")),
        meter=_meter(options.get("progress")),
    )
    ledger.describe = gears.describe
    return pump, job


def _check_callable(fn: object) -> None:
    if not callable(fn):
        raise TypeError(f"fn={fn!r} is not callable: the function comes first, then its inputs")
    if isasyncgenfunction(fn):
        raise TypeError(
            f"fn={fn!r} is an asynchronous generator function: its values would be generators nobody reads"
        )


def _check_engine(on: object, workers: int | None) -> str | Engine:
    """Return the name or the engine that `on` means.

    Raises:
        TypeError: `on` is none of what it may be, or `workers` is not a whole number.
        ValueError: There is no such engine, or `workers` stands beside an instance.
    """
    check_workers(workers)
    if isinstance(on, str):
        check_name(on)
        return on
    if isinstance(on, type) or not isinstance(on, Engine | Executor):
        raise TypeError(
            f'on={on!r} is not an engine: give a name such as "threads", an engine such as '
            "gs.engines.ThreadExecutor(8), or a concurrent.futures.Executor"
        )
    if workers is not None:
        raise ValueError(
            f"workers={workers!r} beside on={on!r}: the instance has its workers already; "
            'say how many when you make it, or give a name such as on="threads"'
        )
    if isinstance(on, Engine):
        return on
    from gearshift.engines.foreign import ForeignEngine  # pickling, for those who need it

    return ForeignEngine(on)


def _check_options(*, errors: object, options: Options) -> None:
    """Refuse what makes no sense, by name and value.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option has a wrong value.
    """
    if not callable(errors) and errors not in _ERRORS:
        names = ", ".join(builtin_map(repr, _ERRORS))
        raise ValueError(
            f"errors={errors!r} is not one of {names}, or a function that is given a gs.Failure"
        )
    for name in ("chunksize", "buffersize", "total"):
        _check_whole(name, options.get(name), least=0 if name == "total" else 1)
    _check_whole("seed", options.get("seed"), least=None)
    for name in ("ordered", "star"):
        if not isinstance(options.get(name, False), bool):
            raise TypeError(f"{name}={options.get(name)!r} is not True or False")
    retries = options.get("retries", 0)
    if not isinstance(retries, Retry):
        _check_whole("retries", retries, least=0)
    limit = options.get("limit")
    if limit is not None and not isinstance(limit, Rate):
        raise TypeError(f"limit={limit!r} is not a gs.Rate, such as gs.Rate(100, per=1.0)")
    _check_memory_limit(options.get("memory_limit"))
    _check_timeout(options)


def _check_memory_limit(limit: object) -> None:
    """Refuse a `memory_limit` that makes no sense.

    Raises:
        TypeError: It is not a number.
        ValueError: It is neither a share nor bytes.
    """
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise TypeError(
            f"memory_limit={limit!r} is not a number: give a share such as 0.5, or bytes"
        )
    if not 0 < limit < float("inf"):
        raise ValueError(
            f"memory_limit={limit!r} is neither a share up to 1 nor a number of bytes above 1"
        )


def _check_timeout(options: Options) -> None:
    """Refuse a `task_timeout` that makes no sense.

    Raises:
        TypeError: It is not a number.
        ValueError: It is no length of time, or stands beside a `chunksize`.
    """
    timeout = options.get("task_timeout")
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"task_timeout={timeout!r} is not a number of seconds")
    if not 0 < timeout < float("inf"):
        raise ValueError(
            f"task_timeout={timeout!r} is not a number of seconds above 0; None means no limit"
        )
    if (options.get("chunksize") or 1) > 1:
        raise ValueError(
            f"chunksize={options.get('chunksize')!r} beside task_timeout: a task can only be timed alone"
        )


def _journal(given: str | os.PathLike[str] | Journal | None) -> Journal | None:
    """Return the journal that is meant.

    Raises:
        TypeError: It is none, nor a path.
    """
    if given is None:
        return None
    from gearshift._run.journal import Journal  # JSON and pickling, for those who need it

    if isinstance(given, Journal):
        return given
    if isinstance(given, str | os.PathLike):
        return Journal(given)
    raise TypeError(f"journal={given!r} is neither a path nor a gs.Journal")


def _meter(asked: Callable[[Progress], object] | bool | None) -> Meter | None:  # noqa: FBT001 - as given
    """Return what shows the progress, or None.

    Raises:
        TypeError: It is neither True nor False nor a function.
    """
    if asked is None or asked is False:
        return None
    if asked is not True and not callable(asked):
        raise TypeError(
            f"progress={asked!r} is neither True nor a function to be given gs.Progress"
        )
    from gearshift._run.bars import display  # for those who watch
    from gearshift._run.progress import Meter  # the same

    return Meter(display(asked))


def _check_whole(name: str, value: object, *, least: int | None) -> None:
    """Refuse an option that is neither None nor a whole number of at least `least`.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is too small.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r} is not a whole number")
    if least is not None and value < least:
        raise ValueError(f"{name}={value!r} is below {least}")


def _source(iterables: tuple[Any, ...], total: int | None, *, star: bool) -> tuple[Source, bool]:
    """Return where items come from, and whether they are starred.

    Raises:
        TypeError: There are no inputs, or something that cannot be iterated.
    """
    if not iterables:
        raise TypeError("there are no inputs: give at least one iterable after the function")
    for place, iterable in enumerate(iterables, 1):
        can_iterate = isinstance(iterable, Iterable | AsyncIterable) or hasattr(
            iterable, "__getitem__"
        )
        if isinstance(iterable, type) or not can_iterate:
            raise TypeError(f"input {place} is {iterable!r}, which cannot be iterated")
    if total is None and all(isinstance(iterable, Collection) for iterable in iterables):
        total = min(builtin_map(len, iterables))
    if len(iterables) > 1:
        if star:
            raise TypeError(
                f"star=True beside {len(iterables)} iterables: zip them, or leave star out"
            )
        if any(_is_async(iterable) for iterable in iterables):
            raise TypeError(
                "an asynchronous iterable cannot be paired with others: give one that yields tuples, and star=True"
            )
        zipped = zip(*iterables, strict=False)
        return Source(
            zipped, total=total, may_block=not all(builtin_map(_is_instant, iterables))
        ), True
    (iterable,) = iterables
    if _is_async(iterable):
        return Source(aiter(iterable), total=total, is_async=True), star
    return make_source(iterable, total), star


def make_source(iterable: Iterable[Any], total: int | None = None) -> Source:
    """Return a source of what an iterable gives.

    Args:
        iterable: Is asked for its iterator here.
        total: How many items that are, where it cannot say so itself.
    """
    if total is None and isinstance(iterable, Collection):
        total = len(iterable)
    return Source(iter(iterable), total=total, may_block=not _is_instant(iterable))


_INSTANT = (list, tuple, range, dict, set, frozenset, str, bytes, bytearray, memoryview)
_INSTANT_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


def _is_instant(iterable: object) -> bool:
    """Whether its next item is never waited for."""
    return type(iterable) in _INSTANT or type(iterable) in _INSTANT_VIEWS


def _is_async(iterable: object) -> bool:
    return isinstance(iterable, AsyncIterable) and not isinstance(iterable, Iterable)


def _first_reasons(engine: str | Engine, workers: int | None) -> tuple[str, ...]:
    """Return what the report says before anything was measured."""
    if engine == "serial" and workers not in {None, 1}:
        return ("you asked for serial", f"workers={workers} is ignored there: there is one caller")
    if engine == "auto":
        return ()
    name = engine if isinstance(engine, str) else engine.traits.name
    return (f"you asked for {name}",)


class Obstacles:
    """What may keep a job off an engine; the function's code is looked at once."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._hazards: Hazards | None = None

    def threads(self) -> str | None:
        """Return why threads might change the result, or None."""
        return self._found().no_threads

    def processes(self, value: object) -> str | None:
        """Return why processes might, or cannot be had, or None."""
        return self._found().no_processes or _obstacle(self._job, value)

    def _found(self) -> Hazards:
        if self._hazards is None:
            from gearshift._measure.hazards import hazards_of  # only where workers would pay off

            self._hazards = hazards_of(self._job.function)
        return self._hazards


def _obstacle(job: Job, sample: object) -> str | None:
    """Return why the job cannot go to processes, or None."""
    from gearshift._work.run_chunk import Task  # only where processes would pay off
    from gearshift._work.transport import pack_task, why_unpicklable
    from gearshift.engines.processes import obstacle
    from gearshift.errors import TransportError

    try:
        pack_task(Task(job.function, star=job.star, seed=job.seed))
    except TransportError as error:
        return str(error)
    return why_unpicklable(sample) or obstacle()


def _is_in_running_loop() -> bool:
    """Whether an event loop runs in this thread."""
    import asyncio  # asked for coroutine functions only, which have loaded it mostly

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
