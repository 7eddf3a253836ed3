"""Frozen values that the rooms hand to one another: what is, never what to do.

Apart from the rest so that pure rooms (`_choose`, the ledger) and busy ones (engines,
pump) speak of the same things without importing each other. No value here holds a
thread, a file or a clock. Times are float seconds. What is made for each message is a
named tuple: a frozen dataclass takes three times as long. Over 400 lines because a value and what
it says of itself stand together, and nearly all of it is their description.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gearshift.plans import Plan

__all__ = [
    "LEFT",
    "STREAM",
    "Chunk",
    "Failure",
    "FailureKind",
    "Fault",
    "Rate",
    "Report",
    "Retry",
    "Returned",
    "Settled",
    "Traits",
    "message_of",
    "type_name",
]

_SHOWN_CHARACTERS = 200


class _Left:
    """The outcome of an item that was not to be run."""

    def __repr__(self) -> str:
        return "LEFT"


LEFT = _Left()

Stops = Literal["kill", "cancel", "abandon", "no"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an engine can do and what it costs.

    Attributes:
        name: The engine's name, as in `on=`.
        parallel_python: Two tasks of pure Python run at the same time.
        shares_memory: Tasks see and may change the caller's objects.
        pickles: Function, items and outcomes are pickled on their way.
        in_caller: Tasks run in the thread that iterates the run.
        coroutines_only: Tasks must be coroutine functions.
        stops: How a running task is stopped: killed, cancelled, abandoned, or not at all.
        survives_death: The death of a worker costs its item only.
        resizable: `resize` changes the number of workers while it runs.
        start_seconds: Typical time from nothing to the first worker.
        handoff_seconds: Typical time to send one chunk and get its answer.
    """

    name: str
    parallel_python: bool = False
    shares_memory: bool = True
    pickles: bool = False
    in_caller: bool = False
    coroutines_only: bool = False
    stops: Stops = "no"
    survives_death: bool = False
    resizable: bool = False
    start_seconds: float = 0.0
    handoff_seconds: float = 0.0


class Chunk(NamedTuple):
    """Items sent together.

    Attributes:
        first: Index of the first item.
        items: The items, at least one.
        attempt: 1, or more for an item that is tried again.
    """

    first: int
    items: Sequence[Any]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """How one call of the function failed.

    Attributes:
        exception: What it raised, or what became of its worker.
        seconds: How long the attempt took; an upper bound where items travelled together.
    """

    exception: BaseException
    seconds: float = 0.0


_NO_FAULTS: Mapping[int, Fault] = MappingProxyType({})


