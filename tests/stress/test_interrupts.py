"""Ctrl-C at random moments loses no value, gives none twice, and leaves nothing behind.

The file is two programs, and long for that: they hold to one protocol. As a test it
starts itself as a child in a session of its own, and sends SIGINT at random moments; as
a script it is that child, which goes on with a new loop over the same run after each
KeyboardInterrupt, run after run, until told to stop. At most one signal is on its way:
the child acknowledges each in its `try`, so none can strike in its `except`.

    parent: random wait -> SIGINT -> wait for the acknowledgement -> again
    child:  out.extend(run) -> KeyboardInterrupt -> acknowledge -> out.extend(run)

The consumer is `out.extend(run)` since a `for` loop has a gap of its own: CPython looks
for signals between receiving a value and storing it (after the call of `append`, and at
each jump backwards), so an interrupt there drops a value that gearshift has given out.
`list.extend` receives and stores in one C loop without such a look, and keeps what it
got when the iterator raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import itertools
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ENGINES = ("serial", "threads", "asyncio", "processes")
LONGEST_WAIT_SECONDS = 0.004  # between two interrupts: some strike while the run starts
SWALLOWED_SECONDS = 5.0  # what is not acknowledged by then reached nobody, or the child hangs
MOST_SWALLOWED = 2
STUCK_SECONDS = 20.0  # the child has so long to end
FULL_COUNT = 1000
SMALL_COUNT = 60


@dataclass(frozen=True)
class Case:
    """One child: what its runs are like, and who is interrupted."""

    engine: str
    ordered: bool = True
    micros: int = 0  # what an item takes
    chunksize: int | None = None
    group: bool = False  # the signal goes to worker processes too, as from a terminal
    warm: bool = False  # one engine for all runs
    source: str = "range"  # or "iterator" (in C, alive after an interrupt), "generator"

    @property
    def name(self) -> str:
        """What tells it from other cases, for the test's name."""
        parts = [
            self.engine,
            "ordered" if self.ordered else "unordered",
            f"{self.micros}us",
            f"chunk{self.chunksize or 'auto'}",
            "group" if self.group else "alone",
            "warm" if self.warm else "cold",
            self.source,
        ]
        return "-".join(parts)

    @property
    def items(self) -> int:
        """Items of a run: about 0.1 s of them."""
        if self.source == "generator":
            return 2000
        if self.micros >= 1000:
            return 120
        if self.micros:
            return 3000
        return 4000 if self.engine == "asyncio" or self.chunksize == 1 else 100_000


def _cases() -> list[Case]:
    """Return the full matrix without what would only repeat another case."""
    cases = []
    for engine, ordered, micros in itertools.product(ENGINES, (True, False), (0, 10, 1000)):
        cases.append(Case(engine, ordered=ordered, micros=micros, group=engine == "processes"))
    for engine in ENGINES:
        cases += [
            Case(engine, chunksize=1, group=True, source="iterator"),
            Case(engine, micros=10, chunksize=7, ordered=False, warm=True),
        ]
    cases += [
        Case("processes", micros=10),
        Case("processes", micros=1000, warm=True, group=True),
        Case("auto", micros=10),
        Case("auto", micros=1000, group=True),
    ]
    return cases


