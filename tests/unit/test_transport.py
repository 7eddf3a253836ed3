"""Bytes and back: what can travel arrives as it was, and what cannot costs its own item only.

Both sides run in this process; `test_a_worker_process_...` runs the worker's side in a
fresh interpreter, where classes of `__main__` are not known. Long because function, item,
value and exception can each fail to be sent and fail to be rebuilt.
"""

from __future__ import annotations

import copyreg
import math
import multiprocessing.util
import operator
import os
import pickle
import subprocess
import sys
import threading
import types
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gearshift._work import pickling, transport
from gearshift._work.faults import RemoteTraceback
from gearshift._work.run_chunk import Task
from gearshift._work.scope import DEPTH_VARIABLE, Scope, is_nested
from gearshift._work.transport import (
    pack_items,
    pack_task,
    run_packed,
    unpack,
    why_unpicklable,
)
from gearshift.errors import RemoteError, TransportError
from gearshift.facts import Chunk, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.frozensets(st.integers())
    ),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def _worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be a worker whose end comes with the test's."""
    scope = Scope()
    monkeypatch.setattr(transport, "_scopes", threading.local())
    transport._scopes.scope = scope
    monkeypatch.setattr(transport, "_tasks", {})
    yield
    scope.close()


def travel(function: Callable[..., Any], items: Sequence[Any], *, first: int = 0) -> Settled:
    """Send a chunk there and its outcomes back, as an engine does."""
    task = pack_task(Task(function))
    ranges, faults = pack_items(Chunk(first, items))
    values: dict[int, Any] = {}
    failed = dict(faults)
    for packed in ranges:
        outcome = run_packed(task, pickle.loads(pickle.dumps(packed)))
        if outcome.unreadable:
            part = Chunk(packed.first, items[packed.first - first :][: packed.count])
            outcome = run_packed(task, pack_items(part, singly=True)[0][0])
        settled = unpack(pickle.loads(pickle.dumps(outcome)), packed.first)
        assert settled.first == packed.first
        assert len(settled.values) == packed.count
        values |= dict(enumerate(settled.values, settled.first))
        failed |= settled.failed
    return Settled(first, [values.get(index) for index in range(first, first + len(items))], failed)


class Point:
    """A class that both sides can import."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.x == other.x

    __hash__ = None  # type: ignore[assignment]


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("stays here")


def _refuse(*_: Any) -> None:
    raise ValueError("cannot be rebuilt")


class Unreadable:
    """Pickles, but cannot be rebuilt anywhere."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def identity(item: Any) -> Any:
    return item


# Round trips


@settings(max_examples=30)  # drawing values costs more than sending them
@given(st.lists(PLAIN, min_size=1, max_size=6))
def test_plain_values_come_back_as_they_were(items: list[Any]) -> None:
    settled = travel(identity, items, first=3)
    assert settled.values == items
    assert not settled.failed