class Settled(NamedTuple):
    """The outcomes of consecutive items.

    Attributes:
        first: Index of the first item.
        values: One value per item; what stands at a failed item's place is not used.
        failed: The faults, by the item's index.
        busy_seconds: Wall time that the worker spent on these items.
        cpu_seconds: CPU time of the worker's thread on these items.
        worker: Name of the worker that ran them, unique within the engine, or "" where nobody can say.
        sent_bytes: Bytes that the items took on their way to the worker; 0 where memory is shared.
        received_bytes: Bytes that their outcomes took on the way back.
    """

    first: int
    values: Sequence[Any]
    failed: Mapping[int, Fault] = _NO_FAULTS
    busy_seconds: float = 0.0
    cpu_seconds: float = 0.0
    worker: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Returned:
    """Items that a lane gives back: not run, or their outcome is gone.

    Attributes:
        first: Index of the first item.
        count: How many, consecutive.
    """

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that has no value.

    Attributes:
        index: The item's place among the inputs, from 0.
        item: The item itself.
        exception: What its last attempt raised.
        attempts: How often it was tried.
        seconds: How long the last attempt took; an upper bound where items travelled together.
    """

    index: int
    item: Any
    exception: BaseException
    attempts: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often a failed item is tried again.

    An exception that has a number in its attribute `retry_after` (seconds) is waited
    for that long instead, at most `longest_wait`.

    Attributes:
        retries: How often at most, 0 or more.
        wait: Seconds before the first retry; it doubles with every further one.
        on: Exception types that are worth a retry.
        longest_wait: Upper bound of a wait, in seconds.
        jitter: Share of a wait that is random, 0 to 1, so that items that failed
            together do not return together.

    Raises:
        TypeError: `retries` is not an int, or `on` holds something else than exception types.
        ValueError: A number is out of its range.
    """

    retries: int
    wait: float = 0.1
    on: tuple[type[BaseException], ...] = (Exception,)
    longest_wait: float = 5.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            TypeError: `retries` or `on` is of the wrong type.
            ValueError: A number is out of its range.
        """
        if isinstance(self.retries, bool) or not isinstance(self.retries, int):
            raise TypeError(
                f"retries={self.retries!r} is not a whole number: say how often to try again, such as 3"
            )
        if self.retries < 0:
            raise ValueError(
                f"retries={self.retries!r} is below 0: 0 means that nothing is tried again"
            )
        if isinstance(self.on, type) and issubclass(self.on, BaseException):
            object.__setattr__(self, "on", (self.on,))
        if not isinstance(self.on, tuple) or not all(
            isinstance(kind, type) and issubclass(kind, BaseException) for kind in self.on
        ):
            raise TypeError(f"on={self.on!r} is not a tuple of exception types, such as (OSError,)")
        for name in ("wait", "longest_wait", "jitter"):
            _check_number(name, getattr(self, name))
        if not 0 <= self.wait < float("inf"):
            raise ValueError(f"wait={self.wait!r} is not a number of seconds, 0 or more")
        if not 0 <= self.longest_wait < float("inf"):
            raise ValueError(
                f"longest_wait={self.longest_wait!r} is not a number of seconds, 0 or more"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter={self.jitter!r} is not a share from 0 to 1")

    def wants(self, exception: BaseException, attempts: int) -> bool:
        """Say whether an item that failed `attempts` times is tried again."""
        return attempts <= self.retries and isinstance(exception, self.on)

    def delay(self, exception: BaseException, attempts: int, chance: float) -> float:
        """Return the seconds to wait after the failure numbered `attempts`, from 1.

        Args:
            exception: What the attempt raised; its `retry_after` is honoured.
            attempts: How often the item was tried so far.
            chance: A random number from 0 to 1, the source of the jitter.

        Returns:
            Seconds, 0 to `longest_wait`.
        """
        try:
            asked = getattr(exception, "retry_after", None)
        except Exception:  # a property of the user's that fails is no request
            asked = None
        if isinstance(asked, int | float) and not isinstance(asked, bool) and asked >= 0:
            return min(float(asked), self.longest_wait)
        doubled = min(self.wait * 2.0 ** min(attempts - 1, 64), self.longest_wait)
        return doubled * (1 - self.jitter * chance)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` starts in any `per` seconds, retries included.

    Attributes:
        count: Starts, at least 1.
        per: Length of the window in seconds, above 0.

    Raises:
        TypeError: `count` is not a whole number.
        ValueError: A number is out of its range.
    """

    count: int
    per: float = 1.0

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            TypeError: `count` is not a whole number.
            ValueError: A number is out of its range.
        """
        if isinstance(self.count, bool) or not isinstance(self.count, int):
            raise TypeError(
                f"count={self.count!r} is not a whole number: for half a start a second say Rate(1, per=2.0)"
            )
        if self.count < 1:
            raise ValueError(f"count={self.count!r} is below 1: nothing would ever start")
        _check_number("per", self.per)
        if not 0 < self.per < float("inf"):
            raise ValueError(f"per={self.per!r} is not a number of seconds above 0")


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Failures of one type.

    Attributes:
        type: Name of the exception's type.
        count: Items that failed for good with it.
        example: The first of them.
    """

    type: str
    count: int
    example: Failure


