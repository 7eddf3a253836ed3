"""Whatever ends a run: each outcome it gave out has been written once."""

from __future__ import annotations

import json
import os
import signal
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gearshift.cli.course import follow, passing_on
from gearshift.cli.interrupts import Interrupts
from gearshift.cli.problems import Broken, WrongUse
from gearshift.cli.writer import LineWriter
from gearshift.errors import RunCancelledError, UnsupportedError, WorkerDiedError
from gearshift.facts import Failure, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import click

    from gearshift.cli.course import End

REPORT = Report(
    engine="threads",
    workers=2,
    reasons=(),
    items=0,
    succeeded=0,
    failed=0,
    retried=0,
    abandoned=0,
    failures=(),
    seconds=1.0,
    busy_seconds=1.0,
    cpu_seconds=1.0,
    finished=True,
)


class FakeRun:
    """Gives outcomes as a run does; a callable among them is called at its turn."""

    def __init__(self, *outcomes: Any, settled: tuple[Any, ...] = (), abandoned: int = 0) -> None:
        self._left = deque(enumerate(outcomes))
        self._settled = settled
        self.report = replace(REPORT, abandoned=abandoned)
        self.is_cancelled = False
        self.is_closed = False

    def __iter__(self) -> Iterator[tuple[int, str, Any]]:
        while self._left:
            if self.is_cancelled:
                for index, outcome in enumerate(self._settled, 100):
                    yield index, str(index), outcome
                raise RunCancelledError("cancelled")
            index, outcome = self._left.popleft()
            if callable(outcome):
                outcome()
            else:
                yield index, str(index), outcome

    def cancel(self, *, grace: float = 0.0) -> None:
        self.is_cancelled = True

    def close(self) -> None:
        self.is_closed = True


def failure(index: int) -> Failure:
    return Failure(index, str(index), ValueError("bad"))


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Place:
    """A place for lines that may fail, or be interrupted, at the n-th."""

    def __init__(self, *, at: int = -1, act: Callable[[], None] | None = None) -> None:
        self.data = b""
        self._left = at
        self._act = act

    def write(self, data: bytes) -> None:
        self._left -= 1
        if self._left == -1 and self._act is not None:
            self._act()
        self.data += data

    @property
    def items(self) -> list[int]:
        return [int(json.loads(line)["item"]) for line in self.data.splitlines()]


def followed(run: FakeRun, place: Place, **options: Any) -> End:
    with Interrupts() as interrupts:
        return follow(run, LineWriter(place.write), interrupts, **options)  # type: ignore[arg-type]


def test_run_that_ends_by_itself_is_whole_and_closed() -> None:
    run, place = FakeRun(1, failure(1), 3), Place()
    end = followed(run, place)
    assert (end.cause, end.is_over, end.problem) == ("whole", True, None)
    assert (end.desk.written, end.desk.failed, end.desk.unwritten) == (3, 1, 0)
    assert end.desk.first_failure == "'1' failed: ValueError: bad"
    assert place.items == [0, 1, 2]
    assert run.is_closed


def test_value_that_is_not_json_is_a_failure_of_its_item() -> None:
    place = Place()
    end = followed(FakeRun(1, b"bytes", 3), place)
    assert (end.cause, end.desk.failed, end.desk.unwritten) == ("whole", 1, 1)
    error = json.loads(place.data.splitlines()[1])["error"]
    assert error["type"] == "TypeError"
    assert "it holds bytes" in error["message"]


def test_bare_values_leave_failures_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place()
    end = followed(FakeRun(1, failure(1), {"a": 2}, object()), place, bare=True)
    assert place.data == b'1\n{"a": 2}\n'
    assert end.desk.failed == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "'1' failed: ValueError: bad"
    assert second.startswith("'3' failed: TypeError: the value is not JSON, it holds object")


def test_first_failure_ends_it_where_that_is_asked_for() -> None:
    run, place = FakeRun(1, failure(1), 3), Place()
    end = followed(run, place, fail_fast=True)
    assert (end.cause, end.is_over) == ("first failure", False)
    assert place.items == [0, 1]
    assert run.is_cancelled


def test_tasks_that_went_on_are_not_waited_for() -> None:
    run = FakeRun(1, abandoned=1)
    end = followed(run, Place())
    assert (end.cause, end.is_over) == ("whole", False)
    assert not run.is_closed


def test_interrupt_between_items_writes_what_has_settled() -> None:
    run, place = FakeRun(1, 2, interrupt, 3, settled=(7, failure(101))), Place()
    end = followed(run, place)
    assert (end.cause, end.is_over) == ("interrupted", False)
    assert place.items == [0, 1, 100, 101]
    assert end.desk.written == 4


