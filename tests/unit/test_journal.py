"""The journal: what settled is kept, what is kept is not run again, and nothing else is believed."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from contextlib import closing, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gearshift as gs
from gearshift._run.journal_file import FORMAT, _Lock, is_in_use
from gearshift.facts import LEFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENGINES = ["serial", "threads", "processes", "auto"]


class Calls:
    """Counts calls over processes and programs: a byte in a file for each."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "calls"
        self.path.touch()

    def count(self) -> int:
        return self.path.stat().st_size

    def __call__(self, item: Any) -> Any:
        with self.path.open("ab") as file:
            file.write(b".")
        if item == self.bad():
            raise ValueError(f"{item} is bad")
        return item * 2

    def bad(self) -> Any:
        bad = self.path.with_name("bad")
        return json.loads(bad.read_text()) if bad.exists() else None

    def make_bad(self, item: Any) -> None:
        self.path.with_name("bad").write_text(json.dumps(item))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path)


@pytest.mark.parametrize("on", ENGINES)
@pytest.mark.parametrize("ordered", [True, False])
def test_second_call_gives_what_is_kept_and_runs_only_what_failed(
    path: Path, calls: Calls, on: str, ordered: bool
) -> None:
    calls.make_bad(7)
    options: dict[str, Any] = {"on": on, "ordered": ordered, "journal": path}
    with gs.map(calls, range(20), errors="return", **options) as run:
        first = [value for value in run if not isinstance(value, gs.Failure)]
    assert sorted(first) == [2 * item for item in range(20) if item != 7]
    assert calls.count() == 20
    calls.make_bad(None)
    with gs.map(calls, range(20), **options) as run:
        assert sorted(run) == [2 * item for item in range(20)]
    assert calls.count() == 21
    assert (run.report.replayed, run.report.items, run.report.failed) == (19, 20, 0)
    assert gs.Journal(path).summary().failed == 0


def test_kept_values_come_in_the_order_of_the_inputs(path: Path, calls: Calls) -> None:
    for item in (3, 0):
        calls.make_bad(item)
        list(gs.map(calls, range(6), journal=path, errors="skip", on="serial"))
    calls.make_bad(None)
    assert list(gs.map(calls, range(9), journal=path)) == [2 * item for item in range(9)]


def test_a_run_that_was_left_goes_on(path: Path, calls: Calls) -> None:
    with gs.map(calls, range(50), journal=path, on="serial", chunksize=1, buffersize=1) as run:
        for value in run:
            if value == 20:
                break
    assert calls.count() == 11
    assert list(gs.map(calls, range(50), journal=path)) == [2 * item for item in range(50)]
    assert calls.count() == 50


def test_a_run_that_nobody_holds_has_committed(path: Path, calls: Calls) -> None:
    for value in gs.map(calls, range(50), journal=path, on="serial", chunksize=1, buffersize=1):
        if value == 20:
            break
    assert gs.Journal(path).summary().done == 11


def test_raised_error_keeps_what_came_before(path: Path, calls: Calls) -> None:
    calls.make_bad(5)
    with pytest.raises(ValueError, match="5 is bad"):
        list(gs.map(calls, range(10), journal=path, on="serial", chunksize=1))
    summary = gs.Journal(path).summary()
    assert (summary.done, summary.failed, summary.total, summary.left) == (5, 1, 10, 4)
    assert summary.failures == (("5", "ValueError", "5 is bad", 1),)
    assert summary.function == f"{__name__}:Calls"
    assert summary.holder is None


def test_more_and_fewer_items_are_no_other_inputs(path: Path, calls: Calls) -> None:
    list(gs.map(calls, range(5), journal=path))
    assert list(gs.map(calls, range(3), journal=path)) == [0, 2, 4]
    assert list(gs.map(calls, iter(range(8)), journal=path)) == [2 * item for item in range(8)]
    assert calls.count() == 8


def test_changed_item_is_refused_by_place_and_value(path: Path, calls: Calls) -> None:
    list(gs.map(calls, ["a", "b", "c"], journal=path))
    with pytest.raises(
        gs.JournalMismatchError, match=r"item 1 is 'B', and journal .* has 'b' at that place"
    ):
        list(gs.map(calls, ["a", "B", "c"], journal=path))
    assert calls.count() == 3


def test_items_that_never_ran_are_compared_too(path: Path, calls: Calls) -> None:
    calls.make_bad("a")
    with pytest.raises(ValueError, match="a is bad"):
        list(gs.map(calls, ["a", "b"], journal=path, on="serial"))
    with pytest.raises(gs.JournalMismatchError, match="item 1 is 'x'"):
        list(gs.map(calls, ["a", "x"], journal=path, errors="skip", on="serial"))


