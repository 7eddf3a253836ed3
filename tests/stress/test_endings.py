"""Every way in which a run can end leaves nothing behind and prints nothing it should not.

Most endings happen in this process, where `conftest.py` looks for what is left and
`_silent` for what was printed. Those that end a program happen in a child: this file
again, as a script, with the name of a function of `PROGRAMS` and an engine. It is long
since a way to end that is missing here should be seen to be missing.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import aclosing, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

ENGINES = ("serial", "threads", "asyncio", "processes", "auto")
APART = ("threads", "asyncio", "processes")  # tasks run while the caller does something else
EXECUTORS: dict[str, Any] = {
    "threads": gs.engines.ThreadExecutor,
    "asyncio": gs.engines.AsyncioExecutor,
    "processes": gs.engines.ProcessExecutor,
}
TASK_SECONDS = 0.02
HANG_SECONDS = 60.0
EXIT_SECONDS = 2.5  # the interpreter's start included; a run's own end takes 1 s at most
CHILD_SECONDS = 8.0

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _silent(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    gc.collect()
    assert not capfd.readouterr().err
    assert not caplog.records


# Functions and sources


def _double(item: int) -> int:
    time.sleep(TASK_SECONDS)
    return item * 2


async def _adouble(item: int) -> int:
    await asyncio.sleep(TASK_SECONDS)
    return item * 2


def _fail_at_three(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return _double(item)


async def _afail_at_three(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return await _adouble(item)


def _hang_after_one(item: int) -> int:
    if item:
        time.sleep(HANG_SECONDS)
    return item * 2


async def _ahang_after_one(item: int) -> int:
    if item:
        await asyncio.sleep(HANG_SECONDS)
    return item * 2


def _failing_source() -> Iterator[int]:
    yield from range(4)
    raise OSError("the source is broken")


async def _asource() -> AsyncIterator[int]:
    for item in itertools.count():
        await asyncio.sleep(0)
        yield item


def _endless(engine: str, **options: Any) -> gs.Run[int]:
    return gs.map(_suited(engine, _double, _adouble), itertools.count(), on=engine, **options)


def _suited(
    engine: str, function: Callable[[int], int], coroutine: Callable[[int], Any]
) -> Callable[[int], Any]:
    return coroutine if engine == "asyncio" else function


# Under `for`


@pytest.mark.parametrize("engine", ENGINES)
def test_exhausted_run_leaves_nothing_at_once(engine: str) -> None:
    threads, children = threading.active_count(), psutil.Process().children()
    run = gs.map(_suited(engine, _double, _adouble), range(10), on=engine)
    assert list(run) == list(range(0, 20, 2))
    assert threading.active_count() == threads
    assert psutil.Process().children() == children
    assert run.report.finished
    assert list(run) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_break_without_with_ends_in_the_background(engine: str) -> None:
    for value in _endless(engine):
        if value == 6:
            break


@pytest.mark.parametrize("engine", ENGINES)
def test_break_inside_with_leaves_nothing_at_once(engine: str) -> None:
    threads, children = threading.active_count(), psutil.Process().children()
    with _endless(engine) as run:
        for value in run:
            if value == 6:
                break
    assert threading.active_count() == threads
    assert psutil.Process().children() == children
    with pytest.raises(gs.RunClosedError):
        next(run)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inside_with", [True, False])
def test_exception_in_the_body_passes_through(engine: str, inside_with: bool) -> None:
    def loop() -> None:
        with run if inside_with else nullcontext():
            for _ in run:
                raise KeyError("mine")

    run = _endless(engine)
    with pytest.raises(KeyError, match="mine"):
        loop()


@pytest.mark.parametrize("engine", ENGINES)
def test_failure_is_raised_after_what_comes_before_it(engine: str) -> None:
    out: list[int] = []
    before = threading.active_count()
    run = gs.map(_suited(engine, _fail_at_three, _afail_at_three), itertools.count(), on=engine)
    with pytest.raises(ValueError, match="three"):
        out.extend(run)
    assert out == [0, 2, 4]
    assert threading.active_count() == before or engine != "serial"


@pytest.mark.parametrize("engine", ENGINES)
def test_source_that_raises_is_raised_after_its_items(engine: str) -> None:
    out: list[int] = []
    with pytest.raises(OSError, match="the source is broken"):
        out.extend(gs.map(_suited(engine, _double, _adouble), _failing_source(), on=engine))
    assert out == [0, 2, 4, 6]


@pytest.mark.parametrize("engine", ENGINES)
def test_cancel_from_a_thread_ends_the_loop(engine: str) -> None:
    def loop() -> None:
        for value in run:
            out.append(value)
            if value == 6:
                canceller.start()

    run = _endless(engine)
    out: list[int] = []
    canceller = threading.Thread(target=run.cancel)
    with pytest.raises(gs.RunCancelledError):
        loop()
    canceller.join()
    assert out == sorted(set(out))  # what had settled, in order; what had not is missing
    assert all(value % 2 == 0 for value in out)
    assert len(out) == run.report.succeeded  # nothing that had settled is lost


@pytest.mark.parametrize("engine", ENGINES)
def test_close_while_tasks_run_leaves_nothing_at_once(engine: str) -> None:
    threads, children = threading.active_count(), psutil.Process().children()
    run = _endless(engine)
    assert next(run) == 0
    run.close()
    run.close()
    assert threading.active_count() == threads
    assert psutil.Process().children() == children


@pytest.mark.parametrize("engine", ENGINES)
def test_close_inside_the_loop_ends_it(engine: str) -> None:
    run = _endless(engine)
    out = []
    with suppress(gs.RunClosedError):
        for value in run:
            out.append(value)
            run.close()
    assert out == list(range(0, 2 * len(out), 2))  # what had been emitted may still come


@pytest.mark.parametrize("engine", ENGINES)
def test_run_that_nobody_holds_lets_go(engine: str) -> None:
    run = _endless(engine)
    assert next(run) == 0
    del run


@pytest.mark.parametrize("engine", ENGINES)
def test_iterator_that_nobody_holds_lets_go(engine: str) -> None:
    values = iter(_endless(engine))
    assert next(values) == 0
    del values


@pytest.mark.parametrize("engine", ENGINES)
def test_cycle_with_a_run_is_collected(engine: str) -> None:
    run = _endless(engine)
    assert next(run) == 0
    cycle: list[Any] = [run, iter(run)]
    cycle.append(cycle)
    del run, cycle
    gc.collect()


@pytest.mark.parametrize("engine", ENGINES)
def test_run_never_iterated_warns_and_starts_nothing(engine: str) -> None:
    runs = [gs.map(_suited(engine, _double, _adouble), range(3), on=engine)]
    with pytest.warns(RuntimeWarning, match="never iterated"):
        runs.clear()


@pytest.mark.parametrize("engine", ENGINES)
def test_closed_run_never_iterated_does_not_warn(engine: str) -> None:
    with gs.map(_suited(engine, _double, _adouble), range(3), on=engine):
        pass


@pytest.mark.parametrize("engine", APART)
def test_engine_of_the_users_outlives_every_ending(engine: str) -> None:
    function = _suited(engine, _double, _adouble)
    with EXECUTORS[engine](2) as own:
        with gs.map(function, itertools.count(), on=own) as run:
            assert next(run) == 0
        run = gs.map(function, itertools.count(), on=own)
        assert next(run) == 0
        del run
        run = gs.map(function, itertools.count(), on=own)
        assert next(run) == 0
        run.cancel()
        with pytest.raises(gs.RunCancelledError):
            list(run)
        assert list(gs.map(function, range(4), on=own)) == [0, 2, 4, 6]


# Under `async for`


@pytest.mark.parametrize("engine", ENGINES)
def test_async_for_to_the_end_leaves_nothing(engine: str) -> None:
    async def main() -> None:
        run = gs.map(_suited(engine, _double, _adouble), range(10), on=engine)
        assert [value async for value in run] == list(range(0, 20, 2))
        assert _other_tasks() == set()

    asyncio.run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_break_in_async_for_inside_async_with_leaves_no_task(engine: str) -> None:
    async def main() -> None:
        async with _endless(engine) as run:
            async for value in run:
                if value == 6:
                    break
        assert _other_tasks() == set()

    asyncio.run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_break_in_bare_async_for_lets_go(engine: str) -> None:
    async def main() -> None:
        async for value in _endless(engine):
            if value == 6:
                break
        gc.collect()
        await asyncio.sleep(2 * TASK_SECONDS)

    asyncio.run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_aclose_of_the_iterator_lets_go(engine: str) -> None:
    async def main() -> None:
        run = _endless(engine)
        async with aclosing(aiter(run)) as values:  # type: ignore[type-var]
            assert await anext(values) == 0
        await run.aclose()
        await run.aclose()
        assert _other_tasks() == set()

    asyncio.run(main())


@pytest.mark.parametrize("inside_with", [True, False])
@pytest.mark.parametrize("engine", ENGINES)
def test_cancelled_consumer_lets_go(engine: str, inside_with: bool) -> None:
    async def consume(began: asyncio.Event) -> None:
        run = _endless(engine)
        if inside_with:
            async with run:
                async for _ in run:
                    began.set()
        else:
            async for _ in run:
                began.set()

    async def main() -> None:
        began = asyncio.Event()
        consumer = asyncio.create_task(consume(began))
        await began.wait()
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        if inside_with:
            assert _other_tasks() == set()

    asyncio.run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_exception_in_async_body_passes_through(engine: str) -> None:
    async def main() -> None:
        async with _endless(engine) as run:
            async for _ in run:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_loop_that_ends_under_a_half_consumed_run_leaves_nothing(engine: str) -> None:
    held: list[Any] = []

    async def main() -> None:
        run = _endless(engine)
        values = aiter(run)
        assert await anext(values) == 0
        held.extend([run, values])

    asyncio.run(main())
    held.clear()


@pytest.mark.parametrize("engine", ENGINES)
def test_async_source_is_let_go_with_its_run(engine: str) -> None:
    async def main() -> None:
        async with gs.map(_suited(engine, _double, _adouble), _asource(), on=engine) as run:
            async for value in run:
                if value == 6:
                    break
        assert _other_tasks() == set()

    asyncio.run(main())


def _other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


# Endings of a program


def _exit_half_consumed(engine: str) -> None:
    """The interpreter ends with a run that a module holds, and tasks that run."""
    globals()["run"] = _endless(engine)
    assert next(globals()["run"]) == 0


def _exit_half_consumed_iterator(engine: str) -> None:
    globals()["values"] = iter(_endless(engine))
    assert next(globals()["values"]) == 0


def _exit_with_hung_tasks(engine: str) -> None:
    globals()["run"] = gs.map(
        _suited(engine, _hang_after_one, _ahang_after_one), itertools.count(), on=engine
    )
    assert next(globals()["run"]) == 0


def _exit_from_the_body(engine: str) -> None:
    for value in _endless(engine):
        if value == 6:
            sys.exit(3)


def _exit_from_a_with_body(engine: str) -> None:
    with _endless(engine) as run:
        for value in run:
            if value == 6:
                sys.exit(3)


def _exit_never_iterated(engine: str) -> None:
    globals()["run"] = _endless(engine)


def _exit_of_a_thread(engine: str) -> None:
    """A thread that is not the main one iterates, and the program ends under it."""

    def iterate() -> None:
        with suppress(gs.RunCancelledError, gs.RunClosedError):
            for _ in _endless(engine):
                has_begun.set()

    has_begun = threading.Event()
    threading.Thread(target=iterate, daemon=True).start()
    has_begun.wait()


def _exit_under_a_loop(engine: str) -> None:
    async def main() -> None:
        run = _endless(engine)
        values = aiter(run)
        assert await anext(values) == 0
        globals()["held"] = [run, values]

    asyncio.run(main())


def _interrupt_uncaught(engine: str) -> None:
    for value in _endless(engine):
        if value == 6:
            os.kill(os.getpid(), signal.SIGINT)


def _interrupt_uncaught_in_with(engine: str) -> None:
    with _endless(engine) as run:
        for value in run:
            if value == 6:
                os.killpg(0, signal.SIGINT)


def _interrupt_uncaught_with_hung_tasks(engine: str) -> None:
    for _ in gs.map(
        _suited(engine, _hang_after_one, _ahang_after_one), itertools.count(), on=engine
    ):
        os.killpg(0, signal.SIGINT)


def _fork_in_the_body(engine: str) -> None:
    """A forked child has a run of its own, on an engine whose threads it has not."""
    function = _suited(engine, _double, _adouble)
    with EXECUTORS[engine](2) as own, gs.map(function, range(40), on=own) as run:
        assert next(run) == 0
        child = os.fork()
        if child == 0:
            assert list(gs.map(function, range(5), on=own)) == [0, 2, 4, 6, 8]
            assert list(gs.map(function, range(5), on=engine)) == [0, 2, 4, 6, 8]
            own.shutdown()
            os._exit(7)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7, os.waitstatus_to_exitcode(status)
        assert list(run) == list(range(2, 80, 2))


def _fork_in_the_body_and_exit(engine: str) -> None:
    """A forked child that only leaves takes nothing of its parent's with it."""
    with _endless(engine) as run:
        assert next(run) == 0
        child = os.fork()
        if child == 0:
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7, os.waitstatus_to_exitcode(status)
        assert next(run) == 2


