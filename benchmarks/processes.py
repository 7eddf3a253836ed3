"""Measure the process pool beside its peers in the same run.

    python benchmarks/processes.py                         all parts, some minutes
    python benchmarks/processes.py trivial start           two of them
    python benchmarks/processes.py --quick                 a first look
    python benchmarks/processes.py --save processes-2cores also into results/

Parts: `start` (first result of a fresh program), `trivial` (x*x, as it comes and one item a
message), `millisecond` (4,000 tasks of 1 ms of CPU), `skewed` (a heavy tail last), `arrays`
(8 MB and 100 KB, in and out), `death` (a worker killed in 200 tasks), `orphans` (the parent
killed). As many workers as there are cores. Pools are warm but for `start`; candidates take turns
in every round. Peers run as they come and, where they take one, with the best chunk size that was
found by hand. Those that are not installed are left out (requirements.txt).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Row, is_installed, rounds_of, row, run

import gearshift as gs
from gearshift.host import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OPTIONAL = ("joblib", "loky", "mpire", "pebble", "numpy")
WORKERS = cores()
HANG_SECONDS = 8.0
# Without it nothing that is not the standard library's would be compiled beforehand.
AS_INSTALLED = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it


def main(argv: Sequence[str]) -> None:
    """Measure the parts asked for."""
    run("Processes", __doc__, PARTS, OPTIONAL, argv)


# What they run


def square(item: int) -> int:
    return item * item


def spin(seconds: float) -> float:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return seconds


def add_one(array: Any) -> Any:
    return array + 1


def maps(stack: ExitStack, tuned: int | None = None) -> dict[str, Any]:
    """Return warm pools by name, each as a function like `map`; they end with the stack.

    Args:
        stack: Ends them.
        tuned: Chunk size for peers beside their own choice, or None.
    """
    ours = stack.enter_context(gs.engines.ProcessExecutor(WORKERS))
    pools: dict[str, Any] = {"gearshift": lambda fn, items, _: list(gs.map(fn, items, on=ours))}
    fork = multiprocessing.get_context("fork")
    pool = stack.enter_context(fork.Pool(WORKERS))
    pools["multiprocessing.Pool.map"] = pool.map
    executor = stack.enter_context(ProcessPoolExecutor(WORKERS, fork))
    pools["concurrent.futures"] = partial(_by_executor, executor)
    if is_installed("joblib"):
        import joblib

        parallels = {
            chunk: stack.enter_context(joblib.Parallel(n_jobs=WORKERS, batch_size=chunk or "auto"))
            for chunk in {None, tuned}
        }
        pools["joblib"] = lambda fn, items, chunk: parallels[chunk](
            joblib.delayed(fn)(item) for item in items
        )
    if is_installed("loky"):
        import loky

        theirs = stack.enter_context(loky.ProcessPoolExecutor(WORKERS))
        pools["loky"] = partial(_by_executor, theirs)
    if is_installed("mpire"):
        import mpire

        workers = stack.enter_context(mpire.WorkerPool(WORKERS, keep_alive=True))
        pools["mpire"] = lambda fn, items, chunk: workers.map(
            fn, [(item,) for item in items], chunk_size=chunk
        )
    if is_installed("pebble"):
        import pebble

        pebbles = stack.enter_context(pebble.ProcessPool(WORKERS, context=fork))
        pools["pebble"] = lambda fn, items, chunk: list(
            pebbles.map(fn, items, chunksize=chunk or 1).result()
        )
    found = {name: partial(_with_chunk, each, None) for name, each in pools.items()}
    if tuned is not None:
        found |= {
            f"{name}, chunks of {tuned:,}": partial(_with_chunk, each, tuned)
            for name, each in pools.items()
            if name != "gearshift"
        }
    for each in found.values():
        each(square, range(4 * WORKERS))
    return found


def _by_executor(executor: Any, fn: Any, items: Any, chunk: int | None) -> list[Any]:
    return list(executor.map(fn, items, chunksize=chunk or 1))


def _with_chunk(each: Any, chunk: int | None, fn: Any, items: Any) -> Any:
    return each(fn, items, chunk)


def seconds_of(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


# Parts


def measure_start(quick: bool) -> list[Row]:
    """First result of a fresh program; the peers as they start themselves."""
    programs = {
        "gearshift": "next(iter(gs.map(abs, range(8), on='processes')))",
        "concurrent.futures, fork": f"next(Pool({WORKERS}, ctx('fork')).map(abs, range(8)))",
        "concurrent.futures, forkserver": f"next(Pool({WORKERS}, ctx('forkserver')).map(abs, range(8)))",
    }
    imports = {"gearshift": "import gearshift as gs"}
    other = "from concurrent.futures import ProcessPoolExecutor as Pool; from multiprocessing import get_context as ctx"
    if is_installed("loky"):
        programs["loky"] = f"next(get_reusable_executor({WORKERS}).map(abs, range(8)))"
        imports["loky"] = "from loky import get_reusable_executor"

    def measure(name: str) -> float:
        code = f"""
            import os, time
            if __name__ == "__main__":
                {imports.get(name, other)}
                {programs[name]}
                print(time.time(), flush=True)
                os._exit(0)
        """
        started = time.time()
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=AS_INSTALLED,
        )
        assert child.stdout is not None
        with child.stdout:
            then = float(child.stdout.readline())
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # some leave workers behind, who hold the pipe
        child.wait()
        return (then - started) * 1e3

    got = rounds_of({name: partial(measure, name) for name in programs}, 3 if quick else 9)
    fork, server = (
        statistics.median(got[f"concurrent.futures, {name}"]) for name in ("fork", "forkserver")
    )
    return [
        row(
            "start",
            name,
            "ms to the first result",
            values,
            **({"floor": server, "goal": fork} if name == "gearshift" else {}),
        )
        for name, values in got.items()
    ]


def measure_trivial(quick: bool) -> list[Row]:
    """x*x: as each pool takes it by itself, and one item a message."""
    count, single = (100_000, 2_000) if quick else (1_000_000, 10_000)
    slow = 20_000 if not quick else 2_000
    rounds = 3 if quick else 5
    with ExitStack() as stack:
        pools = maps(stack, 10_000)
        fast = "gearshift", "multiprocessing.Pool.map"
        counts = {name: count if name in fast or "," in name else slow for name in pools}
        got = rounds_of(
            {name: partial(_micros_an_item, each, counts[name]) for name, each in pools.items()},
            rounds,
        )
        rows = [
            row(
                "trivial",
                f"{name}, as it comes",
                "µs an item",
                values,
                note=f"{counts[name]:,} items",
            )
            for name, values in got.items()
        ]
        rows.append(_over("as it comes", got, "multiprocessing.Pool.map", 0.30 / 0.148, 1.0))
        ours = stack.enter_context(gs.engines.ProcessExecutor(WORKERS))
        list(gs.map(square, range(100), on=ours))
        singly = {
            "gearshift": partial(
                _micros_an_item,
                lambda fn, items: list(gs.map(fn, items, on=ours, chunksize=1)),
                single,
            ),
            "concurrent.futures": partial(_micros_an_item, pools["concurrent.futures"], single),
        }
        got = rounds_of(singly, rounds)
        rows += [
            row("trivial", f"{name}, one item a message", "µs an item", values)
            for name, values in got.items()
        ]
        rows.append(_over("one item a message", got, "concurrent.futures", 15 / 86, 10.5 / 86))
        return rows


def _over(
    what: str, got: Mapping[str, Sequence[float]], peer: str, floor: float, goal: float
) -> Row:
    """Return the row of our time over a peer's, with bounds that hold on any machine.

    They are the goals' microseconds over those of the peer on the machine where the goals were set.
    """
    theirs = statistics.median(got[peer])
    ratios = [value / theirs for value in got["gearshift"]]
    name = f"gearshift over {peer}, {what}"
    return row("trivial", name, "of its time", ratios, floor=floor, goal=goal)


def _micros_an_item(each: Any, count: int) -> float:
    return seconds_of(lambda: each(square, range(count))) / count * 1e6


def _percent(each: Any, tasks: Sequence[float], ideal: float) -> float:
    return 100 * ideal / seconds_of(lambda: each(spin, tasks))


def _efficiency(
    part: str, tasks: Sequence[float], tuned: int, floor: float, goal: float
) -> list[Row]:
    """Rows of the work over what the workers could have done in that time."""
    rounds = 3
    with ExitStack() as stack:
        pools = maps(stack, tuned)
        ideal = max(sum(tasks) / WORKERS, *tasks)
        got = rounds_of(
            {name: partial(_percent, each, tasks, ideal) for name, each in pools.items()},
            rounds,
        )
    return [
        row(
            part,
            name,
            f"% of {WORKERS} ideal processes",
            values,
            more_is_better=True,
            **({"floor": floor, "goal": goal} if name == "gearshift" else {}),
        )
        for name, values in got.items()
    ]


def measure_millisecond(quick: bool) -> list[Row]:
    """Tasks of 1 ms of CPU time."""
    return _efficiency("millisecond", [0.001] * (400 if quick else 4000), 20, 82.0, 88.0)


def measure_skewed(quick: bool) -> list[Row]:
    """Many short tasks, and a heavy tail last."""
    tasks = [0.001] * (200 if quick else 1500) + [0.02] * 40 + [0.1] * (2 * WORKERS)
    return _efficiency("skewed", tasks, 2, 88.0, 95.0)


def measure_arrays(quick: bool) -> list[Row]:
    """NumPy arrays there and back."""
    if not is_installed("numpy"):
        return []
    import numpy as np

    rows = []
    for name, size, many, floor, goal in (
        ("8 MB", 8_000_000, 6 if quick else 30, 3.0, 6.0),
        ("100 KB", 100_000, 50 if quick else 1000, 3.0, 8.0),
    ):
        arrays = [np.ones(size // 8) for _ in range(min(many, 30))]
        items = [arrays[place % len(arrays)] for place in range(many)]
        gigabytes = 2 * many * size / 1e9
        with ExitStack() as stack:
            pools = maps(stack)
            got = rounds_of(
                {
                    label: partial(_gigabytes_a_second, each, items, gigabytes)
                    for label, each in pools.items()
                },
                3,
            )
        peer = statistics.median(got["concurrent.futures"])
        rows += [
            row(
                "arrays", f"{label}, {name} arrays", "GB/s in plus out", values, more_is_better=True
            )
            for label, values in got.items()
        ]
        ratios = [value / peer for value in got["gearshift"]]
        rows.append(
            row(
                "arrays",
                f"gearshift over concurrent.futures, {name} arrays",
                "times",
                ratios,
                floor=floor,
                goal=goal,
                more_is_better=True,
            )
        )
    return rows


def _gigabytes_a_second(each: Any, items: Sequence[Any], gigabytes: float) -> float:
    return gigabytes / seconds_of(lambda: each(add_one, items))


DEATH = """
    import os, signal, sys, time
    def task(item):
        time.sleep(0.002)
        if item == 50:
            os.kill(os.getpid(), signal.SIGKILL)
        return item
    if __name__ == "__main__":
        got = 0
        try:
            {code}
        except BaseException as error:
            pass
        print(got, flush=True)
        os._exit(0)