@pytest.mark.parametrize(
    "value",
    [
        Point(3),
        [Point(1), Point(2)],
        math.inf,
        len,
        Point,
        operator.attrgetter("x"),
        range(5),
        ValueError("as a value"),
        b"x" * 100_000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_come_back_equal(value: Any) -> None:
    (back,) = travel(identity, [value]).values
    if isinstance(value, ValueError):
        assert type(back) is ValueError
        assert back.args == value.args
    elif not isinstance(value, operator.attrgetter):
        assert back == value


def test_closures_and_lambdas_travel() -> None:
    offset = 5
    assert travel(lambda item: item + offset, [1, 2]).values == [6, 7]


def test_items_of_a_chunk_that_are_one_object_stay_one() -> None:
    shared = Point(1)
    one, other = travel(identity, [shared, shared]).values
    assert one == shared
    assert other == shared


def test_times_come_back() -> None:
    (packed,), _ = pack_items(Chunk(0, [1]))
    outcome = run_packed(pack_task(Task(identity)), packed)
    settled = unpack(outcome, 0)
    assert settled.busy_seconds == outcome.busy_seconds > 0
    assert settled.cpu_seconds == outcome.cpu_seconds >= 0


def test_star_and_seed_travel_with_the_function() -> None:
    from gearshift._work.seeds import item_seed, mix

    task = pack_task(Task(lambda a, b: (a + b, item_seed()), star=True, seed=42))
    (packed,), _ = pack_items(Chunk(7, [(1, 2)]))
    assert unpack(run_packed(task, packed), 7).values == [(3, mix(42, 7))]


def test_attempt_travels() -> None:
    (packed,), _ = pack_items(Chunk(7, ["a"], attempt=3))
    assert packed.attempt == 3


# Classes that the other side cannot import


@pytest.fixture
def in_main(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class as a script or a notebook cell defines it."""

    class Cell:
        def __init__(self, x: int) -> None:
            self.x = x

        def double(self) -> int:
            return 2 * self.x

    Cell.__module__, Cell.__qualname__ = "__main__", "Cell"
    monkeypatch.setattr(sys.modules["__main__"], "Cell", Cell, raising=False)
    return Cell


WORKER = """
import pickle, sys
from gearshift._work.transport import run_packed
task, items = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(run_packed(task, items)))
"""


def travel_far(function: Callable[..., Any], items: Sequence[Any]) -> Settled:
    """Run the worker's side in a fresh interpreter."""
    (packed,), faults = pack_items(Chunk(0, items))
    assert not faults
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=pickle.dumps((pack_task(Task(function)), packed)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return unpack(pickle.loads(done.stdout), 0)


def test_a_worker_process_gets_classes_of_main_by_value(in_main: type) -> None:
    def function(item: Any) -> Any:
        if item.x == 2:
            raise ValueError(item.double())
        return type(item)(item.double())

    settled = travel_far(function, [in_main(1), in_main(2)])
    assert isinstance(settled.values[0], in_main)
    assert vars(settled.values[0]) == {"x": 2}
    assert settled.failed[1].exception.args == (4,)


def test_a_worker_process_raises_errors_of_main_that_the_caller_can_catch() -> None:
    class CellError(Exception):
        pass

    CellError.__module__, CellError.__qualname__ = "__main__", "CellError"

    def function(item: Any) -> Any:
        raise CellError(item)

    settled = travel_far(function, ["a"])
    assert isinstance(settled.failed[0].exception, CellError)
    assert settled.failed[0].exception.args == ("a",)


def test_a_worker_process_knows_that_it_is_one() -> None:
    assert travel_far(lambda _: is_nested(), [1]).values == [True]


def test_a_worker_process_closes_its_objects_at_its_end() -> None:
    from gearshift._work.per_worker import per_worker

    class Thing:
        def close(self) -> None:
            print("closed", file=sys.stderr)

    handle = per_worker(Thing)
    (packed,), _ = pack_items(Chunk(0, [1]))
    script = (
        "import multiprocessing.util, pickle, sys\n"
        "from gearshift._work.transport import run_packed\n"
        "task, items = pickle.load(sys.stdin.buffer)\n"
        "assert run_packed(task, items).whole is not None\n"
        "multiprocessing.util._exit_function()\n"  # what a worker does at its end
        "print('end', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=pickle.dumps((pack_task(Task(lambda _: bool(handle()))), packed)),
        capture_output=True,
        check=True,
    )
    assert done.stderr.decode().split() == ["closed", "end"]


def test_worker_has_one_scope_which_its_end_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[Callable[[], None]] = []
    monkeypatch.setattr(transport, "_scopes", threading.local())
    monkeypatch.setattr(
        multiprocessing.util, "Finalize", lambda _, close, exitpriority: ends.append(close)
    )
    scope = transport._worker_scope()
    assert transport._worker_scope() is scope
    events: list[str] = []
    scope.add_closer(lambda: events.append("closed"))
    (end,) = ends
    end()
    assert events == ["closed"]


@pytest.mark.parametrize(("home", "nested"), [(os.getpid(), False), (1, True)])
def test_only_another_process_counts_as_a_worker(
    monkeypatch: pytest.MonkeyPatch, home: int, nested: bool
) -> None:
    monkeypatch.setenv(DEPTH_VARIABLE, "0")  # so that it is put back
    monkeypatch.delenv(DEPTH_VARIABLE)
    packed = replace(transport.pack_task(Task(identity)), home=home)
    (items,), _ = pack_items(Chunk(0, [1]))
    run_packed(packed, items)
    assert is_nested() == nested


def test_forked_child_begins_without_what_its_parent_made() -> None:
    travel(identity, [1])
    assert transport._tasks
    transport._forget()
    assert not transport._tasks
    assert not vars(transport._scopes)


@pytest.mark.parametrize("registered", ["by_value_package", "by_value_package.inner"])
def test_a_worker_process_gets_registered_modules_by_value(
    monkeypatch: pytest.MonkeyPatch, registered: str
) -> None:
    package = types.ModuleType("by_value_package")
    module = types.ModuleType("by_value_package.inner")
    exec("class Made:\n    def double(self): return 2 * self.x", module.__dict__)  # noqa: S102 - no file, so nobody can import it
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cloudpickle.register_pickle_by_value(sys.modules[registered])
    try:
        item = module.__dict__["Made"]()
        item.x = 4
        assert travel_far(operator.methodcaller("double"), [item]).values == [8]
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[registered])


def test_plain_pickle_does_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> bytes:
        raise AssertionError("cloudpickle is ten times slower")

    monkeypatch.setattr(cloudpickle, "dumps", refuse)
    items = [1, "a", Point(1), [Point(2)], len, Point]
    assert pickle.loads(pickling.dumps_noting(items)[0]) == items


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        ([1, 2.0, "a", b"b", None, True, (1,), {"a": {1, 2}}], True),
        ([Point(1)], False),
        ([[{"a": Point}]], False),
    ],
    ids=["built-in", "object", "class"],
)
def test_built_in_types_are_known(value: Any, is_plain: bool) -> None:
    assert pickling.dumps_noting(value)[1] is is_plain