def test_item_changed_by_its_own_task_is_what_it_was_before(path: Path) -> None:
    def spoil(item: dict[str, Any]) -> int:
        item["spoiled"] = True
        return 1

    for _ in range(2):
        assert list(gs.map(spoil, [{"a": 1}, {"b": 2}], journal=path, on="serial")) == [1, 1]


def test_value_changed_by_the_consumer_is_kept_as_it_was(path: Path) -> None:
    for value in gs.map(make_list, range(3), journal=path, on="serial"):
        value.append("changed")
    assert list(gs.map(make_list, range(3), journal=path)) == [[0], [1], [2]]


@pytest.mark.parametrize(
    "items",
    [
        [{2: "a", 10: "b"}, {"b": 1, "a": 2}],
        [float("nan"), float("inf"), 1e300, -0.0],
        [(1, 2), [3, (4,)]],
        [b"bytes", object(), {1: 1, "a": 2}],
        ["long" * 10_000, "short", "long" * 20_000],
        [None, True, "\ud800", "ä\u2028"],
    ],
    ids=["keys", "floats", "tuples", "others", "long", "text"],
)
def test_the_same_items_are_recognised(path: Path, items: list[Any]) -> None:
    for expected in (0, len(items)):
        run = gs.map(type, items, journal=path, on="serial")
        assert list(run) == [type(item) for item in items]
        assert run.report.replayed == expected


def test_long_item_that_changed_is_noticed(path: Path) -> None:
    list(gs.map(len, ["x" * 5000], journal=path))
    with pytest.raises(gs.JournalMismatchError, match="item 0"):
        list(gs.map(len, ["x" * 4999 + "y"], journal=path))


def test_key_knows_items_in_any_order(path: Path, calls: Calls) -> None:
    journal = gs.Journal(path, key=str)
    assert list(gs.map(calls, ["a", "b", "c"], journal=journal)) == ["aa", "bb", "cc"]
    assert list(gs.map(calls, ["c", "d", "a"], journal=journal)) == ["cc", "dd", "aa"]
    assert calls.count() == 4


def test_items_of_one_key_are_told_apart_by_their_order(path: Path) -> None:
    journal = gs.Journal(path, key=lambda pair: pair[0])
    pairs = [("a", 1), ("b", 2), ("a", 3)]
    assert list(gs.map(second, pairs, journal=journal)) == [1, 2, 3]
    run = gs.map(second, [("a", 9), ("a", 9), ("a", 4)], journal=journal)
    assert list(run) == [1, 3, 4]
    assert run.report.replayed == 2


def test_failed_key_runs_again(path: Path, calls: Calls) -> None:
    journal = gs.Journal(path, key=lambda item: item)
    calls.make_bad(2)
    list(gs.map(calls, [1, 2, 3], journal=journal, errors="skip"))
    calls.make_bad(None)
    assert list(gs.map(calls, [2, 3, 1], journal=journal)) == [4, 6, 2]
    assert calls.count() == 4


def test_key_must_be_plain(path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"key of item 1 is \[1\]: it must be text or a whole number"
    ):
        list(gs.map(abs, [1], journal=gs.Journal(path, key=lambda item: [item])))


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (partial(pow, 2), {}, "of function"),
        (partial(int, base=8), {}, "of arguments"),
        (partial(int, base=16), {"seed": 1}, "of seed None, and this run is of seed 1"),
        (partial(int, base=16), {"star": True}, "of star False"),
    ],
    ids=["function", "arguments", "seed", "star"],
)
def test_journal_of_something_else_is_refused(
    path: Path, function: Callable[..., Any], options: dict[str, Any], words: str
) -> None:
    assert list(gs.map(partial(int, base=16), ["a"], journal=path)) == [10]
    items = [("a",)] if options.get("star") else ["a"]
    with pytest.raises(gs.JournalMismatchError, match=words):
        list(gs.map(function, items, journal=path, **options))
    assert not is_in_use(str(path))


def test_newer_format_is_refused(path: Path) -> None:
    list(gs.map(abs, [1], journal=path))
    with sqlite3.connect(path) as file:
        file.execute("UPDATE meta SET value=? WHERE name='format'", (str(FORMAT + 1),))
    file.close()
    for use in (lambda: list(gs.map(abs, [1], journal=path)), gs.Journal(path).summary):
        with pytest.raises(gs.JournalMismatchError, match=f"format {FORMAT + 1}.*newer gearshift"):
            use()