@pytest.mark.parametrize("at", [0, 1, 2])
def test_interrupt_while_a_line_is_written_neither_loses_nor_doubles_it(at: int) -> None:
    run, place = FakeRun(1, 2, 3, settled=(7,)), Place(at=at, act=interrupt)
    end = followed(run, place)
    assert end.cause == "interrupted"
    assert place.items == [*range(at + 1), *([100] if at < 2 else [])]


def test_interrupt_while_the_last_lines_are_written_comes_after_them() -> None:
    place = Place(at=0, act=interrupt)
    with Interrupts() as interrupts:
        writer = LineWriter(place.write, patient=True)
        end = follow(FakeRun(1, 2), writer, interrupts)  # type: ignore[arg-type]
    assert end.cause == "interrupted"
    assert place.items == [0, 1]


def test_second_interrupt_does_not_wait_for_the_line() -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    run, place = FakeRun(1, 2, 3, settled=(7,)), Place(at=1, act=twice)
    with Interrupts() as interrupts:
        end = follow(run, LineWriter(place.write), interrupts)  # type: ignore[arg-type]
        assert interrupts.status == 130
    assert end.cause == "interrupted"
    assert place.items == [0, 100]


def test_termination_is_an_interrupt_with_a_status_of_its_own() -> None:
    run = FakeRun(1, lambda: os.kill(os.getpid(), signal.SIGTERM), 2)
    with Interrupts() as interrupts:
        end = follow(run, LineWriter(Place().write), interrupts)  # type: ignore[arg-type]
        assert (interrupts.status, interrupts.name) == (143, "SIGTERM")
    assert end.cause == "interrupted"


def test_workers_that_died_of_the_signal_are_no_problem_of_their_own() -> None:
    class GroupSignalled(FakeRun):
        def cancel(self, *, grace: float = 0.0) -> None:
            self._left.append((9, raising(WorkerDiedError("SIGTERM"))))

    end = followed(GroupSignalled(1, interrupt), Place())
    assert (end.cause, end.problem) == ("interrupted", None)


def test_reader_that_goes_away_ends_it_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    run, place = FakeRun(1, 2, 3), Place(at=1, act=raising(BrokenPipeError(32, "Broken pipe")))
    end = followed(run, place)
    assert (end.cause, end.problem, end.is_over) == ("reader gone", None, False)
    assert run.is_cancelled
    assert capsys.readouterr() == ("", "")


def test_full_disk_is_a_problem() -> None:
    place = Place(at=1, act=raising(OSError(28, "No space left on device")))
    end = followed(FakeRun(1, 2, 3), place)
    assert end.cause == "broken"
    assert isinstance(end.problem, Broken)
    assert end.problem.message == "writing the output failed: No space left on device."


def test_broken_pipe_of_the_run_is_not_taken_for_the_readers() -> None:
    with pytest.raises(BrokenPipeError):
        followed(FakeRun(1, raising(BrokenPipeError(32, "Broken pipe"))), Place())


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (WorkerDiedError("item 1: SIGKILL"), Broken, "WorkerDiedError: item 1: SIGKILL"),
        (UnsupportedError("cannot stop"), WrongUse, "cannot stop"),
        (Broken("reading urls.txt failed"), Broken, "reading urls.txt failed"),
    ],
)
def test_run_that_breaks_keeps_its_lines_and_says_why(
    error: Exception, kind: type[click.ClickException], words: str
) -> None:
    place = Place()
    end = followed(FakeRun(1, 2, raising(error)), place)
    assert place.items == [0, 1]
    assert (end.cause, end.is_over) == ("broken", False)
    assert isinstance(end.problem, kind)
    assert end.problem.message == words


def test_lines_are_passed_on_before_an_item_is_waited_for() -> None:
    place = Place()
    writer = LineWriter(place.write, patient=True)
    with Interrupts() as interrupts:
        pass_on = passing_on(writer, interrupts)
        pass_on()
        writer.add(b"a\n")
        assert place.data == b""
        pass_on()
        assert place.data == b"a\n"
        assert not interrupts.held


def test_interrupt_while_lines_are_passed_on_comes_after_them() -> None:
    place = Place(at=0, act=interrupt)
    writer = LineWriter(place.write, patient=True)
    with Interrupts() as interrupts:
        writer.add(b"a\n")
        with pytest.raises(KeyboardInterrupt):
            passing_on(writer, interrupts)()
    assert place.data == b"a\n"


def test_reader_that_went_away_is_noticed_before_an_item_is_waited_for() -> None:
    place = Place(at=0, act=raising(BrokenPipeError(32, "Broken pipe")))
    writer = LineWriter(place.write, patient=True)
    with Interrupts() as interrupts:
        run = FakeRun(1, passing_on(writer, interrupts), 2)
        end = follow(run, writer, interrupts)  # type: ignore[arg-type]
    assert end.cause == "reader gone"


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