# What cannot be sent


def test_item_that_cannot_be_sent_costs_itself_only() -> None:
    items = ["a", threading.Lock(), "b", "c", Unpicklable(), Unpicklable(), "d"]
    settled = travel(identity, items, first=10)
    assert sorted(settled.failed) == [11, 14, 15]
    assert [settled.values[offset] for offset in (0, 2, 3, 6)] == ["a", "b", "c", "d"]
    error = settled.failed[14].exception
    assert isinstance(error, TransportError)
    assert "item 14 (Unpicklable) cannot be sent to another process: TypeError: stays here" in str(
        error
    )
    assert 'on="threads"' in str(error)
    assert isinstance(error.__cause__, TypeError)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.booleans())
def test_ranges_and_faults_cover_every_item_once(good: list[bool], singly: bool) -> None:
    items = [index if is_good else Unpicklable() for index, is_good in enumerate(good)]
    ranges, faults = pack_items(Chunk(100, items), singly=singly)
    covered = [*faults]
    for packed in ranges:
        covered += range(packed.first, packed.first + packed.count)
        assert packed.whole is not None or len(packed.each) == packed.count
    assert sorted(covered) == list(range(100, 100 + len(items)))
    assert sorted(faults) == [100 + index for index, is_good in enumerate(good) if not is_good]


def test_nothing_is_sent_of_a_chunk_of_which_nothing_can_be() -> None:
    ranges, faults = pack_items(Chunk(5, [Unpicklable()]))
    assert not ranges
    assert list(faults) == [5]


def test_function_that_cannot_be_sent_says_so_at_once() -> None:
    lock = threading.Lock()

    def uses_lock(_: Any) -> None:
        with lock:
            pass

    with pytest.raises(TransportError, match=r"function .*uses_lock cannot be sent") as caught:
        pack_task(Task(uses_lock))
    assert "gs.per_worker" in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


