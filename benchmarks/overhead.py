"""Measure what gearshift costs before it gains anything, beside its peers in the same run.

    python benchmarks/overhead.py                        all parts, about 3 minutes
    python benchmarks/overhead.py imports trivial        two of them
    python benchmarks/overhead.py --quick                a first look, about 20 s
    python benchmarks/overhead.py --save overhead-2cores also into results/

Parts: `imports` (fresh interpreters), `trivial` (a million x*x), `memory` (an endless
generator; a stalled consumer), `waiting` (1,000 calls that sleep for 20 ms). Candidates
take turns in every round, and a figure is the median of the rounds; differences to the
plain loop or the bare interpreter are taken within a round, since the machine's speed
moves from one to the next. Peers that are not installed are named and left out
(requirements.txt). Floors and goals stand beside the figures; "short" means what it says.
One file, though long, so that all parts measure in one way.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.pool
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

import psutil
from harness import Row, is_installed, rounds_of, row, run

import gearshift as gs
from gearshift.host import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

OPTIONAL = ("joblib", "loky")  # peers that may be missing
MIB = 2**20


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    imports: int  # rounds of fresh interpreters
    items: int
    results: int  # taken from the endless generator
    pause_seconds: float
    calls: int  # that wait


FULL = Size(rounds=7, imports=15, items=1_000_000, results=1_000_000, pause_seconds=3.0, calls=1000)
QUICK = Size(rounds=3, imports=3, items=200_000, results=100_000, pause_seconds=1.0, calls=200)


def main(argv: Sequence[str]) -> None:
    """Measure the parts asked for."""
    parts = {name: partial(_sized, measure) for name, measure in PARTS.items()}
    run("Overhead", __doc__, parts, OPTIONAL, argv)


def _sized(measure: Callable[[Size], list[Row]], quick: bool) -> list[Row]:
    return measure(QUICK if quick else FULL)


# Imports

IMPORTS = {
    "import gearshift": "import gearshift",
    "import gearshift, and the first result of gs.map": (
        "import gearshift as gs\ndef f(x): return x * x\nassert list(gs.map(f, [3])) == [9]"
    ),
    "multiprocessing.pool": "import multiprocessing.pool",
    "concurrent.futures, both pools": "from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor",
    "asyncio": "import asyncio",
    "joblib": "import joblib",
    "loky": "import loky",
}
FOREIGN_MODULES = (
    "import sys\nbefore = set(sys.modules)\nimport gearshift\n"
    "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
    "print(*sorted(new - set(sys.stdlib_module_names) - {'gearshift'}))"
)


def measure_imports(size: Size) -> list[Row]:
    """Return the seconds beyond a bare interpreter, each in fresh interpreters."""
    there = {
        name: code for name, code in IMPORTS.items() if name not in OPTIONAL or is_installed(name)
    }
    candidates: dict[str, Callable[[], float]] = {"bare": partial(_interpreter_seconds, "pass")}
    candidates |= {name: partial(_interpreter_seconds, code) for name, code in there.items()}
    seconds = rounds_of(candidates, size.imports)
    bare = seconds.pop("bare")
    foreign = _interpreter_output(FOREIGN_MODULES).split()
    rows = [row("imports", "a bare interpreter", "ms", [1000 * each for each in bare])]
    for name, taken in seconds.items():
        more: dict[str, Any] = {}
        if name == "import gearshift":
            more = {
                "floor": 60.0,
                "goal": 25.0,
                "note": f"third-party modules: {', '.join(foreign) or 'none'}",
            }
        beyond = [1000 * (each - base) for each, base in zip(taken, bare, strict=True)]
        rows.append(row("imports", name, "ms beyond bare", beyond, **more))
    return rows


def _interpreter_seconds(code: str) -> float:
    started = time.perf_counter()
    _interpreter_output(code)
    return time.perf_counter() - started


def _interpreter_output(code: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


# A million trivial items


def square(item: int) -> int:
    """Return the square: about the least that a function can do."""
    return item * item


def measure_trivial(size: Size) -> list[Row]:
    """Return the microseconds an item above the plain loop's; pools are made and ended within the time."""
    many, fewer = size.items, size.items // 20
    counts = {"plain loop": many}
    candidates: dict[str, Callable[[], float]] = {
        "plain loop": partial(_seconds_of, _plain_loop, many)
    }

    def add(name: str, run: Callable[[int], object], count: int) -> None:
        counts[name] = count
        candidates[name] = partial(_seconds_of, run, count)

    for engine in ("auto", "serial", "threads", "processes"):
        add(f'gs.map, on="{engine}"', partial(_gs_map, engine), many)
    add(
        "multiprocessing.pool.ThreadPool.map",
        partial(_pool_map, multiprocessing.pool.ThreadPool),
        many,
    )
    add("multiprocessing.Pool.map", partial(_pool_map, multiprocessing.Pool), many)
    add("concurrent.futures.ThreadPoolExecutor.map", _executor_map, fewer)
    if is_installed("joblib"):
        add('joblib.Parallel, prefer="threads"', _joblib, fewer)
    seconds = rounds_of(candidates, size.rounds)
    plain = [1e6 * each / many for each in seconds.pop("plain loop")]
    rows = [row("trivial", f"plain loop, {many:,} items", "µs an item", plain)]
    for name, taken in seconds.items():
        above = [1e6 * each / counts[name] - base for each, base in zip(taken, plain, strict=True)]
        more: dict[str, Any] = {"floor": 0.15, "goal": 0.08} if name == 'gs.map, on="auto"' else {}
        note = "" if counts[name] == many else f"{counts[name]:,} items"
        rows.append(row("trivial", name, "µs an item above", above, note=note, **more))
    return rows


