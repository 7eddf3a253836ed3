"""The frozen values: what they refuse, and how long a retry waits. The errors' words too."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from concurrent.futures import BrokenExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift import errors, facts
from gearshift.facts import Chunk, Failure, Fault, Rate, Report, Retry, Settled

SHARES = st.floats(0, 1)


class Busy(OSError):  # noqa: N818 - a name as users' own
    def __init__(self, retry_after: Any) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


# Retry.delay


@given(attempts=st.integers(1, 200), wait=st.floats(1e-6, 100), longest=st.floats(0, 1000))
def test_wait_doubles_up_to_the_longest(attempts: int, wait: float, longest: float) -> None:
    retry = Retry(3, wait=wait, longest_wait=longest, jitter=0)
    waits = [retry.delay(OSError(), number, 0.7) for number in (attempts, attempts + 1)]
    assert waits[1] == min(2 * waits[0], longest)
    assert retry.delay(OSError(), 1, 0.7) == min(wait, longest)


@given(jitter=SHARES, chance=SHARES, attempts=st.integers(1, 10**6))
def test_jitter_only_shortens_and_by_no_more_than_its_share(
    jitter: float, chance: float, attempts: int
) -> None:
    whole = Retry(3, jitter=0).delay(OSError(), attempts, chance)
    wait = Retry(3, jitter=jitter).delay(OSError(), attempts, chance)
    assert 0 <= whole * (1 - jitter) <= wait <= whole


def test_default_waits() -> None:
    retry = Retry(9)
    assert [retry.delay(OSError(), number, 0.0) for number in range(1, 9)] == [
        *(0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
        *(5.0, 5.0),
    ]
    assert retry.delay(OSError(), 1, 1.0) == 0.05


@pytest.mark.parametrize(
    ("asked", "wait"), [(0, 0.0), (2, 2.0), (0.25, 0.25), (3600, 5.0), (float("inf"), 5.0)]
)
def test_exceptions_own_wait_is_honoured_within_bounds(asked: float, wait: float) -> None:
    assert Retry(1).delay(Busy(asked), 3, 0.9) == wait


@pytest.mark.parametrize("asked", [-1, float("nan"), "2", None, True, [2]])
def test_exceptions_own_wait_is_ignored_where_it_is_none(asked: Any) -> None:
    assert Retry(1).delay(Busy(asked), 1, 0.0) == 0.1


class Shy(OSError):  # noqa: N818 - a name as users' own
    @property
    def retry_after(self) -> float:
        raise RuntimeError


def test_exception_that_fails_to_say_how_long_is_waited_for_as_any() -> None:
    assert Retry(1).delay(Shy(), 1, 0.0) == 0.1


# Retry.wants


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_never_more_attempts_than_asked(retries: int) -> None:
    retry = Retry(retries)
    assert [retry.wants(OSError(), number) for number in range(1, 6)] == [
        number <= retries for number in range(1, 6)
    ]


def test_only_the_named_exceptions_are_tried_again() -> None:
    assert Retry(1).wants(errors.WorkerDiedError(), 1)
    assert Retry(1).wants(errors.TaskTimeoutError(), 1)
    assert not Retry(1).wants(SystemExit(), 1)
    assert Retry(1, on=(OSError, KeyError)).wants(ConnectionError(), 1)
    assert not Retry(1, on=(OSError, KeyError)).wants(ValueError(), 1)
    assert not Retry(1, on=()).wants(ValueError(), 1)
    assert Retry(1, on=(BaseException,)).wants(SystemExit(), 1)


def test_one_exception_type_needs_no_tuple() -> None:
    assert Retry(1, on=OSError).on == (OSError,)  # type: ignore[arg-type]


# Arguments


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Retry(-1), ValueError, "retries=-1 is below 0"),
        (lambda: Retry(1.0), TypeError, "retries=1.0 is not a whole number"),  # type: ignore[arg-type]
        (lambda: Retry("3"), TypeError, "retries='3' is not a whole number"),  # type: ignore[arg-type]
        (lambda: Retry(True), TypeError, "retries=True is not a whole number"),
        (lambda: Retry(1, on=[OSError]), TypeError, "on=[<class 'OSError'>] is not a tuple"),  # type: ignore[arg-type]
        (lambda: Retry(1, on=(OSError, 3)), TypeError, "is not a tuple of exception types"),  # type: ignore[arg-type]
        (lambda: Retry(1, on=int), TypeError, "on=<class 'int'> is not a tuple"),  # type: ignore[arg-type]
        (lambda: Retry(1, on=None), TypeError, "on=None is not a tuple"),  # type: ignore[arg-type]
        (lambda: Retry(1, wait=-0.1), ValueError, "wait=-0.1 is not a number of seconds"),
        (lambda: Retry(1, wait=float("inf")), ValueError, "wait=inf"),
        (lambda: Retry(1, wait=float("nan")), ValueError, "wait=nan"),
        (lambda: Retry(1, wait="1"), TypeError, "wait='1'"),  # type: ignore[arg-type]
        (lambda: Retry(1, longest_wait=-1), ValueError, "longest_wait=-1"),
        (lambda: Retry(1, longest_wait=float("inf")), ValueError, "longest_wait=inf"),
        (lambda: Retry(1, longest_wait=None), TypeError, "longest_wait=None"),  # type: ignore[arg-type]
        (lambda: Retry(1, jitter=1.5), ValueError, "jitter=1.5 is not a share from 0 to 1"),
        (lambda: Retry(1, jitter=-0.5), ValueError, "jitter=-0.5"),
        (lambda: Retry(1, jitter="half"), TypeError, "jitter='half'"),  # type: ignore[arg-type]
        (lambda: Rate(0), ValueError, "count=0 is below 1: nothing would ever start"),
        (lambda: Rate(0.5), TypeError, "say Rate(1, per=2.0)"),  # type: ignore[arg-type]
        (lambda: Rate(True), TypeError, "count=True"),
        (lambda: Rate(1, per=0), ValueError, "per=0 is not a number of seconds above 0"),
        (lambda: Rate(1, per=float("inf")), ValueError, "per=inf"),
        (lambda: Rate(1, per=float("nan")), ValueError, "per=nan"),
        (lambda: Rate(1, per="s"), TypeError, "per='s'"),  # type: ignore[arg-type]
    ],
)
def test_wrong_argument_is_named_with_its_value(
    make: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)


def test_bounds_themselves_are_allowed() -> None:
    Retry(0, wait=0, longest_wait=0, jitter=0)
    Retry(10**6, wait=1e9, longest_wait=1e9, jitter=1)
    Rate(1, per=1e-9)


# Values


@pytest.mark.parametrize(
    "value",
    [
        Chunk(3, ("a", "b")),
        Settled(3, [1, 2], {4: Fault(OSError("gone"), 0.5)}),
        Failure(3, "c", OSError("gone")),
        Retry(2),
        Rate(5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_frozen_and_travel(value: Any) -> None:
    fields = getattr(value, "_fields", None) or [each.name for each in dataclasses.fields(value)]
    name = fields[0]
    with pytest.raises(AttributeError):
        setattr(value, name, 0)
    for there_and_back in (pickle.loads(pickle.dumps(value)), copy.copy(value)):
        assert type(there_and_back) is type(value)
        assert getattr(there_and_back, name) == getattr(value, name)


def report(**values: Any) -> Report:
    defaults = {
        field.name: 0
        for field in dataclasses.fields(Report)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    return Report(**defaults | values)


def test_speedup_is_work_done_at_once() -> None:
    assert report(busy_seconds=6.0, seconds=2.0).speedup == 3.0
    assert report(busy_seconds=6.0, seconds=0.0).speedup == 0.0


def test_report_says_what_there_is_to_say() -> None:
    seven = Failure(7, "seven", ValueError("no\nseven"), attempts=2)
    text = str(
        report(
            engine="processes",
            workers=2,
            reasons=("it computes", "two cores"),
            items=1200,
            succeeded=1197,
            failed=3,
            seconds=2.0,
            kinds=(facts.FailureKind("ValueError", 3, seven),),
            retried=4,
            timeouts=1,
            deaths=2,
            replaced={"max_tasks_per_worker": 3, "died": 2},
            replayed=10,
            planned_seconds=1.5,
            actual_seconds=1.75,
            shares={"process 1": 0.5, "process 2": 0.91},
            sent_bytes=1000,
            received_bytes=2,
        )
    )
    assert text.splitlines() == [
        "1,200 items in 2 s on processes with 2 workers: 1,197 succeeded, 3 failed",
        "why processes: it computes; two cores",
        "planned: 1.5 s for the rest; it took 1.8 s",
        "ValueError: 3, the first was item 7: no seven",
        "10 from the journal, 4 retries, 1 time-outs, 2 deaths of workers",
        "5 workers replaced: died 2, max_tasks_per_worker 3",
        "2 workers busy for 50% to 91% of the time",
        "1,000 bytes sent, 2 received",
    ]


def test_report_says_nothing_of_what_did_not_happen() -> None:
    plain = report(engine="serial", workers=1, reasons=(), shares={"the caller": 0.5}, failures=())
    assert str(plain).splitlines() == [
        "0 items in 0 s on serial with 1 worker: 0 succeeded, 0 failed",
        "1 worker busy for 50% of the time",
    ]


def test_report_is_json() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    failures = (
        Failure(1, Shy(), MuteError()),
        Failure(2, {1: 2}, errors.RemoteError("lib.Odd.Error", "gone"), attempts=3, seconds=0.5),
    )
    kinds = (facts.FailureKind("MuteError", 1, failures[0]),)
    plain = json.loads(
        json.dumps(
            report(reasons=("a",), failures=failures, kinds=kinds, shares={"w": 1.0}).as_dict()
        )
    )
    assert plain["schema"] == 1
    assert plain["reasons"] == ["a"]
    assert plain["shares"] == {"w": 1.0}
    assert plain["failures"][1] == {
        "index": 2,
        "item": "{1: 2}",
        "type": "Error",
        "message": "gone",
        "attempts": 3,
        "seconds": 0.5,
    }
    assert plain["kinds"][0]["type"] == "MuteError"
    assert plain["kinds"][0]["example"]["message"] == "(its message cannot be shown: RuntimeError)"
    names = {field.name for field in dataclasses.fields(Report)}
    assert plain.keys() == names | {"schema", "speedup"}


def test_all_names_exist() -> None:
    for module in (facts, errors):
        assert all(hasattr(module, name) for name in module.__all__)


# Errors


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (errors.TaskTimeoutError, TimeoutError),
        (errors.WorkerDiedError, BrokenExecutor),
        (errors.TransportError, pickle.PicklingError),
        (errors.UnsupportedError, ValueError),
    ],
)
def test_error_is_also_the_standard_librarys(
    ours: type[Exception], theirs: type[Exception]
) -> None:
    assert issubclass(ours, theirs)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_our_base_and_travels(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.GearshiftError)
    error = kind("a", "b") if kind is errors.RemoteError else kind("a")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)


def test_remote_error_says_what_was_raised() -> None:
    error = errors.RemoteError("lib.OddError", "no luck")
    assert (error.type_name, error.message) == ("lib.OddError", "no luck")
    assert str(error).startswith("lib.OddError: no luck (")