# What cannot be rebuilt there


def test_unreadable_items_are_asked_for_one_by_one() -> None:
    (packed,), _ = pack_items(Chunk(0, [1, Unreadable()]))
    outcome = run_packed(pack_task(Task(identity)), packed)
    assert outcome.unreadable
    assert outcome.whole is None


def test_item_that_cannot_be_rebuilt_costs_itself_only() -> None:
    settled = travel(identity, [1, Unreadable(), 3], first=4)
    assert [settled.values[0], settled.values[2]] == [1, 3]
    error = settled.failed[5].exception
    assert isinstance(error, TransportError)
    assert "item 5 cannot be rebuilt in a worker process: ValueError: cannot be rebuilt" in str(
        error
    )


def test_failures_and_values_of_single_items_come_together() -> None:
    def function(item: Any) -> Any:
        if item == 3:
            raise KeyError(item)
        return item * 10

    settled = travel(function, [1, Unreadable(), 3, 4])
    assert sorted(settled.failed) == [1, 2]
    assert isinstance(settled.failed[2].exception, KeyError)
    assert (settled.values[0], settled.values[3]) == (10, 40)


def test_function_that_cannot_be_rebuilt_is_every_items_fault() -> None:
    settled = travel(Refusing(), [1, 2])
    assert sorted(settled.failed) == [0, 1]
    for fault in settled.failed.values():
        assert isinstance(fault.exception, TransportError)
        assert "function Refusing cannot be rebuilt in a worker process" in str(fault.exception)


class Refusing:
    def __call__(self, item: Any) -> Any: ...

    def __reduce__(self) -> Any:
        return _refuse, ()


def test_worker_rebuilds_a_function_once_and_keeps_the_last_few() -> None:
    tasks = [pack_task(Task(Counting(number))) for number in range(10)]
    (packed,), _ = pack_items(Chunk(0, [1]))
    Counting.made = 0
    for task in [*tasks, tasks[-1], tasks[-8]]:
        run_packed(task, packed)
    assert Counting.made == 10
    run_packed(tasks[0], packed)
    assert Counting.made == 11
    assert len(transport._tasks) == 8


class Counting:
    made = 0

    def __init__(self, number: int) -> None:
        self.number = number
        Counting.made += 1

    def __reduce__(self) -> Any:
        return Counting, (self.number,)

    def __call__(self, item: Any) -> Any:
        return item


# What cannot come back


def test_result_that_cannot_be_sent_costs_its_item_only() -> None:
    settled = travel(lambda item: Unpicklable() if item == 1 else item, [0, 1, 2], first=4)
    assert [settled.values[0], settled.values[2]] == [0, 2]
    error = settled.failed[5].exception
    assert isinstance(error, TransportError)
    assert "the result of item 5 (Unpicklable) cannot be sent" in str(error)


def test_result_that_cannot_be_rebuilt_costs_its_item_only() -> None:
    settled = travel(lambda item: Unreadable() if item == 1 else item, [0, 1, 2])
    assert [settled.values[0], settled.values[2]] == [0, 2]
    error = settled.failed[1].exception
    assert isinstance(error, TransportError)
    assert "the result of item 1 cannot be rebuilt here: ValueError: cannot be rebuilt" in str(
        error
    )
    assert isinstance(error.__cause__, ValueError)


def test_why_a_result_cannot_travel() -> None:
    assert why_unpicklable([1, Point(2)]) is None
    why = why_unpicklable(Unpicklable())
    assert why == "its results (Unpicklable) cannot be pickled: TypeError: stays here"


# Exceptions


HELD: list[BaseException] = []  # an exception that cannot travel does not go with the function


def raise_held(_: Any) -> None:
    raise HELD.pop()


def raised(error: BaseException) -> BaseException:
    HELD.append(error)
    return travel(raise_held, ["a"]).failed[0].exception