def test_file_that_is_no_journal_is_left_alone(path: Path) -> None:
    path.write_text("dear diary, " * 100)
    with pytest.raises(gs.JournalError, match="not a journal of gearshift"):
        list(gs.map(abs, [1], journal=path))
    assert path.read_text() == "dear diary, " * 100


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(gs.JournalError, match=r"no folder .*nowhere.*make it first"):
        list(gs.map(abs, [1], journal=tmp_path / "nowhere" / "j"))


def test_second_run_of_the_same_program_is_refused(path: Path) -> None:
    with gs.map(abs, range(10), journal=path, on="serial") as run:
        assert next(run) == 0
        with pytest.raises(gs.JournalInUseError, match="another run of this program"):
            next(gs.map(abs, range(10), journal=path))
        assert gs.Journal(path).summary().holder == f"{' '.join(sys.argv)} (pid {os.getpid()})"
    assert list(gs.map(abs, range(3), journal=path)) == [0, 1, 2]


@pytest.mark.slow
def test_second_program_is_refused_by_name_and_pid(path: Path) -> None:
    program = f"""
        import gearshift as gs, sys
        run = gs.map(abs, range(10), journal={str(path)!r}, on="serial")
        next(run)
        print("on", flush=True)
        sys.stdin.read()
    """
    with python(program, stdin=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "on\n"
        with pytest.raises(gs.JournalInUseError, match=rf"in use by '-c' \(pid {first.pid}\)"):
            next(gs.map(abs, range(10), journal=path))
        assert str(first.pid) in (gs.Journal(path).summary().holder or "")
        first.kill()
        first.communicate()
    assert list(gs.map(abs, range(10), journal=path)) == list(range(10))


@pytest.mark.slow
@pytest.mark.parametrize("on", ["serial", "threads", "processes"])
def test_killed_program_loses_nothing_that_was_committed(path: Path, calls: Calls, on: str) -> None:
    program = f"""
        import os, signal, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import gearshift as gs
        from pathlib import Path
        from test_journal import Calls
        for number, value in enumerate(
            gs.map(Calls(Path({str(path.parent)!r})), range(2000), journal={str(path)!r}, on={on!r}, chunksize=1)
        ):
            time.sleep(0.001)
            if number == 250:
                os.kill(os.getpid(), signal.SIGKILL)
    """
    with python(program, start_new_session=True) as first:
        assert first.wait() == -signal.SIGKILL
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)  # workers that outlive it
        first.communicate()
    done = gs.Journal(path).summary().done
    assert 50 <= done < 2000
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        named = importlib.import_module("test_journal")  # the name that the program knew it by
    finally:
        sys.path.pop(0)
    run = gs.map(named.Calls(path.parent), range(2000), journal=path)
    assert list(run) == [2 * item for item in range(2000)]
    assert run.report.replayed == done