PROGRAMS: dict[str, tuple[Callable[[str], None], tuple[str, ...], int, str]] = {
    # name: function, engines, exit code, last line on stderr
    "exit half consumed": (_exit_half_consumed, ENGINES, 0, ""),
    "exit half consumed, iterator": (_exit_half_consumed_iterator, ENGINES, 0, ""),
    "exit with hung tasks": (_exit_with_hung_tasks, APART, 0, ""),
    "exit from the body": (_exit_from_the_body, ENGINES, 3, ""),
    "exit from a with body": (_exit_from_a_with_body, ENGINES, 3, ""),
    "exit never iterated": (_exit_never_iterated, ENGINES, 0, "RuntimeWarning"),
    "exit of a thread": (_exit_of_a_thread, ENGINES, 0, ""),
    "exit under a loop": (_exit_under_a_loop, ENGINES, 0, ""),
    "interrupt": (_interrupt_uncaught, ENGINES, -signal.SIGINT, "KeyboardInterrupt"),
    "interrupt in with": (
        _interrupt_uncaught_in_with,
        ENGINES,
        -signal.SIGINT,
        "KeyboardInterrupt",
    ),
    "interrupt with hung tasks": (
        _interrupt_uncaught_with_hung_tasks,
        APART,
        -signal.SIGINT,
        "KeyboardInterrupt",
    ),
    "fork": (_fork_in_the_body, APART, 0, ""),
    "fork and exit": (_fork_in_the_body_and_exit, ENGINES, 0, ""),
}