def _seconds_of(run: Callable[[int], object], count: int) -> float:
    started = time.perf_counter()
    run(count)
    return time.perf_counter() - started


def _plain_loop(count: int) -> None:
    for item in range(count):
        square(item)


def _gs_map(engine: str, count: int) -> None:
    for _ in gs.map(square, range(count), on=engine):
        pass


def _pool_map(make: Callable[[], Any], count: int) -> None:
    with make() as pool:
        for _ in pool.map(square, range(count)):
            pass


def _executor_map(count: int) -> None:
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(square, range(count)):
            pass


def _joblib(count: int) -> None:
    joblib = import_module("joblib")
    call = joblib.delayed(square)
    for _ in joblib.Parallel(n_jobs=cores(), prefer="threads")(call(item) for item in range(count)):
        pass


# Memory

ENGINES = ("serial", "threads", "asyncio", "processes", "auto")
WARM_UP_ITEMS = 20_000
SAMPLE_SECONDS = 0.02


async def asquare(item: int) -> int:
    """Return the square, from a coroutine."""
    return item * item


def endless() -> Iterator[int]:
    """Yield 0, 1, 2 ... from a generator."""
    item = 0
    while True:
        yield item
        item += 1


def measure_memory(size: Size) -> list[Row]:
    """Return by how much a program's memory grows at most, its worker processes included."""
    rows = []
    for engine in ENGINES:
        name = f'{size.results:,} results of an endless generator, on="{engine}"'
        rows.append(_memory_row(name, ["take", engine, str(size.results)]))
    for engine in ENGINES:
        name = f'stalled for {size.pause_seconds:g} s after one result, on="{engine}"'
        rows.append(_memory_row(name, ["stall", engine, str(size.pause_seconds)]))
    return rows


def _memory_row(name: str, arguments: Sequence[str]) -> Row:
    growth, whole = _growth(arguments)
    note = f"with the run's start {whole / MIB:.1f} MiB"
    return row("memory", name, "MiB more", [growth / MIB], floor=20.0, goal=5.0, note=note)