STREAM = "stream"  # the engine of a report that is a stream's


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did.

    Attributes:
        engine: Name of the engine that ran the items (of the last one, under auto).
        workers: Workers of that engine, or the items that were with it at once, if fewer.
        reasons: Why that engine, a sentence each.
        items: Items with an outcome.
        succeeded: Items with a value.
        failed: Items without one.
        retried: Attempts beyond the first.
        replayed: Items whose values came from a journal, and were not run again.
        timeouts: Attempts that ran longer than `task_timeout`.
        deaths: Attempts that a worker's death ended.
        replaced: Workers that were replaced, by why: "died", "task_timeout", "max_tasks_per_worker",
            "worker_memory_limit".
        abandoned: Tasks that went on after their time was up; their results were dropped.
        failures: The first failures, at most 1,000.
        kinds: Failures by type, the most frequent first.
        seconds: Wall time from the first `next()` to the end or to now.
        busy_seconds: Sum of the wall time that workers spent in the function.
        cpu_seconds: Sum of the CPU time that workers spent in the function.
        finished: The run came to its end by itself.
        plan: What auto chose last, and what it was chosen from, or None.
        planned_seconds: What the rest was expected to take when the engine was chosen (auto).
        actual_seconds: What it took, or has taken so far.
        shares: Of each worker's time since the engine started, the part spent in the function;
            empty where workers do not have names (asyncio).
        sent_bytes: What items took on their way to workers that share no memory.
        received_bytes: What outcomes took on the way back.
        dropped: Of a stream: items that its source gave up, since they came faster than they were taken.
        stages: Of a stream: the report of each function, the first one first. Then `items` came in,
            and `succeeded` were given out.
    """

    engine: str
    workers: int
    reasons: tuple[str, ...]
    items: int
    succeeded: int
    failed: int
    retried: int
    abandoned: int
    failures: tuple[Failure, ...]
    seconds: float
    busy_seconds: float
    cpu_seconds: float
    finished: bool
    replayed: int = 0
    timeouts: int = 0
    deaths: int = 0
    replaced: Mapping[str, int] = field(default_factory=dict)
    kinds: tuple[FailureKind, ...] = ()
    plan: Plan | None = None
    planned_seconds: float | None = None
    actual_seconds: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    sent_bytes: int = 0
    received_bytes: int = 0
    dropped: int = 0
    stages: tuple[Report, ...] = ()

    def __str__(self) -> str:
        """Say it in a few lines, those of them that have something to say."""
        if self.engine == STREAM:
            lines = [f"{self.items:,} items came in within {self.seconds:.3g} s, {self._fates()}"]
            lines += [
                f"stage {place}: {line}" if not n else f"    {line}"
                for place, stage in enumerate(self.stages, 1)
                for n, line in enumerate(str(stage).splitlines())
            ]
            return "\n".join(lines)
        counts = f"{self.succeeded:,} succeeded, {self.failed:,} failed"
        where = f"on {self.engine} with {self.workers:,} worker{'s' * (self.workers != 1)}"
        lines = [f"{self.items:,} items in {self.seconds:.3g} s {where}: {counts}"]
        if self.reasons:
            lines.append(f"why {self.engine}: {'; '.join(self.reasons)}")
        if self.planned_seconds is not None and self.actual_seconds is not None:
            lines.append(
                f"planned: {self.planned_seconds:.2g} s for the rest; it took {self.actual_seconds:.2g} s"
            )
        lines += [
            f"{kind.type}: {kind.count:,}, the first was item {kind.example.index}: {_one_line(kind.example)}"
            for kind in self.kinds
        ]
        lines += self._counted()
        return "\n".join(lines)

    def _fates(self) -> str:
        """Say what became of the items of a stream."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        dropped = f", {self.dropped:,} dropped by the source" if self.dropped else ""
        return f"{self.succeeded:,} were given out{failed}{dropped}"

    def _counted(self) -> list[str]:
        """Return lines about what happened beside the items."""
        counts = {
            "from the journal": self.replayed,
            "retries": self.retried,
            "time-outs": self.timeouts,
            "deaths of workers": self.deaths,
            "abandoned tasks": self.abandoned,
        }
        told = [f"{count:,} {what}" for what, count in counts.items() if count]
        lines = [", ".join(told)] if told else []
        if self.replaced:
            many = sum(self.replaced.values())
            why = ", ".join(f"{why} {count:,}" for why, count in sorted(self.replaced.items()))
            lines.append(f"{many:,} worker{'s' * (many != 1)} replaced: {why}")
        if self.shares:
            shares = sorted(self.shares.values())
            each = (
                f"{shares[0]:.0%}" if len(shares) == 1 else f"{shares[0]:.0%} to {shares[-1]:.0%}"
            )
            lines.append(
                f"{len(shares):,} worker{'s' * (len(shares) != 1)} busy for {each} of the time"
            )
        if self.sent_bytes or self.received_bytes:
            lines.append(f"{self.sent_bytes:,} bytes sent, {self.received_bytes:,} received")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON.

        Returns:
            The attributes by name; a failure as index, item (its `repr`), type, message,
            attempts, seconds; and `schema`, 1, to be counted up if a name changes its meaning.
        """
        names = [
            each.name for each in fields(self) if each.name not in {"failures", "kinds", "plan"}
        ]
        return {
            "schema": 1,
            **{name: getattr(self, name) for name in names},
            "reasons": list(self.reasons),
            "shares": dict(self.shares),
            "replaced": dict(self.replaced),
            "speedup": self.speedup,
            "plan": None if self.plan is None else self.plan.as_dict(),
            "stages": [stage.as_dict() for stage in self.stages],
            "kinds": [
                {"type": kind.type, "count": kind.count, "example": _plain_failure(kind.example)}
                for kind in self.kinds
            ],
            "failures": [_plain_failure(failure) for failure in self.failures],
        }

    @property
    def speedup(self) -> float:
        """Time in the function over wall time: how many workers' worth of work was done at once."""
        return self.busy_seconds / self.seconds if self.seconds > 0 else 0.0


def type_name(exception: BaseException) -> str:
    """Return the name of an exception's type, also of one that stayed in its worker."""
    from gearshift.errors import RemoteError  # only where something failed

    if isinstance(exception, RemoteError):
        return exception.type_name.rpartition(".")[2]
    return type(exception).__name__


def message_of(exception: BaseException) -> str:
    """Return what an exception says, even where its own `__str__` fails."""
    from gearshift.errors import RemoteError  # only where something failed

    if isinstance(exception, RemoteError):
        return exception.message
    try:
        return str(exception)
    except Exception as broken:
        return f"(its message cannot be shown: {type(broken).__name__})"


def _one_line(failure: Failure) -> str:
    words = " ".join(message_of(failure.exception).split())
    return words if len(words) <= _SHOWN_CHARACTERS else f"{words[: _SHOWN_CHARACTERS - 3]}..."


def _plain_failure(failure: Failure) -> dict[str, Any]:
    try:
        item = repr(failure.item)
    except Exception:
        item = f"a {type(failure.item).__qualname__} whose repr fails"
    return {
        "index": failure.index,
        "item": item,
        "type": type_name(failure.exception),
        "message": message_of(failure.exception),
        "attempts": failure.attempts,
        "seconds": failure.seconds,
    }


def _check_number(name: str, value: object) -> None:
    """Refuse what is no number.

    Raises:
        TypeError: It is of another type.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r} is not a number")