class TwoArgumentsError(Exception):
    """Cannot be rebuilt from its `args`."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class OtherTypeError(Exception):
    def __reduce__(self) -> Any:
        return ValueError, ("another",)


class PickyError(Exception):
    """Cannot be made again, not even without its `__init__`."""

    def __new__(cls, *args: object, key: str) -> Self:
        return super().__new__(cls, *args)

    def __init__(self, *args: object, key: str) -> None:
        super().__init__(*args)


@pytest.mark.parametrize("kind", [TwoArgumentsError, OtherTypeError])
def test_exception_that_pickle_cannot_rebuild_keeps_its_type(kind: type[Exception]) -> None:
    error = TwoArgumentsError(3, "no luck") if kind is TwoArgumentsError else OtherTypeError("mine")
    vars(error)["lock"] = threading.Lock()
    vars(error)["where"] = "here"
    error.add_note("seen on Monday")
    back = raised(error)
    assert type(back) is kind
    assert back.args == error.args
    assert vars(back)["where"] == "here"
    assert "lock" not in vars(back)
    assert getattr(back, "code", None) == getattr(error, "code", None)
    assert back.__notes__ == ["seen on Monday"]
    assert isinstance(back.__cause__, RemoteTraceback)


@pytest.mark.parametrize(
    "error",
    [KeyError("a"), SystemExit(3), KeyboardInterrupt(), OSError(2, "no file", "name")],
    ids=lambda error: type(error).__name__,
)
def test_exception_keeps_its_type_and_arguments(error: BaseException) -> None:
    back = raised(error)
    assert type(back) is type(error)
    assert back.args == error.args


def test_exception_shows_the_workers_traceback_as_its_cause() -> None:
    cause = raised(KeyError("a")).__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in raise_held" in str(cause)
    assert "KeyError: 'a'" in cause.text
    assert "run_chunk" not in cause.text


def test_exception_keeps_its_notes() -> None:
    error = KeyError("a")
    error.add_note("seen on Monday")
    assert raised(error).__notes__ == ["seen on Monday"]


class FrozenError(Exception):
    """Refuses every change, of its cause too, as a frozen dataclass does."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


def test_exception_that_cannot_be_changed_comes_back_with_its_cause() -> None:
    back = raised(FrozenError(3))
    assert isinstance(back, FrozenError)
    assert back.args == (3,)
    assert isinstance(back.__cause__, RemoteTraceback)


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (PickyError("mine", key="k"), "PickyError", "mine"),
        (ValueError(threading.Lock()), "ValueError", "lock"),
        (UnprintableError(threading.Lock()), "UnprintableError", "(its __str__ raised)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_exception_that_cannot_travel_is_stood_in_for(
    error: BaseException, name: str, message: str
) -> None:
    error.add_note("seen on Monday")
    back = raised(error)
    assert isinstance(back, RemoteError)
    assert back.type_name.endswith(name)
    assert not back.type_name.startswith("builtins.")
    assert message in back.message
    assert back.__notes__ == ["seen on Monday"]
    assert isinstance(back.__cause__, RemoteTraceback)


def test_exception_that_can_be_rebuilt_only_there_is_stood_in_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class ThereError(Exception):
        pass

    copyreg.pickle(ThereError, lambda error: (_there, error.args))  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(_there, "kind", ThereError, raising=False)
    (packed,), _ = pack_items(Chunk(0, ["a"]))

    def function(_: Any) -> None:
        raise ThereError("a")

    outcome = run_packed(pack_task(Task(function)), packed)
    monkeypatch.setattr(_there, "kind", None)
    try:
        back = unpack(outcome, 0).failed[0].exception
    finally:
        copyreg.dispatch_table.pop(ThereError)
    assert isinstance(back, RemoteError)
    assert back.type_name.endswith("ThereError")


def _there(*arguments: Any) -> BaseException:
    kind = vars(_there)["kind"]
    if kind is None:
        raise ImportError("only in the worker")
    error: BaseException = kind(*arguments)
    return error