def _growth(arguments: Sequence[str]) -> tuple[int, int]:
    """Return the bytes that a child grew by at most, since it was warm and since before its run."""
    command = [sys.executable, __file__, "--child", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        process = psutil.Process(child.pid)
        marks = []
        for expected in ("imported\n", "warm\n"):
            assert child.stdout.readline() == expected
            marks.append(_tree_bytes(process))
            child.stdin.write("go\n")
            child.stdin.flush()
        most = marks[-1]
        while child.poll() is None:
            most = max(most, _tree_bytes(process))
            time.sleep(SAMPLE_SECONDS)
        assert child.returncode == 0
    return most - marks[1], most - marks[0]


def _tree_bytes(process: psutil.Process) -> int:
    """Return the proportional memory of a process and all below it."""
    total = 0
    with suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                memory = each.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
    return total


def be_child(task: str, engine: str, amount: str) -> None:
    """Run one case of `measure_memory`, stopping at its marks until the parent has looked."""
    function: Callable[[int], Any] = asquare if engine == "asyncio" else square
    _mark("imported")
    with gs.map(function, endless(), on=engine) as run:
        if task == "take":
            _take(run, WARM_UP_ITEMS)
            _mark("warm")
            _take(run, int(amount))
        else:
            _take(run, 1)
            _mark("warm")
            time.sleep(float(amount))


def _take(run: Iterable[Any], count: int) -> None:
    assert sum(1 for _ in islice(run, count)) == count


def _mark(name: str) -> None:
    print(name, flush=True)
    sys.stdin.readline()


# Calls that wait

WAIT_SECONDS = 0.02
THREAD_COUNTS = (64, 128, 256, 512, 1000)


def wait(_item: int) -> None:
    """Wait as for a server nearby."""
    time.sleep(WAIT_SECONDS)


async def await_(_item: int) -> None:
    """Wait as a coroutine."""
    await asyncio.sleep(WAIT_SECONDS)


def measure_waiting(size: Size) -> list[Row]:
    """Return calls a second with nothing set, beside fixed numbers of threads."""
    candidates: dict[str, Callable[[], float]] = {
        'gs.map, on="auto"': partial(_seconds_of, _gs_wait, size.calls),
        "gs.map, a coroutine function": partial(_seconds_of, _gs_await, size.calls),
        "ThreadPoolExecutor(), its default": partial(
            _seconds_of, partial(_executor_wait, None), size.calls
        ),
    }
    fixed = []
    for count in THREAD_COUNTS:
        for name, wait_on in (
            ("ThreadPoolExecutor", _executor_wait),
            ("mp.ThreadPool", _pool_wait),
        ):
            fixed.append(f"{name}({count})")
            candidates[fixed[-1]] = partial(_seconds_of, partial(wait_on, count), size.calls)
    seconds = rounds_of(candidates, max(3, size.rounds // 2))
    rates = {name: [size.calls / each for each in taken] for name, taken in seconds.items()}
    best = max(fixed, key=lambda name: statistics.median(rates[name]))
    share = [
        ours / theirs for ours, theirs in zip(rates['gs.map, on="auto"'], rates[best], strict=True)
    ]
    rows = [
        row("waiting", name, "calls/s", values, more_is_better=True)
        for name, values in rates.items()
    ]
    wanted: dict[str, Any] = {"floor": 0.5, "goal": 0.85, "more_is_better": True}
    note = "for information: the tuner is still to come"
    name = f'gs.map, on="auto", over the best fixed count, {best}'
    return [row("waiting", name, "times", share, note=note, **wanted), *rows]


def _gs_wait(count: int) -> None:
    for _ in gs.map(wait, range(count)):
        pass


def _gs_await(count: int) -> None:
    for _ in gs.map(await_, range(count)):
        pass


def _executor_wait(workers: int | None, count: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(wait, range(count)):
            pass


def _pool_wait(workers: int, count: int) -> None:
    with multiprocessing.pool.ThreadPool(workers) as pool:
        for _ in pool.map(wait, range(count), chunksize=1):
            pass


# The page

PARTS: dict[str, Callable[[Size], list[Row]]] = {
    "imports": measure_imports,
    "trivial": measure_trivial,
    "memory": measure_memory,
    "waiting": measure_waiting,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        be_child(*sys.argv[2:])
    else:
        main(sys.argv[1:])