CASES = _cases()
SMALL = [
    Case("serial"),
    Case("serial", ordered=False, micros=10),
    Case("threads"),
    Case("threads", ordered=False, micros=1000, warm=True),
    Case("asyncio"),
    Case("processes", group=True),
    Case("processes", ordered=False, micros=10, warm=True),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_interrupts_lose_and_double_nothing(case: Case) -> None:
    check(case, SMALL_COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["serial", "threads", "processes"])
def test_interrupt_inside_a_generator_source_ends_the_run_and_loses_nothing(engine: str) -> None:
    check(Case(engine, source="generator"), 12)


@pytest.mark.stress
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_thousand_interrupts_lose_and_double_nothing(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    share = sum(each.engine == case.engine for each in CASES)
    report = check(case, -(-FULL_COUNT // share))
    with capsys.disabled():
        print(f"\n{case.name}: {report}")


@pytest.mark.stress
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["serial", "threads", "asyncio", "processes", "auto"])
def test_a_hundred_interrupts_inside_generator_sources_lose_nothing(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check(Case(engine, source="generator"), 100)
    with capsys.disabled():
        print(f"\n{engine}, generator: {report}")


# The parent


def check(case: Case, count: int) -> str:
    """Interrupt a child so often, see that all is well, and return the counts in words."""
    seed = random.randrange(2**32)
    acks_fd, child_fd = os.pipe()
    stop_fd, parent_fd = os.pipe()
    command = [sys.executable, __file__, json.dumps(asdict(case)), str(child_fd), str(stop_fd)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(child_fd, stop_fd),
        start_new_session=True,
    )
    os.close(child_fd)
    os.close(stop_fd)
    try:
        sent, swallowed = _interrupt(
            child, acks_fd, count, group=case.group, chance=random.Random(seed)
        )
        with contextlib.suppress(BrokenPipeError):  # it ended before: its exit code tells
            os.write(parent_fd, b"stop")
        output, noise = child.communicate(timeout=STUCK_SECONDS)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGABRT)  # faulthandler says where it is
        output, noise = child.communicate()
        sent = swallowed = -1
    finally:
        os.close(acks_fd)
        os.close(parent_fd)
        left = _kill_session(child)
    told = f"{case.name}, seed {seed}, {sent} interrupts sent, {swallowed} swallowed, exit code {child.returncode}"
    assert child.returncode == 0, f"{told}\n{output}{noise}"
    result = json.loads(output)
    assert not result["wrong"], f"{told}\n{result}"
    assert swallowed == 0, f"{told}\n{result}\n{noise}"
    assert not noise, f"{told}\n{noise}"
    assert not left, f"{told}: left behind {left}"
    assert sent >= count, f"{told}\n{result}"
    return f"{sent} interrupts, {result['runs']} runs, {result['items']} items, nothing lost or doubled"


def _interrupt(
    child: subprocess.Popen[str], acks_fd: int, count: int, *, group: bool, chance: random.Random
) -> tuple[int, int]:
    """Send interrupts, each after the last was acknowledged; return how many, and how many never were."""
    sent = swallowed = 0
    while True:
        ready, _, _ = select.select([acks_fd], [], [], SWALLOWED_SECONDS)
        if ready and not os.read(acks_fd, 1):
            break  # it ended, which its exit code will explain
        if not ready:
            swallowed += 1
            if swallowed > MOST_SWALLOWED:
                raise subprocess.TimeoutExpired(child.args, SWALLOWED_SECONDS)
        if sent == count:
            break  # this was the last one's acknowledgement
        time.sleep(chance.random() ** 2 * LONGEST_WAIT_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(child.pid, signal.SIGINT)
            else:
                os.kill(child.pid, signal.SIGINT)
        sent += 1
    return sent, swallowed


def _kill_session(child: subprocess.Popen[str]) -> list[str]:
    """Return what is left of the child's session, and end it."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == child.pid and process.pid != child.pid:
                left.append(f"{process.pid} {process.status()}")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    return left


# The child


def main(case: Case, acks_fd: int, stop_fd: int) -> None:
    """Run until told to stop, and print what came of it."""
    engine = _engine(case) if case.warm else None
    function = _function(case)
    before = _open_files()
    result: dict[str, Any] = {"runs": 0, "items": 0, "interrupts": 0, "wrong": []}
    consumer = Consumer(acks_fd)
    while not select.select([stop_fd], [], [], 0)[0] and not result["wrong"]:
        source = Source(case)
        run = gs.map(
            function,
            source,
            on=engine if engine is not None else case.engine,
            ordered=case.ordered,
            chunksize=case.chunksize,
        )
        error = consumer.consume(run)
        result["runs"] += 1
        result["items"] += len(consumer.out)
        result["wrong"] += source.judge(consumer.out, error, ordered=case.ordered)
        consumer.out.clear()
        del run, error  # its traceback would keep the run's descriptor
    consumer.end()
    if engine is not None:
        engine.shutdown()
    result["interrupts"] = consumer.interrupts
    result["wrong"] += _left_behind(before)
    print(json.dumps(result))


class Consumer:
    """Receives values whatever strikes, and acknowledges each interrupt."""

    def __init__(self, acks_fd: int) -> None:
        """Be ready for the first interrupt from the first `consume` on."""
        self.out: list[Any] = []
        self.interrupts = 0
        self._acks_fd = acks_fd
        self._owed = True  # the first acknowledgement says that we are ready

    def consume(self, run: Iterable[Any]) -> BaseException | None:
        """Take all values, and return what the run ended with; interrupts between runs wait for the next."""
        error: BaseException | None = (
            None  # raised once: an interrupt after it must not lose it here
        )
        while True:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                if self._owed:
                    self._owed = False
                    os.write(self._acks_fd, b"!")
                try:
                    if error is None:
                        self.out.extend(run)
                except Exception as raised:
                    error = raised
                signal.signal(signal.SIGINT, self._note)
            except KeyboardInterrupt:
                self.interrupts += 1
                self._owed = True
            else:
                return error

    def end(self) -> None:
        """Take the last interrupt, if it is still to come."""
        signal.signal(signal.SIGINT, self._note)

    def _note(self, _signum: int, _frame: object) -> None:
        self.interrupts += 1
        self._owed = True


class Source:
    """The inputs of a run; a generator among them dies of an interrupt."""

    def __init__(self, case: Case) -> None:
        """Prepare the inputs that the case asks for."""
        self._case = case
        self._begun = self._given = 0  # by a generator, which may be struck in between

    def __iter__(self) -> Iterator[int]:
        """Return the inputs."""
        if self._case.source == "generator":
            return self._generate()
        if self._case.source == "iterator":
            return map(int, range(self._case.items))
        return iter(range(self._case.items))

    def judge(self, out: list[int], error: BaseException | None, *, ordered: bool) -> list[str]:
        """Return what is wrong with the values of a run."""
        received = out if ordered else sorted(out)
        inputs = [value // 2 for value in received]
        if self._case.source == "generator" and isinstance(error, gs.RunClosedError):
            if inputs in (list(range(self._given)), list(range(self._begun))):
                return []
            return [f"given {self._given} to {self._begun}: {_differences(inputs, self._given)}"]
        wrong = [] if error is None else [f"ended with {error!r} from {error.__cause__!r}"]
        if inputs != list(range(self._case.items)):
            wrong.append(_differences(inputs, self._case.items))
        return wrong

    def _generate(self) -> Iterator[int]:
        for item in range(self._case.items):
            if item % 16 == 0:
                time.sleep(0.0003)
            self._begun = item + 1
            yield item
            self._given = item + 1


def _differences(inputs: list[int], expected: int) -> str:
    counts = dict.fromkeys(range(expected), 0)
    for item in inputs:
        counts[item] = counts.get(item, 0) + 1
    lost = [item for item, count in counts.items() if count == 0]
    doubled = [item for item, count in counts.items() if count > 1]
    order = "in order" if inputs == sorted(inputs) else "out of order"
    return f"of {expected} items {len(lost)} lost {lost[:10]}, {len(doubled)} doubled {doubled[:10]}, {order}"


def _function(case: Case) -> Callable[[int], Any]:
    return ASYNC_FUNCTIONS[case.micros] if case.engine == "asyncio" else FUNCTIONS[case.micros]


def _double(item: int) -> int:
    return item * 2


def _double_in_10us(item: int) -> int:
    until = time.perf_counter() + 1e-5
    while time.perf_counter() < until:
        pass
    return item * 2


def _double_in_1ms(item: int) -> int:
    time.sleep(0.001)
    return item * 2


async def _adouble(item: int) -> int:
    return item * 2


async def _adouble_in_10us(item: int) -> int:
    await asyncio.sleep(0)
    return _double_in_10us(item)


async def _adouble_in_1ms(item: int) -> int:
    await asyncio.sleep(0.001)
    return item * 2


FUNCTIONS: dict[int, Callable[[int], Any]] = {0: _double, 10: _double_in_10us, 1000: _double_in_1ms}
ASYNC_FUNCTIONS: dict[int, Callable[[int], Any]] = {
    0: _adouble,
    10: _adouble_in_10us,
    1000: _adouble_in_1ms,
}


def _engine(case: Case) -> Any:
    kinds = {
        "serial": gs.engines.SerialExecutor,
        "threads": gs.engines.ThreadExecutor,
        "asyncio": gs.engines.AsyncioExecutor,
        "processes": gs.engines.ProcessExecutor,
    }
    return kinds[case.engine]()


def _left_behind(before: set[str]) -> list[str]:
    """Return threads, processes and files that are still there after a moment."""
    until = time.monotonic() + 2.0
    while True:
        gc.collect()  # the standard library's pool is in cycles
        left = [
            f"thread {thread.name}"
            for thread in threading.enumerate()
            if thread is not threading.main_thread()
        ]
        left += [f"process {child.pid}" for child in psutil.Process().children(recursive=True)]
        left += [f"file {file}" for file in _open_files() - before]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.01)


def _open_files() -> set[str]:
    folder = Path("/proc/self/fd")
    found = set()
    for fd in os.listdir(folder):  # noqa: PTH208 - the names are all we need
        with contextlib.suppress(OSError):  # the listing's own
            found.add(f"{fd} {os.readlink(folder / fd)}")  # noqa: PTH115
    return found


if __name__ == "__main__":
    faulthandler.enable()
    signal.signal(signal.SIGINT, lambda _signum, _frame: None)  # until the consumer is ready
    main(Case(**json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