@pytest.mark.parametrize(
    ("name", "engine"),
    [(name, engine) for name, (_, engines, _, _) in PROGRAMS.items() for engine in engines],
)
def test_program_ends_soon_and_clean(name: str, engine: str) -> None:
    _, _, exit_code, last_line = PROGRAMS[name]
    command = [sys.executable, "-W", "default", __file__, json.dumps([name, engine])]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, noise = child.communicate(timeout=CHILD_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGABRT)
        output, noise = child.communicate()
        pytest.fail(f"it hangs\n{output}{noise}")
    finished = time.time()
    left = _left_in_session(child.pid)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == exit_code, noise
    if not last_line:
        assert not noise
    else:
        assert last_line in noise
        assert noise.count("Traceback") == (last_line == "KeyboardInterrupt")
        assert "gnored" not in noise
    assert not left
    ended, _, _ = output.partition("\n")
    assert finished - float(ended) < EXIT_SECONDS


def _left_in_session(leader: int) -> list[str]:
    """Return the processes that are still in the session after a moment.

    Those that have ended and only wait for init to notice do not count: how soon that
    is, is the machine's affair (in a container it may be never).
    """
    until = time.monotonic() + 1.0
    while True:
        left = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                has_ended = (
                    process.status() == psutil.STATUS_ZOMBIE and process.ppid() != os.getpid()
                )
                if process.pid != leader and os.getsid(process.pid) == leader and not has_ended:
                    left.append(f"{process.pid} {process.status()}")
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.02)


if __name__ == "__main__":
    import faulthandler

    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _name, _engine = json.loads(sys.argv[1])
    try:
        PROGRAMS[_name][0](_engine)
    finally:
        print(time.time(), flush=True)  # from here on the program only ends