"""
DEATHS = {
    "gearshift": (
        "import gearshift as gs; "
        "run = gs.map(task, range(200), on='processes', workers=2, errors='return'); "
        "got = sum(index == value for index, value in enumerate(run))"
    ),
    "multiprocessing": (
        "import multiprocessing as m; got = len(m.get_context('fork').Pool(2).map(task, range(200)))"
    ),
    "concurrent.futures": (
        "from concurrent.futures import ProcessPoolExecutor as P; import multiprocessing as m; "
        "pool = P(2, m.get_context('fork')); futures = [pool.submit(task, i) for i in range(200)]; "
        "got = sum(f.exception() is None for f in futures)"
    ),
    "joblib": (
        "import joblib; "
        "got = len(joblib.Parallel(n_jobs=2)(joblib.delayed(task)(i) for i in range(200)))"
    ),
    "loky": (
        "import loky; pool = loky.ProcessPoolExecutor(2); "
        "futures = [pool.submit(task, i) for i in range(200)]; "
        "got = sum(f.exception() is None for f in futures)"
    ),
    "mpire": "import mpire; got = len(mpire.WorkerPool(2).map(task, range(200)))",
    "pebble": (
        "import pebble; pool = pebble.ProcessPool(2); "
        "futures = [pool.schedule(task, args=(i,)) for i in range(200)]; "
        "got = sum(f.exception() is None for f in futures)"
    ),
}


def measure_death(quick: bool) -> list[Row]:
    """Who still has what when a worker is killed at item 50 of 200."""
    rows = []
    for name, code in DEATHS.items():
        if not is_installed(name.partition(".")[0]):
            continue
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(DEATH).format(code=code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        note = ""
        try:
            out, _ = child.communicate(timeout=HANG_SECONDS)
        except subprocess.TimeoutExpired:
            out, note = "0", "hangs"
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        lost = 200 - int(out or 0)
        bounds = {"floor": 1.0, "goal": 1.0} if name == "gearshift" else {}
        rows.append(row("death", name, "results lost of 200", [float(lost)], note=note, **bounds))
    return rows


ORPHANS = """
    import os, signal, time
    def task(item):
        time.sleep(0.05)
        return item
    if __name__ == "__main__":
        {code}
        print(next(values), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
LOSERS = {
    "gearshift": (
        "import gearshift as gs; values = iter(gs.map(task, range(10**6), on='processes', workers=2))"
    ),
    "concurrent.futures": (
        "from concurrent.futures import ProcessPoolExecutor as P; import multiprocessing as m; "
        "pool = P(2, m.get_context('fork')); values = pool.map(task, range(1000))"
    ),
    "joblib": (
        "import joblib; work = (joblib.delayed(task)(i) for i in range(1000)); "
        "values = joblib.Parallel(2, return_as='generator')(work)"
    ),
    "loky": (
        "import loky; pool = loky.ProcessPoolExecutor(2); values = pool.map(task, range(1000))"
    ),
    "mpire": ("import mpire; pool = mpire.WorkerPool(2); values = pool.imap(task, range(1000))"),
    "pebble": (
        "import pebble; pool = pebble.ProcessPool(2); values = pool.map(task, range(1000)).result()"
    ),
}


def measure_orphans(quick: bool) -> list[Row]:
    """Processes that are still there two seconds after the parent got SIGKILL."""
    import psutil

    rows = []
    for name, code in LOSERS.items():
        if not is_installed(name.partition(".")[0]):
            continue
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(ORPHANS).format(code=code)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if child.wait() != -signal.SIGKILL:  # it never got to its first value
            raise RuntimeError(f"orphans: the program of {name} ended with {child.returncode}")
        time.sleep(2.0)
        left = 0
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                left += os.getsid(process.pid) == child.pid
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        bounds = {"floor": 0.0, "goal": 0.0} if name == "gearshift" else {}
        rows.append(row("orphans", name, "processes left", [float(left)], **bounds))
    return rows


def _swept(measure: Callable[[bool], list[Row]], quick: bool) -> list[Row]:
    """Measure, and take away the semaphores of peers that were killed."""
    before = set(SHARED_MEMORY.glob("*"))
    try:
        return measure(quick)
    finally:
        for each in set(SHARED_MEMORY.glob("*")) - before:
            if each.name.startswith(("sem.loky-", "sem.mp-", "joblib_", "loky-")):
                with suppress(OSError):
                    each.unlink()


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "start": measure_start,
    "trivial": measure_trivial,
    "millisecond": measure_millisecond,
    "skewed": measure_skewed,
    "arrays": measure_arrays,
    "death": partial(_swept, measure_death),
    "orphans": partial(_swept, measure_orphans),
}

if __name__ == "__main__":
    main(sys.argv[1:])
