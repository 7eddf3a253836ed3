"""An endless source and a million results taken: the process tree grows by less than 20 MB.

Every engine runs in a child of its own (this file again, as a script), since a peak is
of a whole process; the parent samples the child and its workers. The child first takes
a few thousand results, so that imports and workers are not charged, and pauses at the
marks until the parent has looked.

The million is `stress`; by default 100,000 are taken (30,000 on asyncio, where an item
is a task of its own), in which a buffer that grows with the results shows as well:
100 bytes kept for each would be 10 MB.
"""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINES = ("serial", "threads", "asyncio", "processes", "auto")
MILLION = 1_000_000
SMALL = {"asyncio": 30_000}
SMALL_DEFAULT = 100_000
WARM_UP_ITEMS = 20_000
MOST_GROWTH_BYTES = {SMALL_DEFAULT: 8 * 2**20, MILLION: 20 * 2**20}
BIG_BYTES = 2**20  # of one value
BIG_ITEMS = 1000
MOST_BIG_GROWTH_BYTES = 512 * 2**20  # 64 MiB of buffer, of which several copies are on their way
PAUSE_SECONDS = 0.5  # of a stalled consumer
MOST_STALLED_BYTES = 5 * 2**20
SAMPLE_SECONDS = 0.02


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_endless_source_keeps_memory_flat(engine: str) -> None:
    count = SMALL.get(engine, SMALL_DEFAULT)
    most = MOST_GROWTH_BYTES[SMALL_DEFAULT]
    growth = _growth("take", engine, count)
    if (
        growth >= most
    ):  # the allocator's arenas for threads, once in a while: what is kept comes each time
        growth = _growth("take", engine, count)
    assert growth < most


@pytest.mark.stress
@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ENGINES)
def test_million_results_of_an_endless_source_keep_memory_flat(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    growth = _growth("take", engine, MILLION)
    with capsys.disabled():
        print(f"\n{engine}: {MILLION:,} results, {growth / 2**20:.1f} MiB more")
    assert growth < MOST_GROWTH_BYTES[MILLION]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_big_values_are_freed_once_taken(engine: str) -> None:
    assert _growth("take big", engine, BIG_ITEMS) < MOST_BIG_GROWTH_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_stalled_consumer_keeps_memory_flat(engine: str) -> None:
    assert _growth("stall", engine, 1) < MOST_STALLED_BYTES


def _growth(task: str, engine: str, count: int) -> int:
    """Return by how many bytes a child's tree grew at most between its two marks."""
    child = subprocess.Popen(
        [sys.executable, __file__, task, engine, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        try:
            assert child.stdout.readline() == "warm\n"
            process = psutil.Process(child.pid)
            before = most = _tree_bytes(process)
            child.stdin.write("go\n")
            child.stdin.flush()
            while child.poll() is None:
                most = max(most, _tree_bytes(process))
                time.sleep(SAMPLE_SECONDS)
            assert child.returncode == 0
            assert child.stdout.read() == "done\n"
        finally:
            child.kill()
    return most - before


def _tree_bytes(process: psutil.Process) -> int:
    """Return the proportional memory of a process and all below it; 0 once it has gone."""
    total = 0
    with suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                memory = each.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
    return total


# The child


def _double(item: int) -> int:
    return item * 2


async def _adouble(item: int) -> int:
    return item * 2


def _take(engine: str, count: int) -> None:
    with gs.map(_adouble if engine == "asyncio" else _double, itertools.count(), on=engine) as run:
        taken = sum(1 for _ in itertools.islice(run, WARM_UP_ITEMS))
        _mark()
        taken += sum(1 for _ in itertools.islice(run, count))
    assert taken == WARM_UP_ITEMS + count


def _enlarge(item: int) -> bytes:
    return bytes([item % 256]) * BIG_BYTES


async def _aenlarge(item: int) -> bytes:
    return _enlarge(item)


def _take_big(engine: str, count: int) -> None:
    gc.disable()  # what waits for a collection is not freed: with few, big values there is none
    function: Callable[[int], Any] = _aenlarge if engine == "asyncio" else _enlarge
    workers = 16 if engine == "asyncio" else None  # of its own 1,000, each would hold a value
    with gs.map(function, itertools.count(), on=engine, workers=workers) as run:
        assert len(next(run)) == BIG_BYTES
        _mark()
        sizes = [len(value) for value in itertools.islice(run, count)]
    assert sizes == [BIG_BYTES] * count


def _stall(engine: str, _count: int) -> None:
    with gs.map(_adouble if engine == "asyncio" else _double, itertools.count(), on=engine) as run:
        assert next(run) == 0
        _mark()
        time.sleep(PAUSE_SECONDS)
        assert next(run) == 2


def _mark() -> None:
    print("warm", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    {"take": _take, "take big": _take_big, "stall": _stall}[sys.argv[1]](
        sys.argv[2], int(sys.argv[3])
    )
    print("done")