def test_full_disk_ends_the_run_and_keeps_what_was_committed(path: Path) -> None:
    list(gs.map(make_long, range(10), journal=path, on="serial"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limit[1]))
    given: list[str] = []
    try:
        with pytest.raises(
            gs.JournalError, match=r"run\.journal: .*make room, and run the same again"
        ):
            given.extend(gs.map(make_long, range(5000), journal=path, on="serial"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert given == [make_long(item) for item in range(len(given))]
    done = gs.Journal(path).summary().done
    assert done >= 10
    run = gs.map(make_long, range(200), journal=path, on="serial")
    assert list(run) == [make_long(item) for item in range(200)]
    assert run.report.replayed == min(done, 200)


def test_value_that_cannot_be_pickled_is_given_and_runs_again(path: Path) -> None:
    items = [1, 2, 3]
    with pytest.warns(RuntimeWarning, match=r"value of item 1 \(lock\) cannot be pickled"):
        values = list(gs.map(lock_of_two, items, journal=path, on="serial"))
    assert values[0] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        run = gs.map(lock_of_two, items, journal=path, on="serial")
        assert list(run)[2] == 3
    assert run.report.replayed == 2


def test_value_that_cannot_be_rebuilt_names_the_cure(path: Path) -> None:
    list(gs.map(abs, [1], journal=path))
    with sqlite3.connect(path) as file:
        file.execute("UPDATE kept SET outcomes=?", (b"cnowhere\nThing\n.",))
    file.close()
    with pytest.raises(
        gs.JournalError, match=r"kept values from item 0 on cannot be rebuilt.*importable"
    ):
        list(gs.map(abs, [1], journal=path))


def test_retried_items_are_kept_once(path: Path) -> None:
    tries: list[int] = []

    def fickle(item: int) -> int:
        tries.append(item)
        if tries.count(item) < 3:
            raise OSError
        return item

    retry = gs.Retry(5, wait=0.0)
    assert list(gs.map(fickle, range(5), journal=path, retries=retry, on="serial")) == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert list(gs.map(fickle, range(5), journal=path, retries=retry, on="serial")) == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert len(tries) == 15


def test_only_failed_runs_nothing_else(path: Path, calls: Calls) -> None:
    calls.make_bad(1)
    with pytest.raises(ValueError, match="1 is bad"):
        list(gs.map(calls, range(4), journal=path, on="serial", chunksize=1))
    calls.make_bad(None)
    before = calls.count()
    journal = gs.Journal(path)
    journal.only_failed()
    assert list(gs.map(calls, range(4), journal=journal, on="serial")) == [
        0,
        2,
        LEFT,
        LEFT,
    ]
    assert calls.count() == before + 1
    assert gs.Journal(path).summary().left == 2


def test_async_for_keeps_and_replays(path: Path) -> None:
    async def double(item: int) -> int:
        return item * 2

    async def collect() -> tuple[list[int], int]:
        run = gs.map(double, range(5), journal=path)
        return [value async for value in run], run.report.replayed

    assert asyncio.run(collect()) == ([0, 2, 4, 6, 8], 0)
    assert asyncio.run(collect()) == ([0, 2, 4, 6, 8], 5)


def test_a_forked_child_leaves_the_journal_to_its_parent(path: Path) -> None:
    with gs.map(abs, range(2000), journal=path, on="serial") as run:
        assert next(run) == 0
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            try:
                run.close()
                del run
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert sum(run) == sum(range(1, 2000))
    assert gs.Journal(path).summary().done == 2000


def test_gaps_in_what_is_kept_are_filled_in_any_pattern(tmp_path: Path) -> None:
    counter = iter(range(10_000))

    @given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=4), st.integers(1, 9))
    @settings(max_examples=40)
    def check(bad_of_runs: list[set[int]], chunksize: int) -> None:
        file = tmp_path / f"{next(counter)}.journal"
        done: set[int] = set()
        for bad in [*bad_of_runs, set()]:
            ran: list[int] = []

            def function(item: int, bad: set[int] = bad, ran: list[int] = ran) -> int:
                ran.append(item)
                if item in bad:
                    raise ValueError
                return -item

            run = gs.map(
                function, range(31), journal=file, errors="return", chunksize=chunksize, on="serial"
            )
            values = list(run)
            assert ran == [item for item in range(31) if item not in done]
            done |= set(range(31)) - bad
            assert [value for value in values if isinstance(value, int)] == [
                -item for item in sorted(done)
            ]
        file.unlink()

    check()


@pytest.mark.parametrize("wrong", [3, b"", ["a"]])
def test_wrong_journal_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"is neither a path nor a gs\.Journal"):
        gs.map(abs, [1], journal=wrong)


def test_wrong_key_is_refused(path: Path) -> None:
    with pytest.raises(TypeError, match="key='name' is not callable"):
        gs.Journal(path, key="name")  # type: ignore[arg-type]


def test_summary_of_nothing_says_so(path: Path) -> None:
    with pytest.raises(gs.JournalError, match="there is no journal"):
        gs.Journal(path).summary()
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(gs.JournalError, match="not a journal of gearshift, or an empty one"):
        gs.Journal(path).summary()


def make_long(item: int) -> str:
    return f"{item} " * 5000


def make_list(item: int) -> list[Any]:
    return [item]


def second(pair: tuple[str, int]) -> int:
    return pair[1]


def lock_of_two(item: int) -> Any:
    import threading

    return threading.Lock() if item == 2 else item


def python(program: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("on", ["serial", "threads"])
def test_loop_that_was_left_is_followed_by_the_next_at_once(tmp_path: Path, on: str) -> None:
    for number in range(10):
        path = tmp_path / f"{number}.journal"
        for _ in gs.map(abs, range(2000), journal=path, on=on):
            break
        run = gs.map(abs, range(2000), journal=path, on=on)
        assert list(run) == list(range(2000))
        assert run.report.replayed > 0


def test_of_two_threads_one_has_the_file(tmp_path: Path) -> None:
    for number in range(30):
        path = str(tmp_path / f"{number}.journal")
        barrier = threading.Barrier(2)
        had: list[_Lock] = []

        def take(path: str = path, barrier: threading.Barrier = barrier, had: Any = had) -> None:
            barrier.wait()
            with suppress(gs.JournalInUseError):
                had.append(_Lock(path))

        threads = [threading.Thread(target=take) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(had) == 1
        had[0].release()


@pytest.mark.slow
def test_program_that_ends_after_a_break_has_kept_what_it_was_given(path: Path) -> None:
    program = f"""
        import gearshift as gs
        for number, _ in enumerate(gs.map(abs, range(20000), journal={str(path)!r}, on="threads")):
            if number == 5000:
                break
    """
    for _ in range(12):
        with python(program) as child:
            assert child.wait() == 0
            child.communicate()
        assert gs.Journal(path).summary().done > 5000
        path.unlink()


class _Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, item: int) -> int:
        return item * self.factor

    def __call__(self, item: int) -> int:
        return item * self.factor


def _scale(factor: int) -> Callable[[int], int]:
    return lambda item: item * factor


@pytest.mark.parametrize("make", [_scale, _Scale, lambda factor: _Scale(factor).times])
def test_function_that_holds_other_values_is_refused(path: Path, make: Any) -> None:
    for _ in range(2):
        assert list(gs.map(make(2), [1, 2], journal=path, on="serial")) == [2, 4]
    with pytest.raises(gs.JournalMismatchError, match="arguments"):
        list(gs.map(make(100), [1, 2], journal=path, on="serial"))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (Path("a"), Path("b")),
        (b"a", b"b"),
        (dt.date(2020, 1, 1), dt.date(2024, 1, 1)),
        (Decimal("1.0"), Decimal("1.5")),
    ],
)
def test_changed_items_that_json_does_not_have_are_noticed(
    path: Path, before: Any, now: Any
) -> None:
    for _ in range(2):
        assert list(gs.map(str, [before], journal=path, on="serial")) == [str(before)]
    with pytest.raises(gs.JournalMismatchError, match="item 0"):
        list(gs.map(str, [now], journal=path, on="serial"))


def test_database_of_another_program_is_left_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE users(name)")
        other.commit()
    before = path.read_bytes()
    with pytest.raises(gs.JournalError, match=r"another program.*users"):
        list(gs.map(abs, [1], journal=path, on="serial"))
    assert path.read_bytes() == before


def test_name_that_sqlite_takes_for_no_file_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for replayed in (0, 3):
        run = gs.map(abs, range(3), journal=":memory:", on="serial")
        assert list(run) == [0, 1, 2]
        assert run.report.replayed == replayed
    with pytest.raises(ValueError, match="empty"):
        gs.map(abs, range(3), journal="")


def test_message_that_is_not_utf8_is_kept(path: Path) -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise ValueError("cannot read caf\udce9.txt")
        return item

    kept = list(gs.map(fail, range(10), journal=path, on="serial", errors="skip"))
    assert kept == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    summary = gs.Journal(path).summary()
    assert (summary.done, summary.failures[0][2]) == (9, r"cannot read caf\udce9.txt")


@pytest.mark.slow
def test_values_of_the_main_program_have_its_types_again(path: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import gearshift as gs
        from dataclasses import dataclass
        from enum import Enum
        class Colour(Enum):
            RED = 1
        @dataclass
        class Row:
            number: int
        def make(number):
            return Row(number), Colour.RED
        run = gs.map(make, range(3), journal={str(path)!r}, on="serial")
        print(list(run) == [(Row(number), Colour.RED) for number in range(3)], run.report.replayed)
        """)
    )
    said = [
        subprocess.run([sys.executable, program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said == ["True 0\n", "True 3\n"]


@pytest.mark.parametrize("slow_first", [True, False])
def test_long_items_are_the_same_however_they_are_pulled(path: Path, *, slow_first: bool) -> None:
    items = ["x" * (3000 if number % 5 == 4 else 10) for number in range(50)]
    ways: list[Any] = [items, _Singly(items)]
    for inputs in reversed(ways) if slow_first else ways:
        assert list(gs.map(len, inputs, journal=path, on="serial")) == list(map(len, items))
    items[4] = "y" * 3000
    for inputs in (items, _Singly(items)):
        with pytest.raises(gs.JournalMismatchError, match="item 4"):
            list(gs.map(len, inputs, journal=path, on="serial"))


class _Singly:
    """Inputs that a pull takes one at a time."""

    def __init__(self, items: list[str]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[str]:
        for item in self._items:
            until = time.perf_counter() + 0.002  # a pull of over 1 ms does not grow
            while time.perf_counter() < until:
                pass
            yield item
